//! What was spent at providers.

use serde::{Deserialize, Serialize};

use super::DAY;
use crate::cast::end::{End, Why};
use crate::cast::event::Usage;
use crate::cast::fold::Fold;

/// No model takes or says more tokens in one call: who counts more is not believed.
const TOKENS_MAX: u64 = 1 << 24;

/// Tokens of providers: counted by them, and estimated where they have not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spent {
    pub counted: u64,
    pub estimated: u64,
}

impl Spent {
    pub fn total(self) -> u64 {
        self.counted.saturating_add(self.estimated)
    }

    pub fn add(&mut self, more: Self) {
        self.counted = self.counted.saturating_add(more.counted);
        self.estimated = self.estimated.saturating_add(more.estimated);
    }

    /// By a stream that ended so, and whose request has about so many tokens.
    pub fn by(end: &End, fold: &Fold, asked: u64) -> Self {
        // Who was not there, or has refused, has taken nothing.
        if end.blocks == 0 && end.why.reason() == Why::Internal.reason() {
            return Self::default();
        }
        let Usage { input, output } = end.usage.unwrap_or_default();
        let (input, output) = (input.filter(is_believed), output.filter(is_believed));
        // Most say one token in a block, some many.
        let said = end.blocks.max(tokens(fold.said_bytes()));
        let unasked = input.map_or(asked, |_| 0);
        let uncounted = match output {
            Some(_) if end.is_completed() => 0,
            // Of what breaks off the provider has counted the beginning.
            counted => said.saturating_sub(counted.unwrap_or(0)),
        };
        let counted = input.unwrap_or(0).saturating_add(output.unwrap_or(0));
        Self { counted, estimated: unasked.saturating_add(uncounted) }
    }
}

/// Whether a model can have taken or said so many tokens in one call.
pub fn is_believed(tokens: &u64) -> bool {
    *tokens <= TOKENS_MAX
}

/// About how many tokens so much text has.
pub fn tokens(bytes: usize) -> u64 {
    bytes.div_ceil(4) as u64
}

/// About how many tokens a request has.
pub fn tokens_in(request: &[u8]) -> u64 {
    // Images and files are long runs of base64, and cost far less than so much text.
    const PACKED_BYTES_MIN: usize = 2048;
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=-_".contains(byte);
    let runs = request.split(|byte| !is_base64(byte)).map(<[u8]>::len);
    let packed: usize = runs.filter(|len| *len >= PACKED_BYTES_MIN).sum();
    tokens(request.len() - packed + packed / 16)
}

/// The day in UTC at this time, in milliseconds since 1970, by its number since then.
pub fn day_of(ms: u64) -> u64 {
    ms / DAY.as_millis() as u64
}
