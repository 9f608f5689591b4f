//! `seal`: an authority's word for a manifest root, the statement with which custody begins (docs/spec/bodies.md).

use super::values::{Coded, Take, codes_json};
use crate::Hash;
use crate::error::Malformed;
use crate::json::{Json, Members};
use crate::text::{Code, Word};

/// What was said when a package was sealed; its root and its number of records are in the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// The digest of the request that the package answers.
    pub answers: Option<Hash>,
    /// The program that sealed.
    pub program: Code,
    /// Its version.
    pub version: Code,
    /// What was noticed, at most 100.
    pub findings: Vec<Coded>,
    /// What could not be read, by reason, at most 100; the paths are values of the manifest or annex.
    pub unread: Vec<Unread>,
}

/// How much could not be read, for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The reason, such as `permission`.
    pub code: Word,
    /// How many times.
    pub count: u64,
}

impl Unread {
    /// The most of them in one seal.
    pub const MOST: usize = 100;

    fn read(mut members: Members) -> Result<Self, Malformed> {
        let value = Self { code: members.word("code")?, count: members.decimal("count")? };
        members.end()?;
        Ok(value)
    }

    fn json(&self) -> Json {
        Json::object([("code", Json::string(&self.code)), ("count", Json::string(self.count))])
    }
}

impl Seal {
    pub(crate) fn read(mut members: Members) -> Result<Self, Malformed> {
        let value = Self {
            answers: members.optional_hash("answers")?,
            program: members.code("program")?,
            version: members.code("version")?,
            findings: members.codes("findings", 0)?,
            unread: members.objects("unread", 0, Unread::MOST, Unread::read)?,
        };
        members.end()?;
        Ok(value)
    }

    pub(crate) fn json(&self) -> Json {
        Json::object([
            ("answers", Json::optional(self.answers)),
            ("program", Json::string(&self.program)),
            ("version", Json::string(&self.version)),
            ("findings", codes_json(&self.findings)),
            ("unread", Json::Array(self.unread.iter().map(Unread::json).collect())),
        ])
    }
}
