//! The folder with the files: an export (docs/spec/proof.md, "Export"), or the items under their sealed names.
//!
//! Links are not followed, neither as files nor on the way; what is no regular file is not there.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use custodia_format::Hash;
use custodia_verify::{Content, ContentError, ContentFile};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use crate::CourtError;

/// The folder of an export that holds the items.
pub const EXPORT_ITEMS: &str = "items";
/// The same in an export that is a bag (RFC 8493).
const BAG_DATA: &str = "data";
/// The folder of an export that holds midstates, which only save time.
pub const EXPORT_MIDSTATES: &str = "midstates";
/// The manifest file of an export whose proof has no disclosure.
pub const EXPORT_MANIFEST: &str = "manifest.jsonl";

/// A folder of items, and what lies beside it in an export.
#[derive(Debug)]
pub struct Folder {
    /// The items' folder, held open: every file is opened below it.
    items: File,
    path: PathBuf,
    /// The export's own folder; none when the items were named themselves.
    export: Option<PathBuf>,
    /// The file that was read last, by its path: a large one is read in many pieces.
    last: Mutex<HashMap<Vec<u8>, Arc<File>>>,
}

impl Folder {
    /// Opens a folder: an export is one that has `proof.json` and `items/`, or `data/` where it is a bag.
    ///
    /// # Errors
    /// [`CourtError::Read`] when it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, CourtError> {
        let is_bag = path.join("bagit.txt").is_file();
        let below = path.join(if is_bag { BAG_DATA } else { EXPORT_ITEMS });
        let is_export = below.is_dir() && path.join("proof.json").is_file();
        let (items, export) = if is_export { (below, Some(path.to_owned())) } else { (path.to_owned(), None) };
        let failed = |error| CourtError::Read { path: items.clone(), error };
        let folder = File::open(&items).map_err(failed)?;
        if !folder.metadata().map_err(failed)?.is_dir() {
            return Err(failed(io::Error::from(io::ErrorKind::NotADirectory)));
        }
        Ok(Self { items: folder, path: items, export, last: Mutex::default() })
    }

    /// The manifest file beside the proof, if there is one.
    pub fn manifest(&self) -> Option<PathBuf> {
        let path = self.export.as_ref()?.join(EXPORT_MANIFEST);
        path.is_file().then_some(path)
    }

    fn walk(&self, below: &Path, files: &mut Vec<ContentFile>) -> io::Result<()> {
        for entry in std::fs::read_dir(self.path.join(below))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let path = below.join(entry.file_name());
            if kind.is_dir() {
                self.walk(&path, files)?;
            } else if kind.is_file() {
                let size = entry.metadata()?.len();
                files.push(ContentFile { path: path.into_os_string().into_vec(), size });
            }
        }
        Ok(())
    }

    fn file(&self, path: &[u8]) -> io::Result<Arc<File>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = last.get(path) {
            return Ok(file.clone());
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let opened = openat2(&self.items, std::ffi::OsStr::from_bytes(path), flags, Mode::empty(), resolve);
        let file = match opened {
            // A kernel or sandbox without openat2: the path has passed the verifier, and the walk followed no link.
            Err(rustix::io::Errno::NOSYS) => {
                rustix::fs::openat(CWD, self.path.join(std::ffi::OsStr::from_bytes(path)), flags, Mode::empty())
            }
            other => other,
        };
        let file = Arc::new(File::from(file?));
        last.clear();
        last.insert(path.to_vec(), file.clone());
        Ok(file)
    }
}

impl Content for Folder {
    fn files(&self) -> Result<Vec<ContentFile>, ContentError> {
        let mut files = Vec::new();
        self.walk(Path::new(""), &mut files).map_err(|error| ContentError { why: error.to_string() })?;
        files.sort_by(|one, next| one.path.cmp(&next.path));
        Ok(files)
    }

    fn read_at(&self, path: &[u8], offset: u64, buffer: &mut [u8]) -> Result<usize, ContentError> {
        let failed = |error: io::Error| ContentError { why: format!("it cannot be read at byte {offset}: {error}") };
        let file = self.file(path).map_err(failed)?;
        let mut read = 0;
        while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, offset + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(read)
    }

    fn midstates(&self, sha256: &Hash) -> Option<Vec<u8>> {
        let hex = sha256.to_string();
        std::fs::read(self.export.as_ref()?.join(EXPORT_MIDSTATES).join(hex.get(..2)?).join(&hex)).ok()
    }
}
