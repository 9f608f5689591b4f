//! The queue: what was handed over, how far it is, why it is not done, whose turn it is.

use std::sync::Arc;

use custodia_format::body::Body;
use custodia_format::kind::Kind;
use custodia_format::statement::Statement;
use custodia_index::Row;
use serde::{Deserialize, Serialize};

use super::answers::{Transfer, TransferState};
use crate::api::{Operation, Reporter};
use crate::failure::{Code, Failure};
use crate::{Node, author, proofs};

/// What was handed over, and how far it is.
#[derive(Debug, Serialize, Deserialize)]
pub struct Queue {
    /// Try now to deliver what waits.
    pub now: bool,
}

impl Operation for Queue {
    const NAME: &'static str = "queue";
    type Answer = Vec<Transfer>;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Vec<Transfer>, Failure> {
        if let Some(online) = node.online().filter(|_| self.now) {
            online.wake();
        }
        let mut transfers = Vec::new();
        for row in author::own_of_kind(node, &Kind::Release)? {
            // One that nobody saw before its ledger ended goes to nobody.
            if !proofs::is_lost(node, &row)? {
                transfers.push(transfer(node, &row)?);
            }
        }
        Ok(transfers)
    }
}

/// A hand-over of ours, as the ledger has it.
pub(super) fn transfer(node: &Node, release: &Row) -> Result<Transfer, Failure> {
    let statement = author::statement(node, &release.digest)?;
    let Some(Statement { body: Body::Release(body), .. }) = statement else {
        return Err(Failure::new(Code::Internal, "A release is no release.").at(release.digest));
    };
    let answers = node.index().answers(&release.digest)?;
    let of_peer = |kind: Kind| answers.iter().find(|row| row.kind == kind.to_string() && !author::is_own(node, row));
    let (receipt, refusal) = (of_peer(Kind::Receipt), of_peer(Kind::Refusal));
    let state = match (receipt, refusal, of_peer(Kind::Consignment)) {
        (Some(_), _, _) => TransferState::Received,
        (None, Some(_), _) => TransferState::Refused,
        (None, None, Some(_)) => TransferState::Consigned,
        (None, None, None) => TransferState::Released,
    };
    let answer = match (of_peer(Kind::Acceptance), refusal) {
        (Some(_), _) => Some("accepted".to_owned()),
        (None, Some(_)) => Some("refused".to_owned()),
        (None, None) => None,
    };
    let name = &body.recipient.name;
    let package = release.package.map(|root| root.to_string()).unwrap_or_default();
    let (why, turn, next) = match (state, &answer) {
        (TransferState::Released, _) => (
            format!("{name} has not answered the release yet"),
            "ours",
            "custodia serve delivers it as soon as the peer answers".to_owned(),
        ),
        (TransferState::Consigned, _) => (
            format!("{name} accepted the conditions and does not hold all of the content yet"),
            "ours",
            "custodia serve goes on where the link broke".to_owned(),
        ),
        (TransferState::Received, None) => (
            format!("nobody at {name} has accepted or refused it yet"),
            "theirs",
            format!("their officer runs: custodia accept {}", package.get(..16).unwrap_or(&package)),
        ),
        (TransferState::Received | TransferState::Refused, _) => (String::new(), "nobody", String::new()),
    };
    let is_open = matches!(state, TransferState::Released | TransferState::Consigned);
    let last_failure = node.online().filter(|_| is_open).and_then(|online| online.last_failure(&body.recipient.root));
    Ok(Transfer {
        package,
        release: release.digest.to_string(),
        to: name.to_string(),
        state,
        why,
        turn: turn.to_owned(),
        next,
        receipt: receipt.map(|row| row.digest.to_string()),
        answer,
        last_failure,
    })
}
