//! Checkpoint notes that somebody cosigned: ours by peers, and peers' by us.
//!
//! They are what bounds time in a proof, so each is kept ([`Notes`]). What we cosigned last is the ledger crate's
//! `WitnessMemory`, which decides together with what others told ([`crate::claims`]); the notes are what was said of it.

mod notes;

use std::sync::Arc;

use custodia_exchange::{AddCheckpoint, Cosigned};
use custodia_format::checkpoint::{self, Checkpoint, SignedCheckpoint, check_ledger_signature, cosignature_time};
use custodia_format::key::KeyId;
use custodia_format::limits;
use custodia_format::note::{KeyType, Note, SignatureLine, Vkey};
use custodia_format::text::{LedgerName, Time};
use custodia_ledger::{Ledger, WitnessError, continues};

use crate::claims::Claims;
use crate::failure::{Code, Failure};
use crate::peers::Authority;
use crate::{Node, edge, evidence, keys};

pub(crate) use notes::{At, Filed, Notes, Whose, peers};

/// Holds the ledger against the newest note of it that anybody cosigned: one that is ahead of it, or of another past, means
/// that this disk is an older copy.
pub(crate) fn confront(notes: &Notes, ledger: &Ledger) {
    if let Some(note) = notes.ours().last().and_then(|newest| newest.read().ok()) {
        // What this ledger did not sign says nothing about it.
        let _ = ledger.confront(note);
    }
}

/// Whether a peer has cosigned our newest checkpoint.
pub(crate) fn has_newest(node: &Node, peer: &KeyId) -> bool {
    let newest = At { generation: node.config().ledger.generation, size: node.ledger().size() };
    node.notes().of_peer(peer, Whose::Ours).last().is_some_and(|filed| filed.at >= newest)
}

/// Adds to a note what others cosigned of the same text: each key once, its earliest time.
pub(crate) fn join<'a>(note: &mut Note, others: impl IntoIterator<Item = &'a Note>, ledger: &Vkey) {
    let text = note.text.clone();
    note.lines.extend(others.into_iter().filter(|other| other.text == text).flat_map(|other| other.lines.clone()));
    note.lines.sort();
    // Two times by one witness on one text: the earlier bounds more, and a note names a key once.
    note.lines.dedup_by(|later, earlier| later.name == earlier.name && later.key_id == earlier.key_id);
    note.sort(ledger);
    note.lines.truncate(limits::NOTE_SIGNATURES);
}

/// The notes of one checkpoint of our ledger, as one note with everybody's cosignature; none when there is none.
pub(crate) fn joined(notes: &[Filed], at: At, ledger: &Vkey) -> Result<Option<Note>, Failure> {
    let notes = notes.iter().filter(|filed| filed.at == at).map(Filed::read).collect::<Result<Vec<_>, _>>()?;
    let Some((first, others)) = notes.split_first() else { return Ok(None) };
    let mut note = first.clone();
    join(&mut note, others, ledger);
    Ok(Some(note))
}

/// Our own witness key.
pub(crate) fn own_vkey(node: &Node) -> Result<Vkey, Failure> {
    let key = keys::read(node.home(), keys::WITNESS)?;
    Ok(Vkey::new(node.config().ledger.authority.as_str(), KeyType::Cosignature, key.public())?)
}

/// The witness keys that we know, and whose they are: our own, which is nobody else's, and those of the authorities that we
/// trust.
pub(crate) fn known_keys(node: &Node) -> Vec<(Option<KeyId>, Vkey)> {
    let of_peer = |peer: &Arc<Authority>| {
        let root = peer.root;
        peer.witness_keys().map(|key| (Some(root), key.clone())).collect::<Vec<_>>()
    };
    let own = own_vkey(node).ok().map(|key| (None, key));
    own.into_iter().chain(node.peers().all().iter().flat_map(of_peer)).collect()
}

/// What we witnessed last of a peer's ledger.
pub(crate) fn last(node: &Node, peer: &KeyId, ledger: &Vkey) -> Result<Option<SignedCheckpoint>, Failure> {
    node.witnessed().last(peer, ledger).map_err(unusable)
}

/// What the witness memory says of itself.
pub(crate) fn unusable(error: WitnessError) -> Failure {
    match error {
        WitnessError::Storage(error) => error.into(),
        error => Failure::new(Code::Malformed, format!("What was witnessed cannot be used: {error}.")),
    }
}

/// Judges and cosigns a peer's checkpoint: C2SP tlog-witness. What is given back is durable.
pub(crate) fn cosign(node: &Node, peer: &Authority, add: &AddCheckpoint) -> Result<Cosigned, Failure> {
    cosign_at(node, peer, add, edge::now())
}

