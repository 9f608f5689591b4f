//! When every process is killed: random moments, drawn before anything begins, so that a seed names a run.
//!
//! Most fall into the two transfers. A moment is a part of the work of an act, from 0 (it has just begun) to about 1.

use std::collections::VecDeque;

use serde::Serialize;

use crate::scratch::random::Random;

/// What is under way when the kill comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Act {
    /// The folder is sealed.
    Seal,
    /// The package goes to the prosecutor.
    Send,
    /// The prosecutor, then the tribunal, takes it into custody.
    Accept,
    /// The package goes on to the tribunal.
    Onward,
    /// The tribunal writes what leaves its node.
    Export,
}

/// Every ten kills fall like this.
const TEN: [Act; 10] = [
    Act::Send,
    Act::Onward,
    Act::Seal,
    Act::Send,
    Act::Onward,
    Act::Accept,
    Act::Send,
    Act::Onward,
    Act::Export,
    Act::Send,
];
/// A transfer is killed between these parts of its content: later ones might come after its end.
const OF_TRANSFER: (f64, f64) = (0.02, 0.95);
/// Short acts are killed up to a little after their usual end: an answer that was just given must hold too.
const OF_SHORT: (f64, f64) = (0.05, 1.2);

/// The kills of one run.
#[derive(Debug)]
pub(crate) struct Kills {
    seed: u64,
    moments: VecDeque<(Act, f64)>,
    total: u32,
    struck: Vec<Struck>,
}

/// A kill that happened.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Struck {
    /// What was under way.
    pub(crate) act: Act,
    /// Whether the command had no answer yet.
    pub(crate) under_way: bool,
    /// How far it was, in hundredths.
    pub(crate) percent: u64,
}

impl Kills {
    /// Draws so many moments.
    pub(crate) fn draw(count: u32, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut moments: Vec<(Act, f64)> = TEN
            .into_iter()
            .cycle()
            .zip(0..count)
            .map(|(act, _)| {
                let (from, to) = if act == Act::Send || act == Act::Onward { OF_TRANSFER } else { OF_SHORT };
                (act, from + (to - from) * random.unit())
            })
            .collect();
        moments.sort_by(|one, next| one.1.total_cmp(&next.1));
        Self { seed, moments: moments.into(), total: count, struck: Vec::new() }
    }

    /// What the moments were drawn from.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// How many were asked for.
    pub(crate) fn total(&self) -> u32 {
        self.total
    }

    /// The next moment of an act.
    pub(crate) fn next(&self, act: Act) -> Option<f64> {
        self.moments.iter().find(|(of, _)| *of == act).map(|(_, moment)| *moment)
    }

    /// The next kill of an act happened.
    pub(crate) fn strike(&mut self, act: Act, under_way: bool) {
        if let Some(place) = self.moments.iter().position(|(of, _)| *of == act) {
            let part = self.moments.remove(place).map_or(0.0, |(_, part)| part);
            self.struck.push(Struck { act, under_way, percent: (part * 100.0).round() as u64 });
        }
    }

    /// Those that happened, in order.
    pub(crate) fn struck(&self) -> &[Struck] {
        &self.struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_names_a_run_and_most_kills_fall_into_transfers() {
        let drain = |seed| {
            let mut kills = Kills::draw(10, seed);
            let mut all = Vec::new();
            for act in [Act::Seal, Act::Send, Act::Accept, Act::Onward, Act::Export] {
                let mut last = 0.0;
                while let Some(moment) = kills.next(act) {
                    assert!(moment >= last);
                    last = moment;
                    all.push((act, moment));
                    kills.strike(act, true);
                }
            }
            all
        };
        let all = drain(7);
        assert_eq!(all, drain(7));
        assert_ne!(all, drain(8));
        assert_eq!(all.len(), 10);
        let transfers = all.iter().filter(|(act, _)| matches!(act, Act::Send | Act::Onward));
        assert_eq!(transfers.count(), 7);
    }
}
