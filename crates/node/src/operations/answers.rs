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
    /// What was done, where it is an event; only where one package is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The ledger of its issuer.
    pub ledger: String,
    /// Its number in its issuer's chain on the package.
    pub sequence: Option<u64>,
    /// The package.
    pub package: Option<String>,
    /// The issuer's clock: a claim.
    pub issued_at: String,
    /// Between which two times it came to be, by the clocks of others; none where that was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came_to_be: Option<CameToBe>,
}

/// Between which two times something came to be, as far as the clocks of others bound it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CameToBe {
    /// Not before; none where nothing bounds it.
    pub after: Option<Bounded>,
    /// Not after; none where nothing bounds it.
    pub before: Option<Bounded>,
}

/// One end of an interval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounded {
    /// The time.
    pub time: String,
    /// By whose clock.
    pub by: String,
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
