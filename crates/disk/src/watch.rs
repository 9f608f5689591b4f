//! Who watches the calls: a simulator, which lets each happen, fails it, or says that the machine is down.
//!
//! A watcher has a folder, and is asked about every path below it, whichever thread makes the call. Several may watch
//! several folders in one process. Who watches nothing changes nothing.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// One call that would change the disk, with what it concerns.
#[derive(Debug)]
#[non_exhaustive]
pub enum Call<'a> {
    /// A file is opened to be written to: made, cut, or as it is.
    Open {
        /// Under this name.
        path: &'a Path,
        /// Whether what it held goes.
        cuts: bool,
    },
    /// Bytes are written.
    Write {
        /// The open file.
        file: &'a File,
        /// The name that it was opened under; it may have another one now.
        path: &'a Path,
        /// From here on.
        offset: u64,
        /// These.
        bytes: &'a [u8],
    },
    /// The length is set.
    SetLength {
        /// The open file.
        file: &'a File,
        /// The name that it was opened under.
        path: &'a Path,
        /// The new length.
        length: u64,
    },
    /// Zeros take the place of a range.
    Punch {
        /// The open file.
        file: &'a File,
        /// The name that it was opened under.
        path: &'a Path,
        /// From here on.
        offset: u64,
        /// So many.
        length: u64,
    },
    /// A file's bytes or a folder's names are made durable.
    Sync {
        /// The open file or folder.
        file: &'a File,
        /// The name that it was opened under.
        path: &'a Path,
    },
    /// The whole file system is made durable.
    SyncEverything {
        /// Something that lies on it.
        path: &'a Path,
    },
    /// A file or a folder gets another name.
    Rename {
        /// The old one.
        from: &'a Path,
        /// The new one.
        to: &'a Path,
    },
    /// A file loses its name.
    RemoveFile {
        /// This one.
        path: &'a Path,
    },
    /// A folder goes with all that is in it.
    RemoveFolder {
        /// This one.
        path: &'a Path,
    },
    /// A folder is made.
    MakeFolder {
        /// Under this name.
        path: &'a Path,
    },
    /// Permissions change.
    SetMode {
        /// Of this file.
        path: &'a Path,
    },
}

/// What becomes of a call.
#[derive(Debug)]
pub enum Verdict {
    /// It is made.
    Go,
    /// It is not made, and this is the error.
    Fail(io::Error),
    /// So many of the bytes are written, and then this is the error.
    Part(usize, io::Error),
}

/// Is asked before each call, and told of each that was made.
pub trait Watcher: Send + Sync {
    /// What is to become of it.
    fn before(&self, call: &Call<'_>) -> Verdict;

    /// It was made, and did what it was for.
    fn after(&self, call: &Call<'_>);
}

static WATCHED: AtomicUsize = AtomicUsize::new(0);
static WATCHERS: RwLock<Vec<(PathBuf, Arc<dyn Watcher>)>> = RwLock::new(Vec::new());

/// Watches a folder until it is dropped.
#[must_use]
#[derive(Debug)]
pub struct Watching {
    folder: PathBuf,
}

/// Has every change below this folder watched.
pub fn watch(folder: PathBuf, watcher: Arc<dyn Watcher>) -> Watching {
    let mut watchers = WATCHERS.write().unwrap_or_else(PoisonError::into_inner);
    watchers.push((folder.clone(), watcher));
    WATCHED.fetch_add(1, Ordering::Release);
    Watching { folder }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut watchers = WATCHERS.write().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|(folder, _)| *folder != self.folder);
        WATCHED.fetch_sub(1, Ordering::Release);
    }
}

/// Whether anybody watches anything in this process.
pub fn is_watched() -> bool {
    WATCHED.load(Ordering::Acquire) > 0
}

/// Makes a call, as whoever watches this path lets it. `act` is told how many of its bytes to write.
pub(crate) fn guard(at: &Path, call: &Call<'_>, act: &mut dyn FnMut(usize) -> io::Result<()>) -> io::Result<()> {
    let watcher = is_watched().then(|| watcher_of(at)).flatten();
    let Some(watcher) = watcher else { return act(usize::MAX) };
    match watcher.before(call) {
        Verdict::Go => {
            act(usize::MAX)?;
            watcher.after(call);
            Ok(())
        }
        Verdict::Fail(error) => Err(error),
        Verdict::Part(count, error) => {
            act(count)?;
            if let Call::Write { file, path, offset, bytes } = *call {
                watcher.after(&Call::Write { file, path, offset, bytes: bytes.get(..count).unwrap_or(bytes) });
            }
            Err(error)
        }
    }
}

fn watcher_of(path: &Path) -> Option<Arc<dyn Watcher>> {
    let watchers = WATCHERS.read().unwrap_or_else(PoisonError::into_inner);
    watchers.iter().find(|(folder, _)| path.starts_with(folder)).map(|(_, watcher)| watcher.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets four bytes be written, and then says that the disk is full.
    struct Full;

    impl Watcher for Full {
        fn before(&self, call: &Call<'_>) -> Verdict {
            match call {
                Call::Write { .. } => Verdict::Part(4, io::ErrorKind::StorageFull.into()),
                Call::MakeFolder { .. } => Verdict::Fail(io::ErrorKind::StorageFull.into()),
                _ => Verdict::Go,
            }
        }

        fn after(&self, _: &Call<'_>) {}
    }

    #[test]
    fn a_watcher_decides_below_its_folder_and_nowhere_else() {
        let (watched, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let watching = watch(watched.path().to_owned(), Arc::new(Full));
        let write = |folder: &Path| crate::File::create(&folder.join("a"))?.write_all_at(b"whole", 0);
        assert_eq!(write(watched.path()).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(std::fs::read(watched.path().join("a")).unwrap(), b"whol");
        assert!(crate::make_folder(&watched.path().join("b")).is_err());
        write(other.path()).unwrap();
        assert_eq!(std::fs::read(other.path().join("a")).unwrap(), b"whole");
        drop(watching);
        write(watched.path()).unwrap();
        assert_eq!(std::fs::read(watched.path().join("a")).unwrap(), b"whole");
    }
}
