//! Step 4: every statement in its ledger, every ledger with one history, witnessed by others.

use std::collections::{BTreeSet, HashMap, HashSet};

use custodia_format::Hash;
use custodia_format::checkpoint::{Checkpoint, NoteError, check_ledger_signature, cosignature_time};
use custodia_format::note::{Note, Vkey};
use custodia_format::proof::Proof;
use custodia_format::text::{LedgerName, Time, escape_untrusted};
use custodia_merkle::{Position, proven_subtrees};

use crate::case::{Case, Cosigner, Verified};
use crate::finding::FindingCode;
use crate::interval::{Bound, BoundSource};
use crate::step_04_tokens::step_4_tokens;

/// Checks notes, inclusion, cosignatures and forks; then that nothing in the proof is beside the point.
pub(crate) fn step_4_inclusion(case: &mut Case<'_>, proof: &Proof) {
    let mut history = History::default();
    for at in 0..case.statements.len() {
        include(case, at, &mut history);
    }
    for anchor in proof.anchors.clone() {
        check_anchor(case, &anchor, &mut history);
    }
    step_4_tokens(case, proof);
    for at in 0..case.statements.len() {
        check_quorum(case, at);
    }
    for (place, detail) in std::mem::take(&mut history.forks) {
        case.find(FindingCode::LedgerFork, place, detail);
    }
    check_chains_are_needed(case);
}

/// What the ledgers have been seen to show.
#[derive(Default)]
struct History {
    roots: HashMap<(String, u64), Hash>,
    entries: HashMap<(String, u64), Hash>,
    subtrees: HashMap<(String, Position), Hash>,
    forks: BTreeSet<(String, String)>,
}

impl History {
    /// Two ledger-signed checkpoints of one size.
    fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        let key = (checkpoint.origin.clone(), checkpoint.size);
        if *self.roots.entry(key).or_insert(checkpoint.root) != checkpoint.root {
            self.fork(&checkpoint.origin, format!("two roots at size {}", checkpoint.size));
        }
    }

    /// Two entries at one index, or two hashes of one complete subtree.
    fn inclusion(&mut self, checkpoint: &Checkpoint, index: u64, leaf: &Hash, hashes: &[Hash]) {
        let origin = &checkpoint.origin;
        if *self.entries.entry((origin.clone(), index)).or_insert(*leaf) != *leaf {
            self.fork(origin, format!("two entries at index {index}"));
        }
        for (position, hash) in proven_subtrees(index, checkpoint.size, leaf, hashes) {
            if *self.subtrees.entry((origin.clone(), position)).or_insert(hash) != hash {
                self.fork(origin, format!("two hashes of the subtree {} of level {}", position.index, position.level));
            }
        }
    }

    fn fork(&mut self, origin: &str, detail: String) {
        self.forks.insert((format!("ledger {origin}"), detail));
    }
}

/// The chain that a ledger belongs to, and its key.
pub(crate) fn owner(case: &Case<'_>, origin: &LedgerName) -> Option<(usize, Vkey)> {
    case.chains.iter().enumerate().find_map(|(at, chain)| Some((at, chain.ledger(origin)?.clone())))
}

