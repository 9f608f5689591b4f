//! What was tried for each release that nobody has answered: `desk/tried.json`. No evidence by itself; what a statement says of
//! attempts is read from here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard, PoisonError};

use custodia_format::Hash;
use custodia_format::text::Time;
use serde::{Deserialize, Serialize};

use super::{Online, Wishes, is_answered};
use crate::deadline::Circumstances;
use crate::failure::{Code, Failure};
use crate::home::Home;
use crate::{Node, desk, edge};

/// The attempts for each release, by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Tried(BTreeMap<String, Attempts>);

/// Attempts to hand one release over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempts {
    /// When the first one began, by this machine's clock, `YYYY-MM-DDTHH:MM:SSZ`.
    pub(crate) first: String,
    /// When the last one began.
    pub(crate) last: String,
    /// How many there were.
    pub(crate) count: u64,
    /// The code of the last one that came to nothing, such as `E-PEER-UNREACHABLE`.
    pub(crate) code: Option<String>,
}

impl Tried {
    /// What was tried before; nothing where that cannot be read.
    pub(crate) fn of(home: &Home) -> Self {
        desk::load(&path(home)).unwrap_or_default()
    }

    pub(super) fn save(&self, home: &Home) -> Result<(), Failure> {
        desk::save(&path(home), self)
    }

    /// An attempt for these releases begins.
    pub(super) fn begins(&mut self, releases: &[Hash], now: Time) {
        for release in releases {
            let now = now.to_string();
            let first = Attempts { first: now.clone(), last: now.clone(), count: 0, code: None };
            let attempts = self.0.entry(release.to_string()).or_insert(first);
            (attempts.last, attempts.count) = (now, attempts.count.saturating_add(1));
        }
    }

    /// It came to nothing.
    pub(super) fn fails(&mut self, releases: &[Hash], code: &str) {
        for release in releases {
            if let Some(attempts) = self.0.get_mut(&release.to_string()) {
                attempts.code = Some(code.to_owned());
            }
        }
    }

    /// It is over for good.
    pub(super) fn forget(&mut self, release: &Hash) {
        self.0.remove(&release.to_string());
    }

    /// What was tried for a release; none where nothing was.
    pub(crate) fn of_release(&self, release: &Hash) -> Option<&Attempts> {
        self.0.get(&release.to_string())
    }
}

fn path(home: &Home) -> PathBuf {
    home.desk().join("tried.json")
}

/// What is written down of an attempt.
#[derive(Debug, Clone, Copy)]
pub(super) enum Attempt {
    Begins,
    /// Why it came to nothing, if it did.
    Ended(Option<Code>),
}

impl Online {
    /// What is known of why a release has no receipt.
    pub(super) fn circumstances(&self, wishes: &Wishes, release: &Hash) -> Circumstances {
        let held_back = match () {
            () if wishes.is_paused(release) => Some("paused"),
            () if self.is_used_up() => Some("cap"),
            () => None,
        };
        Circumstances { attempts: self.attempts(release), held_back }
    }

    /// What was tried for a release; none where nothing was.
    pub(crate) fn attempts(&self, release: &Hash) -> Option<Attempts> {
        self.tried().of_release(release).cloned()
    }

    fn tried(&self) -> MutexGuard<'_, Tried> {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down that an attempt begins for these releases, or how it ended: what came to nothing by its code, what is
    /// answered not at all.
    pub(super) async fn note(self: &Arc<Self>, node: &Arc<Node>, releases: Vec<Hash>, attempt: Attempt) {
        if releases.is_empty() {
            return;
        }
        let (online, node) = (self.clone(), node.clone());
        let write = move || {
            let mut tried = online.tried();
            match attempt {
                Attempt::Begins => tried.begins(&releases, edge::now()),
                Attempt::Ended(code) => {
                    if let Some(code) = code {
                        tried.fails(&releases, code.as_str());
                    }
                    for release in releases {
                        if is_answered(&node, &release)? {
                            tried.forget(&release);
                        }
                    }
                }
            }
            tried.save(node.home())
        };
        let written = tokio::task::spawn_blocking(write).await;
        if let Ok(Err(failure)) = written {
            tracing::warn!(%failure, "what was tried was not written down");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempt_stays_the_first_and_the_last_reason_is_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        std::fs::create_dir(home.desk()).unwrap();
        let (one, two) = (Hash::of(b"one"), Hash::of(b"two"));
        let at = |text: &str| Time::parse(text).unwrap();
        let mut tried = Tried::of(&home);
        assert_eq!(tried.of_release(&one), None);
        tried.begins(&[one], at("2026-12-24T10:00:00Z"));
        tried.fails(&[one, two], "E-PEER-UNREACHABLE");
        tried.begins(&[one, two], at("2026-12-24T10:00:02Z"));
        tried.fails(&[one], "E-LINK-LOST");
        tried.save(&home).unwrap();
        let mut tried = Tried::of(&home);
        let attempts = tried.of_release(&one).unwrap();
        assert_eq!((attempts.first.as_str(), attempts.last.as_str()), ("2026-12-24T10:00:00Z", "2026-12-24T10:00:02Z"));
        assert_eq!((attempts.count, attempts.code.as_deref()), (2, Some("E-LINK-LOST")));
        assert_eq!(tried.of_release(&two).map(|attempts| (attempts.count, attempts.code.clone())), Some((1, None)));
        tried.forget(&one);
        assert_eq!(tried.of_release(&one), None);
    }
}
