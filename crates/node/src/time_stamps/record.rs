//! What is remembered of asking, in `desk/time-stamps`. It is no evidence: tokens are in the ledger.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Service;
use crate::desk::{load, save};
use crate::failure::Failure;
use crate::home::Home;
use crate::operations::answers::Stamp;
use crate::{Node, edge};

/// How asking has gone, by the services' addresses.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Record(BTreeMap<String, Asked>);

/// How asking one service has gone.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Asked {
    /// When that was last done, by this machine's clock.
    pub(crate) at: i64,
    /// The ledger of which this is: another generation begins anew.
    pub(crate) ledger: String,
    /// The first statement whose checkpoint it may still have to stamp, by its place; none where it was never asked.
    pub(crate) from: Option<u64>,
    /// The sizes of the checkpoints beyond that one that it has stamped.
    pub(crate) stamped: BTreeSet<u64>,
    /// Its newest token.
    pub(crate) last: Option<Stamp>,
    /// Why the last attempts came to nothing; none after one that did not.
    pub(crate) failed: Option<Failed>,
}

/// Attempts in a row that came to nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Failed {
    /// When the first of them was made.
    pub(crate) since: i64,
    /// How many they are.
    pub(crate) times: u32,
    /// Why the last one did not work.
    pub(crate) failure: Failure,
}

impl Record {
    /// What is known; nothing where nobody was ever asked.
    pub(crate) fn load(home: &Home) -> Self {
        load(&home.desk().join("time-stamps")).unwrap_or_default()
    }

    /// The newest token of each service that ever gave one.
    pub(crate) fn newest(&self) -> Vec<Stamp> {
        self.0.values().filter_map(|asked| asked.last.clone()).collect()
    }

    /// What is known of one service.
    pub(crate) fn of(&self, service: &Service) -> Option<&Asked> {
        self.0.get(&service.to_string())
    }
}

impl Asked {
    /// What is known as far as it is of this ledger.
    pub(super) fn of_ledger(mut self, ledger: &str) -> Self {
        if self.ledger != ledger {
            self = Self { ledger: ledger.to_owned(), from: None, stamped: BTreeSet::new(), ..self };
        }
        self
    }

    /// Attempts in a row that came to nothing.
    pub(crate) fn failures(&self) -> u32 {
        self.failed.as_ref().map_or(0, |failed| failed.times)
    }
}

/// Changes what is known of one service that has just been asked.
pub(super) fn change(node: &Node, service: &Service, change: impl FnOnce(&mut Asked)) -> Result<(), Failure> {
    let _held = node.stamping().record();
    let mut record = Record::load(node.home());
    let asked = record.0.entry(service.to_string()).or_default();
    *asked = std::mem::take(asked).of_ledger(&node.config().ledger.to_string());
    asked.at = edge::now().unix();
    change(asked);
    save(&node.home().desk().join("time-stamps"), &record)
}
