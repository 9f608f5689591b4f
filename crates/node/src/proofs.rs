//! Inclusion proofs of statements: ours for others, theirs as they were sent.
//!
//! What a peer is sent stands under a checkpoint that this very peer has cosigned, so that it can show it to a court
//! with its own cosignature. The earliest such checkpoint is taken: two nodes then give the same time bounds. What third
//! authorities cosigned of the same text stands under it as well.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::PathBuf;

use custodia_exchange::Signed;
use custodia_format::Hash;
use custodia_format::checkpoint::{Checkpoint, check_ledger_signature, cosignature_time};
use custodia_format::entry::Entry;
use custodia_format::key::KeyId;
use custodia_format::note::{Note, Vkey};
use custodia_format::text::LedgerName;
use custodia_format::tlog_proof::TlogProof;
use custodia_index::Row;
use custodia_ledger::{Ledger, NewFile, Shelf, Storage as _};

use crate::failure::{Code, Failure};
use crate::home::{self, Home};
use crate::peers::Authority;
use crate::witness::{self, At, Filed};
use crate::{Node, generations};

/// Bytes of a proof: 63 hashes and a note.
const PROOF_BYTES: u64 = 300 * 1024;

/// Whose cosignature the checkpoint of a proof must carry. It carries everybody's that is known for its text in any case.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Under<'a> {
    /// This reader's own.
    Reader(&'a KeyId),
    /// Those of so many different authorities, or of as many as there are.
    Quorum(u64),
}

/// The proof of a statement of ours, in the ledger where it was said, under the earliest checkpoint that covers it and is
/// cosigned as asked; and which checkpoint that is. Where none that covers the entry is cosigned yet, a court gets the earliest
/// that a time-stamping service has stamped, and anybody else, as a court where there is none, the newest. `notes` are all of
/// our ledgers.
///
/// Of a ledger that ended only what others have seen is shown, or what they gave back: an older copy may have signed on by
/// itself. None where that shows nothing.
pub(crate) fn ours(
    node: &Node,
    row: &Row,
    notes: &[Filed],
    under: Under<'_>,
) -> Result<Option<(TlogProof, At)>, Failure> {
    let name = LedgerName::parse(&row.ledger)?;
    let ended = name != node.config().ledger;
    let ledger = node.generation(&name)?;
    let index = if ended { ledger.find(&row.digest)? } else { Some(row.leaf_index) };
    let Some(index) = index else { return given_back(node, name.generation, &row.digest) };
    let covering = covering(notes, &ledger, name.generation, index);
    let covering: Vec<&Filed> = if ended { of_its_past(&ledger, covering)? } else { covering.collect() };
    let at = match under {
        // It has nothing cosigned any more: what anybody cosigned is all that there will be.
        Under::Reader(_) if ended => covering.first().map(|note| note.at),
        Under::Reader(reader) => covering.iter().find(|note| note.by == *reader).map(|note| note.at),
        Under::Quorum(quorum) => earliest(&covering, quorum).map(|(at, _)| at),
    };
    let joined = at.map(|at| witness::joined(notes, at, ledger.vkey())).transpose()?.flatten();
    let checkpoint = match joined {
        Some(joined) => joined,
        None if ended => return given_back(node, name.generation, &row.digest),
        None => match under {
            Under::Quorum(_) => stamped(node, index)?.unwrap_or_else(|| ledger.checkpoint().note().clone()),
            Under::Reader(_) => ledger.checkpoint().note().clone(),
        },
    };
    let at = At::of(&checkpoint)?;
    let hashes = ledger.prove(index, at.size)?;
    Ok(Some((TlogProof { extra: None, index, hashes, checkpoint }, at)))
}

/// Whether a statement of ours can no longer be shown to be logged: nobody had seen it when its ledger ended.
pub(crate) fn is_lost(node: &Node, row: &Row) -> Result<bool, Failure> {
    let current = row.ledger == node.config().ledger.to_string();
    Ok(!current && ours(node, row, &node.notes().ours(), Under::Quorum(0))?.is_none())
}

/// The notes of a generation that cover an entry. One that is ahead of its ledger is kept as a warning; nothing leads to it.
pub(crate) fn covering<'a>(
    notes: &'a [Filed],
    ledger: &Ledger,
    generation: u32,
    leaf_index: u64,
) -> impl Iterator<Item = &'a Filed> {
    let sizes = leaf_index.saturating_add(1)..=ledger.size();
    notes.iter().filter(move |note| note.at.generation == generation && sizes.contains(&note.at.size))
}

