//! What the simulated provider is asked to do: defaults from the command line, and any of them again per
//! request, as the member `"simulate": {…}` of the request body.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The most tokens that one answer can be asked for.
pub(super) const TOKENS_MAX: u64 = 10_000_000;
/// The largest `token_bytes`.
pub(super) const TOKEN_BYTES_MAX: u64 = 1 << 20;
/// The largest `huge_line`.
pub(super) const HUGE_LINE_MAX: u64 = 64 << 20;
/// The most tool calls of one choice.
pub(super) const TOOL_CALLS_MAX: u64 = 128;
/// More than a token of prose has on average.
const PROSE_TOKEN_BYTES: u64 = 8;
/// The longest wait of any kind: a day.
pub(super) const WAIT_MS_MAX: u64 = 86_400_000;

const SAYS: &str = "What is said";
const PACE: &str = "How fast";
const FAULTS: &str =
    "Faults (an event is a block with `data:` or a line of NDJSON, counted from 1, `[DONE]` included)";
const BYTES: &str = "How it is written";

/// What the help says at its end.
pub const STEERING: &str = "A request overrides these options, under their names with _ for -, in a member `simulate` of \
    its body,\nor in its model's name, as in `any;tokens=50;cut_after=10`.";

// Not a doc comment: clap would print it as the description of any command that flattens this.
// A request overrides any of these but `listen`, under the same names, in a member `"simulate"` of its body.
#[derive(Args, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value_t = DEFAULTS.listen)]
    #[serde(skip)]
    pub listen: SocketAddr,

    /// Same seed, same bytes; derived from the request's body unless given, so that equal requests get equal
    /// answers
    #[arg(long, help_heading = SAYS)]
    pub seed: Option<u64>,
    /// Tokens of text per choice
    #[arg(long, help_heading = SAYS, default_value_t = DEFAULTS.tokens)]
    pub tokens: u64,
    /// Tokens of reasoning before the text
    #[arg(long, help_heading = SAYS, default_value_t = DEFAULTS.reasoning)]
    pub reasoning: u64,
    /// Tool calls after the text, if the request brings `tools`
    #[arg(long, help_heading = SAYS, default_value_t = DEFAULTS.tool_calls)]
    pub tool_calls: u64,
    /// Refuse: the text goes into `refusal` instead of `content`, or its end says so, as the dialect has it
    #[arg(long, help_heading = SAYS)]
    pub refusal: bool,
    /// Payload of every text token: exactly so many ASCII bytes, instead of prose
    #[arg(long, help_heading = SAYS)]
    pub token_bytes: Option<u64>,
    /// Say an emoji as two lone surrogate escapes in two deltas, after the first text token
    #[arg(long, help_heading = SAYS)]
    pub emoji_halves: bool,

    /// Tokens per second and choice; 0 is as fast as possible
    #[arg(long, help_heading = PACE, default_value_t = DEFAULTS.rate)]
    pub rate: f64,
    /// How far a token may be early or late, in intervals, 0 to 1
    #[arg(long, help_heading = PACE, default_value_t = DEFAULTS.jitter)]
    pub jitter: f64,
    /// Tokens per write
    #[arg(long, help_heading = PACE, default_value_t = DEFAULTS.burst)]
    pub burst: u64,
    /// Delay before the response head
    #[arg(long, help_heading = PACE, value_name = "MS", default_value_t = DEFAULTS.head_ms)]
    pub head_ms: u64,
    /// Delay between the head and the first byte of the body
    #[arg(long, help_heading = PACE, value_name = "MS", default_value_t = DEFAULTS.first_byte_ms)]
    pub first_byte_ms: u64,
    /// Keep the connection open for so long after the last byte of a stream
    #[arg(long, help_heading = PACE, value_name = "MS", default_value_t = DEFAULTS.hold_ms)]
    pub hold_ms: u64,

    /// Close the connection after so many events, without the last HTTP chunk
    #[arg(long, help_heading = FAULTS, value_name = "EVENTS")]
    pub cut_after: Option<u64>,
    /// End the body cleanly after so many events
    #[arg(long, help_heading = FAULTS, value_name = "EVENTS")]
    pub eof_after: Option<u64>,
    /// Send nothing more after so many events, and keep the connection
    #[arg(long, help_heading = FAULTS, value_name = "EVENTS")]
    pub stall_after: Option<u64>,
    /// Go on after a stall of this length, instead of never
    #[arg(long, help_heading = FAULTS, value_name = "MS")]
    pub stall_ms: Option<u64>,
    /// Say an error in band after so many events, then what follows one in the dialect, such as `[DONE]`
    #[arg(long, help_heading = FAULTS, value_name = "EVENTS")]
    pub error_after: Option<u64>,
    /// Say an error in band after the finish
    #[arg(long, help_heading = FAULTS)]
    pub error_at_finish: bool,
    /// After so many events send invalid UTF-8, broken JSON, comments and unknown fields, then go on correctly
    #[arg(long, help_heading = FAULTS, value_name = "EVENTS")]
    pub garbage_after: Option<u64>,
    /// Send one valid line of so many bytes in mid-stream
    #[arg(long, help_heading = FAULTS, value_name = "BYTES")]
    pub huge_line: Option<u64>,
    /// Send no `[DONE]`, or whatever event tells an end from a cut in the dialect
    #[arg(long, help_heading = FAULTS)]
    pub no_done: bool,
    /// Answer with this HTTP status, 400 to 599, and an error body
    #[arg(long, help_heading = FAULTS)]
    pub status: Option<u16>,
    /// Answer 307 to another path of this server
    #[arg(long, help_heading = FAULTS)]
    pub redirect: bool,

    /// How lines end; usual is CRLF in Gemini's dialect, else LF
    #[arg(long, help_heading = BYTES, value_enum, default_value_t = DEFAULTS.line_end)]
    pub line_end: LineEnd,
    /// Begin with a byte order mark
    #[arg(long, help_heading = BYTES)]
    pub bom: bool,
    /// Send a keep-alive comment after every so many events; in NDJSON an empty line
    #[arg(long, help_heading = BYTES, value_name = "EVENTS")]
    pub comments: Option<u64>,
    /// Cut what is written into pieces of so many bytes
    #[arg(long, help_heading = BYTES, value_name = "BYTES")]
    pub split: Option<u64>,
    /// Content type of a successful answer, instead of the right one
    #[arg(long, help_heading = BYTES)]
    pub content_type: Option<String>,
    /// Claim `content-encoding: gzip` for a body that is not encoded
    #[arg(long, help_heading = BYTES)]
    pub gzip_header: bool,
}

