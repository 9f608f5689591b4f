//! Inclusion proofs of statements: ours for others, theirs as they were sent.
//!
//! What a peer is sent stands under a checkpoint that this very peer has cosigned, so that it can show it to a court
//! with its own cosignature. The earliest such checkpoint is taken: two nodes then give the same time bounds. What third
//! authorities cosigned of the same text stands under it as well.

use std::collections::BTreeSet;
use std::path::PathBuf;

use custodia_exchange::Signed;
use custodia_format::Hash;
use custodia_format::checkpoint::{check_ledger_signature, cosignature_time};
use custodia_format::entry::Entry;
use custodia_format::key::KeyId;
use custodia_format::note::Note;
use custodia_format::tlog_proof::TlogProof;

use crate::Node;
use crate::failure::{Code, Failure};
use crate::home::{self, Home};
use crate::peers::Authority;
use crate::witness::{self, Filed};

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

/// The proof of an entry of ours under the earliest checkpoint that covers it and is cosigned as asked; and the size of that
/// checkpoint, which is the newest where none that covers the entry is cosigned yet. `notes` are all of our ledger.
pub(crate) fn ours(
    node: &Node,
    leaf_index: u64,
    notes: &[Filed],
    under: Under<'_>,
) -> Result<(TlogProof, u64), Failure> {
    // A note that is ahead of this ledger is kept as a warning; nothing here leads to it.
    let covering = leaf_index.saturating_add(1)..=node.ledger().size();
    let covering: Vec<&Filed> = notes.iter().filter(|note| covering.contains(&note.size)).collect();
    let size = match under {
        Under::Reader(reader) => covering.iter().find(|note| note.by == *reader).map(|note| note.size),
        Under::Quorum(quorum) => earliest(&covering, quorum),
    };
    let joined = size.map(|size| witness::joined(notes, size, node.ledger_vkey())).transpose()?.flatten();
    let (checkpoint, size) = match joined.zip(size) {
        Some(found) => found,
        None => {
            let newest = node.ledger().checkpoint();
            (newest.note().clone(), newest.checkpoint().size)
        }
    };
    let hashes = node.ledger().prove(leaf_index, size)?;
    Ok((TlogProof { extra: None, index: leaf_index, hashes, checkpoint }, size))
}

/// The size of the earliest of these notes, by ascending size, that enough authorities cosigned; where none has enough, of
/// the earliest of those that most did.
fn earliest(notes: &[&Filed], quorum: u64) -> Option<u64> {
    let of_one_size = notes.chunk_by(|one, other| one.size == other.size);
    let counted = of_one_size.filter_map(|same| {
        let signers: BTreeSet<KeyId> = same.iter().map(|note| note.by).collect();
        Some((signers.len() as u64, same.first()?.size))
    });
    let enough = |count: u64| count.min(quorum);
    counted.min_by_key(|(count, size)| (std::cmp::Reverse(enough(*count)), *size)).map(|(_, size)| size)
}

/// A statement of ours as it travels to a peer.
pub(crate) fn signed(node: &Node, digest: &Hash, leaf_index: u64, reader: &KeyId) -> Result<(Signed, u64), Failure> {
    let envelope = node.envelope(digest)?.ok_or_else(|| {
        Failure::new(Code::UnknownStatement, "The envelope of this statement is not here.").at(digest)
    })?;
    let (proof, size) = ours(node, leaf_index, &witness::ours(node.home()), Under::Reader(reader))?;
    Ok((Signed { envelope, tlog_proof: proof.print().into_bytes() }, size))
}

/// Checks a peer's proof of its own statement, and keeps it unless a better one is here.
pub(crate) fn keep_theirs(node: &Node, peer: &Authority, statement: &Signed) -> Result<(), Failure> {
    let proof = TlogProof::parse(&statement.tlog_proof)?;
    let digest = Hash::of(&statement.envelope);
    check(peer, &proof, &statement.envelope)?;
    let path = path(node.home(), &peer.root, &digest);
    if is_cosigned_by_us(node, &proof.checkpoint)? || !path.is_file() {
        home::write_durably(&path, &statement.tlog_proof)?;
    }
    Ok(())
}

/// The kept proof of a peer's statement.
pub(crate) fn theirs(home: &Home, peer: &KeyId, digest: &Hash) -> Result<Option<TlogProof>, Failure> {
    match home::read_file(&path(home, peer, digest), PROOF_BYTES)? {
        None => Ok(None),
        Some(bytes) => Ok(Some(TlogProof::parse(&bytes)?)),
    }
}

fn check(peer: &Authority, proof: &TlogProof, envelope: &[u8]) -> Result<(), Failure> {
    let refuse = |found: String| {
        Failure::new(Code::Signature, "This proof does not show the statement in a ledger of its issuer.")
            .instead_of(format!("a checkpoint of {}", peer.name), found)
    };
    let origin = proof.checkpoint.text.lines().next().unwrap_or_default();
    let ledger = custodia_format::text::LedgerName::parse(origin)?;
    let vkey = peer.ledger(&ledger).ok_or_else(|| refuse(origin.to_owned()))?;
    check_ledger_signature(&proof.checkpoint, vkey).map_err(|error| refuse(error.to_string()))?;
    proof.verify_inclusion(&Entry::of(envelope).leaf_hash()).map_err(|error| refuse(error.to_string()))?;
    Ok(())
}

/// Whether our witness key has cosigned a note.
fn is_cosigned_by_us(node: &Node, note: &Note) -> Result<bool, Failure> {
    Ok(matches!(cosignature_time(note, &witness::own_vkey(node)?), Ok(Some(_))))
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
        let home = Home::new(folder.path());
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
                witness::keep(&home, &peers[at], witness::Whose::Ours, size, &note).unwrap();
            }
        }
        let notes = witness::ours(&home);
        let of = |covering: u64, quorum| {
            let covering: Vec<&Filed> = notes.iter().filter(|note| note.size >= covering).collect();
            earliest(&covering, quorum)
        };
        assert_eq!([0, 1, 2, 3].map(|quorum| of(1, quorum)), [Some(4), Some(4), Some(7), Some(7)]);
        assert_eq!([1, 2].map(|quorum| of(8, quorum)), [Some(9), Some(9)]);
        assert_eq!(of(10, 1), None);
        let joined = witness::joined(&notes, 7, vkey.as_ref().unwrap()).unwrap().unwrap();
        assert_eq!(joined.lines.len(), 3, "the ledger and two witnesses");
    }
}
