//! The gateway seen from outside: every behaviour × every transport × every journal.
//!
//! `gateway` runs one in this process, `provider` is what it calls, `http` and `viewing` are what calls it, `forge` makes tickets, and `says`
//! is what has to be seen. The other modules are the behaviours.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod fold;
mod forge;
mod gateway;
mod http;
mod packed;
mod provider;
mod says;
mod viewing;

mod addresses;
mod ai_sdk;
mod bad;
mod breaker;
mod crowd;
mod cursor;
mod doors;
mod ends;
mod exact;
mod families;
mod flood;
mod heads;
mod keys;
mod lane;
mod lines;
mod once;
mod ops;
mod page;
mod quota;
mod scopes;
mod session;
mod slow;
mod stop;
mod tickets;
mod tls;
mod towards;
mod who;