/// The three line ends that SSE knows, and whichever of them is the dialect's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LineEnd {
    Usual,
    Lf,
    Crlf,
    Cr,
}

impl LineEnd {
    /// `None` is as the dialect has it.
    pub(super) fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Usual => None,
            Self::Lf => Some("\n"),
            Self::Crlf => Some("\r\n"),
            Self::Cr => Some("\r"),
        }
    }
}

const DEFAULTS: Options = Options {
    listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9199),
    seed: None,
    tokens: 200,
    reasoning: 0,
    tool_calls: 0,
    refusal: false,
    token_bytes: None,
    emoji_halves: false,
    rate: 40.0,
    jitter: 0.3,
    burst: 1,
    head_ms: 0,
    first_byte_ms: 0,
    hold_ms: 0,
    cut_after: None,
    eof_after: None,
    stall_after: None,
    stall_ms: None,
    error_after: None,
    error_at_finish: false,
    garbage_after: None,
    huge_line: None,
    no_done: false,
    status: None,
    redirect: false,
    line_end: LineEnd::Usual,
    bom: false,
    comments: None,
    split: None,
    content_type: None,
    gzip_header: false,
};

impl Default for Options {
    fn default() -> Self {
        DEFAULTS
    }
}

impl Options {
    /// These options with a request's `simulate` member on top. The error names the key and says what to write.
    pub(super) fn with(&self, overrides: &Map<String, Value>) -> Result<Self, String> {
        let Ok(Value::Object(mut members)) = serde_json::to_value(self) else {
            return Err("the options do not serialise".to_owned());
        };
        for (name, value) in overrides {
            if !members.contains_key(name) {
                let allowed = members.keys().cloned().collect::<Vec<_>>().join(", ");
                return Err(format!("simulate.{name} is unknown; allowed are {allowed}"));
            }
            // One key at a time, because serde does not say which member had the wrong type.
            let alone = Value::Object(Map::from_iter([(name.clone(), value.clone())]));
            if let Err(error) = serde_json::from_value::<Self>(alone) {
                return Err(format!("simulate.{name}: {error}"));
            }
            members.insert(name.clone(), value.clone());
        }
        let merged: Self =
            serde_json::from_value(Value::Object(members)).map_err(|error| error.to_string())?;
        let merged = Self { listen: self.listen, ..merged };
        merged.check().map_err(|error| format!("simulate.{error}"))?;
        Ok(merged)
    }

