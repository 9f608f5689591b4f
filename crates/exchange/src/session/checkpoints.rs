//! Our checkpoints in the peer's eyes: which it holds, which it is judging (docs/spec/wire.md §4.3 and §4.4; C2SP
//! tlog-witness).

use std::collections::VecDeque;

use custodia_format::Hash;

use super::said::{Said, read_checkpoint};
use super::{Event, Message, PeerFault, Pending, Question, Session, Signed};
use crate::frame::FrameType;
use crate::message::{AddCheckpoint, Cosigned};

/// What the peer knows of our ledger.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    /// Our ledger's name.
    origin: String,
    /// Size of our newest checkpoint that the peer holds, as far as we can tell.
    held: u64,
    /// Sent and not yet answered; answers come in order.
    in_flight: VecDeque<Submitted>,
    /// Set while a conflict is being answered.
    retry: Option<u32>,
}

#[derive(Debug)]
struct Submitted {
    note: Vec<u8>,
    size: u64,
    /// How often it was sent.
    tries: u32,
}

/// How often one checkpoint is proven from the size that a conflict names: from what the peer holds, and from what it was
/// told by others. A peer that goes on moving the size is left alone.
const TRIES: u32 = 8;

impl Checkpoints {
    /// Of which ledger ours are.
    pub(super) fn are_of(&mut self, origin: &str) {
        origin.clone_into(&mut self.origin);
    }

    /// The peer's hello carries the newest note of ours that it holds; what that is worth the host has judged. One of the
    /// generation before says nothing of this ledger.
    pub(super) fn peer_holds(&mut self, note: &[u8]) {
        let note = read_checkpoint(note).filter(|checkpoint| checkpoint.origin == self.origin);
        self.held = note.map_or(0, |checkpoint| checkpoint.size);
    }

    pub(super) fn none_in_flight(&self) -> bool {
        self.in_flight.is_empty()
    }
}

impl Session {
    /// Has our newest checkpoint cosigned.
    pub(super) fn submit(&mut self, note: Vec<u8>) -> Result<(), PeerFault> {
        match read_checkpoint(&note) {
            Some(checkpoint) => self.prove_and_add(note, checkpoint.size, None),
            None => self.close(crate::codes::Code::Internal),
        }
        Ok(())
    }

    /// Sends a statement, and before it the checkpoint that it is proven under if the peer has not seen that one yet. A
    /// ledger that ended grows no more, and has nothing cosigned.
    pub(super) fn say_under_checkpoint(&mut self, signed: Signed, said: Said) {
        if said.size > self.checkpoints.held && said.origin == self.checkpoints.origin {
            let (note, size) = (said.checkpoint.clone(), said.size);
            self.prove_and_add(note, size, Some(Box::new((signed, said))));
        } else {
            self.say(&signed, &said);
        }
    }

    fn prove_and_add(&mut self, note: Vec<u8>, size: u64, then: Option<Box<(Signed, Said)>>) {
        let old = self.checkpoints.held;
        if old == 0 || old >= size {
            // "old 0" takes no proof; nor does the size that is held already, which only gets a fresh cosignature.
            self.add_checkpoint(note, size, Vec::new());
            if let Some(then) = then {
                self.say(&then.0, &then.1);
            }
        } else {
            self.ask(Question::Consistency { old, new: size }, Pending::Consistency { note, size, then });
        }
    }

    pub(super) fn add_checkpoint(&mut self, note: Vec<u8>, size: u64, proof: Vec<Hash>) {
        let old = self.checkpoints.held.min(size);
        self.send(&Message::AddCheckpoint(AddCheckpoint { old, proof, checkpoint: note.clone() }));
        let tries = self.checkpoints.retry.take().unwrap_or(1);
        self.checkpoints.in_flight.push_back(Submitted { note, size, tries });
        // What follows at once builds on this one; a conflict puts it right.
        self.checkpoints.held = self.checkpoints.held.max(size);
    }

    pub(super) fn read_cosigned(&mut self, cosigned: Cosigned) -> Result<(), PeerFault> {
        let submitted = self.checkpoints.in_flight.pop_front().ok_or_else(|| self.out_of_state(FrameType::Cosigned))?;
        match cosigned {
            Cosigned::Lines(lines) => {
                let (checkpoint, size) = (submitted.note, submitted.size);
                self.ask(Question::KeepCosignatures { checkpoint, lines }, Pending::KeepCosignatures { size });
            }
            Cosigned::Conflict { size } if submitted.tries < TRIES && size <= submitted.size => {
                self.checkpoints.held = size;
                self.checkpoints.retry = Some(submitted.tries + 1);
                self.prove_and_add(submitted.note, submitted.size, None);
            }
            Cosigned::Conflict { size } if submitted.tries < TRIES && self.opening.awaits_ours() => {
                // Ahead of this checkpoint: another connection was quicker. The peer opens only when it has judged one, so it
                // gets our newest, which is not behind what it saw. A rollback the host finds by the notes.
                self.checkpoints.held = size;
                self.checkpoints.retry = Some(submitted.tries + 1);
                self.ask(Question::Checkpoint, Pending::Newest);
            }
            Cosigned::Conflict { size } => {
                self.checkpoints.held = self.checkpoints.held.max(size);
                self.not_cosigned(409);
            }
            Cosigned::Refused { status } => {
                self.checkpoints.held = 0;
                self.not_cosigned(status);
            }
        }
        Ok(())
    }

    pub(super) fn cosigned(&mut self, size: u64) {
        self.event(Event::WeAreCosigned { size });
        self.our_checkpoint_judged();
    }

    fn not_cosigned(&mut self, status: u16) {
        self.event(Event::NotCosigned { status });
        self.our_checkpoint_judged();
    }
}
