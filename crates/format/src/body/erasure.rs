//! `erasure`: what was destroyed, and by whose order (docs/spec/bodies.md).

use super::values::{Take, Text};
use crate::Hash;
use crate::error::Malformed;
use crate::json::{Json, Members};

/// The signed word that turns a gap into an order carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Digests of the erased statements, ascending, at most 500.
    pub statements: Vec<Hash>,
    /// SHA-256 of the erased items, ascending, at most 500.
    pub objects: Vec<Hash>,
    /// The root of a manifest whose key was erased: none of its values can be tied to a seal any more.
    pub manifest: Option<Hash>,
    /// Whose order it was.
    pub order: Order,
}

/// The order by which something was erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Who gave it.
    pub by: Text,
    /// Under which reference.
    pub reference: Option<Text>,
}

impl Erasure {
    /// The most digests in one list.
    pub const MOST: usize = 500;

    pub(crate) fn read(mut members: Members) -> Result<Self, Malformed> {
        let value = Self {
            statements: members.hashes("statements", Self::MOST)?,
            objects: members.hashes("objects", Self::MOST)?,
            manifest: members.optional_hash("manifest")?,
            order: Order::read(members.object("order")?)?,
        };
        members.end()?;
        Ok(value)
    }

    pub(crate) fn json(&self) -> Json {
        Json::object([
            ("statements", Json::strings(&self.statements)),
            ("objects", Json::strings(&self.objects)),
            ("manifest", Json::optional(self.manifest)),
            ("order", self.order.json()),
        ])
    }
}

impl Order {
    fn read(mut members: Members) -> Result<Self, Malformed> {
        let value = Self { by: members.text("by")?, reference: members.optional_text("reference")? };
        members.end()?;
        Ok(value)
    }

    fn json(&self) -> Json {
        Json::object([("by", Json::string(&self.by)), ("reference", Json::optional(self.reference.as_ref()))])
    }
}
