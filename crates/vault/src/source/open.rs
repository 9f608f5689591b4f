//! Opening what lies in a source: below a folder that is held open, part by part, and never through a link.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat, open, openat, openat2, statat};
use rustix::io::Errno;

/// Where a walk began: a folder that stays open, so that a name which is exchanged later leads nowhere else.
#[derive(Debug)]
pub(crate) struct Root {
    folder: OwnedFd,
    /// Bytes of a sealed path that stand for the folder itself.
    skip: usize,
    reach: Reach,
}

/// How far opening may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Within the file system of the folder.
    OneFileSystem,
    /// Also where something is mounted: a path that a person named.
    Mounts,
}

impl Root {
    pub(crate) fn new(folder: OwnedFd, skip: usize, reach: Reach) -> Self {
        Self { folder, skip, reach }
    }

    /// Opens the file with this sealed path for reading. Does not wait for the other end of a pipe.
    pub(crate) fn file(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        self.descend(path, |folder, name, reach| open_file(folder, name, reach))
    }

    /// What stands at this sealed path now, without following a link there.
    pub(crate) fn look(&self, path: &[u8]) -> Result<Stat, Errno> {
        self.descend(path, |folder, name, _| statat(folder, name, AtFlags::SYMLINK_NOFOLLOW))
    }

    fn descend<T>(
        &self,
        path: &[u8],
        last: impl FnOnce(&OwnedFd, &[u8], Reach) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let path = path.get(self.skip..).unwrap_or_default();
        let (folders, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(end) => path.split_at(end),
            None => (&[][..], path),
        };
        let mut inner: Option<OwnedFd> = None;
        for part in folders.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            let next = open_folder(inner.as_ref().unwrap_or(&self.folder), part, self.reach)?;
            inner = Some(next);
        }
        let name = name.strip_prefix(b"/").unwrap_or(name);
        last(inner.as_ref().unwrap_or(&self.folder), name, self.reach)
    }
}

/// Opens a folder that a person named, by whatever path they gave.
pub(crate) fn open_named_folder(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    leaving_access_times(flags, |flags| open(path, flags, Mode::empty()))
}

/// Opens a folder in a folder.
pub(crate) fn open_folder(folder: impl AsFd, name: &[u8], reach: Reach) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    leaving_access_times(flags, |flags| open_beneath(&folder, name, flags, reach))
}

/// Opens what should be a file in a folder; the caller looks at what it got.
pub(crate) fn open_file(folder: impl AsFd, name: &[u8], reach: Reach) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    leaving_access_times(flags, |flags| open_beneath(&folder, name, flags, reach))
}

/// Only the owner of a file may leave its access time alone.
fn leaving_access_times<T>(flags: OFlags, open: impl Fn(OFlags) -> Result<T, Errno>) -> Result<T, Errno> {
    match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => open(flags),
        opened => opened,
    }
}

fn open_beneath(folder: impl AsFd, name: &[u8], flags: OFlags, reach: Reach) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    if reach == Reach::OneFileSystem {
        resolve |= ResolveFlags::NO_XDEV;
    }
    match openat2(&folder, name, flags, Mode::empty(), resolve) {
        // Old kernels, and the filters of some containers. One part with O_NOFOLLOW is as strict, but for mounts.
        Err(Errno::NOSYS | Errno::PERM) => openat(folder, name, flags | OFlags::NOFOLLOW, Mode::empty()),
        opened => opened,
    }
}
