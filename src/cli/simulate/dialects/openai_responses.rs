//! OpenAI's responses: numbered, named events around items of reasoning, text and function calls. What was said in
//! deltas is said again when a part, an item and the response are done.

use serde_json::{Value, json};

use super::super::ask::Ask;
use super::super::script::{Field, Say, Script, Usage, alphanumeric, rng};
use super::openai_item::{Item, Kind};
use super::turn::hear_half;
use super::{Event, FAILURE, Writer, quoted};

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
        let item = Item::new(kind, &id);
        let (names, json, part) = (item.kind.names(), item.json(None), item.part());
        self.open = Some(item);
        self.event("response.output_item.added", &format!(r#","output_index":{index},"item":{json}"#));
        if let Some([added, _]) = names.part {
            self.item_event(added, &format!(r#"{},"part":{part}"#, names.part_members));
        }
    }

    fn close(&mut self, status: &str) {
        let Some(item) = &self.open else { return };
        let (names, json, part) = (item.kind.names(), item.json(Some(status)), item.part());
        let members = format!(r#"{},"{}":{}"#, names.members, names.text, quoted(&item.text));
        self.item_event(names.done, &members);
        if let Some([_, done]) = names.part {
            self.item_event(done, &format!(r#"{},"part":{part}"#, names.part_members));
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

    fn pad(&mut self, bytes: usize) -> Vec<Event> {
        let least = format!(r#"{{"type":"keepalive","sequence_number":{}}}"#, self.number).len();
        self.event("keepalive", &" ".repeat(bytes.saturating_sub(least)));
        std::mem::take(&mut self.events)
    }

    fn whole(&mut self, mut script: Script) -> Option<String> {
        for say in script.by_ref() {
            self.say(&say, Usage::default());
        }
        Some(self.response(self.status(), Some(script.usage())).to_string())
    }
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
