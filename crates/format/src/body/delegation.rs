//! `delegation`: the root gives an officer or a device a key of their own (docs/spec/bodies.md).

use super::values::{Take, take_key};
use crate::json::{Json, Members};
use crate::key::PublicKey;
use crate::statement::StatementError;
use crate::text::{Code, Time, Word};

/// A key for an officer or a device, under a pseudonym. The person is in the statement's annex, never here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// The key.
    pub key: PublicKey,
    /// Whose it is.
    pub holder: Holder,
    /// By what name statements call the holder.
    pub pseudonym: Code,
    /// What the holder does.
    pub role: Word,
    /// The first second in which it may sign, by the issuer's word.
    pub from: Time,
    /// The last second in which it may sign.
    pub to: Time,
}

/// Who holds a delegated key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A person who decides.
    Officer,
    /// A machine; its key signs no kind of version 1.
    Device,
}

impl Holder {
    /// The word in the body.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Officer => "officer",
            Self::Device => "device",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Officer, Self::Device].into_iter().find(|holder| holder.as_str() == text)
    }
}

impl Delegation {
    pub(crate) fn read(mut members: Members) -> Result<Self, StatementError> {
        let value = Self {
            key: take_key(&mut members, "key")?,
            holder: members.read("holder", "officer or device", Holder::parse)?,
            pseudonym: members.code("pseudonym")?,
            role: members.word("role")?,
            from: members.time("from")?,
            to: members.time("to")?,
        };
        if value.from > value.to {
            return Err(members.wrong("to", "a time not before from", &value.to.to_string()).into());
        }
        members.end()?;
        Ok(value)
    }

    pub(crate) fn json(&self) -> Json {
        Json::object([
            ("key", Json::string(self.key.to_spki_b64())),
            ("holder", Json::string(self.holder.as_str())),
            ("pseudonym", Json::string(&self.pseudonym)),
            ("role", Json::string(&self.role)),
            ("from", Json::string(self.from)),
            ("to", Json::string(self.to)),
        ])
    }
}
