//! What earlier processes left in the transfer's files is proven again, not trusted.
//!
//! What was written and not recorded: nobody says that it was proven, so it is proven when the transfer is opened. What proves
//! is written once more over itself: after a sync that failed, the system may show bytes that are not on the disk and that no
//! later sync would write. Holes are passed over: zeros that were not recorded travel again, as it costs less than to look at
//! all of a file that is mostly empty.
//!
//! What was recorded: `have` says that it was proven, days ago perhaps. It counts while the rest travels, and is proven once
//! more before the transfer ends.

use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::panic::resume_unwind;
use std::thread::ScopedJoinHandle;

use custodia_disk::File;
use custodia_format::midstate::{CHUNK_BYTES, Midstate, chunk_bytes, print_midstates, prove_chunk};
use rustix::fs::{SeekFrom, seek};

use super::IncomingError;
use super::contents::Content;
use super::state::State;
use crate::storage::StorageError;

impl State {
    /// Takes what lies here of a content and is not recorded. What cannot be read is not here: it travels again.
    pub(super) fn reprove(&self, number: u32, content: &Content) -> Result<(), StorageError> {
        let end = content.first_bit + content.chunks();
        if self.recorded.next(false, content.first_bit, end).is_none() || !self.files.has(content)? {
            return Ok(());
        }
        let Some(midstates) = self.files.read_midstates(content)? else { return Ok(()) };
        let path = self.files.path(&content.sha256);
        let failed = |error| StorageError::at(&path, error);
        let open = || {
            // It was about to be named.
            if fs::metadata(&path)?.permissions().readonly() {
                custodia_disk::set_mode(&path, 0o600)?;
            }
            Ok::<_, io::Error>((fs::File::open(&path)?, File::open_existing(&path)?))
        };
        let (file, to_write) = open().map_err(failed)?;
        let mut bytes = Vec::new();
        for chunk in written_chunks(&file, content.size) {
            let bit = content.first_bit + chunk;
            if self.recorded.is_set(bit) {
                continue;
            }
            if lies_there(&file, content, &midstates, chunk, &mut bytes) {
                to_write.write_all_at(&bytes, chunk * CHUNK_BYTES).map_err(failed)?;
                self.note_written(number, bit, bytes.len() as u64);
            }
        }
        Ok(())
    }

    /// Proves what earlier processes recorded, as it lies there now; what no longer proves is missing again. Where the midstates
    /// are what rotted, the whole content tells, and gives them anew. Called when nothing is missing.
    pub(super) fn prove_inherited(&self) -> Result<(), IncomingError> {
        for (number, content) in self.contents.iter().filter(|(number, _)| !self.is_reused(*number)) {
            let (first, end) = (content.first_bit, content.first_bit + content.chunks());
            let inherited = || (first..end).filter(|bit| self.inherited.is_set(*bit)).map(|bit| bit - first).collect();
            if self.inherited.next(true, first, end).is_none() {
                continue;
            }
            match self.files.read_midstates(content)? {
                Some(midstates) => {
                    for chunk in self.rotten(content, &midstates, inherited())? {
                        self.lose(first + chunk, first + chunk + 1);
                    }
                }
                None => match self.hash_whole(&self.files.path(&content.sha256), content)? {
                    Some(digest) => self.files.write_midstates(content, &print_midstates(&digest.midstates))?,
                    None => {
                        self.lose_midstates(number);
                        self.lose(first, end);
                    }
                },
            }
            self.inherited.clear(first, end);
        }
        Ok(())
    }

    /// Those of these chunks that do not prove, or cannot be read. On all cores: there may be days of them.
    fn rotten(&self, content: &Content, midstates: &[Midstate], chunks: Vec<u64>) -> Result<Vec<u64>, IncomingError> {
        let Ok(file) = fs::File::open(self.files.path(&content.sha256)) else { return Ok(chunks) };
        let rotten_of = |part: &[u64]| {
            let (mut rotten, mut bytes) = (Vec::new(), Vec::new());
            for chunk in part {
                self.check_usable()?;
                if !lies_there(&file, content, midstates, *chunk, &mut bytes) {
                    rotten.push(*chunk);
                }
            }
            Ok::<_, IncomingError>(rotten)
        };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        if chunks.len() < cores || custodia_disk::one_at_a_time() {
            return rotten_of(&chunks);
        }
        let parts = std::thread::scope(|scope| {
            let parts = chunks.chunks(chunks.len().div_ceil(cores));
            let threads: Vec<_> = parts.map(|part| scope.spawn(|| rotten_of(part))).collect();
            // A panic there is a defect of ours, and goes on in this thread.
            let join = |thread: ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
            threads.into_iter().map(join).collect::<Result<Vec<_>, _>>()
        })?;
        Ok(parts.concat())
    }
}

/// Reads a chunk, whole, and proves it.
fn lies_there(file: &fs::File, content: &Content, midstates: &[Midstate], chunk: u64, bytes: &mut Vec<u8>) -> bool {
    bytes.resize(usize::try_from(chunk_bytes(content.size, chunk)).unwrap_or_default(), 0);
    file.read_exact_at(bytes, chunk * CHUNK_BYTES).is_ok()
        && prove_chunk(content.size, &content.sha256, midstates, chunk, bytes).is_ok()
}

/// The chunks of a file of this size in which something was written, ascending.
fn written_chunks(file: &fs::File, size: u64) -> impl Iterator<Item = u64> {
    let mut next = 0;
    let extents = std::iter::from_fn(move || {
        let start = seek(file, SeekFrom::Data(next)).ok().filter(|start| *start < size)?;
        let end = seek(file, SeekFrom::Hole(start)).unwrap_or(size).min(size);
        // The chunk in which it ends is not looked at twice.
        let chunks: Range<u64> = start / CHUNK_BYTES..end.div_ceil(CHUNK_BYTES);
        next = (chunks.end * CHUNK_BYTES).max(next + 1);
        Some(chunks)
    });
    extents.flatten()
}
