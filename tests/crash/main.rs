//! The gateway as a process of its own that is killed, starved and refused. The oracle is what viewers wrote down:
//! whatever one of them has seen is there afterwards, once, and in the same place.
//!
//! `TOKENCAST_LONG=1` kills some hundred times, and brings ten thousand viewers where a few hundred have to do otherwise;
//! `TOKENCAST_SEED=N` repeats a run as far as time can be repeated; `TOKENCAST_BIN` names another gateway, built with
//! `--release`, of which more is demanded.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test is a failure of it")]
#![expect(clippy::print_stdout, reason = "seeds and figures are for people")]

mod check;
mod client;
mod command;
mod crowd;
mod gateway;
mod process;
mod provider;
mod proxy;
mod round;
mod shim;
mod viewer;

mod backup;
mod budget;
mod cut;
mod descriptors;
mod disk;
mod expiry;
mod export;
mod faults;
mod flood;
mod hangup;
mod heavy;
mod herd;
mod kill;
mod late;
mod metrics;
mod power;
mod silent;
mod soak;
mod start;
