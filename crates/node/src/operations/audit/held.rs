//! What an auditor holds: the last checkpoint of a ledger that it checked in full, in a file of its own.
//!
//! Invariants: the file is replaced only by a checkpoint that was checked in full and continues the one in it; a
//! contradiction is kept beside it, and never overwrites another.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use custodia_format::checkpoint::{Checkpoint, SignedCheckpoint};
use custodia_format::note::{Note, Vkey};
use custodia_format::tile::{TILE_WIDTH, Tile, TileKind};
use custodia_format::{Hash, limits};
use custodia_ledger::{Storage, StorageError};
use custodia_merkle::{Nodes, Position, prove_consistency, root, tree_root, verify_consistency};

use super::source::Source;
use super::{UNJUDGED, unsigned};
use crate::failure::{Code, Failure};
use crate::home;
use crate::operations::answers::{HeldCheckpoint, HeldState};

/// Bytes of a file of contradictions: more pairs of notes than anybody will look at.
const CONTRADICTIONS_BYTES: u64 = 64 << 20;

/// The file, and what stood in it when the audit began.
#[derive(Debug)]
pub(super) struct Held {
    path: PathBuf,
    before: Option<SignedCheckpoint>,
}

/// How the audited checkpoint stands to the one that was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Continued {
    /// None was held.
    First,
    /// It is the same.
    Same,
    /// It continues it.
    Grown,
    /// The ledger is damaged: it cannot be told, and the file was left as it is.
    Unknown,
}

impl Held {
    /// Reads the file; that there is none is a beginning.
    pub(super) fn read(path: &Path, ledger: &Vkey) -> Result<Self, Failure> {
        let path = std::path::absolute(path).map_err(|error| Failure::io(&error, path))?;
        let before = match home::read_file(&path, limits::NOTE_BYTES as u64)? {
            None => None,
            Some(bytes) => {
                let note = Note::parse(&bytes).map_err(|error| {
                    let place = error.place.clone();
                    Failure::from(error).at(format!("{} {place}", path.display())).safe(UNJUDGED)
                })?;
                let signed = SignedCheckpoint::check(note, ledger);
                Some(signed.map_err(|error| unsigned(&error, path.display()))?)
            }
        };
        Ok(Self { path, before })
    }

    /// Refuses a checkpoint that contradicts the one that is held by its size and root alone.
    pub(super) fn refuse_contradiction(&self, new: &SignedCheckpoint, source: &Source) -> Result<(), Failure> {
        let Some(before) = &self.before else { return Ok(()) };
        let (old, size) = (before.checkpoint(), new.checkpoint().size);
        if size < old.size {
            return Err(self.contradiction(before, new, source, Code::RolledBack, "The ledger went back."));
        }
        if size == old.size && new.checkpoint().root != old.root {
            let what = "The ledger shows two histories of one size.";
            return Err(self.contradiction(before, new, source, Code::Fork, what));
        }
        Ok(())
    }

    /// Checks that a ledger, which was found to be what its checkpoint signs, continues what is held, and holds the new
    /// one from now on. The inner error is damage.
    pub(super) fn follow(
        &mut self,
        source: &Source,
        new: &SignedCheckpoint,
    ) -> Result<Result<Continued, String>, Failure> {
        let continued = match &self.before {
            None => Continued::First,
            Some(before) if before.checkpoint() == new.checkpoint() => return Ok(Ok(Continued::Same)),
            Some(before) => match continues(source, before.checkpoint(), new.checkpoint()) {
                Ok(true) => Continued::Grown,
                Ok(false) => {
                    let what = "The ledger shows two histories: what it shows now does not begin with what is held.";
                    return Err(self.contradiction(before, new, source, Code::Fork, what));
                }
                Err(damage) => return Ok(Err(damage)),
            },
        };
        self.unchanged()?;
        // The new one counts from here on: before this line the old one is held.
        home::write_durably(&self.path, new.note().print().as_bytes())?;
        Ok(Ok(continued))
    }

    /// Refuses to replace what another audit wrote meanwhile.
    fn unchanged(&self) -> Result<(), Failure> {
        let now = home::read_file(&self.path, limits::NOTE_BYTES as u64)?;
        let then = self.before.as_ref().map(|before| before.note().print().into_bytes());
        if now == then {
            return Ok(());
        }
        Err(Failure::new(Code::Busy, "Another audit changed the held checkpoint meanwhile.")
            .at(self.path.display())
            .safe("What is held was left as it is.")
            .next("run the same command again"))
    }

