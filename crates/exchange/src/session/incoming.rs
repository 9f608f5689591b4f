//! A package on its way to us: release judged, consignment, fetch, receipt (docs/spec/wire.md §4.5 to §4.9).

use custodia_format::Hash;

use super::said::{Said, SaidKind};
use super::waiting::waiting;
use super::{
    AT_ONCE, Event, Fetching, Follows, Item, Message, Output, PeerFault, Pending, Phase, Question, Refused, Session,
    Signed, TRANSFERS, Turn, Waiting,
};
use crate::codes::Code;
use crate::frame::FrameType;
use crate::message::ErrorBody;
use crate::question::{Consigned, Received};
use crate::transfer::Document;

/// Our side of one release to us.
#[derive(Debug)]
pub(super) struct Receiving {
    release: Hash,
    root: Hash,
    consignment: Option<Hash>,
    stage: Stage,
}

/// How far it is.
#[derive(Debug)]
enum Stage {
    /// The host judges the release.
    Judging,
    /// The consignment is on its way out, perhaps behind a checkpoint that is being proven.
    Consigning(Fetching),
    /// Documents and content come in; these documents were asked for and have not been announced.
    Fetching { expected: Vec<Document> },
    /// The driver has reported; the session has not acted on it yet.
    Fetched(Result<(), Refused>),
    /// The host makes the receipt, or the peer has it and has not confirmed it.
    Receipt { receipt: Option<Hash> },
}

impl Receiving {
    pub(super) fn is_fetching(&self, release: &Hash) -> bool {
        self.release == *release && matches!(self.stage, Stage::Fetching { .. })
    }

    pub(super) fn expects(&mut self, document: Document) {
        if let Stage::Fetching { expected } = &mut self.stage {
            expected.push(document);
        }
    }

    pub(super) fn fetched(&mut self, end: Result<(), Refused>) {
        self.stage = Stage::Fetched(end);
    }

    /// Whether an error about this statement ends this transfer: the release, our consignment or our receipt.
    pub(super) fn concerns(&self, about: &Hash) -> bool {
        self.release == *about
            || self.consignment == Some(*about)
            || matches!(&self.stage, Stage::Receipt { receipt: Some(receipt) } if receipt == about)
    }

    pub(super) const fn release(&self) -> Hash {
        self.release
    }

    pub(super) const fn waiting(&self) -> Waiting {
        let (why, turn) = match self.stage {
            Stage::Judging => ("the release is being judged", Turn::Ours),
            Stage::Consigning(_) => ("the consignment is on its way", Turn::Ours),
            Stage::Fetching { .. } => ("content is on its way to us", Turn::Theirs),
            Stage::Fetched(_) | Stage::Receipt { receipt: None } => ("the receipt is being made", Turn::Ours),
            Stage::Receipt { receipt: Some(_) } => ("the peer verifies our receipt", Turn::Theirs),
        };
        waiting(why, turn, "the receipt is kept by both sides")
    }
}

impl Session {
    pub(super) fn judge_release(&mut self, signed: Signed, said: &Said) {
        let Some(root) = said.root else {
            // A release without a package cannot be parsed as one; the host never sees it.
            self.send(&Message::Error(ErrorBody::new(Code::Statement.into(), Some(said.digest))));
            return;
        };
        // Data streams name the package alone.
        let is_here = self.receiving.iter().any(|receiving| receiving.release == said.digest || receiving.root == root);
        if is_here || self.receiving.len() >= TRANSFERS {
            self.send(&Message::Error(ErrorBody::new(Refused::retry(Code::Busy, 1), Some(said.digest))));
            return;
        }
        let release = said.digest;
        self.receiving.push(Receiving { release, root, consignment: None, stage: Stage::Judging });
        self.event(Event::Receiving { release, phase: Phase::Announced });
        self.batch.add(Item::Release { release, root }, Received::Release(signed));
    }

    pub(super) fn say_consigned(&mut self, release: Hash, root: Hash, consigned: Consigned) {
        match consigned {
            Consigned::Accepted { consignment, history, manifest } => {
                let Some(said) = ours(&consignment, SaidKind::Consignment, release, root) else {
                    return self.close(Code::Internal);
                };
                if let Some(receiving) = self.receiving_mut(&release) {
                    receiving.consignment = Some(said.digest);
                    receiving.stage = Stage::Consigning(Fetching { release, root, history, manifest });
                }
                self.saying.push_back((consignment, said));
            }
            Consigned::Declined { refusal } => {
                let Some(said) = ours(&refusal, SaidKind::Refusal, release, root) else {
                    return self.close(Code::Internal);
                };
                let digest = said.digest;
                self.saying.push_back((refusal, said));
                self.end_receiving(release, Phase::Declined { refusal: digest });
            }
        }
    }

