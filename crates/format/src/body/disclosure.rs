//! `disclosure`: the signed word for what is withheld from a reader, and under which head (docs/spec/bodies.md).

use super::values::{Take, Text};
use crate::Hash;
use crate::error::Malformed;
use crate::json::{Json, Members};
use crate::ranges::Range;
use crate::text::Code;

/// What an authority decided to withhold. For whom is in the statement's annex.
///
/// Without it a withheld value, record or statement is an undeclared one: anybody who holds a full proof can replace
/// values by their hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisclosureStatement {
    /// SHA-256 of the disclosure object in exact print.
    pub sha256: Hash,
    /// Digests of the statements that are withheld, ascending, at most 500.
    pub withheld: Vec<Hash>,
    /// The heads of the disclosure, equal to its own.
    pub heads: Vec<WithholdingHead>,
}

/// Under which head records or fields are withheld.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithholdingHead {
    /// Which records.
    pub records: Range,
    /// `*` for whole records, else the names of fields in the order of their schema, joined by commas.
    pub fields: Text,
    /// The head, such as `B.2`.
    pub head: Code,
}

impl WithholdingHead {
    /// Reads one element of `heads`.
    pub(crate) fn read(mut members: Members) -> Result<Self, Malformed> {
        let value = Self {
            records: members.read("records", "one range", |text| Range::parse(text).ok())?,
            fields: members.text("fields")?,
            head: members.code("head")?,
        };
        members.end()?;
        Ok(value)
    }

    /// Prints one element of `heads`.
    pub(crate) fn json(&self) -> Json {
        Json::object([
            ("records", Json::string(self.records)),
            ("fields", Json::string(&self.fields)),
            ("head", Json::string(&self.head)),
        ])
    }
}

impl DisclosureStatement {
    /// The most statements that one disclosure withholds.
    pub const WITHHELD_MOST: usize = 500;

    pub(crate) fn read(mut members: Members) -> Result<Self, Malformed> {
        let value = Self {
            sha256: members.hash("sha256")?,
            withheld: members.hashes("withheld", Self::WITHHELD_MOST)?,
            // The payload's length bounds them: a head has more than fifty bytes.
            heads: members.objects("heads", 0, usize::MAX, WithholdingHead::read)?,
        };
        members.end()?;
        Ok(value)
    }

    pub(crate) fn json(&self) -> Json {
        Json::object([
            ("sha256", Json::string(self.sha256)),
            ("withheld", Json::strings(&self.withheld)),
            ("heads", Json::Array(self.heads.iter().map(WithholdingHead::json).collect())),
        ])
    }
}
