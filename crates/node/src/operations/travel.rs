//! What travels, as people and programs are told of it: a session's words with the names, and the bytes of the package.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use custodia_exchange::{Event, Phase as Moved};
use custodia_format::Hash;
use custodia_format::body::Body;
use custodia_format::key::KeyId;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;

use super::send::runtime;
use crate::api::{Direction, Ended, Operation, Outcome, Phase, Progress, Reporter};
use crate::failure::{Code, Failure};
use crate::outbox::Online;
use crate::outgoing::covered_bytes;
use crate::progress::journey::{STALLED, link};
use crate::watch::{News, Watch};
use crate::{Node, author};

/// How often it is told of each package how it stands, also where nothing moves.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Tells of packages that travel; what it has read of one it keeps.
pub(super) struct Travels<'a> {
    node: &'a Node,
    watch: &'a Watch,
    known: HashMap<Hash, Known>,
    /// What was told of the package that is waited for, and when.
    last: Option<(Progress, Instant)>,
}

/// What does not change of a hand-over.
#[derive(Debug, Clone, Default)]
struct Known {
    package: Option<String>,
    peer: Option<String>,
    /// Bytes of its items; none before the manifest is here.
    bytes: Option<u64>,
}

impl<'a> Travels<'a> {
    pub(super) fn new(node: &'a Node, watch: &'a Watch) -> Self {
        Self { node, watch, known: HashMap::new(), last: None }
    }

    /// How far a package is; none where no session moves it.
    pub(super) fn progress(&mut self, direction: Direction, release: &Hash) -> Option<Progress> {
        let (journey, road) = self.watch.journeys().of(direction, release)?;
        let known = self.known(release, Some(&journey.peer));
        let mut progress = journey.progress(known.bytes.unwrap_or(0), road.as_ref(), Instant::now());
        (progress.package, progress.peer) = (known.package, known.peer);
        Some(progress)
    }

    /// The same for the one package that is waited for, also where no session moves it: then it stands where it stood.
    pub(super) fn standing(&mut self, direction: Direction, release: &Hash) -> Option<Progress> {
        if let Some(progress) = self.progress(direction, release) {
            self.last = Some((progress.clone(), Instant::now()));
            return Some(progress);
        }
        let (mut progress, since) = self.last.clone()?;
        let silence = since.elapsed();
        progress.link = Some(link(None, (silence >= STALLED).then_some(silence)));
        Some(progress)
    }

    /// The last word on a package in this session.
    pub(super) fn ended(&mut self, direction: Direction, release: &Hash, ended: Ended) -> Progress {
        let known = self.known(release, None);
        let bytes = known.bytes.unwrap_or(0);
        let mut progress = Progress::of(Phase::Receipt);
        if ended.outcome == Outcome::Received {
            progress = progress.bytes(bytes, bytes);
            progress.proven = Some(bytes);
        }
        (progress.package, progress.peer, progress.direction) = (known.package, known.peer, Some(direction));
        progress.ended = Some(ended);
        self.known.remove(release);
        progress
    }

    fn known(&mut self, release: &Hash, peer: Option<&KeyId>) -> Known {
        let known = self.known.entry(*release).or_default();
        if known.bytes.is_none() {
            // What cannot be read is told by whoever needs it for more than a line on a screen.
            if let Ok(Some(statement)) = author::statement(self.node, release)
                && let (Body::Release(body), Some(package)) = (&statement.body, statement.head.package)
            {
                known.package = Some(package.root.to_string());
                if author::is_ours(self.node, &statement.head.ledger) {
                    known.peer = Some(body.recipient.name.to_string());
                }
                if self.node.home().manifest(&package.root).is_file() {
                    known.bytes = covered_bytes(self.node, &package.root, &body.items).ok();
                }
            }
        }
        if known.peer.is_none() {
            known.peer = peer.and_then(|peer| self.node.peers().rooted(peer)).map(|peer| peer.name.to_string());
        }
        known.clone()
    }
}

/// All that travels, both ways, as it moves, until nobody listens any more.
#[derive(Debug, Serialize, Deserialize)]
pub struct QueueWatch {}

impl Operation for QueueWatch {
    const NAME: &'static str = "queue/watch";
    type Answer = ();

    fn perform(self, node: &Arc<Node>, reporter: &Reporter) -> Result<(), Failure> {
        let online = node.online().ok_or_else(|| {
            Failure::new(Code::NotYet, "No node runs in this home, so nothing moves.")
                .safe("What was handed over stays queued.")
                .next("custodia serve")
        })?;
        watch(node, &online, reporter)
    }
}

fn watch(node: &Arc<Node>, online: &Online, reporter: &Reporter) -> Result<(), Failure> {
    let runtime = runtime()?;
    let note = |peer: &KeyId, note: String| {
        let peer = node.peers().rooted(peer).map(|peer| peer.name.to_string());
        reporter.progress(Progress { peer, ..Progress::note(Phase::Send, note) });
    };
    let mut news = online.watch().listen();
    let mut travels = Travels::new(node, online.watch());
    let mut told = Instant::now();
    while !reporter.is_abandoned() {
        match runtime.block_on(tokio::time::timeout(TELL_EVERY, news.recv())) {
            Ok(Ok(News::Session(event))) => tell(&mut travels, &event, reporter),
            Ok(Ok(News::Attempt(peer, failure, seconds))) => note(&peer, format!("{failure} Next try in {seconds} s.")),
            Ok(Ok(News::Detour(peer, why))) => note(&peer, format!("By another road: {why}.")),
            Err(_) | Ok(Err(RecvError::Lagged(_))) => {}
            Ok(Err(RecvError::Closed)) => break,
        }
        if node.online().is_none() {
            break;
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            let all: Vec<_> = online.watch().journeys().all().map(|(key, _)| key).collect();
            for (direction, release) in all {
                reporter.progress_of(travels.progress(direction, &release));
            }
        }
    }
    Ok(())
}

fn tell(travels: &mut Travels<'_>, event: &Event, reporter: &Reporter) {
    let Some((direction, release, phase)) = Direction::of(event) else { return };
    match (Ended::of(phase), phase) {
        (Some(ended), _) => reporter.progress(travels.ended(direction, release, ended)),
        // What only counts up is told with everything, once a second.
        (None, Moved::Content { .. }) => {}
        (None, _) => reporter.progress_of(travels.progress(direction, release)),
    }
}
