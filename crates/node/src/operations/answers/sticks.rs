//! What was written to media and read from them.

use serde::{Deserialize, Serialize};

/// What was written onto a medium.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsbWritten {
    /// Where.
    pub dir: String,
    /// For whom.
    pub to: String,
    /// How many files; each was read back from the medium.
    pub volumes: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Statements among it: releases, and what the peer is owed.
    pub statements: u64,
    /// Bytes of content that neither this medium nor one before it holds.
    pub bytes_left: u64,
    /// Whether it lies under a passphrase.
    pub sealed: bool,
}

/// What was read from a medium.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UsbRead {
    /// Whose it is.
    pub senders: Vec<String>,
    /// Files that were read.
    pub volumes: u64,
    /// Files that are for somebody else.
    pub for_others: u64,
    /// Statements that were not here before.
    pub statements: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// Packages of which it holds something.
    pub packages: Vec<UsbReceived>,
    /// What was not taken, and why.
    pub problems: Vec<UsbProblem>,
    /// Statements that were written back.
    pub statements_back: u64,
    /// Why nothing was written back.
    pub not_written_back: Option<String>,
}

/// A package that came by a medium.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsbReceived {
    /// The package.
    pub package: String,
    /// From whom.
    pub from: String,
    /// The receipt, when all of it is here.
    pub receipt: Option<String>,
    /// Whether it was not received before.
    pub is_new: bool,
}

/// Something on a medium that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsbProblem {
    /// The file.
    pub place: String,
    /// What is wrong.
    pub what: String,
}
