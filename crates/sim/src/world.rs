//! A run's state, its events in the order of their time, and what every one of them does first and last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use custodia_exchange::message::Want;
use custodia_exchange::{Answer, Question};
use custodia_format::Hash;
use custodia_node::watched;

use crate::disk::Disk;
use crate::mix::Mix;
use crate::network::{At, Connection};
use crate::promises::Promises;
use crate::random::Random;
use crate::run::Tally;
use crate::station::Station;
use crate::template::Setting;
use crate::trace::Trace;

/// Of so many of a thousand runs the links are slow.
const SLOW_PERMILLE: u64 = 400;
/// How slow at the most: a chunk takes about five seconds then, so that a transfer outlives several recordings.
const SLOWEST_MS: u64 = 2_500;

/// Something that happens at a moment.
pub(crate) enum Event {
    /// A node looks at what it owes; trouble is drawn for it.
    Turn { node: usize },
    /// A host answers its session.
    Answer { at: At, question: Box<Question> },
    /// Bytes of the control stream come in.
    Control { at: At, bytes: Vec<u8> },
    /// A want is served.
    Serve { at: At, want: Want },
    /// Bytes of a data stream come in; the last ones, if it ends here.
    Stream { at: At, stream: u64, bytes: Vec<u8>, end: Option<StreamEnd> },
    /// A side learns that its connection is over.
    Over { at: At },
    /// Both sides of a connection look at the time.
    Tick { connection: u64 },
    /// The power comes back, or the process is started again.
    Start { node: usize, life: u32 },
    /// There is room again.
    Room { node: usize, life: u32 },
}

/// How a data stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// Whole.
    Whole,
    /// Its sender has given it up.
    Reset,
}

/// A run.
pub(crate) struct World<'a> {
    pub(crate) template: &'a Setting,
    pub(crate) random: Random,
    pub(crate) mix: Mix,
    /// Milliseconds since the run began.
    pub(crate) now: u64,
    events: BTreeMap<(u64, u64), Event>,
    numbered: u64,
    pub(crate) stations: Vec<Station>,
    pub(crate) connections: BTreeMap<u64, Connection>,
    /// Pairs that do not reach each other, and until when.
    pub(crate) partitions: BTreeMap<(usize, usize), u64>,
    /// The releases that are handed over in this run; the others wait, as their owners wish.
    pub(crate) in_play: BTreeSet<Hash>,
    /// Files whose bits changed: node, path, byte, bit.
    pub(crate) flipped: Vec<(usize, std::path::PathBuf, u64, u8)>,
    /// Nodes that are to be started.
    pub(crate) starting: BTreeSet<usize>,
    pub(crate) trace: Trace,
    pub(crate) tally: Tally,
    pub(crate) promises: Promises,
    /// Nothing goes wrong any more.
    pub(crate) is_calm: bool,
    /// A folder for what lies beside the homes.
    pub(crate) beside: std::path::PathBuf,
    /// How long a part of a data stream takes at the most, beyond the delay of every message: a slow link.
    pub(crate) slow_ms: u64,
}

impl<'a> World<'a> {
    pub(crate) fn new(
        template: &'a Setting,
        mut random: Random,
        disks: Vec<Arc<Disk>>,
        beside: std::path::PathBuf,
        prints: bool,
    ) -> Self {
        let mut mix = Mix::draw(&mut random);
        let slow_ms = if random.permille(SLOW_PERMILLE) { random.within(500, SLOWEST_MS) } else { 0 };
        let mut stations: Vec<Station> = disks.into_iter().map(Station::new).collect();
        for station in &mut stations {
            station.drift = i64::try_from(random.below(400)).unwrap_or(0) - 200;
        }
        let mut possible: Vec<Hash> = template.releases.iter().map(|it| it.digest).collect();
        let mut in_play = BTreeSet::new();
        for _ in 0..random.within(2, 4) {
            let place = random.place(possible.len());
            if place < possible.len() {
                in_play.insert(possible.swap_remove(place));
            }
        }
        if slow_ms > 0 {
            if random.permille(500) {
                // What is recorded of a transfer matters when the power goes in its middle.
                mix.power_cuts = mix.power_cuts.max(random.within(200, 600));
            }
            // Something that a slow link is slow for.
            let bytes = |package: usize| -> usize {
                let items = template.packages.get(package).into_iter().flat_map(|package| &package.items);
                items.map(|item| item.bytes.len()).sum()
            };
            in_play.extend(template.releases.iter().max_by_key(|it| bytes(it.package)).map(|it| it.digest));
        }
        Self {
            template,
            random,
            mix,
            now: 0,
            events: BTreeMap::new(),
            numbered: 0,
            stations,
            connections: BTreeMap::new(),
            partitions: BTreeMap::new(),
            in_play,
            flipped: Vec::new(),
            starting: BTreeSet::new(),
            trace: Trace::new(prints),
            tally: Tally::default(),
            promises: Promises::new(template),
            is_calm: false,
            beside,
            slow_ms,
        }
    }

    /// Starts the nodes.
    pub(crate) fn begin(&mut self) {
        let mix = format!("{} nodes, {:?}, {} ms for a part", self.stations.len(), self.mix, self.slow_ms);
        self.note(&mix);
        for node in 0..self.stations.len() {
            self.start(node);
            let first = self.random.below(2000);
            self.after(first, Event::Turn { node });
        }
    }