/// The earliest checkpoint of the ledger that is written that covers an entry and was logged with a time-stamp token.
fn stamped(node: &Node, leaf_index: u64) -> Result<Option<Note>, Failure> {
    let Some(digest) = node.index().note_covering(leaf_index.saturating_add(1))? else { return Ok(None) };
    let bytes = node.ledger().document(Shelf::Anchor, &digest)?;
    Ok(bytes.map(|bytes| Note::parse(&bytes)).transpose()?)
}

/// The notes whose root is this tree's: an older copy that had signed on by itself has others.
fn of_its_past<'a>(ledger: &Ledger, notes: impl Iterator<Item = &'a Filed>) -> Result<Vec<&'a Filed>, Failure> {
    let mut past = Vec::new();
    for note in notes {
        if Checkpoint::parse_text(&note.read()?.text)?.root == ledger.root(note.at.size)? {
            past.push(note);
        }
    }
    Ok(past)
}

/// The proof of a statement of ours that a peer gave back when this home had lost it.
fn given_back(node: &Node, generation: u32, digest: &Hash) -> Result<Option<(TlogProof, At)>, Failure> {
    let path = generations::given_back(node.home(), generation, digest);
    let Some(bytes) = home::read_file(&path, PROOF_BYTES)? else { return Ok(None) };
    let proof = TlogProof::parse(&bytes)?;
    let at = At::of(&proof.checkpoint)?;
    Ok(Some((proof, at)))
}

/// The earliest of these notes, which ascend, that enough authorities cosigned; where none has enough, the earliest of those
/// that most did. And how many did.
pub(crate) fn earliest(notes: &[&Filed], quorum: u64) -> Option<(At, u64)> {
    let of_one_size = notes.chunk_by(|one, other| one.at == other.at);
    let counted = of_one_size.filter_map(|same| {
        let signers: BTreeSet<KeyId> = same.iter().map(|note| note.by).collect();
        Some((signers.len() as u64, same.first()?.at))
    });
    let enough = |count: u64| count.min(quorum);
    let earliest = counted.min_by_key(|(count, at)| (std::cmp::Reverse(enough(*count)), *at));
    earliest.map(|(count, at)| (at, count))
}

/// A statement of ours as it travels to a peer.
pub(crate) fn signed(node: &Node, row: &Row, reader: &KeyId) -> Result<(Signed, At), Failure> {
    let not_here = |what: &str| Failure::new(Code::UnknownStatement, what).at(row.digest);
    let envelope =
        node.envelope(&row.digest)?.ok_or_else(|| not_here("The envelope of this statement is not here."))?;
    let (proof, at) = ours(node, row, &node.notes().ours(), Under::Reader(reader))?
        .ok_or_else(|| not_here("The ledger that this statement was said in ended before it could prove it."))?;
    Ok((Signed { envelope, tlog_proof: proof.print().into_bytes() }, at))
}

/// Checks a peer's proof of its own statement, and keeps it unless a better one is here.
pub(crate) fn keep_theirs(node: &Node, peer: &Authority, statement: &Signed) -> Result<(), Failure> {
    keep_all(node, peer, [&check_theirs(peer, statement)?])
}

/// A peer's proof of its own statement, which shows it.
pub(crate) struct Checked {
    /// The statement.
    digest: Hash,
    checkpoint: Note,
    bytes: Vec<u8>,
}

/// Keeps proofs of a peer's statements durably, with one sync for all of them; but for those of which better ones are here.
pub(crate) fn keep_all<'a>(
    node: &Node,
    peer: &Authority,
    proofs: impl IntoIterator<Item = &'a Checked>,
) -> Result<(), Failure> {
    // Whoever comes second finds what the first has kept.
    let home = node.files();
    let own = witness::own_vkey(node)?;
    let mut files: BTreeMap<String, &[u8]> = BTreeMap::new();
    for proof in proofs {
        let is_cosigned_by_us = matches!(cosignature_time(&proof.checkpoint, &own), Ok(Some(_)));
        if is_cosigned_by_us || !path(node.home(), &peer.root, &proof.digest).is_file() {
            files.insert(format!("peers/{}/proofs/{}", peer.root, proof.digest), &proof.bytes);
        }
    }
    let files: Vec<NewFile<'_>> = files.iter().map(|(path, bytes)| NewFile { path, bytes }).collect();
    if files.is_empty() { Ok(()) } else { Ok(home.put(&files)?) }
}

