//! What a provider is going to say to one request, how it ends, and what that has to become. It knows the protocol and
//! shares no code with the gateway.

use std::time::Duration;

use fastrand::Rng;
use serde_json::json;

/// One answer of a provider.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) blocks: Vec<Block>,
    /// What comes of the next block before the cut.
    pub(crate) torn: Vec<u8>,
    pub(crate) last: Last,
    /// The body, write by write, and how long the provider thinks before each.
    pub(crate) writes: Vec<(Duration, Vec<u8>)>,
    pub(crate) first_byte: Duration,
}

/// One SSE block, and what it adds to each channel.
#[derive(Debug, Default)]
pub(crate) struct Block {
    pub(crate) bytes: Vec<u8>,
    pub(crate) text: String,
    pub(crate) reasoning: String,
}

/// What comes behind the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    /// The terminal marker is the last block.
    Marker,
    /// A clean end behind a finish reason.
    Finish,
    /// A clean end in the middle.
    Early,
    Cut,
    Silence,
    /// The last block says that something went wrong.
    Error,
    /// There is no body: this status.
    Status(u16),
    /// A body of another kind.
    NotAStream,
    /// Not even a head.
    NoAnswer,
}

const WORDS: &[&str] = &[
    "a",
    " word",
    " and",
    "\n",
    " \"quoted\"",
    " é",
    "😀",
    " \\",
    "data: ",
    "\u{2028}",
    "</x>",
    "\r\n",
    " 0",
];

