//! The ledger's storage in a folder of a local file system.
//!
//! A file is written beside its place, synced, renamed into it, and its folder synced; folders that had to be made are
//! synced into the ones above. Many files at once share their syncs: all are written, all synced, all renamed, then
//! their folders synced. This file owns no lock: whoever opens the home does.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::storage::{Listed, NewFile, Rename, Storage, StorageError};

/// From so many files or folders on, one `syncfs` is cheaper than a sync of each.
const SYNC_ALL_FROM: usize = if cfg!(target_os = "linux") { 16 } else { usize::MAX };

/// A node's home as [`Storage`]. Files are their owner's alone.
#[derive(Debug, Clone)]
pub struct Folder {
    home: PathBuf,
}

impl Folder {
    /// Uses an existing folder. Nothing in it is touched yet.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] when it is no folder.
    pub fn open(home: impl Into<PathBuf>) -> Result<Self, StorageError> {
        let home = home.into();
        if home.is_dir() { Ok(Self { home }) } else { Err(StorageError::NotFound { path: home.display().to_string() }) }
    }

    fn place(&self, path: &str) -> PathBuf {
        self.home.join(path)
    }

    /// Makes the folder of a file. Those that were not there are added to `made`, for the sync of the ones above them.
    fn make_folder_of(place: &Path, made: &mut BTreeSet<PathBuf>) -> io::Result<()> {
        let Some(folder) = place.parent() else { return Ok(()) };
        if folder.is_dir() {
            return Ok(());
        }
        Self::make_folder_of(folder, made)?;
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        made.extend(folder.parent().map(Path::to_path_buf));
        Ok(())
    }

    /// Writes all files beside their places and syncs them. On failure none of them is left.
    fn write_beside<'a>(
        &self,
        files: &[NewFile<'a>],
        folders: &mut BTreeSet<PathBuf>,
    ) -> Result<Vec<(PathBuf, PathBuf)>, StorageError> {
        let mut written = Vec::with_capacity(files.len());
        let mut write_all = || -> Result<(), (&'a str, io::Error)> {
            let together = files.len() >= SYNC_ALL_FROM;
            let mut first = None;
            for file in files {
                let place = self.place(file.path);
                let failed = |error| (file.path, error);
                Self::make_folder_of(&place, folders).map_err(failed)?;
                let beside = beside(&place);
                written.push((beside.clone(), place));
                let mut options = OpenOptions::new();
                let mut handle =
                    options.write(true).create(true).truncate(true).mode(0o600).open(beside).map_err(failed)?;
                handle.write_all(file.bytes).map_err(failed)?;
                if !together {
                    handle.sync_all().map_err(failed)?;
                } else if first.is_none() {
                    // Opened before the others are written, so that its sync reports the errors of all.
                    first = Some((file.path, handle));
                }
            }
            first.map_or(Ok(()), |(path, handle)| sync_everything(&handle).map_err(|error| (path, error)))
        };
        if let Err((path, error)) = write_all() {
            for (beside, _) in &written {
                // It is of no use to anybody; that it may stay behind changes nothing.
                let _ = fs::remove_file(beside);
            }
            return Err(not_applied("write", path, &error));
        }
        Ok(written)
    }
}

impl Storage for Folder {
    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, StorageError> {
        let place = self.place(path);
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => StorageError::NotFound { path: path.to_owned() },
            _ => unknown("read", path, &error),
        };
        let file = File::open(place).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        if bytes > limit {
            return Err(StorageError::TooLarge { path: path.to_owned(), bytes, limit });
        }
        let mut read = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
        file.take(limit.saturating_add(1)).read_to_end(&mut read).map_err(failed)?;
        if read.len() as u64 > limit {
            return Err(StorageError::TooLarge { path: path.to_owned(), bytes: read.len() as u64, limit });
        }
        Ok(read)
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, StorageError> {
        let mut found = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(self.place(&folder)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.map_err(|error| unknown("list", &folder, &error))?,
            };
            for entry in entries {
                let entry = entry.map_err(|error| unknown("list", &folder, &error))?;
                let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
                match entry.metadata() {
                    // Renamed or removed since its folder was read.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(unknown("list", &path, &error)),
                    Ok(metadata) if metadata.is_dir() => folders.push(path),
                    Ok(metadata) => found.push(Listed { path, bytes: metadata.len() }),
                }
            }
        }
        found.sort();
        Ok(found)
    }

    fn put(&self, files: &[NewFile<'_>]) -> Result<(), StorageError> {
        let mut folders = BTreeSet::new();
        let written = self.write_beside(files, &mut folders)?;
        for (n, (beside, place)) in written.iter().enumerate() {
            if let Err(error) = fs::rename(beside, place) {
                for (beside, _) in written.iter().skip(n) {
                    let _ = fs::remove_file(beside);
                }
                let path = place.display().to_string();
                return Err(if n == 0 {
                    not_applied("rename", &path, &error)
                } else {
                    unknown("rename", &path, &error)
                });
            }
            folders.extend(place.parent().map(Path::to_path_buf));
        }
        sync_folders(&folders)
    }

    fn swap(&self, path: &str, expected: Option<&[u8]>, bytes: &[u8]) -> Result<(), StorageError> {
        let limit = expected.map_or(0, |expected| expected.len() as u64);
        let unchanged = match self.read(path, limit) {
            Ok(found) => expected == Some(found.as_slice()),
            Err(StorageError::NotFound { .. }) => expected.is_none(),
            Err(StorageError::TooLarge { .. }) => false,
            Err(error) => return Err(error),
        };
        if !unchanged {
            return Err(StorageError::Conflict { path: path.to_owned() });
        }
        self.put(&[NewFile { path, bytes }])
    }

    fn rename(&self, renames: &[Rename]) -> Result<(), StorageError> {
        let mut folders = BTreeSet::new();
        for Rename { from, to } in renames {
            let (source, target) = (self.place(from), self.place(to));
            Self::make_folder_of(&target, &mut folders).map_err(|error| unknown("make the folder of", to, &error))?;
            match fs::rename(&source, &target) {
                // Renamed before: its folder's sync may have been lost, so it is synced again.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(unknown("rename", from, &error)),
                Ok(()) => {}
            }
            folders.extend([source, target].iter().filter_map(|place| place.parent()).map(Path::to_path_buf));
        }
        sync_folders(&folders)
    }

    fn remove(&self, paths: &[String]) -> Result<(), StorageError> {
        let mut folders = BTreeSet::new();
        for path in paths {
            let place = self.place(path);
            match fs::remove_file(&place) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(unknown("remove", path, &error)),
                Ok(()) => folders.extend(place.parent().map(Path::to_path_buf)),
            }
        }
        sync_folders(&folders)
    }
}

