//! What is said, in order, without bytes or time: a pure function of the request and its seed.

use std::collections::VecDeque;

use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::ask::{Ask, Function};
use super::prose::Prose;

/// The whole answer as an iterator of what to say next. Choices take turns, token by token.
#[derive(Debug)]
pub(super) struct Script {
    speakers: Vec<Speaker>,
    queue: VecDeque<Say>,
    usage: Usage,
    begun: bool,
}

/// One thing to say. Everything but a tick becomes one event.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Say {
    /// The next round of tokens is due.
    Tick,
    Role {
        choice: u64,
    },
    Delta {
        choice: u64,
        field: Field,
        text: String,
    },
    /// Half an emoji, which is no text that Rust can hold: the inside of a JSON string.
    Half {
        choice: u64,
        field: Field,
        escape: &'static str,
    },
    Call {
        choice: u64,
        index: u64,
        id: String,
        name: String,
    },
    Arguments {
        choice: u64,
        index: u64,
        text: String,
    },
    Finish {
        choice: u64,
        reason: &'static str,
    },
}

/// Where a delta's text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Reasoning,
    Content,
    Refusal,
}

/// What the answer cost so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) prompt: u64,
    pub(super) completion: u64,
    pub(super) reasoning: u64,
}

/// The emoji that [`Say::Half`] cuts in two.
pub(super) const EMOJI: char = '😀';
const HALVES: [&str; 2] = ["\\ud83d", "\\ude00"];

impl Script {
    pub(super) fn new(ask: &Ask) -> Self {
        Self {
            speakers: (0..ask.choices).map(|choice| Speaker::new(ask, choice)).collect(),
            queue: VecDeque::new(),
            usage: Usage { prompt: ask.prompt_tokens, ..Usage::default() },
            begun: false,
        }
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// Queues the next turn of every choice that has something to say.
    fn round(&mut self) {
        if !self.begun {
            self.begun = true;
            self.queue.extend(self.speakers.iter().map(|speaker| Say::Role { choice: speaker.choice }));
        } else if self.speakers.iter().any(|speaker| !speaker.is_done()) {
            self.queue.push_back(Say::Tick);
        }
        let talking = self.queue.back() == Some(&Say::Tick);
        for speaker in &mut self.speakers {
            if talking && let Some(say) = speaker.say() {
                self.usage.completion += 1;
                self.usage.reasoning += u64::from(matches!(say, Say::Delta { field: Field::Reasoning, .. }));
                self.queue.push_back(say);
            }
            if speaker.is_done()
                && let Some(reason) = speaker.reason.take()
            {
                self.queue.push_back(Say::Finish { choice: speaker.choice, reason });
            }
        }
    }
}

impl Iterator for Script {
    type Item = Say;

    fn next(&mut self) -> Option<Say> {
        if self.queue.is_empty() {
            self.round();
        }
        self.queue.pop_front()
    }
}

/// One choice.
#[derive(Debug)]
struct Speaker {
    choice: u64,
    prose: Prose,
    filler: Rng,
    reasoning: u64,
    tokens: u64,
    text: Field,
    token_bytes: Option<u64>,
    halves: VecDeque<&'static str>,
    full_stop: bool,
    calls: VecDeque<Say>,
    /// Taken when it has been said.
    reason: Option<&'static str>,
    spoken: u64,
}

impl Speaker {
    fn new(ask: &Ask, choice: u64) -> Self {
        let options = &ask.options;
        let mut rng = rng(ask.seed, choice);
        let reason = match (ask.length, options.tool_calls) {
            (true, _) => "length",
            (false, 0) => "stop",
            (false, _) => "tool_calls",
        };
        Self {
            choice,
            reasoning: options.reasoning,
            tokens: options.tokens,
            text: if options.refusal { Field::Refusal } else { Field::Content },
            token_bytes: options.token_bytes,
            halves: if options.emoji_halves { HALVES.into() } else { VecDeque::new() },
            full_stop: !ask.length && options.tokens > 1,
            calls: if ask.length { VecDeque::new() } else { calls(ask, choice, &mut rng) },
            filler: rng.fork(),
            prose: Prose::new(rng),
            reason: Some(reason),
            spoken: 0,
        }
    }

