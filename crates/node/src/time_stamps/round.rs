//! A round: each service is asked for what it has yet to stamp, and what it gave is logged.

use std::sync::Arc;

use custodia_ledger::{Document, Shelf};
use tokio::task::{JoinSet, spawn_blocking};

use super::Service;
use super::due::{Due, Seen, Work};
use super::record::{self, Asked, Failed, Record};
use super::service::{self, Certificates, Got};
use crate::failure::{Code, Failure};
use crate::operations::answers::{Stamp, StampedBy};
use crate::{Node, ask, edge, views};

/// Checkpoints that one service stamps in one round; the rest waits for the next.
const ROUND: usize = 64;

/// Asks these services, each by itself and all at once.
///
/// # Errors
/// What keeps any of them from being asked: the node does not sign, or believes no time-stamping authority. What a service
/// does wrong is in its answer.
pub(crate) async fn ask_all(node: &Arc<Node>, services: &[Service]) -> Result<Vec<StampedBy>, Failure> {
    let _asks = node.stamping().asks.lock().await;
    let trusted = Arc::new(service::certificates(&node.trust()?)?);
    // A token becomes an entry, and each commit is signed.
    let signer = node.clone();
    let asked = spawn_blocking(move || ask::before_signing(&signer)).await;
    asked.map_err(|error| Failure::new(Code::Internal, error.to_string()))??;
    node.may_sign()?;
    let mut rounds = JoinSet::new();
    for service in services {
        rounds.spawn(ask_one(node.clone(), service.clone(), trusted.clone()));
    }
    let mut answers: Vec<StampedBy> = Vec::new();
    while let Some(answer) = rounds.join_next().await {
        answers.push(answer.map_err(|error| Failure::new(Code::Internal, error.to_string()))??);
    }
    answers.sort_by(|one, other| one.service.cmp(&other.service));
    Ok(answers)
}

/// Asks one service for all that it has yet to stamp, until it fails.
async fn ask_one(node: Arc<Node>, service: Service, trusted: Arc<Certificates>) -> Result<StampedBy, Failure> {
    let asked = Record::load(node.home()).of(&service).cloned().unwrap_or_default();
    let Work { due, from } = blocking(&node, move |node| Work::of(node, &asked)).await?;
    let mut answer = StampedBy { service: service.to_string(), tokens: Vec::new(), failure: None };
    for due in due.into_iter().take(ROUND) {
        match service::ask(&service, &trusted, &due.note.text_digest()).await {
            Ok(got) => {
                let service = service.clone();
                answer.tokens.push(blocking(&node, move |node| keep(node, &service, &due, got)).await?);
            }
            Err(failure) => {
                tracing::warn!(%service, %failure, found = failure.found, "a time-stamping service gave no token");
                answer.failure = Some(failure);
                break;
            }
        }
    }
    let failure = answer.failure.clone();
    blocking(&node, move |node| record::change(node, &service, |asked| went(asked, from, failure))).await?;
    Ok(answer)
}

/// Logs a token, with its checkpoint where nobody else keeps that; then remembers that it is there.
fn keep(node: &Node, service: &Service, due: &Due, got: Got) -> Result<Stamp, Failure> {
    let note = (due.seen == Seen::ByNobody).then(|| due.note.print().into_bytes());
    let documents = note.into_iter().chain([got.token]).map(|bytes| Document { shelf: Shelf::Anchor, bytes });
    let desk = node.desk();
    let appended = node.ledger().append(documents.collect())?;
    views::catch_up(node)?;
    drop(desk);
    let token = appended.last().ok_or_else(|| Failure::new(Code::Internal, "The ledger answered nothing."))?;
    if let Some(remark) = &got.remark {
        tracing::warn!(%service, remark, "a token was logged whose time is odd");
    }
    let stamp = Stamp {
        size: due.size,
        time: got.stamp.time.to_string(),
        by: got.stamp.by,
        token: token.digest.to_string(),
        leaf_index: token.index,
        remark: got.remark,
    };
    record::change(node, service, |asked| {
        asked.stamped.insert(due.size);
        asked.last = Some(stamp.clone());
    })?;
    Ok(stamp)
}

/// How a round with a service ended that looked from this statement on.
fn went(asked: &mut Asked, from: u64, failure: Option<Failure>) {
    asked.from = Some(from);
    asked.stamped.retain(|size| *size > from);
    asked.failed = failure.map(|failure| match asked.failed.take() {
        Some(failed) => Failed { times: failed.times.saturating_add(1), failure, ..failed },
        None => Failed { since: edge::now().unix(), times: 1, failure },
    });
}

/// Does what may wait for the disk beside the threads that wait for the network.
async fn blocking<T: Send + 'static>(
    node: &Arc<Node>,
    work: impl FnOnce(&Node) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let node = node.clone();
    let done = spawn_blocking(move || work(&node)).await;
    done.map_err(|error| Failure::new(Code::Internal, error.to_string()))?
}
