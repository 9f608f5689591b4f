//! Asking the peers what they saw of our ledger: a disk that was restored cannot know by itself that it is old.

use std::sync::Arc;
use std::time::Duration;

use custodia_format::text::Label;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::Node;
use crate::failure::{Code, Failure};
use crate::outbox::{self, Online};

/// What came of asking.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Who told.
    pub(crate) heard: Vec<Label>,
    /// Who did not, and why.
    pub(crate) silent: Vec<(Label, Failure)>,
}

/// Asks all peers at once, and waits so long for each. What they tell is acted on where the session hears it.
pub(crate) async fn all(node: &Arc<Node>, online: &Arc<Online>, patience: Duration) -> Asked {
    let mut calls = JoinSet::new();
    for authority in node.peers().all() {
        let online = online.clone();
        calls.spawn(async move {
            let told = timeout(patience, outbox::greet(&online, &authority)).await;
            (authority, told.unwrap_or_else(|_| Err(too_slow(patience))))
        });
    }
    let mut asked = Asked::default();
    while let Some(Ok((authority, told))) = calls.join_next().await {
        // A session that ended because we are behind has told all the same.
        match told {
            _ if node.heard().when(&authority.root).is_some() => asked.heard.push(authority.name.clone()),
            Ok(()) => asked.heard.push(authority.name.clone()),
            Err(failure) => asked.silent.push((authority.name.clone(), failure)),
        }
    }
    asked.heard.sort();
    asked.silent.sort_by(|one, other| one.0.cmp(&other.0));
    asked
}

fn too_slow(patience: Duration) -> Failure {
    Failure::new(Code::PeerUnreachable, "The peer did not tell in time what it saw of this ledger.")
        .instead_of(format!("an answer within {} s", patience.as_secs()), "none")
}