/// Where a file stands until it is whole: hidden, in the same folder.
fn beside(place: &Path) -> PathBuf {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    place.with_file_name(format!(".{name}.tmp"))
}

/// Makes durable what was made or renamed in these folders; one that is gone has nothing to lose.
fn sync_folders(folders: &BTreeSet<PathBuf>) -> Result<(), StorageError> {
    let failed = |folder: &Path, error: io::Error| unknown("sync", &folder.display().to_string(), &error);
    let exist = folders.iter().filter(|folder| folder.is_dir());
    if folders.len() < SYNC_ALL_FROM {
        for folder in exist {
            File::open(folder).and_then(|handle| handle.sync_all()).map_err(|error| failed(folder, error))?;
        }
    } else if let Some(folder) = exist.into_iter().next() {
        File::open(folder).and_then(|handle| sync_everything(&handle)).map_err(|error| failed(folder, error))?;
    }
    Ok(())
}

/// Syncs the whole file system of a file.
fn sync_everything(handle: &File) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    return Ok(rustix::fs::syncfs(handle)?);
    #[cfg(not(target_os = "linux"))]
    return handle.sync_all();
}

/// Tells a full device, on which nothing happened, from one whose state is not known.
fn not_applied(operation: &'static str, path: &str, error: &io::Error) -> StorageError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageError::Full { path: path.to_owned() },
        _ => unknown(operation, path, error),
    }
}

fn unknown(operation: &'static str, path: &str, error: &io::Error) -> StorageError {
    StorageError::Unknown { operation, path: path.to_owned(), why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(home.path()).unwrap();
        (home, folder)
    }

    #[test]
    fn files_appear_whole_and_nothing_else_stays() {
        let (_home, folder) = folder();
        for count in [1, SYNC_ALL_FROM - 1, SYNC_ALL_FROM, 3 * SYNC_ALL_FROM] {
            let paths: Vec<String> = (0..count).map(|n| format!("a{count}/b{n}/c")).collect();
            let files: Vec<NewFile<'_>> = paths.iter().map(|path| NewFile { path, bytes: path.as_bytes() }).collect();
            folder.put(&files).unwrap();
            assert_eq!(folder.list(&format!("a{count}")).unwrap().len(), count);
            assert!(paths.iter().all(|path| folder.read(path, 100).unwrap() == path.as_bytes()));
            let renames: Vec<Rename> =
                paths.iter().map(|path| Rename { from: path.clone(), to: format!("z/{path}") }).collect();
            folder.rename(&renames).unwrap();
            folder.rename(&renames).unwrap();
            assert_eq!(folder.list(&format!("z/a{count}")).unwrap().len(), count);
            assert_eq!(folder.list(&format!("a{count}")).unwrap(), []);
        }
    }

    #[test]
    fn a_swap_compares_first() {
        let (_home, folder) = folder();
        folder.swap("state/head", None, b"one").unwrap();
        for expected in [None, Some(&b"on"[..]), Some(b"two")] {
            let error = folder.swap("state/head", expected, b"two").unwrap_err();
            assert_eq!(error, StorageError::Conflict { path: "state/head".to_owned() });
        }
        folder.swap("state/head", Some(b"one"), b"two").unwrap();
        assert_eq!(folder.read("state/head", 3).unwrap(), b"two");
    }

    #[test]
    fn a_limit_is_checked_before_reading() {
        let (_home, folder) = folder();
        folder.put(&[NewFile { path: "a", bytes: b"four" }]).unwrap();
        assert!(matches!(folder.read("a", 3), Err(StorageError::TooLarge { bytes: 4, limit: 3, .. })));
        assert!(matches!(folder.read("b", 3), Err(StorageError::NotFound { .. })));
        assert!(matches!(folder.read("a/b", 3), Err(StorageError::NotFound { .. })));
        folder.remove(&["a".to_owned(), "b".to_owned()]).unwrap();
        assert!(matches!(folder.read("a", 9), Err(StorageError::NotFound { .. })));
    }
}
