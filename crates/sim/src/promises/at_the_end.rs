//! What must be so when a run has come to rest: P3 by the tiles, P5, P6, P7, P8, and that every release is answered.

use std::num::NonZeroUsize;
use std::sync::Arc;

use custodia_format::trust::TrustFile;
use custodia_node::api::{Operation, Reporter};
use custodia_node::{Node, operations as op, watched};

use crate::mix::Mix;
use crate::template::Failed;
use crate::world::World;

impl World<'_> {
    /// Whether nothing is owed, and nobody talks.
    pub(crate) fn is_at_rest(&self) -> bool {
        if self.has_connections() || !self.starting.is_empty() {
            return false;
        }
        let is_done = |release: &crate::template::Release| {
            !self.in_play.contains(&release.digest)
                || self.promises.delivered.iter().any(|(node, it, _)| *node == release.from && *it == release.digest)
                || self.node(release.from).is_some_and(|node| {
                    let open = watched::open_releases(&node).unwrap_or_default();
                    !open.values().flatten().any(|it| *it == release.digest)
                })
        };
        let owes = |node: usize| {
            let Some(there) = self.node(node) else { return true };
            let peers = self.template.peers.iter().take(self.stations.len()).enumerate();
            peers
                .filter(|(peer, _)| *peer != node)
                .any(|(_, peer)| watched::owed(&there, peer).is_ok_and(|it| !it.is_empty()))
        };
        self.template.releases.iter().all(is_done) && !(0..self.stations.len()).any(owes)
    }

    fn node(&self, node: usize) -> Option<Arc<Node>> {
        Some(self.stations.get(node)?.up.as_ref()?.node.clone())
    }

    /// Checks the end of a run that has come to rest.
    pub(crate) fn check_end(&mut self) {
        for release in self.template.releases.clone() {
            if self.in_play.contains(&release.digest) {
                self.check_answered(&release);
            }
        }
        for node in 0..self.stations.len() {
            self.check_tiles(node);
            self.check_hidden(node);
        }
        let rebuilt = self.random.place(self.stations.len());
        if let Err(error) = self.check_views(rebuilt) {
            self.violated("P5", &format!("{rebuilt}: {error}"));
        }
        let shown = self.random.place(self.in_play.len());
        let shown = self.in_play.iter().nth(shown).copied();
        let shown = self.template.releases.iter().find(|release| Some(release.digest) == shown).cloned();
        if let Some(release) = shown {
            for node in [release.from, release.to] {
                self.check_proof(node, release.package);
            }
        }
    }

    /// Exactly one receipt, the same at both ends, and the content is what was sealed.
    fn check_answered(&mut self, release: &crate::template::Release) {
        let receipts = |node: &Node| -> Vec<custodia_format::Hash> {
            let rows = watched::rows(node).unwrap_or_default();
            let is_it = |row: &&custodia_index::Row| row.in_reply_to == Some(release.digest) && row.kind == "receipt";
            rows.iter().filter(is_it).map(|row| row.digest).collect()
        };
        let (Some(from), Some(to)) = (self.node(release.from), self.node(release.to)) else { return };
        let (there, here) = (receipts(&to), receipts(&from));
        if here.len() != 1 || here != there {
            let text = format!("{} has the receipts {here:?} and {there:?} at its ends", release.digest);
            self.violated("P1", &text);
        }
        let envelopes = [&from, &to].map(|node| {
            let digest = here.first().copied().unwrap_or(release.digest);
            watched::ledger(node).document(custodia_ledger::Shelf::Statement, &digest).ok().flatten()
        });
        if envelopes.first() != envelopes.last() || envelopes.contains(&None) {
            self.violated("P1", &format!("the receipt of {} is not the same at both ends", release.digest));
        }
        if self.mix == Mix::default() {
            self.check_carried(release);
        }
        self.check_content(release.to, release.package, "is at rest");
        self.check_content(release.from, release.package, "is at rest");
    }

    /// Where nothing went wrong no byte came twice, as the receiver itself counts them.
    fn check_carried(&mut self, release: &crate::template::Release) {
        let Some(station) = self.stations.get(release.to) else { return };
        let path = station.disk.root().join("desk/carried").join(format!("{}.json", release.digest));
        let told = std::fs::read_to_string(path).unwrap_or_default();
        if !told.contains("\"again\":0") {
            self.violated("P4", &format!("{} was carried to {} as {told:?}", release.digest, release.to));
        }
    }

    /// Every checkpoint that anybody was shown is a past of the ledger as it is now.
    fn check_tiles(&mut self, node: usize) {
        let Some(there) = self.node(node) else { return };
        let ledger = watched::ledger(&there);
        let origin = ledger.vkey().name().to_owned();
        let seen: Vec<_> = self
            .promises
            .checkpoints
            .iter()
            .filter(|((it, _), _)| *it == origin)
            .map(|((_, size), root)| (*size, *root))
            .collect();
        for (size, root) in seen {
            let found = ledger.root(size);
            if found.as_ref().ok() != Some(&root) {
                self.violated(
                    "P3",
                    &format!("{origin} was shown at size {size} with root {root}; its tiles say {found:?}"),
                );
            }
        }
    }

    /// The ledger holds no word of what it commits to.
    fn check_hidden(&mut self, node: usize) {
        let Some(station) = self.stations.get(node) else { return };
        for path in station.disk.clone().files(std::path::Path::new("ledger")) {
            let Some(bytes) = self.stations.get(node).and_then(|it| std::fs::read(it.disk.root().join(&path)).ok())
            else {
                continue;
            };
            if let Some(secret) = self.promises.secrets.find(&bytes) {
                self.violated("P8", &format!("{node} has {secret} in {}", path.display()));
            }
        }
    }

    /// Without its index a node shows the same.
    fn check_views(&mut self, node: usize) -> Result<(), Failed> {
        let Some(there) = self.node(node) else { return Ok(()) };
        let before = watched::rows(&there)?;
        drop(there);
        self.edge_of(node);
        let station = self.stations.get_mut(node).ok_or("no such node")?;
        station.up = None;
        std::fs::remove_dir_all(station.disk.root().join("index"))?;
        station.start()?;
        let there = self.node(node).ok_or("it is not up")?;
        let after = watched::rows(&there)?;
        if before == after { Ok(()) } else { Err("the index is another one when it is rebuilt".into()) }
    }

    /// A proof passes the court's verifier, which is given the trust file and nothing else of the node.
    fn check_proof(&mut self, node: usize, package: usize) {
        let Some(there) = self.node(node) else { return };
        let Some(root) = self.template.packages.get(package).map(|package| package.root) else { return };
        let out = self.beside.join(format!("proof-{node}"));
        self.edge_of(node);
        let prove = op::Prove { package: root.to_string(), out: out.clone(), disclosure: None, annexes: false };
        let made = prove
            .perform(&there, &Reporter::silent())
            .map_err(|failure| Failed::from(format!("{failure} {:?} {:?}", failure.expected, failure.found)));
        let judged = made.and_then(|_| {
            let proof = std::fs::read(&out)?;
            std::fs::remove_file(&out)?;
            let trust = op::TrustExport {}.perform(&there, &Reporter::silent())?;
            let trust = TrustFile::parse(trust.text.as_bytes())?;
            let cores = NonZeroUsize::MIN;
            let given = custodia_verify::Given { proof: &proof, trust: &trust, manifest: None, content: None, cores };
            let report = custodia_verify::verify(&given);
            // What others did not show is a gap that it names, and clocks that disagree it names too; what it shows must
            // be as it was signed.
            match report.contradictions().next() {
                Some(_) => Err(report.to_text().into()),
                None => Ok(()),
            }
        });
        if let Err(error) = judged {
            self.violated("P7", &format!("{node} has no proof of {root} that a court could check: {error}"));
        }
    }
}
