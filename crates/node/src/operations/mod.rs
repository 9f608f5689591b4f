//! Everything that a node can be asked to do: one type per operation, its work below it.

pub mod answers;
pub(crate) mod authority;
mod doctor;
mod hand_over;
mod ledger;
mod prove;
mod seal;

pub(crate) use authority::own_card;
pub use authority::{Card, OfficerAdd, TrustAdd, TrustExport, TrustList};
pub use doctor::Doctor;
pub use hand_over::{Accept, Inbox, Queue, Refuse, Send, Show};
pub use ledger::{LedgerCheckpoint, LedgerFsck, LedgerList, LedgerProve, LedgerShow};
pub use prove::{Export, Prove};
pub use seal::Seal;
