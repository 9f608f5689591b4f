//! What a transfer knows of itself: which chunks are proven, which recorded, what the vault held already.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use custodia_format::midstate::{CHUNK_BYTES, ItemDigest, chunk_bytes};

use super::contents::{Content, Contents};
use super::counters::Counters;
use super::files::Files;
use super::have::{self, Bits};
use super::{IncomingError, ItemPlan, MidstatesHere, Stats, Taken};
use crate::check::{Stop, hash};
use crate::item::Item;
use crate::shelf::Shelf;
use crate::storage::StorageError;

/// A recording begins after so many bytes: what a killed process costs on the link.
const RECORD_BYTES: u64 = 64 << 20;
/// A recording begins after so long.
const RECORD_TIME: Duration = Duration::from_secs(5);
/// With so many bytes unrecorded whoever brings more waits for the disk.
const LAG_BYTES: u64 = 5 * RECORD_BYTES;
/// Chunks whose failures are counted by themselves; a sender of noise must not fill our memory.
const FAILING: usize = 1024;

/// The vault seems to hold this content; its bytes are not hashed yet.
const CANDIDATE: u8 = 1;
/// The vault holds this content, and it was hashed.
const REUSED: u8 = 2;
/// Its midstates are here and close to the sealed root.
const MIDSTATES: u8 = 4;
/// Something of it was written since the last recording. Set and cleared under `unsynced`.
const UNSYNCED: u8 = 8;

/// The state of one transfer.
#[derive(Debug)]
pub(super) struct State {
    pub(super) contents: Contents,
    /// One byte for each content.
    flags: Vec<AtomicU8>,
    /// Arrived, proven and written.
    pub(super) proven: Bits,
    /// What `have` says.
    pub(super) recorded: Bits,
    /// What it said when this process opened it, and what was not proven since.
    pub(super) inherited: Bits,
    pub(super) files: Files,
    pub(super) counters: Counters,
    pub(super) objects: Shelf,
    pub(super) midstates: Shelf,
    /// Contents that were written to since the last recording.
    unsynced: Mutex<Vec<u32>>,
    /// Bytes that are proven and not recorded, at least until a recording that began after they were is over.
    unrecorded_bytes: AtomicU64,
    last_recording: Mutex<Instant>,
    /// Held by whoever records or finishes.
    pub(super) recording: Mutex<Finished>,
    /// Held by whoever hashes what the vault holds.
    hashing: Mutex<()>,
    failures: Mutex<HashMap<(u32, u64), u32>>,
    /// The first failure of the disk that leaves doubt about what it holds.
    doubt: OnceLock<(PathBuf, String)>,
    closed: AtomicBool,
}

/// Whether everything is in the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Finished {
    #[default]
    No,
    Yes,
}

impl State {
    /// Reads what an earlier process left in the folder.
    pub(super) fn open(
        folder: PathBuf,
        items: Vec<ItemPlan>,
        objects: Shelf,
        midstates: Shelf,
    ) -> Result<Self, IncomingError> {
        let contents = Contents::new(items)?;
        let state = Self {
            flags: (0..contents.count()).map(|_| AtomicU8::new(0)).collect(),
            proven: Bits::new(contents.chunks()),
            recorded: Bits::new(contents.chunks()),
            inherited: Bits::new(contents.chunks()),
            counters: Counters::open(&folder)?,
            files: Files::new(folder),
            contents,
            objects,
            midstates,
            unsynced: Mutex::default(),
            unrecorded_bytes: AtomicU64::new(0),
            last_recording: Mutex::new(Instant::now()),
            recording: Mutex::default(),
            hashing: Mutex::default(),
            failures: Mutex::default(),
            doubt: OnceLock::new(),
            closed: AtomicBool::new(false),
        };
        state.resume()?;
        Ok(state)
    }

    fn resume(&self) -> Result<(), StorageError> {
        let said = have::read(self.files.folder(), self.contents.digest(), self.contents.chunks())?;
        self.recorded.add(&said.unwrap_or_default());
        for (number, content) in self.contents.iter() {
            let (first, end) = (content.first_bit, content.first_bit + content.chunks());
            if self.recorded.next(true, first, end).is_some() && !self.files.has(content)? {
                self.recorded.clear(first, end);
            }
            if self.recorded.next(false, first, end).is_some()
                && self.objects.size(&content.sha256)? == Some(content.size)
            {
                self.raise(number, CANDIDATE);
            }
            if content.has_midstates() && self.files.read_midstates(content)?.is_some() {
                self.raise(number, MIDSTATES);
            }
        }
        let inherited = self.recorded.snapshot();
        self.proven.add(&inherited);
        self.inherited.add(&inherited);
        if !self.files.hold_content()? {
            return Ok(());
        }
        self.contents.iter().try_for_each(|(number, content)| self.reprove(number, content))
    }

