//! The walk through a source, folder by folder, in the order of raw names.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use custodia_format::{limits, text};
use rustix::fs::{AtFlags, Dir, FileType, Stat, fstat, readlinkat, statat};
use rustix::io::Errno;

use super::open::{Reach, Root, open_file, open_folder, open_named_folder};
use super::{FILES, Fault, Length, PlannedFile, Problem, Remark, RemarkKind, Seen, Special};

/// Below this, what a file occupies says more about its file system than about holes.
const SPARSE_BYTES: u64 = 64 * 1024;

/// Whether a sealed path begins with the last part of the path that was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefix {
    /// That of a file only: the package is the folder.
    FilesOnly,
    /// Always.
    Always,
}

/// What was found so far.
#[derive(Default)]
pub(super) struct Walk {
    pub(super) files: Vec<PlannedFile>,
    pub(super) problems: Vec<Problem>,
    pub(super) remarks: Vec<Remark>,
    /// There is more than a package can hold; nothing further is looked at.
    full: bool,
}

/// A folder under the walk.
struct Place<'a> {
    folder: &'a OwnedFd,
    /// Its sealed path, empty for the package itself.
    path: &'a [u8],
    source: &'a Path,
    /// Parts of its sealed path.
    depth: usize,
    root: &'a Arc<Root>,
    reach: Reach,
}

impl Walk {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Takes a path that a person named. Its last part may be no link; the parts before it are theirs to choose.
    pub(super) fn named(&mut self, source: &Path, prefix: Prefix) {
        if let Err(fault) = self.try_named(source, prefix) {
            self.problem(source, fault);
        }
    }

    fn try_named(&mut self, source: &Path, prefix: Prefix) -> Result<(), Fault> {
        // `.` and `..` have a name, though not in the path.
        let whole = match source.file_name() {
            Some(_) => source.to_owned(),
            None => fs::canonicalize(source).map_err(|error| fault_of(&error))?,
        };
        let (parent, name) = match (whole.parent(), whole.file_name()) {
            (Some(parent), Some(name)) => (parent, name.as_bytes()),
            // The root of all: a folder that can be sealed, but not beside others.
            _ if prefix == Prefix::FilesOnly => return self.named_folder(open_named_folder(&whole)?, source, &[]),
            _ => return Err(Fault::Nameless),
        };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let above = open_named_folder(parent)?;
        let stat = statat(&above, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let folder = open_folder(&above, name, Reach::Mounts)?;
            let path = if prefix == Prefix::Always { name } else { &[] };
            return self.named_folder(folder, source, path);
        }
        let above = Arc::new(above);
        let again = above.try_clone().map_err(|error| fault_of(&error))?;
        let root = Arc::new(Root::new(again, 0, Reach::Mounts));
        let place = Place { folder: &above, path: &[], source: parent, depth: 0, root: &root, reach: Reach::Mounts };
        self.entry(&place, name, source.to_owned());
        Ok(())
    }

    fn named_folder(&mut self, folder: OwnedFd, source: &Path, path: &[u8]) -> Result<(), Fault> {
        let skip = if path.is_empty() { 0 } else { path.len() + 1 };
        let again = folder.try_clone().map_err(|error| fault_of(&error))?;
        let root = Arc::new(Root::new(again, skip, Reach::OneFileSystem));
        let depth = usize::from(!path.is_empty());
        check_length(path, path, depth)?;
        let reach = Reach::OneFileSystem;
        self.folder(&Place { folder: &folder, path, source, depth, root: &root, reach })
    }

    /// Everything in a folder, and a remark when there is nothing.
    fn folder(&mut self, place: &Place<'_>) -> Result<(), Fault> {
        let before = self.files.len() + self.problems.len();
        for name in names(place.folder)? {
            if self.full {
                return Ok(());
            }
            let source = place.source.join(OsStr::from_bytes(&name));
            self.entry(place, &name, source);
        }
        if self.files.len() + self.problems.len() == before {
            self.remark(place.source, RemarkKind::EmptyFolder);
        }
        Ok(())
    }

    fn entry(&mut self, place: &Place<'_>, name: &[u8], source: PathBuf) {
        if let Err(fault) = self.try_entry(place, name, &source) {
            self.problem(&source, fault);
        }
    }

