//! The opening: hello, cards, notes, checkpoints both ways (docs/spec/wire.md §4.1 to §4.4).
//!
//! Nothing about a package is said before each side has judged the other's ledger: a peer that shows an older or
//! another history is found before it is handed anything. What each knows of ledgers goes first, so that nobody cosigns in
//! ignorance of what the other could have told.

use custodia_format::Hash;

use super::{Event, Hello, Message, PeerFault, Pending, Question, Session, Task};
use crate::frame::{FRAME_BYTES, FrameType};
use crate::message::{CARDS_PER_FRAME, Cards, Cosigned, More, NOTES};

/// Envelopes of one peer's root in one session: cards, delegations and revocations of decades.
const ENVELOPES: usize = 4096;
/// Bytes of them, for they are held together until the last is here: so many, each with its proof, as honest nodes have.
const ENVELOPES_BYTES: usize = 16 << 20;

/// How far the opening is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Opening {
    /// Our own hello is not ready.
    #[default]
    Hello,
    /// The peer's hello is awaited.
    AwaitHello,
    /// The peer's cards are awaited.
    AwaitCards,
    /// What the peer knows of ledgers is awaited.
    AwaitNotes,
    /// Each checkpoint is judged by the other side; these two say what is still open.
    Checkpoints { ours: Judged, theirs: Judged },
    /// Everything else may begin.
    Open,
    /// We have lost a part of our history: the peer gives back what it holds of it, from this document on. Nothing else
    /// happens in this session.
    TakingBack {
        /// Documents that were taken.
        taken: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    NotYet,
    Done,
}

impl Opening {
    pub(super) fn is_taking_back(&self) -> bool {
        matches!(self, Opening::TakingBack { .. })
    }

    /// Whether the peer has not judged our checkpoint yet, and waits for one that it can judge.
    pub(super) fn awaits_ours(&self) -> bool {
        matches!(self, Opening::Checkpoints { ours: Judged::NotYet, .. })
    }

    pub(super) fn is_past_notes(&self) -> bool {
        matches!(self, Opening::Checkpoints { .. } | Opening::Open)
    }
}

/// What the peer said of itself, and what it has sent since.
#[derive(Debug, Default)]
pub(super) struct Met {
    pub(super) card: Option<Hash>,
    pub(super) held_card: Option<Hash>,
    pub(super) envelopes: Vec<Vec<u8>>,
}

impl Session {
    pub(super) fn say_hello(&mut self, hello: Hello) {
        self.opening = Opening::AwaitHello;
        self.checkpoints.are_of(&hello.origin);
        self.send(&Message::Hello(hello));
    }

    pub(super) fn read_hello(&mut self, hello: Hello) {
        self.opening = Opening::AwaitCards;
        self.met.card = Some(hello.card);
        self.met.held_card = hello.held_card;
        self.checkpoints.peer_holds(&hello.held_checkpoint);
        self.event(Event::Connected);
        self.ask(Question::Meet(hello), Pending::Meet);
    }

    pub(super) fn ask_cards(&mut self) {
        self.ask(Question::Cards { held: self.met.held_card }, Pending::Cards);
    }

    pub(super) fn say_cards(&mut self, envelopes: Vec<Vec<u8>>) {
        let mut frames: Vec<Vec<Vec<u8>>> = envelopes.chunks(CARDS_PER_FRAME).map(<[_]>::to_vec).collect();
        let last = frames.pop().unwrap_or_default();
        for envelopes in frames {
            self.send(&Message::Cards(Cards { envelopes, more: More::Yes }));
        }
        self.send(&Message::Cards(Cards { envelopes: last, more: More::No }));
        // They need nothing of the peer's cards, so they go at once: no turn of the wire is lost.
        self.ask(Question::Notes, Pending::Notes);
    }

    /// One frame of notes, as many as fit.
    pub(super) fn say_notes(&mut self, mut notes: Vec<Vec<u8>>) {
        notes.truncate(NOTES);
        let mut room = FRAME_BYTES - 1;
        let fits = notes.iter().take_while(|note| {
            let left = room.checked_sub(note.len() + 4);
            room = left.unwrap_or(0);
            left.is_some()
        });
        notes.truncate(fits.count());
        self.send(&Message::Notes(notes));
    }

    pub(super) fn read_cards(&mut self, cards: Cards) -> Result<(), PeerFault> {
        if cards.more == More::Yes && cards.envelopes.is_empty() {
            // It would have no end.
            return Err(PeerFault::TooMany { what: "frames of no card", limit: 0 });
        }
        self.met.envelopes.extend(cards.envelopes);
        if self.met.envelopes.len() > ENVELOPES {
            return Err(PeerFault::TooMany { what: "cards", limit: ENVELOPES });
        }
        if self.met.envelopes.iter().map(Vec::len).sum::<usize>() > ENVELOPES_BYTES {
            return Err(PeerFault::TooMany { what: "bytes of cards", limit: ENVELOPES_BYTES });
        }
        if cards.more == More::Yes {
            return Ok(());
        }
        let newest = self.met.card.ok_or_else(|| self.out_of_state(FrameType::Cards))?;
        let envelopes = std::mem::take(&mut self.met.envelopes);
        self.ask(Question::LearnCards { newest, envelopes }, Pending::Learn);
        Ok(())
    }

    pub(super) fn notes_heard(&mut self) {
        self.opening = Opening::Checkpoints { ours: Judged::NotYet, theirs: Judged::NotYet };
        self.ask(Question::Checkpoint, Pending::Newest);
    }

    pub(super) fn say_cosigned(&mut self, cosigned: Cosigned) {
        let contradicts = matches!(cosigned, Cosigned::Refused { status: 422 });
        // After a conflict the peer asks again from the size that it is told.
        let judged = !matches!(cosigned, Cosigned::Conflict { .. });
        self.send(&Message::Cosigned(cosigned));
        if contradicts {
            self.close(crate::codes::Code::Inconsistent);
        } else if judged {
            self.judged(|_, theirs| *theirs = Judged::Done);
        }
    }

    pub(super) fn our_checkpoint_judged(&mut self) {
        self.judged(|ours, _| *ours = Judged::Done);
    }

    fn judged(&mut self, mark: impl FnOnce(&mut Judged, &mut Judged)) {
        if let Opening::Checkpoints { ours, theirs } = &mut self.opening {
            mark(ours, theirs);
            if (*ours, *theirs) == (Judged::Done, Judged::Done) {
                self.opening = Opening::Open;
                self.tasks.push_front(Task::Owed);
            }
        }
    }
}
