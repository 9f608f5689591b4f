//! What the ledger asks of whatever holds its bytes: a contract that a folder keeps today and an object store can keep.
//!
//! Paths are relative to the home, with `/` between their parts; this crate makes every one of them, no outside text is
//! ever part of one. Nothing is retried here or by an implementation: who gets [`StorageError::Unknown`] stops.

use std::fmt;

/// A file to be written.
#[derive(Debug, Clone, Copy)]
pub struct NewFile<'a> {
    /// Where.
    pub path: &'a str,
    /// All of it.
    pub bytes: &'a [u8],
}

/// A file that was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its path from the home.
    pub path: String,
    /// Its length.
    pub bytes: u64,
}

/// Files by path, with durable writes.
///
/// Every call may be made from any thread. Reads may run beside writes and see each file as it was before or as it is
/// after, but for one that is extended: of what is new in it they may see a part. Writes come from one thread at a time,
/// but for [`Storage::put_parts`] and the removal of what it wrote, which may run beside them.
///
/// What a call that succeeded wrote is on the disk: it stays there after a power cut. Of a call that failed with
/// [`StorageError::Unknown`], any part may have happened and any part may still be lost.
pub trait Storage: fmt::Debug + Send + Sync {
    /// Reads a whole file.
    ///
    /// # Errors
    /// [`StorageError::NotFound`]; [`StorageError::TooLarge`] above `limit` bytes, before they are read;
    /// [`StorageError::Unknown`] when the device fails.
    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, StorageError>;

    /// Reads a part of a file: as many bytes from there as are asked for, or fewer where it ends.
    ///
    /// # Errors
    /// As [`Storage::read`].
    fn read_part(&self, path: &str, offset: u64, bytes: usize) -> Result<Vec<u8>, StorageError> {
        let whole = self.read(path, u64::MAX)?;
        let first = usize::try_from(offset).unwrap_or(usize::MAX).min(whole.len());
        Ok(whole.into_iter().skip(first).take(bytes).collect())
    }

    /// All regular files below a folder at any depth, ascending by path; none when there is no such folder.
    ///
    /// # Errors
    /// [`StorageError::Unknown`].
    fn list(&self, folder: &str) -> Result<Vec<Listed>, StorageError>;

    /// The names of what lies directly in a folder, ascending; none when there is no such folder.
    ///
    /// # Errors
    /// [`StorageError::Unknown`].
    fn names(&self, folder: &str) -> Result<Vec<String>, StorageError> {
        let first = |file: Listed| {
            let below = file.path.strip_prefix(folder)?.strip_prefix('/')?;
            Some(below.split('/').next().unwrap_or(below).to_owned())
        };
        let mut names: Vec<String> = self.list(folder)?.into_iter().filter_map(first).collect();
        names.dedup();
        Ok(names)
    }

    /// Writes files, new or in place of old ones, and the folders that they need. Each file appears whole or not at
    /// all, and in the given order; the set of them is not atomic.
    ///
    /// # Errors
    /// [`StorageError::Full`]: none of them appeared. [`StorageError::Unknown`].
    fn put(&self, files: &[NewFile<'_>]) -> Result<(), StorageError>;

    /// Writes one file out of parts, each of them asked for when the one before is written. It appears whole or not at
    /// all. What `next` says ends it.
    ///
    /// # Errors
    /// As [`Storage::put`], and what `next` says; then nothing appeared.
    fn put_parts(&self, path: &str, next: &mut Parts<'_>) -> Result<(), StorageError> {
        let mut bytes = Vec::new();
        while let Some(part) = next()? {
            bytes.extend(part);
        }
        self.put(&[NewFile { path, bytes: &bytes }])
    }

    /// Writes bytes into a file that is there, from the place `at` on, if what it holds until there ends with `before` and
    /// nothing but zeros follows. Zeros of the storage's own may follow what is written: room for the next call.
    ///
    /// An object store does this by a conditional write. A folder compares and then writes: its lock, taken by whoever
    /// opened the home, keeps other processes away, and this comparison finds out when that lock was lost.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] or [`StorageError::Full`]: nothing happened. [`StorageError::Unknown`]: any part of the
    /// bytes may be there.
    fn extend(&self, path: &str, at: u64, before: &[u8], bytes: &[u8]) -> Result<(), StorageError>;

    /// Removes files; one that is not there is passed over.
    ///
    /// # Errors
    /// [`StorageError::Unknown`].
    fn remove(&self, paths: &[String]) -> Result<(), StorageError>;
}

/// Gives the next part of a file, or none after the last.
pub type Parts<'a> = dyn FnMut() -> Result<Option<Vec<u8>>, StorageError> + 'a;

/// Why a storage call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// There is no such file. Nothing happened.
    #[error("{path} does not exist")]
    NotFound {
        /// The file.
        path: String,
    },
    /// The file is longer than anything honest at this place. Nothing happened.
    #[error("{path} has {bytes} bytes, more than {limit}")]
    TooLarge {
        /// The file.
        path: String,
        /// Its length.
        bytes: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The device or the quota is full. Nothing happened; the caller may try again once there is room.
    #[error("no room to write {path}")]
    Full {
        /// The file that did not fit.
        path: String,
    },
    /// Another process wrote the file meanwhile. Nothing happened; the caller stops.
    #[error("{path} was changed by somebody else")]
    Conflict {
        /// The file.
        path: String,
    },
    /// Reading, writing or syncing failed. A write may have happened, in part or whole, and may be lost again. The
    /// caller stops writing; after such an error not even a read tells what the device holds.
    #[error("{operation} {path}: {why}")]
    Unknown {
        /// What was attempted.
        operation: &'static str,
        /// On which file or folder.
        path: String,
        /// What the system said.
        why: String,
    },
}
