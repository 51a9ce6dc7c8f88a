//! Messages as `useChat` has them after a day of use, and what providers get of them.

use super::*;

fn messages(value: Value) -> Vec<Message> {
    serde_json::from_value(value).unwrap()
}

const PNG: &str = "data:image/png;base64,iVBORw0KGgo=";

fn talk() -> Vec<Message> {
    messages(json!([
        { "id": "0", "role": "system", "parts": [{ "type": "text", "text": "Be brief." }] },
        { "id": "1", "role": "user", "parts": [
            { "type": "text", "text": "What is this?" },
            { "type": "file", "mediaType": "image/png", "filename": "a.png", "url": PNG },
            { "type": "file", "mediaType": "image/*", "url": "https://x.example/a.jpg" },
            { "type": "file", "mediaType": "application/pdf", "url": "data:application/pdf;base64,JVBERi0=" },
            { "type": "data-place", "data": { "of": "the page" } },
        ] },
        { "id": "2", "role": "assistant", "metadata": { "usage": {} }, "parts": [
            { "type": "step-start" },
            { "type": "reasoning", "text": "hm", "state": "done" },
            { "type": "text", "text": "Let me ", "state": "done" },
            { "type": "text", "text": "look." },
            { "type": "tool-search", "toolCallId": "c1", "state": "output-available",
              "input": { "q": 1 }, "output": { "found": ["a"] } },
            { "type": "dynamic-tool", "toolName": "now", "toolCallId": "c2", "state": "output-error",
              "rawInput": "{", "errorText": "no JSON" },
            { "type": "tool-search", "toolCallId": "c3", "state": "input-available", "input": {} },
            { "type": "tool-search", "toolCallId": "c4", "state": "output-denied", "input": {} },
            { "type": "step-start" },
            { "type": "text", "text": "A picture." },
            { "type": "source-url", "sourceId": "s", "url": "https://x.example" },
        ] },
        { "id": "3", "role": "user", "parts": [{ "type": "text", "text": "Thanks" }] },
    ]))
}

