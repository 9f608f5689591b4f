//! What goes wrong around a node, its outbox, and how it is started again.

use custodia_format::Hash;
use custodia_node::watched;

use crate::disk::{How, PowerCut, Trouble};
use crate::world::{Event, World};

/// How often a node looks at what it owes.
const TURN_MS: u64 = 1_500;
/// Of the power cuts that are aimed at a transfer's files, those drawn from here on come right after it has recorded
/// something: when the record lasts, and before it does, what it speaks of must last too.
const AFTER_A_RECORD: u64 = 25;
/// The transfer's record, as `vault` names it.
const RECORD: &str = "have";
/// How far a clock jumps at the most: three days, and clocks that differ by more than an hour make `interval-inverted`
/// (docs/spec/proof.md, step 5), which must hold nothing up.
const FAR_SECONDS: u64 = 259_200;

impl World<'_> {
    pub(crate) fn turn(&mut self, node: usize) {
        let next = TURN_MS + self.random.below(500);
        self.after(next, Event::Turn { node });
        if self.stations.get(node).is_none_or(|station| station.up.is_none()) {
            return;
        }
        if !self.is_calm {
            self.draw(node);
        }
        if self.stations.get(node).is_some_and(|station| station.up.is_some()) {
            self.call_peers(node);
        }
        self.write_out(node);
    }

    fn draw(&mut self, node: usize) {
        let mix = self.mix.clone();
        let Some(disk) = self.stations.get(node).map(|station| station.disk.clone()) else { return };
        let trouble = disk.trouble();
        if self.random.permille(mix.power_cuts) && trouble.power_cut.is_none_or(|cut| cut.below.is_some()) {
            // Some are aimed at what a transfer, or a ledger, writes.
            let below = [None, None, Some("incoming"), Some("incoming"), Some("state")];
            let below = below.get(self.random.place(below.len())).copied().flatten();
            let at = self.random.within(1, if below.is_some() { 40 } else { 150 });
            let cut = match below {
                Some("incoming") if at >= AFTER_A_RECORD => PowerCut { below, after: Some(RECORD), at: at % 8 + 1 },
                _ => PowerCut { below, after: None, at },
            };
            disk.set_trouble(Trouble { power_cut: Some(cut), ..trouble.clone() });
        }
        if self.random.permille(mix.errors) && trouble.errors == 0 {
            let errors_from = Some(disk.calls() + self.random.within(1, 80));
            let errors = [1, 1, 3, u64::MAX].get(self.random.place(4)).copied().unwrap_or(1);
            disk.set_trouble(Trouble { errors_from, errors, ..disk.trouble() });
        }
        if self.random.permille(mix.full) {
            self.note(&format!("{node} has no room"));
            disk.set_trouble(Trouble { is_full: true, ..disk.trouble() });
            let (life, delay) = (self.stations.get(node).map_or(0, |it| it.life), self.random.within(2_000, 30_000));
            self.after(delay, Event::Room { node, life });
        }
        if self.random.permille(mix.flips) {
            self.flip(node);
        }
        if self.random.permille(mix.jumps) {
            let by = i64::try_from(self.random.below(FAR_SECONDS)).unwrap_or(0);
            let by = if self.random.permille(500) { by } else { -by };
            self.tally.jumps += 1;
            self.note(&format!("{node} has its clock off by {by} s"));
            if let Some(station) = self.stations.get_mut(node) {
                station.skew = by;
            }
        }
        if self.random.permille(mix.cuts) {
            let open: Vec<u64> = self.open_connections().into_iter().collect();
            if let Some(connection) = open.get(self.random.place(open.len())).copied() {
                let half = mix.half_open && self.random.permille(500);
                self.tally.cuts += 1;
                self.note(&format!("a line is cut{}", if half { ", and one side does not notice" } else { "" }));
                self.cut(connection, half);
            }
        }
        if self.random.permille(mix.partitions) {
            let other = self.random.place(self.stations.len());
            let until = self.now + self.random.within(3_000, 60_000);
            self.tally.partitions += 1;
            self.note(&format!("{node} and {other} do not reach each other"));
            self.partitions.insert((node.min(other), node.max(other)), until);
        }
        if self.random.permille(mix.kills) {
            self.kill(node);
        }
    }

    /// Bits change at rest: of what the node sends, or of what it keeps about what arrives; and of what arrived, while it is
    /// down. What a process itself has proven counts for as long as it lives.
    fn flip(&mut self, node: usize) {
        let is_down = self.stations.get(node).is_some_and(|station| station.up.is_none());
        let Some(disk) = self.stations.get(node).map(|station| station.disk.clone()) else { return };
        let signed = self.signed_items(node);
        let mut files = disk.files(std::path::Path::new("objects"));
        files.retain(|path| {
            path.file_name().and_then(|name| Hash::from_hex(name.to_str()?)).is_some_and(|it| !signed.contains(&it))
        });
        files.extend(disk.files(std::path::Path::new("incoming")).into_iter().filter(|path| {
            let is_content = || path.file_name().and_then(|name| Hash::from_hex(name.to_str()?)).is_some();
            path.file_name().is_some_and(|name| name == "have")
                || path.extension().is_some_and(|it| it == "midstates")
                || is_down && is_content()
        }));
        let Some(path) = files.get(self.random.place(files.len())).cloned() else { return };
        let (byte, bit) = (self.random.next(), u8::try_from(self.random.below(8)).unwrap_or(0));
        if disk.flip(&path, byte, bit) {
            self.tally.flips += 1;
            self.note(&format!("{node} has a flipped bit in {}", path.display()));
            self.promises.flipped(node, &path);
            self.flipped.push((node, path, byte, bit));
        }
    }

    /// People bring back what rotted.
    fn mend(&mut self) {
        for (node, path, byte, bit) in std::mem::take(&mut self.flipped) {
            let Some(disk) = self.stations.get(node).map(|station| station.disk.clone()) else { continue };
            let named = path.file_name().and_then(|name| Hash::from_hex(name.to_str()?));
            let is_whole = disk.durable(&path).is_none_or(|bytes| named.is_none_or(|named| Hash::of(&bytes) == named));
            if path.starts_with("objects") && !is_whole {
                disk.flip(&path, byte, bit);
            }
        }
    }

    fn kill(&mut self, node: usize) {
        self.note(&format!("{node} is killed"));
        self.tally.kills += 1;
        self.hang_up(node);
        if let Some(station) = self.stations.get_mut(node) {
            station.kill();
        }
        self.start_later(node);
    }

    /// The power went in the middle of a call.
    pub(crate) fn power_lost(&mut self, node: usize) {
        self.note(&format!("{node} has no power"));
        self.tally.power_cuts += 1;
        self.hang_up(node);
        let how = [How::Lost, How::Kept, How::InOrder, How::Torn, How::Torn];
        let how = how.get(self.random.place(how.len())).copied().unwrap_or(How::Lost);
        let mut random = self.random.fork();
        self.note(&format!("{node} finds its disk: {how:?}"));
        let failed = self.stations.get_mut(node).and_then(|station| station.power_up(how, &mut random).err());
        if let Some(error) = failed {
            self.violated("the simulator", &format!("the disk of {node} could not be laid out: {error}"));
        }
        self.start_later(node);
    }

    fn start_later(&mut self, node: usize) {
        self.starting.insert(node);
        let (life, delay) = (self.stations.get(node).map_or(0, |it| it.life), self.random.within(500, 15_000));
        self.after(delay, Event::Start { node, life });
    }

    /// Starts a node. One that cannot start because its disk fails is started again when people have seen to that.
    pub(crate) fn start(&mut self, node: usize) {
        self.starting.remove(&node);
        self.edge_of(node);
        let Some(station) = self.stations.get_mut(node) else { return };
        let started = station.start();
        let was_hindered = !station.disk.take_given().is_empty() || station.disk.trouble().is_full;
        for call in station.disk.take_log() {
            self.trace.line(self.now, &format!("{node}   {call}"));
        }
        self.tally.starts += 1;
        let is_down = self.stations.get(node).is_some_and(|station| station.disk.is_down());
        if is_down {
            return self.power_lost(node);
        }
        match started {
            Ok(()) => {
                self.note(&format!("{node} starts"));
                self.check_start(node);
                if !self.is_calm {
                    self.draw(node);
                }
            }
            Err(error) => {
                self.note(&format!("{node} does not start: {error}"));
                if !was_hindered {
                    self.violated("P1", &format!("{node} does not start: {error}"));
                }
                if let Some(station) = self.stations.get_mut(node) {
                    station.disk.set_trouble(Trouble::default());
                }
                self.start_later(node);
            }
        }
    }

    /// What the ledger does by itself when nobody asks.
    fn write_out(&mut self, node: usize) {
        let Some(up) = self.stations.get(node).and_then(|station| station.up.as_ref()) else { return };
        let there = up.node.clone();
        self.edge_of(node);
        let written = watched::write_out(&there);
        drop(there);
        self.called(node, "write out", written.is_err());
    }

    /// The outbox: who is owed something, and is not being called, is called.
    fn call_peers(&mut self, node: usize) {
        // Not at every turn: patience is the outbox's, and it differs.
        if !self.random.permille(600) {
            return;
        }
        let Some(there) = self.stations.get(node).and_then(|station| station.up.as_ref()).map(|up| up.node.clone())
        else {
            return;
        };
        self.edge_of(node);
        let Ok(open) = watched::open_releases(&there) else { return };
        for peer in (0..self.stations.len()).filter(|peer| *peer != node) {
            let is_there = self.stations.get(peer).is_some_and(|station| station.up.is_some());
            if !is_there || !self.is_reachable(node, peer) || self.has_dialled(node, peer) {
                continue;
            }
            let Some(name) = self.template.peers.get(peer) else { continue };
            let mut releases = open.get(&name.root).cloned().unwrap_or_default();
            releases.retain(|release| self.in_play.contains(release));
            let owes = !releases.is_empty() || watched::owed(&there, name).is_ok_and(|owed| !owed.is_empty());
            if owes {
                self.dial(node, peer, releases);
            }
        }
    }

    /// Nothing goes wrong any more, and everything that did is seen to.
    pub(crate) fn calm(&mut self) {
        self.note("calm");
        self.is_calm = true;
        self.partitions.clear();
        for node in 0..self.stations.len() {
            if let Some(station) = self.stations.get_mut(node) {
                station.skew = 0;
                station.disk.set_trouble(Trouble::default());
            }
        }
        self.mend();
        for connection in self.open_connections() {
            self.cut(connection, false);
        }
        for node in 0..self.stations.len() {
            let station = self.stations.get(node).and_then(|station| station.up.as_ref());
            let may_sign = station.is_none_or(|up| watched::ledger(&up.node).health().may_sign());
            if !may_sign {
                self.kill(node);
            }
        }
    }
}
