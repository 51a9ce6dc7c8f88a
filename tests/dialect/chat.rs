//! Chat completions read once more, over whole `Value`s and without any of the dialect's code.

use serde_json::Value;
use tokencast::cast::event::Usage;
use tokencast::dialect::Verdict;

use crate::fold::{Choice, Folded};

/// What a body without oddities says.
pub(crate) fn read(body: &str) -> (Folded, Verdict) {
    let mut folded = Folded::default();
    let mut done = false;
    for line in body.lines() {
        let Some(data) = line.strip_prefix("data:").map(str::trim) else { continue };
        if data == "[DONE]" {
            done = true;
            break;
        }
        let chunk: Value = serde_json::from_str(data).unwrap();
        let string = |value: &Value| value.as_str().filter(|s| !s.is_empty()).map(str::to_owned);
        if folded.meta.is_none() && (string(&chunk["id"]).is_some() || string(&chunk["model"]).is_some()) {
            folded.meta = Some((string(&chunk["model"]), string(&chunk["id"])));
        }
        for wire in chunk["choices"].as_array().into_iter().flatten() {
            let choice = folded.choices.entry(wire["index"].as_u64().unwrap() as u32).or_default();
            let delta = &wire["delta"];
            choice.text += delta["content"].as_str().unwrap_or_default();
            choice.refusal += delta["refusal"].as_str().unwrap_or_default();
            let details = || {
                let details = delta["reasoning_details"].as_array()?;
                Some(
                    details
                        .iter()
                        .filter_map(|d| d["text"].as_str().or(d["summary"].as_str()))
                        .collect::<String>(),
                )
            };
            choice.reasoning += &string(&delta["reasoning_content"])
                .or_else(|| string(&delta["reasoning"]))
                .or_else(details)
                .unwrap_or_default();
            for wire in delta["tool_calls"].as_array().into_iter().flatten() {
                let call = choice.tool_calls.entry(wire["index"].as_u64().unwrap() as u32).or_default();
                call.id = call.id.take().or(string(&wire["id"]));
                call.name = call.name.take().or(string(&wire["function"]["name"]));
                call.arguments += wire["function"]["arguments"].as_str().unwrap_or_default();
            }
            choice.finish = choice.finish.take().or(string(&wire["finish_reason"]));
        }
        let usage = [&chunk["usage"], &chunk["x_groq"]["usage"]].into_iter().find(|usage| usage.is_object());
        if let Some(usage) = usage {
            let (input, output) = (usage["prompt_tokens"].as_u64(), usage["completion_tokens"].as_u64());
            folded.usage = Some(Usage { input, output });
        }
        if let Some(error) = chunk.get("error").filter(|error| !error.is_null()) {
            let code = string(&error["code"]).or(string(&error["type"]));
            let code = error["code"].as_u64().map(|code| code.to_string()).or(code);
            folded.error = Some((code, string(&error["message"]).unwrap()));
            break;
        }
    }
    let finished =
        !folded.choices.is_empty() && folded.choices.values().all(|choice| choice.finish.is_some());
    let verdict = match &folded.error {
        Some((_, message)) => Verdict::Failed { message: message.clone() },
        None if done => Verdict::Terminal,
        None if finished => Verdict::Finished,
        None => Verdict::Unfinished,
    };
    // A choice that only ever said nothing has no events.
    folded.choices.retain(|_, choice| *choice != Choice::default());
    (folded, verdict)
}
