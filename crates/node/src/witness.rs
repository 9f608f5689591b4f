//! Checkpoint notes that somebody cosigned: ours by peers, and peers' by us.
//!
//! They are what bounds time in a proof, so each is kept as the very bytes that statements name, under the peer's
//! folder: `cosigned/` holds notes of our ledger with that peer's line, `witnessed/` notes of the peer's ledger with
//! ours. A name is `<generation, 9 digits>-<size, 20 digits>-<SHA-256 of the note>`, so that a listing is a history. What
//! we cosigned last is the ledger crate's `WitnessMemory`, which decides; these files are what was said of it.

use std::path::{Path, PathBuf};

use custodia_exchange::{AddCheckpoint, Cosigned};
use custodia_format::checkpoint::{self, Checkpoint, SignedCheckpoint, check_ledger_signature, cosignature_time};
use custodia_format::contradiction::Contradiction;
use custodia_format::envelope::Envelope;
use custodia_format::key::KeyId;
use custodia_format::note::{KeyType, Note, SignatureLine, Vkey};
use custodia_format::text::LedgerName;
use custodia_format::{Hash, limits};
use custodia_ledger::{Ledger, WitnessError};

use crate::failure::{Code, Failure};
use crate::home::{self, Home};
use crate::peers::Authority;
use crate::{Node, edge, keys};

/// Which of the two folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Notes of our ledger that the peer cosigned.
    Ours,
    /// Notes of the peer's ledger that we cosigned.
    Theirs,
}

/// A note on file: which generation of the ledger it is of, the size that its checkpoint covers, and its digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Filed {
    /// The generation in the ledger's name.
    pub(crate) generation: u32,
    /// Entries that the checkpoint covers.
    pub(crate) size: u64,
    /// SHA-256 of the whole note.
    pub(crate) digest: Hash,
    path: PathBuf,
}

impl Filed {
    /// Reads the note.
    pub(crate) fn read(&self) -> Result<Note, Failure> {
        let bytes = home::read_file(&self.path, limits::NOTE_BYTES as u64)?.unwrap_or_default();
        Ok(Note::parse(&bytes)?)
    }
}

/// Keeps a note durably; keeping it again changes nothing.
pub(crate) fn keep(home: &Home, peer: &KeyId, whose: Whose, note: &Note) -> Result<(), Failure> {
    let Checkpoint { origin, size, .. } = Checkpoint::parse_text(&note.text)?;
    let generation = LedgerName::parse(&origin)?.generation;
    let path = folder(home, peer, whose).join(format!("{generation:09}-{size:020}-{}", note.digest()));
    if path.is_file() {
        return Ok(());
    }
    home::write_durably(&path, note.print().as_bytes())
}

/// Holds the ledger against the newest note of it that anybody cosigned: one that is ahead of it, or of another past, means
/// that this disk is an older copy.
pub(crate) fn confront(home: &Home, ledger: &Ledger) {
    if let Some(note) = ours(home).last().and_then(|newest| newest.read().ok()) {
        // What this ledger did not sign says nothing about it.
        let _ = ledger.confront(note);
    }
}

/// The notes that one peer and we share, by generation and size.
pub(crate) fn of_peer(home: &Home, peer: &KeyId, whose: Whose) -> Vec<Filed> {
    let mut notes: Vec<Filed> = std::fs::read_dir(folder(home, peer, whose))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let mut parts = name.to_str()?.splitn(3, '-');
            let (generation, size) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            Some(Filed { generation, size, digest: Hash::from_hex(parts.next()?)?, path: entry.path() })
        })
        .collect();
    notes.sort();
    notes
}

/// The notes of our ledger that anybody cosigned, by generation and size.
pub(crate) fn ours(home: &Home) -> Vec<Filed> {
    let mut notes: Vec<Filed> = peers(home).iter().flat_map(|peer| of_peer(home, peer, Whose::Ours)).collect();
    notes.sort();
    notes
}

/// Adds to a note what others cosigned of the same text: each key once, its earliest time.
pub(crate) fn join<'a>(note: &mut Note, others: impl IntoIterator<Item = &'a Note>, ledger: &Vkey) {
    let text = note.text.clone();
    note.lines.extend(others.into_iter().filter(|other| other.text == text).flat_map(|other| other.lines.clone()));
    note.lines.sort();
    // Two times by one witness on one text: the earlier bounds more, and a note names a key once.
    note.lines.dedup_by(|later, earlier| later.name == earlier.name && later.key_id == earlier.key_id);
    note.sort(ledger);
}

