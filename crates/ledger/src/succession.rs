//! The next generation of a ledger: another name, another key, and the entries of the one before again.
//!
//! It is made in a folder of its own, where nobody reads it and a crash leaves nothing that counts; the caller moves it
//! into place when it is whole.

use std::sync::Arc;

use custodia_format::checkpoint::SignedCheckpoint;
use custodia_format::entry::Entry;
use custodia_format::key::SigningKey;
use custodia_format::note::{KeyType, Vkey};

use crate::APPEND_DOCUMENTS;
use crate::start::{self, OpenError, Start};
use crate::storage::Storage;
use crate::tiles::{ReadError, Tiles};

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
    let tiles = Tiles::new(Arc::clone(&storage));
    let Start { mut signed, committer, .. } = start::create(&storage, &tiles, &vkey, key)?;
    let failed = |why: String| OpenError::Create { why };
    let mut committer = committer.ok_or_else(|| failed("a new ledger does not sign".to_owned()))?;
    let mut group: Vec<Entry> = Vec::new();
    let mut entries = entries.into_iter().peekable();
    while let Some(entry) = entries.next() {
        group.push(entry.map_err(|error| failed(error.to_string()))?);
        if group.len() == APPEND_DOCUMENTS || entries.peek().is_none() {
            let refs: Vec<&Entry> = group.iter().collect();
            signed = committer.commit_entries(&refs).map_err(|error| failed(error.to_string()))?;
            group.clear();
        }
    }
    storage.settle()?;
    Ok(signed)
}
