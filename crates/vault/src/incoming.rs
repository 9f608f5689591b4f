//! One transfer to us: every chunk is proven before it is written, and what is recorded never travels again.
//!
//! A transfer lies in `incoming/<release>/` and outlives processes: a file per content, `have` (what is proven and synced)
//! and `travelled` (what arrived, over all lives). After a crash nothing counts but what `have` says and files of full
//! length bear out, and what proves anew. Items that the vault holds already are hashed when it begins, and not asked for. When
//! it ends, they and what an earlier process recorded are proven once more.
//!
//! Invariants:
//! - A bit in memory is set after its bytes were proven and written; a bit in `have` after they were synced.
//! - Proving and writing hold no lock: threads work on different chunks at once.
//! - After a failed sync nothing more is taken: what the disk holds is then in doubt, and is read anew from `have`.

mod answers;
mod contents;
mod counters;
mod files;
mod have;
mod recording;
mod reproving;
mod state;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use custodia_format::midstate::{midstates_root, parse_midstates, prove_chunk};
use custodia_format::{Hash, midstate::chunk_bytes};

use crate::storage::{StorageError, make_folder, remove_folder};
use crate::vault::Vault;
pub use answers::{IncomingError, MidstatesHere, Missing, Stats, Taken};
pub use contents::{ItemPlan, PlanError};
use counters::Travelled;
use state::State;

/// Transfers that stay open while nobody holds them: somebody asks how far they are, or a link comes back.
const IDLE: usize = 64;
/// Records of all these transfers together: what they take in memory.
const IDLE_RECORDS: u64 = 1 << 18;

/// The transfer of one release, as this process has it open; `None` until somebody opens it.
pub(crate) type Slot = Arc<Mutex<Option<Arc<Incoming>>>>;

impl Vault {
    /// Opens or resumes the transfer of a release. While this process has it open everybody gets the same one, and
    /// `items` is not asked; a transfer whose disk failed is read anew.
    ///
    /// # Errors
    /// [`IncomingError::Plan`], also when the items cannot be; [`IncomingError::Storage`].
    pub fn transfer(
        &self,
        release: &Hash,
        items: impl FnOnce() -> Result<Vec<ItemPlan>, PlanError>,
    ) -> Result<Arc<Incoming>, IncomingError> {
        let slot = self.slot(release);
        let mut open = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(incoming) = open.as_ref().filter(|incoming| incoming.state.doubt().is_ok()) {
            return Ok(incoming.clone());
        }
        // What another still holds of it writes nothing any more.
        if let Some(doubtful) = open.take() {
            doubtful.close();
        }
        let folder = self.transfer_folder(release)?;
        let state = State::open(folder, items()?, self.objects.clone(), self.midstates.clone())?;
        let incoming = Arc::new(Incoming { state: Arc::new(state), recorder: Mutex::default() });
        *open = Some(incoming.clone());
        self.close_idle();
        Ok(incoming)
    }

    /// Closes transfers that nobody holds, but for a few: they can be begun and never ended, and each takes memory. What is
    /// proven is recorded first; the next opening reads it.
    fn close_idle(&self) {
        let mut unrecorded = Vec::new();
        let mut transfers = self.transfers.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut idle, mut records) = (0, 0);
        transfers.retain(|_, slot| {
            let Ok(mut open) = slot.try_lock() else { return true };
            if let Some(incoming) = open.as_ref().filter(|incoming| Arc::strong_count(incoming) == 1) {
                idle += 1;
                records += incoming.state.contents.records();
                match (idle > IDLE || records > IDLE_RECORDS, incoming.state.has_unrecorded()) {
                    (true, false) => *open = None,
                    // It has all of its content perhaps, and waits for its receipt.
                    (true, true) => unrecorded.push(incoming.clone()),
                    (false, _) => {}
                }
            }
            // A slot that somebody has in hand must stay the only one of its release.
            open.is_some() || Arc::strong_count(slot) > 1
        });
        drop(transfers);
        // Those are closed another time. What this fails with is kept in the transfer, and told to whoever opens it next.
        unrecorded.iter().for_each(|incoming| drop(incoming.state.record()));
    }

    /// Transfers that this process has open, whoever holds them.
    #[cfg(test)]
    fn open_transfers(&self) -> usize {
        let transfers = self.transfers.lock().unwrap_or_else(PoisonError::into_inner);
        transfers.values().filter(|slot| slot.try_lock().is_ok_and(|open| open.is_some())).count()
    }

    /// The folder of a release's transfer; it lasts from the first recording on. The caller may keep its documents there,
    /// under names that are no digests and not `have` or `travelled`; they go with [`Vault::forget_transfer`].
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn transfer_folder(&self, release: &Hash) -> Result<PathBuf, StorageError> {
        let folder = self.incoming.join(release.to_string());
        make_folder(&folder)?;
        Ok(folder)
    }

    /// Drops what is left of a transfer, once its receipt is logged or it was refused. Whoever still holds it gets
    /// [`IncomingError::Forgotten`].
    ///
    /// # Errors
    /// [`StorageError`] when the folder cannot be removed; asking again is harmless.
    pub fn forget_transfer(&self, release: &Hash) -> Result<(), StorageError> {
        let slot = self.slot(release);
        let mut open = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(incoming) = open.take() {
            incoming.close();
        }
        let removed = remove_folder(&self.incoming.join(release.to_string()));
        drop(open);
        let mut transfers = self.transfers.lock().unwrap_or_else(PoisonError::into_inner);
        // Only when nobody else has it in hand: two slots for one release would be two transfers in one folder.
        transfers.retain(|it, slot| it != release || Arc::strong_count(slot) > 2);
        removed
    }

    /// The releases whose transfers have left something here: those under way, and those that ended when the power went.
    ///
    /// # Errors
    /// [`StorageError`] when the folder cannot be read.
    pub fn transfers_on_disk(&self) -> Result<Vec<Hash>, StorageError> {
        let listed = std::fs::read_dir(&self.incoming).map_err(|error| StorageError::at(&self.incoming, error))?;
        Ok(listed.flatten().filter_map(|entry| Hash::from_hex(entry.file_name().to_str()?)).collect())
    }

    fn slot(&self, release: &Hash) -> Slot {
        self.transfers.lock().unwrap_or_else(PoisonError::into_inner).entry(*release).or_default().clone()
    }
}

