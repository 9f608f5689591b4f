//! What goes wrong with our own disk, and the few calls that make things durable there.

use std::io;
use std::path::{Path, PathBuf};

use custodia_disk::File;
use rustix::fs::statvfs;

/// Our own disk did not do what it must. After any but [`StorageError::Full`], what was to be written may be there or not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// There is no room. Nothing that had a name was changed, sources are untouched; free some space and try again.
    #[error("the disk is full at {}{}", path.display(), Room { needed: *needed, available: *available })]
    Full {
        /// What was to be written.
        path: PathBuf,
        /// Bytes that are needed, when known.
        needed: Option<u64>,
        /// Bytes that are free for us, when known.
        available: Option<u64>,
    },
    /// `objects/`, `midstates/` and `incoming/` must lie on one file system: files move between them by name.
    #[error("{} lies on another file system than {}", path.display(), other.display())]
    Divided {
        /// The one.
        path: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// The system refused or failed. On a write path this is doubt: sign nothing until a restart has checked.
    #[error("{}: {error}", path.display())]
    Failed {
        /// Where.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl StorageError {
    /// Sorts what the system said about a path.
    pub(crate) fn at(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                let available = room(&path).ok();
                Self::Full { path, needed: None, available }
            }
            _ => Self::Failed { path, error },
        }
    }
}

struct Room {
    needed: Option<u64>,
    available: Option<u64>,
}

impl std::fmt::Display for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.needed, self.available) {
            (Some(needed), Some(available)) => write!(f, ": {needed} bytes are needed, {available} are free"),
            (None, Some(available)) => write!(f, ": {available} bytes are free"),
            _ => Ok(()),
        }
    }
}

/// Bytes that are free for us on the file system of a path, or of the nearest folder above it that exists.
pub(crate) fn room(path: &Path) -> Result<u64, StorageError> {
    let there = path.ancestors().find(|folder| folder.exists()).unwrap_or(path);
    let stat = statvfs(there).map_err(|error| StorageError::at_plain(there, error.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

impl StorageError {
    fn at_plain(path: &Path, error: io::Error) -> Self {
        Self::Failed { path: path.to_owned(), error }
    }
}

/// Makes a folder for its owner alone; says whether its name must still be made to last. Its parent must exist, and is not
/// synced.
pub(crate) fn make_folder(path: &Path) -> Result<bool, StorageError> {
    match custodia_disk::make_folder(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(!custodia_disk::lasts(path)),
        Err(error) => Err(StorageError::at(path, error)),
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> Result<(), StorageError> {
    custodia_disk::sync_folder(path).map_err(|error| StorageError::at(path, error))
}

/// Makes the bytes of a file durable.
pub(crate) fn sync_path(path: &Path) -> Result<(), StorageError> {
    custodia_disk::sync_file(path).map_err(|error| StorageError::at(path, error))
}

/// Makes everything on the file system of a path durable: for many files this costs less than one sync each.
pub(crate) fn sync_file_system(path: &Path) -> Result<(), StorageError> {
    let file = File::open_to_sync(path).map_err(|error| StorageError::at(path, error))?;
    custodia_disk::sync_everything(&file, path).map_err(|error| StorageError::at(path, error))
}

/// Removes a file that may be gone already.
pub(crate) fn remove_file(path: &Path) -> Result<(), StorageError> {
    match custodia_disk::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StorageError::at(path, error)),
        _ => Ok(()),
    }
}

/// Removes a folder with all that is in it; it may be gone already.
pub(crate) fn remove_folder(path: &Path) -> Result<(), StorageError> {
    match custodia_disk::remove_folder(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StorageError::at(path, error)),
        _ => Ok(()),
    }
}
