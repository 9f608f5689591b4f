//! One node of a run: its disk, its clock, and the node itself while it is up.

use std::sync::Arc;

use custodia_disk::watch::{Watching, watch};
use custodia_net::Host;
use custodia_node::home::Home;
use custodia_node::{Node, watched};

use crate::disk::{Disk, How, Trouble};
use crate::random::Random;
use crate::template::{BEGINNING, Failed};

/// A node that is up.
pub(crate) struct Up {
    pub(crate) node: Arc<Node>,
    pub(crate) host: Arc<dyn Host>,
}

/// One node of a run.
pub(crate) struct Station {
    pub(crate) disk: Arc<Disk>,
    _watching: Watching,
    pub(crate) up: Option<Up>,
    /// Counts the lives of the machine.
    pub(crate) life: u32,
    /// How far its clock is off, in seconds.
    pub(crate) skew: i64,
    /// How much faster it goes, in millionths.
    pub(crate) drift: i64,
    /// Its ledger's size when it stopped signing.
    pub(crate) stopped_at: Option<u64>,
}

impl Station {
    /// The station of a home that lies on this disk.
    pub(crate) fn new(disk: Arc<Disk>) -> Self {
        let _watching = watch(disk.root().to_owned(), disk.clone());
        Self { disk, _watching, up: None, life: 0, skew: 0, drift: 0, stopped_at: None }
    }

    /// What its clock shows, in seconds since 1970.
    pub(crate) fn unix(&self, now_ms: u64) -> i64 {
        let passed = i64::try_from(now_ms / 1000).unwrap_or(0);
        BEGINNING + 600 + passed + passed * self.drift / 1_000_000 + self.skew
    }

    /// Starts the node. The caller has set the edge.
    pub(crate) fn start(&mut self) -> Result<(), Failed> {
        // Another process begins.
        custodia_disk::forget(self.disk.root());
        let node = Arc::new(Node::open(&Home::new(self.disk.root()))?);
        watched::nobody_answered(&node);
        self.up = Some(Up { host: watched::host(&node), node });
        self.stopped_at = None;
        Ok(())
    }

    /// Kills the process: nothing that it would still do is done. The system goes on.
    pub(crate) fn kill(&mut self) {
        self.disk.set_down(true);
        self.up = None;
        self.disk.set_down(false);
        self.disk.set_trouble(Trouble::default());
    }

    /// The power is back: the disk shows what it kept.
    pub(crate) fn power_up(&mut self, how: How, random: &mut Random) -> Result<(), Failed> {
        self.up = None;
        self.life += 1;
        // The index is not behind the disk, and is not worth trusting after a stop that did not close it.
        std::fs::remove_dir_all(self.disk.root().join("index"))?;
        Ok(self.disk.power_up(how, random)?)
    }

    /// The run is over: nothing that the node would still do is done.
    pub(crate) fn end(&mut self) {
        self.disk.set_down(true);
        self.up = None;
    }
}
