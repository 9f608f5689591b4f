//! A file of an export that is written line by line, and hashed on the way.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use custodia_format::Hash;
use custodia_format::midstate::ItemHasher;

use crate::failure::Failure;

/// A file in the making.
pub(super) struct Listing {
    path: PathBuf,
    out: BufWriter<File>,
    hasher: ItemHasher,
}

impl Listing {
    /// A new file.
    pub(super) fn create(path: PathBuf) -> Result<Self, Failure> {
        let file = File::create_new(&path).map_err(|error| Failure::io(&error, &path))?;
        Ok(Self { path, out: BufWriter::with_capacity(1 << 16, file), hasher: ItemHasher::new() })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Ends it; gives its SHA-256.
    pub(super) fn end(mut self) -> Result<Hash, Failure> {
        self.out.flush().map_err(|error| Failure::io(&error, &self.path))?;
        Ok(self.hasher.finish().sha256)
    }
}

impl Write for Listing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
