//! What operations give back, as people and programs see it. Digests are hex, times RFC 3339, sizes bytes.

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// A package after it was sealed, or as it would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The root of its manifest: its id. None in a dry run.
    pub package: Option<String>,
    /// The digest of the seal. None in a dry run.
    pub seal: Option<String>,
    /// The seal's place in the ledger. None in a dry run.
    pub leaf_index: Option<u64>,
    /// Files in it.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// Records of its manifest. None in a dry run.
    pub records: Option<u64>,
    /// What is worth knowing, such as files with several names.
    pub remarks: Vec<String>,
}

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

/// One statement, as a line of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementLine {
    /// Its place in this node's ledger.
    pub leaf_index: u64,
    /// Its digest.
    pub digest: String,
    /// Its kind.
    pub kind: String,
    /// The ledger of its issuer.
    pub ledger: String,
    /// Its number in its issuer's chain on the package.
    pub sequence: Option<u64>,
    /// The package.
    pub package: Option<String>,
    /// The issuer's clock: a claim.
    pub issued_at: String,
}

/// A package and all that was said of it here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The package.
    pub package: String,
    /// The case that its first record names.
    pub case: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// Its files; none when the manifest is not here.
    pub files: Option<u64>,
    /// Their bytes.
    pub bytes: Option<u64>,
    /// The statements, in the order of this node's ledger.
    pub statements: Vec<StatementLine>,
}

/// This authority's card, and how to recognise it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnCard {
    /// The envelope, to be given to others.
    pub envelope: String,
    /// The authority's name.
    pub name: String,
    /// The card's number.
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

/// A text that goes to a file or to another program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// The text.
    pub text: String,
}

/// Somebody who can sign for this authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Officer {
    /// The pseudonym under which statements show the officer.
    pub pseudonym: String,
    /// The digest of the delegation.
    pub delegation: String,
}

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Where.
    pub path: String,
    /// Its SHA-256, for a proof.
    pub sha256: Option<String>,
    /// Files written.
    pub files: u64,
    /// Bytes written.
    pub bytes: u64,
    /// The verdict of the verifier on what was written.
    pub verdict: String,
    /// The findings, as codes.
    pub findings: Vec<String>,
}

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
}

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
