//! The bodies of statements, one type per kind, each member by member (docs/spec/bodies.md).
//!
//! A body is read in one order and printed in the same; unknown, missing and repeated members are refused. A kind that
//! this program does not know keeps its body as it is: any object.

mod card;
mod delegation;
mod disclosure;
mod erasure;
mod event;
mod handover;
mod meeting;
mod release;
mod revocation;
mod seal;
pub(crate) mod values;
mod words;

pub use card::{Address, Card, CardKeys, CardLedger, DisplayName, KeyWindow, Keys};
pub use delegation::{Delegation, Holder};
pub use disclosure::{DisclosureStatement, WithholdingHead};
pub use erasure::{Erasure, Order};
pub use event::{Event, EventTime, NamedValue};
pub use handover::{Acceptance, BagSeal, Consignment, Receipt, Refusal};
pub use meeting::{Channel, Meeting};
pub use release::{Limits, Onward, Originator, Recipient, Release};
pub use revocation::Revocation;
pub use seal::{Seal, Unread};
pub use values::{Coded, Text};
pub use words::{Language, State};

use crate::Hash;
use crate::error::Malformed;
use crate::json::{Json, Members};
use crate::kind::Kind;
use crate::ranges::Items;
use crate::statement::StatementError;

/// What a statement says, by kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// An authority's keys, names, ledgers and addresses.
    Card(Box<Card>),
    /// A key for an officer or a device.
    Delegation(Delegation),
    /// The end of a key.
    Revocation(Revocation),
    /// Whom the authority met.
    Meeting(Meeting),
    /// An authority's word for a manifest root.
    Seal(Seal),
    /// What was done to which items.
    Event(Event),
    /// "I hand this over."
    Release(Box<Release>),
    /// "I have the manifest; content awaited."
    Consignment(Consignment),
    /// "I hold it all."
    Receipt(Receipt),
    /// "I do not take it."
    Refusal(Refusal),
    /// "A person here takes it."
    Acceptance(Acceptance),
    /// What is withheld, under which head.
    Disclosure(DisclosureStatement),
    /// What was destroyed, by whose order.
    Erasure(Erasure),
    /// The body of a kind that this program does not know: an object.
    Unknown(Json),
}

impl Body {
    /// Reads the body of a kind; `place` is where it stands in what is read, for errors.
    pub(crate) fn read(kind: &Kind, value: Json, what: &'static str, place: &str) -> Result<Self, StatementError> {
        if let (Kind::Unknown(_), Json::Object(_)) = (kind, &value) {
            return Ok(Self::Unknown(value));
        }
        let members = Members::of(value, what, place)?;
        Ok(match kind {
            Kind::Card => Self::Card(Box::new(Card::read(members)?)),
            Kind::Delegation => Self::Delegation(Delegation::read(members)?),
            Kind::Revocation => Self::Revocation(Revocation::read(members)?),
            Kind::Meeting => Self::Meeting(Meeting::read(members)?),
            Kind::Seal => Self::Seal(Seal::read(members)?),
            Kind::Event => Self::Event(Event::read(members)?),
            Kind::Release => Self::Release(Box::new(Release::read(members)?)),
            Kind::Consignment => Self::Consignment(Consignment::read(members)?),
            Kind::Receipt => Self::Receipt(Receipt::read(members)?),
            Kind::Refusal => Self::Refusal(Refusal::read(members)?),
            Kind::Acceptance => Self::Acceptance(Acceptance::read(members)?),
            Kind::Disclosure => Self::Disclosure(DisclosureStatement::read(members)?),
            Kind::Erasure => Self::Erasure(Erasure::read(members)?),
            Kind::Unknown(_) => return Err(Malformed::new(what, place, "an object", "another value").into()),
        })
    }

    /// Reads a body that stands alone, in exact print, as the examples of docs/spec/bodies.md do.
    ///
    /// # Errors
    /// [`StatementError`] as [`crate::statement::Statement::parse`] gives it for the body of a statement.
    pub fn parse(kind: &Kind, bytes: &[u8]) -> Result<Self, StatementError> {
        let value = crate::json::parse_exact("body", bytes)?;
        Self::read(kind, value, "body", "")
    }

    /// The body as JSON, members in their order.
    pub fn json(&self) -> Json {
        match self {
            Self::Card(body) => body.json(),
            Self::Delegation(body) => body.json(),
            Self::Revocation(body) => body.json(),
            Self::Meeting(body) => body.json(),
            Self::Seal(body) => body.json(),
            Self::Event(body) => body.json(),
            Self::Release(body) => body.json(),
            Self::Consignment(body) => body.json(),
            Self::Receipt(body) => body.json(),
            Self::Refusal(body) => body.json(),
            Self::Acceptance(body) => body.json(),
            Self::Disclosure(body) => body.json(),
            Self::Erasure(body) => body.json(),
            Self::Unknown(value) => value.clone(),
        }
    }

    /// The kind whose body it is; `None` for a body of an unknown kind, which does not say.
    pub fn kind(&self) -> Option<Kind> {
        Some(match self {
            Self::Card(_) => Kind::Card,
            Self::Delegation(_) => Kind::Delegation,
            Self::Revocation(_) => Kind::Revocation,
            Self::Meeting(_) => Kind::Meeting,
            Self::Seal(_) => Kind::Seal,
            Self::Event(_) => Kind::Event,
            Self::Release(_) => Kind::Release,
            Self::Consignment(_) => Kind::Consignment,
            Self::Receipt(_) => Kind::Receipt,
            Self::Refusal(_) => Kind::Refusal,
            Self::Acceptance(_) => Kind::Acceptance,
            Self::Disclosure(_) => Kind::Disclosure,
            Self::Erasure(_) => Kind::Erasure,
            Self::Unknown(_) => return None,
        })
    }

    /// Which records it speaks of, if its kind says so.
    pub fn items(&self) -> Option<&Items> {
        match self {
            Self::Event(body) => Some(&body.items),
            Self::Release(body) => Some(&body.items),
            Self::Receipt(body) => Some(&body.items),
            Self::Refusal(body) => Some(&body.items),
            Self::Acceptance(body) => Some(&body.items),
            _ => None,
        }
    }

    /// The release that it names in its body: a consignment's or a receipt's.
    pub fn release(&self) -> Option<Hash> {
        match self {
            Self::Consignment(body) => Some(body.release),
            Self::Receipt(body) => Some(body.release),
            _ => None,
        }
    }
}
