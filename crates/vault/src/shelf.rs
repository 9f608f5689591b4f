//! A shelf: a folder of complete files, each named by a SHA-256, and the one way in which files get such a name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use custodia_format::Hash;

use crate::storage::{StorageError, make_folder, remove_folder, sync_file_system, sync_folder, sync_path};

/// Files up to which each is synced by itself; from there on one sync of the file system costs less.
pub(crate) const SYNC_EACH: usize = 64;

/// `objects/` or `midstates/`: files at `ab/<64 hex>`, where `ab` are the first two digits, and unfinished ones in `.new/`.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    folder: PathBuf,
}

impl Shelf {
    pub(crate) const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where unfinished files lie. They have no meaning after a crash and are swept at the next start.
    pub(crate) fn unfinished(&self) -> PathBuf {
        self.folder.join(".new")
    }

    pub(crate) fn path(&self, sha256: &Hash) -> PathBuf {
        let hex = sha256.to_string();
        self.folder.join(hex.get(..2).unwrap_or_default()).join(hex)
    }

    /// Bytes of a file, if it is here and a regular one.
    pub(crate) fn size(&self, sha256: &Hash) -> Result<Option<u64>, StorageError> {
        let path = self.path(sha256);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StorageError::at(&path, error)),
        }
    }
}

/// A folder for files that have no name yet. What is still in it at the end is removed.
pub(crate) struct Unfinished {
    folder: PathBuf,
}

impl Unfinished {
    pub(crate) fn new(shelf: &Shelf, name: String) -> Result<Self, StorageError> {
        let folder = shelf.unfinished().join(name);
        make_folder(&folder)?;
        Ok(Self { folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Whatever cannot be removed now is swept at the next start.
        let _ = remove_folder(&self.folder);
    }
}

/// One file to be named.
pub(crate) struct Move<'a> {
    pub(crate) shelf: &'a Shelf,
    /// The finished file without a name.
    pub(crate) from: PathBuf,
    pub(crate) sha256: Hash,
}

impl Move<'_> {
    fn to(&self) -> PathBuf {
        self.shelf.path(&self.sha256)
    }
}

/// Makes files durable, names them, and makes the names durable. The iterator is asked for several times and must give
/// the same each time; `count` is how many it gives.
///
/// A file that is already on the shelf is replaced: ours was hashed on its way in, and the other may have rotted since.
/// Who reads the other one goes on reading it. When this fails some of the files may have their names; each is complete.
pub(crate) fn settle<'a, I: Iterator<Item = Move<'a>>>(
    count: usize,
    file_system: &Path,
    moves: impl Fn() -> I,
) -> Result<(), StorageError> {
    let each = count <= SYNC_EACH;
    // All folders first: when there is no room for one, nothing is named yet. And they are durable before anything is moved
    // into them: a power cut that took the folder would take what was moved, from both of its names.
    let (mut shelves, mut folders) = (BTreeSet::new(), BTreeSet::new());
    for one in moves() {
        let to = one.to();
        let folder = to.parent().unwrap_or(one.shelf.folder());
        if folders.contains(folder) {
            continue;
        }
        if make_folder(folder)? {
            shelves.insert(one.shelf.folder().to_owned());
        }
        folders.insert(folder.to_owned());
    }
    if each {
        moves().try_for_each(|one| sync_path(&one.from))?;
        shelves.iter().try_for_each(|folder| sync_folder(folder))?;
    } else {
        sync_file_system(file_system)?;
    }
    for one in moves() {
        let to = one.to();
        // The commit point of this file: from here on it is on the shelf, whole.
        custodia_disk::rename(&one.from, &to).map_err(|error| StorageError::at(&to, error))?;
    }
    if each { folders.iter().try_for_each(|folder| sync_folder(folder)) } else { sync_file_system(file_system) }
}
