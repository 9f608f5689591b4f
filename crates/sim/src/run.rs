//! One run: trouble for a while, then calm, until nothing is owed; and what came of it.

use crate::grounds::Grounds;
use crate::random::Random;
use crate::template::Failed;
use crate::world::World;

/// How long there is trouble, at most.
const TROUBLE_MS: u64 = 40_000;
/// How long a run may take to come to rest after that.
const REST_MS: u64 = 1_200_000;

/// What happened in a run, by number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Connections that were made.
    pub connections: u64,
    /// Frames that were sent.
    pub frames: u64,
    /// Data streams that were opened.
    pub streams: u64,
    /// Receipts that were signed and sent.
    pub receipts: u64,
    /// Hand-overs whose receipt the sender holds.
    pub hand_overs: u64,
    /// Starts of a node.
    pub starts: u64,
    /// Power cuts in the middle of a call.
    pub power_cuts: u64,
    /// Processes that were killed.
    pub kills: u64,
    /// IO errors.
    pub errors: u64,
    /// Calls for which there was no room.
    pub full: u64,
    /// Bits that changed at rest.
    pub flips: u64,
    /// Clocks that jumped.
    pub jumps: u64,
    /// Lines that were cut.
    pub cuts: u64,
    /// Pairs that did not reach each other.
    pub partitions: u64,
    /// Messages that were late.
    pub delays: u64,
    /// Data streams that stood still.
    pub stalls: u64,
    /// Frames that were lost, doubled, overtaken or altered.
    pub frame_faults: u64,
    /// Data streams that were altered.
    pub content_faults: u64,
    /// Chunks and midstates that did not prove.
    pub unproven: u64,
    /// Calls that change a disk.
    pub disk_calls: u64,
    /// Lines of the trace.
    pub lines: u64,
}

impl Tally {
    /// Each number with its name.
    #[must_use]
    pub fn table(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("hand-overs", self.hand_overs),
            ("receipts", self.receipts),
            ("connections", self.connections),
            ("frames", self.frames),
            ("data streams", self.streams),
            ("starts", self.starts),
            ("disk calls", self.disk_calls),
            ("trace lines", self.lines),
            ("power cuts", self.power_cuts),
            ("kills", self.kills),
            ("IO errors", self.errors),
            ("calls without room", self.full),
            ("bits flipped at rest", self.flips),
            ("clock jumps", self.jumps),
            ("lines cut", self.cuts),
            ("partitions", self.partitions),
            ("late messages", self.delays),
            ("stalled streams", self.stalls),
            ("frames harmed", self.frame_faults),
            ("content harmed", self.content_faults),
            ("chunks not proven", self.unproven),
        ]
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        let Self { connections, frames, streams, receipts, hand_overs, starts, power_cuts, kills, .. } = *other;
        let Self { errors, full, flips, jumps, cuts, partitions, delays, stalls, .. } = *other;
        self.connections += connections;
        self.frames += frames;
        self.streams += streams;
        self.receipts += receipts;
        self.hand_overs += hand_overs;
        self.starts += starts;
        self.power_cuts += power_cuts;
        self.kills += kills;
        self.errors += errors;
        self.full += full;
        self.flips += flips;
        self.jumps += jumps;
        self.cuts += cuts;
        self.partitions += partitions;
        self.delays += delays;
        self.stalls += stalls;
        self.frame_faults += other.frame_faults;
        self.content_faults += other.content_faults;
        self.unproven += other.unproven;
        self.disk_calls += other.disk_calls;
        self.lines += other.lines;
    }
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The hash of its trace.
    pub trace: String,
    /// What happened.
    pub tally: Tally,
    /// Promises that were broken; none, if all is well.
    pub violations: Vec<String>,
}

impl Grounds<'_> {
    /// Runs a seed. With `prints` each event is printed.
    ///
    /// # Errors
    /// What the system says: a run that could not be made says nothing of the product.
    pub fn run(&mut self, seed: u64, prints: bool) -> Result<Outcome, Failed> {
        let mut random = Random::new(seed);
        let setting = self.template().draw(&mut random);
        let mut world = World::new(setting, random, self.disks(setting)?, self.beside(), prints);
        live(&mut world);
        let outcome = Outcome {
            trace: world.trace.hash(),
            tally: world.tally,
            violations: std::mem::take(&mut world.promises.violations),
        };
        world.end();
        self.put_back(setting)?;
        Ok(outcome)
    }
}

fn live(world: &mut World<'_>) {
    world.begin();
    let trouble = world.random.within(10_000, TROUBLE_MS);
    while world.promises.violations.is_empty() && world.step(trouble) {}
    world.now = world.now.max(trouble);
    if world.promises.violations.is_empty() {
        world.calm();
    }
    let until = world.now + REST_MS;
    let mut looked = world.now;
    let mut rests = false;
    while world.promises.violations.is_empty() && !rests && world.step(until) {
        if world.now > looked + 2_500 {
            looked = world.now;
            rests = world.is_at_rest();
        }
    }
    if world.promises.violations.is_empty() && !rests {
        world.violated("rest", "something is still owed long after all trouble was over");
    }
    if world.promises.violations.is_empty() {
        world.check_end();
    }
    for station in &world.stations {
        let injected = station.disk.injected();
        world.tally.errors += injected.errors;
        world.tally.full += injected.full;
        world.tally.disk_calls += station.disk.calls();
    }
    world.tally.lines = world.trace.lines();
}
