//! Inclusion proofs of statements: ours for others, theirs as they were sent.
//!
//! What a peer is sent stands under a checkpoint that this very peer has cosigned, so that it can show it to a court
//! with its own cosignature. The earliest such checkpoint is taken: two nodes then give the same time bounds.

use std::path::PathBuf;

use custodia_exchange::Signed;
use custodia_format::Hash;
use custodia_format::checkpoint::{Checkpoint, check_ledger_signature, cosignature_time};
use custodia_format::entry::Entry;
use custodia_format::key::KeyId;
use custodia_format::note::Note;
use custodia_format::text::LedgerName;
use custodia_format::tlog_proof::TlogProof;
use custodia_index::Row;
use custodia_ledger::Ledger;

use crate::Node;
use crate::failure::{Code, Failure};
use crate::generations;
use crate::home::{self, Home};
use crate::peers::Authority;
use crate::witness::{self, Filed, Whose};

/// Bytes of a proof: 63 hashes and a note.
const PROOF_BYTES: u64 = 300 * 1024;

/// Which checkpoint of ours a proof stands under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Under {
    generation: u32,
    size: u64,
}

impl Under {
    /// That of a note on file.
    pub(crate) const fn of(note: &Filed) -> Self {
        Self { generation: note.generation, size: note.size }
    }

    /// Whether it is of the ledger that this node writes.
    pub(crate) fn is_current(self, node: &Node) -> bool {
        self.generation == node.config().ledger.generation
    }
}

/// The proof of a statement of ours, in the ledger where it was said, under the earliest of these notes that covers it;
/// and under which checkpoint it stands: the newest where none that covers the entry is cosigned yet.
///
/// Of a ledger that ended only what others have seen is shown, or what they gave back: an older copy may have signed on by
/// itself. None where that shows nothing.
pub(crate) fn ours(node: &Node, row: &Row, notes: &[Filed]) -> Result<Option<(TlogProof, Under)>, Failure> {
    let name = LedgerName::parse(&row.ledger)?;
    let generation = name.generation;
    let ended = name != node.config().ledger;
    let ledger = node.generation(&name)?;
    let index = if ended { ledger.find(&row.digest)? } else { Some(row.leaf_index) };
    let Some(index) = index else { return given_back(node, generation, &row.digest) };
    // A note that is ahead of this ledger is kept as a warning; nothing here leads to it.
    let covering = index.saturating_add(1)..=ledger.size();
    let notes: Vec<&Filed> =
        notes.iter().filter(|note| note.generation == generation && covering.contains(&note.size)).collect();
    let checkpoint = match first_of_this_past(&ledger, &notes)? {
        Some(first) => merged(&ledger, &notes, first)?,
        None if ended => return given_back(node, generation, &row.digest),
        None => ledger.checkpoint().note().clone(),
    };
    let size = Checkpoint::parse_text(&checkpoint.text)?.size;
    let hashes = ledger.prove(index, size)?;
    Ok(Some((TlogProof { extra: None, index, hashes, checkpoint }, Under { generation, size })))
}

/// The proof of a statement of ours that a peer gave back when this home had lost it.
fn given_back(node: &Node, generation: u32, digest: &Hash) -> Result<Option<(TlogProof, Under)>, Failure> {
    let path = generations::given_back(node.home(), generation, digest);
    let Some(bytes) = home::read_file(&path, PROOF_BYTES)? else { return Ok(None) };
    let proof = TlogProof::parse(&bytes)?;
    let size = Checkpoint::parse_text(&proof.checkpoint.text)?.size;
    Ok(Some((proof, Under { generation, size })))
}

/// The first note whose root is this tree's: an older copy that had signed on by itself has others.
fn first_of_this_past<'a>(ledger: &Ledger, notes: &[&'a Filed]) -> Result<Option<&'a Filed>, Failure> {
    for note in notes {
        if Checkpoint::parse_text(&note.read()?.text)?.root == ledger.root(note.size)? {
            return Ok(Some(note));
        }
    }
    Ok(None)
}

/// A note with the cosignatures of everybody who cosigned the same text.
fn merged(ledger: &Ledger, notes: &[&Filed], first: &Filed) -> Result<Note, Failure> {
    let mut note = first.read()?;
    let others = notes.iter().filter(|other| other.size == first.size && other.digest != first.digest);
    let others = others.map(|other| other.read()).collect::<Result<Vec<_>, _>>()?;
    witness::join(&mut note, others.iter(), ledger.vkey());
    Ok(note)
}

/// A statement of ours as it travels to a peer.
pub(crate) fn signed(node: &Node, row: &Row, reader: &KeyId) -> Result<(Signed, Under), Failure> {
    let not_here = |what: &str| Failure::new(Code::UnknownStatement, what).at(row.digest);
    let envelope =
        node.envelope(&row.digest)?.ok_or_else(|| not_here("The envelope of this statement is not here."))?;
    // A ledger that ended has nothing cosigned any more: what anybody cosigned of it is all that there will be.
    let notes = match row.ledger == node.config().ledger.to_string() {
        true => witness::of_peer(node.home(), reader, Whose::Ours),
        false => witness::ours(node.home()),
    };
    let (proof, under) = ours(node, row, &notes)?
        .ok_or_else(|| not_here("The ledger that this statement was said in ended before it could prove it."))?;
    Ok((Signed { envelope, tlog_proof: proof.print().into_bytes() }, under))
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
    let ledger = LedgerName::parse(origin)?;
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
