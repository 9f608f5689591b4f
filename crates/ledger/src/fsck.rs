//! `fsck`: everything again from the entries up, compared with what stands in the files.
//!
//! Reads only. A file that cannot be read is a finding, and the rest is checked all the same.

mod rows;
mod shelves;

use custodia_format::checkpoint::{Checkpoint, SignedCheckpoint};
use custodia_format::entry::Entry;
use custodia_format::note::{Note, Vkey};
use custodia_format::tile::{TILE_WIDTH, Tile, TileKind, parse_bundle};
use custodia_format::{Hash, limits};
use custodia_merkle::{Frontier, leaf_hash};

use crate::home::{CHECKPOINT, JOURNAL, JOURNAL_BYTES, LEDGER, tile_bytes, tile_path};
use crate::journal::Journal;
use crate::storage::{Storage, StorageError};
use crate::tail::hashes;
use crate::tiles::{cut, in_row, range};

/// How much is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// `ledger/` alone, against its public checkpoint: what an auditor's copy has.
    Published,
    /// Also `state/` and the documents on their shelves.
    Home,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth a look; nothing is wrong with the ledger.
    Remark,
    /// Something is missing or is not what it must be.
    Damage,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsckFinding {
    /// How bad it is.
    pub severity: Severity,
    /// The file, from the home.
    pub path: String,
    /// What is wrong with it.
    pub what: String,
}

/// What a check looked at and found. Zero entries checked is shown as such by the caller.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FsckReport {
    /// Entries of the published checkpoint.
    pub entries: u64,
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// What was found, in the order of the walk.
    pub findings: Vec<FsckFinding>,
}

/// How far a check has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FsckProgress {
    /// Entries whose hashes were compared.
    pub entries: u64,
    /// Of so many.
    pub of_entries: u64,
    /// Files read so far.
    pub files: u64,
    /// Bytes read so far.
    pub bytes: u64,
}

impl FsckReport {
    /// The findings that are damage.
    pub fn damage(&self) -> impl Iterator<Item = &FsckFinding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Damage)
    }

    /// Whether nothing is damaged.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damage().next().is_none()
    }
}

/// Checks a ledger by its files, whoever has it open.
pub fn run(storage: &dyn Storage, vkey: &Vkey, depth: Depth, progress: &mut dyn FnMut(FsckProgress)) -> FsckReport {
    let mut check = Check { storage, progress, of_entries: 0, checked: 0, report: FsckReport::default() };
    let checkpoint = check.checkpoints(vkey, depth);
    if let Some(checkpoint) = &checkpoint {
        check.of_entries = checkpoint.size;
        check.report.entries = checkpoint.size;
        check.tell();
        check.entries(checkpoint);
        check.other_files(checkpoint.size);
    }
    if depth == Depth::Home {
        check.state();
        check.shelves(checkpoint.map_or(0, |checkpoint| checkpoint.size));
    }
    check.report
}

/// A check that runs.
struct Check<'a> {
    storage: &'a dyn Storage,
    progress: &'a mut dyn FnMut(FsckProgress),
    of_entries: u64,
    checked: u64,
    report: FsckReport,
}

