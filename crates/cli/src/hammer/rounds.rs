//! The rounds: both authorities work at the same time, everything is killed in the middle, started again, and checked.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use custodia_format::Hash;
use custodia_node::failure::{Code, Failure};
use custodia_node::operations::answers::{Delivery, Sealed, StatementLine, Transfer, TransferState};

use super::check::{Due, check};
use super::plan::{Operation, Round};
use super::told::{Delivered, Package, Told};
use crate::scratch::authority::{Authority, Name};
use crate::scratch::process::{Ended, Process, Program, args};
use crate::scratch::random::Random;

pub(super) const NAMES: [Name; 2] = [
    Name { label: "first.example", display: "The First", role: "lab" },
    Name { label: "second.example", display: "The Second", role: "prosecutor" },
];

/// How often what is under way is looked at.
const LOOK: Duration = Duration::from_millis(2);
/// How long a command that survived the kill may go on.
const COMMAND_ENDS: Duration = Duration::from_secs(30);
/// How long everything may take to arrive once nothing is killed any more.
const ARRIVES: Duration = Duration::from_secs(60);
/// Bytes of content up to which all of it is read after every round; above, after every eighth.
const READ_ALWAYS: u64 = 64 << 20;

/// Packages sent last, one of which is answered.
const RECENT: usize = 4;

/// What was done so far.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) rounds: u64,
    pub(super) kills: u64,
    pub(super) operations: u64,
    pub(super) bytes: u64,
}

/// Two authorities at work.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) both: [Authority; 2],
    pub(super) told: Told,
    pub(super) counts: Counts,
    program: Program,
    /// Where folders to be sealed, exports and proofs are made.
    work: PathBuf,
    /// What each has sent or tried to send.
    sent: [Vec<String>; 2],
    /// What was sent and refused, or was to be.
    refused: Vec<String>,
}

/// The commands of one authority in a round.
#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Operation>,
    running: Option<Running>,
}

/// A command under way.
#[derive(Debug)]
struct Running {
    operation: Operation,
    process: Process,
    words: String,
    /// What it works on: a folder to be sealed, or what it writes.
    path: PathBuf,
    files: Vec<(String, u64)>,
}

impl Pair {
    /// Makes two nodes that trust each other, and starts them.
    pub(super) fn make(folder: &Path, program: &Program, told: Told) -> Result<Self, Failure> {
        let both = [Authority::new(NAMES[0], folder, program)?, Authority::new(NAMES[1], folder, program)?];
        let work = folder.join("work");
        fs::create_dir_all(&work).map_err(|error| Failure::io(&error, &work))?;
        let mut cards = Vec::new();
        for one in &both {
            one.init(one.listen())?;
            let card = one.card()?;
            let path = work.join(format!("{}.card", one.name.label));
            fs::write(&path, &card.cards).map_err(|error| Failure::io(&error, &path))?;
            cards.push((path, card.fingerprint));
        }
        for (one, (path, fingerprint)) in both.iter().zip(cards.iter().rev()) {
            let add = ["trust", "add", &path.to_string_lossy(), "--fingerprint", fingerprint];
            one.ask::<serde_json::Value, _>(add)?;
        }
        let mut pair = Self {
            both,
            told,
            counts: Counts::default(),
            program: program.clone(),
            work,
            sent: Default::default(),
            refused: Vec::new(),
        };
        for at in [0, 1] {
            pair.both[at].start()?;
        }
        Ok(pair)
    }