    /// Keeps both notes, and says so.
    fn contradiction(
        &self,
        before: &SignedCheckpoint,
        new: &SignedCheckpoint,
        source: &Source,
        code: Code,
        what: &str,
    ) -> Failure {
        let mut name = self.path.clone().into_os_string();
        name.push(".contradiction");
        let path = PathBuf::from(name);
        let both = [before.note().print().as_bytes(), b"\n", new.note().print().as_bytes()].concat();
        let kept = home::read_file(&path, CONTRADICTIONS_BYTES).and_then(|kept| {
            let kept = kept.unwrap_or_default();
            if kept.windows(both.len()).any(|pair| pair == both) {
                return Ok(());
            }
            let between: &[u8] = if kept.is_empty() { b"" } else { b"\n" };
            home::write_durably(&path, &[&kept, between, &both].concat())
        });
        let said = |checkpoint: &Checkpoint| format!("size {}, root {}", checkpoint.size, checkpoint.root);
        let failure = Failure::new(code, what)
            .at(source)
            .instead_of(format!("what continues {}", said(before.checkpoint())), said(new.checkpoint()));
        let failure = match kept {
            Ok(()) => {
                failure.safe(format!("What is held was left as it is; both signed notes are in {}.", path.display()))
            }
            Err(error) => failure
                .safe("What is held was left as it is; the other note could NOT be kept.")
                .next(format!("make room for {} ({}), then run the same command again", path.display(), error.what)),
        };
        match code {
            Code::RolledBack => failure
                .next("make sure that this is no old copy, and that no cache stands in between")
                .next("then ask the ledger's owner: a ledger does not go back"),
            _ => failure
                .next("show both notes to the others who read this ledger: its key signed each, and they cannot both be true")
                .next("ask the ledger's owner; nothing that it signed after the smaller of the two is beyond doubt"),
        }
    }

    /// What is told of it.
    pub(super) fn told(&self, continued: Continued) -> HeldCheckpoint {
        HeldCheckpoint {
            path: self.path.display().to_string(),
            before: self.before.as_ref().map(|before| before.checkpoint().size),
            state: match continued {
                Continued::First => HeldState::First,
                Continued::Same => HeldState::Same,
                Continued::Grown => HeldState::Continued,
                Continued::Unknown => HeldState::Unknown,
            },
        }
    }
}

/// Whether the larger checkpoint's tree begins with the smaller one's. The answer rests on proofs against the root that
/// is signed, whatever the tiles hold; an error is damage.
fn continues(storage: &dyn Storage, old: &Checkpoint, new: &Checkpoint) -> Result<bool, String> {
    if old.size == 0 {
        return Ok(true);
    }
    let tree = Tree { storage, size: new.size, read: RefCell::default() };
    let began_with = tree_root(&tree, old.size)?;
    let proof = prove_consistency(&tree, old.size, new.size).map_err(|error| error.to_string())?;
    verify_consistency(old.size, new.size, &began_with, &new.root, &proof)
        .map_err(|error| format!("the tiles changed while they were read: {error}"))?;
    Ok(began_with == old.root)
}

/// The hashes of a tree, from its tiles.
struct Tree<'a> {
    storage: &'a dyn Storage,
    size: u64,
    read: RefCell<HashMap<Tile, Vec<Hash>>>,
}

impl Tree<'_> {
    fn row(&self, tile: Tile) -> Result<Vec<Hash>, String> {
        if let Some(row) = self.read.borrow().get(&tile) {
            return Ok(row.clone());
        }
        let full = Tile { width: TILE_WIDTH as u16, ..tile };
        let read = |tile: Tile| self.storage.read(&format!("ledger/{tile}"), 32 * u64::from(tile.width));
        let bytes = match read(tile) {
            // It was filled since the checkpoint that is audited.
            Err(StorageError::NotFound { .. }) if tile != full => read(full),
            bytes => bytes,
        };
        let bytes = bytes.map_err(|error| error.to_string())?;
        let hashes = bytes.chunks_exact(32).filter_map(|hash| Some(Hash::new(hash.try_into().ok()?)));
        let row: Vec<Hash> = hashes.take(tile.width.into()).collect();
        self.read.borrow_mut().insert(tile, row.clone());
        Ok(row)
    }
}

impl Nodes for Tree<'_> {
    type Error = String;

    /// The hash of 2^level leaves, from the row of tiles at or right below it.
    fn node(&self, at: Position) -> Result<Hash, String> {
        let outside = || format!("there is no node {} of level {}", at.index, at.level);
        let (kind, height) = (TileKind::Hashes(at.level / 8), at.level % 8);
        let first = at.index.checked_shl(height.into()).ok_or_else(outside)?;
        let index = first / TILE_WIDTH;
        let width = kind.count(self.size).saturating_sub(index * TILE_WIDTH).min(TILE_WIDTH) as u16;
        let row = self.row(Tile { kind, index, width })?;
        let place = (first % TILE_WIDTH) as usize;
        row.get(place..place + (1 << height)).map(root).ok_or_else(outside)
    }
}
