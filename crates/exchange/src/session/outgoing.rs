//! A package of ours on its way: release, consignment, content, receipt (docs/spec/wire.md §4.5 to §4.9).

use custodia_format::Hash;

use super::said::{Said, SaidKind};
use super::waiting::waiting;
use super::{
    Event, Item, Message, Output, PeerFault, Pending, Phase, Proven, Question, Session, Signed, Task, Turn, Waiting,
    Want,
};
use crate::codes::Code;
use crate::frame::FrameType;
use crate::question::Received;

/// Our side of one release.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) release: Hash,
    pub(super) root: Option<Hash>,
    pub(super) stage: Stage,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The release is being fetched from the store.
    Preparing,
    /// Another release of the same package is under way: this one waits for its end.
    Behind,
    /// The peer has the release and judges it.
    AwaitConsignment,
    /// The peer has consigned: manifest and content may be asked for.
    Serving,
}

impl Stage {
    /// Whether the peer has heard of it.
    const fn is_on_the_wire(self) -> bool {
        matches!(self, Self::AwaitConsignment | Self::Serving)
    }

    pub(super) const fn waiting(self) -> Waiting {
        match self {
            Self::Preparing => waiting("the release is read from the store", Turn::Ours, "it is announced"),
            Self::Behind => {
                waiting("another release of the same package is under way", Turn::Theirs, "this one is announced")
            }
            Self::AwaitConsignment => {
                waiting("the peer judges the release", Turn::Theirs, "it consigns or refuses, then content travels")
            }
            Self::Serving => {
                waiting("the peer fetches and proves the content", Turn::Theirs, "it sends its signed receipt")
            }
        }
    }
}

/// A peer's answer to our release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answered {
    Consigned,
    Receipted,
    Declined,
}

impl Session {
    pub(super) fn begin_sending(&mut self, release: Hash) {
        if self.is_sending(&release) {
            // Asked for twice: whoever waits hears of the same end.
            return;
        }
        self.sending.push(Sending { release, root: None, stage: Stage::Preparing });
        self.ask(Question::Statement { digest: release }, Pending::Release { release });
    }

    pub(super) fn say_release(&mut self, release: Hash, signed: Signed) -> Result<(), PeerFault> {
        let said = Said::read(&signed).ok().filter(|said| said.kind == SaidKind::Release && said.digest == release);
        let Some(said) = said else {
            self.end_sending(release, Phase::Failed(Code::NotHere.into()));
            return Ok(());
        };
        let is_behind = self.sending.iter().any(|sending| sending.root == said.root && sending.stage.is_on_the_wire());
        // Withdrawn while it was read from the store.
        let Some(sending) = self.sending.iter_mut().find(|sending| sending.release == release) else { return Ok(()) };
        sending.root = said.root;
        sending.stage = if is_behind { Stage::Behind } else { Stage::AwaitConsignment };
        if is_behind {
            return Ok(());
        }
        self.event(Event::Sending { release, phase: Phase::Announced });
        self.say_under_checkpoint(signed, said);
        Ok(())
    }

    /// Which release that is under way the statement answers, and how. `Err`: it claims to and cannot.
    pub(super) fn answers(&self, said: &Said) -> Result<Option<(Hash, Answered)>, PeerFault> {
        let is_answered =
            |sending: &&Sending| said.in_reply_to == Some(sending.release) && sending.stage.is_on_the_wire();
        let Some(sending) = self.sending.iter().find(is_answered) else { return Ok(None) };
        let answered = match said.kind {
            SaidKind::Consignment => Answered::Consigned,
            SaidKind::Receipt => Answered::Receipted,
            // A person's refusal can come later and is then a statement like others; this one ends the transfer.
            SaidKind::Refusal => Answered::Declined,
            SaidKind::Release | SaidKind::Other => return Ok(None),
        };
        if said.root != sending.root {
            let name = |root: Option<Hash>| root.map_or_else(|| "no package".to_owned(), |root| root.to_string());
            return Err(PeerFault::Answer {
                statement: said.kind.name(),
                expected: name(sending.root),
                found: name(said.root),
            });
        }
        Ok(Some((sending.release, answered)))
    }

    pub(super) fn keep_answer(&mut self, release: Hash, signed: Signed, said: &Said, answer: Answered) {
        if answer == Answered::Receipted {
            self.event(Event::Sending { release, phase: Phase::Proven });
        }
        let item = Item::Answer { release, digest: said.digest, answer };
        self.batch.add(item, Received::Answer { signed, release: Some(release) });
    }

    pub(super) fn answer_kept(&mut self, release: Hash, digest: Hash, answer: Answered) {
        self.send(&Message::Kept(digest));
        match answer {
            Answered::Consigned => {
                if let Some(sending) = self.sending.iter_mut().find(|sending| sending.release == release) {
                    sending.stage = Stage::Serving;
                    self.event(Event::Sending { release, phase: Phase::Consigned });
                }
            }
            Answered::Receipted => {
                self.end_sending(release, Phase::Receipted { receipt: digest });
                // The peer's cosignature on what we have just logged bounds it from above.
                if !self.tasks.contains(&Task::Submit) {
                    self.tasks.push_front(Task::Submit);
                }
            }
            Answered::Declined => self.end_sending(release, Phase::Declined { refusal: digest }),
        }
    }

    pub(super) fn read_want(&mut self, want: Want) -> Result<(), PeerFault> {
        match self.sending.iter().find(|sending| sending.release == want.release) {
            Some(sending) if sending.stage == Stage::Serving => {
                self.outputs.push_back(Output::Serve(want));
                Ok(())
            }
            // A want of a transfer that has just ended crosses its end on the wire.
            None if self.ended.contains(&want.release) => Ok(()),
            _ => Err(self.out_of_state(FrameType::Want)),
        }
    }

    /// What the peer says that it has proven. It is told to people, and decides nothing.
    pub(super) fn read_proven(&mut self, proven: Proven) -> Result<(), PeerFault> {
        match self.sending.iter().find(|sending| sending.release == proven.release) {
            Some(sending) if sending.stage == Stage::Serving => {
                self.outputs.push_back(Output::Proven(proven));
                Ok(())
            }
            None if self.ended.contains(&proven.release) => Ok(()),
            _ => Err(self.out_of_state(FrameType::Proven)),
        }
    }

    pub(super) fn is_sending(&self, release: &Hash) -> bool {
        self.sending.iter().any(|sending| sending.release == *release)
    }

    pub(super) fn end_sending(&mut self, release: Hash, phase: Phase) {
        let Some(place) = self.sending.iter().position(|sending| sending.release == release) else { return };
        let Sending { root, stage, .. } = self.sending.remove(place);
        self.remember_end(release);
        self.outputs.push_back(Output::StopServing { release });
        self.event(Event::Sending { release, phase });
        // Who waited behind it is read from the store anew: its proof is then under a newer checkpoint.
        let behind = |sending: &Sending| sending.root == root && sending.stage == Stage::Behind;
        if let Some(place) = self.sending.iter().position(behind).filter(|_| stage.is_on_the_wire()) {
            let behind = self.sending.remove(place);
            self.tasks.push_front(Task::Deliver(behind.release));
        }
    }
}
