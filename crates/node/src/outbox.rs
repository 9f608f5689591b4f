//! The outbox: what others must still get of us, and when it is tried.
//!
//! The queue itself is the ledger: a release that no receipt or refusal answers, an answer of ours that its reader has not
//! confirmed. So nothing can fall out of it, and a restart goes on where the last process stopped. Only the patience
//! between attempts lives in memory. Those to whom nothing is owed are called by the witness round.

mod attempt;
mod cap;
mod roads;
mod round;
mod sent;
mod tried;
mod wishes;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use custodia_format::Hash;
use custodia_format::body::Body;
use custodia_format::key::{KeyId, SigningKey};
use custodia_format::kind::Kind;
use custodia_net::{BindError, Endpoint, Host, Link, Refusal, Via};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::deadline;
use crate::failure::{Code, Failure};
use crate::host::{Station, owed};
use crate::watch::{News, Watch};
use crate::{Node, author, edge, keys, proofs};

use attempt::attempt;
pub(crate) use attempt::greet;
use cap::Count;
pub(crate) use cap::is_used_up;
use roads::Detours;
use round::Round;
pub(crate) use sent::Sent;
use tried::Attempt;
pub(crate) use tried::{Attempts, Tried};
pub(crate) use wishes::{Wishes, parse_cap, parse_rate, print_cap, print_rate};

/// How long an outbox without work sleeps when nobody wakes it.
const IDLE: Duration = Duration::from_secs(60);
/// The first wait after an attempt that came to nothing; it doubles from there.
const FIRST_WAIT_SECONDS: u64 = 1;
/// The longest wait between attempts.
const LONGEST_WAIT_SECONDS: u64 = 300;

/// A node's place on the network.
pub(crate) struct Online {
    endpoint: Endpoint,
    watch: Arc<Watch>,
    wake: Notify,
    /// What is to be done may be something else now.
    look: Notify,
    /// Sessions of peers that called us and are still there.
    calls: Mutex<HashMap<KeyId, Link>>,
    /// Who has called since the outbox looked last.
    callers: Mutex<Vec<KeyId>>,
    /// Why the last attempt at each authority came to nothing, and when the next one is made; none after one that did not.
    failures: Mutex<HashMap<KeyId, (Failure, Instant)>>,
    wishes: watch::Sender<Wishes>,
    detours: Detours,
    count: Count,
    tried: Mutex<Tried>,
}

impl std::fmt::Debug for Online {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Online").finish_non_exhaustive()
    }
}

/// How a socket is taken.
type Bind = fn(SocketAddr, SigningKey, Arc<dyn Host>) -> Result<Endpoint, BindError>;

/// What one authority must still get.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Work {
    /// Releases whose packages are to travel now, oldest first.
    releases: Vec<Hash>,
    /// Statements.
    owed: Vec<Hash>,
    /// By which road it is to be called.
    via: Via,
}

/// Why an authority is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Something is owed to it.
    Deliver,
    /// It is to cosign, and to say what it knows.
    Witness,
}

/// How attempts at one authority have gone.
#[derive(Debug, Default)]
struct Patience {
    failures: u32,
    not_before: Option<Instant>,
}

impl Online {
    /// Takes a socket and begins to deliver what is queued. Calls are taken only by [`Online::listen`]. Must be called on
    /// a runtime.
    pub(crate) fn start(node: &Arc<Node>, address: SocketAddr) -> Result<Arc<Self>, Failure> {
        Ok(Self::to_ask(node, address)?.begin(node))
    }

    /// As [`Online::start`], at the address where the configuration says that peers are to call, by each road that it names.
    pub(crate) fn to_serve(node: &Arc<Node>) -> Result<Arc<Self>, Failure> {
        let (bind, address): (Bind, _) = match node.config() {
            config if config.tcp => (Endpoint::bind_with_tcp, config.listen),
            config => (Endpoint::bind, config.listen),
        };
        Ok(Self::open(node, address, bind)?.begin(node))
    }

    fn begin(self: Arc<Self>, node: &Arc<Node>) -> Arc<Self> {
        let online = self;
        node.set_online(Some(online.clone()));
        tokio::spawn(run(node.clone(), online.clone()));
        tokio::spawn(keep_pace(node.clone(), online.clone()));
        tokio::spawn(cap::keep(node.clone(), online.clone()));
        online
    }

    /// Takes a socket and does nothing by itself: for whoever wants to ask the peers something. Must be called on a runtime.
    pub(crate) fn to_ask(node: &Arc<Node>, address: SocketAddr) -> Result<Arc<Self>, Failure> {
        Self::open(node, address, Endpoint::bind)
    }