    fn try_entry(&mut self, place: &Place<'_>, name: &[u8], source: &Path) -> Result<(), Fault> {
        let mut path = place.path.to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        let depth = place.depth + 1;
        check_length(&path, name, depth)?;
        // Looked at before it is opened: opening a device may already do something.
        let stat = statat(place.folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.file(place, name, path, source),
            FileType::Directory => {
                let folder = open_folder(place.folder, name, place.reach)?;
                self.folder(&Place {
                    folder: &folder,
                    path: &path,
                    source,
                    depth,
                    root: place.root,
                    reach: place.reach,
                })
            }
            FileType::Symlink => {
                let target = readlinkat(place.folder, name, Vec::new()).ok();
                Err(Fault::Link { target: target.map(|it| PathBuf::from(OsStr::from_bytes(it.as_bytes()))) })
            }
            other => Err(Fault::Special(special(other))),
        }
    }

    fn file(&mut self, place: &Place<'_>, name: &[u8], path: Vec<u8>, source: &Path) -> Result<(), Fault> {
        let stat = fstat(open_file(place.folder, name, place.reach)?)?;
        check_regular(&stat)?;
        let seen = Seen::of(&stat);
        if seen.size > limits::ITEM_BYTES {
            return Err(Fault::TooLarge { size: seen.size });
        }
        if self.files.len() >= FILES {
            self.full = true;
            return Err(Fault::TooMany);
        }
        self.remark_on(&stat, &seen, name, source);
        let allocated = allocated(&stat);
        let root = place.root.clone();
        let (size, modified) = (seen.size, seen.modified);
        self.files.push(PlannedFile { path, source: source.to_owned(), size, modified, allocated, seen, root });
        Ok(())
    }

    fn remark_on(&mut self, stat: &Stat, seen: &Seen, name: &[u8], source: &Path) {
        // The type differs between architectures and is never wider.
        #[allow(clippy::useless_conversion)]
        let count = u64::from(stat.st_nlink);
        if count > 1 {
            self.remark(source, RemarkKind::HardLinks { count });
        }
        let allocated = allocated(stat);
        if seen.size >= SPARSE_BYTES && allocated < seen.size {
            self.remark(source, RemarkKind::Sparse { size: seen.size, allocated });
        }
        if std::str::from_utf8(name).is_ok_and(|name| text::escape_untrusted(name) != name) {
            self.remark(source, RemarkKind::HiddenCharacters);
        }
    }

    fn remark(&mut self, source: &Path, kind: RemarkKind) {
        // A hostile source must not fill our memory with remarks; the count of files is bounded by itself.
        if self.remarks.len() < FILES {
            self.remarks.push(Remark { source: source.to_owned(), kind });
        }
    }

    fn problem(&mut self, source: &Path, fault: Fault) {
        self.problems.push(Problem { source: source.to_owned(), fault });
        self.full |= self.problems.len() > FILES;
    }
}

/// The names in a folder, in the order of their bytes.
fn names(folder: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::new(folder.try_clone().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
        if names.len() > FILES + 1 {
            break;
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Bytes that a file occupies.
fn allocated(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512)
}

/// Refuses what turned into something else between the look at it and its opening.
pub(crate) fn check_regular(stat: &Stat) -> Result<(), Fault> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        other => Err(Fault::Special(special(other))),
    }
}

fn special(kind: FileType) -> Special {
    match kind {
        FileType::Fifo => Special::Fifo,
        FileType::Socket => Special::Socket,
        FileType::BlockDevice => Special::BlockDevice,
        FileType::CharacterDevice => Special::CharacterDevice,
        _ => Special::Unknown,
    }
}

fn check_length(path: &[u8], name: &[u8], depth: usize) -> Result<(), Fault> {
    if path.len() > limits::PATH_BYTES {
        return Err(Fault::TooLong(Length::Path));
    }
    if name.len() > limits::PATH_COMPONENT_BYTES {
        return Err(Fault::TooLong(Length::Component));
    }
    if depth > limits::PATH_DEPTH {
        return Err(Fault::TooLong(Length::Depth));
    }
    Ok(())
}

fn fault_of(error: &std::io::Error) -> Fault {
    Errno::from_io_error(error).map_or_else(|| Fault::Unreadable { error: error.to_string() }, Fault::from)
}

impl From<Errno> for Fault {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT | Errno::NOTDIR => Self::Missing,
            Errno::LOOP => Self::Link { target: None },
            Errno::XDEV => Self::Mounted,
            // A socket, or a device without a driver, that took the place of a file.
            Errno::NXIO | Errno::NODEV => Self::Special(Special::Unknown),
            other => Self::Unreadable { error: other.to_string() },
        }
    }
}
