//! What goes wrong in a run, and how often: drawn from its seed, so that some runs are quiet, some have one kind of
//! trouble, and some have all.

use crate::random::Random;

/// Rates in a thousand, or whether at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mix {
    /// The power goes at some call, at so many of a thousand turns of a node.
    pub power_cuts: u64,
    /// The process is killed.
    pub kills: u64,
    /// IO errors.
    pub errors: u64,
    /// No room.
    pub full: u64,
    /// Bits change at rest.
    pub flips: u64,
    /// Clocks jump.
    pub jumps: u64,
    /// Connections are cut.
    pub cuts: u64,
    /// One side of a cut does not notice.
    pub half_open: bool,
    /// Two nodes do not reach each other for a while.
    pub partitions: u64,
    /// Messages that are late.
    pub delays: u64,
    /// Data streams that stand still.
    pub stalls: u64,
    /// Frames that are lost, doubled, overtaken or altered: beyond what QUIC lets through.
    pub frames: u64,
    /// Content that is altered under way.
    pub content: u64,
}

impl Mix {
    /// Draws it.
    pub fn draw(random: &mut Random) -> Self {
        let quiet = Self::default();
        match random.below(10) {
            0 => quiet,
            1..=4 => quiet.with(random, 1),
            5..=7 => quiet.with(random, 3),
            _ => quiet.with(random, 14),
        }
    }

    fn with(mut self, random: &mut Random, kinds: u64) -> Self {
        for _ in 0..kinds {
            match random.below(12) {
                0 | 1 => self.power_cuts = random.within(100, 700),
                2 => self.kills = random.within(10, 150),
                3 => self.errors = random.within(50, 400),
                4 => self.full = random.within(30, 300),
                5 => self.flips = random.within(50, 500),
                6 => self.jumps = random.within(20, 200),
                7 => {
                    self.cuts = random.within(50, 500);
                    self.half_open = random.permille(500);
                }
                8 => self.partitions = random.within(20, 200),
                9 => self.delays = random.within(20, 300),
                10 => self.stalls = random.within(20, 300),
                _ => {
                    self.frames = random.within(2, 60);
                    self.content = random.within(20, 300);
                }
            }
        }
        self
    }
}