    /// Ends the run: what is still open of the nodes is closed, and changes nothing any more.
    pub(crate) fn end(mut self) {
        self.stations.iter().for_each(|station| station.disk.set_down(true));
        self.connections.clear();
        self.stations.iter_mut().for_each(Station::end);
    }

    /// Lets something happen so many milliseconds from now.
    pub(crate) fn after(&mut self, ms: u64, event: Event) {
        self.numbered += 1;
        self.events.insert((self.now + ms, self.numbered), event);
    }

    pub(crate) fn note(&mut self, text: &str) {
        self.trace.line(self.now, text);
    }

    /// Lets the next event happen; none when there is none before this time.
    pub(crate) fn step(&mut self, until: u64) -> bool {
        let Some(((at, _), event)) = self.events.pop_first() else { return false };
        self.now = self.now.max(at);
        if at > until {
            self.numbered += 1;
            self.events.insert((at, self.numbered), event);
            return false;
        }
        match event {
            Event::Turn { node } => self.turn(node),
            Event::Answer { at, question } => self.answer(at, *question),
            Event::Control { at, bytes } => self.control(at, &bytes),
            Event::Serve { at, want } => self.serve(at, want),
            Event::Stream { at, stream, bytes, end } => self.stream(at, stream, &bytes, end),
            Event::Over { at } => self.over(at),
            Event::Tick { connection } => self.tick(connection),
            Event::Start { node, life } => {
                if self.starting.contains(&node) && self.stations.get(node).is_some_and(|it| it.life == life) {
                    self.start(node);
                }
            }
            Event::Room { node, life } => {
                if let Some(station) = self.stations.get_mut(node).filter(|station| station.life == life) {
                    let trouble = station.disk.trouble();
                    station.disk.set_trouble(crate::disk::Trouble { is_full: false, ..trouble });
                }
            }
        }
        true
    }

    /// Makes a node's clock and entropy those of this thread.
    pub(crate) fn edge_of(&mut self, node: usize) {
        let seed = self.random.next();
        if let Some(station) = self.stations.get(node) {
            watched::set_edge(station.unix(self.now), seed);
        }
    }

    /// What follows every call into a node. Whether the machine is still up.
    pub(crate) fn called(&mut self, node: usize, what: &str, refused: bool) -> bool {
        let Some(station) = self.stations.get(node) else { return false };
        let disk = station.disk.clone();
        for call in disk.take_log() {
            self.trace.line(self.now, &format!("{node}   {call}"));
        }
        self.note(&format!("{node} {what}{}", if refused { ": refused" } else { "" }));
        let given = disk.take_given();
        if disk.is_down() {
            self.power_lost(node);
            return false;
        }
        self.judge_errors(node, what, &given, refused);
        true
    }

    fn answer(&mut self, at: At, question: Question) {
        let Some((node, peer)) = self.side(at).map(|end| (end.node, end.peer)) else { return };
        let Some(peer) = self.template.peers.get(peer).cloned() else { return };
        let Some(host) = self.host(node) else { return };
        let word = word_of(&question);
        self.edge_of(node);
        let answer = custodia_net::answer(&*host, &peer, question);
        drop(host);
        let refused = match &answer {
            Answer::Refused(_) => true,
            Answer::Witnessed(cosigned) => !matches!(cosigned, custodia_exchange::Cosigned::Lines(_)),
            // It has no way to say no.
            Answer::Digests(_) => true,
            // One of several says it for itself.
            Answer::Taken(taken) => taken.iter().any(Result::is_err),
            Answer::Receipts(receipts) => receipts.iter().any(Result::is_err),
            _ => false,
        };
        let code = match &answer {
            Answer::Refused(refused) => Some(refused.code),
            Answer::Taken(taken) => taken.iter().find_map(|taken| taken.as_ref().err()).map(|refused| refused.code),
            Answer::Receipts(receipts) => receipts.iter().find_map(|it| it.as_ref().err()).map(|refused| refused.code),
            _ => None,
        };
        let told = code.map_or_else(|| word.to_owned(), |code| format!("{word} ({code})"));
        if !self.called(node, &told, refused) {
            return;
        }
        let Some(end) = self.side_mut(at) else { return };
        end.is_asking = false;
        if let Err(fault) = end.session.handle_answer(answer) {
            self.fault(at, &fault.to_string());
            return;
        }
        self.settle(at);
    }
}

fn word_of(question: &Question) -> &'static str {
    match question {
        Question::Hello => "hello",
        Question::Meet(_) => "meet",
        Question::Cards { .. } => "cards",
        Question::LearnCards { .. } => "learn cards",
        Question::Notes => "notes",
        Question::Hear(_) => "hear",
        Question::GiveBack { .. } => "give back",
        Question::TakeBack(_) => "take back",
        Question::Checkpoint => "checkpoint",
        Question::Consistency { .. } => "consistency",
        Question::Witness(_) => "witness",
        Question::KeepCosignatures { .. } => "keep cosignatures",
        Question::Owed => "owed",
        Question::Statement { .. } => "statement",
        Question::Take(_) => "take",
        Question::Receipts { .. } => "receipts",
        Question::Settled { .. } => "settled",
        _ => "a question",
    }
}