/// A transfer that is open. Shared by the threads that prove and write its chunks.
#[derive(Debug)]
pub struct Incoming {
    state: Arc<State>,
    /// The thread that records while chunks go on arriving.
    recorder: Mutex<Option<JoinHandle<()>>>,
}

impl Incoming {
    /// What must still travel, from a place in (record, chunk) order on: at most `limit` ranges of consecutive chunks. A
    /// content is listed under its first record only, empty items and such as the vault holds are not. The first call
    /// hashes what the vault seems to hold, which takes as long as reading it.
    ///
    /// # Errors
    /// [`IncomingError::Storage`], [`IncomingError::Forgotten`].
    pub fn missing(&self, from_record: u64, from_chunk: u64, limit: usize) -> Result<Vec<Missing>, IncomingError> {
        let state = &*self.state;
        state.check_usable()?;
        let mut page = Vec::new();
        for (record, number, content) in state.contents.first_records(from_record) {
            if page.len() >= limit {
                break;
            }
            if state.reuses(number, content)? {
                continue;
            }
            let from = if record == from_record { from_chunk.min(content.chunks()) } else { 0 };
            let end = content.first_bit + content.chunks();
            let mut bit = content.first_bit + from;
            let midstates = state.midstates_here(number, content);
            while let Some(first) = state.proven.next(false, bit, end).filter(|_| page.len() < limit) {
                bit = state.proven.next(true, first, end).unwrap_or(end);
                let first_chunk = first - content.first_bit;
                page.push(Missing { record, size: content.size, first_chunk, count: bit - first, midstates });
            }
        }
        Ok(page)
    }

    /// Takes the midstates of a record, 32 bytes for each whole MiB. They are kept once they close to the sealed root.
    ///
    /// # Errors
    /// [`IncomingError::NotMidstates`], [`IncomingError::Unknown`], or the storage's.
    pub fn take_midstates(&self, record: u64, bytes: &[u8]) -> Result<(), IncomingError> {
        let state = &*self.state;
        state.check_usable()?;
        let (number, content) = state.contents.of_record(record).ok_or(IncomingError::Unknown { record, chunk: 0 })?;
        if state.midstates_here(number, content) == MidstatesHere::Yes {
            return Ok(());
        }
        let parsed = parse_midstates(bytes, content.size).ok();
        if parsed.is_none_or(|midstates| midstates_root(&midstates) != content.midstates) {
            state.counters.add(Travelled { failures: 1, ..Travelled::default() });
            return Err(IncomingError::NotMidstates { record });
        }
        state.files.write_midstates(content, bytes)?;
        state.keep_midstates(number);
        Ok(())
    }

    /// Takes one chunk, whole: proves it and only then writes it. It is recorded with the next recording, which begins by
    /// itself every 64 MiB or 5 s.
    ///
    /// # Errors
    /// [`IncomingError::NotProven`], [`IncomingError::MidstatesFirst`] and [`IncomingError::Unknown`] are the sender's
    /// fault, and nothing was written; or the storage's. After a full disk the same chunk may be taken again.
    pub fn take_chunk(&self, record: u64, chunk: u64, bytes: &[u8]) -> Result<Taken, IncomingError> {
        let state = &*self.state;
        state.check_usable()?;
        let unknown = IncomingError::Unknown { record, chunk };
        let (number, content) = state.contents.of_record(record).ok_or(unknown)?;
        if chunk >= content.chunks() || bytes.len() as u64 != chunk_bytes(content.size, chunk) {
            return Err(self.not_proven(record, number, chunk, bytes));
        }
        let bit = content.first_bit + chunk;
        if state.is_proven(number, bit) {
            let again = if state.is_recorded(number, bit) { bytes.len() as u64 } else { 0 };
            state.counters.add(Travelled { bytes: bytes.len() as u64, again, failures: 0 });
            return Ok(Taken::Again);
        }
        let open = if content.has_midstates() {
            if state.midstates_here(number, content) == MidstatesHere::No {
                return Err(IncomingError::MidstatesFirst { record });
            }
            let lost = || IncomingError::MidstatesFirst { record };
            Some(state.files.open(number, content)?.ok_or_else(lost).inspect_err(|_| state.lose_midstates(number))?)
        } else {
            None
        };
        let midstates = open.as_ref().map_or(&[][..], |open| &open.midstates);
        if prove_chunk(content.size, &content.sha256, midstates, chunk, bytes).is_err() {
            return Err(self.not_proven(record, number, chunk, bytes));
        }
        match &open {
            Some(open) => open.write(chunk, bytes)?,
            None => state.files.write_short(content, bytes)?,
        }
        state.counters.add(Travelled { bytes: bytes.len() as u64, ..Travelled::default() });
        let taken = state.note_written(number, bit, bytes.len() as u64);
        if state.recording_is_due() {
            self.record_aside()?;
        }
        Ok(taken)
    }

