//! What a peer says, taken in: all of it that came together, with one commit for what is new of it, and one for what we
//! answer.

use std::collections::HashMap;

use custodia_exchange::{Code as WireCode, Consigned, NeedsIt, Received, Refused, Signed, Taken};
use custodia_format::Hash;
use custodia_format::body::{Body, Consignment};
use custodia_format::kind::Kind;
use custodia_format::statement::{Package, Statement};
use custodia_index::Row;
use custodia_net::Peer;

use super::{Said, Station, refused, us};
use crate::author::{self, BoundBy, Draft};
use crate::peers::Authority;
use crate::proofs::Checked;
use crate::{ask, keys, outgoing, proofs, receive};

/// A statement that was checked, and what it is to us: a release's package, or all that an answer says.
struct Judged<T> {
    digest: Hash,
    envelope: Vec<u8>,
    proof: Checked,
    says: T,
}

impl Station {
    /// Takes in what came together, in its order.
    pub(super) fn take_in(&self, peer: &Peer, received: &[Received]) -> Vec<Result<Taken, Refused>> {
        let is_release = |it: &Received| matches!(it, Received::Release(_));
        let mut taken = Vec::with_capacity(received.len());
        for alike in received.chunk_by(|one, other| is_release(one) == is_release(other)) {
            let releases = alike.iter().filter_map(|it| match it {
                Received::Release(signed) => Some(signed),
                Received::Answer { .. } => None,
            });
            let answers = alike.iter().filter_map(|it| match it {
                Received::Release(_) => None,
                Received::Answer { signed, release } => Some((signed, release.as_ref())),
            });
            let (releases, answers): (Vec<_>, Vec<_>) = (releases.collect(), answers.collect());
            taken.extend(self.consign_all(peer, &releases).into_iter().map(|it| it.map(Taken::Consigned)));
            taken.extend(self.keep_all(peer, &answers).into_iter().map(|it| it.map(|()| Taken::Kept)));
        }
        taken
    }

    /// Answers a release to us.
    pub(crate) fn consign(&self, peer: &Peer, release: &Signed) -> Result<Consigned, Refused> {
        only(self.consign_all(peer, &[release]))
    }

    /// Keeps a statement that answers one of ours.
    pub(crate) fn keep(&self, peer: &Peer, signed: &Signed, release: Option<&Hash>) -> Result<(), Refused> {
        only(self.keep_all(peer, &[(signed, release)]))
    }

    /// The receipt for a release of which everything is proven.
    pub(crate) fn receipt(&self, peer: &Peer, release: &Hash) -> Result<Signed, Refused> {
        only(self.receipt_all(peer, std::slice::from_ref(release)))
    }

    /// Answers releases to us, each of another package.
    fn consign_all(&self, peer: &Peer, releases: &[&Signed]) -> Vec<Result<Consigned, Refused>> {
        let judged = self.judge(peer, releases, |authority, release| self.judge_release(authority, release));
        together(judged, |judged| self.consign_judged(peer, judged), |judged, row| self.consigned(peer, &judged, &row))
    }

    fn judge_release(&self, authority: &Authority, release: &Signed) -> Result<Judged<Package>, Refused> {
        let digest = release.digest();
        let statement = authority.check(&release.envelope).map_err(refused)?;
        let Body::Release(body) = &statement.body else { return Err(WireCode::Statement.into()) };
        let own_root = us(&self.node).map_err(refused)?;
        let ours = &self.node.config().ledger;
        if body.recipient.root != own_root || body.recipient.ledger.custodian() != ours.custodian() {
            return Err(WireCode::NotForUs.into());
        }
        let package = statement.head.package.ok_or(Refused::new(WireCode::Statement))?;
        self.charge(authority, &digest, Said::Release)?;
        let proof = proofs::check_theirs(authority, release).map_err(refused)?;
        Ok(Judged { digest, envelope: release.envelope.clone(), proof, says: package })
    }