/// Checks that one statement is in its ledger.
fn include(case: &mut Case<'_>, at: usize, history: &mut History) {
    let Some(shown) = case.statements.get(at) else { return };
    let place = shown.place();
    if shown.statement.is_some() && !shown.is_signed() {
        return;
    }
    let Some(proof) = shown.tlog_proof.clone() else {
        case.find(FindingCode::NotLogged, place, "ask its issuer for a newer proof");
        return;
    };
    let leaf = shown.entry.leaf_hash();
    let (issuer, ledger) = (shown.chain, shown.ledger());
    let refuse = |case: &mut Case<'_>, detail: String| {
        case.find(FindingCode::NotIncluded, &place, detail);
        if let Some(shown) = case.statements.get_mut(at) {
            shown.excluded = true;
        }
    };
    let Some(ledger) = ledger else { return refuse(case, "its ledger has no name".to_owned()) };
    let (chain, vkey) = match (issuer, owner(case, &ledger)) {
        (None, Some(found)) => found,
        (Some(issuer), Some((owner, vkey))) if issuer == owner => (owner, vkey),
        _ => return refuse(case, format!("{ledger} is no ledger of its issuer")),
    };
    let checkpoint = match check_note(case, &proof.checkpoint, &vkey, chain) {
        Ok(checkpoint) => checkpoint,
        Err(detail) => return refuse(case, detail),
    };
    history.checkpoint(&checkpoint);
    if checkpoint.origin != ledger.to_string() {
        return refuse(case, format!("the checkpoint is of {}", checkpoint.origin));
    }
    if let Err(error) = proof.verify_inclusion(&leaf) {
        return refuse(case, error.to_string());
    }
    history.inclusion(&checkpoint, proof.index, &leaf, &proof.hashes);
    let ended = case.chains.get(chain).and_then(|chain| chain.final_size(&ledger));
    if ended.is_some_and(|size| proof.index >= size) {
        return refuse(case, "the ledger had been ended before it".to_owned());
    }
    let known = case.ledgers.entry(ledger.to_string()).or_default();
    known.1 = known.1.max(checkpoint.size);
    if let Some(shown) = case.statements.get_mut(at) {
        shown.chain = Some(chain);
        shown.included = Some(Verified::new(proof.index));
    }
}

/// Checks a note by its ledger's key, and everybody's cosignatures on it.
///
/// The ledger's line stands first. A known key whose line does not verify spoils the whole note.
pub(crate) fn check_note(case: &mut Case<'_>, note: &Note, ledger: &Vkey, owner: usize) -> Result<Checkpoint, String> {
    if !note.lines.first().is_some_and(|line| ledger.is_of(line)) {
        return Err("the first line of the note is not its ledger's".to_owned());
    }
    let checkpoint = check_ledger_signature(note, ledger).map_err(|error| error.to_string())?;
    let digest = note.digest();
    if case.note_cosigners.contains_key(&digest) {
        return Ok(checkpoint);
    }
    let mut known: HashSet<(String, [u8; 4])> = HashSet::from([(ledger.name().to_owned(), ledger.key_id())]);
    let mut cosigners: Vec<Cosigner> = Vec::new();
    for (at, chain) in case.chains.iter().enumerate() {
        for (_, card) in &chain.cards {
            for window in card.get().keys.witness.iter() {
                known.insert((window.key.name().to_owned(), window.key.key_id()));
                let Some(time) = time_of(note, &window.key)? else { continue };
                let revoked = chain.revoked(&window.key.key().key_id());
                let counts = window.holds(time) && revoked.is_none_or(|since| time < since);
                if counts && at != owner && !cosigners.iter().any(|other| other.chain == Some(at)) {
                    let (name, trusted) = (chain.shown_name(), chain.trusted.is_some_and(|line| line.holds(time)));
                    cosigners.push(Cosigner { chain: Some(at), name, time, trusted });
                }
            }
        }
    }
    let of_authorities: HashSet<_> = case
        .chains
        .iter()
        .flat_map(|chain| chain.cards.iter().flat_map(|(_, card)| card.get().keys.witness.iter()))
        .map(|window| *window.key.key())
        .collect();
    for witness in &case.trust.witnesses {
        known.insert((witness.name().to_owned(), witness.key_id()));
        if let Some(time) = time_of(note, witness)?
            && !of_authorities.contains(witness.key())
        {
            cosigners.push(Cosigner { chain: None, name: witness.name().to_owned(), time, trusted: true });
        }
    }
    for line in note.lines.iter().filter(|line| !known.contains(&(line.name.clone(), line.key_id))) {
        case.find(FindingCode::UnknownLine, format!("note {digest}"), &line.name);
    }
    case.cosigners.entry(note.text.clone()).or_default().extend(cosigners.clone());
    case.note_cosigners.insert(digest, cosigners);
    Ok(checkpoint)
}

