//! What a power cut would leave if everything un-synced were lost, as a ledger's storage. What a ledger writes when it is
//! opened on it lies beside the disk, which does not change.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use custodia_ledger::{Listed, NewFile, Storage, StorageError};

use super::Disk;

/// What would be left of a disk.
#[derive(Debug)]
pub struct Remains {
    disk: Arc<Disk>,
    /// What was written since; none: it was removed.
    written: Mutex<BTreeMap<String, Option<Vec<u8>>>>,
}

impl Remains {
    /// Those of this disk, which must not change as long as they are looked at.
    pub fn of(disk: Arc<Disk>) -> Self {
        Self { disk, written: Mutex::default() }
    }

    fn written(&self) -> MutexGuard<'_, BTreeMap<String, Option<Vec<u8>>>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        let written = self.written().get(path).cloned();
        written.unwrap_or_else(|| self.disk.durable(Path::new(path)))
    }
}

impl Storage for Remains {
    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, StorageError> {
        let read = self.bytes(path).ok_or_else(|| StorageError::NotFound { path: path.to_owned() })?;
        match read.len() as u64 {
            bytes if bytes > limit => Err(StorageError::TooLarge { path: path.to_owned(), bytes, limit }),
            _ => Ok(read),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, StorageError> {
        let durable = self.disk.durable_files(Path::new(folder)).into_iter();
        let mut files: BTreeMap<String, u64> =
            durable.filter_map(|(path, bytes)| Some((path.to_str()?.to_owned(), bytes))).collect();
        let below = format!("{folder}/");
        for (path, bytes) in self.written().iter().filter(|(path, _)| path.starts_with(&below)) {
            match bytes {
                Some(bytes) => files.insert(path.clone(), bytes.len() as u64),
                None => files.remove(path),
            };
        }
        Ok(files.into_iter().map(|(path, bytes)| Listed { path, bytes }).collect())
    }

    fn put(&self, files: &[NewFile<'_>]) -> Result<(), StorageError> {
        self.written().extend(files.iter().map(|file| (file.path.to_owned(), Some(file.bytes.to_vec()))));
        Ok(())
    }

    fn extend(&self, path: &str, at: u64, before: &[u8], bytes: &[u8]) -> Result<(), StorageError> {
        let conflict = || StorageError::Conflict { path: path.to_owned() };
        let mut held = self.bytes(path).ok_or_else(conflict)?;
        let at = usize::try_from(at).map_err(|_| conflict())?;
        let (until, after) = held.split_at_checked(at).ok_or_else(conflict)?;
        if !until.ends_with(before) || after.iter().any(|byte| *byte != 0) {
            return Err(conflict());
        }
        held.truncate(at);
        held.extend_from_slice(bytes);
        self.put(&[NewFile { path, bytes: &held }])
    }

    fn remove(&self, paths: &[String]) -> Result<(), StorageError> {
        self.written().extend(paths.iter().map(|path| (path.clone(), None)));
        Ok(())
    }
}
