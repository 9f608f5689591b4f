//! Giving back: a node that has lost a part of its history asks its peer for what is its own, and for what was said to it
//! (docs/spec/wire.md §4.7). It pulls page by page, so that the slower side sets the pace.

use super::{Code, Message, More, Opening, PeerFault, Pending, Question, Session};
use crate::frame::{FRAME_BYTES, FrameType};
use crate::message::{DOCUMENTS_PER_FRAME, GivenBack};

/// Documents that are taken back in one session: what years of daily hand-overs leave, and an end to what a peer may make us
/// keep.
const TAKEN_BACK: u64 = 1 << 20;

/// How far a peer that asks back has been given what it lost: each page is read once in a session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Giving {
    /// It may ask for the document of this number, and for no other.
    From(u64),
    /// It has everything.
    All,
}

impl Session {
    /// The peer asks for what comes after what it was given.
    pub(super) fn read_ask_back(&mut self, from: u64) -> Result<(), PeerFault> {
        if self.giving != Giving::From(from) {
            return Err(self.out_of_state(FrameType::AskBack));
        }
        self.ask(Question::GiveBack { from }, Pending::GiveBack);
        Ok(())
    }

    /// We are behind what this peer saw of us.
    pub(super) fn ask_back(&mut self, taken: u64) {
        self.opening = Opening::TakingBack { taken };
        self.send(&Message::AskBack(taken));
    }

    /// One frame of documents, as many as fit.
    pub(super) fn give_back(&mut self, mut given: GivenBack) {
        let mut room = FRAME_BYTES - 2;
        let fits = given.documents.iter().take(DOCUMENTS_PER_FRAME).take_while(|document| {
            let left = room.checked_sub(document.len() + 4);
            room = left.unwrap_or(0);
            left.is_some()
        });
        let fits = fits.count();
        if fits < given.documents.len() {
            given.documents.truncate(fits);
            given.more = More::Yes;
        }
        if let Giving::From(from) = self.giving {
            let next = from.saturating_add(given.documents.len() as u64);
            // A page without a document is the last, whatever it says.
            let goes_on = given.more == More::Yes && !given.documents.is_empty();
            self.giving = if goes_on { Giving::From(next) } else { Giving::All };
        }
        self.send(&Message::GivenBack(given));
    }

    pub(super) fn read_given_back(&mut self, given: GivenBack) {
        let Opening::TakingBack { taken } = self.opening else { return };
        let (count, more) = (given.documents.len() as u64, given.more);
        // A page without a document that promises more has no end.
        let more = if count == 0 || taken + count >= TAKEN_BACK { More::No } else { more };
        self.ask(Question::TakeBack(GivenBack { more, ..given }), Pending::TakeBack { taken: taken + count, more });
    }

    pub(super) fn taken_back(&mut self, taken: u64, more: More) {
        match more {
            More::Yes => self.ask_back(taken),
            More::No => self.close(Code::RolledBack),
        }
    }
}