fn time_of(note: &Note, witness: &Vkey) -> Result<Option<Time>, String> {
    match cosignature_time(note, witness) {
        Ok(time) => Ok(time.and_then(|time| i64::try_from(time).ok()).and_then(Time::from_unix)),
        Err(NoteError::BadSignature { name }) => Err(format!("the cosignature of {name} does not verify")),
        Err(error) => Err(error.to_string()),
    }
}

/// An anchor is named by a statement, or carries more cosignatures of a checkpoint that a proof shows, or contradicts
/// one. Any other has no business here.
fn check_anchor(case: &mut Case<'_>, note: &Note, history: &mut History) {
    let digest = note.digest();
    let place = format!("anchor {digest}");
    let Ok(checkpoint) = Checkpoint::parse_text(&note.text) else {
        case.find(FindingCode::Malformed, place, "it is no checkpoint");
        return;
    };
    let named = case
        .statements
        .iter()
        .any(|shown| shown.statement.as_ref().is_some_and(|statement| statement.head.not_before == Some(digest)));
    let related = case.statements.iter().filter_map(|shown| shown.tlog_proof.as_ref()).any(|proof| {
        proof.checkpoint.text == note.text
            || Checkpoint::parse_text(&proof.checkpoint.text).is_ok_and(|shown| {
                shown.origin == checkpoint.origin && shown.size == checkpoint.size && shown.root != checkpoint.root
            })
    });
    let owner = LedgerName::parse(&checkpoint.origin).ok().and_then(|origin| owner(case, &origin));
    let (Some((chain, vkey)), true) = (owner, named || related) else {
        case.find(FindingCode::Malformed, place, "no statement names it, and it belongs to no checkpoint of the proof");
        return;
    };
    match check_note(case, note, &vkey, chain) {
        Ok(checkpoint) => history.checkpoint(&checkpoint),
        Err(detail) => case.find(FindingCode::BadSignature, place, detail),
    }
}

/// Enough others have cosigned a checkpoint that includes the statement.
fn check_quorum(case: &mut Case<'_>, at: usize) {
    let Some(shown) = case.statements.get(at).filter(|shown| shown.included.is_some()) else { return };
    let (place, chain) = (shown.place(), shown.chain);
    if case.trust.quorum == 0 {
        // Nobody is needed, so no stranger is.
        return;
    }
    let Some(text) = shown.tlog_proof.as_ref().map(|proof| proof.checkpoint.text.clone()) else { return };
    let cosigners = believed(case, &text, chain);
    let names: HashSet<&str> = cosigners.iter().map(|cosigner| cosigner.name.as_str()).collect();
    if (names.len() as u64) < case.trust.quorum {
        let detail = format!(
            "{} of {} needed; ask its issuer for a proof under a cosigned checkpoint",
            names.len(),
            case.trust.quorum
        );
        case.find(FindingCode::Unwitnessed, place, detail);
    }
}

/// The cosigners of a text that count for an authority's statement: those that the reader believes or, where there is
/// none, the others, who are then needed.
pub(crate) fn believed(case: &mut Case<'_>, text: &str, issuer: Option<usize>) -> Vec<Cosigner> {
    choose(case, case.cosigners.get(text).cloned().unwrap_or_default(), issuer)
}

/// The earliest that bounds what stands under a text: a cosigner that counts, or a time-stamping authority. A token is as
/// good as a cosigner whom the reader believes: strangers are not needed beside it.
pub(crate) fn earliest(case: &mut Case<'_>, text: &str, issuer: Option<usize>) -> Option<Bound> {
    let stamps = case.stamps.get(&Hash::of(text.as_bytes())).map(Vec::as_slice).unwrap_or_default();
    let stamp = stamps.iter().map(|stamp| stamp.get()).min_by_key(|stamp| stamp.time);
    let Some(stamp) =
        stamp.map(|stamp| Bound { time: stamp.time, by: escape_untrusted(&stamp.by), source: BoundSource::TimeStamp })
    else {
        return believed(case, text, issuer).into_iter().map(Bound::from).min_by_key(|bound| bound.time);
    };
    let trusted = case.cosigners.get(text).into_iter().flatten().filter(|one| one.trusted && one.counts_for(issuer));
    trusted.cloned().map(Bound::from).chain([stamp]).min_by_key(|bound| bound.time)
}

