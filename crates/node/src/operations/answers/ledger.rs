//! The ledger: its head, what was checked of it, who holds what of it.

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// A checkpoint of this node's ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerHead {
    /// The signed note.
    pub note: String,
    /// The vkey that checks it.
    pub vkey: String,
    /// How many entries it covers.
    pub size: u64,
    /// The peers that cosigned a checkpoint, and the newest size that each saw.
    pub witnessed: Vec<(String, u64)>,
    /// The newest token of each time-stamping service.
    #[serde(default)]
    pub stamped: Vec<Stamp>,
}

/// A time-stamp token in this node's ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// How many entries the checkpoint covers that it stamps.
    pub size: u64,
    /// The time that it says.
    pub time: String,
    /// By whose clock: the subject of the certificate.
    pub by: String,
    /// SHA-256 of the token, which lies in `anchors/`.
    pub token: String,
    /// Its own place in the ledger.
    pub leaf_index: u64,
    /// What is odd about its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

/// What one time-stamping service gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StampedBy {
    /// Its address.
    pub service: String,
    /// Its tokens; none where there was nothing new to stamp.
    pub tokens: Vec<Stamp>,
    /// Why it gave no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// What a check of the whole ledger found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Entries.
    pub entries: u64,
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Milliseconds that it took.
    pub took_ms: u64,
    /// What is wrong.
    pub errors: Vec<String>,
    /// What is odd and harmless.
    pub remarks: Vec<String>,
    /// What the bytes of the packages turned out to be, when that was asked for. Its damage is among the errors too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<CheckedContent>,
}

/// What a check of every byte found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedContent {
    /// Objects that were read and hashed, with those of the interrupted check that this one went on with.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Midstates files; each was held against its item.
    pub midstates: u64,
    /// Manifests and annexes that were read.
    pub manifests: u64,
    /// Bytes that this run itself read.
    pub bytes_read: u64,
    /// Milliseconds that this run took.
    pub took_ms: u64,
    /// The check that it went on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Resumed>,
    /// What is damaged.
    pub damage: Vec<Damaged>,
    /// What is odd and harmless.
    pub remarks: Vec<String>,
}

/// A check that was interrupted, and whose place another one took up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// When it had begun, by this machine's clock.
    pub began: String,
    /// Objects that it had read.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A file that is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damaged {
    /// The file, from the home.
    pub path: String,
    /// What it must be.
    pub expected: String,
    /// What it is.
    pub found: String,
    /// The packages that need it, by the beginnings of their ids.
    pub needed_by: Vec<String>,
    /// Who else holds it, and by which statement: whom to ask for it.
    pub held_by: Vec<String>,
    /// What is safe.
    pub safe: String,
    /// What to do, the best first.
    pub next: Vec<String>,
    /// The end of the last round of the scrub that read it whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_whole: Option<String>,
    /// When it was found, by this machine's clock.
    pub found_at: String,
    /// It was written anew from what is whole.
    pub is_healed: bool,
}

/// What an audit of a ledger from outside found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audited {
    /// Where it was read.
    pub source: String,
    /// The ledger.
    pub ledger: String,
    /// Entries. Where there are none, nothing was checked but a signature.
    pub entries: u64,
    /// The root that is signed, and that the entries gave unless `errors` says otherwise.
    pub root: String,
    /// The signed note.
    pub note: String,
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Milliseconds that it took.
    pub took_ms: u64,
    /// Who cosigned the checkpoint.
    pub cosigned: Vec<Cosigner>,
    /// How it stands to the checkpoint that was held, where one is.
    pub held: Option<HeldCheckpoint>,
    /// What documents at hand were compared, where a folder was given.
    pub statements: Option<Compared>,
    /// What is wrong.
    pub errors: Vec<String>,
    /// What is odd and harmless.
    pub remarks: Vec<String>,
}

/// Whoever signed a checkpoint beside its ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cosigner {
    /// The name on the line.
    pub name: String,
    /// The key's id on the line, hex.
    pub key_id: String,
    /// Whether the key was given, and the signature verified. Of others nothing is known.
    pub known: bool,
    /// When a known one cosigned, by its clock.
    pub time: Option<String>,
}

/// The checkpoint that an auditor holds between audits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldCheckpoint {
    /// Its file.
    pub path: String,
    /// The size that was held before this audit; none at the first.
    pub before: Option<u64>,
    /// How the audited checkpoint stands to it.
    pub state: HeldState,
}

/// How a checkpoint stands to the one that was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldState {
    /// None was held; this one is now.
    First,
    /// It is the same.
    Same,
    /// It continues it, and is held now.
    Continued,
    /// The ledger is damaged, so that it cannot be told; the old one is still held.
    Unknown,
}

/// Documents at hand, against the entries of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// Entries whose document was there and has both digests.
    pub seen: u64,
    /// Entries whose document was not there.
    pub unseen: u64,
}