    /// Logs releases, and consigns those that are not answered yet; gives the rows of our answers.
    fn consign_judged(&self, peer: &Peer, judged: &[&Judged<Package>]) -> Result<Vec<Row>, Refused> {
        self.keep_proofs(peer, judged)?;
        let _desk = self.node.desk();
        self.log(judged)?;
        let (mut rows, mut unanswered) = (HashMap::new(), Vec::new());
        for one in judged {
            let answers = self.own_answers(&one.digest, &[Kind::Consignment, Kind::Refusal]).map_err(refused)?;
            match answers.into_iter().next() {
                Some(answer) => drop(rows.insert(one.digest, answer)),
                None if unanswered.iter().any(|it: &&&Judged<Package>| it.digest == one.digest) => {}
                None => unanswered.push(one),
            }
        }
        let drafts: Vec<Draft> = unanswered
            .iter()
            .map(|judged| Draft {
                in_reply_to: Some(judged.digest),
                package: Some(judged.says),
                bound_by: BoundBy::Reader(peer.root),
                ..Draft::of(Body::Consignment(Consignment { release: judged.digest }))
            })
            .collect();
        let say = || match drafts.is_empty() {
            true => Ok(Vec::new()),
            false => author::say_all(&self.node, drafts, &[&keys::read(self.node.home(), keys::STATEMENT)?]),
        };
        for (judged, said) in unanswered.iter().zip(say().map_err(refused)?) {
            rows.insert(judged.digest, author::row(&self.node, &said.digest).map_err(refused)?);
        }
        let row = |judged: &&Judged<Package>| rows.get(&judged.digest).cloned().ok_or(Refused::new(WireCode::Internal));
        judged.iter().map(row).collect()
    }

    fn consigned(&self, peer: &Peer, judged: &Judged<Package>, answer: &Row) -> Result<Consigned, Refused> {
        let signed = self.send(peer, answer).map_err(refused)?;
        if answer.kind == Kind::Refusal.to_string() {
            return Ok(Consigned::Declined { refusal: signed });
        }
        let (history, manifest) = receive::needs(&self.node, &peer.root, &judged.digest, &judged.says.root);
        let need = |missing| if missing { NeedsIt::Yes } else { NeedsIt::No };
        Ok(Consigned::Accepted { consignment: signed, history: need(history), manifest: need(manifest) })
    }

    /// The receipts for releases, each of another package, of which everything is proven.
    pub(super) fn receipt_all(&self, peer: &Peer, releases: &[Hash]) -> Vec<Result<Signed, Refused>> {
        if let Err(failure) = ask::before_signing(&self.node) {
            return vec![Err(refused(failure)); releases.len()];
        }
        let send = |receipt: Hash| self.send(peer, &author::row(&self.node, &receipt)?);
        let receipts = receive::finish(&self.node, peer, releases).into_iter();
        receipts.map(|receipt| receipt.and_then(send).map_err(refused)).collect()
    }

    /// Keeps statements that answer ours.
    fn keep_all(&self, peer: &Peer, answers: &[(&Signed, Option<&Hash>)]) -> Vec<Result<(), Refused>> {
        let judged = self
            .judge(peer, answers, |authority, (signed, release)| self.judge_answer(peer, authority, signed, *release));
        let keep = |judged: &[&Judged<Statement>]| {
            self.keep_proofs(peer, judged)?;
            let _desk = self.node.desk();
            let new = self.log(judged)?;
            let receipts = new.iter().filter(|judged| matches!(judged.says.body, Body::Receipt(_)));
            receipts.for_each(|_| self.node.meters().receipt_stored());
            Ok(vec![(); judged.len()])
        };
        together(judged, keep, |_, ()| Ok(()))
    }

