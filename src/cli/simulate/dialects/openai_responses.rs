//! OpenAI's responses: numbered, named events around items of reasoning, text and function calls. What was said in
//! deltas is said again when a part, an item and the response are done.

use serde_json::{Value, json};

use super::super::ask::Ask;
use super::super::script::{Field, Say, Script, Usage, alphanumeric, rng};
use super::turn::hear_half;
use super::{Event, FAILURE, WHOLE_BYTES_MAX, Writer, padded, quoted};

#[derive(Debug)]
pub(super) struct Responses {
    id: String,
    created: u64,
    model: String,
    seed: u64,
    /// Of the next event.
    number: u64,
    starting_after: Option<u64>,
    events: Vec<Event>,
    /// The items that are done.
    items: Vec<Value>,
    open: Option<Item>,
    length: bool,
}

/// The item that is being said.
#[derive(Debug)]
struct Item {
    kind: Kind,
    id: String,
    text: String,
}

#[derive(Debug, PartialEq)]
enum Kind {
    Reasoning,
    Message,
    Refusal,
    Call { id: String, name: String },
}

/// The events of a kind of item, and where in them the text stands.
struct Names {
    delta: &'static str,
    done: &'static str,
    text: &'static str,
    /// Added and done; a call has no parts.
    part: Option<[&'static str; 2]>,
    /// Members that all of them have, as JSON that begins with a comma.
    members: &'static str,
}

impl Kind {
    fn names(&self) -> Names {
        let content = Some(["response.content_part.added", "response.content_part.done"]);
        match self {
            Self::Reasoning => Names {
                delta: "response.reasoning_summary_text.delta",
                done: "response.reasoning_summary_text.done",
                text: "text",
                part: Some(["response.reasoning_summary_part.added", "response.reasoning_summary_part.done"]),
                members: r#","summary_index":0"#,
            },
            Self::Message => Names {
                delta: "response.output_text.delta",
                done: "response.output_text.done",
                text: "text",
                part: content,
                members: r#","content_index":0,"logprobs":[]"#,
            },
            Self::Refusal => Names {
                delta: "response.refusal.delta",
                done: "response.refusal.done",
                text: "refusal",
                part: content,
                members: r#","content_index":0"#,
            },
            Self::Call { .. } => Names {
                delta: "response.function_call_arguments.delta",
                done: "response.function_call_arguments.done",
                text: "arguments",
                part: None,
                members: "",
            },
        }
    }

    fn prefix(&self) -> &'static str {
        match self {
            Self::Reasoning => "rs",
            Self::Message | Self::Refusal => "msg",
            Self::Call { .. } => "fc",
        }
    }
}

impl Item {
    fn part(&self) -> Value {
        match self.kind {
            Kind::Reasoning => json!({"type": "summary_text", "text": self.text}),
            Kind::Refusal => json!({"type": "refusal", "refusal": self.text}),
            Kind::Message | Kind::Call { .. } => {
                json!({"type": "output_text", "annotations": [], "logprobs": [], "text": self.text})
            }
        }
    }

    /// Without a status it has only begun.
    fn json(&self, status: Option<&str>) -> Value {
        let parts: Vec<_> = status.map(|_| self.part()).into_iter().collect();
        let status = status.unwrap_or("in_progress");
        match &self.kind {
            Kind::Reasoning => json!({"id": self.id, "type": "reasoning", "summary": parts}),
            Kind::Message | Kind::Refusal => json!({
                "id": self.id, "type": "message", "status": status, "content": parts, "role": "assistant",
            }),
            Kind::Call { id, name } => json!({
                "id": self.id, "type": "function_call", "status": status, "arguments": self.text,
                "call_id": id, "name": name,
            }),
        }
    }
}

/// What the answer to this request is called.
pub(in super::super) fn id(ask: &Ask) -> String {
    Responses::new(ask).id
}

impl Responses {
    pub(super) fn new(ask: &Ask) -> Self {
        let mut rng = rng(ask.seed, u64::MAX);
        Self {
            id: format!("resp_{}", alphanumeric(&mut rng, 48)),
            created: 1_700_000_000 + rng.u64(..100_000_000),
            model: ask.model.clone(),
            seed: ask.seed,
            number: 0,
            starting_after: ask.starting_after,
            events: Vec::new(),
            items: Vec::new(),
            open: None,
            length: ask.length,
        }
    }