#[test]
fn a_talk_for_openai() {
    let call = |id: &str, name: &str, arguments: &str| json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } });
    let result = |id: &str, text: &str| json!({ "role": "tool", "tool_call_id": id, "content": text });
    let calls = [call("c1", "search", r#"{"q":1}"#), call("c2", "now", r#""{""#), call("c4", "search", "{}")];
    let file = json!({ "filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBERi0=" });
    let wanted = json!({ "model": "m", "stream": true, "messages": [
        { "role": "system", "content": "Be brief." },
        { "role": "user", "content": [
            { "type": "text", "text": "What is this?" },
            { "type": "image_url", "image_url": { "url": PNG } },
            { "type": "image_url", "image_url": { "url": "https://x.example/a.jpg" } },
            { "type": "file", "file": file },
        ] },
        { "role": "assistant", "content": "Let me look.", "tool_calls": calls },
        result("c1", r#"{"found":["a"]}"#),
        result("c2", "no JSON"),
        result("c4", DENIED),
        { "role": "assistant", "content": "A picture." },
        { "role": "user", "content": "Thanks" },
    ] });
    assert_eq!(request("openai", "m", &talk()).unwrap(), wanted);
}

#[test]
fn a_talk_for_anthropic() {
    let text = |text: &str| json!({ "type": "text", "text": text });
    let of =
        |media_type: &str, data: &str| json!({ "type": "base64", "media_type": media_type, "data": data });
    let call = |id: &str, name: &str, input: Value| json!({ "type": "tool_use", "id": id, "name": name, "input": input });
    let result = |id: &str, text: &str| json!({ "type": "tool_result", "tool_use_id": id, "content": text });
    let bad = |id: &str, text: &str| json!({ "type": "tool_result", "tool_use_id": id, "content": text, "is_error": true });
    let wanted = json!({ "model": "m", "stream": true, "max_tokens": 4096, "system": "Be brief.", "messages": [
        { "role": "user", "content": [
            text("What is this?"),
            { "type": "image", "source": of("image/png", "iVBORw0KGgo=") },
            { "type": "image", "source": { "type": "url", "url": "https://x.example/a.jpg" } },
            { "type": "document", "source": of("application/pdf", "JVBERi0=") },
        ] },
        { "role": "assistant", "content": [
            text("Let me "), text("look."),
            call("c1", "search", json!({ "q": 1 })), call("c2", "now", json!({ "input": "{" })),
            call("c4", "search", json!({})),
        ] },
        { "role": "user", "content": [
            result("c1", r#"{"found":["a"]}"#), bad("c2", "no JSON"), bad("c4", DENIED),
        ] },
        { "role": "assistant", "content": [text("A picture.")] },
        { "role": "user", "content": [text("Thanks")] },
    ] });
    assert_eq!(request("anthropic", "m", &talk()).unwrap(), wanted);
}

#[test]
fn a_talk_for_gemini() {
    let text = |text: &str| json!({ "text": text });
    let inline = |kind: &str, data: &str| json!({ "inlineData": { "mimeType": kind, "data": data } });
    let call = |name: &str, args: Value| json!({ "functionCall": { "name": name, "args": args } });
    let result =
        |name: &str, response: Value| json!({ "functionResponse": { "name": name, "response": response } });
    let wanted = json!({ "model": "m", "systemInstruction": { "parts": [text("Be brief.")] }, "contents": [
        { "role": "user", "parts": [
            text("What is this?"),
            inline("image/png", "iVBORw0KGgo="),
            { "fileData": { "mimeType": "image/jpeg", "fileUri": "https://x.example/a.jpg" } },
            inline("application/pdf", "JVBERi0="),
        ] },
        { "role": "model", "parts": [
            text("Let me "), text("look."),
            call("search", json!({ "q": 1 })), call("now", json!({ "input": "{" })), call("search", json!({})),
        ] },
        { "role": "user", "parts": [
            result("search", json!({ "output": r#"{"found":["a"]}"# })),
            result("now", json!({ "error": "no JSON" })),
            result("search", json!({ "error": DENIED })),
        ] },
        { "role": "model", "parts": [text("A picture.")] },
        { "role": "user", "parts": [text("Thanks")] },
    ] });
    assert_eq!(request("gemini", "m", &talk()).unwrap(), wanted);
}

#[test]
fn a_talk_for_ollama() {
    let mut talk = talk();
    // It takes images, and takes them only as they are.
    talk[1].parts.retain(|part| part["type"] != "file" || part["url"] == PNG);
    let call = |name: &str, arguments: Value| json!({ "function": { "name": name, "arguments": arguments } });
    let result = |name: &str, text: &str| json!({ "role": "tool", "tool_name": name, "content": text });
    let calls =
        [call("search", json!({ "q": 1 })), call("now", json!({ "input": "{" })), call("search", json!({}))];
    let wanted = json!({ "model": "m", "stream": true, "messages": [
        { "role": "system", "content": "Be brief." },
        { "role": "user", "content": "What is this?", "images": ["iVBORw0KGgo="] },
        { "role": "assistant", "content": "Let me look.", "tool_calls": calls },
        result("search", r#"{"found":["a"]}"#),
        result("now", "no JSON"),
        result("search", DENIED),
        { "role": "assistant", "content": "A picture." },
        { "role": "user", "content": "Thanks" },
    ] });
    assert_eq!(request("ollama", "m", &talk).unwrap(), wanted);
}

#[test]
fn older_messages_have_their_text_in_content() {
    let old = messages(json!([{ "role": "user", "content": "hi" }]));
    let wanted = json!([{ "role": "user", "content": "hi" }]);
    assert_eq!(request("openai", "m", &old).unwrap()["messages"], wanted);
}

#[test]
fn what_cannot_be_sent_is_said() {
    let check = |dialect: &str, value: Value, wanted: &str| {
        let problem = request(dialect, "m", &messages(value)).unwrap_err();
        assert!(problem.contains(wanted), "{problem}");
    };
    let user = |part: Value| json!([{ "role": "user", "parts": [part] }]);
    check("openai", json!([]), "nothing to answer");
    check("openai", user(json!({ "type": "data-x", "data": 1 })), "nothing to answer");
    check("openai", json!([{ "role": "tool", "parts": [] }]), "messages[0]: the role \"tool\"");
    check("openai", user(json!({ "text": "a" })), "no type");
    check("openai", user(json!({ "type": "file", "mediaType": "image/png" })), "no url");
    let zip = json!({ "type": "file", "mediaType": "application/zip", "url": "data:,a" });
    check("openai", user(zip.clone()), "application/zip");
    check("anthropic", user(zip), "application/zip");
    let raw = json!({ "type": "file", "mediaType": "image/png", "url": "data:image/png,a" });
    check("anthropic", user(raw.clone()), "base64");
    check("gemini", user(raw), "base64");
    let picture = json!({ "type": "file", "mediaType": "image/png", "url": "https://x.example/a.png" });
    check("ollama", user(picture), "each as a data URL");
    let local = json!({ "type": "file", "mediaType": "image/png", "url": "file:///etc/passwd" });
    check("openai", user(local), "starts with data:");
}
