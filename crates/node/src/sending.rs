//! The section `[sending]` of `custodia.toml`: how fast content may leave, by the time of day.

use std::fmt;
use std::num::NonZeroU64;

use serde::{Deserialize, Deserializer};

use crate::outbox::{parse_rate, print_rate};

/// How fast content may leave.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sending {
    /// At which minutes of the day, in UTC, which limit begins, `limit`.
    #[serde(rename = "limit", deserialize_with = "timetable")]
    timetable: Timetable,
}

/// Minutes of the day, ascending, each with the limit that begins there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Timetable(Vec<(u16, Option<NonZeroU64>)>);

const DAY_MINUTES: u16 = 24 * 60;

impl Sending {
    /// The limit at this moment, and after how many seconds the next one begins.
    pub(crate) fn at(&self, unix: i64) -> (Option<NonZeroU64>, u64) {
        let second = unix.rem_euclid(i64::from(DAY_MINUTES) * 60) as u64;
        let minute = second / 60;
        let Timetable(entries) = &self.timetable;
        // Before the first of the day holds the last of the day before.
        let now = entries.iter().rev().find(|(from, _)| u64::from(*from) <= minute).or_else(|| entries.last());
        let next = entries.iter().map(|(from, _)| u64::from(*from) * 60).find(|from| *from > second);
        let day = u64::from(DAY_MINUTES) * 60;
        let first = entries.first().map_or(0, |(from, _)| u64::from(*from) * 60);
        (now.and_then(|(_, rate)| *rate), next.unwrap_or(day + first) - second)
    }
}

fn timetable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timetable, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(serde::de::Error::custom)
}

/// `512k`, or `08:00,512k 19:00,off`.
fn parse(text: &str) -> Result<Timetable, String> {
    if !text.contains(',') {
        return Ok(Timetable(vec![(0, parse_rate(text.trim())?)]));
    }
    let mut entries = Vec::new();
    for entry in text.split_whitespace() {
        let (time, rate) = entry.split_once(',').ok_or_else(|| format!("\"{entry}\"; it is HH:MM,RATE"))?;
        let minute = minute_of(time).ok_or_else(|| format!("\"{time}\"; it is a time of day in UTC, HH:MM"))?;
        if entries.last().is_some_and(|(before, _)| *before >= minute) {
            return Err(format!("\"{time}\" is not after the time before it"));
        }
        entries.push((minute, parse_rate(rate)?));
    }
    Ok(Timetable(entries))
}

fn minute_of(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two =
        |text: &str| (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?;
    let (hour, minute): (u16, u16) = (two(hour)?, two(minute)?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

impl fmt::Display for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Timetable(entries) = &self.timetable;
        let entry = |(from, rate): &(u16, Option<NonZeroU64>)| {
            format!("{:02}:{:02},{}", from / 60, from % 60, print_rate(*rate))
        };
        f.write_str(&entries.iter().map(entry).collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sending(text: &str) -> Sending {
        Sending { timetable: parse(text).unwrap() }
    }

    #[test]
    fn a_limit_holds_from_its_minute_to_the_next_one_around_midnight_too() {
        let kib = |kib: u64| NonZeroU64::new(kib << 10);
        let hour = 3600;
        let day = sending("08:00,512k 19:00,off 22:30,64k");
        for (at, rate, seconds) in [
            (0, kib(64), 8 * hour),
            (8 * hour - 1, kib(64), 1),
            (8 * hour, kib(512), 11 * hour),
            (19 * hour, None, 3 * hour + hour / 2),
            (23 * hour, kib(64), 9 * hour),
        ] {
            for days in [0, 20_000] {
                assert_eq!(day.at((days * 24 * hour + at) as i64), (rate, seconds), "{at}");
            }
        }
        assert_eq!(sending("256k").at(5), (kib(256), 24 * hour - 5));
        assert_eq!(day.to_string(), "08:00,512k 19:00,off 22:30,64k");
    }

    #[test]
    fn what_is_no_timetable_is_refused() {
        for bad in [
            "",
            "8:00,512k",
            "08:00,512",
            "24:00,off",
            "08:60,off",
            "08:00,off 08:00,64k",
            "09:00,off 08:00,64k",
            "08:00, 512k",
            "x",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