    /// Whether every value is within its limits. The error begins with the name of the one that is not.
    pub(super) fn check(&self) -> Result<(), String> {
        let ranges = [
            ("tokens", Some(self.tokens), 0, TOKENS_MAX),
            ("reasoning", Some(self.reasoning), 0, TOKENS_MAX),
            ("tool_calls", Some(self.tool_calls), 0, TOOL_CALLS_MAX),
            ("token_bytes", self.token_bytes, 1, TOKEN_BYTES_MAX),
            ("burst", Some(self.burst), 1, TOKENS_MAX),
            ("head_ms", Some(self.head_ms), 0, WAIT_MS_MAX),
            ("first_byte_ms", Some(self.first_byte_ms), 0, WAIT_MS_MAX),
            ("hold_ms", Some(self.hold_ms), 0, WAIT_MS_MAX),
            ("stall_ms", self.stall_ms, 0, WAIT_MS_MAX),
            ("huge_line", self.huge_line, 1, HUGE_LINE_MAX),
            ("comments", self.comments, 1, u64::MAX),
            ("split", self.split, 1, u64::MAX),
            ("status", self.status.map(u64::from), 400, 599),
        ];
        for (name, value, least, most) in ranges {
            if value.is_some_and(|value| !(least..=most).contains(&value)) {
                return Err(format!("{name} must be from {least} to {most}"));
            }
        }
        if !(self.rate.is_finite() && (0.0..=1e6).contains(&self.rate)) {
            return Err("rate must be from 0 to 1000000 tokens per second".to_owned());
        }
        if self.rate > 0.0 && self.rate < 1e-3 {
            return Err("rate must be 0, or at least 0.001 tokens per second".to_owned());
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return Err("jitter must be from 0 to 1".to_owned());
        }
        if self.content_type.as_ref().is_some_and(|value| http::HeaderValue::from_str(value).is_err()) {
            return Err("content_type must be a valid header value".to_owned());
        }
        Ok(())
    }

    /// The same events at the same pace, all of them.
    pub(super) fn faultless(&self) -> Self {
        let Self { seed, tokens, reasoning, tool_calls, refusal, token_bytes, emoji_halves, .. } = *self;
        let Self { rate, jitter, burst, huge_line, .. } = *self;
        Self {
            seed,
            tokens,
            reasoning,
            tool_calls,
            refusal,
            token_bytes,
            emoji_halves,
            rate,
            jitter,
            burst,
            huge_line,
            ..DEFAULTS
        }
    }

    /// About how many bytes all the words are.
    pub(super) fn text_bytes(&self) -> u64 {
        self.tokens * self.token_bytes.unwrap_or(PROSE_TOKEN_BYTES) + self.reasoning * PROSE_TOKEN_BYTES
    }

    /// Time from one token to the next; `None` is as fast as possible.
    pub(super) fn interval(&self) -> Option<Duration> {
        (self.rate > 0.0).then(|| Duration::from_secs_f64(1.0 / self.rate))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn overrides(json: &str) -> Result<Options, String> {
        Options::default().with(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn no_flags_are_the_defaults() {
        assert_eq!(Cli::parse_from(["simulate"]).options, Options::default());
        let options = Cli::parse_from(["simulate", "--rate", "0", "--line-end", "crlf", "--no-done"]).options;
        assert_eq!((options.rate, options.line_end, options.no_done), (0.0, LineEnd::Crlf, true));
    }

    #[test]
    fn a_request_overrides_what_it_names_and_nothing_else() {
        let base = Options { tokens: 7, listen: "127.0.0.1:1".parse().unwrap(), ..Options::default() };
        let merged = base.with(&serde_json::from_str(r#"{"rate":5,"seed":18446744073709551615}"#).unwrap());
        assert_eq!(merged.unwrap(), Options { rate: 5.0, seed: Some(u64::MAX), ..base });
        assert_eq!(overrides(r#"{"line_end":"cr"}"#).unwrap().line_end, LineEnd::Cr);
    }

    #[test]
    fn an_error_names_the_key() {
        let unknown = overrides(r#"{"tokns":1}"#).unwrap_err();
        assert!(unknown.starts_with("simulate.tokns is unknown") && unknown.contains("tokens"), "{unknown}");
        assert!(!unknown.contains("listen"), "{unknown}");
        for (json, start) in [
            (r#"{"tokens":"many"}"#, "simulate.tokens: invalid type"),
            (r#"{"jitter":2}"#, "simulate.jitter must be"),
            (r#"{"burst":0}"#, "simulate.burst must be"),
            (r#"{"status":204}"#, "simulate.status must be"),
            (r#"{"listen":"x"}"#, "simulate.listen is unknown"),
            (r#"{"content_type":"a\nb"}"#, "simulate.content_type must be"),
        ] {
            let error = overrides(json).unwrap_err();
            assert!(error.starts_with(start), "{json}: {error}");
        }
    }
}
