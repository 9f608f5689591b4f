//! The vault of one home: its folders, what is swept at the start, and where an item lies.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use custodia_format::Hash;

use crate::incoming::Slot;
use crate::shelf::Shelf;
use crate::storage::{StorageError, make_folder, remove_folder, room, sync_folder};

/// The items of one home. Shared between threads; one process at a time opens one ([`HomeLock`](crate::HomeLock)).
#[derive(Debug)]
pub struct Vault {
    home: PathBuf,
    pub(crate) objects: Shelf,
    pub(crate) midstates: Shelf,
    pub(crate) incoming: PathBuf,
    /// Names folders of unfinished files within this process.
    next_unfinished: AtomicU64,
    /// Transfers that this process has open, by release: a second session goes on where the first one is.
    pub(crate) transfers: Mutex<HashMap<Hash, Slot>>,
}

impl Vault {
    /// Opens the vault of a home, which exists; makes its folders when they are missing and sweeps what an earlier process
    /// left unfinished in `objects/.new/` and `midstates/.new/`. Transfers in `incoming/` stay.
    ///
    /// # Errors
    /// [`StorageError`], also when the three folders lie on more than one file system.
    pub fn open(home: &Path) -> Result<Self, StorageError> {
        let vault = Self {
            home: home.to_owned(),
            objects: Shelf::new(home.join("objects")),
            midstates: Shelf::new(home.join("midstates")),
            incoming: home.join("incoming"),
            next_unfinished: AtomicU64::new(0),
            transfers: Mutex::default(),
        };
        let mut new = false;
        for folder in [vault.objects.folder(), vault.midstates.folder(), &vault.incoming] {
            new |= make_folder(folder)?;
        }
        for unfinished in [vault.objects.unfinished(), vault.midstates.unfinished()] {
            remove_folder(&unfinished)?;
            make_folder(&unfinished)?;
        }
        if new {
            sync_folder(home)?;
        }
        let device = |path: &Path| fs::metadata(path).map_err(|error| StorageError::at(path, error)).map(|m| m.dev());
        let objects = device(vault.objects.folder())?;
        for other in [vault.midstates.folder(), &vault.incoming] {
            if device(other)? != objects {
                return Err(StorageError::Divided { path: vault.objects.folder().to_owned(), other: other.to_owned() });
            }
        }
        Ok(vault)
    }

    /// The home's folder.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Whether an item is here. Its bytes are not read.
    ///
    /// # Errors
    /// [`StorageError`] when its folder cannot be read.
    pub fn contains(&self, sha256: &Hash) -> Result<bool, StorageError> {
        Ok(self.objects.size(sha256)?.is_some())
    }

    /// Bytes that are free for this home.
    ///
    /// # Errors
    /// [`StorageError`] when the file system does not say.
    pub fn room(&self) -> Result<u64, StorageError> {
        room(&self.home)
    }

    /// All that lies in `objects/`, in the order of the digests, read folder by folder.
    pub fn items(&self) -> impl Iterator<Item = Result<Found, StorageError>> + Send {
        shelved(&self.objects, None)
    }

    /// What lies in `objects/` after a digest, in the order of the digests.
    pub fn items_after(&self, after: &Hash) -> impl Iterator<Item = Result<Found, StorageError>> + Send {
        shelved(&self.objects, Some(*after))
    }

    /// All that lies in `midstates/`, in the order of the digests. What is no midstates file of an item is a stray.
    pub fn midstate_files(&self) -> impl Iterator<Item = Result<Found, StorageError>> + Send {
        shelved(&self.midstates, None)
    }

    /// A name for a folder of unfinished files that nobody else in this process uses.
    pub(crate) fn unfinished_name(&self) -> String {
        self.next_unfinished.fetch_add(1, Ordering::Relaxed).to_string()
    }
}

/// What lies in `objects/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A file at the place of an item; whether its bytes are the item's is for [`Vault::verify_item`] to say.
    Item {
        /// The digest that its name claims.
        sha256: Hash,
        /// Its bytes.
        size: u64,
    },
    /// Something that is not ours.
    Stray {
        /// Where.
        path: PathBuf,
    },
}

/// The files of a shelf in the order of their names, which is that of their digests.
fn shelved(shelf: &Shelf, after: Option<Hash>) -> impl Iterator<Item = Result<Found, StorageError>> + Send + use<> {
    let after = after.map(|after| shelf.path(&after));
    let first = after.as_deref().and_then(Path::parent).map(Path::to_owned);
    list(shelf.folder())
        .filter(|entry| !matches!(entry, Ok(path) if path.ends_with(".new")))
        .filter(move |entry| !matches!((entry, &first), (Ok(path), Some(first)) if path < first))
        .flat_map(|entry| -> Box<dyn Iterator<Item = Result<Found, StorageError>> + Send> {
            match entry {
                Ok(path) if path.is_dir() => Box::new(list(&path).filter_map(|path| path.and_then(found).transpose())),
                Ok(path) => Box::new(std::iter::once(Ok(Found::Stray { path }))),
                Err(error) => Box::new(std::iter::once(Err(error))),
            }
        })
        .filter(move |found| match (found, &after) {
            (Ok(Found::Item { sha256, .. }), Some(after)) => {
                after.file_name().is_none_or(|after| std::ffi::OsStr::new(&sha256.to_string()) > after)
            }
            _ => true,
        })
}

/// What a file is; none when it is gone since it was listed.
fn found(path: PathBuf) -> Result<Option<Found>, StorageError> {
    let metadata = match fs::symlink_metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StorageError::at(&path, error)),
    };
    let name = path.file_name().and_then(|name| name.to_str());
    let folder = path.parent().and_then(|folder| folder.file_name()).and_then(|name| name.to_str());
    match name.and_then(Hash::from_hex) {
        Some(sha256) if metadata.is_file() && name.and_then(|name| name.get(..2)) == folder => {
            Ok(Some(Found::Item { sha256, size: metadata.len() }))
        }
        _ => Ok(Some(Found::Stray { path })),
    }
}

/// The paths in a folder, in the order of their names; all in memory, and one of 256 folders of a shelf at a time.
fn list(folder: &Path) -> std::vec::IntoIter<Result<PathBuf, StorageError>> {
    let entries = fs::read_dir(folder).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<PathBuf>>>()
    });
    let listed = match entries {
        Ok(mut paths) => {
            paths.sort_unstable();
            paths.into_iter().map(Ok).collect()
        }
        Err(error) => vec![Err(StorageError::at(folder, error))],
    };
    listed.into_iter()
}
