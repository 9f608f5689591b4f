//! What stands beside the ledger: the documents of its entries, and what does not belong there.

use std::collections::{HashMap, HashSet};

use custodia_format::entry::Entry;
use custodia_format::tile::{TILE_WIDTH, Tile, TileKind, parse_bundle};
use custodia_format::{Hash, limits};
use custodia_merkle::leaf_hash;

use super::Check;
use crate::home::{JOURNAL, POISONED, Shelf, tile_bytes, tile_path};
use crate::places;
use crate::tiles::{cut, in_row};

/// Documents of a part: with what is kept of each, some 100 MiB.
const PART_DOCUMENTS: u64 = if cfg!(test) { 64 } else { 1 << 20 };

/// Leaf index and leaf hash of documents, by SHA-256.
type Documents = HashMap<Hash, (u64, Hash)>;

/// The first byte of the digests in a folder `ab` of a shelf; none for anything else that lies there.
fn first_byte(shelf: Shelf, path: &str) -> Option<u8> {
    let name = path.strip_prefix(shelf.folder())?.strip_prefix('/')?;
    u8::from_str_radix(name, 16).ok().filter(|byte| format!("{byte:02x}") == name)
}

impl Check<'_> {
    /// What does not belong into `state/`.
    pub(super) fn state(&mut self) {
        for file in self.list("state") {
            if file == POISONED {
                self.remark(&file, "a write had failed; the next start checks everything");
            } else if file != JOURNAL && places::parse_path(&file).is_none() {
                self.remark(&file, "a stray file");
            }
        }
    }

    /// Every document on its shelf, and every entry whose document is absent.
    ///
    /// A part at a time, by the first byte of the digest, so that memory does not grow with the ledger: for each part the
    /// bundles are read once more.
    pub(super) fn shelves(&mut self, size: u64) {
        let folders: Vec<(Shelf, String)> = Shelf::ALL
            .into_iter()
            .flat_map(|shelf| self.folders(shelf).into_iter().map(move |name| (shelf, name)))
            .collect();
        let parts = size.div_ceil(PART_DOCUMENTS).clamp(1, 256);
        let bound = |part: u64| part * 256 / parts;
        for part in 0..parts {
            let bytes = bound(part)..bound(part + 1);
            let is_of_part = |digest: &Hash| bytes.contains(&u64::from(digest.as_bytes()[0]));
            let documents = self.documents(size, is_of_part);
            let mut present = HashSet::new();
            for (shelf, folder) in &folders {
                match first_byte(*shelf, folder) {
                    Some(byte) if bytes.contains(&u64::from(byte)) => {
                        for path in self.list(folder) {
                            self.shelved(&path, &documents, &mut present);
                            self.tell();
                        }
                    }
                    None if part == 0 => self.strays(folder),
                    _ => {}
                }
            }
            let absent = documents.iter().filter(|(digest, _)| !present.contains(*digest));
            let mut absent: Vec<(u64, Hash)> = absent.map(|(digest, (index, _))| (*index, *digest)).collect();
            absent.sort_unstable();
            for (index, digest) in absent {
                let what = format!("absent: the document of entry {index}, erased or lost");
                self.remark(&Shelf::Statement.path(&digest), what);
            }
        }
    }

    /// The documents of a ledger's entries of which `wanted` says so: leaf index and leaf hash by SHA-256. What cannot be read of
    /// the bundles was found when they were walked.
    fn documents(&mut self, size: u64, wanted: impl Fn(&Hash) -> bool) -> Documents {
        let mut documents = Documents::new();
        for bundle in 0..size.div_ceil(TILE_WIDTH) {
            let Some(tile) = in_row(TileKind::Entries, bundle, size) else { continue };
            let Some(bytes) = self.tile_again(tile) else { continue };
            let entries = parse_bundle(&bytes, tile.width).unwrap_or_default();
            for (index, bytes) in (bundle * TILE_WIDTH..).zip(entries) {
                let Some(digest) = Entry::parse(bytes).ok().map(|entry| entry.sha256).filter(&wanted) else { continue };
                if let Some((other, _)) = documents.insert(digest, (index, leaf_hash(bytes))) {
                    self.remark("ledger/tile/entries", format!("entries {other} and {index} are of one document"));
                }
            }
        }
        documents
    }

    /// A bundle that was read before.
    fn tile_again(&self, tile: Tile) -> Option<Vec<u8>> {
        let full = Tile { width: TILE_WIDTH as u16, ..tile };
        let read = |tile: Tile| self.storage.read(&tile_path(&tile), tile_bytes(&tile)).ok();
        read(tile).or_else(|| cut(tile, &read(full)?, full.width).ok())
    }

    /// A stray file, or a folder of such.
    fn strays(&mut self, path: &str) {
        let inside = self.storage.list(path).unwrap_or_default();
        match inside.is_empty() {
            true => self.remark(path, "a stray file"),
            false => inside.iter().for_each(|file| self.remark(&file.path, "a stray file")),
        }
    }

    /// A file on a shelf.
    fn shelved(&mut self, path: &str, documents: &Documents, present: &mut HashSet<Hash>) {
        let Some((_, digest)) = Shelf::parse_path(path) else {
            return self.remark(path, "a stray file");
        };
        let Some(entry) = self.document(path, &digest) else { return };
        match documents.get(&digest) {
            None => self.remark(path, "it is not in the ledger"),
            Some((index, leaf)) if entry.leaf_hash() != *leaf => {
                self.damage(path, format!("its SHA-512 is not that of entry {index}"));
            }
            Some(_) => _ = present.insert(digest),
        }
    }

    /// Reads a document and compares it with its name.
    fn document(&mut self, path: &str, digest: &Hash) -> Option<Entry> {
        self.required(path, limits::NOTE_BYTES as u64, |bytes| {
            let entry = Entry::of(&bytes);
            let same = entry.sha256 == *digest;
            if same { Ok(entry) } else { Err(format!("its SHA-256 is {}, not its name", entry.sha256)) }
        })
    }

    /// What lies directly in the folder of a shelf, as paths.
    fn folders(&mut self, shelf: Shelf) -> Vec<String> {
        match self.storage.names(shelf.folder()) {
            Ok(names) => names.into_iter().map(|name| format!("{}/{name}", shelf.folder())).collect(),
            Err(error) => {
                self.damage(shelf.folder(), error);
                Vec::new()
            }
        }
    }

    fn list(&mut self, folder: &str) -> Vec<String> {
        match self.storage.list(folder) {
            Ok(listed) => listed.into_iter().map(|file| file.path).collect(),
            Err(error) => {
                self.damage(folder, error);
                Vec::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use custodia_format::key::SigningKey;

    use super::super::{Depth, run};
    use super::*;
    use crate::{Document, Folder, Ledger};

    #[test]
    fn what_is_checked_in_parts_is_found_as_in_one() {
        let home = tempfile::tempdir().unwrap();
        let path = |path: &str| home.path().join(path);
        let ledger =
            Ledger::create(Folder::open(home.path()).unwrap(), "a/b/1", SigningKey::from_seed(&[7; 32])).unwrap();
        let document = |n: u64| {
            let shelf = if n % 5 == 4 { Shelf::Anchor } else { Shelf::Statement };
            Document { shelf, bytes: format!("document {n}\n").into_bytes() }
        };
        // Several parts of the tests' size.
        ledger.append((0..500).map(document).collect()).unwrap();
        ledger.publish().unwrap();
        let place = |n: u64| document(n).shelf.path(&Hash::of(&document(n).bytes));
        let findings = || {
            let report = run(&Folder::open(home.path()).unwrap(), ledger.vkey(), Depth::Home, &mut |_| {});
            let mut found: Vec<String> =
                report.findings.iter().map(|finding| format!("{} {}", finding.path, finding.what)).collect();
            found.sort();
            found
        };
        assert_eq!(findings(), Vec::<String>::new());

        let mut expected = Vec::new();
        for n in (0..500).step_by(7) {
            fs::remove_file(path(&place(n))).unwrap();
            let digest = Hash::of(&document(n).bytes);
            expected
                .push(format!("{} absent: the document of entry {n}, erased or lost", Shelf::Statement.path(&digest)));
        }
        fs::write(path(&place(8)), b"other").unwrap();
        expected.push(format!("{} its SHA-256 is {}, not its name", place(8), Hash::of(b"other")));
        let digest = Hash::of(&document(8).bytes);
        expected.push(format!("{} absent: the document of entry 8, erased or lost", Shelf::Statement.path(&digest)));
        for stray in ["statements/stray", "statements/ab/stray"] {
            fs::create_dir_all(path(stray).parent().unwrap()).unwrap();
            fs::write(path(stray), b"").unwrap();
            expected.push(format!("{stray} a stray file"));
        }
        expected.sort();
        assert_eq!(findings(), expected);
    }
}