    fn raise(&self, number: u32, flag: u8) {
        if let Some(flags) = self.flags.get(number as usize) {
            flags.fetch_or(flag, Ordering::AcqRel);
        }
    }

    fn lower(&self, number: u32, flag: u8) {
        if let Some(flags) = self.flags.get(number as usize) {
            flags.fetch_and(!flag, Ordering::AcqRel);
        }
    }

    fn has_flag(&self, number: u32, flag: u8) -> bool {
        self.flags.get(number as usize).is_some_and(|flags| flags.load(Ordering::Acquire) & flag != 0)
    }

    pub(super) fn midstates_here(&self, number: u32, content: &Content) -> MidstatesHere {
        let here = !content.has_midstates() || self.has_flag(number, MIDSTATES);
        if here { MidstatesHere::Yes } else { MidstatesHere::No }
    }

    pub(super) fn keep_midstates(&self, number: u32) {
        self.raise(number, MIDSTATES);
    }

    pub(super) fn lose_midstates(&self, number: u32) {
        self.lower(number, MIDSTATES);
    }

    pub(super) fn is_reused(&self, number: u32) -> bool {
        self.has_flag(number, REUSED)
    }

    pub(super) fn is_proven(&self, number: u32, bit: u64) -> bool {
        self.proven.is_set(bit) || self.is_reused(number)
    }

    /// Whether a crash leaves this chunk where it is.
    pub(super) fn is_recorded(&self, number: u32, bit: u64) -> bool {
        self.recorded.is_set(bit) || self.is_reused(number)
    }

    /// Whether the vault holds this content. Hashes it when that is not known yet: nothing counts as proven before.
    pub(super) fn reuses(&self, number: u32, content: &Content) -> Result<bool, IncomingError> {
        if self.has_flag(number, CANDIDATE) {
            let _one_at_a_time = self.hashing.lock().unwrap_or_else(PoisonError::into_inner);
            if self.has_flag(number, CANDIDATE) {
                if self.vault_holds(content)? {
                    self.raise(number, REUSED);
                }
                self.lower(number, CANDIDATE);
            }
        }
        Ok(self.is_reused(number))
    }

    /// Whether the vault holds this content now: what it held before is hashed again.
    pub(super) fn reuses_still(&self, number: u32, content: &Content) -> Result<bool, IncomingError> {
        if !self.is_reused(number) {
            return self.reuses(number, content);
        }
        let _one_at_a_time = self.hashing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.vault_holds(content)? {
            self.lower(number, REUSED);
        }
        Ok(self.is_reused(number))
    }

    fn vault_holds(&self, content: &Content) -> Result<bool, IncomingError> {
        Ok(self.hash_whole(&self.objects.path(&content.sha256), content)?.is_some())
    }

    /// Hashes what lies there: a digest, if it is this content. What cannot be read is not it; its bytes arrive anew.
    pub(super) fn hash_whole(&self, path: &Path, content: &Content) -> Result<Option<ItemDigest>, IncomingError> {
        let watch = Closing(&self.closed);
        let hashed = Item::at(path, &content.sha256).and_then(|item| match item {
            Some(item) => hash(&item, &watch).map(Some).map_err(|stop| match stop {
                Stop::Failed(error) => StorageError::at(path, error),
                Stop::Cancelled => StorageError::at(path, std::io::ErrorKind::Interrupted.into()),
            }),
            None => Ok(None),
        });
        self.check_usable()?;
        Ok(hashed.ok().flatten().filter(|digest| digest.sha256 == content.sha256))
    }

    /// These chunks are missing again.
    pub(super) fn lose(&self, from: u64, to: u64) {
        self.proven.clear(from, to);
        self.recorded.clear(from, to);
    }

    /// Notes a chunk that is proven and written.
    pub(super) fn note_written(&self, number: u32, bit: u64, bytes: u64) -> Taken {
        let mut unsynced = self.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.has_flag(number, UNSYNCED) {
            self.raise(number, UNSYNCED);
            unsynced.push(number);
        }
        drop(unsynced);
        // After it is on that list: a recording that sees the bit has synced the bytes, or is about to.
        if !self.proven.set(bit) {
            return Taken::Again;
        }
        // After the bit: a recording that counts these bytes sees it.
        self.unrecorded_bytes.fetch_add(bytes, Ordering::AcqRel);
        Taken::New
    }

