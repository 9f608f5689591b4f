//! `meeting`: whom the authority met, the answer to "how do we know that it is their key?" (docs/spec/bodies.md).

use super::values::Take;
use crate::error::Malformed;
use crate::json::{Json, Members};
use crate::key::KeyId;
use crate::text::{Code, Label, Time};

/// One authority's word that it learnt another's root key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meeting {
    /// The other's name.
    pub name: Label,
    /// The other's root key.
    pub root: KeyId,
    /// By which way it was learnt.
    pub how: Channel,
    /// When, by the issuer's clock.
    pub at: Time,
    /// Which officer was there; null when none is named.
    pub by: Option<Code>,
}

/// By which way a root key was learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Face to face.
    InPerson,
    /// By a call in which the voice was known.
    Call,
    /// By letter.
    Letter,
    /// From a publication.
    Published,
}

impl Channel {
    const ALL: [Self; 4] = [Self::InPerson, Self::Call, Self::Letter, Self::Published];

    /// The word in bodies and trust files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InPerson => "in-person",
            Self::Call => "call",
            Self::Letter => "letter",
            Self::Published => "published",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.as_str() == text)
    }
}

impl Meeting {
    pub(crate) fn read(mut members: Members) -> Result<Self, Malformed> {
        let mut with = members.object("with")?;
        let name = with.label("name")?;
        let root = KeyId(with.hash("root")?);
        with.end()?;
        let value = Self {
            name,
            root,
            how: members.read("how", "in-person, call, letter or published", Channel::parse)?,
            at: members.time("at")?,
            by: members.optional_code("by")?,
        };
        members.end()?;
        Ok(value)
    }

    pub(crate) fn json(&self) -> Json {
        let with = Json::object([("name", Json::string(&self.name)), ("root", Json::string(self.root))]);
        Json::object([
            ("with", with),
            ("how", Json::string(self.how.as_str())),
            ("at", Json::string(self.at)),
            ("by", Json::optional(self.by.as_ref())),
        ])
    }
}
