//! A deterministic simulator: the real core, ledger and vault of three to five nodes in one process, over a virtual
//! network, virtual disks and virtual clocks (docs/simulator.md).
//!
//! One seed is one run: the same seed on the same commit gives the same trace, event for event and disk call for disk
//! call. It decides nothing of the product; it owns what surrounds a node, does the worst to it that the fault model
//! allows, and checks the promises P1 to P10 at every step. For tests only: nothing that is shipped depends on it.

pub mod disk;
mod fetching;
mod grounds;
pub mod mix;
mod network;
mod promises;
pub mod random;
mod run;
mod station;
pub mod template;
mod trace;
mod trouble;
mod world;

pub use grounds::Grounds;
pub use run::{Outcome, Tally};
pub use template::Template;
