//! The cap of a day: how many bytes of content may leave until the next day begins, in UTC, to all peers together.
//!
//! Bytes leave only after they were counted durably: the throttle is handed [`AHEAD`] of them at a time, and these stand in
//! `desk/sent.json` before it has them. So a kill cannot make a day longer; it can make it shorter, by [`AHEAD`].

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use custodia_exchange::{Event, Phase};
use custodia_format::text::Time;
use custodia_net::Throttle;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::sent::Sent;
use super::{Online, PACE_SECONDS, Wishes};
use crate::failure::{Code, Failure};
use crate::home::Home;
use crate::watch::News;
use crate::{Node, edge};

/// Bytes that are counted before they leave.
const AHEAD: u64 = 4 << 20;
/// A day with fewer bytes left is used up: what is handed to a link at a time.
const LEAST: u64 = 64 << 10;
/// How long nothing leaves after the count could not be written down.
const AGAIN: Duration = Duration::from_secs(5);
const DAY_SECONDS: i64 = 86_400;

fn left(cap: NonZeroU64, sent: &Sent) -> u64 {
    cap.get().saturating_sub(sent.today())
}

/// Whether as much left on the day that was counted last as is wished.
pub(crate) fn is_used_up(wishes: &Wishes, sent: &Sent) -> bool {
    wishes.cap.is_some_and(|cap| left(cap, sent) < LEAST)
}

/// What left today, and whether more may.
#[derive(Debug)]
pub(super) struct Count {
    now: Mutex<Counted>,
}

#[derive(Debug)]
struct Counted {
    sent: Sent,
    /// How much the throttle had let through when `sent` was brought up to date.
    passed: u64,
    /// What stands in the file, and how much of it was counted ahead.
    saved: (Sent, u64),
    is_used_up: bool,
}

impl Count {
    /// What was counted before.
    pub(super) fn of(home: &Home) -> Self {
        let sent = Sent::of(home);
        let saved = (sent.clone(), 0);
        Self { now: Mutex::new(Counted { sent, passed: 0, saved, is_used_up: false }) }
    }

    fn now(&self) -> MutexGuard<'_, Counted> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_used_up(&self) -> bool {
        self.now().is_used_up
    }

    /// What left by now.
    pub(super) fn sent(&self, throttle: &Throttle, now: Time) -> Sent {
        let mut counted = self.now();
        counted.look(throttle, now);
        counted.sent.clone()
    }

    /// Lets through what may still leave today, after it was counted. Blocks.
    pub(super) fn allow(
        &self,
        home: &Home,
        throttle: &Throttle,
        cap: Option<NonZeroU64>,
        now: Time,
    ) -> Result<(), Failure> {
        let mut counted = self.now();
        counted.look(throttle, now);
        let Some(cap) = cap else {
            counted.is_used_up = false;
            throttle.allow(None, 0);
            return counted.save(home, 0);
        };
        let left = left(cap, &counted.sent);
        counted.is_used_up = left < LEAST;
        let ahead = if counted.is_used_up { 0 } else { left.min(AHEAD) };
        if let Err(failure) = counted.save(home, ahead) {
            throttle.allow(Some(counted.passed), 0);
            return Err(failure);
        }
        let low = match ahead {
            0 => 0,
            ahead if ahead == left => LEAST,
            _ => AHEAD / 2,
        };
        throttle.allow(Some(counted.passed + ahead), low);
        Ok(())
    }

    /// Lets nothing through any more, and counts what left. Blocks.
    pub(super) fn close(&self, home: &Home, throttle: &Throttle, now: Time) -> Result<(), Failure> {
        let mut counted = self.now();
        throttle.allow(Some(0), 0);
        counted.look(throttle, now);
        counted.save(home, 0)
    }
}

impl Counted {
    fn look(&mut self, throttle: &Throttle, now: Time) {
        let passed = throttle.passed();
        self.sent.add(passed.saturating_sub(self.passed));
        self.passed = passed;
        self.sent.at(now);
    }

    fn save(&mut self, home: &Home, ahead: u64) -> Result<(), Failure> {
        let to_save = (self.sent.clone(), ahead);
        // A day on which nothing left is not worth a file.
        let is_worth_it = self.sent.today() + ahead + self.saved.1 > 0;
        if is_worth_it && self.saved != to_save {
            self.sent.save(home, ahead)?;
            self.saved = to_save;
        }
        Ok(())
    }
}

impl Online {
    /// Whether as much left today as may.
    pub(crate) fn is_used_up(&self) -> bool {
        self.count.is_used_up()
    }

    /// What left by now.
    pub(crate) fn sent(&self) -> Sent {
        self.count.sent(self.endpoint.throttle(), edge::now())
    }

    fn allow(&self, node: &Node) -> Result<(), Failure> {
        self.count.allow(node.home(), self.endpoint.throttle(), self.wishes.borrow().cap, edge::now())
    }
}

/// Counts what leaves, and lets through what may, until the node is no longer online.
pub(super) async fn keep(node: Arc<Node>, online: Arc<Online>) {
    let (mut wishes, mut news) = (online.wishes.subscribe(), online.watch.listen());
    let mut was_used_up = false;
    while node.online().is_some_and(|now| Arc::ptr_eq(&now, &online)) {
        wishes.borrow_and_update();
        let (home, counting) = (node.clone(), online.clone());
        let allowed = tokio::task::spawn_blocking(move || counting.allow(&home)).await;
        let allowed = allowed.unwrap_or_else(|error| Err(Failure::new(Code::Internal, error.to_string())));
        if let Err(failure) = allowed {
            tracing::error!(%failure, "what leaves today cannot be counted, and waits");
            tokio::time::sleep(AGAIN).await;
            continue;
        }
        let is_used_up = online.is_used_up();
        if std::mem::replace(&mut was_used_up, is_used_up) != is_used_up {
            tracing::info!(is_used_up, "what may leave today");
            online.look.notify_one();
        }
        let to_midnight = DAY_SECONDS - edge::now().unix().rem_euclid(DAY_SECONDS);
        let seconds = u64::try_from(to_midnight).unwrap_or(1).clamp(1, PACE_SECONDS);
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
            () = online.endpoint.throttle().runs_low() => {}
            _ = wishes.changed() => {}
            // What was only to be announced waits now.
            () = consigned(&mut news), if is_used_up => online.look.notify_one(),
        }
    }
}

