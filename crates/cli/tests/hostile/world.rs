//! A node that is called by a rogue and by a good peer, both of whom it has met.

use std::net::SocketAddr;

use crate::measure::{disk, most_memory};
use crate::support::{Authority, Place, Running};

/// The node, its callers, and what it held before anything was done to it.
pub struct World {
    pub place: Place,
    pub node: Authority,
    pub rogue: Authority,
    pub good: Authority,
    running: Option<Running>,
    memory: u64,
    disk: u64,
    size: u64,
    packages: u64,
}

impl World {
    pub fn new() -> Self {
        Self::with("", |_, _, _| ())
    }

    /// With lines in the node's configuration, and something done by the rogue, and to the node, before that runs.
    pub fn with(config: &str, before: impl FnOnce(&Place, &Authority, &Authority)) -> Self {
        let place = Place::new();
        let [node, rogue, good] = ["node.example", "rogue.example", "good.example"].map(|name| place.found(name));
        place.meet(&node, &rogue);
        place.meet(&node, &good);
        before(&place, &node, &rogue);
        let path = node.home.join("custodia.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        // Nobody is called by the node while it is watched.
        let text = text.replace("witness_seconds = 60", "witness_seconds = 0");
        std::fs::write(path, text + config).unwrap();
        let mut world = Self { place, node, rogue, good, running: None, memory: 0, disk: 0, size: 0, packages: 0 };
        world.running = Some(world.node.serves());
        // The first hand-over warms it up: what it needs for any, it has then.
        world.good_peer_gets_through(4 << 20);
        world.begins();
        world
    }

    /// From here on it is measured.
    pub fn begins(&mut self) {
        self.memory = most_memory(self.pid());
        self.disk = disk(&self.node.home);
        self.size = self.node.ledger_size();
    }

    pub fn pid(&self) -> u32 {
        self.running.as_ref().unwrap().pid()
    }

    pub fn address(&self) -> SocketAddr {
        self.node.address.parse().unwrap()
    }

    /// The good peer seals and hands over a package of so many bytes, and has its receipt.
    pub fn good_peer_gets_through(&mut self, bytes: usize) {
        self.packages += 1;
        let package = self.good.seals(&self.place.source(1000 + self.packages, bytes));
        self.good.asks(&Authority::sends(&package, &self.node));
        assert_eq!(self.good.said_of(&package).last().map(String::as_str), Some("receipt"));
    }

    /// Bytes by which the node's memory has grown at its most.
    pub fn memory_grew(&self) -> u64 {
        most_memory(self.pid()).saturating_sub(self.memory)
    }

    /// Bytes by which its home has grown.
    pub fn disk_grew(&self) -> u64 {
        disk(&self.node.home).saturating_sub(self.disk)
    }

    /// Statements that its ledger holds more.
    pub fn ledger_grew(&self) -> u64 {
        self.node.ledger_size() - self.size
    }

    /// Nothing of what was done got into the ledger or onto the disk.
    #[track_caller]
    pub fn nothing_was_kept(&self) {
        assert_eq!(self.ledger_grew(), 0, "statements were logged");
        assert!(self.disk_grew() < 64 << 10, "{} bytes were stored", self.disk_grew());
    }

    /// Afterwards the node lives, serves a good peer, stops in good order, and its ledger closes.
    #[track_caller]
    pub fn ends_well(mut self) {
        assert!(!self.running.as_mut().unwrap().has_ended(), "the node is gone");
        self.good_peer_gets_through(1 << 20);
        self.running.take().unwrap().stop();
        self.node.is_sound();
    }
}

/// The rogue seals a package for each of these sizes and releases it to the node, which hears nothing of it yet.
pub fn releases(place: &Place, node: &Authority, rogue: &Authority, sizes: &[usize]) {
    for (seed, size) in (1..).zip(sizes) {
        let package = rogue.seals(&place.source(seed, *size));
        rogue.asks(&[&"send", &package, &"--to", &node.name]);
    }
}
