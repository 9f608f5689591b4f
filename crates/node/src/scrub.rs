//! Reading back what lies at rest: on demand (`custodia ledger fsck --bytes`), and by itself while the node serves.
//!
//! This file owns who reads back now; below it are what is remembered of it ([`record`]), what must be here and who needs
//! it ([`shelves`]), the check that a person asks for ([`check`]) and the rounds that nobody asks for ([`rounds`]). It
//! refuses to repair by guessing: midstates follow from the bytes and are written anew, everything else is told and stays
//! where it is, for it may be the only copy.
//!
//! Invariants:
//! - What is told as checked was read from the disk to its end and hashed.
//! - Damage that was told stays told (`desk/damaged`, `custodia doctor`) until the same file was read whole.

pub(crate) mod check;
pub(crate) mod record;
mod rounds;
mod shelves;

pub(crate) use rounds::Scrub;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use custodia_vault::Found;

use crate::Node;
use crate::failure::{Code, Failure};

/// Who reads back now.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    is_checking: AtomicBool,
    stop: AtomicBool,
    /// Held while `desk/damaged` is changed.
    damaged: Mutex<()>,
}

/// The right to be the one check of a node that reads all bytes.
#[derive(Debug)]
pub(crate) struct Checking<'a>(&'a Rest);

impl Rest {
    /// Begins a check, unless one runs.
    pub(crate) fn begin(&self) -> Result<Checking<'_>, Failure> {
        if self.is_checking.swap(true, Ordering::AcqRel) {
            return Err(Failure::new(Code::Busy, "Another check reads all bytes of this node.")
                .safe("That one goes on.")
                .next("wait until it ends, then run the same command"));
        }
        self.stop.store(false, Ordering::Release);
        Ok(Checking(self))
    }

    /// Tells the check that runs, if one does, to stop.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    fn damaged(&self) -> MutexGuard<'_, ()> {
        // The file is replaced whole: whoever panicked left the old list or the new one.
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Checking<'_> {
    /// Whether it was told to stop.
    pub(crate) fn is_told_to_stop(&self) -> bool {
        self.0.stop.load(Ordering::Acquire)
    }
}

impl Drop for Checking<'_> {
    fn drop(&mut self) {
        self.0.is_checking.store(false, Ordering::Release);
    }
}

/// How much lies in `objects/`.
#[derive(Debug, Clone, Copy, Default)]
struct Amount {
    objects: u64,
    bytes: u64,
}

impl Amount {
    /// Counts it by the lengths of the files; `goes_on` is asked at each.
    fn of(node: &Node, goes_on: &dyn Fn() -> Result<(), Failure>) -> Result<Self, Failure> {
        let mut amount = Self::default();
        for found in node.vault().items() {
            goes_on()?;
            if let Found::Item { size, .. } = found? {
                amount.objects += 1;
                amount.bytes = amount.bytes.saturating_add(size);
            }
        }
        Ok(amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_check_at_a_time_and_a_stop_is_for_the_one_that_runs() {
        let rest = Rest::default();
        let first = rest.begin().unwrap();
        assert_eq!(rest.begin().unwrap_err().code, Code::Busy);
        assert!(!first.is_told_to_stop());
        rest.stop();
        assert!(first.is_told_to_stop());
        drop(first);
        assert!(!rest.begin().unwrap().is_told_to_stop());
    }
}
