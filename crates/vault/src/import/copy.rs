//! Copying one file: one read feeds the hash and the copy, and the file is the same before and after.
//!
//! Holes of a source are read like everything else: file systems have been wrong about where holes are, and a byte that
//! was not read is not evidence. Zeros are not written, so the copy has holes where it can.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use custodia_format::midstate::{CHUNK_BYTES, ItemDigest, ItemHasher};
use rustix::fs::{Advice, fadvise, fstat};

use crate::item::create_read_only;
use crate::progress::Progress;
use crate::source::{Fault, PlannedFile, Seen, check_regular};
use crate::storage::StorageError;
use crate::zeros::is_zero;

const BUFFER_BYTES: usize = CHUNK_BYTES as usize;

/// From here on a file is written by a thread of its own while the next bytes are read and hashed.
const LONG_BYTES: u64 = 8 * CHUNK_BYTES;

/// Buffers between the two threads of a long file.
const BUFFERS: usize = 4;

/// The disk is told to begin so often, so that it works while we hash instead of afterwards.
const WRITE_BACK_BYTES: u64 = 32 * CHUNK_BYTES;

/// The buffers of one thread, kept from file to file.
#[derive(Default)]
pub(super) struct Buffers(Vec<Vec<u8>>);

impl Buffers {
    fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_else(|| vec![0; BUFFER_BYTES])
    }

    fn give(&mut self, buffer: Vec<u8>) {
        self.0.push(buffer);
    }
}

/// What ends a copy.
pub(super) enum Failure {
    Fault(Fault),
    Storage(StorageError),
    Cancelled,
}

/// Copies a file to a new one, without syncing it.
pub(super) fn copy(
    file: &PlannedFile,
    to: &Path,
    buffers: &mut Buffers,
    progress: &dyn Progress,
) -> Result<ItemDigest, Failure> {
    let fd = file.root.file(&file.path).map_err(Fault::from)?;
    check_regular(&fstat(&fd).map_err(Fault::from)?)?;
    let from = File::from(fd);
    let same = || check_same(file, &from);
    same()?;
    let target = Target { path: to, file: create_read_only(to)?, size: file.size };
    let reading = Reading { from: &from, size: file.size, hasher: ItemHasher::new(), progress };
    let digest = if file.size < LONG_BYTES {
        copy_short(reading, &target, buffers)?
    } else {
        copy_long(reading, &target, buffers)?
    };
    same()?;
    if digest.size != file.size {
        return Err(Fault::Length { expected: file.size, found: digest.size }.into());
    }
    // Another file under the same name leaves the one that we hold open as it was.
    let now = Seen::of(&file.root.look(&file.path).map_err(Fault::from)?);
    if now != file.seen {
        return Err(Fault::Changed { expected: file.seen, found: now }.into());
    }
    Ok(digest)
}

fn check_same(file: &PlannedFile, from: &File) -> Result<(), Fault> {
    let found = Seen::of(&fstat(from)?);
    if found == file.seen { Ok(()) } else { Err(Fault::Changed { expected: file.seen, found }) }
}

fn copy_short(mut reading: Reading<'_>, target: &Target<'_>, buffers: &mut Buffers) -> Result<ItemDigest, Failure> {
    let mut buffer = buffers.take();
    let mut offset = 0;
    loop {
        let read = reading.next(&mut buffer)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        target.write(offset, bytes)?;
        offset += read as u64;
    }
    buffers.give(buffer);
    target.end()?;
    Ok(reading.hasher.finish())
}

fn copy_long(mut reading: Reading<'_>, target: &Target<'_>, buffers: &mut Buffers) -> Result<ItemDigest, Failure> {
    let (full, to_write) = sync_channel::<(Vec<u8>, usize)>(BUFFERS);
    let (empty, to_fill) = sync_channel::<Vec<u8>>(BUFFERS);
    for _ in 0..BUFFERS {
        // There is room for all of them, and the other end is in this function.
        let _ = empty.send(buffers.take());
    }
    let read = thread::scope(|scope| {
        let writer = scope.spawn(move || write_all(target, &to_write, &empty));
        let mut read_all = || -> Result<(), Failure> {
            // The writer hangs up when it fails; what it says is asked for below.
            while let Ok(mut buffer) = to_fill.recv() {
                let read = reading.next(&mut buffer)?;
                if read == 0 || full.send((buffer, read)).is_err() {
                    break;
                }
            }
            Ok(())
        };
        let read = read_all();
        drop(full);
        // A panic of the writer is a defect of ours, and goes on in this thread.
        let written = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        read.and(written.map_err(Failure::from))
    });
    to_fill.try_iter().for_each(|buffer| buffers.give(buffer));
    read?;
    target.end()?;
    Ok(reading.hasher.finish())
}

/// Writes what comes, and gives the buffers back.
fn write_all(
    target: &Target<'_>,
    to_write: &Receiver<(Vec<u8>, usize)>,
    empty: &SyncSender<Vec<u8>>,
) -> Result<(), StorageError> {
    let mut offset = 0;
    let mut begun = 0;
    for (buffer, read) in to_write {
        target.write(offset, buffer.get(..read).unwrap_or_default())?;
        offset += read as u64;
        if offset - begun >= WRITE_BACK_BYTES {
            // From the window before on: what of it is on the disk by now leaves the memory.
            target.write_back(begun.saturating_sub(WRITE_BACK_BYTES), offset);
            begun = offset;
        }
        // The reader is done and wants no more buffers.
        let _ = empty.send(buffer);
    }
    Ok(())
}

/// The source of a copy, as it is read.
struct Reading<'a> {
    from: &'a File,
    /// Bytes that it should have.
    size: u64,
    hasher: ItemHasher,
    progress: &'a dyn Progress,
}

impl Reading<'_> {
    /// Fills the buffer as far as the file goes, and hashes what came.
    fn next(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        if self.progress.cancelled() {
            return Err(Failure::Cancelled);
        }
        if self.hasher.size() > self.size {
            // It grows while it is read, perhaps as fast as we read.
            return Ok(0);
        }
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match io::Read::read(&mut self.from, rest) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault::Unreadable { error: error.to_string() }.into()),
            }
        }
        self.hasher.update(buffer.get(..filled).unwrap_or_default());
        self.progress.bytes(filled as u64);
        Ok(filled)
    }
}

/// The copy, as it is written.
struct Target<'a> {
    path: &'a Path,
    file: custodia_disk::File,
    size: u64,
}

impl Target<'_> {
    /// Writes at an offset. Zeros are not written: what was never written is read as zeros, and occupies nothing.
    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        if offset.saturating_add(bytes.len() as u64) > self.size {
            // More than there should be: it will be refused, and must not take room that was not asked for.
            return Ok(());
        }
        if is_zero(bytes) {
            return Ok(());
        }
        self.file.write_all_at(bytes, offset).map_err(|error| StorageError::at(self.path, error))
    }

    /// Gives the copy its length, also where its last bytes are zeros.
    fn end(&self) -> Result<(), StorageError> {
        self.file.set_len(self.size).map_err(|error| StorageError::at(self.path, error))
    }

    /// Asks the system to begin to write these bytes to the disk, and to forget those that it has written: a long file
    /// would push everything else out of memory. Only a hint: durability is the settling's.
    fn write_back(&self, from: u64, to: u64) {
        let _ = fadvise(&self.file, from, NonZeroU64::new(to.saturating_sub(from)), Advice::DontNeed);
    }
}