    fn open(node: &Arc<Node>, address: SocketAddr, bind: Bind) -> Result<Arc<Self>, Failure> {
        let watch = Arc::new(Watch::new());
        let station = Arc::new(Station::new(node.clone(), watch.clone()));
        let endpoint = bind(address, keys::read(node.home(), keys::TRANSPORT)?, station)?;
        let wishes = watch::Sender::new(Wishes::of(node.home()));
        let (wake, look) = (Notify::new(), Notify::new());
        let (calls, callers, failures) = (Mutex::default(), Mutex::default(), Mutex::default());
        let detours = Detours::of(node.home());
        endpoint.expect_silence(detours.saved());
        if wishes.borrow().cap.is_some() {
            // Nothing leaves before it is counted.
            endpoint.throttle().allow(Some(0), 0);
        }
        let count = Count::of(node.home());
        let tried = Mutex::new(Tried::of(node.home()));
        let online = Self { endpoint, watch, wake, look, calls, callers, failures, wishes, detours, count, tried };
        online.set_pace(node);
        Ok(Arc::new(online))
    }

    /// The address that was taken.
    pub(crate) fn address(&self) -> Result<SocketAddr, Failure> {
        self.endpoint.local_addr().map_err(|error| Failure::io(&error, "the socket"))
    }

    /// Takes calls until the node goes down.
    pub(crate) async fn listen(&self) {
        self.endpoint.serve().await;
    }

    /// What happens from now on.
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// There may be something to deliver: look now, and forget what went wrong before.
    pub(crate) fn wake(&self) {
        self.failures().clear();
        self.wake.notify_one();
    }

    /// Why the last attempt at an authority came to nothing.
    pub(crate) fn last_failure(&self, peer: &KeyId) -> Option<Failure> {
        self.failures().get(peer).map(|(failure, _)| failure.clone())
    }

    /// In how many seconds an authority is tried again after an attempt that came to nothing.
    pub(crate) fn next_try_seconds(&self, peer: &KeyId) -> Option<u64> {
        let at = self.failures().get(peer).map(|(_, at)| *at)?;
        Some(at.saturating_duration_since(Instant::now()).as_secs())
    }

    /// How many callers were not let in, for this reason.
    pub(crate) fn refused(&self, refusal: Refusal) -> u64 {
        self.endpoint.refused(refusal)
    }

    /// How fast content leaves now, in bytes a second.
    pub(crate) fn rate(&self) -> Option<NonZeroU64> {
        self.endpoint.throttle().rate()
    }

    /// People want something else of the outbox from now on.
    pub(crate) fn wish(&self, node: &Node, wishes: Wishes) {
        self.wishes.send_replace(wishes);
        self.set_pace(node);
        self.look.notify_one();
    }

    /// Sets the limit that holds now; says for how many seconds it does.
    fn set_pace(&self, node: &Node) -> u64 {
        let wished = self.wishes.borrow().limit;
        let (rate, seconds) = match (wished, &node.config().sending) {
            (Some(limit), _) => (NonZeroU64::new(limit), PACE_SECONDS),
            (None, Some(sending)) => sending.at(edge::now().unix()),
            (None, None) => (None, PACE_SECONDS),
        };
        self.endpoint.throttle().set(rate);
        seconds
    }

    /// A peer has called: what waits for it can go over this session, also to who cannot be called.
    pub(crate) fn called(&self, link: Link) {
        let root = link.peer().root;
        self.calls().insert(root, link);
        self.callers().push(root);
        self.look.notify_one();
    }