    /// One round; gives what does not hold.
    pub(super) fn round(&mut self, round: &Round) -> Result<Vec<String>, Failure> {
        let mut wrong = Vec::new();
        if round.is_first_alone {
            self.kill(0);
        }
        let mut lanes = round.operations.clone().map(|operations| Lane { waiting: operations.into(), running: None });
        let (began, moment) = (Instant::now(), Duration::from_millis(round.moment_ms));
        while began.elapsed() < moment && lanes.iter().any(|lane| !lane.waiting.is_empty() || lane.running.is_some()) {
            for (at, lane) in lanes.iter_mut().enumerate() {
                self.step(at, lane, false, &mut wrong)?;
            }
            self.program.pause(LOOK)?;
        }
        self.strike(round, &mut lanes);
        for at in [1, 0] {
            match self.start_again(at, round.again_ms[at], &mut lanes, &mut wrong) {
                Ok(()) => {}
                Err(failure) if matches!(failure.code, Code::Interrupted | Code::DiskFull) => return Err(failure),
                Err(failure) => {
                    let name = self.both[at].name.label;
                    wrong.push(format!("{name} does not start again after a kill: {}", told(&failure)));
                    return Ok(wrong);
                }
            }
        }
        self.drain(&mut lanes, &mut wrong)?;
        self.counts.rounds += 1;
        let reads = self.counts.bytes < READ_ALWAYS || self.counts.rounds.is_multiple_of(8);
        let due = if reads { Due::OnTheWayAndBytes } else { Due::OnTheWay };
        wrong.extend(check(&self.both, &mut self.told, due)?);
        Ok(wrong)
    }

    /// Nothing is killed any more: waits until everything has arrived, and checks that all of it has.
    pub(super) fn settle(&mut self) -> Result<Vec<String>, Failure> {
        let began = Instant::now();
        while began.elapsed() < ARRIVES {
            if check(&self.both, &mut self.told, Due::Everything)?.is_empty() {
                break;
            }
            for one in &self.both {
                // One that fails is found by the check.
                let _ = one.ask::<Vec<Transfer>, _>(["queue", "--now"]);
            }
            self.program.pause(Duration::from_millis(200))?;
        }
        check(&self.both, &mut self.told, Due::Everything)
    }

    fn kill(&mut self, at: usize) {
        if let Some(one) = self.both.get_mut(at).filter(|one| one.is_up()) {
            one.kill();
            self.counts.kills += 1;
        }
    }

    fn strike(&mut self, round: &Round, lanes: &mut [Lane; 2]) {
        for (at, lane) in lanes.iter_mut().enumerate() {
            let is_alone = at == 0 && round.is_first_alone;
            if round.nodes_die[at] {
                self.kill(at);
            }
            // Where no node serves, the command is the node.
            let dies = round.commands_die[at] || (is_alone && round.nodes_die[at]);
            if let Some(running) = lane.running.take_if(|_| dies) {
                drop(running.process);
                self.counts.kills += 1;
                remove(&running.path);
            }
            lane.waiting.clear();
        }
    }

    /// Starts a node that does not run, after killing it once more while it starts where the plan says so.
    fn start_again(
        &mut self,
        at: usize,
        again_ms: Option<u64>,
        lanes: &mut [Lane; 2],
        wrong: &mut Vec<String>,
    ) -> Result<(), Failure> {
        if self.both[at].is_up() {
            return Ok(());
        }
        if let Some(again_ms) = again_ms {
            let starting = self.both[at].begin(["serve"])?;
            self.program.pause(Duration::from_millis(again_ms))?;
            drop(starting);
            self.counts.kills += 1;
        }
        let began = Instant::now();
        loop {
            match self.both[at].start() {
                // A command that found no node has opened the home itself, and will end.
                Err(failure) if failure.code == Code::Locked && began.elapsed() < COMMAND_ENDS => {
                    for (lane_at, lane) in lanes.iter_mut().enumerate() {
                        self.step(lane_at, lane, true, wrong)?;
                    }
                    self.program.pause(LOOK)?;
                }
                other => return other,
            }
        }
    }

