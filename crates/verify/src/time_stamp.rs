//! Time-stamp tokens: RFC 3161 over CMS (RFC 5652), read strictly and checked against one certificate that the reader
//! believes (docs/spec/time-stamps.md).
//!
//! The certificate comes from the reader's trust file and is the signing certificate itself, so there is no chain, no
//! authority above it and no list of revocations to be asked for. What a token carries besides is not looked at: neither
//! the certificates in it nor who it says has made it. This folder refuses the network, and the clock: a node fetches,
//! and says what it thinks of a time.

mod algorithm;
mod certificate;
mod check;
mod elements;
mod query;
mod token;

/// The name of a policy of a time-stamping authority: an object identifier.
pub type Policy = ::der::asn1::ObjectIdentifier;

pub use certificate::{CertificateRefused, TsaCertificate};
pub use check::{TimeStamp, TokenError};
pub use query::{Query, Reply};
pub use token::Token;