    /// The session of a peer that called us.
    fn call_of(&self, peer: &KeyId) -> Option<Link> {
        let mut calls = self.calls();
        calls.retain(|_, link| !link.has_ended());
        calls.get(peer).cloned()
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<KeyId, Link>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn callers(&self) -> MutexGuard<'_, Vec<KeyId>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<KeyId, (Failure, Instant)>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the peers that this node goes down, and gives the socket back.
    pub(crate) async fn stop(&self, node: &Node) {
        node.set_online(None);
        self.wake.notify_one();
        self.close().await;
        if let Err(failure) = self.count.close(node.home(), self.endpoint.throttle(), edge::now()) {
            tracing::warn!(%failure, "what left today was not written down to the last byte");
        }
    }

    /// Gives the socket back where nothing but a question was made.
    pub(crate) async fn close(&self) {
        self.endpoint.close().await;
    }

    fn remember(&self, peer: KeyId, outcome: Option<(Failure, Instant)>) {
        match outcome {
            Some(failed) => drop(self.failures().insert(peer, failed)),
            None => drop(self.failures().remove(&peer)),
        }
    }
}

/// The longest that a limit holds before it is looked at again: this machine's clock may be set meanwhile.
const PACE_SECONDS: u64 = 60;

/// Keeps the limit that the time of day asks for.
async fn keep_pace(node: Arc<Node>, online: Arc<Online>) {
    while node.online().is_some_and(|now| Arc::ptr_eq(&now, &online)) {
        let seconds = online.set_pace(&node).clamp(1, PACE_SECONDS);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
}

/// Delivers until the node is no longer online.
async fn run(node: Arc<Node>, online: Arc<Online>) {
    let mut patience: BTreeMap<KeyId, Patience> = BTreeMap::new();
    let mut round = Round::new(node.config().witness);
    let mut attempts: JoinSet<(KeyId, Purpose, Result<(), Failure>)> = JoinSet::new();
    // What those who are called now are told of what is to be done.
    let mut under_way: BTreeMap<KeyId, watch::Sender<Work>> = BTreeMap::new();
    while node.online().is_some_and(|now| Arc::ptr_eq(&now, &online)) {
        let (looked, began, wishes) = (node.clone(), round.began(), online.wishes.borrow().clone());
        let asked = online.clone();
        let look = move || {
            let deadline =
                deadline::tell_missed(&looked, &wishes, edge::now(), |release| asked.circumstances(&wishes, release));
            Ok((work(&looked, &wishes, asked.is_used_up())?, Round::lacking(&looked, began), deadline))
        };
        let found = tokio::task::spawn_blocking(look).await;
        let found = found.unwrap_or_else(|error| Err(Failure::new(Code::Internal, error.to_string())));
        let (mut work, lacking, deadline) = found.unwrap_or_else(|failure| {
            tracing::error!(%failure, "what is queued cannot be read");
            (BTreeMap::new(), Vec::new(), None)
        });
        let now = Instant::now();
        let mut next = now + round.interval().map_or(IDLE, |interval| interval.min(IDLE));
        if let Some(deadline) = deadline {
            // A moment later: the clock is read in whole seconds.
            let seconds = u64::try_from(deadline.unix() - edge::now().unix()).unwrap_or_default() + 1;
            next = next.min(now + Duration::from_secs(seconds));
        }
        let (mut joined, mut left) = (Vec::new(), Vec::new());
        for (peer, told) in &under_way {
            let work = work.remove(peer).unwrap_or_default();
            told.send_if_modified(|before| {
                *before != work && {
                    let releases = |work: &Work| work.releases.iter().copied().collect::<BTreeSet<Hash>>();
                    joined.extend(releases(&work).difference(&releases(before)));
                    left.extend(releases(before).difference(&releases(&work)));
                    *before = work;
                    true
                }
            });
        }
        // Who calls us is here, whatever happened when we called.
        let callers = std::mem::take(&mut *online.callers());
        for peer in callers {
            patience.entry(peer).or_default().not_before = None;
        }
        for (peer, work) in work {
            match patience.entry(peer).or_default().not_before.filter(|at| *at > now) {
                Some(at) => next = next.min(at),
                None => {
                    joined.extend(&work.releases);
                    let (told, work) = watch::channel(work);
                    under_way.insert(peer, told);
                    let (node, online) = (node.clone(), online.clone());
                    attempts.spawn(async move { (peer, Purpose::Deliver, attempt(&node, &online, &peer, work).await) });
                }
            }
        }
        online.note(&node, joined, Attempt::Begins).await;
        online.note(&node, left, Attempt::Ended(None)).await;
        // Whoever is called for a delivery cosigns at that.
        let lacking: Vec<KeyId> = lacking.into_iter().filter(|peer| !under_way.contains_key(peer)).collect();
        for peer in round.due(&lacking, now) {
            let (authority, online) = (node.peers().rooted(&peer), online.clone());
            attempts.spawn(async move {
                let greeted = match authority {
                    Some(authority) => greet(&online, &authority).await,
                    None => Ok(()),
                };
                (peer, Purpose::Witness, greeted)
            });
        }
        next = round.next().map_or(next, |due| next.min(due));
        tokio::select! {
            () = sleep_until(next) => {}
            () = online.look.notified() => {}
            () = online.wake.notified() => patience.values_mut().for_each(|patience| patience.not_before = None),
            Some(Ok((peer, purpose, outcome))) = attempts.join_next() => match (purpose, outcome) {
                (Purpose::Witness, outcome) => {
                    if let Err(failure) = &outcome {
                        tracing::debug!(code = failure.code.as_str(), "a peer was not reached to cosign");
                    }
                    round.ended(&peer, outcome.is_ok(), Instant::now());
                }
                (Purpose::Deliver, Ok(())) => {
                    let releases = under_way.remove(&peer).map(|told| told.borrow().releases.clone());
                    online.note(&node, releases.unwrap_or_default(), Attempt::Ended(None)).await;
                    patience.remove(&peer);
                    online.remember(peer, None);
                }
                (Purpose::Deliver, Err(failure)) => {
                    let releases = under_way.remove(&peer).map(|told| told.borrow().releases.clone());
                    online.note(&node, releases.unwrap_or_default(), Attempt::Ended(Some(failure.code))).await;
                    let patience = patience.entry(peer).or_default();
                    patience.failures = patience.failures.saturating_add(1);
                    let seconds = wait_seconds(patience.failures);
                    let again = Instant::now() + Duration::from_secs(seconds);
                    patience.not_before = Some(again);
                    tracing::info!(code = failure.code.as_str(), seconds, "an attempt to deliver came to nothing");
                    online.remember(peer, Some((failure.clone(), again)));
                    online.watch.news(News::Attempt(peer, Box::new(failure), seconds));
                }
            }
        }
    }
}

/// Doubles from one second up to the longest, and a quarter more or less, so that many nodes do not call as one.
fn wait_seconds(failures: u32) -> u64 {
    let doubled = FIRST_WAIT_SECONDS << failures.saturating_sub(1).min(16);
    let wait = doubled.min(LONGEST_WAIT_SECONDS);
    let jitter = edge::random::<1>().map_or(0, |random| u64::from(random[0]) * (wait / 4 + 1) / 256);
    wait + jitter
}

/// Who must still get what, but for what is to wait. On a day that is used up what is new is announced, and no more.
fn work(node: &Node, wishes: &Wishes, is_used_up: bool) -> Result<BTreeMap<KeyId, Work>, Failure> {
    let mut all: BTreeMap<KeyId, Work> = BTreeMap::new();
    for (peer, mut releases) in open_releases(node)? {
        releases.retain(|release| !wishes.is_paused(release));
        if is_used_up {
            releases = releases
                .into_iter()
                .filter_map(|release| unannounced(node, release).transpose())
                .collect::<Result<_, _>>()?;
        }
        // While one goes first, the others to this peer wait; what is proven of them stays proven.
        if releases.iter().any(|release| wishes.is_first(release)) {
            releases.retain(|release| wishes.is_first(release));
        }
        if !releases.is_empty() {
            let via = wishes.via(&peer, &releases);
            all.insert(peer, Work { releases, via, owed: Vec::new() });
        }
    }
    for authority in node.peers().all() {
        let peer = authority.as_peer();
        let owed = owed(node, &peer)?;
        if !owed.is_empty() {
            let via = wishes.via(&authority.root, &[]);
            all.entry(authority.root).or_insert_with(|| Work { via, ..Work::default() }).owed = owed;
        }
    }
    Ok(all)
}

/// Our releases that nobody has answered for good, by recipient, oldest first.
pub(crate) fn open_releases(node: &Node) -> Result<BTreeMap<KeyId, Vec<Hash>>, Failure> {
    let mut open: BTreeMap<KeyId, Vec<Hash>> = BTreeMap::new();
    for row in author::own_of_kind(node, &Kind::Release)? {
        // A release that nobody saw before its ledger ended is void: it is made anew, or not at all.
        if is_answered(node, &row.digest)? || proofs::is_lost(node, &row)? {
            continue;
        }
        if let Some(Body::Release(body)) = author::statement(node, &row.digest)?.map(|statement| statement.body) {
            open.entry(body.recipient.root).or_default().push(row.digest);
        }
    }
    Ok(open)
}

/// A release of ours, where its recipient has not consigned it.
fn unannounced(node: &Node, release: Hash) -> Result<Option<Hash>, Failure> {
    let answers = node.index().answers(&release)?;
    Ok(author::of_peer(node, &answers, &Kind::Consignment).is_none().then_some(release))
}

/// Whether a release of ours is over: the recipient's receipt or refusal is in our ledger.
pub(crate) fn is_answered(node: &Node, release: &Hash) -> Result<bool, Failure> {
    Ok(author::ends_of(node, release)?.iter().any(|row| !author::is_own(node, row)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_grows_and_has_an_end() {
        for failures in 1..40 {
            let wait = wait_seconds(failures);
            assert!((1..=LONGEST_WAIT_SECONDS * 5 / 4 + 1).contains(&wait), "{failures}: {wait}");
        }
        assert!(wait_seconds(1) <= 2);
        assert!(wait_seconds(20) >= LONGEST_WAIT_SECONDS);
    }
}
