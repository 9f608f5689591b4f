//! How much content left on each day, in UTC, by this machine's clock: `desk/sent.json`. No evidence.
//!
//! - A day that was counted is never counted anew: a clock that is set back to it goes on with what left on it.
//! - What left under a clock that is set back counts on the day to which it is set: going back gives nothing back.
//! - A clock that nobody has set shows no new day.

use std::collections::BTreeMap;
use std::path::PathBuf;

use custodia_format::text::Time;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::home::Home;
use crate::{desk, edge};

/// Days that are remembered, for a clock that is set back to one of them.
const DAYS: usize = 32;

/// What left, by day.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// The day that the clock showed last, `YYYY-MM-DD`.
    day: String,
    /// Bytes that left on each day.
    bytes: BTreeMap<String, u64>,
}

impl Sent {
    /// What was counted before; nothing where that cannot be read.
    pub(crate) fn of(home: &Home) -> Self {
        desk::load(&path(home)).unwrap_or_default()
    }

    /// Remembers it durably, with so many bytes more on its day, which may leave after this.
    pub(super) fn save(&self, home: &Home, ahead: u64) -> Result<(), Failure> {
        let mut saved = self.clone();
        saved.add(ahead);
        desk::save(&path(home), &saved)
    }

    /// The clock shows this moment.
    pub(crate) fn at(&mut self, now: Time) {
        let today = now.date();
        if today == self.day || (!self.day.is_empty() && !edge::is_of_a_set_clock(now)) {
            return;
        }
        let known = self.bytes.get(&today).copied().unwrap_or_default();
        let carried = if today < self.day { self.today() } else { 0 };
        self.bytes.insert(today.clone(), known.saturating_add(carried));
        self.day = today;
        while self.bytes.len() > DAYS {
            let Some(oldest) = self.bytes.keys().find(|day| **day != self.day).cloned() else { return };
            self.bytes.remove(&oldest);
        }
    }

    /// So many bytes left on the day that the clock showed last.
    pub(super) fn add(&mut self, bytes: u64) {
        let today = self.bytes.entry(self.day.clone()).or_default();
        *today = today.saturating_add(bytes);
    }

    /// Bytes that left on that day.
    pub(crate) fn today(&self) -> u64 {
        self.bytes.get(&self.day).copied().unwrap_or_default()
    }

    /// That day.
    pub(crate) fn day(&self) -> &str {
        &self.day
    }
}

fn path(home: &Home) -> PathBuf {
    home.desk().join("sent.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        Time::parse(text).unwrap()
    }

    #[test]
    fn each_day_is_counted_by_itself() {
        let mut sent = Sent::default();
        sent.at(at("2026-12-24T23:59:59Z"));
        sent.add(7);
        sent.add(5);
        assert_eq!((sent.day(), sent.today()), ("2026-12-24", 12));
        sent.at(at("2026-12-25T00:00:00Z"));
        assert_eq!((sent.day(), sent.today()), ("2026-12-25", 0));
        for day in 0..100 {
            sent.at(Time::from_unix(at("2027-01-01T00:00:00Z").unix() + day * 86_400).unwrap());
            sent.add(1);
        }
        assert_eq!((sent.bytes.len(), sent.today()), (DAYS, 1));
    }

    #[test]
    fn a_clock_that_is_set_back_gives_nothing_back() {
        let mut sent = Sent::default();
        sent.at(at("2026-12-24T12:00:00Z"));
        sent.add(300);
        // A day too far, and back: what left meanwhile left today.
        sent.at(at("2026-12-25T12:00:00Z"));
        sent.add(10);
        sent.at(at("2026-12-24T12:05:00Z"));
        assert_eq!(sent.today(), 310);
        sent.at(at("2026-12-25T00:00:00Z"));
        assert_eq!(sent.today(), 10, "a day that was counted is not counted anew");
        // To a day before all others.
        sent.at(at("2026-12-20T00:00:00Z"));
        assert_eq!(sent.today(), 10);
        sent.at(at("2026-12-24T13:00:00Z"));
        assert_eq!(sent.today(), 310);
        // Years ahead, and back: the days go on as they come.
        sent.at(at("2036-01-01T00:00:00Z"));
        sent.add(1);
        sent.at(at("2026-12-24T14:00:00Z"));
        sent.at(at("2026-12-26T00:00:00Z"));
        assert_eq!(sent.today(), 0);
    }

    #[test]
    fn a_clock_that_nobody_has_set_shows_no_new_day() {
        let mut sent = Sent::default();
        sent.at(at("2026-12-24T12:00:00Z"));
        sent.add(300);
        sent.at(Time::EPOCH);
        sent.add(20);
        assert_eq!((sent.day(), sent.today()), ("2026-12-24", 320));
        let mut never = Sent::default();
        never.at(Time::EPOCH);
        never.add(1);
        assert_eq!(never.today(), 1);
    }
}
