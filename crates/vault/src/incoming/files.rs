//! The files of a transfer: one for each content under its SHA-256, and one for its midstates beside it.
//!
//! A content of one chunk is written and closed at once. Of longer ones a few stay open, with their midstates: those
//! that chunks arrive for now. So a transfer of a million items holds no more files and memory than one of ten.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use custodia_disk::File;
use custodia_format::Hash;
use custodia_format::midstate::{CHUNK_BYTES, Midstate, midstate_count, midstates_root, parse_midstates};

use super::contents::Content;
use crate::storage::StorageError;
use crate::zeros::is_zero;

/// Files that stay open.
const OPEN: usize = 64;
/// Midstates that stay in memory, 8 MiB of them, unless those of a single content are more.
const MIDSTATES: usize = 1 << 18;

/// A content that chunks arrive for.
#[derive(Debug)]
pub(super) struct Open {
    file: File,
    path: PathBuf,
    /// The system lets one thread at a time write to a file; the others spin there, and sleep here.
    turn: Mutex<()>,
    pub(super) midstates: Vec<Midstate>,
}

impl Open {
    /// Writes a proven chunk. Zeros become a hole where the file system has such.
    pub(super) fn write(&self, chunk: u64, bytes: &[u8]) -> Result<(), StorageError> {
        let offset = chunk.saturating_mul(CHUNK_BYTES);
        if is_zero(bytes) && self.file.punch_hole(offset, bytes.len() as u64).is_ok() {
            return Ok(());
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.file.write_all_at(bytes, offset).map_err(|error| StorageError::at(&self.path, error))
    }
}

/// The folder of a transfer, and what is open in it.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    /// The last one used comes last.
    open: Mutex<Vec<(u32, Arc<Open>)>>,
}

impl Files {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, open: Mutex::default() }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn path(&self, sha256: &Hash) -> PathBuf {
        self.folder.join(sha256.to_string())
    }

    pub(super) fn midstates_path(&self, sha256: &Hash) -> PathBuf {
        self.path(sha256).with_extension("midstates")
    }

    /// Whether there is any file of a content here.
    pub(super) fn hold_content(&self) -> Result<bool, StorageError> {
        let listed = fs::read_dir(&self.folder).map_err(|error| StorageError::at(&self.folder, error))?;
        let is_content = |name: &str| Hash::from_hex(name).is_some();
        Ok(listed.flatten().any(|entry| entry.file_name().to_str().is_some_and(is_content)))
    }

    /// Whether a content has its file, of its length.
    pub(super) fn has(&self, content: &Content) -> Result<bool, StorageError> {
        let path = self.path(&content.sha256);
        match fs::symlink_metadata(&path) {
            Ok(metadata) => Ok(metadata.is_file() && metadata.len() == content.size),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StorageError::at(&path, error)),
        }
    }

    /// The midstates of a content, if they are here and close to the sealed root.
    pub(super) fn read_midstates(&self, content: &Content) -> Result<Option<Vec<Midstate>>, StorageError> {
        if !content.has_midstates() {
            return Ok(Some(Vec::new()));
        }
        let path = self.midstates_path(&content.sha256);
        let bytes = match fs::metadata(&path) {
            // A longer one is not ours, and is not read into memory.
            Ok(metadata) if metadata.len() == midstate_count(content.size) * 32 => fs::read(&path),
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(error),
        };
        let bytes = bytes.map_err(|error| StorageError::at(&path, error))?;
        let parsed = parse_midstates(&bytes, content.size).ok();
        Ok(parsed.filter(|midstates| midstates_root(midstates) == content.midstates))
    }

    /// Keeps midstates that were checked. Whoever reads them checks them again, so a torn file does no harm.
    pub(super) fn write_midstates(&self, content: &Content, bytes: &[u8]) -> Result<(), StorageError> {
        write_whole(&self.midstates_path(&content.sha256), bytes)
    }

    /// Writes a content of one chunk.
    pub(super) fn write_short(&self, content: &Content, bytes: &[u8]) -> Result<(), StorageError> {
        write_whole(&self.path(&content.sha256), bytes)
    }

    /// A longer content, open for writing; `None` while its midstates are not here.
    pub(super) fn open(&self, number: u32, content: &Content) -> Result<Option<Arc<Open>>, StorageError> {
        if let Some(open) = self.find(number) {
            return Ok(Some(open));
        }
        let Some(midstates) = self.read_midstates(content)? else { return Ok(None) };
        let path = self.path(&content.sha256);
        let file = create(&path)?;
        // Its whole length from the start: a file that is shorter has lost something.
        file.set_len(content.size).map_err(|error| StorageError::at(&path, error))?;
        Ok(Some(self.keep(number, Arc::new(Open { file, path, turn: Mutex::new(()), midstates }))))
    }

    fn find(&self, number: u32) -> Option<Arc<Open>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let place = open.iter().rposition(|(it, _)| *it == number)?;
        open.get_mut(place..)?.rotate_left(1);
        open.last().map(|(_, it)| it.clone())
    }

    fn keep(&self, number: u32, new: Arc<Open>) -> Arc<Open> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have opened it meanwhile; both write the same proven bytes.
        open.retain(|(it, _)| *it != number);
        open.push((number, new.clone()));
        let mut midstates: usize = open.iter().map(|(_, it)| it.midstates.len()).sum();
        while open.len() > 1 && (open.len() > OPEN || midstates > MIDSTATES) {
            midstates -= open.remove(0).1.midstates.len();
        }
        new
    }

    /// Closes everything.
    pub(super) fn close(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Makes these bytes all that the file holds. It is not cut before it is written: another thread may be writing the same.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    let file = create(path)?;
    let length = bytes.len() as u64;
    let written = file.write_all_at(bytes, 0).and_then(|()| match file.metadata()?.len() {
        now if now == length => Ok(()),
        _ => file.set_len(length),
    });
    written.map_err(|error| StorageError::at(path, error))
}

fn create(path: &Path) -> Result<File, StorageError> {
    File::open_or_create(path).map_err(|error| StorageError::at(path, error))
}
