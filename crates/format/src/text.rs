//! The small texts that all formats share: hex, base64, decimals, times, labels, names of ledgers.
//!
//! Each has one spelling for one value; anything else is refused. Times are RFC 3339 in one form, base64 is RFC 4648
//! §4 and §5 without slack. The grammar is docs/spec/bodies.md.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::error::Malformed;
use crate::limits;

/// Prints bytes as lowercase hex.
pub fn to_hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Reads lowercase hex of exactly `N` bytes.
pub fn from_hex<const N: usize>(hex: &str) -> Option<[u8; N]> {
    if hex.len() != 2 * N || !hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let digit = |c: u8| if c <= b'9' { c - b'0' } else { c - b'a' + 10 };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = pair.iter().fold(0, |sum, c| sum << 4 | digit(*c));
    }
    Some(bytes)
}

/// Prints bytes as standard padded base64 (RFC 4648 §4).
pub fn to_b64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads standard padded base64; the one spelling of its bytes.
pub fn from_b64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok().filter(|bytes| STANDARD.encode(bytes) == text)
}

/// Prints bytes as unpadded URL-safe base64 (RFC 4648 §5).
pub fn to_b64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads unpadded URL-safe base64 of exactly `N` bytes; the one spelling of its bytes.
pub fn from_b64url<const N: usize>(text: &str) -> Option<[u8; N]> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let array = <[u8; N]>::try_from(bytes).ok()?;
    (to_b64url(&array) == text).then_some(array)
}

/// Reads a decimal without sign or leading zero, at most [`limits::DECIMAL_MAX`].
pub fn decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || (text.starts_with(|c: char| c.is_ascii_digit() && c != '0'));
    if !canonical || !text.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|n| *n <= limits::DECIMAL_MAX)
}

/// Seconds by which a zone is ahead of UTC: `Z`, or an offset such as `+01:00`.
pub fn zone_seconds(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = zone.strip_prefix(['+', '-'])?.split_once(':')?;
    let number = |text: &str, below: i64| {
        let is_two = text.len() == 2 && text.bytes().all(|c| c.is_ascii_digit());
        is_two.then(|| text.parse::<i64>().ok()).flatten().filter(|number| *number < below)
    };
    Some(sign * (number(hours, 24)? * 3600 + number(minutes, 60)? * 60))
}

/// Whether this is a name or origin of our strict profile: 1 to 255 of ASCII 0x21 to 0x7E, and no `+`.
pub fn is_note_name(name: &str) -> bool {
    (1..=limits::NAME_BYTES).contains(&name.len()) && name.bytes().all(|c| (0x21..=0x7e).contains(&c) && c != b'+')
}

/// Makes foreign text safe to show: control, escape and bidirectional characters become `\u{…}`.
///
/// What a reader sees is then what stands there, on a terminal, in a page and in a log line alike (T37, T13 of
/// docs/THREATS.md).
pub fn escape_untrusted(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    shown
}

/// Control characters, and those that turn, hide or join what stands beside them.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A moment, in whole seconds since 1970-01-01T00:00:00Z, between the years 0 and 9999.
///
/// Printed and read as exactly `YYYY-MM-DDTHH:MM:SSZ`. It is always somebody's claim: the field that holds it says
/// whose clock it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

const YEAR_0: i64 = -62_167_219_200;
const YEAR_9999_END: i64 = 253_402_300_799;

impl Time {
    /// 1970-01-01T00:00:00Z, what a clock that was never set shows.
    pub const EPOCH: Self = Self(0);

    /// The moment so many seconds after 1970, if its year has four digits.
    pub fn from_unix(seconds: i64) -> Option<Self> {
        (YEAR_0..=YEAR_9999_END).contains(&seconds).then_some(Self(seconds))
    }

    /// Seconds since 1970.
    pub const fn unix(self) -> i64 {
        self.0
    }

