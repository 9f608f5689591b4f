//! What stands beside the ledger: state, pending documents, and the documents of its entries.

use std::collections::HashSet;

use custodia_format::checkpoint::Checkpoint;
use custodia_format::entry::Entry;
use custodia_format::note::{Note, Vkey};
use custodia_format::{Hash, limits};

use super::Check;
use crate::head::Head;
use crate::home::{CHECKPOINT, HEAD, HEAD_BYTES, ORDER, PENDING, POISONED, STAGE, STAGE_BYTES, Shelf};
use crate::places;
use crate::stage::Stage;

impl Check<'_> {
    /// Keeps what the shelves are compared with.
    pub(super) fn note_documents(&mut self, first: u64, entries: &[&[u8]], leaves: &[Hash]) {
        for ((index, bytes), leaf) in (first..).zip(entries).zip(leaves) {
            match Entry::parse(bytes) {
                Ok(entry) => {
                    if let Some((other, _)) = self.documents.insert(entry.sha256, (index, *leaf)) {
                        self.remark("ledger/tile/entries", format!("entries {other} and {index} are of one document"));
                    }
                }
                Err(error) => self.damage("ledger/tile/entries", format!("entry {index}: {error}")),
            }
        }
    }

    /// The head's stage, and what does not belong into `state/`.
    pub(super) fn state(&mut self, vkey: &Vkey) {
        let head = self.storage.read(HEAD, HEAD_BYTES).ok().and_then(|bytes| Head::parse(&bytes, vkey).ok());
        // The least size that must be public now: a plan is made only when the commit before it is applied.
        let mut least = head.as_ref().map_or(0, |head| head.signed.checkpoint().size);
        match self.read(STAGE, STAGE_BYTES) {
            Err(what) => self.damage(STAGE, what),
            Ok(None) => self.remark(STAGE, "it is missing; the next commit writes it anew"),
            Ok(Some(bytes)) => match head {
                Some(head) if head.stage != Hash::of(&bytes) => self.remark(STAGE, "a plan that was not committed"),
                _ => match Stage::parse(&bytes) {
                    Ok(stage) => least = stage.before,
                    Err(error) => self.damage(STAGE, error),
                },
            },
        }
        // Read after the stage, so that a commit that runs meanwhile can only have made it newer.
        let public = self.storage.read(CHECKPOINT, limits::NOTE_BYTES as u64).ok();
        let public =
            public.and_then(|bytes| Note::parse(&bytes).ok()).and_then(|note| Checkpoint::parse_text(&note.text).ok());
        if let Some(public) = public.filter(|public| public.size < least) {
            self.damage(CHECKPOINT, format!("it went back to size {}: size {least} was published", public.size));
        }
        for file in self.list("state") {
            if file == POISONED {
                self.remark(&file, "a write had failed; the next start checks everything");
            } else if ![HEAD, STAGE, ORDER].contains(&file.as_str()) && places::parse_path(&file).is_none() {
                self.remark(&file, "a stray file");
            }
        }
    }

    /// Every document on its shelf or in `pending/`, and every entry whose document is absent.
    pub(super) fn shelves(&mut self) {
        let mut present = HashSet::new();
        // Listed before the shelves: a document that a commit moves meanwhile is seen here or there.
        for path in self.list(PENDING) {
            let Some((_, digest)) = Shelf::parse_pending_path(&path) else {
                self.remark(&path, "a stray file");
                continue;
            };
            match self.read(&path, limits::NOTE_BYTES as u64) {
                // Moved since.
                Ok(None) => {}
                Ok(Some(bytes)) if Hash::of(&bytes) != digest => {
                    self.damage(&path, format!("its SHA-256 is {}, not its name", Hash::of(&bytes)));
                }
                Ok(Some(_)) if self.documents.contains_key(&digest) => _ = present.insert(digest),
                Ok(Some(_)) => self.remark(&path, "not yet in the ledger"),
                Err(what) => self.damage(&path, what),
            }
        }
        for path in Shelf::ALL.into_iter().flat_map(|shelf| self.list(shelf.folder())).collect::<Vec<_>>() {
            let Some((_, digest)) = Shelf::parse_path(&path) else {
                self.remark(&path, "a stray file");
                continue;
            };
            let Some(entry) = self.document(&path, &digest) else { continue };
            match self.documents.get(&digest) {
                None => self.remark(&path, "it is not in the ledger"),
                Some((index, leaf)) if entry.leaf_hash() != *leaf => {
                    let what = format!("its SHA-512 is not that of entry {index}");
                    self.damage(&path, what);
                }
                Some(_) => _ = present.insert(digest),
            }
            self.tell();
        }
        let mut absent: Vec<(u64, Hash)> = self
            .documents
            .iter()
            .filter(|(digest, _)| !present.contains(digest))
            .map(|(digest, (index, _))| (*index, *digest))
            .collect();
        absent.sort_unstable();
        for (index, digest) in absent {
            self.remark(
                &Shelf::Statement.path(&digest),
                format!("absent: the document of entry {index}, erased or lost"),
            );
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
