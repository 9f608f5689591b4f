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

/// A file to be renamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// Its path until now.
    pub from: String,
    /// Its path from now on; a file that is there is replaced.
    pub to: String,
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
/// after; writes come from one thread at a time.
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

    /// All regular files below a folder at any depth, ascending by path; none when there is no such folder.
    ///
    /// # Errors
    /// [`StorageError::Unknown`].
    fn list(&self, folder: &str) -> Result<Vec<Listed>, StorageError>;

    /// Writes files, new or in place of old ones, and the folders that they need. Each file appears whole or not at
    /// all, and in the given order; the set of them is not atomic.
    ///
    /// # Errors
    /// [`StorageError::Full`]: none of them appeared. [`StorageError::Unknown`].
    fn put(&self, files: &[NewFile<'_>]) -> Result<(), StorageError>;

    /// Writes one file if what stands there now is `expected`, where none means that there is no file.
    ///
    /// An object store does this by a conditional write. A folder compares and then writes: its lock, taken by whoever
    /// opened the home, keeps other processes away, and this comparison finds out when that lock was lost.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] or [`StorageError::Full`]: nothing happened. [`StorageError::Unknown`].
    fn swap(&self, path: &str, expected: Option<&[u8]>, bytes: &[u8]) -> Result<(), StorageError>;

    /// Renames files and makes the folders that they need. A file that is not there is passed over, so that recovery
    /// can rename again what was renamed before.
    ///
    /// # Errors
    /// [`StorageError::Unknown`].
    fn rename(&self, renames: &[Rename]) -> Result<(), StorageError>;

    /// Removes files; one that is not there is passed over.
    ///
    /// # Errors
    /// [`StorageError::Unknown`].
    fn remove(&self, paths: &[String]) -> Result<(), StorageError>;
}

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