/// Waits until a peer has consigned something.
async fn consigned(news: &mut Receiver<News>) {
    loop {
        match news.recv().await {
            Ok(News::Session(Event::Sending { phase: Phase::Consigned, .. })) | Err(RecvError::Lagged(_)) => return,
            Ok(_) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A home, what is let through of it, and its count.
    struct Station {
        home: Home,
        throttle: Throttle,
        count: Count,
    }

    impl Station {
        /// As after a start.
        fn start(home: &Home) -> Self {
            let throttle = Throttle::default();
            throttle.allow(Some(0), 0);
            Self { home: home.clone(), throttle, count: Count::of(home) }
        }

        fn looks(&self, cap: u64, now: &str) {
            self.count.allow(&self.home, &self.throttle, NonZeroU64::new(cap), Time::parse(now).unwrap()).unwrap();
        }

        /// Lets through what it can; gives how much that was.
        async fn passes(&self, bytes: u64) -> u64 {
            let before = self.throttle.passed();
            for _ in 0..bytes / LEAST {
                let one = self.throttle.pass(LEAST as usize);
                // What may leave does so at the first poll.
                if tokio::time::timeout(Duration::ZERO, one).await.is_err() {
                    break;
                }
            }
            self.throttle.passed() - before
        }

        fn saved(&self) -> u64 {
            Sent::of(&self.home).today()
        }
    }

    fn home() -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        std::fs::create_dir(home.desk()).unwrap();
        (folder, home)
    }

    #[tokio::test]
    async fn a_day_ends_at_its_cap_and_the_next_one_begins_at_midnight() {
        let (_folder, home) = home();
        let node = Station::start(&home);
        assert_eq!(node.passes(MIB).await, 0, "nothing leaves before it is counted");
        for _ in 0..5 {
            node.looks(10 * MIB, "2026-12-24T22:00:00Z");
            node.passes(3 * MIB).await;
        }
        node.looks(10 * MIB, "2026-12-24T22:00:00Z");
        assert_eq!((node.throttle.passed(), node.saved(), node.count.is_used_up()), (10 * MIB, 10 * MIB, true));
        for clock in ["2026-12-24T23:59:59Z", "2026-12-24T01:00:00Z", "2026-12-23T12:00:00Z", "1970-01-01T00:00:00Z"] {
            node.looks(10 * MIB, clock);
            assert_eq!((node.passes(MIB).await, node.count.is_used_up()), (0, true), "{clock}");
        }
        node.looks(10 * MIB, "2026-12-25T00:00:00Z");
        assert_eq!((node.passes(MIB).await, node.count.is_used_up()), (MIB, false));
        node.looks(2 * MIB, "2026-12-25T00:00:01Z");
        assert_eq!(node.passes(8 * MIB).await, MIB, "a smaller cap holds at once");
    }

    #[tokio::test]
    async fn whenever_it_is_killed_no_day_gets_more_than_its_cap_and_none_loses_more_than_was_counted_ahead() {
        let (_folder, home) = home();
        let (cap, now) = (20 * MIB, "2026-12-24T10:00:00Z");
        let mut left = 0;
        for kill in 0..4 {
            let node = Station::start(&home);
            node.looks(cap, now);
            left += node.passes(MIB).await;
            assert!(node.saved() >= left && node.saved() <= left + (kill + 1) * AHEAD, "{kill}");
        }
        assert_eq!(left, 4 * MIB);
        let node = Station::start(&home);
        loop {
            node.looks(cap, now);
            left += match node.passes(cap).await {
                0 => break,
                bytes => bytes,
            };
        }
        assert!(left <= cap && left + 4 * AHEAD >= cap, "{left}");
    }

    #[tokio::test]
    async fn an_end_in_good_order_counts_to_the_byte() {
        let (_folder, home) = home();
        let now = Time::parse("2026-12-24T10:00:00Z").unwrap();
        let node = Station::start(&home);
        node.looks(20 * MIB, "2026-12-24T10:00:00Z");
        node.passes(MIB).await;
        assert_eq!(node.saved(), AHEAD);
        node.count.close(&home, &node.throttle, now).unwrap();
        assert_eq!((node.saved(), node.passes(MIB).await), (MIB, 0));
        // What left before there was a cap is counted too.
        let node = Station::start(&home);
        node.count.allow(&home, &node.throttle, None, now).unwrap();
        node.passes(30 * MIB).await;
        node.looks(20 * MIB, "2026-12-24T10:00:01Z");
        assert!(node.count.is_used_up());
    }

    #[tokio::test]
    async fn what_cannot_be_counted_does_not_leave() {
        let (_folder, home) = home();
        let node = Station::start(&home);
        std::fs::remove_dir(home.desk()).unwrap();
        std::fs::write(home.desk(), b"no folder").unwrap();
        let now = Time::parse("2026-12-24T10:00:00Z").unwrap();
        assert!(node.count.allow(&home, &node.throttle, NonZeroU64::new(MIB), now).is_err());
        assert_eq!(node.passes(MIB).await, 0);
    }
}
