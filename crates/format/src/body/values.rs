//! The small values that bodies share, and how each is taken from an object and printed (docs/spec/bodies.md,
//! "Grammar").

use std::fmt;

use crate::error::Malformed;
use crate::json::{Json, Members};
use crate::key::{KeyRefused, PublicKey};
use crate::ranges::{Items, Ranges};
use crate::statement::StatementError;
use crate::text::{Code, Label, LedgerName, Time, Word, decimal};
use crate::{Hash, limits};

/// Text for people: 1 to [`limits::TEXT_CHARS`] Unicode scalar values, any of them.
///
/// It may hold control and bidirectional characters: whoever shows it passes it through
/// [`crate::text::escape_untrusted`] first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(String);

impl Text {
    /// Takes the text if it is not empty and not too long.
    ///
    /// # Errors
    /// [`Malformed`] when it is either.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        // A character has at most four bytes: a longer text is refused before its characters are counted.
        let fits =
            !text.is_empty() && text.len() <= 4 * limits::TEXT_CHARS && text.chars().count() <= limits::TEXT_CHARS;
        if fits { Ok(Self(text.to_owned())) } else { Err(Malformed::new("text", "", TEXT, text)) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A code that programs compare, and what a person adds to it: a finding, a condition, a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coded {
    /// The code.
    pub code: Word,
    /// The person's words, if any.
    pub text: Option<Text>,
}

impl Coded {
    /// The most of them in one list.
    pub const MOST: usize = 100;

    fn read(mut members: Members) -> Result<Self, Malformed> {
        let value = Self { code: members.word("code")?, text: members.optional_text("text")? };
        members.end()?;
        Ok(value)
    }

    fn json(&self) -> Json {
        Json::object([("code", Json::string(&self.code)), ("text", Json::optional(self.text.as_ref()))])
    }
}

/// Takes a public key as base64 of its SubjectPublicKeyInfo.
///
/// What is no Ed25519 SubjectPublicKeyInfo is malformed; a key that could be another's, or anybody's, is refused by
/// its own name.
pub(crate) fn take_key(members: &mut Members, name: &str) -> Result<PublicKey, StatementError> {
    let text = members.string(name)?;
    PublicKey::from_spki_b64(&text).map_err(|refused| match refused {
        KeyRefused::NotSpki => members.wrong(name, "base64 of an Ed25519 SubjectPublicKeyInfo", &text).into(),
        refused => StatementError::RefusedKey { place: members.path(name), fault: refused.into() },
    })
}

/// Prints a list of codes.
pub(crate) fn codes_json(codes: &[Coded]) -> Json {
    Json::Array(codes.iter().map(Coded::json).collect())
}

/// Prints `"all"` or a list of ranges.
pub(crate) fn items_json(items: &Items) -> Json {
    match items {
        Items::All => Json::string("all"),
        Items::Some(ranges) => Json::strings(ranges.as_slice()),
    }
}

const HEX: &str = "64 lowercase hex digits";
const TEXT: &str = "1 to 4096 characters";
const DECIMAL: &str = "a decimal up to 2^63 - 1";
const TIME: &str = "a real time as YYYY-MM-DDTHH:MM:SSZ";
const WORD: &str = "[a-z][a-z0-9-]{0,63}";
const CODE: &str = "1 to 64 of [!-~]";
const LABEL: &str = "[a-z0-9]([a-z0-9.-]{0,98}[a-z0-9])?";

/// Takes members by the grammar of bodies; each method refuses another member, another type and another grammar.
pub(crate) trait Take {
    fn hash(&mut self, name: &str) -> Result<Hash, Malformed>;
    fn optional_hash(&mut self, name: &str) -> Result<Option<Hash>, Malformed>;
    fn decimal(&mut self, name: &str) -> Result<u64, Malformed>;
    fn time(&mut self, name: &str) -> Result<Time, Malformed>;
    fn optional_time(&mut self, name: &str) -> Result<Option<Time>, Malformed>;
    fn label(&mut self, name: &str) -> Result<Label, Malformed>;
    fn ledger(&mut self, name: &str) -> Result<LedgerName, Malformed>;
    fn word(&mut self, name: &str) -> Result<Word, Malformed>;
    fn code(&mut self, name: &str) -> Result<Code, Malformed>;
    fn optional_code(&mut self, name: &str) -> Result<Option<Code>, Malformed>;
    fn text(&mut self, name: &str) -> Result<Text, Malformed>;
    fn optional_text(&mut self, name: &str) -> Result<Option<Text>, Malformed>;
    /// `"all"` or 1 to [`limits::RANGES`] ranges.
    fn items(&mut self, name: &str) -> Result<Items, Malformed>;
    /// `least` to 100 codes.
    fn codes(&mut self, name: &str, least: usize) -> Result<Vec<Coded>, Malformed>;
    /// At most `most` digests, ascending.
    fn hashes(&mut self, name: &str, most: usize) -> Result<Vec<Hash>, Malformed>;
    /// `least` to `most` objects, each read by `read`.
    fn objects<T, E: From<Malformed>>(
        &mut self,
        name: &str,
        least: usize,
        most: usize,
        read: impl FnMut(Members) -> Result<T, E>,
    ) -> Result<Vec<T>, E>;
    /// `least` to `most` strings, each read by `read`; `expected` says what that is.
    fn strings<T>(
        &mut self,
        name: &str,
        least: usize,
        most: usize,
        expected: &str,
        read: impl FnMut(&str) -> Option<T>,
    ) -> Result<Vec<T>, Malformed>;
}

impl Take for Members {
    fn hash(&mut self, name: &str) -> Result<Hash, Malformed> {
        self.read(name, HEX, Hash::from_hex)
    }

    fn optional_hash(&mut self, name: &str) -> Result<Option<Hash>, Malformed> {
        self.read_optional(name, HEX, Hash::from_hex)
    }

    fn decimal(&mut self, name: &str) -> Result<u64, Malformed> {
        self.read(name, DECIMAL, decimal)
    }

    fn time(&mut self, name: &str) -> Result<Time, Malformed> {
        self.read(name, TIME, Time::parse)
    }

    fn optional_time(&mut self, name: &str) -> Result<Option<Time>, Malformed> {
        self.read_optional(name, TIME, Time::parse)
    }

    fn label(&mut self, name: &str) -> Result<Label, Malformed> {
        self.read(name, LABEL, |text| Label::parse(text).ok())
    }

    fn ledger(&mut self, name: &str) -> Result<LedgerName, Malformed> {
        self.read(name, "authority/node/generation", |text| LedgerName::parse(text).ok())
    }

    fn word(&mut self, name: &str) -> Result<Word, Malformed> {
        self.read(name, WORD, |text| Word::parse(text).ok())
    }

    fn code(&mut self, name: &str) -> Result<Code, Malformed> {
        self.read(name, CODE, |text| Code::parse(text).ok())
    }

    fn optional_code(&mut self, name: &str) -> Result<Option<Code>, Malformed> {
        self.read_optional(name, CODE, |text| Code::parse(text).ok())
    }

    fn text(&mut self, name: &str) -> Result<Text, Malformed> {
        self.read(name, TEXT, |text| Text::parse(text).ok())
    }

    fn optional_text(&mut self, name: &str) -> Result<Option<Text>, Malformed> {
        self.read_optional(name, TEXT, |text| Text::parse(text).ok())
    }

    fn items(&mut self, name: &str) -> Result<Items, Malformed> {
        let expected = "\"all\" or 1 to 1000 ranges";
        match self.take(name)? {
            Json::String(text) if text == "all" => Ok(Items::All),
            Json::Array(elements) if (1..=limits::RANGES).contains(&elements.len()) => {
                let texts = elements
                    .iter()
                    .map(|element| element.as_str().ok_or_else(|| self.wrong(name, "strings", element.kind())));
                let texts = texts.collect::<Result<Vec<_>, _>>()?;
                Ranges::parse(texts).map(Items::Some).map_err(|error| error.within(self.path(name)))
            }
            Json::Array(elements) => Err(self.wrong(name, expected, &format!("{} elements", elements.len()))),
            Json::String(text) => Err(self.wrong(name, expected, &text)),
            other => Err(self.wrong(name, expected, other.kind())),
        }
    }

    fn codes(&mut self, name: &str, least: usize) -> Result<Vec<Coded>, Malformed> {
        self.objects(name, least, Coded::MOST, Coded::read)
    }

    fn hashes(&mut self, name: &str, most: usize) -> Result<Vec<Hash>, Malformed> {
        let hashes = self.strings(name, 0, most, HEX, Hash::from_hex)?;
        let ascend = hashes.iter().zip(hashes.iter().skip(1)).all(|(one, next)| one < next);
        if ascend { Ok(hashes) } else { Err(self.wrong(name, "digests ascending, none twice", "another order")) }
    }

    fn objects<T, E: From<Malformed>>(
        &mut self,
        name: &str,
        least: usize,
        most: usize,
        mut read: impl FnMut(Members) -> Result<T, E>,
    ) -> Result<Vec<T>, E> {
        let elements = self.array(name, least, most)?;
        let path = self.path(name);
        let opened = elements
            .into_iter()
            .enumerate()
            .map(|(place, element)| read(Members::of(element, self.what(), format!("{path}.{place}"))?));
        opened.collect()
    }

    fn strings<T>(
        &mut self,
        name: &str,
        least: usize,
        most: usize,
        expected: &str,
        mut read: impl FnMut(&str) -> Option<T>,
    ) -> Result<Vec<T>, Malformed> {
        let elements = self.array(name, least, most)?;
        let each = elements.iter().enumerate().map(|(place, element)| {
            let place = format!("{name}.{place}");
            let text = element.as_str().ok_or_else(|| self.wrong(&place, expected, element.kind()))?;
            read(text).ok_or_else(|| self.wrong(&place, expected, text))
        });
        each.collect()
    }
}