    fn is_done(&self) -> bool {
        self.reasoning == 0 && self.tokens == 0 && self.halves.is_empty() && self.calls.is_empty()
    }

    fn say(&mut self) -> Option<Say> {
        let (choice, field) = (self.choice, self.text);
        if self.reasoning > 0 {
            self.reasoning -= 1;
            let text = self.prose.next()?;
            return Some(Say::Delta { choice, field: Field::Reasoning, text });
        }
        if (self.spoken > 0 || self.tokens == 0)
            && let Some(escape) = self.halves.pop_front()
        {
            return Some(Say::Half { choice, field, escape });
        }
        if self.tokens > 0 {
            self.tokens -= 1;
            self.spoken += 1;
            let text = self.token()?;
            return Some(Say::Delta { choice, field, text });
        }
        self.calls.pop_front()
    }

    fn token(&mut self) -> Option<String> {
        match self.token_bytes {
            Some(bytes) => {
                Some((0..bytes).map(|at| if at == 0 { ' ' } else { self.filler.lowercase() }).collect())
            }
            None if self.tokens == 0 && self.full_stop => Some(".".to_owned()),
            None => self.prose.next(),
        }
    }
}

/// The fragments of all tool calls of one choice.
fn calls(ask: &Ask, choice: u64, rng: &mut Rng) -> VecDeque<Say> {
    let mut prose = Prose::new(rng.fork());
    let mut says = VecDeque::new();
    for (index, function) in (0..ask.options.tool_calls).zip(ask.tools.iter().cycle()) {
        let id = format!("call_{}", alphanumeric(rng, 24));
        says.push_back(Say::Call { choice, index, id, name: function.name.clone() });
        let arguments = arguments(function, rng, &mut prose);
        let mut rest = arguments.as_str();
        while !rest.is_empty() {
            let cut = rest.char_indices().nth(rng.usize(1..7)).map_or(rest.len(), |(at, _)| at);
            let (text, after) = rest.split_at(cut);
            says.push_back(Say::Arguments { choice, index, text: text.to_owned() });
            rest = after;
        }
    }
    says
}

/// Arguments that fit the function's schema roughly: every property, with a value of its type.
fn arguments(function: &Function, rng: &mut Rng, prose: &mut Prose) -> String {
    let Some(properties) = function.parameters.get("properties").and_then(Value::as_object) else {
        return json!({ "query": prose.phrase() }).to_string();
    };
    let mut arguments = Map::new();
    for (name, schema) in properties {
        let listed = schema.get("enum").and_then(Value::as_array).and_then(|values| rng.choice(values));
        // Gemini's schemas shout.
        let kind = schema.get("type").and_then(Value::as_str).map(str::to_ascii_lowercase);
        let value = match (listed, kind.as_deref()) {
            (Some(value), _) => value.clone(),
            (None, Some("integer")) => json!(rng.u16(..1000)),
            (None, Some("number")) => json!(f64::from(rng.u16(..1000)) / 8.0),
            (None, Some("boolean")) => json!(rng.bool()),
            (None, Some("array")) => json!([prose.phrase(), prose.phrase()]),
            (None, Some("object")) => json!({}),
            (None, _) => json!(prose.phrase()),
        };
        arguments.insert(name.clone(), value);
    }
    Value::Object(arguments).to_string()
}

/// A generator of its own for each purpose, so that one of them drawing more does not change another.
pub(super) fn rng(seed: u64, purpose: u64) -> Rng {
    Rng::with_seed(seed ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15)).fork()
}

