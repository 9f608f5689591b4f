//! The few calls by which a node changes its disk.
//!
//! `vault`, `ledger` and `node` change what lies in a home through these calls alone, so that one place knows them all. Each
//! is the system's own call and nothing more. With the feature `watched`, which only the simulator switches on, each asks
//! first whether somebody watches the folder that it concerns ([`watch`]); where nobody does it is the same call.
//!
//! It refuses policy: what must be synced when, and what an error means, is the caller's. Reading is not its matter, and
//! neither is what is written outside of a home: proofs, sticks, backups, the socket.

mod file;
mod folder;
mod lasting;
#[cfg(feature = "watched")]
pub mod watch;

pub use file::File;
pub use folder::{make_folder, remove_file, remove_folder, rename, set_mode, sync_everything, sync_file, sync_folder};
#[cfg(feature = "watched")]
pub use lasting::forget;
pub use lasting::{lasts, when_synced};

#[cfg(feature = "watched")]
use watch::guard;

/// Whether calls that could be made at the same time must be made one after the other: whoever replays a run needs them in
/// one order. Never so in the shipped program.
#[must_use]
#[inline]
pub fn one_at_a_time() -> bool {
    #[cfg(feature = "watched")]
    return watch::is_watched();
    #[cfg(not(feature = "watched"))]
    false
}
