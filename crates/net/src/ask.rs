//! Puts a session's question to the host: one method each, on a thread that may block.

use std::sync::Arc;

use custodia_exchange::{Answer, Code, Question};

use crate::host::{Host, Peer};

/// The host's answer. A host that panics has answered nothing that can be relied on: the session ends.
pub(crate) async fn ask(host: Arc<dyn Host>, peer: Arc<Peer>, question: Question) -> Answer {
    tokio::task::spawn_blocking(move || answer(&*host, &peer, question)).await.unwrap_or_else(|error| {
        tracing::error!(%error, "the host failed to answer");
        Answer::Refused(Code::Internal.into())
    })
}

/// The host's answer, in the caller's thread.
pub fn answer(host: &dyn Host, peer: &Peer, question: Question) -> Answer {
    let done = |()| Answer::Done;
    let answer = match question {
        Question::Hello => host.hello(peer).map(Answer::Hello),
        Question::Meet(hello) => host.meet(peer, &hello).map(done),
        Question::Cards { held } => host.cards(peer, held).map(Answer::Cards),
        Question::LearnCards { newest, envelopes } => host.learn_cards(peer, &newest, &envelopes).map(done),
        Question::Notes => host.notes(peer).map(Answer::Notes),
        Question::Hear(notes) => host.hear(peer, &notes).map(done),
        Question::GiveBack { from } => host.give_back(peer, from).map(Answer::GivenBack),
        Question::TakeBack(given) => host.take_back(peer, &given).map(done),
        Question::Checkpoint => host.checkpoint(peer).map(Answer::Checkpoint),
        Question::Consistency { old, new } => host.consistency(old, new).map(Answer::Consistency),
        Question::Witness(add) => Ok(Answer::Witnessed(host.witness(peer, &add))),
        Question::KeepCosignatures { checkpoint, lines } => host.keep_cosignatures(peer, &checkpoint, &lines).map(done),
        Question::Owed => Ok(Answer::Digests(host.owed(peer))),
        Question::Statement { digest } => host.statement(peer, &digest).map(Answer::Statement),
        Question::Take(statements) => Ok(Answer::Taken(host.take(peer, &statements))),
        Question::Receipts { releases } => Ok(Answer::Receipts(host.receipts(peer, &releases))),
        Question::Settled { digests } => digests.iter().try_for_each(|digest| host.settled(peer, digest)).map(done),
        // A question of a newer exchange crate: nothing that this host knows.
        _ => Err(Code::Internal.into()),
    };
    answer.unwrap_or_else(Answer::Refused)
}
