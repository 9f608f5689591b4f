//! Reading back what lies at rest: every byte is hashed again, and nothing is repaired by guessing.
//!
//! An item whose bytes are not those of its name is reported and stays where it is: it may be the only copy, and people
//! decide what becomes of it. Midstates are a cache; wrong ones are replaced by those that the bytes give.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;

use custodia_format::Hash;
use custodia_format::midstate::{CHUNK_BYTES, ItemDigest, ItemHasher};

use crate::item::{Item, ItemError};
use crate::progress::Progress;
use crate::storage::StorageError;
use crate::vault::{Found, Vault};

impl Vault {
    /// Hashes an item again. Its midstates are written anew when they are missing or wrong.
    ///
    /// # Errors
    /// [`ItemError::Damaged`] with the first MiB that does not prove, when the midstates on disk can tell.
    pub fn verify_item(&self, sha256: &Hash, progress: &dyn Progress) -> Result<(), ItemError> {
        self.rehash(&self.item(sha256)?, progress).map(|_| ())
    }

    /// Hashes everything in `objects/` again, on so many threads. Damage does not end it, cancelling does.
    ///
    /// # Errors
    /// [`StorageError`] when the folders themselves cannot be read.
    pub fn check(&self, threads: NonZeroUsize, progress: &dyn Progress) -> Result<CheckReport, StorageError> {
        let check = Check { vault: self, progress, queue: Mutex::new(self.items()), report: Mutex::default() };
        let worked = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.get()).map(|_| scope.spawn(|| check.work())).collect();
            // A panic of a worker is a defect of ours, and goes on in this thread.
            let joined =
                workers.into_iter().map(|it| it.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            joined.fold(Ok(()), Result::and)
        });
        worked?;
        let mut report = check.report.into_inner().unwrap_or_else(PoisonError::into_inner);
        report.damaged.sort_by_key(|damage| damage.sha256);
        report.strays.sort();
        report.cancelled = progress.cancelled();
        Ok(report)
    }

    /// One pass over an item, which gives its midstates too.
    pub(crate) fn rehash(&self, item: &Item, progress: &dyn Progress) -> Result<ItemDigest, ItemError> {
        let stored = self.stored_midstates(item)?;
        let digest = hash(item, progress).map_err(|stop| match stop {
            Stop::Cancelled => ItemError::Cancelled,
            Stop::Failed(error) => StorageError::at(&self.objects.path(item.sha256()), error).into(),
        })?;
        if digest.sha256 != *item.sha256() {
            let differs = |stored: Vec<_>| stored.iter().zip(&digest.midstates).position(|(one, other)| one != other);
            let chunk = stored.and_then(differs).map(|place| place as u64);
            return Err(ItemError::Damaged { sha256: *item.sha256(), found: digest.sha256, chunk });
        }
        if stored.is_none_or(|stored| stored != digest.midstates) {
            self.store_midstates(&digest)?;
        }
        Ok(digest)
    }
}

/// Why an item was not hashed to its end.
pub(crate) enum Stop {
    Cancelled,
    Failed(std::io::Error),
}

/// Hashes an item that is open.
pub(crate) fn hash(item: &Item, progress: &dyn Progress) -> Result<ItemDigest, Stop> {
    let mut hasher = ItemHasher::new();
    let mut buffer = vec![0; usize::try_from(item.size().clamp(1, CHUNK_BYTES)).unwrap_or(1)];
    loop {
        if progress.cancelled() {
            return Err(Stop::Cancelled);
        }
        let read = item.read_at(hasher.size(), &mut buffer).map_err(Stop::Failed)?;
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
        progress.bytes(read as u64);
    }
}

/// One check at work. Shared by its threads.
struct Check<'a, I> {
    vault: &'a Vault,
    progress: &'a dyn Progress,
    queue: Mutex<I>,
    report: Mutex<CheckReport>,
}

impl<I: Iterator<Item = Result<Found, StorageError>>> Check<'_, I> {
    fn work(&self) -> Result<(), StorageError> {
        while !self.progress.cancelled() {
            let next = self.queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            match next {
                None => break,
                Some(found) => self.look(found?),
            }
        }
        Ok(())
    }

    fn look(&self, found: Found) {
        let (sha256, size) = match found {
            Found::Stray { path } => return self.report().strays.push(path),
            Found::Item { sha256, size } => (sha256, size),
        };
        let verified = self.vault.verify_item(&sha256, self.progress);
        let mut report = self.report();
        match verified {
            Err(ItemError::Cancelled) => return,
            // Erased since it was listed: nothing lies there that could be damaged.
            Err(ItemError::Missing { .. }) => return,
            Err(error) => report.damaged.push(Damage { sha256, error }),
            Ok(()) => {}
        }
        report.items += 1;
        report.bytes = report.bytes.saturating_add(size);
        drop(report);
        self.progress.file();
    }

    fn report(&self) -> std::sync::MutexGuard<'_, CheckReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a check found. Zero items checked is for the caller to call a failure or not: it knows how many there should be.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// Items that were read to their end or found damaged.
    pub items: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those whose bytes are not theirs, or cannot be read, by digest.
    pub damaged: Vec<Damage>,
    /// What lies in `objects/` and is not ours.
    pub strays: Vec<PathBuf>,
    /// The check was cancelled: what is counted was checked, the rest was not.
    pub cancelled: bool,
}

/// One item that is not what it should be.
#[derive(Debug)]
pub struct Damage {
    /// Its digest.
    pub sha256: Hash,
    /// [`ItemError::Damaged`], or why it cannot be read.
    pub error: ItemError,
}
