//! A file that is open to be written to.

use std::fs::{self, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
#[cfg(feature = "watched")]
use std::path::PathBuf;

use rustix::fs::{FallocateFlags, fallocate};

#[cfg(feature = "watched")]
use crate::{guard, watch::Call};

/// A file that is open to be written to. New ones are their owner's alone.
#[derive(Debug)]
pub struct File {
    inner: fs::File,
    /// Under which name it was opened.
    #[cfg(feature = "watched")]
    path: PathBuf,
}

impl File {
    /// Begins a file anew: what was there under this name loses its bytes.
    ///
    /// # Errors
    /// What the system says, as with every call here.
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::open(path, OpenOptions::new().write(true).create(true).truncate(true).mode(0o600), true)
    }

    /// Makes a file where there is none.
    ///
    /// # Errors
    /// `AlreadyExists`, or what the system says.
    pub fn create_new(path: &Path) -> io::Result<Self> {
        Self::open(path, OpenOptions::new().write(true).create_new(true).mode(0o600), false)
    }

    /// Makes a file where there is none, which nobody can open to write to it again.
    ///
    /// # Errors
    /// `AlreadyExists`, or what the system says.
    pub fn create_read_only(path: &Path) -> io::Result<Self> {
        Self::open(path, OpenOptions::new().write(true).create_new(true).mode(0o400), false)
    }

    /// Opens a file as it is, or makes it.
    ///
    /// # Errors
    /// What the system says.
    pub fn open_or_create(path: &Path) -> io::Result<Self> {
        Self::open(path, OpenOptions::new().write(true).create(true).truncate(false).mode(0o600), false)
    }

    /// Opens a file that is there, to be read too.
    ///
    /// # Errors
    /// `NotFound`, or what the system says.
    pub fn open_existing(path: &Path) -> io::Result<Self> {
        Self::open(path, OpenOptions::new().read(true).write(true), false)
    }

    /// Opens a file or a folder for its sync alone.
    ///
    /// # Errors
    /// `NotFound`, or what the system says.
    pub fn open_to_sync(path: &Path) -> io::Result<Self> {
        Ok(Self::with(fs::File::open(path)?, path))
    }

    #[cfg(not(feature = "watched"))]
    #[inline]
    fn with(inner: fs::File, _: &Path) -> Self {
        Self { inner }
    }

    #[cfg(feature = "watched")]
    fn with(inner: fs::File, path: &Path) -> Self {
        Self { inner, path: path.to_owned() }
    }

    #[cfg(not(feature = "watched"))]
    #[inline]
    fn open(path: &Path, options: &OpenOptions, _: bool) -> io::Result<Self> {
        Ok(Self::with(options.open(path)?, path))
    }

    #[cfg(feature = "watched")]
    fn open(path: &Path, options: &OpenOptions, cuts: bool) -> io::Result<Self> {
        let mut opened = None;
        guard(path, &Call::Open { path, cuts }, &mut |_| {
            opened = Some(options.open(path)?);
            Ok(())
        })?;
        opened.map(|inner| Self::with(inner, path)).ok_or_else(|| io::Error::other("it was not opened"))
    }

    /// Writes all of it at an offset.
    ///
    /// # Errors
    /// What the system says; a part may be written then.
    #[inline]
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        #[cfg(feature = "watched")]
        return guard(&self.path, &Call::Write { file: &self.inner, path: &self.path, offset, bytes }, &mut |count| {
            self.inner.write_all_at(bytes.get(..count).unwrap_or(bytes), offset)
        });
        #[cfg(not(feature = "watched"))]
        self.inner.write_all_at(bytes, offset)
    }

    /// Makes it shorter, or longer by zeros.
    ///
    /// # Errors
    /// What the system says.
    #[inline]
    pub fn set_len(&self, length: u64) -> io::Result<()> {
        #[cfg(feature = "watched")]
        return guard(&self.path, &Call::SetLength { file: &self.inner, path: &self.path, length }, &mut |_| {
            self.inner.set_len(length)
        });
        #[cfg(not(feature = "watched"))]
        self.inner.set_len(length)
    }

    /// Makes zeros of a range, without room for them; its length stays. Not every file system can.
    ///
    /// # Errors
    /// What the system says; nothing is changed then.
    #[inline]
    pub fn punch_hole(&self, offset: u64, length: u64) -> io::Result<()> {
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        #[cfg(feature = "watched")]
        return guard(&self.path, &Call::Punch { file: &self.inner, path: &self.path, offset, length }, &mut |_| {
            Ok(fallocate(&self.inner, hole, offset, length)?)
        });
        #[cfg(not(feature = "watched"))]
        Ok(fallocate(&self.inner, hole, offset, length)?)
    }

    /// Makes its bytes and its length durable, or the names in a folder.
    ///
    /// # Errors
    /// What the system says: then nobody knows what is on the disk.
    #[inline]
    pub fn sync_all(&self) -> io::Result<()> {
        #[cfg(feature = "watched")]
        return guard(&self.path, &Call::Sync { file: &self.inner, path: &self.path }, &mut |_| self.inner.sync_all());
        #[cfg(not(feature = "watched"))]
        self.inner.sync_all()
    }

    /// Makes its bytes durable, and its length where that has changed.
    ///
    /// # Errors
    /// As [`File::sync_all`].
    #[inline]
    pub fn sync_data(&self) -> io::Result<()> {
        #[cfg(feature = "watched")]
        return guard(&self.path, &Call::Sync { file: &self.inner, path: &self.path }, &mut |_| self.inner.sync_data());
        #[cfg(not(feature = "watched"))]
        self.inner.sync_data()
    }

    /// Reads what there is at an offset, at most a buffer full.
    ///
    /// # Errors
    /// What the system says.
    #[inline]
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, offset)
    }

    /// What the system knows of it.
    ///
    /// # Errors
    /// What the system says.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.inner.metadata()
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl io::Write for File {
    #[cfg(not(feature = "watched"))]
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    #[cfg(feature = "watched")]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Self { inner, path } = self;
        let offset = io::Seek::stream_position(inner)?;
        let mut writer: &fs::File = inner;
        guard(path, &Call::Write { file: inner, path, offset, bytes }, &mut |count| {
            writer.write_all(bytes.get(..count).unwrap_or(bytes))
        })?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
