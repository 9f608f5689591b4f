//! The kinds of statement, their names on the wire, and the table of who may sign which (docs/spec/statement.md).
//!
//! Verifier and node read one table, so that nothing is signed here that a court would refuse. A kind of a later
//! version is [`Kind::Unknown`]: its head and signatures are still checked.

use std::fmt;

use crate::body::Refusal;

/// What a statement is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An authority's keys, names, ledgers and addresses.
    Card,
    /// A key for an officer or a device.
    Delegation,
    /// The end of a key.
    Revocation,
    /// Whom the authority met, and how it knows their root key.
    Meeting,
    /// An authority's word for a manifest root.
    Seal,
    /// What was done to which items.
    Event,
    /// "I hand this over."
    Release,
    /// "I have the manifest and accept the conditions; content awaited."
    Consignment,
    /// "I hold it all, and it is what was released."
    Receipt,
    /// "I do not take it", with reasons.
    Refusal,
    /// "A person here takes it."
    Acceptance,
    /// What is withheld from whom, and under which head.
    Disclosure,
    /// What was destroyed, and by whose order.
    Erasure,
    /// A kind or version that this program does not know.
    Unknown(UnknownKind),
}

/// A kind that is none of the thirteen of version 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnknownKind {
    name: String,
    version: u16,
}

/// Which keys must and may sign a kind (docs/spec/statement.md, "Who signs").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signers {
    /// Only the root in force, and a new root beside the old in a card that changes it.
    Root,
    /// At least one statement key and at least one officer, nobody else.
    StatementAndOfficer,
    /// Statement keys, nobody else.
    StatementOnly,
    /// At least one statement key; officers may sign too.
    StatementOfficerAllowed,
    /// Any key that the issuer's chain of cards knows.
    AnyKnown,
}

/// What a key that signed is, by the card or the delegation that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// A root key of a card.
    Root,
    /// A statement key of a card.
    Statement,
    /// A transport key of a card; it signs no kind of version 1.
    Transport,
    /// A witness key of a card; it signs no kind of version 1.
    Witness,
    /// A ledger's key of a card; it signs no kind of version 1.
    Ledger,
    /// An officer's key of a delegation.
    Officer,
    /// A device's key of a delegation; it signs no kind of version 1.
    Device,
}

/// Whether a kind speaks of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageRule {
    /// Its head has no package.
    Never,
    /// Its head has a package.
    Always,
    /// Its head may have one.
    Either,
}

/// Reasons for which the statement key alone may refuse: what a machine can decide.
pub const MACHINE_REASONS: [&str; 8] =
    ["quota", "busy", "size", "not-for-us", "unknown-recipient", "bad-signature", "limits", "expired"];

/// One line a known kind: what it is called, who signs it, whether it has a package.
const RULES: [(Kind, &str, Signers, PackageRule); 13] = [
    (Kind::Card, "card", Signers::Root, PackageRule::Never),
    (Kind::Delegation, "delegation", Signers::Root, PackageRule::Never),
    (Kind::Revocation, "revocation", Signers::Root, PackageRule::Never),
    (Kind::Meeting, "meeting", Signers::Root, PackageRule::Never),
    (Kind::Seal, "seal", Signers::StatementAndOfficer, PackageRule::Always),
    (Kind::Event, "event", Signers::StatementOfficerAllowed, PackageRule::Always),
    (Kind::Release, "release", Signers::StatementAndOfficer, PackageRule::Always),
    (Kind::Consignment, "consignment", Signers::StatementOnly, PackageRule::Always),
    (Kind::Receipt, "receipt", Signers::StatementOnly, PackageRule::Always),
    (Kind::Refusal, "refusal", Signers::StatementOfficerAllowed, PackageRule::Always),
    (Kind::Acceptance, "acceptance", Signers::StatementAndOfficer, PackageRule::Always),
    (Kind::Disclosure, "disclosure", Signers::StatementAndOfficer, PackageRule::Always),
    // A delegation has no package, and the person in its annex may have to be erased all the same.
    (Kind::Erasure, "erasure", Signers::StatementAndOfficer, PackageRule::Either),
];

impl Kind {
    /// The thirteen kinds of version 1, in the order of docs/spec/bodies.md.
    pub fn known() -> impl Iterator<Item = Self> {
        RULES.iter().map(|(kind, ..)| kind.clone())
    }

    /// Reads the name and version of a kind: `[a-z]{1,32}` and 1 to 9999.
    pub fn new(name: &str, version: u16) -> Option<Self> {
        let name_fits = (1..=32).contains(&name.len()) && name.bytes().all(|c| c.is_ascii_lowercase());
        if !name_fits || !(1..=9999).contains(&version) {
            return None;
        }
        let known = RULES.iter().find(|(_, known, ..)| *known == name && version == 1);
        Some(
            known.map_or_else(
                || Self::Unknown(UnknownKind { name: name.to_owned(), version }),
                |(kind, ..)| kind.clone(),
            ),
        )
    }

    /// Reads the `type` of a payload, `custodia/<kind>/v<version>`.
    pub fn from_statement_type(text: &str) -> Option<Self> {
        let (name, version) = text.strip_prefix("custodia/")?.split_once("/v")?;
        Self::new(name, version_number(version)?)
    }

    /// Reads the `payloadType` of an envelope, `application/vnd.custodia.<kind>.v<version>+json`.
    pub fn from_payload_type(text: &str) -> Option<Self> {
        let (name, version) = text.strip_prefix(MEDIA_PREFIX)?.strip_suffix(MEDIA_SUFFIX)?.split_once(".v")?;
        Self::new(name, version_number(version)?)
    }

    /// The kind's name without its version, such as `seal`.
    pub fn name(&self) -> &str {
        match self {
            Self::Unknown(unknown) => &unknown.name,
            known => known.rule().1,
        }
    }

