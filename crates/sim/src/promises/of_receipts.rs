//! P1, P2 and P6: when a receipt goes out, and from then on, everything that it says is on the disk that a power cut
//! would leave; and it is what was sealed, bit for bit.

use custodia_exchange::Signed;
use custodia_format::Hash;
use custodia_format::body::Body;
use custodia_format::envelope::Envelope;
use custodia_format::statement::Statement;
use custodia_ledger::{Ledger, Pace, Shelf};
use custodia_node::home::Home;
use custodia_node::{keys, watched};

use super::Receipted;
use crate::disk::Remains;
use crate::template::Failed;
use crate::world::World;

impl World<'_> {
    pub(super) fn see_statement(&mut self, node: usize, signed: &Signed) {
        let Ok(statement) =
            Envelope::parse(&signed.envelope).map_err(drop).and_then(|it| Statement::parse(&it).map_err(drop))
        else {
            return self.violated("P9", &format!("{node} sends what is no statement"));
        };
        let (Body::Receipt(_), Some(release)) = (&statement.body, statement.head.in_reply_to) else { return };
        let digest = signed.digest();
        let Some(package) = self.promises.package_of(&release) else {
            return self.violated("P2", &format!("{node} signs a receipt for a release that nobody made: {release}"));
        };
        let known = self.promises.receipts.iter().find(|it| it.node == node && it.release == release).cloned();
        match known {
            Some(known) if known.digest != digest => {
                return self.violated("P1", &format!("{node} signs two receipts for {release}"));
            }
            Some(_) => {}
            None => {
                self.tally.receipts += 1;
                self.promises.receipts.push(Receipted { node, release, digest, package });
            }
        }
        self.check_content(node, package, "sends a receipt");
        self.check_logged(node, &[digest], "sends a receipt");
    }

    /// A sender counts a receipt.
    pub(crate) fn delivered(&mut self, node: usize, release: &Hash, receipt: &Hash) {
        self.tally.hand_overs += 1;
        self.promises.delivered.push((node, *release, *receipt));
        self.check_logged(node, &[*receipt], "counts a receipt");
    }

    /// All that a package has must be durable, and as it was sealed.
    pub(super) fn check_content(&mut self, node: usize, package: usize, when: &str) {
        let template = self.template;
        let (Some(package), Some(disk)) =
            (template.packages.get(package), self.stations.get(node).map(|station| station.disk.clone()))
        else {
            return;
        };
        let (place, manifest) = &package.manifest;
        if disk.durable(place).as_ref() != Some(manifest) {
            self.violated("P1", &format!("{node} {when} without a durable manifest of {}", package.root));
        }
        for item in &package.items {
            let hex = item.sha256.to_string();
            let path = std::path::Path::new("objects").join(hex.get(..2).unwrap_or_default()).join(&hex);
            let Some(version) = disk.durable_version(&path) else {
                self.violated("P1", &format!("{node} {when} without a durable item {hex}"));
                continue;
            };
            let key = (node, path.clone());
            let hashed = self.promises.hashed.get(&key).filter(|(of, _)| *of == version).map(|(_, hash)| *hash);
            let found = hashed.unwrap_or_else(|| {
                let bytes = disk.durable(&path).unwrap_or_default();
                if bytes == item.bytes { item.sha256 } else { Hash::of(&bytes) }
            });
            self.promises.hashed.insert(key, (version, found));
            if found != item.sha256 {
                self.violated("P2", &format!("{node} {when} over an item {hex} that has become {found}"));
            }
        }
    }

    /// Statements must be found by a ledger that is opened from what a power cut would leave.
    fn check_logged(&mut self, node: usize, digests: &[Hash], when: &str) {
        let held = self.worst_ledger(node).and_then(|ledger| {
            for digest in digests {
                if ledger.find(digest)?.is_none() || ledger.document(Shelf::Statement, digest)?.is_none() {
                    return Ok(Some(*digest));
                }
            }
            Ok(None)
        });
        match held {
            Ok(None) => {}
            Ok(Some(digest)) => {
                self.violated("P1", &format!("{node} {when} and a power cut would take {digest} out of its ledger"));
            }
            Err(error) => self.violated("P1", &format!("{node} {when} and a power cut would leave no ledger: {error}")),
        }
    }

    fn worst_ledger(&self, node: usize) -> Result<Ledger, Failed> {
        let station = self.stations.get(node).ok_or("no such node")?;
        let home = Home::new(station.disk.root());
        let vkey = watched::ledger(&station.up.as_ref().ok_or("the node is down")?.node).vkey().clone();
        let pace = Pace { idle: std::time::Duration::MAX, ..Pace::default() };
        Ok(Ledger::open_paced(Remains::of(station.disk.clone()), vkey.name(), keys::read(&home, keys::LEDGER)?, pace)?)
    }

    /// A node has started: nothing that it acknowledged is gone, nor what it counts as delivered.
    pub(crate) fn check_start(&mut self, node: usize) {
        let Some(there) = self.stations.get(node).and_then(|it| it.up.as_ref()).map(|up| up.node.clone()) else {
            return;
        };
        let receipts: Vec<_> = self.promises.receipts.iter().filter(|it| it.node == node).cloned().collect();
        let counted: Vec<Hash> =
            self.promises.delivered.iter().filter(|(it, ..)| *it == node).map(|(.., receipt)| *receipt).collect();
        for digest in receipts.iter().map(|receipt| receipt.digest).chain(counted) {
            if !watched::ledger(&there).find(&digest).is_ok_and(|found| found.is_some()) {
                self.violated("P1", &format!("{node} starts without {digest}, which it had acknowledged"));
            }
        }
        for receipt in receipts {
            if !watched::receipt_of(&there, &receipt.release).is_ok_and(|found| found == Some(receipt.digest)) {
                self.violated("P1", &format!("{node} starts without its receipt for {}", receipt.release));
            }
            self.check_content(node, receipt.package, "starts");
        }
    }
}
