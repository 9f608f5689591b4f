//! What is remembered of reading back, in `desk/`: the place of a check that was interrupted, the scrub's round, and the
//! damage that is known. None of it is evidence. A file that cannot be read is as good as none: one reads back from the
//! start then.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::desk::{load, save};
use crate::failure::Failure;
use crate::home::Home;
use crate::operations::answers::Damaged;
use crate::{Node, edge};

/// How long the place of an interrupted check is worth something: what was read before may have rotted since.
const CURSOR_SECONDS: i64 = 86_400;

/// Where a check that a person asked for is: `desk/fsck`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// When it began, by this machine's clock.
    pub(super) began: i64,
    /// When it last came further.
    pub(super) at: i64,
    /// Every object up to and with this one was read.
    pub(super) after: Option<String>,
    /// How many those are.
    pub(super) objects: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Those among them that were not whole; they are read again.
    pub(super) damaged: Vec<String>,
    /// Those whose midstates were wrong and are written anew.
    pub(super) healed: Vec<String>,
}

impl Cursor {
    /// A check that begins now.
    pub(super) fn new() -> Self {
        let now = edge::now().unix();
        Self { began: now, at: now, ..Self::default() }
    }

    /// The place of a check that was interrupted within the last day.
    pub(super) fn load(home: &Home) -> Option<Self> {
        let cursor: Self = load(&Self::path(home))?;
        let age = edge::now().unix().saturating_sub(cursor.at);
        (cursor.after.is_some() && (0..=CURSOR_SECONDS).contains(&age)).then_some(cursor)
    }

    pub(super) fn save(&mut self, home: &Home) -> Result<(), Failure> {
        self.at = edge::now().unix();
        save(&Self::path(home), self)
    }

    /// The check has come to its end, or begins anew.
    pub(super) fn forget(home: &Home) -> Result<(), Failure> {
        let path = Self::path(home);
        match custodia_disk::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Failure::io(&error, path)),
            _ => Ok(()),
        }
    }

    fn path(home: &Home) -> PathBuf {
        home.desk().join("fsck")
    }
}

/// How the scrub is doing: `desk/scrub`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Scrubbed {
    /// The round under way.
    pub(crate) round: Option<Round>,
    /// The last round that came to its end.
    pub(crate) last: Option<EndedRound>,
}

/// A round of the scrub that is under way.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Round {
    /// When it began, by this machine's clock.
    pub(crate) began: i64,
    /// Every object up to and with this one was read.
    pub(crate) after: Option<String>,
    /// How many those are.
    pub(crate) objects: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// The files that were damaged.
    pub(crate) damaged: Vec<String>,
}

/// A round of the scrub that came to its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EndedRound {
    /// When it began.
    pub(crate) began: i64,
    /// When it ended.
    pub(crate) ended: i64,
    /// Objects read.
    pub(crate) objects: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Manifests and annexes read.
    pub(crate) manifests: u64,
    /// Files that were damaged.
    pub(crate) damaged: u64,
}

impl Scrubbed {
    /// What is known; nothing where it was never run.
    pub(crate) fn load(home: &Home) -> Self {
        load(&home.desk().join("scrub")).unwrap_or_default()
    }

    pub(super) fn save(&self, home: &Home) -> Result<(), Failure> {
        save(&home.desk().join("scrub"), self)
    }
}

/// The damage that is known and was not healed: `desk/damaged`, in the order of the files' names.
pub(crate) fn damaged(home: &Home) -> Vec<Damaged> {
    load(&damaged_path(home)).unwrap_or_default()
}

/// Changes what is known of damage.
pub(super) fn change_damaged(node: &Node, change: impl FnOnce(&mut Vec<Damaged>)) -> Result<(), Failure> {
    let _held = node.rest().damaged();
    let before = damaged(node.home());
    let mut after = before.clone();
    change(&mut after);
    after.retain(|damaged| !damaged.is_healed);
    after.sort_by(|one, other| one.path.cmp(&other.path));
    after.dedup_by(|one, other| one.path == other.path);
    if after == before { Ok(()) } else { save(&damaged_path(node.home()), &after) }
}

fn damaged_path(home: &Home) -> PathBuf {
    home.desk().join("damaged")
}