    /// The consignment is on the wire: only now may anything be asked for.
    pub(super) fn consignment_said(&mut self, digest: &Hash) {
        let said = self.receiving.iter_mut().find_map(|receiving| match receiving.stage {
            Stage::Consigning(fetching) if receiving.consignment.as_ref() == Some(digest) => {
                Some((receiving, fetching))
            }
            _ => None,
        });
        let Some((receiving, fetching)) = said else { return };
        receiving.stage = Stage::Fetching { expected: Vec::new() };
        self.event(Event::Receiving { release: fetching.release, phase: Phase::Consigned });
        self.outputs.push_back(Output::Fetch(fetching));
    }

    /// Acts on what the driver reported of as many transfers as can be asked about together. `false` if there was nothing
    /// to act on.
    pub(super) fn finish_fetches(&mut self) -> bool {
        let fetched = self.receiving.iter().filter_map(|receiving| match receiving.stage {
            Stage::Fetched(end) => Some((receiving.release, end)),
            _ => None,
        });
        let fetched: Vec<_> = fetched.take(AT_ONCE).collect();
        let mut releases = Vec::new();
        for (release, end) in &fetched {
            match end {
                Ok(()) => {
                    if let Some(receiving) = self.receiving_mut(release) {
                        receiving.stage = Stage::Receipt { receipt: None };
                    }
                    self.event(Event::Receiving { release: *release, phase: Phase::Proven });
                    releases.push(*release);
                }
                Err(refused) => self.refuse_transfer(*release, *refused),
            }
        }
        if !releases.is_empty() {
            self.ask(Question::Receipts { releases: releases.clone() }, Pending::Receipts { releases });
        }
        !fetched.is_empty()
    }

    pub(super) fn say_receipt(&mut self, release: Hash, receipt: Result<Signed, Refused>) {
        let signed = match receipt {
            Ok(signed) => signed,
            Err(refused) => return self.refuse_transfer(release, refused),
        };
        let Some(receiving) = self.receiving_mut(&release) else { return };
        let Some(said) = ours(&signed, SaidKind::Receipt, release, receiving.root) else {
            return self.close(Code::Internal);
        };
        receiving.stage = Stage::Receipt { receipt: Some(said.digest) };
        self.saying.push_back((signed, said));
    }

    /// The peer keeps our receipt: delivered, in the words of both sides.
    pub(super) fn receipt_kept(&mut self, digest: &Hash) {
        let is_kept = |receiving: &&Receiving| matches!(&receiving.stage, Stage::Receipt { receipt: Some(receipt) } if receipt == digest);
        if let Some(release) = self.receiving.iter().find(is_kept).map(|receiving| receiving.release) {
            self.end_receiving(release, Phase::Receipted { receipt: *digest });
        }
    }

    pub(super) fn read_follows(&mut self, follows: Follows) -> Result<(), PeerFault> {
        let receiving = self.receiving.iter_mut().find(|receiving| receiving.release == follows.release);
        let Some(receiving) = receiving else {
            return if self.ended.contains(&follows.release) {
                Ok(())
            } else {
                Err(self.out_of_state(FrameType::Follows))
            };
        };
        let place = match &receiving.stage {
            Stage::Fetching { expected } => expected.iter().position(|document| *document == follows.document),
            _ => None,
        };
        let (Some(place), Stage::Fetching { expected }) = (place, &mut receiving.stage) else {
            return Err(self.out_of_state(FrameType::Follows));
        };
        expected.swap_remove(place);
        self.event(Event::Receiving { release: follows.release, phase: Phase::Document(follows.document) });
        self.outputs.push_back(Output::Follows(follows));
        Ok(())
    }

    /// The peer ends a transfer, or does not take our consignment or receipt.
    pub(super) fn receiving_refused(&mut self, about: &Hash, refused: Refused) {
        if let Some(receiving) = self.receiving.iter().find(|receiving| receiving.concerns(about)) {
            let release = receiving.release;
            if matches!(receiving.stage, Stage::Fetching { .. }) {
                self.outputs.push_back(Output::StopFetching { release });
            }
            self.end_receiving(release, Phase::Failed(refused));
        }
    }

    pub(super) fn end_receiving(&mut self, release: Hash, phase: Phase) {
        if let Some(place) = self.receiving.iter().position(|receiving| receiving.release == release) {
            self.receiving.remove(place);
            self.remember_end(release);
            self.event(Event::Receiving { release, phase });
        }
    }

    fn receiving_mut(&mut self, release: &Hash) -> Option<&mut Receiving> {
        self.receiving.iter_mut().find(|receiving| receiving.release == *release)
    }
}

/// Our own answer, checked once more before it leaves: it must answer this release and no other.
fn ours(signed: &Signed, kind: SaidKind, release: Hash, root: Hash) -> Option<Said> {
    Said::read(signed)
        .ok()
        .filter(|said| said.kind == kind && said.in_reply_to == Some(release) && said.root == Some(root))
}