/// As [`believed`], of one very note.
pub(crate) fn believed_of_note(case: &mut Case<'_>, note: &Hash, issuer: Option<usize>) -> Vec<Cosigner> {
    choose(case, case.note_cosigners.get(note).cloned().unwrap_or_default(), issuer)
}

fn choose(case: &mut Case<'_>, all: Vec<Cosigner>, issuer: Option<usize>) -> Vec<Cosigner> {
    let others: Vec<Cosigner> = all.into_iter().filter(|cosigner| cosigner.counts_for(issuer)).collect();
    if others.iter().any(|cosigner| cosigner.trusted) {
        return others.into_iter().filter(|cosigner| cosigner.trusted).collect();
    }
    for chain in others.iter().filter_map(|cosigner| cosigner.chain) {
        if let Some(chain) = case.chains.get_mut(chain) {
            chain.used_untrusted = true;
        }
    }
    others
}

/// A chain of cards is needed if it issued a shown statement on the package, or its cosignature stands on a shown note.
fn check_chains_are_needed(case: &mut Case<'_>) {
    let Some(package) = case.package else { return };
    let issuers: HashSet<usize> =
        case.statements.iter().filter(|shown| shown.is_on(&package)).filter_map(|shown| shown.chain).collect();
    let failed = case.statements.iter().any(|shown| shown.statement.is_some() && !shown.is_signed() || shown.excluded);
    let cosigners: HashSet<usize> =
        case.note_cosigners.values().flatten().filter_map(|cosigner| cosigner.chain).collect();
    let surplus: Vec<String> = (0..case.chains.len())
        .filter(|at| !issuers.contains(at) && !cosigners.contains(at) && !failed)
        .filter_map(|at| case.chains.get(at).map(|chain| chain.shown_name()))
        .collect();
    for name in surplus {
        case.find(FindingCode::Malformed, format!("cards of {name}"), "nothing in the proof needs them");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use custodia_merkle::{Leaves, leaf_hash, prove_inclusion, root};

    use super::*;

    /// Takes in the proof of an entry in the tree of these leaves.
    fn show(history: &mut History, leaves: &[Hash], index: usize) {
        let (size, root) = (leaves.len() as u64, root(leaves));
        let proof = prove_inclusion(&Leaves(leaves), index as u64, size).unwrap();
        let checkpoint = Checkpoint { origin: "a".to_owned(), size, root };
        history.checkpoint(&checkpoint);
        history.inclusion(&checkpoint, index as u64, &leaves[index], &proof);
    }

    #[test]
    fn proofs_of_two_sizes_that_cannot_both_be_true_are_a_fork() {
        let leaves: Vec<Hash> = (0..7_u8).map(|n| leaf_hash(&[n])).collect();
        let mut history = History::default();
        show(&mut history, &leaves[..4], 0);
        show(&mut history, &leaves, 5);
        assert_eq!(history.forks, BTreeSet::new());
        // Another entry at a place that neither proof speaks of: only the hash over the first four tells.
        let mut other = leaves.clone();
        other[2] = leaf_hash(b"another");
        show(&mut history, &other[..6], 5);
        let told: Vec<&str> = history.forks.iter().map(|(_, detail)| detail.as_str()).collect();
        assert_eq!(told, ["two hashes of the subtree 0 of level 2"]);
        other[5] = leaf_hash(b"another");
        show(&mut history, &other[..6], 5);
        let told = history.forks.iter().any(|(_, detail)| detail == "two entries at index 5");
        assert!(told, "{:?}", history.forks);
    }
}
