//! What a recipient answers to a release: `consignment`, `receipt`, `refusal`, `acceptance` (docs/spec/bodies.md).

use super::values::{Coded, Take, Text, codes_json, items_json};
use crate::Hash;
use crate::error::Malformed;
use crate::json::{Json, Members};
use crate::ranges::Items;
use crate::text::Word;

/// "I hold this release and accept its conditions; content awaited." Accepting is the meaning of the kind, no member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consignment {
    /// The release, by its digest; an honest one equals the head's `in_reply_to`.
    pub release: Hash,
}

impl Consignment {
    pub(crate) fn read(mut members: Members) -> Result<Self, Malformed> {
        let value = Self { release: members.hash("release")? };
        members.end()?;
        Ok(value)
    }

    pub(crate) fn json(&self) -> Json {
        Json::object([("release", Json::string(self.release))])
    }
}

/// "All of it is here, each byte proven against the manifest, durable."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The release, by its digest; an honest one equals the head's `in_reply_to`.
    pub release: Hash,
    /// Which records.
    pub items: Items,
    /// The sum of `size` over the file records among them, each once.
    pub bytes: u64,
    /// What was noticed, at most 100.
    pub findings: Vec<Coded>,
}

impl Receipt {
    pub(crate) fn read(mut members: Members) -> Result<Self, Malformed> {
        let value = Self {
            release: members.hash("release")?,
            items: members.items("items")?,
            bytes: members.decimal("bytes")?,
            findings: members.codes("findings", 0)?,
        };
        members.end()?;
        Ok(value)
    }

    pub(crate) fn json(&self) -> Json {
        Json::object([
            ("release", Json::string(self.release)),
            ("items", items_json(&self.items)),
            ("bytes", Json::string(self.bytes)),
            ("findings", codes_json(&self.findings)),
        ])
    }
}

/// "I do not take it": nothing is rejected in silence. `in_reply_to` names what is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which records.
    pub items: Items,
    /// Why, 1 to 100.
    pub reasons: Vec<Coded>,
}

impl Refusal {
    pub(crate) fn read(mut members: Members) -> Result<Self, Malformed> {
        let value = Self { items: members.items("items")?, reasons: members.codes("reasons", 1)? };
        members.end()?;
        Ok(value)
    }

    pub(crate) fn json(&self) -> Json {
        Json::object([("items", items_json(&self.items)), ("reasons", codes_json(&self.reasons))])
    }
}

/// "A person here takes it." `in_reply_to` names the release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    /// Which records.
    pub items: Items,
    /// On what conditions, at most 100.
    pub conditions: Vec<Coded>,
    /// The bag seals that were seen, at most 1000.
    pub seals: Vec<BagSeal>,
}

/// A physical seal on a bag or box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BagSeal {
    /// What is printed on it.
    pub number: Text,
    /// How it was found, such as `intact`.
    pub state: Word,
}

impl BagSeal {
    /// The most of them in one acceptance.
    pub const MOST: usize = 1000;

    fn read(mut members: Members) -> Result<Self, Malformed> {
        let value = Self { number: members.text("number")?, state: members.word("state")? };
        members.end()?;
        Ok(value)
    }

    fn json(&self) -> Json {
        Json::object([("number", Json::string(&self.number)), ("state", Json::string(&self.state))])
    }
}

impl Acceptance {
    pub(crate) fn read(mut members: Members) -> Result<Self, Malformed> {
        let value = Self {
            items: members.items("items")?,
            conditions: members.codes("conditions", 0)?,
            seals: members.objects("seals", 0, BagSeal::MOST, BagSeal::read)?,
        };
        members.end()?;
        Ok(value)
    }

    pub(crate) fn json(&self) -> Json {
        Json::object([
            ("items", items_json(&self.items)),
            ("conditions", codes_json(&self.conditions)),
            ("seals", Json::Array(self.seals.iter().map(BagSeal::json).collect())),
        ])
    }
}
