//! What travelled, over all lives of a transfer: three numbers in the file `travelled`, as text of fixed width.
//!
//! They are written with each chunk and never synced: a killed process loses none of them, a fallen machine some. They
//! prove nothing; they are for people and for the tests that hold P4 (no byte recorded as proven is sent twice).

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use custodia_disk::File;

use crate::storage::StorageError;

/// The numbers, as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Travelled {
    /// Bytes of chunks that arrived.
    pub(super) bytes: u64,
    /// Those of them that were recorded already.
    pub(super) again: u64,
    /// Chunks and midstates that did not prove.
    pub(super) failures: u64,
}

#[derive(Debug)]
pub(super) struct Counters {
    file: File,
    now: Mutex<Travelled>,
}

impl Counters {
    pub(super) fn open(folder: &Path) -> Result<Self, StorageError> {
        let path = folder.join("travelled");
        let failed = |error| StorageError::at(&path, error);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let file = File::open_or_create(&path).map_err(failed)?;
        // One that cannot be read begins at nothing: a statistic must not hinder a transfer.
        Ok(Self { file, now: Mutex::new(parse(&text).unwrap_or_default()) })
    }

    pub(super) fn now(&self) -> Travelled {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, more: Travelled) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.bytes = now.bytes.saturating_add(more.bytes);
        now.again = now.again.saturating_add(more.again);
        now.failures = now.failures.saturating_add(more.failures);
        // In place, of one length. A full disk does not matter here.
        let _ = self.file.write_all_at(print(&now).as_bytes(), 0);
    }
}

fn print(now: &Travelled) -> String {
    format!("bytes    {:020}\nagain    {:020}\nfailures {:020}\n", now.bytes, now.again, now.failures)
}

fn parse(text: &str) -> Option<Travelled> {
    let mut lines = text.lines();
    let mut number = |name: &str| lines.next()?.strip_prefix(name)?.trim_start().parse().ok();
    Some(Travelled { bytes: number("bytes")?, again: number("again")?, failures: number("failures")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_go_on_where_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let more = Travelled { bytes: 7, again: 2, failures: 1 };
        Counters::open(folder.path()).unwrap().add(more);
        let counters = Counters::open(folder.path()).unwrap();
        assert_eq!(counters.now(), more);
        counters.add(more);
        assert_eq!(counters.now(), Travelled { bytes: 14, again: 4, failures: 2 });
        fs::write(folder.path().join("travelled"), "noise").unwrap();
        assert_eq!(Counters::open(folder.path()).unwrap().now(), Travelled::default());
    }
}
