//! Contradictions of peers, kept as files for a court (docs/spec/contradiction.md), and what follows from them: a ledger
//! that showed two roots at one size is not cosigned any more.
//!
//! The files are the truth about it; each is read again when it matters. What they prove is the verifier's business.

use std::path::PathBuf;

use custodia_format::checkpoint::cosignature_time;
use custodia_format::contradiction::Contradiction;
use custodia_format::envelope::Envelope;
use custodia_format::key::KeyId;
use custodia_format::note::{Note, Vkey};
use custodia_format::{Hash, limits};

use crate::failure::Failure;
use crate::home::{self, Home};
use crate::peers::Authority;
use crate::{Node, witness};

/// Files of one authority: what a ledger owner shows without a proof costs it nothing, so that it ends somewhere.
const FILES: usize = 32;
/// Bytes of one: the cards of decades, two notes and a proof.
const FILE_BYTES: u64 = 64 << 20;

/// A contradiction on file.
#[derive(Debug)]
pub(crate) struct Found {
    /// The ledger.
    pub(crate) origin: String,
    /// The sizes of the two checkpoints, the smaller first.
    pub(crate) sizes: [u64; 2],
    /// Whether our own key cosigned both: we were shown the one, forgot it, and were shown the other.
    pub(crate) both_ours: bool,
    /// The file.
    pub(crate) path: PathBuf,
}

impl Found {
    /// Whether it convicts: two roots at one size. Otherwise it is a doubt, which the ledger's owner can lift.
    pub(crate) fn is_fork(&self) -> bool {
        let [one, other] = self.sizes;
        one == other
    }
}

/// Where the contradictions of a peer lie.
pub(crate) fn folder(home: &Home, peer: &KeyId) -> PathBuf {
    home.peer(peer).join("contradictions")
}

/// Keeps two notes of one ledger that cannot both be true, or that were not shown to belong together. Both are signed by
/// the ledger's key; `offered` is the proof that came with the larger. One fork of a ledger is enough, and of doubts some.
pub(crate) fn keep(
    node: &Node,
    peer: &Authority,
    vkey: &Vkey,
    held: Note,
    shown: Note,
    offered: Vec<Hash>,
) -> Result<(), Failure> {
    let mut notes = [held, shown];
    for note in &mut notes {
        known_lines_alone(node, note, vkey);
    }
    let cards = peer.card_digests().filter_map(|digest| {
        let path = node.home().peer(&peer.root).join(format!("{digest}.json"));
        home::read_file(&path, limits::ENVELOPE_BYTES as u64).transpose()
    });
    let cards = cards.map(|bytes| Ok(Envelope::parse(&bytes?)?)).collect::<Result<Vec<_>, Failure>>()?;
    let [held, shown] = notes;
    // What is no contradiction after all, as a proof too many at one size, leaves nothing behind.
    let Ok(file) = Contradiction::new(cards, held, shown, offered) else { return Ok(()) };
    let known = of(node, &peer.root)?;
    let is_fork = file.checkpoints().is_ok_and(|[one, other]| one.size == other.size);
    if known.iter().any(|found| found.is_fork() && found.origin == vkey.name()) || !is_fork && known.len() >= FILES {
        return Ok(());
    }
    let printed = file.print();
    let name = format!("{}.json", Hash::of(printed.as_bytes()));
    let path = folder(node.home(), &peer.root).join(name);
    home::write_durably(&path, printed.as_bytes())?;
    match read(node, path)? {
        found if found.both_ours => tracing::error!(
            "a ledger showed two histories, and this node's own key cosigned both: it had forgotten the first; both are kept for a court"
        ),
        found if found.is_fork() => {
            tracing::error!("a ledger showed two histories; both checkpoints are kept for a court")
        }
        _ => tracing::error!(
            "a peer showed a checkpoint that does not continue an earlier one; both are kept for a court"
        ),
    }
    Ok(())
}

/// Whether this ledger showed two roots at one size. When the files cannot be read it is not known, and nothing is cosigned.
pub(crate) fn is_forked(node: &Node, peer: &KeyId, origin: &str) -> Result<bool, Failure> {
    Ok(of(node, peer)?.iter().any(|found| found.is_fork() && found.origin == origin))
}

/// The contradictions of a peer, by file name.
pub(crate) fn of(node: &Node, peer: &KeyId) -> Result<Vec<Found>, Failure> {
    let mut paths = home::list(&folder(node.home(), peer))?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    paths.into_iter().map(|path| read(node, path)).collect()
}

fn read(node: &Node, path: PathBuf) -> Result<Found, Failure> {
    let bytes = home::read_file(&path, FILE_BYTES)?.unwrap_or_default();
    let file = Contradiction::parse(&bytes).map_err(|error| Failure::from(error).at(path.display()))?;
    let [one, other] = file.checkpoints()?;
    let own = witness::own_vkey(node)?;
    let both_ours = file.notes.iter().all(|note| matches!(cosignature_time(note, &own), Ok(Some(_))));
    Ok(Found { sizes: [one.size, other.size], origin: one.origin, both_ours, path })
}

/// Leaves the ledger's line and those that verify under keys that we know, in order: the verifier refuses a note for one
/// bad line, and nobody may spoil the file that convicts him.
fn known_lines_alone(node: &Node, note: &mut Note, vkey: &Vkey) {
    let keys = witness::known_keys(node);
    let text = note.text.clone();
    note.lines.retain(|line| {
        let alone = || Note { text: text.clone(), lines: vec![line.clone()] };
        vkey.is_of(line)
            || keys.iter().any(|(_, key)| key.is_of(line) && matches!(cosignature_time(&alone(), key), Ok(Some(_))))
    });
    note.sort(vkey);
}
