//! Custodia's formats: the types, their strict codecs, their limits, and the checks that need one signature or one
//! checkpoint and nothing else.
//!
//! Every parser here is strict and total: any bytes give a value or a [`Malformed`], and what was parsed prints back
//! to the same bytes. This crate refuses IO, clocks and randomness: whoever needs a time or a random number passes it
//! in. Judging a whole proof is the business of `custodia-verify`.

pub mod body;
pub mod checkpoint;
pub mod contradiction;
pub mod disclosure;
pub mod entry;
pub mod envelope;
pub mod error;
pub mod json;
pub mod key;
pub mod kind;
pub mod limits;
pub mod link;
pub mod manifest;
pub mod midstate;
pub mod moment;
pub mod note;
pub mod proof;
pub mod ranges;
pub mod record;
#[cfg(feature = "remembered")]
pub mod remembered;
pub mod statement;
pub mod text;
pub mod tile;
pub mod tlog_proof;
pub mod trust;

pub use custodia_merkle::Hash;
pub use error::Malformed;
