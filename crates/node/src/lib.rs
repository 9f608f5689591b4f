//! An authority's node: its home, its keys, its statements, its hand-overs, and the one API to all of it.
//!
//! This crate joins the others and decides: policy, outbox, who may ask what. It is the only reader of the clock, of
//! entropy and of configuration. It refuses hashing and parsing by itself: bytes go to `vault` and `ledger`, texts to
//! `format`, judgements to `verify`.

mod allowance;
mod amount;
pub mod api;
mod ask;
pub mod auditors;
mod author;
mod back;
mod claims;
pub mod config;
mod convert;
mod copying;
mod deadline;
mod desk;
mod dossier;
mod edge;
mod evidence;
pub mod failure;
mod generations;
mod gossip;
mod heard;
mod history;
pub mod home;
mod host;
mod http;
pub mod init;
pub mod keys;
mod meters;
mod node;
pub mod operations;
mod outbox;
mod outgoing;
mod packages;
mod peers;
mod progress;
mod proofs;
mod receive;
mod redacted;
mod scrub;
pub mod sending;
mod serve;
mod stick;
pub mod time_stamps;
mod views;
mod watch;
#[cfg(feature = "watched")]
pub mod watched;
mod witness;

pub use allowance::Limits;
pub use heard::Heard;
pub use node::Node;
pub use serve::{Listening, serve};

/// The UDP port of the protocol where nothing else is said.
pub const DEFAULT_PORT: u16 = 4433;

/// Where a node listens when its owner does not say.
pub fn default_listen() -> std::net::SocketAddr {
    std::net::SocketAddr::from(([0, 0, 0, 0], DEFAULT_PORT))
}
