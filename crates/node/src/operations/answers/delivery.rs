//! What becomes of packages on their way: what the queue says, what has come in.

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// A hand-over that this node began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// The package.
    pub package: String,
    /// The digest of the release.
    pub release: String,
    /// To whom.
    pub to: String,
    /// How far it is.
    pub state: TransferState,
    /// Why it is not done, in a sentence; empty when it is.
    pub why: String,
    /// Whose turn it is: `ours`, `theirs` or `nobody`.
    pub turn: String,
    /// What happens next, or what a person can do.
    pub next: String,
    /// The digest of the receipt that this node holds.
    pub receipt: Option<String>,
    /// What the recipient's people answered: `accepted`, `refused` or nothing yet.
    pub answer: Option<String>,
    /// Why the last attempt of this process came to nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Failure>,
    /// In how many seconds the next attempt is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try_seconds: Option<u64>,
    /// Whether somebody said that it is to wait.
    #[serde(default)]
    pub paused: bool,
    /// Until when its receipt is to be here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// The deadlines that passed without one, as this node signed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_received: Vec<NotReceived>,
    /// What was tried since the release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried: Option<TriedSoFar>,
    /// Whether it waits for the next day, because as much left today as may.
    #[serde(default)]
    pub capped: bool,
    /// Why the last session with the recipient went by TCP, where UDP was tried first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detour: Option<String>,
    /// What the session with the recipient waits for, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionWaits>,
}

/// A deadline that passed without a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotReceived {
    /// By when.
    pub deadline: String,
    /// The digest of the statement that says so.
    pub statement: String,
}

/// Attempts to hand something over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriedSoFar {
    /// How many there were.
    pub attempts: u64,
    /// When the first one began.
    pub first: String,
    /// When the last one began.
    pub last: String,
    /// Why the last one came to nothing that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// What a session waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionWaits {
    /// Why it is not further, in a sentence.
    pub why: String,
    /// Whose turn it is: `ours`, `theirs` or `nobody`.
    pub turn: String,
    /// What happens then.
    pub next: String,
    /// For how many seconds it has been so.
    pub seconds: u64,
}

/// How fast content leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// Bytes a second, as `256k`, or `off` for no limit; none when no node runs here.
    pub now: Option<String>,
    /// What was asked for in place of the configuration.
    pub wished: Option<String>,
    /// What `custodia.toml` says.
    pub configured: Option<String>,
}

/// How much content may leave in one day, and what left today.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cap {
    /// Bytes a day, as `500M`; none: as many as there are.
    pub cap: Option<String>,
    /// The day, in UTC, by this machine's clock.
    pub day: String,
    /// Bytes of content that left on it.
    pub sent: u64,
    /// Whether content waits for the next day.
    pub used_up: bool,
}

/// By which road an authority is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Road {
    /// Whom.
    pub to: String,
    /// `auto`, `udp` or `tcp`.
    pub via: String,
    /// Why the last session went by TCP, where UDP was tried first.
    pub detour: Option<String>,
}

/// How far a hand-over is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransferState {
    /// Released here; the recipient has not answered.
    Released,
    /// The recipient holds the release and accepts its conditions; content is awaited.
    Consigned,
    /// The recipient's signed receipt is on this disk.
    Received,
    /// The recipient refused.
    Refused,
}

/// What one attempt to deliver came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The hand-over, as it is now.
    pub transfer: Transfer,
    /// Bytes of items sent while this was waited for.
    pub bytes_sent: u64,
    /// Why it went by TCP, where UDP was tried first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detour: Option<String>,
}

/// A package that another authority released to this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// The package.
    pub package: String,
    /// The digest of the release.
    pub release: String,
    /// From whom.
    pub from: String,
    /// How far it is: `announced`, `incomplete`, `received`, `accepted` or `refused`.
    pub state: String,
    /// What it is for.
    pub purpose: String,
    /// Under which limits, in words.
    #[serde(default)]
    pub limits: String,
    /// Whose material it is, where it is not the sender's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub originator: Option<String>,
    /// Records of the package.
    pub records: u64,
    /// Bytes of its files, once the manifest is here.
    pub bytes: Option<u64>,
    /// How much of it was carried, once the manifest is here.
    pub carried: Option<Carried>,
    /// The digest of this node's receipt.
    pub receipt: Option<String>,
    /// When it was released, by the sender's clock.
    pub released_at: String,
    /// What a person can do.
    pub next: String,
}

/// How much of a package has come in. No byte that is recorded as proven travels twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// Bytes of the items.
    pub bytes: u64,
    /// Bytes of them that are proven here.
    pub proven: u64,
    /// Bytes of content that arrived, over all sessions and restarts.
    pub travelled: u64,
    /// Bytes of those that had been recorded as proven before: always 0 between honest nodes.
    pub again: u64,
    /// Bytes that were here already, from other packages.
    pub reused: u64,
}