    fn judge_answer(
        &self,
        peer: &Peer,
        authority: &Authority,
        signed: &Signed,
        release: Option<&Hash>,
    ) -> Result<Judged<Statement>, Refused> {
        let statement = authority.check(&signed.envelope).map_err(refused)?;
        let answered = statement.head.in_reply_to.ok_or(Refused::new(WireCode::NotAllowed))?;
        let says_release = statement.body.release();
        let fits = match &statement.body {
            Body::Consignment(_) | Body::Receipt(_) => says_release == Some(answered),
            Body::Refusal(_) | Body::Acceptance(_) => true,
            _ => return Err(WireCode::NotAllowed.into()),
        };
        if !fits || release.is_some_and(|release| *release != answered) {
            return Err(WireCode::Answer.into());
        }
        // It must answer a release of ours to this very peer, about the same package.
        let ours =
            author::statement(&self.node, &answered).map_err(refused)?.ok_or(Refused::new(WireCode::NotForUs))?;
        let to_peer = matches!(&ours.body, Body::Release(body) if body.recipient.root == peer.root);
        if !to_peer || !author::is_ours(&self.node, &ours.head.ledger) || ours.head.package != statement.head.package {
            return Err(WireCode::Answer.into());
        }
        if let Body::Receipt(receipt) = &statement.body {
            let bytes = outgoing::released_bytes(&self.node, &ours).map_err(refused)?;
            if receipt.bytes != bytes {
                return Err(WireCode::Answer.into());
            }
        }
        self.charge(authority, &signed.digest(), Said::Answer)?;
        let proof = proofs::check_theirs(authority, signed).map_err(refused)?;
        Ok(Judged { digest: signed.digest(), envelope: signed.envelope.clone(), proof, says: statement })
    }

    /// Judges each, once it is clear that this node may sign and knows the peer.
    fn judge<T, U>(
        &self,
        peer: &Peer,
        all: &[T],
        judge: impl Fn(&Authority, &T) -> Result<Judged<U>, Refused>,
    ) -> Vec<Result<Judged<U>, Refused>> {
        let may_judge = ask::before_signing(&self.node).map_err(refused).and_then(|()| self.authority(peer));
        match may_judge {
            Ok(authority) => all.iter().map(|one| judge(&authority, one)).collect(),
            Err(refused) => all.iter().map(|_| Err(refused)).collect(),
        }
    }

    fn keep_proofs<T>(&self, peer: &Peer, judged: &[&Judged<T>]) -> Result<(), Refused> {
        let authority = self.authority(peer)?;
        proofs::keep_all(&self.node, &authority, judged.iter().map(|judged| &judged.proof)).map_err(refused)
    }

    /// Logs those of these statements that our ledger does not hold, each once, and gives them. The caller holds the desk.
    fn log<'a, T>(&self, judged: &[&'a Judged<T>]) -> Result<Vec<&'a Judged<T>>, Refused> {
        let mut new: Vec<&Judged<T>> = Vec::new();
        for one in judged {
            let is_here = self.node.index().row(&one.digest).map_err(|error| refused(error.into()))?.is_some();
            if !is_here && !new.iter().any(|it| it.digest == one.digest) {
                new.push(one);
            }
        }
        author::keep(&self.node, new.iter().map(|judged| judged.envelope.as_slice())).map_err(refused)?;
        Ok(new)
    }
}

/// Does something with all that were judged good together, then the rest with each. When the first fails, it has failed for all.
fn together<T, U, V>(
    judged: Vec<Result<T, Refused>>,
    act: impl FnOnce(&[&T]) -> Result<Vec<U>, Refused>,
    each: impl Fn(T, U) -> Result<V, Refused>,
) -> Vec<Result<V, Refused>> {
    let good: Vec<&T> = judged.iter().flatten().collect();
    let done = if good.is_empty() { Ok(Vec::new()) } else { act(&good) };
    let mut done = done.map(Vec::into_iter);
    let outcome = |judged: Result<T, Refused>| {
        let judged = judged?;
        let done = done.as_mut().map_err(|refused| *refused)?.next().ok_or(Refused::new(WireCode::Internal))?;
        each(judged, done)
    };
    judged.into_iter().map(outcome).collect()
}

/// The answer to a question about one.
fn only<T>(answers: Vec<Result<T, Refused>>) -> Result<T, Refused> {
    answers.into_iter().next().unwrap_or(Err(Refused::new(WireCode::Internal)))
}