    /// Takes the list of what must be synced. The proven bits were read before.
    pub(super) fn take_unsynced(&self) -> Vec<u32> {
        let mut unsynced = self.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
        unsynced.iter().for_each(|number| self.lower(*number, UNSYNCED));
        std::mem::take(&mut *unsynced)
    }

    pub(super) fn note_failure(&self, number: u32, chunk: u64) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= FAILING && !failures.contains_key(&(number, chunk)) {
            return 1;
        }
        let count = failures.entry((number, chunk)).or_default();
        *count = count.saturating_add(1);
        *count
    }

    pub(super) fn recording_is_due(&self) -> bool {
        self.unrecorded_bytes.load(Ordering::Relaxed) >= RECORD_BYTES
            || !custodia_disk::one_at_a_time()
                && self.last_recording.lock().unwrap_or_else(PoisonError::into_inner).elapsed() >= RECORD_TIME
    }

    /// Whether nothing is recorded yet, and no more came in than one recording takes.
    pub(super) fn fits_one_recording(&self) -> bool {
        self.unrecorded_bytes.load(Ordering::Acquire) <= RECORD_BYTES
            && self.recorded.next(true, 0, self.contents.chunks()).is_none()
    }

    pub(super) fn recording_lags(&self) -> bool {
        self.unrecorded_bytes.load(Ordering::Relaxed) >= LAG_BYTES
    }

    /// Says how many bytes this recording takes with it.
    pub(super) fn begin_recording(&self) -> u64 {
        *self.last_recording.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.unrecorded_bytes.load(Ordering::Acquire)
    }

    /// So many bytes are recorded, or need not be.
    pub(super) fn end_recording(&self, bytes: u64) {
        self.unrecorded_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Whether something is proven and not recorded.
    pub(super) fn has_unrecorded(&self) -> bool {
        self.unrecorded_bytes.load(Ordering::Acquire) > 0
    }

    /// Whether anything may still be done here.
    pub(super) fn check_usable(&self) -> Result<(), IncomingError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(IncomingError::Forgotten);
        }
        Ok(self.doubt()?)
    }

    /// The failure that leaves doubt, if there was one.
    pub(super) fn doubt(&self) -> Result<(), StorageError> {
        match self.doubt.get() {
            None => Ok(()),
            Some((path, error)) => {
                let error = std::io::Error::other(format!("an earlier sync failed: {error}"));
                Err(StorageError::Failed { path: path.clone(), error })
            }
        }
    }

    /// From now on this transfer takes nothing: after a failed sync the system may have dropped what we wrote.
    pub(super) fn raise_doubt(&self, error: &StorageError) {
        let _ = self.doubt.set((self.files.folder().to_owned(), error.to_string()));
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // A recording that is under way ends before the folder goes.
        drop(self.recording.lock().unwrap_or_else(PoisonError::into_inner));
        self.files.close();
    }

    /// Chunks and bytes that are still missing.
    pub(super) fn missing(&self) -> (u64, u64) {
        let missing = self.contents.iter().filter(|(number, _)| !self.is_reused(*number)).map(|(_, content)| {
            (content.chunks() - count(&self.proven, content), content.size - bytes(&self.proven, content))
        });
        missing.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    pub(super) fn stats(&self) -> Stats {
        let travelled = self.counters.now();
        let mut stats = Stats {
            items: self.contents.records(),
            bytes_travelled: travelled.bytes,
            bytes_again: travelled.again,
            failures: travelled.failures,
            ..Stats::default()
        };
        for (number, content) in self.contents.iter() {
            stats.bytes += content.size;
            stats.bytes_recorded += bytes(&self.recorded, content);
            if self.is_reused(number) {
                stats.bytes_reused += content.size;
                stats.bytes_proven += content.size;
            } else {
                stats.bytes_proven += bytes(&self.proven, content);
            }
        }
        stats
    }
}

fn count(bits: &Bits, content: &Content) -> u64 {
    bits.count(content.first_bit, content.first_bit + content.chunks())
}

/// Bytes of the chunks of a content that are set: whole MiB, but for its last chunk.
fn bytes(bits: &Bits, content: &Content) -> u64 {
    let Some(last) = content.chunks().checked_sub(1) else { return 0 };
    let whole = bits.count(content.first_bit, content.first_bit + last) * CHUNK_BYTES;
    let tail = if bits.is_set(content.first_bit + last) { chunk_bytes(content.size, last) } else { 0 };
    whole + tail
}

/// Stops hashing when the transfer is dropped.
struct Closing<'a>(&'a AtomicBool);

impl crate::progress::Progress for Closing<'_> {
    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
