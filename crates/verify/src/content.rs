//! The items as the verifier sees them: names, sizes and bytes, through whoever may read files.

/// A regular file of the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentFile {
    /// Its path below the content's folder, `/`-separated, raw bytes.
    pub path: Vec<u8>,
    /// Bytes.
    pub size: u64,
}

/// A file could not be read. The reader's disk, not the proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentError {
    /// What the system said.
    pub why: String,
}

/// The items that lie beside a proof.
pub trait Content: Sync {
    /// Every regular file; links and other things are left out, and nothing is followed.
    ///
    /// # Errors
    /// [`ContentError`] when the folder cannot be listed.
    fn files(&self) -> Result<Vec<ContentFile>, ContentError>;

    /// Fills the buffer from an offset; fewer bytes than it holds only at the end of the file. Called from several
    /// threads.
    ///
    /// # Errors
    /// [`ContentError`] when the file cannot be read.
    fn read_at(&self, path: &[u8], offset: u64, buffer: &mut [u8]) -> Result<usize, ContentError>;

    /// The midstates of an item, 32 bytes for each whole MiB, if they lie there. They are checked against the sealed
    /// root and only save time.
    fn midstates(&self, sha256: &custodia_format::Hash) -> Option<Vec<u8>> {
        let _ = sha256;
        None
    }
}
