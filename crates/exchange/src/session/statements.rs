//! Statements in general: dispatch of what comes, confirmation of what was sent, errors about either.

use custodia_format::Hash;

use super::said::{Said, SaidKind};
use super::{ErrorBody, Event, Item, Message, PeerFault, Phase, Session, Signed};
use crate::frame::FrameType;
use crate::question::Received;

/// Releases whose end is remembered, for frames that cross it on the wire.
const ENDED: usize = 64;

impl Session {
    pub(super) fn read_statement(&mut self, signed: Signed) -> Result<(), PeerFault> {
        let said = Said::read(&signed)?;
        if said.kind == SaidKind::Release {
            self.judge_release(signed, &said);
            return Ok(());
        }
        match self.answers(&said)? {
            Some((release, answer)) => self.keep_answer(release, signed, &said, answer),
            None => {
                let item = Item::Other { digest: said.digest };
                self.batch.add(item, Received::Answer { signed, release: None });
            }
        }
        Ok(())
    }

    /// Puts a statement of ours on the wire.
    pub(super) fn say(&mut self, signed: &Signed, said: &Said) {
        // A release is answered by a consignment; every other statement is confirmed by its digest.
        if said.kind != SaidKind::Release {
            self.unconfirmed.push(said.digest);
        }
        self.send(&Message::Statement(signed.clone()));
        self.consignment_said(&said.digest);
    }

    pub(super) fn say_owed(&mut self, digest: Hash, signed: Signed) -> Result<(), PeerFault> {
        match Said::read(&signed) {
            Ok(said) if said.digest == digest && said.kind != SaidKind::Release => {
                self.say_under_checkpoint(signed, said);
            }
            _ => self.close(crate::codes::Code::Internal),
        }
        Ok(())
    }

    pub(super) fn read_kept(&mut self, digest: Hash) -> Result<(), PeerFault> {
        let place = self.unconfirmed.iter().position(|sent| *sent == digest);
        let place = place.ok_or_else(|| self.out_of_state(FrameType::Kept))?;
        self.unconfirmed.remove(place);
        self.receipt_kept(&digest);
        self.batch.add_kept(digest);
        Ok(())
    }

    /// An error ends what it is about and nothing else. About nothing, or about something that is over: no effect.
    pub(super) fn read_error(&mut self, error: &ErrorBody) {
        let refused = error.refused();
        let Some(about) = error.about else { return };
        let ours = self.unconfirmed.iter().position(|sent| *sent == about);
        if let Some(place) = ours {
            self.unconfirmed.remove(place);
            self.event(Event::NotTaken { digest: about, refused });
        }
        self.end_sending(about, Phase::Failed(refused));
        self.receiving_refused(&about, refused);
    }

    pub(super) fn remember_end(&mut self, release: Hash) {
        if self.ended.len() == ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back(release);
    }
}
