//! Time-stamp tokens over our own checkpoints, from the services that the owner named: asked for on schedule while the node
//! serves, and when a person asks (docs/operate/running.md, "Time-stamps").
//!
//! This file owns the schedule and who asks now. Below it are what the owner decided (`settings`), which checkpoints are to
//! be stamped (`due`), one question and the check of its answer (`service`), a round over the services (`round`), and
//! what is remembered of it (`record`). Nothing waits for a service: one that does not answer is asked again with growing
//! patience, and `custodia doctor` says so.
//!
//! Invariants:
//! - What is logged as a token was checked in full, under a certificate of the trust file.
//! - A token is durable, and in the ledger, before anything says that there is one.
//! - What is lost of `desk/time-stamps` costs a question too many, and no token.

mod due;
pub(crate) mod record;
pub(crate) mod round;
mod service;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

pub use settings::{Service, TimeStamps};

use crate::{Node, edge};
use record::Asked;

pub(crate) use record::Record;
pub(crate) use service::certificates;

/// The first wait after an attempt that came to nothing; it doubles from there.
const FIRST_WAIT: Duration = Duration::from_secs(60);
/// The longest wait between attempts, where the schedule is slower.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Who asks now, and who changes what is remembered.
#[derive(Debug, Default)]
pub(crate) struct Stamping {
    /// Held during a round, so that nothing is asked twice.
    asks: tokio::sync::Mutex<()>,
    /// Held while `desk/time-stamps` is changed.
    record: Mutex<()>,
}

impl Stamping {
    fn record(&self) -> MutexGuard<'_, ()> {
        // The file is replaced whole: whoever panicked left the old one or the new one.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A schedule that runs.
#[derive(Debug)]
pub(crate) struct Schedule(JoinHandle<()>);

impl Schedule {
    /// Begins, if the owner named services. Must be called on a runtime.
    pub(crate) fn start(node: &Arc<Node>) -> Option<Self> {
        let settings = node.config().time_stamps.clone()?;
        Some(Self(tokio::spawn(run(node.clone(), settings))))
    }

    /// Ends it: what is being asked is given up, what is being logged is logged.
    pub(crate) async fn stop(self) {
        self.0.abort();
        // It was told to end.
        let _ = self.0.await;
    }
}

/// Asks each service when its time has come.
async fn run(node: Arc<Node>, settings: TimeStamps) {
    let record = Record::load(node.home());
    let first = |service: &Service| Instant::now() + until_next(record.of(service), settings.every);
    let mut next: Vec<Instant> = settings.services.iter().map(first).collect();
    loop {
        let Some(soonest) = next.iter().min().copied() else { return };
        sleep_until(soonest).await;
        let now = Instant::now();
        let come: Vec<usize> = (0..next.len()).filter(|at| next.get(*at).is_some_and(|next| *next <= now)).collect();
        let services: Vec<Service> = come.iter().filter_map(|at| settings.services.get(*at).cloned()).collect();
        if let Err(failure) = round::ask_all(&node, &services).await {
            tracing::warn!(%failure, "no time-stamps are asked for");
        }
        let record = Record::load(node.home());
        for at in come {
            if let (Some(next), Some(service)) = (next.get_mut(at), settings.services.get(at)) {
                *next = Instant::now() + patience(record.of(service).map_or(0, Asked::failures), settings.every);
            }
        }
    }
}

/// How long until a service is asked that an earlier process may have asked.
fn until_next(asked: Option<&Asked>, every: Duration) -> Duration {
    let Some(asked) = asked else { return Duration::ZERO };
    let since = u64::try_from(edge::now().unix().saturating_sub(asked.at)).map_or(every, Duration::from_secs);
    patience(asked.failures(), every).saturating_sub(since)
}

/// How long until a service is asked again that has failed so many times in a row.
fn patience(failures: u32, every: Duration) -> Duration {
    match failures.checked_sub(1) {
        None => every,
        Some(doublings) => FIRST_WAIT.saturating_mul(1 << doublings.min(6)).min(LONGEST_WAIT).min(every),
    }
}
