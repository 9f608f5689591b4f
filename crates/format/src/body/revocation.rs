//! `revocation`: the root ends a key (docs/spec/bodies.md).

use super::values::Take;
use crate::error::Malformed;
use crate::json::{Json, Members};
use crate::key::KeyId;
use crate::text::{Time, Word};

/// The end of a key. Every revocation is followed by a new card, whose `revocations` counts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Its place among the revocations of this chain of cards, from 1.
    pub number: u64,
    /// The key that ends.
    pub key_id: KeyId,
    /// Why, such as `compromised`, `lost`, `left` or `superseded`.
    pub reason: Word,
    /// Since when a signature by the key says nothing; null: since the revocation was issued.
    pub compromised_since: Option<Time>,
}

impl Revocation {
    pub(crate) fn read(mut members: Members) -> Result<Self, Malformed> {
        let number = members.decimal("number")?;
        if number == 0 {
            return Err(members.wrong("number", "a number from 1", "0"));
        }
        let value = Self {
            number,
            key_id: KeyId(members.hash("keyid")?),
            reason: members.word("reason")?,
            compromised_since: members.optional_time("compromised_since")?,
        };
        members.end()?;
        Ok(value)
    }

    pub(crate) fn json(&self) -> Json {
        Json::object([
            ("number", Json::string(self.number)),
            ("keyid", Json::string(self.key_id)),
            ("reason", Json::string(&self.reason)),
            ("compromised_since", Json::optional(self.compromised_since)),
        ])
    }
}