    /// Lets the commands that survived come to their end.
    fn drain(&mut self, lanes: &mut [Lane; 2], wrong: &mut Vec<String>) -> Result<(), Failure> {
        let began = Instant::now();
        while lanes.iter().any(|lane| lane.running.is_some()) && began.elapsed() < COMMAND_ENDS {
            for (at, lane) in lanes.iter_mut().enumerate() {
                self.step(at, lane, true, wrong)?;
            }
            self.program.pause(LOOK)?;
        }
        for (at, lane) in lanes.iter_mut().enumerate() {
            if let Some(running) = lane.running.take() {
                let name = self.both[at].name.label;
                wrong.push(format!("{name}: `{}` hangs, {} s after the kill", running.words, COMMAND_ENDS.as_secs()));
            }
        }
        Ok(())
    }

    /// Takes the answer of a command that has ended, and begins the next one.
    fn step(&mut self, at: usize, lane: &mut Lane, struck: bool, wrong: &mut Vec<String>) -> Result<(), Failure> {
        if let Some(running) = &mut lane.running {
            let Some(ended) = running.process.ended()? else { return Ok(()) };
            if let Some(running) = lane.running.take() {
                self.ended(at, &running, &ended, struck, wrong)?;
                remove(&running.path);
            }
        }
        if let Some(operation) = lane.waiting.pop_front() {
            lane.running = Some(self.begin(at, operation)?);
            self.counts.operations += 1;
        }
        Ok(())
    }

    fn begin(&mut self, at: usize, operation: Operation) -> Result<Running, Failure> {
        let number = self.counts.operations;
        let own = |pick: u64| picked(&self.told.of[at].sealed, pick).map(|package| package.id.clone());
        let path = self.work.join(number.to_string());
        let mut files = Vec::new();
        let text = |words: &[&str]| args(words);
        // What needs a package reads the ledger instead while there is none.
        let nothing = || text(&["ledger", "list"]);
        let words = match &operation {
            Operation::Seal { bytes_seed, files: sizes } => {
                files = write_files(&path, *bytes_seed, sizes)?;
                self.counts.bytes += sizes.iter().sum::<u64>();
                let mut words = text(&["seal", "--case", &format!("H-{number}")]);
                words.push(path.clone().into());
                words
            }
            Operation::Send { pick, wait } => match own(*pick) {
                None => nothing(),
                Some(package) => {
                    let words = ["send", &package, "--to", NAMES[1 - at].label, "--wait"];
                    let words = text(if *wait { &words } else { &words[..4] });
                    self.sent[at].push(package);
                    words
                }
            },
            Operation::Accept { pick } => match picked(recent(&self.sent[1 - at]), *pick) {
                None => nothing(),
                Some(package) => text(&["accept", package]),
            },
            Operation::Refuse { pick } => match picked(recent(&self.sent[1 - at]), *pick) {
                None => nothing(),
                Some(package) => {
                    let words = text(&["refuse", package, "--reason", "the hammer says so"]);
                    self.refused.push(package.clone());
                    words
                }
            },
            Operation::Prove { pick } | Operation::Export { pick } => match own(*pick) {
                None => nothing(),
                Some(package) if matches!(operation, Operation::Prove { .. }) => {
                    let mut words = text(&["prove", &package, "--out"]);
                    words.push(path.clone().into());
                    words
                }
                Some(package) => {
                    let mut words = text(&["export", &package]);
                    words.push(path.clone().into());
                    words
                }
            },
            Operation::Show { pick } => match own(*pick) {
                None => nothing(),
                Some(package) => text(&["show", &package]),
            },
            Operation::Read { words } => text(words),
        };
        let told = words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let process = self.both[at].begin(words)?;
        Ok(Running { operation, process, words: told, path, files })
    }

