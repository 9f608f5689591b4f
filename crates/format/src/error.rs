//! The one error of every parser: which format, where, what was expected and what was found.

use crate::text::escape_untrusted;

/// How many characters of foreign text an error repeats.
pub const FOUND_CHARS: usize = 120;

/// Bytes that are not what their format prescribes.
///
/// Raised by every parser of this crate; the fault is the writer's. Nothing was stored or acknowledged when a parser
/// says this. `found` comes from outside: it is escaped and cut to [`FOUND_CHARS`] characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} malformed at {place}: expected {expected}, found {found}")]
pub struct Malformed {
    /// The format that was read, such as `checkpoint`.
    pub what: &'static str,
    /// Where in it: a line, a member, a byte offset.
    pub place: String,
    /// What the format prescribes there.
    pub expected: String,
    /// What stood there, escaped and cut.
    pub found: String,
}

impl Malformed {
    /// Names a deviation of `what` at `place`.
    pub fn new(
        what: &'static str,
        place: impl Into<String>,
        expected: impl Into<String>,
        found: impl AsRef<str>,
    ) -> Self {
        let found = found.as_ref();
        let mut shown: String = escape_untrusted(&found.chars().take(FOUND_CHARS).collect::<String>());
        if found.chars().nth(FOUND_CHARS).is_some() {
            shown.push('…');
        }
        Self { what, place: place.into(), expected: expected.into(), found: shown }
    }

    /// The same deviation, placed one level further out: `inside` becomes `outer.inside`.
    #[must_use]
    pub fn within(mut self, outer: impl std::fmt::Display) -> Self {
        self.place = if self.place.is_empty() { outer.to_string() } else { format!("{outer}.{}", self.place) };
        self
    }
}
