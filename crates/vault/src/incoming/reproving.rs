//! What a process that was killed had written and not recorded. It lies in the transfer's files; nobody says that it was
//! proven, and so it is proven again.
//!
//! What proves is written once more over itself: after a sync that failed, the system may show bytes that are not on the disk
//! and that no later sync would write. Holes are passed over: zeros that were not recorded travel again, as it costs less than
//! to look at all of a file that is mostly empty.

use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use custodia_disk::File;
use custodia_format::midstate::{CHUNK_BYTES, chunk_bytes, prove_chunk};
use rustix::fs::{SeekFrom, seek};

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
            let length = chunk_bytes(content.size, chunk);
            bytes.resize(usize::try_from(length).unwrap_or_default(), 0);
            let offset = chunk * CHUNK_BYTES;
            let proves = file.read_exact_at(&mut bytes, offset).is_ok()
                && prove_chunk(content.size, &content.sha256, &midstates, chunk, &bytes).is_ok();
            if proves {
                to_write.write_all_at(&bytes, offset).map_err(failed)?;
                self.note_written(number, bit, length);
            }
        }
        Ok(())
    }
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
