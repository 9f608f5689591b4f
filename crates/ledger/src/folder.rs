//! The ledger's storage in a folder of a local file system.
//!
//! A file is written beside its place, synced, renamed into it, and its folder synced; folders that had to be made are
//! synced into the ones above. Many files at once share their syncs: all are written, all synced, all renamed, then
//! their folders synced. What is extended is written in place, into zeros that were synced before, so that its sync
//! writes nothing but its own bytes. This file owns no lock: whoever opens the home does.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use custodia_disk::File;

use crate::storage::{Listed, NewFile, Parts, Storage, StorageError};

/// From so many files and folders on, one `syncfs` is cheaper than a sync of each.
const SYNC_ALL_FROM: usize = if cfg!(target_os = "linux") { 16 } else { usize::MAX };
/// A file that is extended grows by zeros to a multiple of this.
const ROOM: u64 = 256 << 10;

/// A node's home as [`Storage`]. Files are their owner's alone.
#[derive(Debug, Clone)]
pub struct Folder {
    home: PathBuf,
    syncers: Arc<OnceLock<Syncers>>,
}

/// A file that is to be synced, or a folder.
type ToSync = (PathBuf, File);

impl Folder {
    /// Uses an existing folder. Nothing in it is touched yet.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] when it is no folder.
    pub fn open(home: impl Into<PathBuf>) -> Result<Self, StorageError> {
        let home = home.into();
        if !home.is_dir() {
            return Err(StorageError::NotFound { path: home.display().to_string() });
        }
        Ok(Self { home, syncers: Arc::default() })
    }

    fn place(&self, path: &str) -> PathBuf {
        self.home.join(path)
    }

