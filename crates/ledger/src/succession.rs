//! The next generation of a ledger: another name, another key, and the entries of the one before again.
//!
//! It is made in a folder of its own, where nobody reads it and a crash leaves nothing that counts; the caller moves it
//! into place when it is whole.

use std::sync::Arc;

use custodia_format::checkpoint::SignedCheckpoint;
use custodia_format::entry::Entry;
use custodia_format::key::SigningKey;
use custodia_format::limits;
use custodia_format::note::{KeyType, Vkey};

use crate::APPEND_DOCUMENTS;
use crate::commit::{Base, Pace};
use crate::home::{JOURNAL, JOURNAL_BYTES};
use crate::journal::whole_records;
use crate::start::{self, OpenError, Start};
use crate::storage::{NewFile, Storage, StorageError};
use crate::tiles::{ReadError, Tiles};
use crate::unwritten::Unwritten;

/// Puts the documents of a ledger that signs no more on their shelves, as far as they stand in its journal alone: of every
/// commit that is whole, whatever is damaged around it. Says how many these were.
///
/// # Errors
/// [`StorageError`]; what is there already stays.
pub fn salvage(storage: &dyn Storage, vkey: &Vkey) -> Result<usize, StorageError> {
    let journal = match storage.read(JOURNAL, JOURNAL_BYTES) {
        Err(StorageError::NotFound { .. }) => return Ok(0),
        journal => journal?,
    };
    let mut salvaged = 0;
    for document in whole_records(&journal, vkey).flat_map(|record| record.stage.documents) {
        let path = document.shelf.path(&document.digest);
        if let Err(StorageError::NotFound { .. }) = storage.read(&path, limits::NOTE_BYTES as u64) {
            storage.put(&[NewFile { path: &path, bytes: &document.bytes }])?;
            salvaged += 1;
        }
    }
    Ok(salvaged)
}

/// Makes a ledger of these entries, in this order, and gives its newest checkpoint, which is durable. The documents are
/// the caller's: they lie on the shelves already, or were erased. No entry may come twice.
///
/// # Errors
/// [`OpenError::Exists`] when there is any trace of a ledger, else what failed, in the storage or in what gives the
/// entries; what was made until then is of no use.
pub fn found_next(
    storage: impl Storage + 'static,
    origin: &str,
    key: SigningKey,
    entries: impl IntoIterator<Item = Result<Entry, ReadError>>,
) -> Result<SignedCheckpoint, OpenError> {
    let vkey = Vkey::new(origin, KeyType::Ed25519, key.public())?;
    let storage: Arc<dyn Storage> = Arc::new(storage);
    let unwritten = Arc::new(Unwritten::default());
    let tiles = Tiles::new(Arc::clone(&storage), Arc::clone(&unwritten));
    let base = Base { storage, unwritten, vkey, pace: Pace::default() };
    let Start { mut signed, committer, .. } = start::create(base, &tiles, key)?;
    let failed = |why: String| OpenError::Create { why };
    let mut committer = committer.ok_or_else(|| failed("a new ledger does not sign".to_owned()))?;
    let mut group: Vec<Entry> = Vec::new();
    let mut entries = entries.into_iter().peekable();
    while let Some(entry) = entries.next() {
        group.push(entry.map_err(|error| failed(error.to_string()))?);
        if group.len() == APPEND_DOCUMENTS || entries.peek().is_none() {
            signed = committer.commit_entries(&group).map_err(|error| failed(error.to_string()))?;
            group.clear();
        }
    }
    committer.write_out().map_err(|error| failed(error.to_string()))?;
    Ok(signed)
}
