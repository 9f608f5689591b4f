//! How fast work goes, and how long it may still take: arithmetic over a few samples. No clock is read here.
//!
//! Work comes in steps: a chunk of a MiB is proven as a whole, on a slow link once in half a minute. Between two steps it is
//! taken as even. So a window holds some seconds and some steps, whichever is longer; a silence counts as soon as it is
//! longer than any between two steps of the window.
//!
//! The time left is a range, from the quicker and the slower parts of the window. One number would be wrong most of the time,
//! and is believed.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Phase, Progress};

/// How far back a window reaches at the least.
const WINDOW: Duration = Duration::from_secs(60);
/// Steps that it holds even where they are longer ago.
const STEPS: usize = 12;
/// What is longer ago says nothing of now, however few steps there were.
const OLDEST: Duration = Duration::from_secs(15 * 60);
/// How far back the rate reaches that is shown, where there are steps enough.
const RATE_WINDOW: Duration = Duration::from_secs(10);
/// Steps of which a rate is made at the least.
const RATE_STEPS: usize = 4;
/// A window that is shorter tells no rate.
const SHORTEST: Duration = Duration::from_millis(500);
/// A window that is shorter, or has fewer steps, tells no time left.
const SHORTEST_FOR_TIME: Duration = Duration::from_secs(3);
/// See [`SHORTEST_FOR_TIME`].
const STEPS_FOR_TIME: usize = 3;
/// Samples that are closer together are one.
const APART: Duration = Duration::from_millis(200);
/// Equal parts of the window whose rates are compared. Of six the second slowest and the second quickest count.
const PARTS: u32 = 6;
/// Works whose speed is kept at a time.
const WORKS: usize = 256;

/// How long something may still take, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeLeft {
    /// At least, if it goes on as in the quicker parts of late.
    pub at_least_seconds: u64,
    /// At most, if it goes on as in the slower parts; none where those stood still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most_seconds: Option<u64>,
}

/// The speed of one work.
#[derive(Debug, Default)]
pub(crate) struct Speed {
    /// When so much was done, ascending in both. The first is where the window begins.
    steps: VecDeque<(Duration, u64)>,
    now: Duration,
}

impl Speed {
    /// At this time, by a clock that only goes forward, so much was done. Less than before: it begins anew.
    pub(crate) fn sample(&mut self, now: Duration, done: u64) {
        self.now = self.now.max(now);
        match self.steps.back().copied() {
            Some((_, before)) if done < before => self.steps.clear(),
            Some((_, before)) if done == before => return self.forget(),
            // The last one is told again as long as it is close to the one before it.
            Some(_) => {
                let before = self.steps.len().checked_sub(2).and_then(|place| self.steps.get(place));
                if before.is_some_and(|(at, _)| now.saturating_sub(*at) < APART) {
                    self.steps.pop_back();
                }
            }
            None => {}
        }
        self.steps.push_back((now, done));
        self.forget();
    }

    fn forget(&mut self) {
        let now = self.now;
        let is_old = |at: Duration, steps: usize| {
            let age = now.saturating_sub(at);
            age > OLDEST || (age > WINDOW && steps > STEPS)
        };
        while self.steps.front().is_some_and(|(at, _)| is_old(*at, self.steps.len())) {
            self.steps.pop_front();
        }
    }

    /// Bytes a second of late; none while nothing is known.
    pub(crate) fn rate(&self) -> Option<u64> {
        let end = self.end()?;
        let recent = self.steps.iter().filter(|(at, _)| end.saturating_sub(*at) <= RATE_WINDOW).count();
        let from = self.steps.len().checked_sub(recent.max(RATE_STEPS).min(self.steps.len()))?;
        let (since, before) = self.steps.get(from).copied()?;
        let (_, done) = self.steps.back().copied()?;
        let took = end.saturating_sub(since);
        (took >= SHORTEST).then(|| whole((done - before) as f64 / took.as_secs_f64()))
    }