    /// Makes the folder of a file. Those that were not there are added to `made`, for the sync of the ones above them.
    fn make_folder_of(place: &Path, made: &mut BTreeSet<PathBuf>) -> io::Result<()> {
        let Some(folder) = place.parent() else { return Ok(()) };
        if folder.is_dir() {
            // Who made it may have been killed before its name was on the disk.
            made.extend(folder.parent().filter(|_| !custodia_disk::lasts(folder)).map(Path::to_path_buf));
            return Ok(());
        }
        Self::make_folder_of(folder, made)?;
        match custodia_disk::make_folder(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        made.extend(folder.parent().map(Path::to_path_buf));
        Ok(())
    }

    /// Writes a file beside its place. Its sync is the caller's.
    fn write_beside(place: &Path, bytes: &[u8], made: &mut BTreeSet<PathBuf>) -> io::Result<File> {
        Self::make_folder_of(place, made)?;
        let mut file = File::create(&beside(place))?;
        file.write_all(bytes)?;
        Ok(file)
    }

    /// Makes room up to this place: zeros, on the disk, so that what is written there needs no room any more. There is some
    /// for the next ones too, unless the disk is nearly full.
    fn make_room(file: &File, until: u64) -> io::Result<()> {
        let held = file.metadata()?.len();
        if until <= held {
            return Ok(());
        }
        let make = |until: u64| {
            let zeros = vec![0; usize::try_from(until - held).map_err(io::Error::other)?];
            let made = file.write_all_at(&zeros, held).and_then(|()| file.sync_all());
            made.inspect_err(|_| _ = file.set_len(held))
        };
        match make(until.next_multiple_of(ROOM)) {
            Err(error) if is_full(&error) => make(until),
            made => made,
        }
    }

    /// Whether a file holds `before` up to this place, and from there on nothing.
    fn ends_with(file: &File, at: u64, before: &[u8]) -> io::Result<bool> {
        let Some(from) = at.checked_sub(before.len() as u64) else { return Ok(false) };
        let mut around = vec![0; before.len() + 64];
        let read = read_up_to(|into, at| file.read_at(into, at), from, &mut around)?;
        let (held, after) = around.split_at(before.len());
        Ok(read >= before.len() && held == before && after.iter().all(|byte| *byte == 0))
    }
}

/// Reads from a place on until the buffer is full or the file ends; gives how much that was.
fn read_up_to(
    read_at: impl Fn(&mut [u8], u64) -> io::Result<usize>,
    offset: u64,
    into: &mut [u8],
) -> io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = into.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match read_at(rest, offset + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

impl Storage for Folder {
    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, StorageError> {
        let place = self.place(path);
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => StorageError::NotFound { path: path.to_owned() },
            _ => unknown("read", path, &error),
        };
        let file = fs::File::open(place).map_err(failed)?;
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

    fn names(&self, folder: &str) -> Result<Vec<String>, StorageError> {
        let failed = |error: io::Error| unknown("list", folder, &error);
        let mut names = match fs::read_dir(self.place(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            entries => entries
                .map_err(failed)?
                .map(|entry| Ok(entry.map_err(failed)?.file_name().to_string_lossy().into_owned()))
                .collect::<Result<Vec<_>, StorageError>>()?,
        };
        names.sort();
        Ok(names)
    }

    fn read_part(&self, path: &str, offset: u64, bytes: usize) -> Result<Vec<u8>, StorageError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => StorageError::NotFound { path: path.to_owned() },
            _ => unknown("read", path, &error),
        };
        let file = fs::File::open(self.place(path)).map_err(failed)?;
        let mut part = vec![0; bytes];
        let read = read_up_to(|into, at| file.read_at(into, at), offset, &mut part).map_err(failed)?;
        part.truncate(read);
        Ok(part)
    }

    fn put(&self, files: &[NewFile<'_>]) -> Result<(), StorageError> {
        let mut folders = BTreeSet::new();
        let places: Vec<PathBuf> = files.iter().map(|file| self.place(file.path)).collect();
        let mut begun = 0;
        let mut write = || {
            let mut written: Vec<ToSync> = Vec::new();
            for (file, place) in files.iter().zip(&places) {
                begun += 1;
                let handle = Self::write_beside(place, file.bytes, &mut folders)
                    .map_err(|error| not_applied("write", file.path, &error))?;
                keep(&mut written, place, handle)?;
            }
            self.sync(written, &BTreeSet::new())
                .map_err(|(path, error)| not_applied("sync", &path.display().to_string(), &error))
        };
        if let Err(error) = write() {
            // They are of no use to anybody; that one may stay behind changes nothing.
            places.iter().take(begun).for_each(|place| _ = custodia_disk::remove_file(&beside(place)));
            return Err(error);
        }
        for (n, place) in places.iter().enumerate() {
            if let Err(error) = custodia_disk::rename(&beside(place), place) {
                places.iter().skip(n).for_each(|place| _ = custodia_disk::remove_file(&beside(place)));
                let path = place.display().to_string();
                return Err(if n == 0 {
                    not_applied("rename", &path, &error)
                } else {
                    unknown("rename", &path, &error)
                });
            }
            folders.extend(place.parent().map(Path::to_path_buf));
        }
        self.sync_named(&folders)
    }

    fn put_parts(&self, path: &str, next: &mut Parts<'_>) -> Result<(), StorageError> {
        let (place, mut folders) = (self.place(path), BTreeSet::new());
        let mut write = || {
            let failed = |error: io::Error| not_applied("write", path, &error);
            let mut file = Self::write_beside(&place, &[], &mut folders).map_err(failed)?;
            while let Some(part) = next()? {
                file.write_all(&part).map_err(failed)?;
            }
            file.sync_all().map_err(failed)?;
            custodia_disk::rename(&beside(&place), &place).map_err(failed)
        };
        if let Err(error) = write() {
            let _ = custodia_disk::remove_file(&beside(&place));
            return Err(error);
        }
        folders.extend(place.parent().map(Path::to_path_buf));
        self.sync_named(&folders)
    }

    fn extend(&self, path: &str, at: u64, before: &[u8], bytes: &[u8]) -> Result<(), StorageError> {
        let conflict = || StorageError::Conflict { path: path.to_owned() };
        let failed = |error: io::Error| unknown("extend", path, &error);
        let file = match File::open_existing(&self.place(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(conflict()),
            file => file.map_err(failed)?,
        };
        if !Self::ends_with(&file, at, before).map_err(failed)? {
            return Err(conflict());
        }
        Self::make_room(&file, at + bytes.len() as u64).map_err(|error| not_applied("extend", path, &error))?;
        file.write_all_at(bytes, at).and_then(|()| file.sync_data()).map_err(failed)
    }

    fn remove(&self, paths: &[String]) -> Result<(), StorageError> {
        let mut folders = BTreeSet::new();
        for path in paths {
            let place = self.place(path);
            match custodia_disk::remove_file(&place) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(unknown("remove", path, &error)),
                Ok(()) => folders.extend(place.parent().map(Path::to_path_buf)),
            }
        }
        self.sync_named(&folders)
    }
}

/// Where a file stands until it is whole: hidden, in the same folder.
fn beside(place: &Path) -> PathBuf {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    place.with_file_name(format!(".{name}.tmp"))
}

/// Keeps a handle for the sync, unless there are so many that the whole file system is synced by the first.
fn keep(all: &mut Vec<ToSync>, place: &Path, handle: File) -> Result<(), StorageError> {
    if !cfg!(target_os = "linux") {
        // Not kept open: there may be more than a process may have.
        return handle.sync_all().map_err(|error| not_applied("sync", &place.display().to_string(), &error));
    }
    if all.len() < SYNC_ALL_FROM {
        all.push((place.to_owned(), handle));
    }
    Ok(())
}

/// Threads that sync one file or folder each at the same time: then they share the device's flushes, and several take
/// about as long as one.
#[derive(Debug)]
struct Syncers {
    jobs: Sender<Job>,
}

type Synced = Result<(), (PathBuf, io::Error)>;
type Job = (ToSync, Sender<Synced>);

impl Syncers {
    /// As many as the files and folders of a small commit, but for the one that the caller syncs.
    const COUNT: usize = 3;

    fn start() -> Self {
        let (jobs, receiver) = channel::<Job>();
        let receiver: Arc<Mutex<Receiver<Job>>> = Arc::new(Mutex::new(receiver));
        for _ in 0..Self::COUNT {
            let receiver = Arc::clone(&receiver);
            // Fewer do as well, and without any the caller syncs all.
            let _ = std::thread::Builder::new().name("sync".to_owned()).spawn(move || {
                while let Ok((one, done)) = { receiver.lock().unwrap_or_else(PoisonError::into_inner).recv() } {
                    let _ = done.send(sync_one(one));
                }
            });
        }
        Self { jobs }
    }
}

fn sync_one((path, handle): ToSync) -> Synced {
    handle.sync_all().map_err(|error| (path, error))
}

impl Folder {
    /// Makes files durable, and what was made or renamed in folders; a folder that is gone has nothing to lose. Says what
    /// could not be synced.
    fn sync(&self, files: Vec<ToSync>, folders: &BTreeSet<PathBuf>) -> Synced {
        let mut all = files;
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            all.push((folder.clone(), File::open_to_sync(folder).map_err(|error| (folder.clone(), error))?));
        }
        if all.len() >= SYNC_ALL_FROM {
            let Some((first, handle)) = all.first() else { return Ok(()) };
            // It reports what failed since it was opened, and that was before the other files were written.
            return custodia_disk::sync_everything(handle, first).map_err(|error| (first.clone(), error));
        }
        if custodia_disk::one_at_a_time() {
            return all.into_iter().try_for_each(sync_one);
        }
        let Some(last) = all.pop() else { return Ok(()) };
        let (done, results) = channel();
        let (mut given, mut synced) = (0, Ok(()));
        for one in all {
            match self.syncers.get_or_init(Syncers::start).jobs.send((one, done.clone())) {
                Ok(()) => given += 1,
                Err(refused) => synced = synced.and(sync_one(refused.0.0)),
            }
        }
        drop(done);
        let shown = last.0.clone();
        synced = synced.and(sync_one(last));
        for _ in 0..given {
            let lost = || Err((shown.clone(), io::Error::other("a sync was not made")));
            synced = synced.and(results.recv().unwrap_or_else(|_| lost()));
        }
        synced
    }

    /// Syncs folders in which something has appeared: then an error of any kind leaves doubt.
    fn sync_named(&self, folders: &BTreeSet<PathBuf>) -> Result<(), StorageError> {
        let they_last: Vec<_> = folders.iter().map(|folder| custodia_disk::when_synced(folder)).collect();
        self.sync(Vec::new(), folders).map_err(|(path, error)| unknown("sync", &path.display().to_string(), &error))?;
        they_last.into_iter().for_each(|last| last());
        Ok(())
    }
}

/// Tells a full device, on which nothing happened, from one whose state is not known.
fn not_applied(operation: &'static str, path: &str, error: &io::Error) -> StorageError {
    if is_full(error) { StorageError::Full { path: path.to_owned() } } else { unknown(operation, path, error) }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
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
        }
    }

    #[test]
    fn a_file_is_extended_where_it_ends_and_nowhere_else() {
        let (home, folder) = folder();
        let conflict = StorageError::Conflict { path: "state/journal".to_owned() };
        assert_eq!(folder.extend("state/journal", 0, b"", b"one"), Err(conflict.clone()));
        folder.put(&[NewFile { path: "state/journal", bytes: b"one" }]).unwrap();
        for (at, before) in [(0, &b""[..]), (2, b"on"), (3, b"two"), (4, b"one"), (3, b"zone"), (2, b"ne")] {
            assert_eq!(folder.extend("state/journal", at, before, b"two"), Err(conflict.clone()), "{at}");
        }
        let bytes = fs::read(home.path().join("state/journal")).unwrap();
        assert_eq!(bytes, b"one", "nothing happened");

        // The room that is made holds several; what does not fit into it makes more.
        let (mut at, mut held) = (3, b"one".to_vec());
        for bytes in [&b"two"[..], b"three", &vec![b'x'; ROOM as usize], b"four"] {
            folder.extend("state/journal", at, &held[held.len().saturating_sub(4)..], bytes).unwrap();
            held.extend(bytes);
            at += bytes.len() as u64;
            let found = fs::read(home.path().join("state/journal")).unwrap();
            assert!(found.starts_with(&held) && found[held.len()..].iter().all(|byte| *byte == 0));
            assert_eq!(found.len() as u64 % ROOM, 0);
        }
        // Where somebody else went on.
        assert_eq!(folder.extend("state/journal", 6, b"two", b"other"), Err(conflict));
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