impl Plan {
    pub(crate) fn new(number: usize, rng: &mut Rng) -> Self {
        let last = match rng.u8(..24) {
            0..=9 => Last::Marker,
            10 | 11 => Last::Finish,
            12 | 13 => Last::Early,
            14..=16 => Last::Cut,
            17 | 18 => Last::Silence,
            19 | 20 => Last::Error,
            21 => Last::Status([429, 500, 503][rng.usize(..3)]),
            22 => Last::NotAStream,
            _ => Last::NoAnswer,
        };
        let mut blocks = Vec::new();
        let count = if rng.u8(..6) == 0 { rng.usize(100..300) } else { rng.usize(..60) };
        let line_ends: &[&str] = [&["\n"][..], &["\r\n"], &["\r"], &["\n", "\r\n", "\r"]][rng.usize(..4)];
        let mut push = |rng: &mut Rng, lines: &[String], text: &str, reasoning: &str| {
            let end = line_ends[rng.usize(..line_ends.len())];
            let bytes = lines.iter().map(|line| format!("{line}{end}")).collect::<String>() + end;
            blocks.push(Block { bytes: bytes.into_bytes(), text: text.into(), reasoning: reasoning.into() });
        };
        let delta = |delta: serde_json::Value, finish: serde_json::Value| {
            let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
            format!(
                "data: {}",
                json!({ "id": format!("answer-{number}"), "model": "m", "object": "chat.completion.chunk", "choices": [choice] })
            )
        };
        if matches!(last, Last::Status(_) | Last::NotAStream | Last::NoAnswer) {
            let (torn, writes) = (Vec::new(), Vec::new());
            let first_byte = Duration::from_millis(rng.u64(..300));
            return Self { blocks: Vec::new(), torn, last, writes, first_byte };
        }
        push(rng, &[delta(json!({ "role": "assistant" }), json!(null))], "", "");
        for _ in 0..count {
            match rng.u8(..20) {
                0 => push(rng, &[": still there".into()], "", ""),
                1 => push(rng, &["event: other".into(), "data: not JSON".into()], "", ""),
                2..=4 => {
                    let said = words(rng);
                    push(rng, &[delta(json!({ "reasoning_content": said }), json!(null))], "", &said);
                }
                kind => {
                    let mut said = words(rng);
                    if kind == 5 {
                        said = said.repeat(rng.usize(1..2000));
                    }
                    push(rng, &[delta(json!({ "content": said }), json!(null))], &said, "");
                }
            }
        }
        match last {
            Last::Marker | Last::Finish => {
                push(rng, &[delta(json!({}), json!("stop"))], "", "");
                if rng.bool() {
                    let usage =
                        json!({ "choices": [], "usage": { "prompt_tokens": 3, "completion_tokens": count } });
                    push(rng, &[format!("data: {usage}")], "", "");
                }
                if last == Last::Marker {
                    push(rng, &["data: [DONE]".into()], "", "");
                }
            }
            Last::Error => push(rng, &[r#"data: {"error":{"message":"no more"}}"#.into()], "", ""),
            _ => {}
        }
        let mut torn = Vec::new();
        if last == Last::Cut {
            torn = delta(json!({ "content": words(rng) }), json!(null)).into_bytes();
            torn.truncate(rng.usize(..torn.len()));
        }
        let writes = writes(&blocks, &torn, rng);
        let first_byte = Duration::from_millis(if rng.u8(..12) == 0 { 6000 } else { rng.u64(..400) });
        Self { blocks, torn, last, writes, first_byte }
    }

    /// All bytes of the body.
    pub(crate) fn body(&self) -> Vec<u8> {
        self.writes.iter().flat_map(|(_, bytes)| bytes).copied().collect()
    }

    /// How the stream ends if nothing but the provider has a say in it.
    pub(crate) fn end(&self, first_byte_max: Duration) -> &'static str {
        if self.first_byte > first_byte_max {
            return "failed/upstream_silent";
        }
        match self.last {
            Last::Marker | Last::Finish => "completed",
            Last::Early => "failed/upstream_eof",
            Last::Cut | Last::NoAnswer => "failed/upstream_cut",
            Last::Silence => "failed/upstream_silent",
            Last::Error => "failed/upstream_error",
            Last::Status(_) => "failed/upstream_status",
            Last::NotAStream => "failed/not_a_stream",
        }
    }

    /// How many blocks so many bytes are; the last one may be torn.
    pub(crate) fn blocks_in(&self, bytes: usize) -> u64 {
        let (mut begin, mut count) = (0, 0);
        for block in &self.blocks {
            if begin >= bytes {
                return count;
            }
            begin += block.bytes.len();
            count += 1;
        }
        count + u64::from(begin < bytes)
    }

    /// How many blocks so many bytes have whole: a torn one says nothing.
    pub(crate) fn whole_in(&self, bytes: u64) -> u64 {
        let blocks = self.blocks_in(bytes as usize);
        if blocks as usize > self.blocks.len() || (bytes as usize) < self.offset(blocks) {
            blocks - 1
        } else {
            blocks
        }
    }

    /// Where the block behind this one begins.
    pub(crate) fn offset(&self, block: u64) -> usize {
        let whole: usize = self.blocks.iter().take(block as usize).map(|block| block.bytes.len()).sum();
        whole + if block as usize > self.blocks.len() { self.torn.len() } else { 0 }
    }

    /// What the blocks from behind `after` up to `upto` say.
    pub(crate) fn said(&self, after: u64, upto: u64) -> (String, String) {
        let blocks = self.blocks.iter().take(upto as usize).skip(after as usize);
        blocks.fold(Default::default(), |(text, reasoning), block| {
            (text + &block.text, reasoning + &block.reasoning)
        })
    }
}

fn words(rng: &mut Rng) -> String {
    (0..rng.usize(1..5)).map(|_| WORDS[rng.usize(..WORDS.len())]).collect()
}

/// Cuts a body anywhere.
fn writes(blocks: &[Block], torn: &[u8], rng: &mut Rng) -> Vec<(Duration, Vec<u8>)> {
    let (gap, burst) = (rng.u64(..50), rng.u64(1..8));
    let mut rest: Vec<u8> = blocks.iter().flat_map(|block| &block.bytes).chain(torn).copied().collect();
    let mut borders: Vec<usize> = Vec::new();
    for block in blocks {
        borders.push(borders.last().unwrap_or(&0) + block.bytes.len());
    }
    let (mut writes, mut begin) = (Vec::new(), 0);
    while !rest.is_empty() {
        let border =
            borders.iter().find(|border| **border > begin).map_or(rest.len(), |border| border - begin);
        let len = match rng.u8(..8) {
            0 => rng.usize(1..=rest.len().min(40)),
            1 => rng.usize(1..=rest.len().min(4000)),
            _ => border,
        };
        let len = len.min(rest.len());
        let pause = if rng.u64(..burst) == 0 { rng.u64(..=gap) } else { 0 };
        let behind = rest.split_off(len);
        writes.push((Duration::from_millis(pause), std::mem::replace(&mut rest, behind)));
        begin += len;
    }
    writes
}
