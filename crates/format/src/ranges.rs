//! Lists of record numbers: `"7"`, `"0-3"`, ascending, never overlapping or touching (docs/spec/bodies.md).

use std::fmt;

use crate::error::Malformed;
use crate::limits;
use crate::text::decimal;

/// One run of record numbers, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range {
    /// The first number.
    pub first: u64,
    /// The last number, never below `first`.
    pub last: u64,
}

impl Range {
    /// Reads `"n"` or `"n-m"` with n < m < [`limits::RECORDS`].
    ///
    /// # Errors
    /// [`Malformed`] for any other text.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let number = |part: &str| decimal(part).filter(|n| *n < limits::RECORDS);
        let range = match text.split_once('-') {
            None => number(text).map(|n| Self { first: n, last: n }),
            Some((first, last)) => number(first)
                .zip(number(last))
                .filter(|(first, last)| first < last)
                .map(|(first, last)| Self { first, last }),
        };
        range.ok_or_else(|| Malformed::new("range", "", "\"n\" or \"n-m\" with n < m < 1000000", text))
    }

    /// How many numbers it holds.
    pub const fn count(&self) -> u64 {
        self.last - self.first + 1
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

/// An ascending list of ranges that neither overlap nor touch. May be empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Ranges(Vec<Range>);

impl Ranges {
    /// Reads a list; the caller checks how many ranges its place allows.
    ///
    /// # Errors
    /// [`Malformed`] when a range does not read, or does not stand at least two above the one before.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, Malformed> {
        let mut ranges: Vec<Range> = Vec::new();
        for (place, text) in texts.into_iter().enumerate() {
            let range = Range::parse(text).map_err(|error| error.within(place))?;
            if ranges.last().is_some_and(|before| range.first <= before.last + 1) {
                return Err(Malformed::new("ranges", place.to_string(), "ascending ranges that do not touch", text));
            }
            ranges.push(range);
        }
        Ok(Self(ranges))
    }

    /// Gathers numbers, given in ascending order, into ranges. Repeated numbers count once.
    pub fn gather(numbers: impl IntoIterator<Item = u64>) -> Self {
        let mut ranges: Vec<Range> = Vec::new();
        for number in numbers {
            match ranges.last_mut() {
                Some(range) if number <= range.last + 1 => range.last = range.last.max(number),
                _ => ranges.push(Range { first: number, last: number }),
            }
        }
        Self(ranges)
    }

    /// The ranges, ascending.
    pub fn as_slice(&self) -> &[Range] {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers they hold together.
    pub fn count(&self) -> u64 {
        self.0.iter().map(Range::count).sum()
    }

    /// The greatest number.
    pub fn last(&self) -> Option<u64> {
        self.0.last().map(|range| range.last)
    }

    /// Whether the number is among them.
    pub fn contains(&self, number: u64) -> bool {
        self.meets(number, number)
    }

    /// Whether any number from `first` to `last`, both included, is among them.
    pub fn meets(&self, first: u64, last: u64) -> bool {
        let at = self.0.partition_point(|range| range.last < first);
        self.0.get(at).is_some_and(|range| range.first <= last)
    }

    /// Every number, ascending. A hostile list may hold a million of them.
    pub fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|range| range.first..=range.last)
    }
}

/// Which records a statement speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Items {
    /// Every record of the package: `"all"`.
    All,
    /// These: 1 to [`limits::RANGES`] ranges.
    Some(Ranges),
}

impl Items {
    /// Whether the record is meant.
    pub fn contains(&self, record: u64) -> bool {
        match self {
            Self::All => true,
            Self::Some(ranges) => ranges.contains(record),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_ascend_and_do_not_touch() {
        assert_eq!(Ranges::parse(["0-3", "7"]).unwrap().count(), 5);
        assert!(Ranges::parse([]).unwrap().is_empty());
        for bad in
            [&["3-3"][..], &["4-3"], &["0-3", "4"], &["7", "0-3"], &["0-3", "2-9"], &["01"], &["1000000"], &["a"]]
        {
            assert!(Ranges::parse(bad.iter().copied()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn gathered_numbers_print_as_they_parse() {
        let ranges = Ranges::gather([0, 1, 2, 2, 5, 7, 8]);
        let texts: Vec<String> = ranges.as_slice().iter().map(Range::to_string).collect();
        assert_eq!(texts, ["0-2", "5", "7-8"]);
        assert_eq!(Ranges::parse(texts.iter().map(String::as_str)).unwrap(), ranges);
        assert!(ranges.contains(1) && !ranges.contains(3) && ranges.meets(3, 5) && !ranges.meets(3, 4));
        assert_eq!(ranges.numbers().collect::<Vec<_>>(), [0, 1, 2, 5, 7, 8]);
    }
}
