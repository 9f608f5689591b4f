//! Whether the ledger may sign.

use std::fmt;

/// What the ledger may do. Reading goes on in every state: doubt stops signing, not reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It logs and signs.
    Signing,
    /// A write or a sync failed, or what is on the disk does not fit together. It signs again after it was opened
    /// again, and, when a write had failed, after everything was checked.
    Poisoned {
        /// The file or range, and what is wrong with it.
        why: String,
    },
    /// A checkpoint that this ledger signed is ahead of what the disk holds, or contradicts it. Final for this ledger.
    RolledBack {
        /// The two checkpoints.
        why: String,
    },
    /// Another generation goes on in its place: it is read for ever, and signs nothing any more.
    Ended,
}

impl Health {
    /// Whether it logs and signs.
    pub const fn may_sign(&self) -> bool {
        matches!(self, Self::Signing)
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signing => f.write_str("signing"),
            Self::Poisoned { why } => write!(f, "poisoned: {why}"),
            Self::RolledBack { why } => write!(f, "rolled back: {why}"),
            Self::Ended => f.write_str("ended"),
        }
    }
}
