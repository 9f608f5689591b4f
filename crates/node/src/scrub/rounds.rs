//! The scrub: while the node serves, everything that lies at rest is read back within a configured time, again and again.
//!
//! It never competes: each object has its moment in the round by its share of all bytes, is read in steps of a MiB at a
//! bounded rate, and waits while a transfer is under way. A round that the node's end interrupted goes on at the next
//! start. What it finds is told in the trace, kept in `desk/damaged`, and shown by `custodia doctor`.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use custodia_exchange::Event;
use custodia_format::Hash;
use custodia_vault::{Found, ItemError, MidstatesWere};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;

use super::Amount;
use super::record::{EndedRound, Round, Scrubbed, change_damaged};
use super::shelves::{Suspect, Wrong, of_object, walk};
use crate::failure::{Code, Failure};
use crate::operations::answers::Damaged;
use crate::outbox::Online;
use crate::watch::News;
use crate::{Node, edge};

/// Bytes a second while an object is read: a small part of what any disk gives.
const BURST: u64 = 16 << 20;
/// By how much it may be faster than the round needs on average, where that is more.
const HURRY: u32 = 4;
/// What an object counts beyond its bytes, so that empty ones have a place in the round too.
const OBJECT_WEIGHT: u64 = 4096;
/// How often the place in the round is made durable: what a kill costs.
const SAVE_EVERY: Duration = Duration::from_secs(30);
/// The wait where there is nothing to read, or where reading failed as a whole.
const IDLE: Duration = Duration::from_secs(60);
/// The shortest time between two rounds.
const BREATH: Duration = Duration::from_secs(1);
/// A transfer that said nothing for so long is not under way.
const QUIET: Duration = Duration::from_secs(3);
/// How often a scrub that waits for a transfer looks whether it is over.
const LOOK: Duration = Duration::from_millis(250);
/// Records of a manifest between two short waits, and the wait.
const RECORDS_AT_ONCE: u32 = 1024;
const RECORDS_PAUSE: Duration = Duration::from_millis(10);
/// Damaged objects of a round for which it is looked up who needs them: a dying disk has too many for that, and a check that
/// a person asks for looks them up all together.
const LOOKED_UP_AT_ONCE: usize = 16;
/// How long the end of a node waits for the scrub.
const ENDS: Duration = Duration::from_secs(1);

/// A scrub that runs.
#[derive(Debug)]
pub(crate) struct Scrub {
    stop: Arc<Stop>,
    thread: JoinHandle<()>,
}

impl Scrub {
    /// Begins, if the node's owner wants it.
    pub(crate) fn start(node: &Arc<Node>, online: &Online) -> Result<Option<Self>, Failure> {
        let Some(period) = node.config().scrub else { return Ok(None) };
        let stop = Arc::new(Stop::default());
        let work = Work {
            node: node.clone(),
            period,
            stop: stop.clone(),
            transfers: Mutex::new(Transfers { news: online.watch().listen(), last: None }),
        };
        let thread = std::thread::Builder::new().name("scrub".to_owned()).spawn(move || work.run());
        Ok(Some(Self { stop, thread: thread.map_err(|error| Failure::io(&error, "a thread for the scrub"))? }))
    }

