//! How far work is: one type for every operation, for every transfer, for people, programs and the API alike.
//!
//! It is never a promise: only an answer means done. What is shown as proven is what the recipient says that it has proven;
//! a hand-over is received when its receipt is in our ledger, and not one event earlier (docs/spec/events.md).

pub(crate) mod journey;
pub(crate) mod speed;

use custodia_exchange::Phase as Wire;
use serde::{Deserialize, Serialize};

pub use journey::Direction;
pub(crate) use journey::Journeys;
pub(crate) use speed::Speeds;
pub use speed::TimeLeft;

/// Declares the phases with their names and words, in one place.
macro_rules! phases {
    ($($name:ident $text:literal $words:literal;)*) => {
        /// What is being done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Phase {
            $(#[doc = $words] $name,)*
        }

        impl Phase {
            /// Every phase.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name, as programs read it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// What people read.
            pub const fn words(self) -> &'static str {
                match self { $(Self::$name => $words),* }
            }
        }
    };
}

phases! {
    Hash "hash" "read and hash";
    Store "store" "make durable";
    Announce "announce" "announce";
    Send "send" "send";
    Prove "prove" "peer proves";
    Receive "receive" "receive and prove";
    Receipt "receipt" "receipt";
    Write "write" "write";
    Read "read" "read";
    Export "export" "export";
    Backup "backup" "back up";
    Restore "restore" "restore";
    Check "check" "check the ledger";
    Objects "objects" "check the objects";
    Ask "ask" "ask the peers";
    Log "log" "log";
}

/// How far an operation or a transfer is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// The package that it is about, by its whole id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// The other authority, by its name in the trust file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Which way the package goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Bytes done in this phase: of a package that is sent, those handed to the link or proven before.
    pub bytes: u64,
    /// Bytes of this phase, 0 when not known.
    pub bytes_total: u64,
    /// Of a package that travels: bytes of its files that the recipient has proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven: Option<u64>,
    /// Items done in this phase.
    pub items: u64,
    /// Items of this phase, 0 when not known.
    pub items_total: u64,
    /// Bytes a second of late: proven ones, where something is proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// How long it may still take; none while nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<TimeLeft>,
    /// How the link is that it travels on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkState>,
    /// How the transfer ended; nothing more is told of it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// A sentence worth a line of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How a transfer ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// What came of it.
    pub outcome: Outcome,
    /// The digest of the receipt or of the refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// Why it did not go on, as the wire has it (docs/spec/wire.md §7).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

impl Ended {
    /// How a phase of a session ends a transfer; none where it goes on.
    pub(crate) fn of(phase: &Wire) -> Option<Self> {
        let (outcome, statement, code) = match phase {
            Wire::Receipted { receipt } => (Outcome::Received, Some(receipt), None),
            Wire::Declined { refusal } => (Outcome::Declined, Some(refusal), None),
            Wire::Failed(refused) => (Outcome::Stopped, None, Some(format!("{:?}", refused.code))),
            _ => return None,
        };
        Some(Self { outcome, statement: statement.map(ToString::to_string), code })
    }
}

/// What came of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The receipt is in the ledgers of both.
    Received,
    /// The recipient answered with a signed refusal.
    Declined,
    /// It did not go on, and stays queued at its sender.
    Stopped,
}

impl Outcome {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Declined => "declined",
            Self::Stopped => "stopped",
        }
    }
}

/// How a link is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkState {
    /// The road: `udp` or `tcp`; none while there is no session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// How long an answer takes, where the road shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<u64>,
    /// Packets of ours that were lost, of each million, since the session began, where the road shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_per_million: Option<u32>,
    /// For how many seconds no content has moved, from five on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stalled_seconds: Option<u64>,
}

impl Progress {
    /// A phase of which nothing is known yet.
    pub const fn of(phase: Phase) -> Self {
        Self {
            phase,
            package: None,
            peer: None,
            direction: None,
            bytes: 0,
            bytes_total: 0,
            proven: None,
            items: 0,
            items_total: 0,
            rate: None,
            left: None,
            link: None,
            ended: None,
            note: None,
        }
    }

    /// Nothing but a sentence.
    pub fn note(phase: Phase, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..Self::of(phase) }
    }

    /// So many bytes are done; 0 in all when that is not known.
    #[must_use]
    pub const fn bytes(mut self, done: u64, total: u64) -> Self {
        (self.bytes, self.bytes_total) = (done, total);
        self
    }

    /// So many items are done; 0 in all when that is not known.
    #[must_use]
    pub const fn items(mut self, done: u64, total: u64) -> Self {
        (self.items, self.items_total) = (done, total);
        self
    }

    /// The bytes that count: proven ones, where something is proven.
    pub fn counts(&self) -> u64 {
        self.proven.unwrap_or(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_is_printed_as_its_name() {
        for phase in Phase::ALL {
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.as_str());
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let text = serde_json::to_string(&Progress::of(Phase::Hash).bytes(1, 2)).unwrap();
        assert_eq!(text, r#"{"phase":"hash","bytes":1,"bytes_total":2,"items":0,"items_total":0}"#);
    }
}
