//! What must not get about, each in words that nothing else has.

/// Keys of this gateway, and one that it does not know.
pub(crate) const KEY_A: &str = "tck_canary-key-of-tenant-a-4f1c";
pub(crate) const KEY_B: &str = "tck_canary-key-of-tenant-b-8e2d";
pub(crate) const UNKNOWN: &str = "tck_canary-key-of-nobody-77aa";
/// Keys for the provider: ours, and what callers bring along.
pub(crate) const PROVIDER: &str = "sk-canary-key-of-the-gateway-19bd";
pub(crate) const CALLER: &str = "sk-canary-key-of-a-caller-5c03";
pub(crate) const CALLER_IN_QUERY: &str = "sk-canary-key-in-a-query-e9f4";
/// A ticket that nobody issued.
pub(crate) const TICKET: &str = "canary-head.canary-ticket-body-61e0.canary-ticket-sign-d2b7";
/// What is asked.
pub(crate) const PROMPT: &str = "canary-prompt-a07e";
pub(crate) const TOOL: &str = "canary-tool-of-the-request-3d55";
pub(crate) const IDEMPOTENCY: &str = "canary-idempotency-key-c8a1";
pub(crate) const METADATA: &str = "canary-metadata-92f6";
/// What is answered.
pub(crate) const ANSWER: &str = "canary-answer-b4d8";
pub(crate) const CALL: &str = "canary-tool-call-arguments-0f9b";
pub(crate) const ERROR: &str = "canary-error-of-the-provider-6a2c";
pub(crate) const PURGED: &str = "canary-answer-that-was-purged-f35e";
