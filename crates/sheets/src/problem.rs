//! What is wrong in a sheet: where, what was expected there, and what was found.

use std::fmt;

use custodia_format::text::escape_untrusted;

/// Problems that are kept by themselves; a sheet of a million bad rows must not fill our memory.
const NAMED: usize = 1000;

/// Something that keeps sheets from being sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The sheet's file name.
    pub sheet: String,
    /// The line at which its row begins, from 1.
    pub line: Option<u64>,
    /// The column.
    pub column: Option<String>,
    /// What was expected there.
    pub expected: String,
    /// What was found.
    pub found: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", escape_untrusted(&self.sheet))?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(column) = &self.column {
            write!(f, ", {}", escape_untrusted(column))?;
        }
        match self.found.as_str() {
            "" => write!(f, ": expected {}, found nothing", self.expected),
            found => write!(f, ": expected {}, found {}", self.expected, escape_untrusted(found)),
        }
    }
}

/// All problems of a folder of sheets: the first thousand by themselves, and how many there are.
#[derive(Debug, Clone, Default)]
pub struct Problems {
    named: Vec<Problem>,
    count: u64,
}

impl Problems {
    /// Those that were kept, in the order in which they were found.
    pub fn named(&self) -> &[Problem] {
        &self.named
    }

    /// How many there are.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Whether everything is right.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn push(&mut self, problem: impl FnOnce() -> Problem) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(problem());
        }
    }
}

/// The name that was probably meant, as the end of a sentence; nothing when none is near.
pub(crate) fn meant<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let most = (found.chars().count() / 3).clamp(1, 3);
    let near = |name: &&str| strsim::damerau_levenshtein(found, name);
    let alike = known.into_iter().filter(|name| name.len().abs_diff(found.len()) <= most);
    let nearest = alike.min_by_key(near).filter(|name| near(name) <= most);
    nearest.map_or_else(String::new, |name| format!("; was {name} meant?"))
}
