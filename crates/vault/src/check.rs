//! Reading back what lies at rest: every byte is hashed again, and nothing is repaired by guessing.
//!
//! An item whose bytes are not those of its name is reported and stays where it is: it may be the only copy, and people
//! decide what becomes of it. Midstates are a cache; wrong ones are replaced by those that the bytes give.

use std::collections::BTreeSet;
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
    /// Hashes an item again, from the disk and not from what memory holds of it. Its midstates are written anew when they
    /// are missing or wrong.
    ///
    /// # Errors
    /// [`ItemError::Damaged`] with the first MiB that does not prove, when the midstates on disk can tell.
    pub fn verify_item(&self, sha256: &Hash, progress: &dyn Progress) -> Result<MidstatesWere, ItemError> {
        let item = self.item(sha256)?;
        // What the page cache holds says nothing of the disk; and what is read once here need not stay in it.
        item.forget();
        let verified = self.rehash_all(&item, progress).map(|(_, were)| were);
        item.forget();
        verified
    }

    /// Hashes everything in `objects/` again, on so many threads. Damage does not end it, cancelling does.
    ///
    /// # Errors
    /// [`StorageError`] when the folders themselves cannot be read.
    pub fn check(&self, threads: NonZeroUsize, progress: &dyn Progress) -> Result<CheckReport, StorageError> {
        self.check_after(None, threads, progress, &|_| ())
    }

    /// The same from the item after a digest on, in the order of the digests; `each` is told of every item that was read,
    /// by one thread at a time.
    ///
    /// # Errors
    /// As [`Vault::check`].
    pub fn check_after(
        &self,
        after: Option<&Hash>,
        threads: NonZeroUsize,
        progress: &dyn Progress,
        each: &(dyn Fn(Looked<'_>) + Sync),
    ) -> Result<CheckReport, StorageError> {
        let items: Items = match after {
            None => Box::new(self.items()),
            Some(after) => Box::new(self.items_after(after)),
        };
        let place = Place { items, reading: BTreeSet::new(), read: BTreeSet::new(), reached: after.copied() };
        let check = Check { vault: self, progress, each, place: Mutex::new(place), report: Mutex::default() };
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
        self.rehash_all(item, progress).map(|(digest, _)| digest)
    }

    fn rehash_all(&self, item: &Item, progress: &dyn Progress) -> Result<(ItemDigest, MidstatesWere), ItemError> {
        // A midstates file that cannot be read is as good as a wrong one: the item gives it again.
        let stored = self.stored_midstates(item).unwrap_or(None);
        let digest = hash(item, progress).map_err(|stop| match stop {
            Stop::Cancelled => ItemError::Cancelled,
            Stop::Failed(error) => StorageError::at(&self.objects.path(item.sha256()), error).into(),
        })?;
        if digest.sha256 != *item.sha256() {
            let differs = |stored: Vec<_>| stored.iter().zip(&digest.midstates).position(|(one, other)| one != other);
            let chunk = stored.and_then(differs).map(|place| place as u64);
            return Err(ItemError::Damaged { sha256: *item.sha256(), found: digest.sha256, chunk });
        }
        if stored.is_some_and(|stored| stored == digest.midstates) {
            return Ok((digest, MidstatesWere::Right));
        }
        let were = match self.midstates.size(item.sha256()) {
            Ok(None) => MidstatesWere::Missing,
            Ok(Some(_)) | Err(_) => MidstatesWere::Wrong,
        };
        self.store_midstates(&digest)?;
        Ok((digest, were))
    }
}

/// What stood in the midstates file of an item whose bytes are right. Where it was not right, it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MidstatesWere {
    /// What the bytes give.
    Right,
    /// There was no file.
    Missing,
    /// Something else.
    Wrong,
}

/// An item that a check has read.
#[derive(Debug)]
pub struct Looked<'a> {
    /// Its digest.
    pub sha256: Hash,
    /// Bytes of the file.
    pub size: u64,
    /// What it turned out to be.
    pub outcome: Result<MidstatesWere, &'a ItemError>,
    /// Every item up to and with this one has been read: a check that is interrupted goes on after it.
    pub reached: Option<Hash>,
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

type Items<'a> = Box<dyn Iterator<Item = Result<Found, StorageError>> + Send + 'a>;

/// One check at work. Shared by its threads.
struct Check<'a> {
    vault: &'a Vault,
    progress: &'a dyn Progress,
    each: &'a (dyn Fn(Looked<'_>) + Sync),
    place: Mutex<Place<'a>>,
    report: Mutex<CheckReport>,
}

/// Where a check is. Items are begun in order and end in any.
struct Place<'a> {
    items: Items<'a>,
    reading: BTreeSet<Hash>,
    /// Read, and after one that is still being read.
    read: BTreeSet<Hash>,
    reached: Option<Hash>,
}

impl Place<'_> {
    fn next(&mut self) -> Option<Result<Found, StorageError>> {
        let next = self.items.next();
        if let Some(Ok(Found::Item { sha256, .. })) = &next {
            self.reading.insert(*sha256);
        }
        next
    }

    fn ended(&mut self, sha256: &Hash) -> Option<Hash> {
        self.reading.remove(sha256);
        self.read.insert(*sha256);
        while let Some(read) = self.read.first().copied()
            && self.reading.first().is_none_or(|reading| read < *reading)
        {
            self.read.pop_first();
            self.reached = Some(read);
        }
        self.reached
    }
}

impl<'a> Check<'a> {
    fn work(&self) -> Result<(), StorageError> {
        while !self.progress.cancelled() {
            let next = self.place().next();
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
        if matches!(verified, Err(ItemError::Cancelled)) {
            return;
        }
        let mut place = self.place();
        let reached = place.ended(&sha256);
        // Erased since it was listed: nothing lies there that could be damaged.
        if matches!(verified, Err(ItemError::Missing { .. })) {
            return;
        }
        // Told while the place is held, so that what is told as reached never goes back.
        (self.each)(Looked { sha256, size, outcome: verified.as_ref().copied(), reached });
        drop(place);
        let mut report = self.report();
        if let Err(error) = verified {
            report.damaged.push(Damage { sha256, error });
        }
        report.items += 1;
        report.bytes = report.bytes.saturating_add(size);
        drop(report);
        self.progress.file();
    }

    fn place(&self) -> std::sync::MutexGuard<'_, Place<'a>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reached_has_nothing_unread_before_it() {
        let hash = |n: u8| Hash::new([n; 32]);
        let found = |n| Ok(Found::Item { sha256: hash(n), size: 1 });
        let items = Box::new((1..=4).map(found));
        let mut place = Place { items, reading: BTreeSet::new(), read: BTreeSet::new(), reached: None };
        for _ in 0..3 {
            place.next().unwrap().unwrap();
        }
        assert_eq!(place.ended(&hash(2)), None);
        assert_eq!(place.ended(&hash(1)), Some(hash(2)));
        place.next().unwrap().unwrap();
        assert_eq!(place.ended(&hash(4)), Some(hash(2)));
        assert_eq!(place.ended(&hash(3)), Some(hash(4)));
        assert!(place.next().is_none() && place.reading.is_empty() && place.read.is_empty());
    }
}
