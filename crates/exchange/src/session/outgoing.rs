//! A package of ours on its way: release, consignment, content, receipt (docs/spec/wire.md §4.5 to §4.9).

use custodia_format::Hash;

use super::said::{Said, SaidKind};
use super::{Event, Message, Output, PeerFault, Pending, Phase, Question, Session, Signed, Task, Want};
use crate::codes::Code;
use crate::frame::FrameType;

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
    /// The peer has the release and judges it.
    AwaitConsignment,
    /// The peer has consigned: manifest and content may be asked for.
    Serving,
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
        self.sending = Some(Sending { release, root: None, stage: Stage::Preparing });
        self.ask(Question::Statement { digest: release }, Pending::Release { release });
    }

    pub(super) fn say_release(&mut self, release: Hash, signed: Signed) -> Result<(), PeerFault> {
        let said = Said::read(&signed).ok().filter(|said| said.kind == SaidKind::Release && said.digest == release);
        let (Some(said), Some(sending)) = (said, self.sending.as_mut()) else {
            self.end_sending(Phase::Failed(Code::NotHere.into()));
            return Ok(());
        };
        sending.root = said.root;
        sending.stage = Stage::AwaitConsignment;
        self.event(Event::Sending { release, phase: Phase::Announced });
        self.say_under_checkpoint(signed, said);
        Ok(())
    }

    /// Whether the statement answers the release that is under way, and how. `Err`: it claims to and cannot.
    pub(super) fn answers(&self, said: &Said) -> Result<Option<Answered>, PeerFault> {
        let Some(sending) = self.sending.as_ref().filter(|sending| sending.stage != Stage::Preparing) else {
            return Ok(None);
        };
        if said.in_reply_to != Some(sending.release) {
            return Ok(None);
        }
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
        Ok(Some(answered))
    }

    pub(super) fn keep_answer(&mut self, signed: Signed, said: &Said, answer: Answered) {
        let Some(sending) = self.sending.as_ref() else { return };
        let release = sending.release;
        if answer == Answered::Receipted {
            self.event(Event::Sending { release, phase: Phase::Proven });
        }
        self.ask(
            Question::Keep { statement: signed, release: Some(release) },
            Pending::KeepAnswer { digest: said.digest, answer },
        );
    }

    pub(super) fn answer_kept(&mut self, digest: Hash, answer: Answered) {
        self.send(&Message::Kept(digest));
        match answer {
            Answered::Consigned => {
                if let Some(sending) = self.sending.as_mut() {
                    sending.stage = Stage::Serving;
                    let release = sending.release;
                    self.event(Event::Sending { release, phase: Phase::Consigned });
                }
            }
            Answered::Receipted => {
                self.end_sending(Phase::Receipted { receipt: digest });
                // The peer's cosignature on what we have just logged bounds it from above.
                self.tasks.push_front(Task::Submit);
            }
            Answered::Declined => self.end_sending(Phase::Declined { refusal: digest }),
        }
    }

    pub(super) fn read_want(&mut self, want: Want) -> Result<(), PeerFault> {
        match &self.sending {
            Some(sending) if sending.release == want.release && sending.stage == Stage::Serving => {
                self.outputs.push_back(Output::Serve(want));
                Ok(())
            }
            // A want of a transfer that has just ended crosses its end on the wire.
            Some(sending) if sending.release == want.release => Err(self.out_of_state(FrameType::Want)),
            _ if self.ended.contains(&want.release) => Ok(()),
            _ => Err(self.out_of_state(FrameType::Want)),
        }
    }

    pub(super) fn end_sending(&mut self, phase: Phase) {
        if let Some(sending) = self.sending.take() {
            let release = sending.release;
            self.remember_end(release);
            self.outputs.push_back(Output::StopServing { release });
            self.event(Event::Sending { release, phase });
        }
    }
}
