//! What is done and when everything is killed: all of it drawn from the seed, and none of it from how a run goes.

use crate::scratch::random::Random;

/// Commands of one authority in a round.
const OPERATIONS: (u64, u64) = (2, 7);
/// The moment of the kill, in milliseconds of the round.
const MOMENT_MS: u64 = 900;
/// How long a node may start before it is killed again, in milliseconds.
const AGAIN_MS: u64 = 250;
/// Files of a folder, and their bytes: most are small, some have several MiB boundaries.
const FILES: u64 = 5;
const SMALL_BYTES: u64 = 16 * 1024;
const LARGE_BYTES: u64 = 3 << 20;

/// A command, as far as it can be drawn before anything is known. Picks are taken modulo what there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    /// A new folder with files of these lengths, whose bytes come from a seed of their own.
    Seal { bytes_seed: u64, files: Vec<u64> },
    /// One of the own packages to the other authority.
    Send { pick: u64, wait: bool },
    /// One of the packages that the other one sent.
    Accept { pick: u64 },
    /// The same, refused.
    Refuse { pick: u64 },
    /// A proof of one of the own packages.
    Prove { pick: u64 },
    /// The files of one of the own packages.
    Export { pick: u64 },
    /// One of the packages.
    Show { pick: u64 },
    /// Reads that need nothing.
    Read { words: &'static [&'static str] },
}

/// A round: work, a kill in its middle, a start, a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Round {
    /// The first authority's node does not serve: each of its commands opens the node itself.
    pub(super) is_first_alone: bool,
    /// The commands of each authority, in order; the two work at the same time.
    pub(super) operations: [Vec<Operation>; 2],
    /// When the kill comes.
    pub(super) moment_ms: u64,
    /// Whose nodes are killed.
    pub(super) nodes_die: [bool; 2],
    /// Whose command under way is killed.
    pub(super) commands_die: [bool; 2],
    /// After how long a node that starts again is killed once more.
    pub(super) again_ms: [Option<u64>; 2],
}

/// The rounds of a seed, without end.
#[derive(Debug)]
pub(super) struct Plan {
    random: Random,
    is_first: bool,
}

impl Plan {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), is_first: true }
    }

    fn operations(&mut self) -> Vec<Operation> {
        let count = OPERATIONS.0 + self.random.below(OPERATIONS.1 - OPERATIONS.0);
        let mut operations: Vec<Operation> = (0..count).map(|_| self.operation()).collect();
        if self.is_first {
            // Without a package there is nothing to do.
            let seal = self.seal();
            operations.insert(0, seal);
        }
        operations
    }

    fn operation(&mut self) -> Operation {
        let pick = self.random.next();
        match self.random.below(100) {
            0..30 => self.seal(),
            30..55 => Operation::Send { pick, wait: self.random.below(2) == 0 },
            55..68 => Operation::Accept { pick },
            68..71 => Operation::Refuse { pick },
            71..76 => Operation::Prove { pick },
            76..81 => Operation::Export { pick },
            81..86 => Operation::Show { pick },
            _ => {
                const READS: [&[&str]; 6] = [
                    &["ledger", "checkpoint"],
                    &["ledger", "list"],
                    &["inbox"],
                    &["queue"],
                    &["doctor"],
                    &["ledger", "fsck"],
                ];
                let place = usize::try_from(pick % READS.len() as u64).unwrap_or(0);
                Operation::Read { words: READS.get(place).copied().unwrap_or(&["queue"]) }
            }
        }
    }

    fn seal(&mut self) -> Operation {
        let bytes_seed = self.random.next();
        let count = 1 + self.random.below(FILES);
        let file = |random: &mut Random| match random.below(20) {
            0 => random.below(LARGE_BYTES),
            1 => 0,
            _ => random.below(SMALL_BYTES),
        };
        Operation::Seal { bytes_seed, files: (0..count).map(|_| file(&mut self.random)).collect() }
    }
}

impl Iterator for Plan {
    type Item = Round;

    fn next(&mut self) -> Option<Round> {
        let is_first_alone = self.random.below(5) == 0;
        let operations = [self.operations(), self.operations()];
        self.is_first = false;
        let nodes_die = match self.random.below(4) {
            0 => [true, false],
            1 => [false, true],
            _ => [true, true],
        };
        let moment_ms = self.random.below(MOMENT_MS);
        let mut chance = |of: u64| self.random.below(of) == 0;
        let commands_die = [chance(2), chance(2)];
        let again = [chance(4), chance(4)];
        let again_ms = again.map(|again| again.then(|| self.random.below(AGAIN_MS)));
        Some(Round { is_first_alone, operations, moment_ms, nodes_die, commands_die, again_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_one_plan() {
        let rounds = |seed| Plan::new(seed).take(50).collect::<Vec<_>>();
        assert_eq!(rounds(7), rounds(7));
        assert_ne!(rounds(7), rounds(8));
        let all = rounds(7);
        let operations = || all.iter().flat_map(|round| round.operations.iter().flatten());
        assert!(operations().any(|one| matches!(one, Operation::Accept { .. })));
        assert!(operations().any(|one| matches!(one, Operation::Send { wait: true, .. })));
        assert!(all[0].operations.iter().all(|list| matches!(list[0], Operation::Seal { .. })));
        assert!(all.iter().any(|round| round.nodes_die == [true, true]));
        assert!(all.iter().any(|round| round.is_first_alone) && all.iter().any(|round| round.again_ms[1].is_some()));
    }
}