    /// Ends it. One that hangs in a disk that does not answer is left to the end of the process.
    pub(crate) async fn stop(self) {
        self.stop.set();
        let until = Instant::now() + ENDS;
        while !self.thread.is_finished() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A word that ends every wait.
#[derive(Debug, Default)]
struct Stop {
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    fn set(&self) {
        *self.is_set.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    fn is_set(&self) -> bool {
        *self.is_set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits, unless it is told to stop.
    fn wait(&self, time: Duration) {
        let is_set = self.is_set.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.changed.wait_timeout_while(is_set, time, |is_set| !*is_set);
    }
}

/// What is known of transfers.
struct Transfers {
    news: Receiver<News>,
    last: Option<Instant>,
}

/// How a round ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Everything was read.
    Whole,
    /// There is nothing to read.
    Nothing,
    /// The node goes down.
    Stopped,
}

struct Work {
    node: Arc<Node>,
    period: Duration,
    stop: Arc<Stop>,
    transfers: Mutex<Transfers>,
}

impl Work {
    fn run(&self) {
        while !self.stop.is_set() {
            let began = Instant::now();
            let wait = match self.round() {
                Ok(End::Whole) => self.period.saturating_sub(began.elapsed()).max(BREATH),
                Ok(End::Nothing) => self.period.clamp(BREATH, IDLE),
                Ok(End::Stopped) => return,
                Err(failure) if failure.code == Code::Interrupted => return,
                Err(failure) => {
                    tracing::error!(%failure, "what lies at rest cannot be read back");
                    self.period.clamp(BREATH, IDLE)
                }
            };
            self.stop.wait(wait);
        }
    }

    fn goes_on(&self) -> Result<(), Failure> {
        match self.stop.is_set() {
            true => Err(Failure::new(Code::Interrupted, "The node goes down.")),
            false => Ok(()),
        }
    }

    /// Reads everything once, from where the last process stopped.
    fn round(&self) -> Result<End, Failure> {
        let home = self.node.home();
        let mut scrubbed = Scrubbed::load(home);
        let all = Amount::of(&self.node, &|| self.goes_on())?;
        if all.objects == 0 {
            return Ok(End::Nothing);
        }
        let began_now = Round { began: edge::now().unix(), ..Round::default() };
        let mut round = scrubbed.round.take().unwrap_or(began_now);
        let pace = Pace::of(self, &all, &round);
        let after = round.after.as_deref().and_then(Hash::from_hex);
        let vault = self.node.vault();
        let items: Box<dyn Iterator<Item = _>> = match &after {
            None => Box::new(vault.items()),
            Some(after) => Box::new(vault.items_after(after)),
        };
        let (mut weight, mut saved) = (0, Instant::now());
        let mut keep = |round: &Round| {
            scrubbed.round = Some(round.clone());
            scrubbed.save(home)
        };
        keep(&round)?;
        for found in items {
            let Found::Item { sha256, size } = found? else { continue };
            self.stop.wait(pace.until(weight));
            let is_whole = match vault.verify_item(&sha256, &pace) {
                Err(ItemError::Cancelled) => return keep(&round).map(|()| End::Stopped),
                // Erased since it was listed.
                Err(ItemError::Missing { .. }) => continue,
                Ok(MidstatesWere::Right | MidstatesWere::Missing) => {
                    self.is_whole(&sha256)?;
                    true
                }
                Ok(MidstatesWere::Wrong) => self.is_damaged(&mut round, Suspect { sha256, wrong: Wrong::Midstates })?,
                Err(error) => {
                    let wrong = Wrong::of(&error, size);
                    self.is_damaged(&mut round, Suspect { sha256, wrong })?
                }
            };
            round.after = Some(sha256.to_string());
            round.objects += 1;
            round.bytes = round.bytes.saturating_add(size);
            weight += size + OBJECT_WEIGHT;
            if !is_whole || saved.elapsed() >= SAVE_EVERY {
                saved = Instant::now();
                keep(&round)?;
            }
        }
        keep(&round)?;
        match self.manifests(&mut round, &pace) {
            Err(failure) if failure.code == Code::Interrupted => keep(&round).map(|()| End::Stopped),
            Err(failure) => Err(failure),
            Ok(manifests) => {
                scrubbed.round = None;
                scrubbed.last = Some(EndedRound {
                    began: round.began,
                    ended: edge::now().unix(),
                    objects: round.objects,
                    bytes: round.bytes,
                    manifests,
                    damaged: round.damaged.len() as u64,
                });
                scrubbed.save(home)?;
                Ok(End::Whole)
            }
        }
    }

    /// Reads the manifests, and looks for objects that are missing; then what this round found is what is known.
    fn manifests(&self, round: &mut Round, pace: &Pace<'_>) -> Result<u64, Failure> {
        let of_object = |path: &String| path.strip_prefix("objects/").and_then(|path| Hash::from_hex(path.get(3..)?));
        let suspects: HashSet<Hash> = round.damaged.iter().filter_map(of_object).collect();
        let records = std::cell::Cell::new(0_u32);
        let goes_on = || {
            records.set(records.get().wrapping_add(1));
            if records.get().is_multiple_of(RECORDS_AT_ONCE) {
                self.stop.wait(RECORDS_PAUSE);
                pace.let_transfers_pass();
            }
            self.goes_on()
        };
        let walked = walk(&self.node, &suspects, &goes_on)?;
        let mut found = walked.damage;
        for sha256 in walked.missing.iter().filter(|sha256| !suspects.contains(sha256)) {
            let suspect = Suspect { sha256: *sha256, wrong: Wrong::Missing };
            found.push(super::shelves::of_object(&self.node, &suspect, walked.needs.get(sha256)));
        }
        found.iter().for_each(tell);
        round.damaged.extend(found.iter().map(|damaged| damaged.path.clone()));
        change_damaged(&self.node, |known| {
            known.retain(|known| round.damaged.contains(&known.path) && found.iter().all(|new| new.path != known.path));
            known.extend(found.iter().cloned());
        })?;
        Ok(walked.manifests)
    }

    /// An object was read whole: what was known of it is over.
    fn is_whole(&self, sha256: &Hash) -> Result<(), Failure> {
        let name = sha256.to_string();
        change_damaged(&self.node, |known| known.retain(|known| !known.path.ends_with(&name)))
    }

    /// An object was not what it should be. Gives false: it is not whole.
    fn is_damaged(&self, round: &mut Round, suspect: Suspect) -> Result<bool, Failure> {
        let needs = if round.damaged.len() < LOOKED_UP_AT_ONCE {
            // Where it cannot be looked up, the damage is told all the same.
            let walked = walk(&self.node, &HashSet::from([suspect.sha256]), &|| self.goes_on());
            walked.map(|walked| walked.needs).unwrap_or_default()
        } else {
            Default::default()
        };
        let damaged = of_object(&self.node, &suspect, needs.get(&suspect.sha256));
        tell(&damaged);
        round.damaged.push(damaged.path.clone());
        change_damaged(&self.node, |known| {
            known.retain(|known| known.path != damaged.path);
            known.push(damaged);
        })?;
        Ok(false)
    }
}

/// The trace says the file, which is a digest, and nothing of a case.
fn tell(damaged: &Damaged) {
    tracing::error!(
        path = damaged.path,
        found = damaged.found,
        "what lies at rest is damaged; custodia doctor says what to do"
    );
}

/// How fast a round goes.
struct Pace<'a> {
    work: &'a Work,
    began: Instant,
    /// What is left of the round's time.
    time: Duration,
    /// What is left of its weight.
    weight: u64,
    bytes_a_second: u64,
}

impl<'a> Pace<'a> {
    fn of(work: &'a Work, all: &Amount, round: &Round) -> Self {
        let total = all.bytes + all.objects * OBJECT_WEIGHT;
        let done = round.bytes + round.objects * OBJECT_WEIGHT;
        let gone = u64::try_from(edge::now().unix().saturating_sub(round.began)).unwrap_or(0);
        let average = total as f64 / work.period.as_secs_f64().max(BREATH.as_secs_f64());
        Self {
            work,
            began: Instant::now(),
            time: work.period.saturating_sub(Duration::from_secs(gone)),
            weight: total.saturating_sub(done).max(1),
            bytes_a_second: BURST.max((average * f64::from(HURRY)) as u64),
        }
    }

    /// How long until the object that comes after so much of the weight.
    fn until(&self, weight: u64) -> Duration {
        let part = (weight as f64 / self.weight as f64).min(1.0);
        self.time.mul_f64(part).saturating_sub(self.began.elapsed())
    }

    fn let_transfers_pass(&self) {
        let under_way = || self.work.transfers.lock().unwrap_or_else(PoisonError::into_inner).are_under_way();
        while under_way() && !self.work.stop.is_set() {
            self.work.stop.wait(LOOK);
        }
    }
}

impl custodia_vault::Progress for Pace<'_> {
    fn bytes(&self, bytes: u64) {
        self.work.stop.wait(Duration::from_secs_f64(bytes as f64 / self.bytes_a_second as f64));
        self.let_transfers_pass();
    }

    fn cancelled(&self) -> bool {
        self.work.stop.is_set()
    }
}

impl Transfers {
    fn are_under_way(&mut self) -> bool {
        loop {
            match self.news.try_recv() {
                Ok(News::Session(Event::Sending { .. } | Event::Receiving { .. })) | Err(TryRecvError::Lagged(_)) => {
                    self.last = Some(Instant::now());
                }
                Ok(_) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        self.last.is_some_and(|last| last.elapsed() < QUIET)
    }
}

#[cfg(test)]
mod tests {
    use custodia_exchange::Phase;
    use custodia_format::key::KeyId;

    use super::*;
    use crate::watch::Watch;

    #[test]
    fn a_transfer_that_speaks_is_under_way_until_it_was_quiet() {
        let watch = Watch::new();
        let mut transfers = Transfers { news: watch.listen(), last: None };
        assert!(!transfers.are_under_way());
        let peer = KeyId(Hash::ZERO);
        watch.tell(peer, &Event::Connected);
        assert!(!transfers.are_under_way());
        let phase = Phase::Content { bytes: 1, wasted: 0, proven: None };
        watch.tell(peer, &Event::Receiving { release: Hash::ZERO, phase });
        assert!(transfers.are_under_way() && transfers.are_under_way());
        transfers.last = Instant::now().checked_sub(QUIET);
        assert!(!transfers.are_under_way());
    }

    #[test]
    fn a_wait_ends_when_it_is_told_to() {
        let stop = Arc::new(Stop::default());
        let told = stop.clone();
        let waiting = std::thread::spawn(move || told.wait(IDLE));
        stop.set();
        waiting.join().unwrap();
        assert!(stop.is_set());
    }
}
