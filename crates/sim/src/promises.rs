//! The promises, held against everything that a run shows. They share no code with what they check but the formats.
//!
//! Each is checked where it could first be broken: when something goes on the wire, when a call comes back, when a node
//! starts, and once more at the end of the run.

mod at_the_end;
mod of_errors;
mod of_history;
mod of_receipts;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use custodia_exchange::fetch::Batch;
use custodia_exchange::message::Message;
use custodia_format::Hash;
use custodia_node::watched;

use crate::disk::Version;
use crate::template::{CASE_WORD, NAME_WORD, Setting};
use crate::world::World;

/// A receipt that was put on the wire.
#[derive(Debug, Clone)]
pub(crate) struct Receipted {
    pub(crate) node: usize,
    pub(crate) release: Hash,
    pub(crate) digest: Hash,
    pub(crate) package: usize,
}

/// What is remembered of a run, from outside of its nodes.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    /// What is broken.
    pub(crate) violations: Vec<String>,
    pub(crate) receipts: Vec<Receipted>,
    /// Receipts that a sender counts: node, release, receipt.
    pub(crate) delivered: Vec<(usize, Hash, Hash)>,
    /// Every checkpoint that anybody was shown: ledger and size, root.
    pub(crate) checkpoints: BTreeMap<(String, u64), Hash>,
    /// The newest size that each ledger's owner has shown.
    pub(crate) newest: BTreeMap<usize, u64>,
    /// Chunks that must never travel again, by receiver and release.
    recorded: BTreeMap<(usize, Hash), BTreeSet<(u64, u64)>>,
    /// Records whose midstates must never travel again, by receiver and release.
    recorded_midstates: BTreeMap<(usize, Hash), BTreeSet<u64>>,
    /// Durable files that were hashed, and what they were then.
    pub(crate) hashed: BTreeMap<(usize, PathBuf), (Version, Hash)>,
    /// What nobody may read in a ledger, nor on the wire before a consignment.
    pub(crate) secrets: Secrets,
    /// Transfers whose midstates were damaged at rest: they are recorded as they lie there, and may travel again.
    midstates_rotted: BTreeSet<(usize, Hash)>,
    /// Packages, by release.
    package_of: BTreeMap<Hash, usize>,
    items_of: Vec<BTreeSet<Hash>>,
}

impl Promises {
    pub(crate) fn new(template: &Setting) -> Self {
        let mut secrets = vec![CASE_WORD.as_bytes().to_vec(), NAME_WORD.as_bytes().to_vec()];
        for item in template.packages.iter().flat_map(|package| &package.items) {
            secrets.push(item.sha256.as_bytes().to_vec());
            secrets.push(item.sha256.to_string().into_bytes());
        }
        Self {
            secrets: Secrets::of(secrets),
            package_of: template.releases.iter().map(|release| (release.digest, release.package)).collect(),
            items_of: template.packages.iter().map(|it| it.items.iter().map(|item| item.sha256).collect()).collect(),
            ..Self::default()
        }
    }

    /// These chunks are recorded, and with them the midstates that they were proven by. After an IO error nothing is said of
    /// midstates: what the system took for written may be lost, they are proven again, and may travel again.
    pub(crate) fn recorded(&mut self, node: usize, release: &Hash, chunks: BTreeSet<(u64, u64)>, had_errors: bool) {
        if !had_errors && !self.midstates_rotted.contains(&(node, *release)) {
            let records = chunks.iter().map(|(record, _)| *record);
            self.recorded_midstates.entry((node, *release)).or_default().extend(records);
        }
        self.recorded.entry((node, *release)).or_default().extend(chunks);
    }

    /// What was recorded may be lost: its file was damaged, under way or where the end of a transfer had moved it.
    pub(crate) fn flipped(&mut self, node: usize, path: &Path) {
        let hash = |path: Option<&Path>| path?.file_name().and_then(|name| Hash::from_hex(name.to_str()?));
        let releases: Vec<Hash> = if path.starts_with("incoming") {
            hash(path.parent()).into_iter().collect()
        } else {
            let holds = |package: &usize, item| self.items_of.get(*package).is_some_and(|items| items.contains(&item));
            let item = hash(Some(path));
            let hit = self.package_of.iter().filter(|(_, package)| item.is_some_and(|item| holds(package, item)));
            hit.map(|(release, _)| *release).collect()
        };
        for release in releases {
            self.recorded.remove(&(node, release));
            self.recorded_midstates.remove(&(node, release));
            if path.extension().is_some_and(|it| it == "midstates") {
                self.midstates_rotted.insert((node, release));
            }
        }
    }

    pub(crate) fn package_of(&self, release: &Hash) -> Option<usize> {
        self.package_of.get(release).copied()
    }
}

