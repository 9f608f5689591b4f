//! Hostile peers, on the real thing: a node's own process, and callers that do on purpose what no honest node does. Each
//! asserts its bound, and that afterwards the node lives, its ledger closes, and a good peer's package comes through.
//!
//! `tests/hostile/run` prints what was measured as a table (docs/THREATS.md, "Hostile peers").

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(unreachable_pub, reason = "the files of one program")]

#[path = "../../../net/tests/support/identity.rs"]
mod identity;
#[path = "../support/mod.rs"]
mod support;

mod caller;
mod initial;
mod listener;
mod measure;
mod rogue;
mod world;

mod answers;
mod content;
mod floods;
mod frames;
mod handshakes;
mod slow;
mod statements;
mod strangers;
mod streams;
