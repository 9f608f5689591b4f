//! One process at a time works on a home: an advisory lock on its file `lock`, held as long as the process lives.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::storage::StorageError;

/// The right to work on a home; given back when it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct HomeLock {
    _file: File,
}

impl HomeLock {
    /// Takes the lock of the home in this folder, which exists, and leaves our process id in it. Does not wait.
    ///
    /// # Errors
    /// [`LockError::Held`] while another holds it, in this process too.
    pub fn take(home: &Path) -> Result<Self, LockError> {
        let path = home.join("lock");
        let failed = |error| StorageError::at(&path, error);
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // Without a readable number the answer is the same: somebody holds it.
                let _ = (&file).take(32).read_to_string(&mut text);
                return Err(LockError::Held { pid: text.trim().parse().ok() });
            }
            Err(error) => return Err(failed(error.into()).into()),
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Why a home could not be locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process works on this home: wait for it, or ask it.
    #[error("held by process {}", pid.map_or_else(|| "of unknown number".to_owned(), |pid| pid.to_string()))]
    Held {
        /// Its process id, as it wrote it.
        pid: Option<u32>,
    },
    /// The lock file could not be opened or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_holds_it() {
        let home = tempfile::tempdir().unwrap();
        let first = HomeLock::take(home.path()).unwrap();
        match HomeLock::take(home.path()) {
            Err(LockError::Held { pid }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(first);
        HomeLock::take(home.path()).unwrap();
    }
}