    fn not_proven(&self, record: u64, number: u32, chunk: u64, bytes: &[u8]) -> IncomingError {
        self.state.counters.add(Travelled { bytes: bytes.len() as u64, again: 0, failures: 1 });
        IncomingError::NotProven { record, chunk, failures: self.state.note_failure(number, chunk) }
    }

    /// Records what is proven: its bytes are synced, then `have` says so, durably.
    ///
    /// # Errors
    /// [`IncomingError::Storage`]: nothing is recorded that is not durable.
    pub fn sync(&self) -> Result<(), IncomingError> {
        self.state.check_usable()?;
        self.state.record()
    }

    /// How far the transfer is.
    pub fn stats(&self) -> Stats {
        self.state.stats()
    }

    /// Brings a transfer whose every chunk is proven into the vault: all items durable under their digests. Doing it again
    /// does nothing.
    ///
    /// # Errors
    /// [`IncomingError::Incomplete`] while something is missing; or the storage's. After a full disk it may be done again.
    pub fn finish(&self) -> Result<(), IncomingError> {
        self.state.check_usable()?;
        self.state.finish()
    }

    /// Records in a thread of its own, so that those who bring chunks do not wait for the disk.
    fn record_aside(&self) -> Result<(), IncomingError> {
        if custodia_disk::one_at_a_time() {
            return self.state.record();
        }
        let Ok(mut recorder) = self.recorder.try_lock() else { return Ok(()) };
        match recorder.take() {
            Some(busy) if !busy.is_finished() => {
                *recorder = Some(busy);
                if !self.state.recording_lags() {
                    return Ok(());
                }
                drop(recorder);
                // The disk cannot keep up: whoever brings more waits for it.
                self.state.record()
            }
            _ => {
                let state = self.state.clone();
                // What it fails with is kept in the state, and told to the next caller.
                *recorder = Some(std::thread::spawn(move || drop(state.record())));
                Ok(())
            }
        }
    }

    /// Ends it: nothing is written any more by anyone who still holds it.
    fn close(&self) {
        self.state.close();
        self.join_recorder();
    }

    fn join_recorder(&self) {
        let recorder = self.recorder.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(recorder) = recorder {
            // A panic there is told by the panic itself.
            let _ = recorder.join();
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // A recording must not run on beside a later opening of the same folder.
        self.join_recorder();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_proven_and_not_recorded_is_not_let_go_of_with_an_idle_transfer() {
        let folder = tempfile::tempdir().unwrap();
        let vault = Vault::open(folder.path()).unwrap();
        let of = |n: usize| Hash::of(&n.to_be_bytes());
        let item = |n: usize| {
            let sha256 = Hash::of(format!("item {n}").as_bytes());
            vec![ItemPlan { record: 0, size: format!("item {n}").len() as u64, sha256, midstates: midstates_root(&[]) }]
        };
        // More than may stay idle, each with everything that it wants, none recorded, each waiting for its receipt.
        let count = 3 * IDLE;
        for n in 0..count {
            let transfer = vault.transfer(&of(n), || Ok(item(n))).unwrap();
            transfer.take_chunk(0, 0, format!("item {n}").as_bytes()).unwrap();
        }
        for n in 0..count {
            let transfer = vault.transfer(&of(n), || Ok(item(n))).unwrap();
            assert_eq!(transfer.missing(0, 0, 1).unwrap(), [], "of transfer {n} nothing is asked for again");
            transfer.finish().unwrap();
        }
    }

    #[test]
    fn transfers_that_nobody_holds_do_not_stay_open_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let vault = Vault::open(folder.path()).unwrap();
        let of = |n: u32| Hash::of(&n.to_be_bytes());
        let held = vault.transfer(&of(0), || Ok(Vec::new())).unwrap();
        for n in 1..=10 * IDLE as u32 {
            drop(vault.transfer(&of(n), || Ok(Vec::new())).unwrap());
        }
        // What is held, what was opened last, and the idle ones.
        assert!(vault.open_transfers() <= IDLE + 2, "{}", vault.open_transfers());
        assert!(Arc::ptr_eq(&held, &vault.transfer(&of(0), || unreachable!("it is open")).unwrap()));
    }
}