/// The kept proof of a peer's statement.
pub(crate) fn theirs(home: &Home, peer: &KeyId, digest: &Hash) -> Result<Option<TlogProof>, Failure> {
    match home::read_file(&path(home, peer, digest), PROOF_BYTES)? {
        None => Ok(None),
        Some(bytes) => Ok(Some(TlogProof::parse(&bytes)?)),
    }
}

/// Checks a peer's proof of its own statement.
pub(crate) fn check_theirs(peer: &Authority, statement: &Signed) -> Result<Checked, Failure> {
    let proof = TlogProof::parse(&statement.tlog_proof)?;
    let origin = proof.checkpoint.text.lines().next().unwrap_or_default();
    let vkey = peer.ledger(&LedgerName::parse(origin)?).ok_or_else(|| not_shown(&peer.name, origin))?;
    check(&peer.name, vkey, &proof, &statement.envelope)?;
    let digest = Hash::of(&statement.envelope);
    Ok(Checked { digest, checkpoint: proof.checkpoint, bytes: statement.tlog_proof.clone() })
}

/// Checks that a proof shows a statement in the ledger of this key, which is `whose`.
pub(crate) fn check(whose: &dyn Display, ledger: &Vkey, proof: &TlogProof, envelope: &[u8]) -> Result<(), Failure> {
    check_ledger_signature(&proof.checkpoint, ledger).map_err(|error| not_shown(whose, error))?;
    proof.verify_inclusion(&Entry::of(envelope).leaf_hash()).map_err(|error| not_shown(whose, error))?;
    Ok(())
}

fn not_shown(whose: &dyn Display, found: impl Display) -> Failure {
    Failure::new(Code::Signature, "This proof does not show the statement in a ledger of its issuer.")
        .instead_of(format!("a checkpoint of {whose}"), found.to_string())
}

fn path(home: &Home, peer: &KeyId, digest: &Hash) -> PathBuf {
    home.peer(peer).join("proofs").join(digest.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_checkpoint_with_enough_cosigners_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let on_file = witness::Notes::of(&Home::new(folder.path()));
        let key = custodia_format::key::SigningKey::from_seed(&[3; 32]);
        let vkey = custodia_format::note::Vkey::new("a/b/1", custodia_format::note::KeyType::Ed25519, key.public());
        let peers = [1, 2, 3].map(|n: u8| KeyId(Hash::of(&[n])));
        for (size, cosigners) in [(4, 0..1), (5, 0..1), (7, 0..2), (9, 1..3)] {
            let checkpoint =
                custodia_format::checkpoint::Checkpoint { origin: "a/b/1".to_owned(), size, root: Hash::ZERO };
            for at in cosigners {
                let mut note = checkpoint.sign(&key).unwrap();
                let seed = [u8::try_from(at).unwrap(); 32];
                let witness = custodia_format::key::SigningKey::from_seed(&seed);
                let line = custodia_format::checkpoint::cosign(&note.text, "w", &witness, 1 + at as u64);
                note.lines.push(line.unwrap());
                on_file.keep(&peers[at], witness::Whose::Ours, &note).unwrap();
            }
        }
        let notes = on_file.ours();
        let of = |covering: u64, quorum| {
            let covering: Vec<&Filed> = notes.iter().filter(|note| note.at.size >= covering).collect();
            earliest(&covering, quorum).map(|(at, _)| at.size)
        };
        assert_eq!([0, 1, 2, 3].map(|quorum| of(1, quorum)), [Some(4), Some(4), Some(7), Some(7)]);
        assert_eq!([1, 2].map(|quorum| of(8, quorum)), [Some(9), Some(9)]);
        assert_eq!(of(10, 1), None);
        let joined = witness::joined(&notes, At { generation: 1, size: 7 }, vkey.as_ref().unwrap()).unwrap().unwrap();
        assert_eq!(joined.lines.len(), 3, "the ledger and two witnesses");
    }
}