pub(super) fn alphanumeric(rng: &mut Rng, length: usize) -> String {
    std::iter::repeat_with(|| rng.alphanumeric()).take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::super::dialects::Endpoint;
    use super::super::options::Options;
    use super::*;

    fn script(extra: &str) -> Vec<Say> {
        let body = format!(r#"{{"model":"m","messages":[1],{extra}}}"#);
        Script::new(&Ask::read(Endpoint::OpenaiChat, body.as_bytes(), &Options::default()).unwrap()).collect()
    }

    fn text(says: &[Say], wanted: u64, channel: Field) -> String {
        let of = |say: &Say| match say {
            Say::Delta { choice, field, text } if (*choice, *field) == (wanted, channel) => {
                Some(text.clone())
            }
            _ => None,
        };
        says.iter().filter_map(of).collect()
    }

    #[test]
    fn same_seed_same_script() {
        assert_eq!(script(r#""simulate":{"seed":1}"#), script(r#""simulate":{"seed":1},"user":"x""#));
        assert_ne!(script(r#""simulate":{"seed":1}"#), script(r#""simulate":{"seed":2}"#));
    }

    #[test]
    fn as_many_tokens_as_asked_for() {
        let says = script(r#""simulate":{"tokens":30,"reasoning":4}"#);
        let count = |wanted| {
            says.iter().filter(|say| matches!(say, Say::Delta { field, .. } if *field == wanted)).count()
        };
        assert_eq!((count(Field::Reasoning), count(Field::Content)), (4, 30));
        assert!(text(&says, 0, Field::Content).ends_with('.'));
        assert_eq!(says.iter().filter(|say| **say == Say::Tick).count(), 34);
        assert_eq!(says.last(), Some(&Say::Finish { choice: 0, reason: "stop" }));
        assert_eq!(script(r#""simulate":{"tokens":0}"#).len(), 2);
        assert_eq!(script(r#""max_tokens":3"#).last(), Some(&Say::Finish { choice: 0, reason: "length" }));
        let says = script(r#""simulate":{"tokens":5,"token_bytes":17}"#);
        assert_eq!(text(&says, 0, Field::Content).len(), 85);
        assert!(!text(&script(r#""simulate":{"refusal":true}"#), 0, Field::Refusal).is_empty());
    }

    #[test]
    fn choices_take_turns_and_differ() {
        let says = script(r#""n":2,"simulate":{"tokens":20}"#);
        assert_ne!(text(&says, 0, Field::Content), text(&says, 1, Field::Content));
        for (at, say) in says[2..59].iter().enumerate() {
            let choice = match say {
                Say::Tick => None,
                Say::Delta { choice, .. } => Some(*choice),
                other => panic!("{other:?}"),
            };
            assert_eq!(choice, [None, Some(0), Some(1)][at % 3], "{at}");
        }
    }

    #[test]
    fn tool_calls_concatenate_to_arguments_that_fit() {
        let says = script(
            r#""tools":[{"type":"function","function":{"name":"f","parameters":{"properties":
                {"city":{"type":"string"},"days":{"type":"integer"},"unit":{"enum":["c"]}}}}},
                {"type":"function","function":{"name":"g"}}],"simulate":{"tokens":1,"tool_calls":3}"#,
        );
        let names: Vec<_> = says
            .iter()
            .filter_map(|say| if let Say::Call { name, .. } = say { Some(name.as_str()) } else { None })
            .collect();
        assert_eq!(names, ["f", "g", "f"]);
        let mut arguments = [String::new(), String::new(), String::new()];
        for say in &says {
            if let Say::Arguments { index, text, .. } = say {
                arguments[*index as usize].push_str(text);
            }
        }
        let first: Value = serde_json::from_str(&arguments[0]).unwrap();
        assert!(first["city"].is_string() && first["days"].is_u64() && first["unit"] == "c", "{first}");
        assert!(serde_json::from_str::<Value>(&arguments[1]).unwrap()["query"].is_string());
        assert_eq!(says.last(), Some(&Say::Finish { choice: 0, reason: "tool_calls" }));
    }

    #[test]
    fn halves_come_after_the_first_token() {
        let says = script(r#""simulate":{"tokens":2,"emoji_halves":true}"#);
        let at = says.iter().position(|say| matches!(say, Say::Half { .. })).unwrap();
        assert!(matches!(says[at - 2], Say::Delta { .. }) && matches!(says[at + 2], Say::Half { .. }));
    }
}
