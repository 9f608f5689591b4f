//! The head: the same in every kind for ever, so that kinds of the future are still walked (docs/spec/statement.md).

use super::StatementId;
use crate::body::values::Take;
use crate::error::Malformed;
use crate::json::{Json, Members};
use crate::key::KeyId;
use crate::kind::{Kind, PackageRule};
use crate::text::{Code, Label, LedgerName, Time};
use crate::{Hash, limits};

/// The scheme of every manifest of version 1.
pub const MANIFEST_SCHEME: &str = "custodia/manifest/v1";

/// Who says it, where it is logged, who signed, what it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// What is said.
    pub kind: Kind,
    /// 128 random bits.
    pub id: StatementId,
    /// The authority that says it.
    pub issuer: Issuer,
    /// Where it is logged; the custodian is this ledger.
    pub ledger: LedgerName,
    /// The person who decided, as a pseudonym; `None` for a machine's act.
    pub officer: Option<Code>,
    /// The keys that sign, ascending, 1 to 8. [`super::Statement::sign`] fills them.
    pub signers: Vec<KeyId>,
    /// The issuer's clock: a claim, it bounds nothing.
    pub issued_at: Time,
    /// SHA-256 of a whole checkpoint note, signature lines included, that existed before.
    pub not_before: Option<Hash>,
    /// The digest of the statement that this one answers.
    pub in_reply_to: Option<Hash>,
    /// The package it speaks of.
    pub package: Option<Package>,
    /// Its number among the package's statements in this custodian's ledger; `None` exactly when there is no package.
    pub sequence: Option<u64>,
    /// The link of the statement before it; `None` without a package and at number 0.
    pub previous: Option<Hash>,
    /// The manifest of its own values that may have to be withheld.
    pub annex: Option<Annex>,
}

/// The authority that makes a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Its name; identity is the root key, never this.
    pub name: Label,
    /// The digest of the card under which it speaks; `None` only in a card with number 1.
    pub card: Option<Hash>,
}

/// A package, by its manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Package {
    /// How many records it has, 1 to [`limits::RECORDS`].
    pub records: u64,
    /// The manifest's root: the package's identity.
    pub root: Hash,
}

/// An annex, by its manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Annex {
    /// How many records it has, 1 to [`limits::RECORDS`].
    pub records: u64,
    /// Its root.
    pub root: Hash,
}

impl Head {
    /// Reads the head off the front of a payload; the member `body` is left.
    pub(crate) fn read(members: &mut Members) -> Result<Self, Malformed> {
        Ok(Self {
            kind: members.read("type", "custodia/<kind>/v<version>", Kind::from_statement_type)?,
            id: members.read("id", "22 characters of base64url", StatementId::parse)?,
            issuer: Issuer::read(members.object("issuer")?)?,
            ledger: members.ledger("ledger")?,
            officer: members.optional_code("officer")?,
            signers: read_signers(members)?,
            issued_at: members.time("issued_at")?,
            not_before: members.optional_hash("not_before")?,
            in_reply_to: members.optional_hash("in_reply_to")?,
            package: members.optional_object("package")?.map(Package::read).transpose()?,
            sequence: members.read_optional("sequence", "a decimal or null", crate::text::decimal)?,
            previous: members.optional_hash("previous")?,
            annex: members.optional_object("annex")?.map(Annex::read).transpose()?,
        })
    }

    /// The members of the head, in order; the body's comes after them.
    pub(crate) fn members(&self) -> Vec<(String, Json)> {
        let members = [
            ("type", Json::string(self.kind.statement_type())),
            ("id", Json::string(self.id)),
            ("issuer", self.issuer.json()),
            ("ledger", Json::string(&self.ledger)),
            ("officer", Json::optional(self.officer.as_ref())),
            ("signers", Json::strings(&self.signers)),
            ("issued_at", Json::string(self.issued_at)),
            ("not_before", Json::optional(self.not_before)),
            ("in_reply_to", Json::optional(self.in_reply_to)),
            ("package", self.package.as_ref().map_or(Json::Null, Package::json)),
            ("sequence", Json::optional(self.sequence)),
            ("previous", Json::optional(self.previous)),
            ("annex", self.annex.as_ref().map_or(Json::Null, Annex::json)),
        ];
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// What hangs together inside a head, whatever its body says.
    pub(crate) fn check(&self) -> Result<(), Malformed> {
        let refuse =
            |place: &str, expected: &str, found: &str| Err(Malformed::new(super::WHAT, place, expected, found));
        match (self.kind.package(), self.package) {
            (PackageRule::Never, Some(_)) => return refuse("package", "null in this kind", "a package"),
            (PackageRule::Always, None) => return refuse("package", "a package in this kind", "null"),
            _ => {}
        }
        match (self.package, self.sequence, self.previous) {
            (None, None, None) | (Some(_), Some(0), None) | (Some(_), Some(1..), Some(_)) => Ok(()),
            (None, None, Some(_)) | (Some(_), Some(0), Some(_)) => {
                refuse("previous", "null without a package and at number 0", "a link")
            }
            (Some(_), Some(1..), None) => refuse("previous", "the link of the statement before", "null"),
            (None, Some(_), _) => refuse("sequence", "null without a package", "a number"),
            (Some(_), None, _) => refuse("sequence", "a number for a package", "null"),
        }
    }
}

impl Issuer {
    fn read(mut members: Members) -> Result<Self, Malformed> {
        let value = Self { name: members.label("name")?, card: members.optional_hash("card")? };
        members.end()?;
        Ok(value)
    }

    fn json(&self) -> Json {
        Json::object([("name", Json::string(&self.name)), ("card", Json::optional(self.card))])
    }
}

impl Package {
    /// Reads `{"scheme","records","root"}`.
    pub(crate) fn read(mut members: Members) -> Result<Self, Malformed> {
        members.read("scheme", MANIFEST_SCHEME, |text| (text == MANIFEST_SCHEME).then_some(()))?;
        let value = Self { records: read_records(&mut members)?, root: members.hash("root")? };
        members.end()?;
        Ok(value)
    }

    /// Prints what [`Package::read`] reads.
    pub(crate) fn json(&self) -> Json {
        Json::object([
            ("scheme", Json::string(MANIFEST_SCHEME)),
            ("records", Json::string(self.records)),
            ("root", Json::string(self.root)),
        ])
    }
}

impl Annex {
    /// Reads `{"records","root"}`.
    pub(crate) fn read(mut members: Members) -> Result<Self, Malformed> {
        let value = Self { records: read_records(&mut members)?, root: members.hash("root")? };
        members.end()?;
        Ok(value)
    }

    /// Prints what [`Annex::read`] reads.
    pub(crate) fn json(&self) -> Json {
        Json::object([("records", Json::string(self.records)), ("root", Json::string(self.root))])
    }
}

fn read_records(members: &mut Members) -> Result<u64, Malformed> {
    members.read("records", "1 to 1000000", |text| {
        crate::text::decimal(text).filter(|n| (1..=limits::RECORDS).contains(n))
    })
}

fn read_signers(members: &mut Members) -> Result<Vec<KeyId>, Malformed> {
    let expected = "64 lowercase hex digits";
    let signers = members.strings("signers", 1, limits::ENVELOPE_SIGNATURES, expected, Hash::from_hex)?;
    let ascend = signers.iter().zip(signers.iter().skip(1)).all(|(one, next)| one < next);
    if !ascend {
        return Err(members.wrong("signers", "key ids ascending, none twice", "another order"));
    }
    Ok(signers.into_iter().map(KeyId).collect())
}