/// Everybody who has a folder.
pub(crate) fn peers(home: &Home) -> Vec<KeyId> {
    let mut peers: Vec<KeyId> = std::fs::read_dir(home.path().join("peers"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str().and_then(Hash::from_hex).map(KeyId))
        .collect();
    peers.sort();
    peers
}

fn folder(home: &Home, peer: &KeyId, whose: Whose) -> PathBuf {
    home.peer(peer).join(match whose {
        Whose::Ours => Path::new("cosigned"),
        Whose::Theirs => Path::new("witnessed"),
    })
}

/// Our own witness key.
pub(crate) fn own_vkey(node: &Node) -> Result<Vkey, Failure> {
    let key = keys::read(node.home(), keys::WITNESS)?;
    Ok(Vkey::new(node.config().ledger.authority.as_str(), KeyType::Cosignature, key.public())?)
}

/// Judges and cosigns a peer's checkpoint: C2SP tlog-witness. What is given back is durable.
pub(crate) fn cosign(node: &Node, peer: &Authority, add: &AddCheckpoint) -> Result<Cosigned, Failure> {
    let refused = |status| Ok(Cosigned::Refused { status });
    let Ok(note) = Note::parse(&add.checkpoint) else { return refused(400) };
    let origin = Checkpoint::parse_text(&note.text).ok();
    let origin = origin.and_then(|checkpoint| LedgerName::parse(&checkpoint.origin).ok());
    let Some((origin, vkey)) = origin.and_then(|origin| peer.ledger(&origin).map(|vkey| (origin, vkey))) else {
        return refused(404);
    };
    // What goes on after the end that its own card names is nobody's ledger any more.
    if peer.has_ended(&origin) {
        return refused(403);
    }
    let signed = match node.witnessed().check_and_store(&peer.root, vkey, add.old, note, &add.proof) {
        Ok(signed) => signed,
        Err(WitnessError::OldAhead { .. }) => return refused(400),
        Err(WitnessError::BadSignature(_)) => return refused(403),
        Err(WitnessError::Conflict { stored }) => return Ok(Cosigned::Conflict { size: stored }),
        Err(WitnessError::Unprocessable { .. }) => return contradiction(node, peer, vkey, add),
        Err(error) => return Err(unusable(error)),
    };
    let (size, note) = (signed.checkpoint().size, signed.note());
    let own = own_vkey(node)?;
    for filed in of_peer(node.home(), &peer.root, Whose::Theirs).iter().rev().filter(|filed| filed.size == size) {
        // The same checkpoint again: the same cosignature again.
        let kept = filed.read()?;
        if let Some(line) = kept.lines.iter().find(|line| kept.text == note.text && own.is_of(line)) {
            return Ok(Cosigned::Lines(format!("{line}\n").into_bytes()));
        }
    }
    let key = keys::read(node.home(), keys::WITNESS)?;
    let now = u64::try_from(edge::now().unix()).unwrap_or_default();
    let line = checkpoint::cosign(&note.text, own.name(), &key, now)?;
    let reply = Cosigned::Lines(format!("{line}\n").into_bytes());
    // Kept with the ledger's line and ours alone: the bytes that the peer keeps, and that its statements name.
    let lines = note.lines.iter().filter(|line| vkey.is_of(line)).cloned().chain([line]).collect();
    let mut kept = Note { text: note.text.clone(), lines };
    kept.sort(vkey);
    keep(node.home(), &peer.root, Whose::Theirs, &kept)?;
    Ok(reply)
}

/// A peer's card that ends a ledger must not end it before what we cosigned of it: that would cut off history which others
/// hold proofs of.
pub(crate) fn check_finals(node: &Node, peer: &Authority) -> Result<(), Failure> {
    for (ledger, note) in peer.finals() {
        let ended = SignedCheckpoint::check(note.clone(), &ledger.vkey)
            .map_err(|error| Failure::new(Code::Signature, format!("A last checkpoint does not count: {error}.")))?;
        let held = node.witnessed().last(&peer.root, &ledger.vkey).map_err(unusable)?;
        let (Some(held), ended) = (held, ended.checkpoint()) else { continue };
        let held = held.checkpoint();
        if held.size > ended.size || (held.size == ended.size && held.root != ended.root) {
            return Err(Failure::new(
                Code::PeerMisbehaved,
                "A card ends a ledger before what was cosigned of it here.",
            )
            .at(format!("{} of {}", ledger.origin, peer.name))
            .instead_of(
                format!("a last checkpoint that covers size {} with root {}", held.size, held.root),
                format!("size {} with root {}", ended.size, ended.root),
            )
            .safe("The card was not taken; everything known of this peer stands as it was.")
            .next(format!(
                "call {}: it opened a new generation without asking this node what it had seen",
                peer.name
            )));
        }
    }
    Ok(())
}

fn unusable(error: WitnessError) -> Failure {
    Failure::new(Code::Io, format!("What was witnessed cannot be used: {error}."))
}

/// Two checkpoints of one ledger that cannot both be true, or that were not shown to belong together: kept as one file for a
/// court (docs/spec/contradiction.md).
fn contradiction(node: &Node, peer: &Authority, vkey: &Vkey, add: &AddCheckpoint) -> Result<Cosigned, Failure> {
    let refused = Ok(Cosigned::Refused { status: 422 });
    let Some(held) = node.witnessed().last(&peer.root, vkey).map_err(unusable)? else { return refused };
    // The note that we cosigned, where it is here: its time is ours.
    let kept = of_peer(node.home(), &peer.root, Whose::Theirs);
    let kept = kept.iter().rev().filter(|filed| filed.size == held.checkpoint().size).map(Filed::read);
    let kept = kept.collect::<Result<Vec<_>, _>>()?.into_iter().find(|note| note.text == held.note().text);
    let mut shown = Note::parse(&add.checkpoint)?;
    shown.sort(vkey);
    let cards = peer.card_digests().filter_map(|digest| {
        let path = node.home().peer(&peer.root).join(format!("{digest}.json"));
        home::read_file(&path, limits::ENVELOPE_BYTES as u64).transpose()
    });
    let cards = cards.map(|bytes| Ok(Envelope::parse(&bytes?)?)).collect::<Result<Vec<_>, Failure>>()?;
    let held = kept.unwrap_or_else(|| held.note().clone());
    // What is no contradiction after all, as a proof too many at one size, leaves nothing behind.
    let Ok(file) = Contradiction::new(cards, held, shown, add.proof.clone()) else { return refused };
    let printed = file.print();
    let name = format!("{}.json", Hash::of(printed.as_bytes()));
    home::write_durably(&contradictions(node.home(), &peer.root).join(name), printed.as_bytes())?;
    tracing::error!("a peer showed a checkpoint that does not continue the one before it; both are kept for a court");
    refused
}

/// Where the contradictions of a peer lie.
pub(crate) fn contradictions(home: &Home, peer: &KeyId) -> PathBuf {
    home.peer(peer).join("contradictions")
}

/// Keeps the cosignatures that a peer gave to a checkpoint of ours. Lines by other keys are dropped.
pub(crate) fn keep_cosignatures(node: &Node, peer: &Authority, note: &[u8], lines: &[u8]) -> Result<(), Failure> {
    let sent = Note::parse(note)?;
    let own = node.ledger_vkey();
    check_ledger_signature(&sent, own)
        .map_err(|error| Failure::new(Code::Signature, format!("This is no checkpoint of ours: {error}.")))?;
    let text =
        std::str::from_utf8(lines).map_err(|_| Failure::new(Code::Malformed, "These are no signature lines."))?;
    for line in text.lines().take(limits::NOTE_SIGNATURES) {
        let line = SignatureLine::parse(line)?;
        let mut kept = Note {
            text: sent.text.clone(),
            lines: sent.lines.iter().filter(|line| own.is_of(line)).cloned().chain([line]).collect(),
        };
        kept.sort(own);
        let valid = peer.witness_keys().any(|key| matches!(cosignature_time(&kept, key), Ok(Some(_))));
        if valid {
            keep(node.home(), &peer.root, Whose::Ours, &kept)?;
        }
    }
    Ok(())
}
