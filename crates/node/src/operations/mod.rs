//! Everything that a node can be asked to do: one type per operation, its work below it.

mod answer;
pub mod answers;
mod audit;
pub(crate) mod authority;
mod backup;
mod chain;
mod disclose;
mod doctor;
mod event;
mod export;
mod inbox;
mod label;
mod ledger;
mod metrics;
mod prove;
mod queue;
mod rebuilding;
mod records;
mod seal;
mod send;
mod sheets;
mod succeed;
mod templates;
mod travel;
mod tsa;
mod usb;
mod which;

pub use answer::{Accept, Refuse};
pub use audit::{Audit, audit};
pub(crate) use authority::own_card;
pub use authority::{Card, OfficerAdd, TrustAdd, TrustExport, TrustList};
pub use backup::{Backup, restore};
pub use chain::{Chain, ChainShown};
pub use disclose::{Disclose, Disclosed, Echo, WithheldLine, heads};
pub use doctor::Doctor;
pub use event::{ACTIONS, Action, Event};
pub use export::Export;
pub use inbox::{Inbox, Show};
pub use label::{Label, Labelled};
pub use ledger::{LedgerCheckpoint, LedgerFsck, LedgerFsckStop, LedgerList, LedgerProve, LedgerShow, LedgerTimestamp};
pub use metrics::Metrics;
pub(crate) use metrics::scrape;
pub use prove::Prove;
pub use queue::{Order, Queue, QueueCap, QueueDeadline, QueueLimit, QueueOrder, QueueVia, QueueWhy};
pub use records::{FieldShown, RecordShown, RecordsAbout, RecordsList, RecordsPage};
pub use seal::Seal;
pub use send::{Send, Terms};
pub use succeed::{Succession, succeed};
pub use templates::{Templates, records_templates};
pub use travel::QueueWatch;
pub use tsa::TrustTsa;
pub use usb::{UsbRead, UsbWrite};

use serde::{Deserialize, Serialize};

/// The person who decides.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Decider {
    /// The officer's pseudonym; the only one there is when nobody is named.
    pub officer: Option<String>,
    /// What the officer's key lies under.
    pub passphrase: Option<String>,
}
