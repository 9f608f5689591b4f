//! How the node is, and how it goes on after a loss.

use serde::{Deserialize, Serialize};

/// What the node's health check looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// Each check: its name, whether it is in order, and what was seen.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// Whether it is in order.
    pub ok: bool,
    /// What was seen.
    pub seen: String,
}

/// A next generation of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Succeeded {
    /// The ledger that ended.
    pub ended: String,
    /// How many entries its last checkpoint covers, by the card that ends it.
    pub covered: u64,
    /// The ledger that goes on.
    pub ledger: String,
    /// Its entries.
    pub entries: u64,
    /// How many documents of the old ledger were logged again in it.
    pub logged_again: u64,
    /// How many statements came along that had no entry here: lost with a newer copy, or given back by peers.
    pub found_beside: u64,
    /// The peers that have taken the new card already.
    pub peers: Vec<String>,
    /// Those that take it at their next connection.
    pub peers_later: Vec<String>,
}

/// A backup that was made or brought up to date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp {
    /// Where.
    pub dir: String,
    /// The ledger.
    pub ledger: String,
    /// Entries of the ledger that it holds.
    pub entries: u64,
    /// Files that were copied.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were there already.
    pub there: u64,
    /// Whether the private keys are in it.
    pub keys: bool,
    /// Milliseconds that it took.
    pub took_ms: u64,
}

/// A home made of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// Where.
    pub home: String,
    /// Its ledger.
    pub ledger: String,
    /// Entries of it.
    pub entries: u64,
    /// Files that were copied.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is wrong with it, by a check of everything.
    pub errors: Vec<String>,
    /// What the peers say.
    pub standing: Standing,
    /// Milliseconds that it took.
    pub took_ms: u64,
}

/// How a restored ledger stands to what its peers saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Standing {
    /// Every peer was asked, and none saw more. It signs.
    Confirmed,
    /// Not every peer could be asked. It signs; what it signs is unconfirmed until they cosign it.
    Unconfirmed {
        /// Peers that told.
        heard: u64,
        /// All of them.
        peers: u64,
    },
    /// A peer saw more than is here. It signs nothing; the next generation goes on.
    Behind {
        /// What was seen, and what is here.
        why: String,
    },
}
