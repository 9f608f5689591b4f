//! What operations give back, as people and programs see it. Digests are hex, times RFC 3339, sizes bytes.

mod authority;
mod delivery;
mod ledger;
mod statements;
mod sticks;
mod upkeep;

pub use authority::{Officer, OwnCard, Trusted, TrustedTsa};
pub use delivery::{
    Cap, Carried, Delivery, NotReceived, Pace, Received, Road, SessionWaits, Transfer, TransferState, TriedSoFar,
};
pub use ledger::{
    Audited, Checked, CheckedContent, Compared, Cosigner, Damaged, HeldCheckpoint, HeldState, LedgerHead, Resumed,
    Stamp, StampedBy,
};
pub use statements::{Bounded, CameToBe, Sealed, Shown, StatementLine, Text, Written};
pub use sticks::{UsbProblem, UsbRead, UsbReceived, UsbWritten};
pub use upkeep::{BackedUp, Check, Diagnosis, Restored, Standing, Succeeded};
