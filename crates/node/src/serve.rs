//! A running node: it takes calls of peers, delivers what is queued, and takes requests of its owner on its socket.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use crate::auditors::Gate;
use crate::failure::Failure;
use crate::outbox::Online;
use crate::scrub::Scrub;
use crate::time_stamps::Schedule;
use crate::{Node, api};

/// A node that has begun to listen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// Its ledger.
    pub ledger: String,
    /// Where it takes calls of peers, UDP.
    pub address: SocketAddr,
    /// Whether it takes them by TCP too, at the same address.
    #[serde(default)]
    pub tcp: bool,
    /// Where it takes requests of its owner.
    pub socket: String,
    /// Where it answers auditors, TCP, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auditors: Option<SocketAddr>,
}

/// Runs a node until it is told to stop by SIGINT or SIGTERM, which ends it in good order: peers are told, what is proven
/// is recorded.
///
/// # Errors
/// What keeps it from listening. Once it listens, only its socket can end it.
pub async fn serve(node: Arc<Node>, on_listening: impl FnOnce(Listening)) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::io(&error, "signals");
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt()).map_err(failed)?, signal(SignalKind::terminate()).map_err(failed)?);
    let gate = match &node.config().auditors {
        Some(auditors) => Some(Gate::open(auditors, node.home())?),
        None => None,
    };
    let requests = api::listen(&node)?;
    let online = Online::to_serve(&node)?;
    let scrub = Scrub::start(&node, &online)?;
    let time_stamps = Schedule::start(&node);
    on_listening(Listening {
        ledger: node.config().ledger.to_string(),
        address: online.address()?,
        tcp: node.config().tcp,
        socket: node.home().socket().display().to_string(),
        auditors: gate.as_ref().map(Gate::address).transpose()?,
    });
    let answer_auditors = async {
        match gate {
            Some(gate) => gate.serve().await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        () = online.listen() => Ok(()),
        failure = api::serve(node.clone(), requests) => Err(failure),
        () = answer_auditors => Ok(()),
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    if let Some(scrub) = scrub {
        scrub.stop().await;
    }
    if let Some(time_stamps) = time_stamps {
        time_stamps.stop().await;
    }
    online.stop(&node).await;
    let settled = node.clone();
    let _ = tokio::task::spawn_blocking(move || settled.settle()).await;
    // The process ends now; who still holds the node does nothing more with it.
    node.index().close();
    let _ = std::fs::remove_file(node.home().socket());
    ended
}
