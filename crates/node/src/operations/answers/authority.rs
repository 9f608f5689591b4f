//! Who this node is, who decides in it, and whom it believes.

use serde::{Deserialize, Serialize};

/// This authority's card, and how to recognise it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnCard {
    /// Its cards, to be given to others: one envelope a line, from the first to the newest.
    pub cards: String,
    /// The authority's name.
    pub name: String,
    /// The newest card's number.
    pub number: u64,
    /// SHA-256 of the root key: what others compare over a second channel.
    pub fingerprint: String,
}

/// Somebody whom this node believes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trusted {
    /// The name, as this node's trust file has it.
    pub name: String,
    /// SHA-256 of the root key.
    pub fingerprint: String,
    /// Since when, a day.
    pub since: String,
    /// How the key was met.
    pub channel: String,
    /// Where it can be reached, best first.
    pub addresses: Vec<String>,
}

/// Somebody who can sign for this authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Officer {
    /// The pseudonym under which statements show the officer.
    pub pseudonym: String,
    /// The digest of the delegation.
    pub delegation: String,
}

/// A time-stamping authority that is believed from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedTsa {
    /// Whom its certificate names.
    pub subject: String,
    /// SHA-256 of the certificate.
    pub fingerprint: String,
    /// The first second for which it is valid.
    pub not_before: String,
    /// The last.
    pub not_after: String,
}
