//! What long work tells about itself, and how it is asked to stop.

/// Watches import, checks and the proving of what is on disk. Called from several threads at once, so it must be quick.
pub trait Progress: Sync {
    /// So many more bytes are read and hashed.
    fn bytes(&self, bytes: u64) {
        let _ = bytes;
    }

    /// One more file or item is done.
    fn file(&self) {}

    /// Everything is read; what remains is to make it durable.
    fn syncing(&self) {}

    /// Whether to stop now; asked at least once per MiB.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Watches nothing.
impl Progress for () {}