/// As [`cosign`], at this time by our clock. A cosignature bounds what others said: one with the time of a clock that nobody has
/// set would make an honest statement older than it is.
pub(crate) fn cosign_at(node: &Node, peer: &Authority, add: &AddCheckpoint, now: Time) -> Result<Cosigned, Failure> {
    if !edge::is_of_a_set_clock(now) {
        return Err(Failure::new(Code::Clock, "This machine's clock is not set, and its time would be vouched for.")
            .at(format!("a checkpoint of {}", peer.name))
            .instead_of("a time after this program was made", now.to_string())
            .safe("Nothing was cosigned; what this node says itself names no time but as a claim.")
            .next("set the clock, then let the peer call again"));
    }
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
    let _judging = node.judging();
    if evidence::is_forked(node, &peer.root, vkey.name())? {
        return refused(422);
    }
    let signed = match judge(node, peer, vkey, add, note)? {
        Judged::Belongs(signed) => signed,
        Judged::Answered(answer) => return Ok(answer),
    };
    let (size, note) = (signed.checkpoint().size, signed.note());
    let own = own_vkey(node)?;
    for filed in node.notes().of_peer(&peer.root, Whose::Theirs).iter().rev().filter(|filed| filed.at.size == size) {
        // The same checkpoint again: the same cosignature again.
        let kept = filed.read()?;
        if let Some(line) = kept.lines.iter().find(|line| kept.text == note.text && own.is_of(line)) {
            return Ok(Cosigned::Lines(format!("{line}\n").into_bytes()));
        }
    }
    let key = keys::read(node.home(), keys::WITNESS)?;
    let now = u64::try_from(now.unix()).unwrap_or_default();
    let line = checkpoint::cosign(&note.text, own.name(), &key, now)?;
    let reply = Cosigned::Lines(format!("{line}\n").into_bytes());
    // Kept with the ledger's line and ours alone: the bytes that the peer keeps, and that its statements name.
    let lines = note.lines.iter().filter(|line| vkey.is_of(line)).cloned().chain([line]).collect();
    let mut kept = Note { text: note.text.clone(), lines };
    kept.sort(vkey);
    node.notes().keep(&peer.root, Whose::Theirs, &kept)?;
    Ok(reply)
}

/// What is to be done with a checkpoint of a peer.
enum Judged {
    /// It belongs to the history that we witness and to all that others told of it, and is stored: it may be cosigned.
    Belongs(SignedCheckpoint),
    /// It is not cosigned.
    Answered(Cosigned),
}

/// Checks a checkpoint against what we witnessed last, and then against each claim of others. A claim that it is not shown to
/// continue is asked about as tlog-witness asks about an old size that is not the stored one: the owner proves again, from
/// the size that it is told. What we witnessed last has moved on meanwhile, and is not cosigned before all claims are
/// settled.
fn judge(node: &Node, peer: &Authority, vkey: &Vkey, add: &AddCheckpoint, note: Note) -> Result<Judged, Failure> {
    let refused = |status| Ok(Judged::Answered(Cosigned::Refused { status }));
    let claims = Claims::of(node.home(), peer.root, vkey);
    let last = last(node, &peer.root, vkey)?;
    let repeats = last.as_ref().filter(|last| last.note().text == note.text);
    let asked = claims.open()?.into_iter().find(|claim| claim.checkpoint.size == add.old);
    let signed = if let (Some(_), Some(claim)) = (repeats, asked) {
        let Ok(signed) = SignedCheckpoint::check(note, vkey) else { return refused(403) };
        if continues(&claim.checkpoint, signed.checkpoint(), &add.proof).is_err() {
            evidence::keep(node, peer, vkey, claim.note, signed.note().clone(), add.proof.clone())?;
            return refused(422);
        }
        claims.settle(&claim, signed.checkpoint())?;
        signed
    } else {
        match node.witnessed().check_and_store(&peer.root, vkey, add.old, note, &add.proof) {
            Ok(signed) => signed,
            Err(WitnessError::OldAhead { .. }) => return refused(400),
            Err(WitnessError::BadSignature(_)) => return refused(403),
            Err(WitnessError::Conflict { stored }) => {
                return Ok(Judged::Answered(Cosigned::Conflict { size: stored }));
            }
            Err(WitnessError::Unprocessable { .. }) => {
                if let Some(last) = last {
                    let held = as_cosigned(node, peer, &last)?;
                    evidence::keep(node, peer, vkey, held, Note::parse(&add.checkpoint)?, add.proof.clone())?;
                }
                return refused(422);
            }
            Err(error) => return Err(unusable(error)),
        }
    };
    let checkpoint = signed.checkpoint();
    for claim in claims.open()? {
        if claim.checkpoint == *checkpoint {
            claims.settle(&claim, checkpoint)?;
        } else if claim.checkpoint.size == checkpoint.size {
            evidence::keep(node, peer, vkey, claim.note, signed.note().clone(), Vec::new())?;
            return refused(422);
        } else {
            return Ok(Judged::Answered(Cosigned::Conflict { size: claim.checkpoint.size }));
        }
    }
    Ok(Judged::Belongs(signed))
}

/// What we witnessed last as the note that we cosigned, where it is here: its time is ours.
fn as_cosigned(node: &Node, peer: &Authority, last: &SignedCheckpoint) -> Result<Note, Failure> {
    let kept = node.notes().of_peer(&peer.root, Whose::Theirs);
    let kept = kept.iter().rev().filter(|filed| filed.at.size == last.checkpoint().size).map(Filed::read);
    let kept = kept.collect::<Result<Vec<_>, _>>()?.into_iter().find(|note| note.text == last.note().text);
    Ok(kept.unwrap_or_else(|| last.note().clone()))
}

/// A peer's card that ends a ledger must not end it before what we cosigned of it: that would cut off history which others
/// hold proofs of.
pub(crate) fn check_finals(node: &Node, peer: &Authority) -> Result<(), Failure> {
    for (ledger, note) in peer.finals() {
        let ended = SignedCheckpoint::check(note.clone(), &ledger.vkey)
            .map_err(|error| Failure::new(Code::Signature, format!("A last checkpoint does not count: {error}.")))?;
        let (Some(held), ended) = (last(node, &peer.root, &ledger.vkey)?, ended.checkpoint()) else { continue };
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
            node.notes().keep(&peer.root, Whose::Ours, &kept)?;
        }
    }
    Ok(())
}
