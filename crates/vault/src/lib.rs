//! The vault: the bytes of items by their digest, and how they come in (docs/spec/home.md).
//!
//! It owns `objects/`, `midstates/` and `incoming/` of a node's home: import from folders that may be hostile, transfers
//! that may break off at any moment, and the check of what lies at rest. It refuses to parse, render or judge content,
//! knows no statements, and reads no calendar: monotonic time decides when a transfer records, nothing else.
//!
//! Invariants:
//! - A file in `objects/` is complete and was durable before it got its name, which is its SHA-256.
//! - Sources are only read, and never through a link; no access time of theirs is changed where the system allows that.
//! - Nothing counts as proven before its bytes were hashed, and nothing as recorded before they were synced.

mod check;
mod copy;
mod home_lock;
mod import;
mod incoming;
mod item;
mod progress;
mod shelf;
mod source;
mod storage;
mod vault;
mod zeros;

pub use check::{CheckReport, Damage, Looked, MidstatesWere};
pub use home_lock::{HomeLock, LockError};
pub use import::{ImportError, Imported, ImportedFile};
pub use incoming::{Incoming, IncomingError, ItemPlan, MidstatesHere, Missing, PlanError, Stats, Taken};
pub use item::{Item, ItemError};
pub use progress::Progress;
pub use source::{Fault, Length, Plan, PlannedFile, Problem, Remark, RemarkKind, Seen, Special, Stamp};
pub use storage::StorageError;
pub use vault::{Found, Vault};