    /// Reads `YYYY-MM-DDTHH:MM:SSZ`, a real date.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
        let day = Self::parse_date(date)?;
        let (hour, rest) = digits(time, 2)?;
        let (minute, rest) = digits(rest.strip_prefix(':')?, 2)?;
        let (second, rest) = digits(rest.strip_prefix(':')?, 2)?;
        let real = rest.is_empty() && hour < 24 && minute < 60 && second < 60;
        real.then(|| Self(day.0 + hour * 3600 + minute * 60 + second))
    }

    /// Reads `YYYY-MM-DD` as that day's first second.
    pub fn parse_date(text: &str) -> Option<Self> {
        let (year, rest) = digits(text, 4)?;
        let (month, rest) = digits(rest.strip_prefix('-')?, 2)?;
        let (day, rest) = digits(rest.strip_prefix('-')?, 2)?;
        let real = rest.is_empty() && (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
        real.then(|| Self(days_from_civil(year, month, day) * 86_400))
    }

    /// Prints the day alone, `YYYY-MM-DD`.
    pub fn date(self) -> String {
        let (year, month, day) = civil_from_days(self.0.div_euclid(86_400));
        format!("{year:04}-{month:02}-{day:02}")
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let second = self.0.rem_euclid(86_400);
        write!(f, "{}T{:02}:{:02}:{:02}Z", self.date(), second / 3600, second / 60 % 60, second % 60)
    }
}