    /// How long so many more may take; none while nothing is known, or nothing moves.
    pub(crate) fn left(&self, remaining: u64) -> Option<TimeLeft> {
        let end = self.end()?;
        let (begin, _) = self.steps.front().copied()?;
        let length = end.saturating_sub(begin);
        if length < SHORTEST_FOR_TIME || self.steps.len() < STEPS_FOR_TIME {
            return None;
        }
        let part = length / PARTS;
        let mut rates: Vec<f64> = (0..PARTS)
            .map(|n| {
                let from = begin + part * n;
                (self.done_at(from + part) - self.done_at(from)) / part.as_secs_f64()
            })
            .collect();
        rates.sort_by(f64::total_cmp);
        let recent = self.rate().unwrap_or_default() as f64;
        let slow = rates.get(1).copied()?.min(recent);
        let quick = rates.iter().rev().nth(1).copied()?.max(recent);
        if quick < 1.0 {
            return None;
        }
        let seconds = |rate: f64| whole(remaining as f64 / rate);
        Some(TimeLeft { at_least_seconds: seconds(quick), at_most_seconds: (slow >= 1.0).then(|| seconds(slow)) })
    }

    /// Until when what is known counts: the last step, or now where the silence since is longer than any before.
    fn end(&self) -> Option<Duration> {
        let (last, _) = self.steps.back().copied()?;
        let gaps = self.steps.iter().zip(self.steps.iter().skip(1)).map(|((one, _), (other, _))| *other - *one);
        let longest = gaps.max()?;
        Some(if self.now.saturating_sub(last) > longest.max(Duration::from_secs(1)) { self.now } else { last })
    }

    /// What was done at a time within the window, even between two steps.
    fn done_at(&self, at: Duration) -> f64 {
        let mut before: Option<(Duration, u64)> = None;
        for (time, done) in &self.steps {
            if *time >= at {
                let Some((from, least)) = before else { return *done as f64 };
                let share = (at - from).as_secs_f64() / (*time - from).as_secs_f64().max(f64::MIN_POSITIVE);
                return least as f64 + (*done - least) as f64 * share;
            }
            before = Some((*time, *done));
        }
        before.map_or(0.0, |(_, done)| done as f64)
    }
}

/// A number of bytes or seconds that was reckoned in halves.
fn whole(number: f64) -> u64 {
    // A cast of a float saturates; what is negative or no number is 0.
    number.round() as u64
}

/// The speeds of all that one who asked is told of.
#[derive(Debug, Default)]
pub(crate) struct Speeds(HashMap<(Option<String>, Option<Phase>), Speed>);