impl Check<'_> {
    fn found(&mut self, severity: Severity, path: &str, what: impl ToString) {
        self.report.findings.push(FsckFinding { severity, path: path.to_owned(), what: what.to_string() });
    }

    fn damage(&mut self, path: &str, what: impl ToString) {
        self.found(Severity::Damage, path, what);
    }

    fn remark(&mut self, path: &str, what: impl ToString) {
        self.found(Severity::Remark, path, what);
    }

    fn tell(&mut self) {
        let FsckReport { files, bytes, .. } = self.report;
        (self.progress)(FsckProgress { entries: self.checked, of_entries: self.of_entries, files, bytes });
    }

    /// Reads and counts a file; none when it is not there, an error when it cannot be read.
    fn read(&mut self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, String> {
        match self.storage.read(path, limit) {
            Ok(bytes) => {
                self.report.files += 1;
                self.report.bytes += bytes.len() as u64;
                Ok(Some(bytes))
            }
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Reads a file that must be there and must parse.
    fn required<T>(&mut self, path: &str, limit: u64, parse: impl FnOnce(Vec<u8>) -> Result<T, String>) -> Option<T> {
        let read = self.read(path, limit).and_then(|bytes| bytes.ok_or_else(|| "it is missing".to_owned()));
        read.and_then(parse).map_err(|what| self.damage(path, what)).ok()
    }

    /// Reads a tile or, in place of a partial one, the full one, cut.
    fn tile(&mut self, tile: Tile) -> Option<Vec<u8>> {
        let (path, full) = (tile_path(&tile), Tile { width: TILE_WIDTH as u16, ..tile });
        let mut read = self.read(&path, tile_bytes(&tile));
        if matches!(read, Ok(None)) && tile != full {
            let bytes = self.read(&tile_path(&full), tile_bytes(&full));
            read = bytes.and_then(|bytes| {
                bytes.map(|bytes| cut(tile, &bytes, full.width)).transpose().map_err(|error| error.to_string())
            });
        }
        let read = read.and_then(|bytes| bytes.ok_or_else(|| format!("it is missing ({})", range(tile))));
        read.map_err(|what| self.damage(&path, what)).ok()
    }

    /// Checks the signatures on the public checkpoint and in the journal, and gives the checkpoint that the files are held
    /// against.
    fn checkpoints(&mut self, vkey: &Vkey, depth: Depth) -> Option<Checkpoint> {
        // The public one is read first: a commit in between can only make the journal newer.
        let public = self.required(CHECKPOINT, limits::NOTE_BYTES as u64, |bytes| {
            let note = Note::parse(&bytes).map_err(|error| error.to_string())?;
            let signed = SignedCheckpoint::check(note, vkey).map_err(|error| error.to_string())?;
            Ok(signed.checkpoint().clone())
        });
        if depth == Depth::Published {
            return public;
        }
        let journal = self
            .required(JOURNAL, JOURNAL_BYTES, |bytes| Journal::parse(&bytes, vkey).map_err(|error| error.to_string()));
        let Some(journal) = journal else { return public };
        if journal.torn {
            self.remark(JOURNAL, "a commit that was not finished");
        }
        let held = journal.newest.signed.checkpoint();
        let Some(public) = public else { return Some(held.clone()) };
        if let Some(why) = crate::start::contradiction(&public, held) {
            self.damage(JOURNAL, format!("rolled back: {why}"));
        } else if public.size < journal.begins_at() {
            let least = journal.begins_at();
            self.damage(CHECKPOINT, format!("it went back to size {}: size {least} was published", public.size));
        } else if public.size < held.size {
            self.remark(CHECKPOINT, format!("size {}, while size {} is committed", public.size, held.size));
        }
        Some(public)
    }

    /// Walks the bundles: each against its tile of leaf hashes, the rows above as they fill, the root at the end.
    fn entries(&mut self, checkpoint: &Checkpoint) {
        let size = checkpoint.size;
        let mut rows = rows::Rows::new();
        let mut frontier = Frontier::new();
        for index in 0..size.div_ceil(TILE_WIDTH) {
            let Some(row) = self.bundle(index, size) else { continue };
            row.iter().for_each(|leaf| frontier.push(*leaf));
            self.checked += row.len() as u64;
            for filled in rows.push_row(index, row) {
                self.compare(filled);
            }
            self.tell();
        }
        for partial in rows.rest(size) {
            self.compare(partial);
        }
        if frontier.size() == size && frontier.root() != checkpoint.root {
            let what = format!("the entries give root {}, it is signed over {}", frontier.root(), checkpoint.root);
            self.damage(CHECKPOINT, what);
        }
    }

    /// The leaf hashes of a bundle, from its entries; from its tile when the bundle is damaged, so that the rest of the
    /// tree can still be checked.
    fn bundle(&mut self, index: u64, size: u64) -> Option<Vec<Hash>> {
        let entries = in_row(TileKind::Entries, index, size)?;
        let tile = in_row(TileKind::Hashes(0), index, size)?;
        let bundle = self.tile(entries);
        let tile_row = self.tile(tile).and_then(|bytes| {
            let row = hashes(&bytes, tile.width);
            if row.is_none() {
                self.damage(&tile_path(&tile), format!("{} bytes instead of {}", bytes.len(), tile_bytes(&tile)));
            }
            row
        });
        let parsed = bundle.and_then(|bundle| {
            let parsed = parse_bundle(&bundle, entries.width);
            let parsed = parsed.map_err(|error| self.damage(&tile_path(&entries), error)).ok()?;
            let leaves: Vec<Hash> = parsed.iter().map(|entry| leaf_hash(entry)).collect();
            for (at, entry) in (index * TILE_WIDTH..).zip(&parsed) {
                if let Err(error) = Entry::parse(entry) {
                    self.damage("ledger/tile/entries", format!("entry {at}: {error}"));
                }
            }
            Some(leaves)
        });
        if let (Some(leaves), Some(row)) = (&parsed, &tile_row)
            && leaves != row
        {
            let first =
                leaves.iter().zip(row).position(|(a, b)| a != b).unwrap_or_default() as u64 + index * TILE_WIDTH;
            let what = format!("entry {first} does not hash to what stands in {}", tile_path(&tile));
            self.damage(&tile_path(&entries), what);
        }
        parsed.or(tile_row)
    }

    /// Compares a tile above the leaves with what it must be.
    fn compare(&mut self, (tile, expected): (Tile, Vec<u8>)) {
        if self.tile(tile).is_some_and(|found| found != expected) {
            self.damage(&tile_path(&tile), format!("it is not what the rows below it give ({})", range(tile)));
        }
    }

    /// Every other file of `ledger/`: earlier partial tiles must be the beginnings of the newest; strangers are remarks.
    fn other_files(&mut self, size: u64) {
        let listed = self.storage.list(LEDGER).map_err(|error| self.damage(LEDGER, error)).unwrap_or_default();
        let mut newest: Option<(Tile, Vec<u8>)> = None;
        for file in listed {
            let relative = file.path.strip_prefix("ledger/").unwrap_or_default();
            let Ok(tile) = Tile::parse(relative) else {
                if file.path != CHECKPOINT {
                    self.remark(&file.path, "a stray file");
                }
                continue;
            };
            let Some(wide) = in_row(tile.kind, tile.index, size).filter(|wide| wide.width >= tile.width) else {
                self.remark(&file.path, format!("beyond size {size}"));
                continue;
            };
            if wide == tile {
                continue;
            }
            self.tell();
            let Ok(Some(bytes)) = self.read(&file.path, tile_bytes(&wide)) else {
                self.damage(&file.path, "it cannot be read");
                continue;
            };
            if newest.as_ref().is_none_or(|(other, _)| *other != wide) {
                // That it is missing was found when the rows were walked.
                newest = self.storage.read(&tile_path(&wide), tile_bytes(&wide)).ok().map(|bytes| (wide, bytes));
            }
            let Some((_, whole)) = &newest else { continue };
            if cut(tile, whole, wide.width).ok().as_ref() != Some(&bytes) {
                self.damage(&file.path, format!("it is not the beginning of {}", tile_path(&wide)));
            }
        }
    }
}
