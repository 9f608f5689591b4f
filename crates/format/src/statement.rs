//! A statement: the head that every kind has, and the body of its kind (docs/spec/statement.md).
//!
//! Owns the payload's one spelling and the rules that hold inside one statement: type and `payloadType` agree, a
//! sequence exactly with a package, a card named except by a first card, ranges within the package. Refuses what needs
//! another statement to be known: which key is whose, whether a link closes, whether a time is true. Those are the
//! verifier's.

mod fault;
mod head;
mod id;

pub use fault::{KeyFault, StatementError};
pub use head::{Annex, Head, Issuer, MANIFEST_SCHEME, Package};
pub use id::StatementId;

use crate::body::{Body, Refusal};
use crate::envelope::Envelope;
use crate::error::Malformed;
use crate::json::{Json, Members, parse_exact, print_exact};
use crate::key::SigningKey;
use crate::kind::{Kind, Purpose};
use crate::link::link;
use crate::ranges::Items;
use crate::{Hash, limits};

/// What errors of this format name.
const WHAT: &str = "statement";

/// What one authority says, once, under its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The same members in every kind.
    pub head: Head,
    /// By kind.
    pub body: Body,
}

impl Statement {
    /// Reads the payload of an envelope. No signature is checked.
    ///
    /// # Errors
    /// [`StatementError::RefusedKey`] for a public key that is not canonical or of small order;
    /// [`StatementError::Malformed`] for anything else that [`Statement::payload`] would not print, and for members
    /// that contradict one another.
    pub fn parse(envelope: &Envelope) -> Result<Self, StatementError> {
        Self::parse_payload(envelope.kind(), envelope.payload())
    }

    /// Reads a payload that claims to be of this kind.
    ///
    /// # Errors
    /// As [`Statement::parse`].
    pub fn parse_payload(kind: &Kind, payload: &[u8]) -> Result<Self, StatementError> {
        #[cfg(feature = "remembered")]
        return crate::remembered::text(
            &crate::remembered::STATEMENTS,
            &[kind.statement_type().as_bytes(), &[0], payload],
            || Self::read(kind, payload),
        );
        #[cfg(not(feature = "remembered"))]
        Self::read(kind, payload)
    }

    fn read(kind: &Kind, payload: &[u8]) -> Result<Self, StatementError> {
        if payload.len() > limits::PAYLOAD_BYTES {
            let expected = format!("at most {} bytes", limits::PAYLOAD_BYTES);
            return Err(Malformed::new(WHAT, "", expected, payload.len().to_string()).into());
        }
        let mut members = Members::of(parse_exact(WHAT, payload)?, WHAT, "")?;
        let head = Head::read(&mut members)?;
        if head.kind != *kind {
            return Err(members.wrong("type", &kind.statement_type(), &head.kind.statement_type()).into());
        }
        let body = Body::read(kind, members.take("body")?, WHAT, "body")?;
        members.end()?;
        let statement = Self { head, body };
        statement.check()?;
        Ok(statement)
    }

    /// Prints the payload: what is signed.
    pub fn payload(&self) -> Vec<u8> {
        let mut members = self.head.members();
        members.push(("body".to_owned(), self.body.json()));
        print_exact(&Json::Object(members)).into_bytes()
    }

    /// Signs with 1 to 8 keys. The head's signers become these keys, in their order; what they were is of no account.
    ///
    /// Nothing is signed that [`Statement::parse`] or [`crate::body::Card::check`] would refuse. Whether these keys may
    /// sign this kind is not asked here: it depends on the cards ([`Statement::permits`]).
    ///
    /// # Errors
    /// [`StatementError`], when the statement would be refused by its readers. The caller's fault; nothing was signed.
    pub fn sign(&self, keys: &[&SigningKey]) -> Result<Envelope, StatementError> {
        let mut statement = self.clone();
        statement.head.signers = keys.iter().map(|key| key.public().key_id()).collect();
        statement.head.signers.sort();
        let payload = statement.payload();
        let read_back = Self::parse_payload(&statement.head.kind, &payload)?;
        if read_back != statement {
            let found = String::from_utf8_lossy(&payload).into_owned();
            return Err(Malformed::new(WHAT, "", "a statement that reads back as itself", found).into());
        }
        if let Body::Card(card) = &statement.body {
            card.check(&statement.head.issuer.name)?;
        }
        Ok(Envelope::sign(&statement.head.kind, payload, keys)?)
    }

    /// Whether the envelope's signatures are by exactly the signers that the head names.
    #[must_use]
    pub fn signers_agree(&self, envelope: &Envelope) -> bool {
        self.head.signers.iter().eq(envelope.signatures().iter().map(|(key_id, _)| key_id))
    }

    /// Whether keys of these purposes, all that signed, may sign this statement (docs/spec/statement.md, "Who signs").
    ///
    /// The kind's rule, and for a refusal without an officer, that every reason is one which a machine may give.
    #[must_use]
    pub fn permits(&self, signed: &[Purpose]) -> bool {
        let alone = !signed.contains(&Purpose::Officer);
        let machine = match &self.body {
            Body::Refusal(refusal) => !alone || Refusal::is_machines(refusal),
            _ => true,
        };
        machine && self.head.kind.signers().permits(signed)
    }

    /// The link of this statement, if it speaks of a package: what the next one's `previous` must be.
    pub fn link(&self, digest: &Hash) -> Option<Hash> {
        let number = self.head.sequence?;
        Some(link(number, &self.head.previous.unwrap_or(Hash::ZERO), digest))
    }

    /// What hangs together inside one statement.
    fn check(&self) -> Result<(), Malformed> {
        self.head.check()?;
        let refuse = |place: &str, expected: &str, found: String| Err(Malformed::new(WHAT, place, expected, found));
        let card = self.head.issuer.card;
        match &self.body {
            Body::Card(body) if body.previous != card => {
                return refuse("issuer.card", "the body's previous", format!("{card:?}"));
            }
            Body::Card(_) => {}
            _ if card.is_none() => return refuse("issuer.card", "the digest of a card", "null".to_owned()),
            _ => {}
        }
        match (self.body.items(), self.head.package) {
            (Some(Items::Some(ranges)), Some(package)) if ranges.last() >= Some(package.records) => {
                let expected = format!("record numbers below {}", package.records);
                refuse("body.items", &expected, ranges.last().map_or_else(String::new, |last| last.to_string()))
            }
            _ => Ok(()),
        }
    }
}