    /// Members are JSON that begins with a comma.
    fn event(&mut self, name: &'static str, members: &str) {
        let number = self.number;
        self.number += 1;
        if self.starting_after.is_none_or(|after| number > after) {
            let data = format!(r#"{{"type":"{name}","sequence_number":{number}{members}}}"#);
            self.events.push(Event { name: Some(name), data, is_last: false });
        }
    }

    /// An event that belongs to the open item.
    fn item_event(&mut self, name: &'static str, members: &str) {
        let Some(item) = &self.open else { return };
        let about = format!(r#","item_id":"{}","output_index":{}{members}"#, item.id, self.items.len());
        self.event(name, &about);
    }

    /// Makes sure that such an item is open. Each call is an item of its own.
    fn open(&mut self, kind: Kind) {
        if self.open.as_ref().is_some_and(|item| item.kind == kind) {
            return;
        }
        self.close("completed");
        let index = self.items.len();
        let id = alphanumeric(&mut rng(self.seed, u64::MAX - 3 - index as u64), 48);
        let item = Item { id: format!("{}_{id}", kind.prefix()), kind, text: String::new() };
        let (names, json, part) = (item.kind.names(), item.json(None), item.part());
        self.open = Some(item);
        self.event("response.output_item.added", &format!(r#","output_index":{index},"item":{json}"#));
        if let Some([added, _]) = names.part {
            self.item_event(added, &format!(r#"{},"part":{part}"#, index_only(names.members)));
        }
    }

    fn close(&mut self, status: &str) {
        let Some(item) = &self.open else { return };
        let (names, json, part) = (item.kind.names(), item.json(Some(status)), item.part());
        let members = format!(r#"{},"{}":{}"#, names.members, names.text, quoted(&item.text));
        self.item_event(names.done, &members);
        if let Some([_, done]) = names.part {
            self.item_event(done, &format!(r#"{},"part":{part}"#, index_only(names.members)));
        }
        let index = self.items.len();
        self.event("response.output_item.done", &format!(r#","output_index":{index},"item":{json}"#));
        self.items.push(json);
        self.open = None;
    }

    /// More of the open item: the text as a JSON string.
    fn delta(&mut self, text: &str) {
        let Some(item) = &self.open else { return };
        let names = item.kind.names();
        self.item_event(names.delta, &format!(r#"{},"delta":{text}"#, names.members));
    }

    fn response_event(&mut self, name: &'static str, status: &str, usage: Option<Usage>) {
        let response = self.response(status, usage);
        self.event(name, &format!(r#","response":{response}"#));
    }

    fn response(&self, status: &str, usage: Option<Usage>) -> Value {
        let error = json!({"code": "server_error", "message": FAILURE});
        json!({
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "background": false,
            "error": if status == "failed" { error } else { Value::Null },
            "incomplete_details":
                if status == "incomplete" { json!({"reason": "max_output_tokens"}) } else { Value::Null },
            "instructions": null,
            "max_output_tokens": null,
            "model": self.model,
            "output": self.items,
            "parallel_tool_calls": true,
            "previous_response_id": null,
            "reasoning": {"effort": null, "summary": null},
            "service_tier": "default",
            "store": true,
            "temperature": 1.0,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": usage.map(usage_json),
            "metadata": {},
        })
    }

    /// How an answer ends that was not cut short by a fault.
    fn status(&self) -> &'static str {
        if self.length { "incomplete" } else { "completed" }
    }
}

impl Writer for Responses {
    fn say(&mut self, say: &Say, _usage: Usage) -> Vec<Event> {
        if let Some((field, text)) = say.text() {
            self.open(match field {
                Field::Reasoning => Kind::Reasoning,
                Field::Content => Kind::Message,
                Field::Refusal => Kind::Refusal,
            });
            self.delta(&text);
        }
        let heard = self.open.as_mut().map(|item| &mut item.text);
        match say {
            Say::Role { .. } => {
                self.response_event("response.created", "in_progress", None);
                self.response_event("response.in_progress", "in_progress", None);
            }
            Say::Delta { text, .. } => heard.into_iter().for_each(|heard| heard.push_str(text)),
            Say::Half { escape, .. } => heard.into_iter().for_each(|heard| hear_half(heard, escape)),
            Say::Call { id, name, .. } => self.open(Kind::Call { id: id.clone(), name: name.clone() }),
            Say::Arguments { text, .. } => {
                heard.into_iter().for_each(|heard| heard.push_str(text));
                self.delta(&quoted(text));
            }
            Say::Finish { .. } => self.close(self.status()),
            Say::Tick => {}
        }
        std::mem::take(&mut self.events)
    }

    fn end(&mut self, usage: Usage) -> Vec<Event> {
        let name = if self.length { "response.incomplete" } else { "response.completed" };
        self.response_event(name, self.status(), Some(usage));
        std::mem::take(&mut self.events).into_iter().map(Event::last).collect()
    }

    fn fail(&mut self) -> Vec<Event> {
        let message = quoted(FAILURE);
        self.event("error", &format!(r#","code":"server_error","message":{message},"param":null"#));
        let mut events = std::mem::take(&mut self.events);
        self.response_event("response.failed", "failed", None);
        events.extend(self.events.drain(..).map(Event::last));
        events
    }

    fn padded(&mut self, bytes: usize) -> Event {
        let number = self.number;
        self.number += 1;
        let data = format!(r#"{{"type":"keepalive","sequence_number":{number}}}"#);
        Event { name: Some("keepalive"), data: padded(data, bytes), is_last: false }
    }

    fn whole(&mut self, mut script: Script) -> Option<String> {
        let mut bytes = 0;
        for say in script.by_ref() {
            bytes += self.say(&say, Usage::default()).iter().map(|event| event.data.len()).sum::<usize>();
            // Its events say everything three times, at the least.
            if bytes > 3 * WHOLE_BYTES_MAX {
                return None;
            }
        }
        Some(self.response(self.status(), Some(script.usage())).to_string())
    }
}

/// The index alone, without the probabilities, which parts have inside.
fn index_only(members: &str) -> &str {
    members.trim_end_matches(r#","logprobs":[]"#)
}

fn usage_json(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.completion,
    })
}
