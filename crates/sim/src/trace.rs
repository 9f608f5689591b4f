//! What happened in a run, line by line: hashed always, printed when somebody asks.

use sha2::{Digest, Sha256};

/// The trace of one run.
#[derive(Debug)]
pub(crate) struct Trace {
    hasher: Sha256,
    prints: bool,
    lines: u64,
}

impl Trace {
    pub(crate) fn new(prints: bool) -> Self {
        Self { hasher: Sha256::new(), prints, lines: 0 }
    }

    /// Adds a line.
    pub(crate) fn line(&mut self, now: u64, text: &str) {
        if self.prints {
            println!("{:>9}.{:03} {text}", now / 1000, now % 1000);
        }
        self.lines += 1;
        self.hasher.update(now.to_be_bytes());
        self.hasher.update(text.as_bytes());
        self.hasher.update(b"\n");
    }

    pub(crate) const fn lines(&self) -> u64 {
        self.lines
    }

    /// The hash of all of it.
    pub(crate) fn hash(&self) -> String {
        self.hasher.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