    /// Books what an answer acknowledges. A failure that no kill explains is something that does not hold.
    fn ended(
        &mut self,
        at: usize,
        running: &Running,
        ended: &Ended,
        struck: bool,
        wrong: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let mut contradictions = Vec::new();
        let is_read = running.words == "ledger list";
        let failed = match &running.operation {
            Operation::Seal { .. } => match ended.answer::<Sealed>() {
                Err(failure) => Some(failure),
                Ok(sealed) => {
                    if let (Some(seal), Some(id)) = (&sealed.seal, sealed.package) {
                        contradictions.extend(self.told.statement(at, seal, sealed.leaf_index)?);
                        self.told.sealed(at, Package { id, files: running.files.clone() })?;
                    }
                    None
                }
            },
            Operation::Send { .. } if !is_read => match ended.answer::<Delivery>() {
                Err(failure) => Some(failure),
                Ok(Delivery { transfer, .. }) => {
                    contradictions.extend(self.told.statement(at, &transfer.release, None)?);
                    if let (TransferState::Received, Some(receipt)) = (transfer.state, transfer.receipt) {
                        contradictions.extend(self.told.statement(at, &receipt, None)?);
                        let (package, release) = (transfer.package, transfer.release);
                        self.told.deliver(at, Delivered { package, release, receipt })?;
                    }
                    None
                }
            },
            Operation::Accept { .. } | Operation::Refuse { .. } if !is_read => match ended.answer::<StatementLine>() {
                Err(failure) => Some(failure),
                Ok(line) => {
                    contradictions.extend(self.told.statement(at, &line.digest, Some(line.leaf_index))?);
                    None
                }
            },
            _ => ended.answer::<serde_json::Value>().err(),
        };
        let name = self.both[at].name.label;
        wrong.extend(contradictions.into_iter().map(|what| format!("{name}: {what}")));
        let refused = self.refused.iter().any(|package| running.words.contains(package));
        let is_explained = |failure: &Failure| is_explained(&running.operation, failure.code, struck, refused);
        if let Some(failure) = failed.filter(|failure| !is_explained(failure)) {
            wrong.push(format!("{name}: `{}` failed: {}", running.words, told(&failure)));
        }
        Ok(())
    }
}

/// A failure in a sentence.
fn told(failure: &Failure) -> String {
    let place = failure.place.as_deref().map(|place| format!(" ({place})")).unwrap_or_default();
    format!("{failure}{place}")
}

/// Failures that are no fault: what is asked for is not there yet, the other one is down or was told to refuse it, or our own node
/// was killed.
fn is_explained(operation: &Operation, code: Code, struck: bool, refused: bool) -> bool {
    match (operation, code) {
        (_, Code::Interrupted | Code::Locked | Code::Io) => struck,
        (Operation::Send { .. }, Code::PeerUnreachable | Code::LinkLost) => true,
        (Operation::Send { .. }, Code::PeerRefused) => refused,
        (Operation::Accept { .. } | Operation::Refuse { .. }, Code::NotYet | Code::UnknownPackage) => true,
        _ => false,
    }
}

fn picked<T>(all: &[T], pick: u64) -> Option<&T> {
    all.get(usize::try_from(pick % (all.len() as u64).max(1)).unwrap_or(0))
}

/// What was sent last: older packages have mostly been answered.
fn recent<T>(all: &[T]) -> &[T] {
    all.get(all.len().saturating_sub(RECENT)..).unwrap_or_default()
}

/// Writes a folder to be sealed; gives what its files are.
fn write_files(folder: &Path, seed: u64, sizes: &[u64]) -> Result<Vec<(String, u64)>, Failure> {
    fs::create_dir_all(folder).map_err(|error| Failure::io(&error, folder))?;
    let mut random = Random::new(seed);
    let mut files = Vec::new();
    for (number, size) in sizes.iter().enumerate() {
        let bytes = random.bytes(usize::try_from(*size).unwrap_or(0));
        let path = folder.join(format!("{number}.raw"));
        fs::write(&path, &bytes).map_err(|error| Failure::io(&error, &path))?;
        files.push((Hash::of(&bytes).to_string(), *size));
    }
    Ok(files)
}

/// What a command worked on is of no use any more; that there is nothing is fine.
fn remove(path: &Path) {
    let _ = fs::remove_dir_all(path);
    let _ = fs::remove_file(path);
}
