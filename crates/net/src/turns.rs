//! Whose content comes in next, where one peer hands over several packages on one connection (docs/spec/wire.md §5).
//!
//! All of them are announced and consigned at once, and their documents come at once: they are small, and from then on the
//! other authority's ledger has them. Content takes turns: a few large packages beside each other, so that each moves; and
//! small ones on places of their own, so that none waits for a large one.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::pace::Pace;

/// Content of a package that counts as small, in bytes.
pub(crate) const SMALL_BYTES: u64 = 8 << 20;
/// Items of a package that may count as small: whoever looks at more has a table of them in memory.
pub(crate) const SMALL_RECORDS: u64 = 1024;
/// Small packages whose content travels at once.
const SMALL: usize = 8;
/// Other packages whose content travels at once.
const LARGE: usize = 4;
/// Batches under way beside the one that each package always has.
const EXTRA: usize = 3;

/// What the transfers to us on one connection share.
#[derive(Debug)]
pub(crate) struct Turns {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
    extra: Arc<Semaphore>,
    /// What came in on all data streams.
    pub(crate) pace: Arc<Pace>,
}

/// Which place a package's content takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    Small,
    Large,
}

/// A place, given back when it is dropped.
pub(crate) type Place = OwnedSemaphorePermit;

impl Default for Turns {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { small: places(SMALL), large: places(LARGE), extra: places(EXTRA), pace: Arc::default() }
    }
}

impl Turns {
    /// Waits for a place; who came first goes first.
    pub(crate) async fn place(&self, weight: Weight) -> Place {
        let places = match weight {
            Weight::Small => &self.small,
            Weight::Large => &self.large,
        };
        places.clone().acquire_owned().await.expect("nobody closes these semaphores")
    }

    /// A place for one more batch, if one is free now.
    pub(crate) fn extra(&self) -> Option<Place> {
        self.extra.clone().try_acquire_owned().ok()
    }
}