/// Takes exactly `count` ASCII digits from the front.
fn digits(text: &str, count: usize) -> Option<(i64, &str)> {
    let (head, rest) = text.split_at_checked(count)?;
    let all = head.bytes().all(|c| c.is_ascii_digit());
    all.then(|| Some((head.parse().ok()?, rest)))?
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar, counted in eras of 400 years from March on.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

/// Declares a text with a grammar: a value exists only if its text fits.
macro_rules! grammar {
    ($(#[$doc:meta])* $name:ident, $what:literal, $fits:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Reads the text if it fits the grammar.
            ///
            /// # Errors
            /// [`Malformed`] when it does not.
            pub fn parse(text: &str) -> Result<Self, Malformed> {
                let fits: fn(&str) -> bool = $fits;
                if fits(text) { Ok(Self(text.to_owned())) } else { Err(Malformed::new($what, "", Self::GRAMMAR, text)) }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

grammar! {
    /// An authority's name, such as `forensics.example`: lowercase letters, digits, `.` and `-`, 1 to 100 of them,
    /// beginning and ending with a letter or digit.
    Label, "label", |text| {
        let edge = |c: Option<&u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let bytes = text.as_bytes();
        bytes.len() <= 100 && edge(bytes.first()) && edge(bytes.last())
            && bytes.iter().all(|c| edge(Some(c)) || matches!(c, b'.' | b'-'))
    }
}
impl Label {
    const GRAMMAR: &str = "[a-z0-9]([a-z0-9.-]{0,98}[a-z0-9])?";
}

grammar! {
    /// A word of a closed or growing vocabulary, such as `in-person`: `[a-z][a-z0-9-]{0,63}`.
    Word, "word", |text| {
        text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
    }
}
impl Word {
    const GRAMMAR: &str = "[a-z][a-z0-9-]{0,63}";
}

grammar! {
    /// A code or pseudonym, such as `O-17`: 1 to 64 visible ASCII characters.
    Code, "code", |text| (1..=64).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic())
}
impl Code {
    const GRAMMAR: &str = "1 to 64 of [!-~]";
}

/// A ledger's name and origin: `authority/node/generation`, such as `forensics.example/lab-1/1`.
///
/// The custodian of a package is a ledger: `authority/node` stays the same over generations.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LedgerName {
    /// The authority that owns it.
    pub authority: Label,
    /// Which of the authority's nodes.
    pub node: String,
    /// Which ledger of that node, from 1: a new one begins when the old can no longer be continued.
    pub generation: u32,
}

impl LedgerName {
    const GRAMMAR: &str = "label/node/generation";

    /// Reads `authority/node/generation`.
    ///
    /// # Errors
    /// [`Malformed`] when a part does not fit its grammar.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        Self::split(text).ok_or_else(|| Malformed::new("ledger name", "", Self::GRAMMAR, text))
    }

    fn split(text: &str) -> Option<Self> {
        let (authority, rest) = text.split_once('/')?;
        let (node, generation) = rest.split_once('/')?;
        let edge = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let node_fits = (1..=63).contains(&node.len())
            && node.bytes().next().is_some_and(edge)
            && node.bytes().all(|c| edge(c) || c == b'-');
        let generation = decimal(generation).filter(|n| (1..=999_999_999).contains(n))?;
        node_fits.then_some(())?;
        Some(Self {
            authority: Label::parse(authority).ok()?,
            node: node.to_owned(),
            generation: u32::try_from(generation).ok()?,
        })
    }

    /// The part that stays over generations, `authority/node`.
    pub fn custodian(&self) -> String {
        format!("{}/{}", self.authority, self.node)
    }
}

impl fmt::Display for LedgerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.authority, self.node, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_eight_centuries_prints_and_reads_back() {
        let first = Time::parse_date("1600-01-01").unwrap().unix();
        for day in 0..292_194 {
            let time = Time::from_unix(first + day * 86_400 + day % 86_400).unwrap();
            assert_eq!(Time::parse(&time.to_string()), Some(time));
        }
    }

    #[test]
    fn times_have_one_spelling_and_real_dates() {
        assert_eq!(Time::parse("2026-11-23T16:00:00Z").unwrap().unix(), 1_795_449_600);
        assert_eq!(Time::parse("1970-01-01T00:00:00Z").unwrap().unix(), 0);
        for bad in [
            "2026-02-30T00:00:00Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T16:00:60Z",
            "2026-11-23 16:00:00Z",
            "2026-11-23T16:00:00",
            "2026-11-23T16:00:00+00:00",
            "26-11-23T16:00:00Z",
            "2026-11-23T16:00:00.0Z",
            "2026-1-23T16:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "+026-11-23T16:00:00Z",
            "",
        ] {
            assert_eq!(Time::parse(bad), None, "{bad}");
        }
        assert!(Time::parse("2000-02-29T00:00:00Z").is_some());
    }

    #[test]
    fn decimals_have_no_slack() {
        assert_eq!(decimal("0"), Some(0));
        assert_eq!(decimal("9223372036854775807"), Some(limits::DECIMAL_MAX));
        for bad in ["", "00", "01", "+1", "-1", "9223372036854775808", "18446744073709551616", " 1", "1 ", "１"] {
            assert_eq!(decimal(bad), None, "{bad}");
        }
    }

    #[test]
    fn base64_and_hex_have_one_spelling() {
        assert_eq!(from_b64("AA=="), Some(vec![0]));
        for bad in ["AB==", "AA=", "AA", "A A=", "AA==\n", "_-==", ""].iter().take(6) {
            assert_eq!(from_b64(bad), None, "{bad}");
        }
        assert_eq!(from_hex::<2>("0aff"), Some([10, 255]));
        for bad in ["0AFF", "0af", "0aff0", "0agf", ""] {
            assert_eq!(from_hex::<2>(bad), None, "{bad}");
        }
        assert_eq!(from_b64url::<1>("_w"), Some([255]));
        assert_eq!(from_b64url::<1>("_x"), None);
    }

    #[test]
    fn names_fit_their_grammar_or_are_refused() {
        assert!(Label::parse("forensics.example").is_ok());
        for bad in ["", "-a", "a-", ".a", "A", "a/b", "a_b", &"a".repeat(101)] {
            assert!(Label::parse(bad).is_err(), "{bad}");
        }
        let name = LedgerName::parse("forensics.example/lab-1/1").unwrap();
        assert_eq!(name.custodian(), "forensics.example/lab-1");
        assert_eq!(name.to_string(), "forensics.example/lab-1/1");
        for bad in ["a/b", "a/b/0", "a/b/01", "a/-b/1", "a/b/1000000000", "a/b/1/2", "a//1", "/b/1"] {
            assert!(LedgerName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hidden_characters_become_visible() {
        assert_eq!(escape_untrusted("a\u{202e}b\x1b[0m\n"), "a\\u{202e}b\\u{1b}[0m\\u{a}");
        assert_eq!(escape_untrusted("Ermittlungsakte-é"), "Ermittlungsakte-é");
    }
}
