//! One item, opened by its digest, and its midstates.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use custodia_format::Hash;
use custodia_format::midstate::{ItemDigest, Midstate, midstate_count, parse_midstates, print_midstates};

use crate::shelf::{Move, Unfinished, settle};
use crate::storage::StorageError;
use crate::vault::Vault;

/// An item that is open for reading. Erasing its name meanwhile does not disturb a reader.
#[derive(Debug)]
pub struct Item {
    file: File,
    size: u64,
    sha256: Hash,
}

impl Item {
    /// Opens the file at a path, if a regular one is there.
    pub(crate) fn at(path: &Path, sha256: &Hash) -> Result<Option<Self>, StorageError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StorageError::at(path, error)),
        };
        let metadata = file.metadata().map_err(|error| StorageError::at(path, error))?;
        Ok(metadata.is_file().then(|| Self { file, size: metadata.len(), sha256: *sha256 }))
    }

    /// The digest by which it was opened.
    pub const fn sha256(&self) -> &Hash {
        &self.sha256
    }

    /// Bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Reads from an offset; fewer bytes than asked for only at the end. Threads may read one item at once.
    ///
    /// # Errors
    /// What the system says.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Lets the system forget what it holds of this file in memory, so that the next read asks the disk.
    pub(crate) fn forget(&self) {
        // Advice: where it is not taken, a read may come from memory, and is right about that.
        let _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
    }

    /// Fills the whole buffer from an offset.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends earlier, or what the system says.
    pub fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

impl Vault {
    /// Opens an item. Its bytes are not verified by this: a reader that depends on them hashes them.
    ///
    /// # Errors
    /// [`ItemError::Missing`], or the storage's.
    pub fn item(&self, sha256: &Hash) -> Result<Item, ItemError> {
        Item::at(&self.objects.path(sha256), sha256)?.ok_or(ItemError::Missing { sha256: *sha256 })
    }

    /// The midstates of an item that is here. When their file is missing or has a wrong length they are computed anew,
    /// which reads the whole item once. They are a cache: who gives them on compares their root with the sealed one.
    ///
    /// # Errors
    /// [`ItemError::Damaged`] when they had to be computed and the item turned out to be another one.
    pub fn midstates(&self, sha256: &Hash) -> Result<Vec<Midstate>, ItemError> {
        let item = self.item(sha256)?;
        match self.stored_midstates(&item)? {
            Some(midstates) => Ok(midstates),
            None => Ok(self.rehash(&item, &())?.midstates),
        }
    }

    /// What the midstates file of an item holds, if it has the right length.
    pub(crate) fn stored_midstates(&self, item: &Item) -> Result<Option<Vec<Midstate>>, StorageError> {
        let expected = midstate_count(item.size) * 32;
        if expected == 0 {
            return Ok(Some(Vec::new()));
        }
        if self.midstates.size(&item.sha256)? != Some(expected) {
            return Ok(None);
        }
        let path = self.midstates.path(&item.sha256);
        let bytes = fs::read(&path).map_err(|error| StorageError::at(&path, error))?;
        Ok(parse_midstates(&bytes, item.size).ok())
    }

    /// Writes the midstates file of an item anew, durably.
    pub(crate) fn store_midstates(&self, digest: &ItemDigest) -> Result<(), StorageError> {
        if digest.midstates.is_empty() {
            return Ok(());
        }
        let unfinished = Unfinished::new(&self.midstates, self.unfinished_name())?;
        let from = unfinished.folder().join("0");
        write_read_only(&from, &print_midstates(&digest.midstates))?;
        settle(1, self.midstates.folder(), || {
            std::iter::once(Move { shelf: &self.midstates, from: from.clone(), sha256: digest.sha256 })
        })
    }
}

/// Writes a new file that nobody may change, without syncing it.
pub(crate) fn write_read_only(path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    let file = create_read_only(path)?;
    file.write_all_at(bytes, 0).map_err(|error| StorageError::at(path, error))
}

/// Creates a new file that nobody may change once we have closed it.
pub(crate) fn create_read_only(path: &Path) -> Result<custodia_disk::File, StorageError> {
    custodia_disk::File::create_read_only(path).map_err(|error| StorageError::at(path, error))
}

/// Why an item cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ItemError {
    /// It is not in the vault.
    #[error("no item {sha256} is here")]
    Missing {
        /// Its digest.
        sha256: Hash,
    },
    /// Its bytes are not those of its digest: fetch it again from whoever holds it.
    #[error("the item {sha256} is damaged: its bytes have the SHA-256 {found}")]
    Damaged {
        /// Its digest.
        sha256: Hash,
        /// The digest of the bytes that lie there.
        found: Hash,
        /// The first MiB that does not prove, when midstates told it.
        chunk: Option<u64>,
    },
    /// The work was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The disk failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