impl Speeds {
    /// Completes what is known of a work at this time: its rate, and the time left.
    pub(crate) fn complete(&mut self, now: Duration, progress: &mut Progress) {
        let total = progress.bytes_total;
        if progress.bytes == 0 && total == 0 {
            return;
        }
        // A package that travels is one work in all of its phases: what is proven of it counts.
        let phase = if progress.proven.is_some() { None } else { Some(progress.phase) };
        if self.0.len() >= WORKS {
            self.0.clear();
        }
        let speed = self.0.entry((progress.package.clone(), phase)).or_default();
        speed.sample(now, progress.counts());
        progress.rate = speed.rate();
        let remaining = total.saturating_sub(progress.counts());
        progress.left = if remaining > 0 { speed.left(remaining) } else { None };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// The speed after these steps, each at a time with so much done.
    fn after(steps: &[(f64, u64)]) -> Speed {
        let mut speed = Speed::default();
        for (at, done) in steps {
            speed.sample(seconds(*at), *done);
        }
        speed
    }

    #[test]
    fn nothing_is_said_while_nothing_is_known() {
        assert_eq!(after(&[]).rate(), None);
        let begun = after(&[(0.0, 0)]);
        assert_eq!((begun.rate(), begun.left(100)), (None, None));
        // One step makes a rate, and says nothing of how even it is.
        let one = after(&[(0.0, 0), (2.0, 200)]);
        assert_eq!((one.rate(), one.left(100)), (Some(100), None));
        let short = after(&[(0.0, 0), (0.3, 100)]);
        assert_eq!(short.rate(), None, "too short to be told from chance");
    }

    #[test]
    fn even_work_has_a_narrow_range() {
        let steps: Vec<(f64, u64)> = (0..=20).map(|n| (f64::from(n), u64::from(n as u32) * 1000)).collect();
        let even = after(&steps);
        assert_eq!(even.rate(), Some(1000));
        assert_eq!(even.left(60_000), Some(TimeLeft { at_least_seconds: 60, at_most_seconds: Some(60) }));
    }

    #[test]
    fn uneven_work_has_a_wide_range_that_contains_the_recent_rate() {
        // Ten seconds at 2000 a second, ten at 500, ten at 1000.
        let mut done = 0;
        let mut speed = Speed::default();
        for n in 0..=30_u32 {
            speed.sample(seconds(f64::from(n)), done);
            done += if n < 10 {
                2000
            } else if n < 20 {
                500
            } else {
                1000
            };
        }
        assert_eq!(speed.rate(), Some(1000));
        let left = speed.left(120_000).unwrap();
        assert_eq!(left, TimeLeft { at_least_seconds: 60, at_most_seconds: Some(240) });
    }

    #[test]
    fn chunks_that_are_proven_once_in_half_a_minute_make_a_rate_of_the_whole() {
        let steps: Vec<(f64, u64)> = (0..=10).map(|n| (f64::from(n) * 32.0, u64::from(n as u32) * MIB)).collect();
        let mut slow = after(&steps);
        assert_eq!(slow.rate(), Some(32 * 1024));
        // In the middle between two of them nothing has changed.
        slow.sample(seconds(10.0 * 32.0 + 16.0), 10 * MIB);
        assert_eq!(slow.rate(), Some(32 * 1024));
        assert_eq!(slow.left(MIB).unwrap().at_least_seconds, 32);
    }

    #[test]
    fn a_silence_that_is_longer_than_any_before_slows_it_down_and_at_last_says_nothing() {
        let steps: Vec<(f64, u64)> = (0..=30).map(|n| (f64::from(n), u64::from(n as u32) * 1000)).collect();
        let mut stalled = after(&steps);
        stalled.sample(seconds(50.0), 30_000);
        let rate = stalled.rate().unwrap();
        assert!((100..=150).contains(&rate), "{rate}");
        let left = stalled.left(60_000).unwrap();
        assert_eq!((left.at_least_seconds, left.at_most_seconds), (60, None), "its slow parts stood still");
        stalled.sample(seconds(30.0 + 16.0 * 60.0), 30_000);
        assert_eq!((stalled.rate(), stalled.left(60_000)), (None, None));
    }

    #[test]
    fn what_begins_anew_is_measured_anew() {
        let mut again = after(&[(0.0, 0), (1.0, 5000), (2.0, 10_000)]);
        again.sample(seconds(3.0), 0);
        assert_eq!(again.rate(), None);
        again.sample(seconds(5.0), 200);
        assert_eq!(again.rate(), Some(100));
    }

    #[test]
    fn a_window_holds_few_steps_however_many_are_told() {
        let mut speed = Speed::default();
        for n in 0..1_000_000_u32 {
            speed.sample(seconds(f64::from(n) / 1000.0), u64::from(n));
        }
        assert!(speed.steps.len() <= 305, "{}", speed.steps.len());
        let rate = speed.rate().unwrap();
        assert!((990..=1010).contains(&rate), "{rate}");
    }

    #[test]
    fn a_package_is_one_work_from_the_link_to_the_receipt() {
        let mut speeds = Speeds::default();
        let mut told = |at: f64, phase, proven| {
            let mut progress = Progress::of(phase).bytes(proven, 10_000);
            (progress.package, progress.proven) = (Some("aa".to_owned()), Some(proven));
            speeds.complete(seconds(at), &mut progress);
            progress
        };
        for n in 0..8_u32 {
            told(f64::from(n), Phase::Send, u64::from(n) * 1000);
        }
        let last = told(8.0, Phase::Prove, 8000);
        assert_eq!((last.rate, last.left.map(|left| left.at_least_seconds)), (Some(1000), Some(2)));
        let whole = told(9.0, Phase::Receipt, 10_000);
        assert_eq!(whole.left, None, "nothing is left to be proven");
    }
}