impl World<'_> {
    /// The items that a node has signed for, whether it has said so to anybody or not. What rots from then on is not what the
    /// receipt spoke of. Of a node that is down nobody knows, so all of them.
    pub(crate) fn signed_items(&self, node: usize) -> BTreeSet<Hash> {
        let there = self.stations.get(node).and_then(|it| it.up.as_ref()).map(|up| &up.node);
        let has_receipt = |release: &Hash| {
            self.promises.receipts.iter().any(|it| it.node == node && it.release == *release)
                || there.is_none_or(|there| !watched::receipt_of(there, release).is_ok_and(|found| found.is_none()))
        };
        let signed = self.promises.package_of.iter().filter(|(release, _)| has_receipt(release));
        signed.filter_map(|(_, package)| self.promises.items_of.get(*package)).flatten().copied().collect()
    }

    pub(crate) fn violated(&mut self, promise: &str, what: &str) {
        let text = format!("{promise} at {} ms: {what}", self.now);
        self.note(&format!("VIOLATED {text}"));
        self.promises.violations.push(text);
    }

    /// A frame goes on the wire, before anything happens to it.
    pub(crate) fn on_wire(&mut self, node: usize, peer: usize, message: &Message, body: &[u8]) {
        if let Some(secret) = self.promises.secrets.find(body) {
            // Frames never carry content or records: those have streams, which begin after the consignment.
            self.violated("P8", &format!("{node} shows {peer} {secret} in a frame"));
        }
        self.see_checkpoints(node, message);
        if let Message::Statement(signed) = message {
            self.see_statement(node, signed);
        }
    }

    /// Chunks are asked for.
    pub(crate) fn wanted(&mut self, node: usize, release: &Hash, batch: &Batch) {
        let Some(recorded) = self.promises.recorded.get(&(node, *release)) else { return };
        let chunks = batch.pieces.iter().flat_map(|it| (0..it.count).map(|n| (it.record, it.first_chunk + n)));
        if let Some((record, chunk)) = chunks.into_iter().find(|chunk| recorded.contains(chunk)) {
            self.violated("P4", &format!("{node} asks again for chunk {chunk} of record {record} of {release}"));
        }
        let had_midstates = self.promises.recorded_midstates.get(&(node, *release));
        let again = batch.pieces.iter().filter(|it| it.midstates_bytes() > 0).map(|it| it.record);
        let again = again.filter(|record| had_midstates.is_some_and(|had| had.contains(record))).min();
        if let Some(record) = again {
            self.violated("P4", &format!("{node} asks again for the midstates of record {record} of {release}"));
        }
    }
}

/// What nobody may read in a ledger, nor on the wire before a consignment.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    all: Vec<Vec<u8>>,
    /// Which two bytes a secret begins with, one bit for each pair: most places need no second look.
    beginnings: Vec<u64>,
}

impl Secrets {
    /// Each has two bytes at least.
    pub(crate) fn of(all: Vec<Vec<u8>>) -> Self {
        let mut beginnings = vec![0_u64; (1 << 16) / 64];
        for secret in &all {
            let (word, bit) = pair(secret).unwrap_or_default();
            beginnings.get_mut(word).into_iter().for_each(|word| *word |= 1 << bit);
        }
        Self { all, beginnings }
    }

    /// Which of them occurs there, in words.
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<String> {
        let may_begin = |two: &[u8]| {
            pair(two).is_some_and(|(word, bit)| self.beginnings.get(word).is_some_and(|word| word >> bit & 1 == 1))
        };
        let places = bytes.windows(2).enumerate().filter(|(_, two)| may_begin(two)).map(|(at, _)| at);
        let found = places.filter_map(|at| {
            let rest = bytes.get(at..).unwrap_or_default();
            self.all.iter().find(|secret| rest.starts_with(secret))
        });
        found.map(|secret| String::from_utf8_lossy(secret).into_owned()).next()
    }
}

fn pair(bytes: &[u8]) -> Option<(usize, u32)> {
    let (two, _) = bytes.split_first_chunk::<2>()?;
    let number = u16::from_le_bytes(*two);
    Some((usize::from(number / 64), u32::from(number % 64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_wherever_it_stands() {
        let secrets = Secrets::of(vec![b"kestrel".to_vec(), b"keep".to_vec()]);
        let found = |text: &str| secrets.find(text.as_bytes());
        assert_eq!(found("a kestrel"), Some("kestrel".to_owned()));
        assert_eq!(found("kekeep"), Some("keep".to_owned()));
        for harmless in ["", "k", "kestre", "keekestrekee"] {
            assert_eq!(found(harmless), None, "{harmless}");
        }
    }
}
