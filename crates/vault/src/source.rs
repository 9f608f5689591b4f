//! What would be sealed: the files below the paths that a person names, found without writing anything.
//!
//! A source may be hostile and may change under our eyes. It is walked with open folders, part by part, never through a
//! link and never into another file system; what is no regular file, cannot be read or cannot be sealed as it is named
//! becomes a [`Problem`]. All problems are listed, so that one visit to the source mends them all.

mod fault;
mod open;
mod walk;

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use custodia_format::limits;
use rustix::fs::Stat;

pub use fault::{Fault, Length, Problem, Remark, RemarkKind, Special};
pub(crate) use open::Root;
use walk::Walk;
pub(crate) use walk::check_regular;

/// Files of one package: one record is the package's own.
const FILES: usize = (limits::RECORDS - 1) as usize;

/// The files that would be sealed, and all that speaks against it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// By the raw bytes of their sealed paths.
    pub files: Vec<PlannedFile>,
    /// Why this cannot be sealed as it is; empty when it can.
    pub problems: Vec<Problem>,
    /// What a person should know, though it hinders nothing.
    pub remarks: Vec<Remark>,
}

impl Plan {
    /// Walks the paths. Of one folder the files' sealed paths are relative to it; of several paths, or of a single file,
    /// each sealed path begins with the last part of the path that was named.
    pub fn of(paths: &[PathBuf]) -> Self {
        let mut walk = Walk::new();
        for path in paths {
            walk.named(path, if paths.len() == 1 { walk::Prefix::FilesOnly } else { walk::Prefix::Always });
        }
        let Walk { mut files, mut problems, mut remarks, .. } = walk;
        files.sort_by(|one, other| one.path.cmp(&other.path));
        find_collisions(&files, &mut problems, &mut remarks);
        if files.is_empty() && problems.is_empty() {
            let source = paths.first().cloned().unwrap_or_default();
            problems.push(Problem { source, fault: Fault::NoFiles });
        }
        Self { files, problems, remarks }
    }

    /// Bytes of all files, as they will be sealed: holes count.
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.size))
    }

    /// Bytes that the copies will occupy: holes are left out.
    pub(crate) fn bytes_on_disk(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes_on_disk()))
    }
}

/// A file that would be sealed.
#[derive(Debug, Clone)]
pub struct PlannedFile {
    /// Its sealed path: `/`-separated raw bytes, checked against the limits of the format.
    pub path: Vec<u8>,
    /// Where it lies.
    pub source: PathBuf,
    /// Bytes.
    pub size: u64,
    /// When it was last written, by the clock of whoever wrote it.
    pub modified: Stamp,
    /// Bytes that it occupies where it lies.
    allocated: u64,
    /// What it was when it was found; it must still be this when it is read.
    pub(crate) seen: Seen,
    /// From where it is opened.
    pub(crate) root: Arc<Root>,
}

impl PlannedFile {
    fn bytes_on_disk(&self) -> u64 {
        const BLOCK: u64 = 4096;
        self.allocated.min(self.size).div_ceil(BLOCK).saturating_mul(BLOCK)
    }
}

/// A moment as file systems keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Seconds since 1970-01-01T00:00:00Z; before it, negative.
    pub seconds: i64,
    /// Nanoseconds after that second.
    pub nanos: u32,
}

/// What a file is, seen from outside. Two that are equal, before and after it was read, say that nobody wrote meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Bytes.
    pub size: u64,
    /// When its bytes were last changed.
    pub modified: Stamp,
    /// When anything of it was last changed, its names too; nobody can set this one.
    pub changed: Stamp,
    /// Its number in its file system.
    pub inode: u64,
    /// Its file system.
    pub device: u64,
}

impl Seen {
    pub(crate) fn of(stat: &Stat) -> Self {
        // The types of these fields differ between architectures; none is wider than ours, and nanoseconds fit in 32 bits.
        #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
        let stamp = |seconds, nanos| Stamp { seconds: i64::from(seconds), nanos: nanos as u32 };
        #[allow(clippy::useless_conversion)]
        Self {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: stamp(stat.st_mtime, stat.st_mtime_nsec),
            changed: stamp(stat.st_ctime, stat.st_ctime_nsec),
            inode: u64::from(stat.st_ino),
            device: u64::from(stat.st_dev),
        }
    }
}

/// Two files of one sealed path are a problem. Names that one file system keeps apart and another does not are sealed as
/// they are, and remarked on: they would overwrite each other where they are unpacked.
fn find_collisions(files: &[PlannedFile], problems: &mut Vec<Problem>, remarks: &mut Vec<Remark>) {
    let mut taken: HashMap<Vec<u8>, &PlannedFile> = HashMap::with_capacity(files.len());
    let mut collide = |file: &PlannedFile, other: &PlannedFile| {
        let (source, other_source) = (file.source.clone(), other.source.clone());
        if file.path == other.path || is_below(&file.path, &other.path) {
            problems.push(Problem { source, fault: Fault::Collides { other: other_source } });
        } else {
            remarks.push(Remark { source, kind: RemarkKind::SameElsewhere { other: other_source } });
        }
    };
    for file in files {
        if let Some(other) = taken.get(&fold(&file.path)) {
            collide(file, other);
        } else {
            taken.insert(fold(&file.path), file);
        }
    }
    // A name cannot be a file's and a folder's at once.
    for file in files {
        let folded = fold(&file.path);
        let ends = folded.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(place, _)| place);
        if let Some(other) = ends.filter_map(|end| taken.get(folded.get(..end)?)).next() {
            collide(file, other);
        }
    }
}

/// Whether a path would lie below another, which is a file's.
fn is_below(path: &[u8], file: &[u8]) -> bool {
    path.strip_prefix(file).is_some_and(|rest| rest.first() == Some(&b'/'))
}

/// What is left of a path where case, and dots and spaces at the end of a name, make no difference.
fn fold(path: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(path) else {
        return path.to_ascii_lowercase();
    };
    let parts = text.split('/').map(|part| part.trim_end_matches(['.', ' ']).to_uppercase().to_lowercase());
    parts.collect::<Vec<_>>().join("/").into_bytes()
}

/// A path as it can be shown: nothing in it acts on a terminal, and bytes that are no text are written as `\xNN`.
pub(crate) fn shown(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        text += &custodia_format::text::escape_untrusted(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text += &format!("\\x{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_only_where_other_systems_do_not_look() {
        for (one, other) in [("A.txt", "a.txt"), ("stra\u{df}e", "STRASSE"), ("x.", "x"), ("a/B ", "A/b")] {
            assert_eq!(fold(one.as_bytes()), fold(other.as_bytes()), "{one} {other}");
        }
        for (one, other) in [("a.txt", "b.txt"), (".a", "a"), ("a/b", "ab"), (" x", "x")] {
            assert_ne!(fold(one.as_bytes()), fold(other.as_bytes()), "{one} {other}");
        }
    }

    #[test]
    fn a_shown_path_acts_on_nothing() {
        use std::ffi::OsStr;
        let path = Path::new(OsStr::from_bytes(b"a\nb\xff\xfec\x1b[0m\xe2\x80\xae"));
        assert_eq!(shown(path), "a\\u{a}b\\xff\\xfec\\u{1b}[0m\\u{202e}");
    }
}
