//! The two words that only a card has: a language and a State (docs/spec/bodies.md).

use std::fmt;

use crate::error::Malformed;

/// A language tag, such as `en` or `de-CH`: `[a-z]{2,3}(-[A-Za-z0-9]{2,8})*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Language(String);

impl Language {
    /// Reads the tag.
    ///
    /// # Errors
    /// [`Malformed`] when it does not fit the grammar.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut parts = text.split('-');
        let primary = parts.next().unwrap_or_default();
        let fits = (2..=3).contains(&primary.len())
            && primary.bytes().all(|c| c.is_ascii_lowercase())
            && parts.all(|part| (2..=8).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_alphanumeric()));
        if fits { Ok(Self(text.to_owned())) } else { Err(Malformed::new("language", "", Self::GRAMMAR, text)) }
    }

    pub(crate) const GRAMMAR: &str = "[a-z]{2,3}(-[A-Za-z0-9]{2,8})*";

    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A State by its two capital letters, such as `DE`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State(String);

impl State {
    /// Reads the two letters; whether such a State exists is not this program's question.
    ///
    /// # Errors
    /// [`Malformed`] when it is anything but two capital letters.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let fits = text.len() == 2 && text.bytes().all(|c| c.is_ascii_uppercase());
        if fits { Ok(Self(text.to_owned())) } else { Err(Malformed::new("State", "", Self::GRAMMAR, text)) }
    }

    pub(crate) const GRAMMAR: &str = "[A-Z]{2}";

    /// The two letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_fit_their_grammar() {
        for good in ["en", "deu", "de-CH", "sr-Latn-RS", "de-1996"] {
            assert!(Language::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "e", "EN", "engl", "de-", "de-C", "de_CH", "de-123456789", "-de"] {
            assert!(Language::parse(bad).is_err(), "{bad}");
        }
        assert!(State::parse("DE").is_ok());
        for bad in ["", "D", "de", "DEU", "D1"] {
            assert!(State::parse(bad).is_err(), "{bad}");
        }
    }
}
