//! Which chunks to ask for next: the plan of one transfer to us, without clock or socket.
//!
//! The host lists what is missing, page by page; the plan cuts it into batches, one want frame and one data stream each,
//! and keeps a few under way at once. Invariants: a chunk is in at most one batch that is under way; chunks of an item
//! beyond the batch that brings its midstates are asked for only when those are kept; the transfer is done only when
//! the host, asked anew, misses nothing.

use std::collections::VecDeque;

use crate::message::{WANT_RANGES, WantRange};
use crate::transfer::{CHUNK_BYTES, Cursor, Midstates, Wanted};

/// Batches of one transfer under way at once at the most: enough to keep two cores proving and a long link full.
pub const BATCHES_UNDER_WAY: usize = 4;
/// Content of one batch. A cut link costs nothing but what is in flight, so this only spreads a large item over streams.
const BATCH_BYTES: u64 = 32 << 20;
/// Ranges that the host is asked for at a time: bounded memory for a million records.
pub const PAGE: usize = 1024;
/// How often the whole list is gone through again because chunks did not prove.
pub const RETRIES: u32 = 3;

/// The plan.
#[derive(Debug)]
pub struct Fetch {
    queue: VecDeque<Wanted>,
    cursor: Cursor,
    listed: Listed,
    passes: u32,
    under_way: usize,
    /// The item whose midstates are on their way while more of its chunks wait in the queue.
    waits_for: Option<u64>,
}

/// How far the host's list has been read in this pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listed {
    Nothing,
    Some,
    All,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask the host for a page after this place and give it to [`Fetch::listed`].
    List(Cursor),
    /// Send this as one want frame; a stream will come. Report its end by [`Fetch::arrived`].
    Ask(Batch),
    /// Nothing to do until a stream makes progress.
    Wait,
    /// The host misses nothing.
    Complete,
    /// After so many passes there are still chunks that do not prove.
    GiveUp(Wanted),
}

/// Ranges that travel on one data stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// In stream order; never empty. `count` fits the wire.
    pub pieces: Vec<Wanted>,
}

impl Batch {
    /// The same as the want frame says it.
    pub fn ranges(&self) -> Vec<WantRange> {
        self.pieces.iter().map(wire_range).collect()
    }
}

fn wire_range(piece: &Wanted) -> WantRange {
    WantRange {
        record: piece.record,
        first_chunk: piece.first_chunk,
        count: u32::try_from(piece.count).expect("a piece has at most a batch of chunks"),
        midstates: piece.midstates == Midstates::Wanted,
    }
}

impl Default for Fetch {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            cursor: Cursor::default(),
            listed: Listed::Nothing,
            passes: 0,
            under_way: 0,
            waits_for: None,
        }
    }
}

impl Fetch {
    /// A plan that knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Batches that are under way.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// What to do now, with at most so many batches under way; call again after each report until it says [`Step::Wait`]
    /// or an end.
    pub fn step(&mut self, at_once: usize) -> Step {
        if self.queue.is_empty() && self.listed != Listed::All {
            return Step::List(self.cursor);
        }
        if self.under_way < at_once.clamp(1, BATCHES_UNDER_WAY)
            && let Some(batch) = self.cut_batch()
        {
            self.under_way += 1;
            return Step::Ask(batch);
        }
        if self.under_way > 0 {
            return Step::Wait;
        }
        // A pass is over: only a list that begins empty ends the transfer.
        self.passes += 1;
        self.waits_for = None;
        self.cursor = Cursor::default();
        self.listed = Listed::Nothing;
        Step::List(self.cursor)
    }

    /// Takes a page of the host's list; an empty one is its end. Ranges without chunks or out of order are left out.
    /// Returns an end of the transfer if this decides it.
    pub fn listed(&mut self, page: Vec<Wanted>) -> Option<Step> {
        let first = self.listed == Listed::Nothing;
        let Some(last) = page.last() else {
            self.listed = Listed::All;
            return first.then_some(Step::Complete);
        };
        if first && self.passes > RETRIES {
            return page.first().map(|wanted| Step::GiveUp(*wanted));
        }
        self.cursor = Cursor { record: last.record, chunk: last.first_chunk.saturating_add(last.count) };
        self.listed = Listed::Some;
        self.queue.extend(page.into_iter().filter(|wanted| wanted.count > 0 && wanted.size > 0));
        None
    }

    /// The midstates of this item are kept.
    pub fn midstates_kept(&mut self, record: u64) {
        if self.waits_for == Some(record) {
            self.waits_for = None;
        }
    }

    /// The stream of a batch has ended, with or without chunks that did not prove.
    pub fn arrived(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
        if self.under_way == 0 {
            // Its midstates did not close: the rest of that item is left to the next pass.
            if let Some(record) = self.waits_for.take() {
                self.queue.retain(|wanted| wanted.record != record);
            }
        }
    }

    fn cut_batch(&mut self) -> Option<Batch> {
        let mut pieces = Vec::new();
        let mut bytes = 0_u64;
        while bytes < BATCH_BYTES && pieces.len() < WANT_RANGES {
            let Some(wanted) = self.queue.front_mut() else { break };
            if self.waits_for == Some(wanted.record) {
                break;
            }
            let room = (BATCH_BYTES - bytes).div_ceil(CHUNK_BYTES);
            let piece = Wanted { count: wanted.count.min(room), ..*wanted };
            bytes = bytes.saturating_add(piece.bytes());
            pieces.push(piece);
            if piece.count == wanted.count {
                self.queue.pop_front();
                if piece.midstates == Midstates::Wanted && self.queue.front().is_some_and(|w| w.record == piece.record)
                {
                    self.hold_back(piece.record);
                }
                continue;
            }
            wanted.first_chunk = wanted.first_chunk.saturating_add(piece.count);
            wanted.count -= piece.count;
            if piece.midstates == Midstates::Wanted {
                self.hold_back(piece.record);
            }
            break;
        }
        (!pieces.is_empty()).then_some(Batch { pieces })
    }

    /// The rest of an item waits until the midstates, which are asked for now, are kept.
    fn hold_back(&mut self, record: u64) {
        self.waits_for = Some(record);
        for wanted in self.queue.iter_mut().take_while(|wanted| wanted.record == record) {
            wanted.midstates = Midstates::Held;
        }
    }
}