    /// The kind's version.
    pub fn version(&self) -> u16 {
        if let Self::Unknown(unknown) = self { unknown.version } else { 1 }
    }

    /// Whether this program knows the kind's body.
    pub fn is_known(&self) -> bool {
        !matches!(self, Self::Unknown(_))
    }

    /// The `type` of its payloads, such as `custodia/seal/v1`.
    pub fn statement_type(&self) -> String {
        format!("custodia/{}/v{}", self.name(), self.version())
    }

    /// The `payloadType` of its envelopes, such as `application/vnd.custodia.seal.v1+json`.
    pub fn payload_type(&self) -> String {
        format!("{MEDIA_PREFIX}{}.v{}{MEDIA_SUFFIX}", self.name(), self.version())
    }

    /// Which keys must and may sign it.
    pub fn signers(&self) -> Signers {
        self.rule().2
    }

    /// Whether it has a package.
    pub fn package(&self) -> PackageRule {
        self.rule().3
    }

    /// Whether the root signs it: card, delegation, revocation, meeting.
    pub fn is_root_kind(&self) -> bool {
        self.signers() == Signers::Root
    }

    fn rule(&self) -> (&Self, &'static str, Signers, PackageRule) {
        RULES
            .iter()
            .find(|(kind, ..)| kind == self)
            .map_or((self, "", Signers::AnyKnown, PackageRule::Either), |(kind, name, signers, package)| {
                (kind, *name, *signers, *package)
            })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        if self.version() == 1 { Ok(()) } else { write!(f, "/v{}", self.version()) }
    }
}

impl Signers {
    /// Whether the keys that signed, given by what each is, are the ones this rule asks for.
    ///
    /// What a refusal asks besides is told by [`Refusal::is_machines`]; [`crate::statement::Statement::permits`] joins
    /// both.
    #[must_use]
    pub fn permits(self, signed: &[Purpose]) -> bool {
        let some = |purpose| signed.contains(&purpose);
        let only = |allowed: &[Purpose]| signed.iter().all(|purpose| allowed.contains(purpose));
        match self {
            Self::Root => some(Purpose::Root) && only(&[Purpose::Root]),
            Self::StatementAndOfficer => {
                some(Purpose::Statement) && some(Purpose::Officer) && only(&[Purpose::Statement, Purpose::Officer])
            }
            Self::StatementOnly => some(Purpose::Statement) && only(&[Purpose::Statement]),
            Self::StatementOfficerAllowed => some(Purpose::Statement) && only(&[Purpose::Statement, Purpose::Officer]),
            Self::AnyKnown => !signed.is_empty(),
        }
    }
}

impl Refusal {
    /// Whether every reason is one that a machine may give ([`MACHINE_REASONS`]): only then may the statement key
    /// refuse without an officer.
    #[must_use]
    pub fn is_machines(&self) -> bool {
        self.reasons.iter().all(|reason| MACHINE_REASONS.contains(&reason.code.as_str()))
    }
}

const MEDIA_PREFIX: &str = "application/vnd.custodia.";
const MEDIA_SUFFIX: &str = "+json";

/// Reads `[1-9][0-9]{0,3}`.
fn version_number(text: &str) -> Option<u16> {
    crate::text::decimal(text).and_then(|n| u16::try_from(n).ok()).filter(|n| (1..=9999).contains(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_read_back() {
        for kind in Kind::known() {
            assert!(kind.is_known());
            assert_eq!(Kind::from_statement_type(&kind.statement_type()), Some(kind.clone()));
            assert_eq!(Kind::from_payload_type(&kind.payload_type()), Some(kind));
        }
        let later = Kind::from_payload_type("application/vnd.custodia.seal.v2+json").unwrap();
        assert!(!later.is_known());
        assert_eq!((later.name(), later.version(), later.to_string().as_str()), ("seal", 2, "seal/v2"));
        assert_eq!(later.statement_type(), "custodia/seal/v2");
        assert_eq!(later.signers(), Signers::AnyKnown);
        for bad in ["custodia/seal/v0", "custodia/seal/v01", "custodia/Seal/v1", "custodia/seal/v10000", "seal/v1"] {
            assert_eq!(Kind::from_statement_type(bad), None, "{bad}");
        }
        for bad in ["application/vnd.custodia.seal.v1", "application/vnd.custodia..v1+json", "text/plain"] {
            assert_eq!(Kind::from_payload_type(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_table_of_signers_is_what_the_document_says() {
        use Purpose::{Device, Officer, Root, Statement, Transport};
        let cases: [(&str, &[Purpose], bool); 22] = [
            ("card", &[Root], true),
            ("card", &[Root, Root], true),
            ("card", &[Root, Statement], false),
            ("delegation", &[Statement], false),
            ("delegation", &[Root], true),
            ("seal", &[Statement], false),
            ("seal", &[Officer], false),
            ("seal", &[Statement, Officer], true),
            ("seal", &[Statement, Officer, Officer], true),
            ("seal", &[Statement, Officer, Root], false),
            ("seal", &[Statement, Officer, Device], false),
            ("event", &[Statement], true),
            ("event", &[Statement, Officer], true),
            ("event", &[Officer], false),
            ("consignment", &[Statement], true),
            ("consignment", &[Statement, Officer], false),
            ("receipt", &[Statement, Statement], true),
            ("acceptance", &[Statement, Officer], true),
            ("erasure", &[Statement], false),
            ("notice", &[Device], true),
            ("notice", &[Transport], true),
            ("notice", &[], false),
        ];
        for (name, signed, permitted) in cases {
            assert_eq!(Kind::new(name, 1).unwrap().signers().permits(signed), permitted, "{name} {signed:?}");
        }
    }
}
