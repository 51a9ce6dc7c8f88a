//! What the provider says in one stream, and when each token of it is due: a pure function of what the request asks.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::token::Token;

/// Blocks of an answer that are no tokens: the role before them, and finish, usage and `[DONE]` behind them.
pub(crate) const BLOCKS_BESIDE: u64 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Script {
    /// Which stream this is; also the seed of its jitter.
    pub(crate) stream: u32,
    pub(crate) tokens: u64,
    pub(crate) token_bytes: usize,
    /// Tokens per second; 0 is all at once.
    pub(crate) rate: f64,
    /// How far a token may be early or late, in intervals, 0 to 1.
    pub(crate) jitter: f64,
    /// Tokens that are due together.
    pub(crate) burst: u64,
    /// When this stream begins, after the release of all.
    pub(crate) begin_us: u64,
}

impl Script {
    pub(crate) fn blocks(&self) -> u64 {
        self.tokens + BLOCKS_BESIDE
    }

    /// When a token is due, after the release.
    pub(crate) fn due(&self, number: u64) -> Duration {
        let begin = Duration::from_micros(self.begin_us);
        if self.rate <= 0.0 {
            return begin;
        }
        let together = number - number % self.burst;
        // No later than the one behind it, because both move by half an interval at most.
        let moved = if together == 0 { 0.0 } else { self.jitter * (self.dice(together) - 0.5) };
        begin + Duration::from_secs_f64((together as f64 + moved) / self.rate)
    }

    /// From 0 to 1, the same for the same token.
    fn dice(&self, number: u64) -> f64 {
        fastrand::Rng::with_seed(u64::from(self.stream) << 32 | number).f64()
    }

    /// How long the whole answer takes.
    pub(crate) fn takes(&self) -> Duration {
        self.due(self.tokens.saturating_sub(1))
    }

    /// A request that goes through the gateway as it is: it asks for streaming and usage by itself, so that the
    /// provider gets the same bytes either way.
    pub(crate) fn request(&self) -> String {
        let script = serde_json::to_string(self).expect("plain data serialises");
        format!(
            r#"{{"model":"load","stream":true,"stream_options":{{"include_usage":true}},"messages":[{{"role":"user","content":"Say something long."}}],"script":{script}}}"#
        )
    }

    pub(crate) fn asked_by(request: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Request {
            script: Script,
        }
        serde_json::from_slice::<Request>(request).ok().map(|request| request.script)
    }

    /// The block before all tokens.
    pub(crate) fn opening(&self, out: &mut Vec<u8>) {
        block(r#"{"role":"assistant","content":""}"#, "null", out);
    }

    pub(crate) fn say(&self, token: Token, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"data: {"id":"chatcmpl-load","object":"chat.completion.chunk","created":1,"model":"load","choices":[{"index":0,"delta":{"content":""#);
        token.write(self.token_bytes, out);
        out.extend_from_slice(b"\"},\"finish_reason\":null}]}\n\n");
    }

    /// The blocks behind all tokens.
    pub(crate) fn closing(&self, out: &mut Vec<u8>) {
        block("{}", "\"stop\"", out);
        let usage = format!(
            "data: {{\"id\":\"chatcmpl-load\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"load\",\"choices\":[],\
             \"usage\":{{\"prompt_tokens\":5,\"completion_tokens\":{0},\"total_tokens\":{1}}}}}\n\ndata: [DONE]\n\n",
            self.tokens,
            self.tokens + 5
        );
        out.extend_from_slice(usage.as_bytes());
    }
}

fn block(delta: &str, finish: &str, out: &mut Vec<u8>) {
    let block = format!(
        "data: {{\"id\":\"chatcmpl-load\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"load\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
    );
    out.extend_from_slice(block.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: Script = Script {
        stream: 3,
        tokens: 200,
        token_bytes: 64,
        rate: 50.0,
        jitter: 1.0,
        burst: 1,
        begin_us: 500_000,
    };

    #[test]
    fn the_schedule_never_goes_back_and_keeps_its_rate() {
        let due: Vec<Duration> = (0..SCRIPT.tokens).map(|number| SCRIPT.due(number)).collect();
        assert!(due.is_sorted());
        assert_eq!(due[0], Duration::from_millis(500));
        let last = SCRIPT.takes().as_secs_f64();
        assert!((0.5 + 198.0 / 50.0..=0.5 + 200.0 / 50.0).contains(&last), "{last}");
        let bursts = Script { burst: 10, jitter: 0.0, ..SCRIPT };
        assert_eq!((bursts.due(9), bursts.due(10)), (bursts.due(0), Duration::from_millis(700)));
        assert_eq!(Script { rate: 0.0, ..SCRIPT }.takes(), Duration::from_millis(500));
    }

    #[test]
    fn a_request_carries_its_script() {
        assert_eq!(Script::asked_by(SCRIPT.request().as_bytes()), Some(SCRIPT));
        assert_eq!(Script::asked_by(b"{}"), None);
    }

    #[test]
    fn blocks_and_tokens() {
        let mut said = Vec::new();
        SCRIPT.opening(&mut said);
        for number in 0..SCRIPT.tokens {
            SCRIPT.say(Token { stream: 3, number, due_ns: 1, late_us: 0 }, &mut said);
        }
        SCRIPT.closing(&mut said);
        let said = String::from_utf8(said).unwrap();
        assert_eq!(said.matches("\n\n").count() as u64, SCRIPT.blocks());
        for block in said.split_terminator("\n\n").filter(|block| *block != "data: [DONE]") {
            serde_json::from_str::<serde_json::Value>(block.strip_prefix("data: ").unwrap()).unwrap();
        }
    }
}
