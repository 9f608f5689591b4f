//! The documents that an auditor may see, against the entries: an entry is a commitment, so whoever holds a document can
//! tell whether it is in the ledger, and nobody else can.

use std::collections::HashMap;
use std::path::Path;

use custodia_format::entry::Entry;
use custodia_format::tile::{TILE_WIDTH, Tile, parse_bundle};
use custodia_format::{Hash, limits};
use custodia_ledger::{Folder, Storage};

use super::UNJUDGED;
use crate::failure::{Code, Failure};
use crate::operations::answers::Compared;

/// The documents at hand, by SHA-256.
#[derive(Debug, Default)]
pub(super) struct Statements {
    documents: HashMap<Hash, Document>,
    errors: Vec<String>,
    remarks: Vec<String>,
}

#[derive(Debug)]
struct Document {
    path: String,
    entry: Entry,
    logged: Logged,
}

/// What the ledger says of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Logged {
    Not,
    /// An entry commits to it.
    As,
    /// An entry has its SHA-256, and another SHA-512.
    Otherwise(u64),
}

/// What the comparison came to.
pub(super) struct Judged {
    pub(super) compared: Compared,
    pub(super) errors: Vec<String>,
    pub(super) remarks: Vec<String>,
}

impl Statements {
    /// Reads every `<digest>.json` in a folder, at any depth.
    pub(super) fn read(folder: &Path) -> Result<Self, Failure> {
        let failed = |error: custodia_ledger::StorageError| {
            Failure::new(Code::Io, format!("The statements cannot be read: {error}."))
                .at(folder.display())
                .safe(UNJUDGED)
        };
        let storage = Folder::open(folder).map_err(failed)?;
        let mut read = Self::default();
        for file in storage.list(".").map_err(failed)? {
            let path = file.path.strip_prefix("./").unwrap_or(&file.path).to_owned();
            let name = path.rsplit('/').next().unwrap_or_default();
            let is_file = std::fs::metadata(folder.join(&path)).is_ok_and(|metadata| metadata.is_file());
            let Some(digest) = name.strip_suffix(".json").and_then(Hash::from_hex).filter(|_| is_file) else {
                read.remarks.push(format!("{path}: a stray file among the statements"));
                continue;
            };
            let bytes = storage.read(&file.path, limits::NOTE_BYTES as u64).map_err(failed)?;
            let entry = Entry::of(&bytes);
            if entry.sha256 == digest {
                read.documents.insert(digest, Document { path, entry, logged: Logged::Not });
            } else {
                read.errors.push(format!("{path}: its SHA-256 is {}, not its name", entry.sha256));
            }
        }
        Ok(read)
    }

    /// Compares a bundle of a ledger of this size. What the bundle holds is proven by the signed root, once the whole
    /// ledger was found to be sound.
    pub(super) fn compare(&mut self, tile: Tile, bundle: &[u8], size: u64) {
        let Ok(entries) = parse_bundle(bundle, tile.width) else { return };
        for (index, entry) in (tile.index * TILE_WIDTH..size).zip(entries) {
            let Ok(entry) = Entry::parse(entry) else { continue };
            if let Some(document) = self.documents.get_mut(&entry.sha256) {
                document.logged = if document.entry == entry { Logged::As } else { Logged::Otherwise(index) };
            }
        }
    }

    /// Counts what was compared and what could not be.
    pub(super) fn judge(mut self, size: u64) -> Judged {
        let mut seen = 0;
        let mut documents: Vec<Document> = self.documents.into_values().collect();
        documents.sort_by(|one, other| one.path.cmp(&other.path));
        for Document { path, logged, .. } in documents {
            match logged {
                Logged::As => seen += 1,
                Logged::Not => self.errors.push(format!("{path}: no entry commits to it, at size {size}")),
                Logged::Otherwise(index) => {
                    self.errors.push(format!("{path}: its SHA-512 is not that of entry {index}"));
                }
            }
        }
        let compared = Compared { seen, unseen: size.saturating_sub(seen) };
        Judged { compared, errors: self.errors, remarks: self.remarks }
    }
}
