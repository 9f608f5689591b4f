//! The check: what the book says, against the nodes' answers and against the bare files, which are read here with nothing of
//! a node's own code but its formats.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use custodia_format::checkpoint::Checkpoint;
use custodia_format::entry::Entry;
use custodia_format::note::Note;
use custodia_format::tile::{TILE_WIDTH, Tile, TileKind, parse_bundle};
use custodia_format::{Hash, limits};
use custodia_merkle::Frontier;
use custodia_node::failure::{Code, Failure};
use custodia_node::home::read_file;
use custodia_node::operations::answers::{Checked, LedgerHead, Received, StatementLine, Transfer, TransferState};
use serde::de::DeserializeOwned;

use super::told::{Delivered, Told};
use crate::scratch::authority::Authority;

/// Bytes of a bundle or an object that is read whole; what the hammer makes is smaller.
const FILE_BYTES: u64 = 1 << 30;

/// How much of it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Some of it may still be on its way; what lies in the vaults was read a moment ago.
    OnTheWay,
    /// The same, and all bytes are read.
    OnTheWayAndBytes,
    /// All of it must have arrived; all bytes are read.
    Everything,
}

/// What does not hold, in sentences. Fails only when a person interrupts it, or the book cannot be written.
pub(super) fn check(both: &[Authority; 2], told: &mut Told, due: Due) -> Result<Vec<String>, Failure> {
    let mut check = Check { both, told, due, wrong: Vec::new() };
    for at in [0, 1] {
        check.answers(at)?;
        check.ledger_files(at)?;
        check.objects(at);
    }
    for (from, to) in [(0, 1), (1, 0)] {
        check.agree(from, to)?;
    }
    Ok(check.wrong)
}

struct Check<'a> {
    both: &'a [Authority; 2],
    told: &'a mut Told,
    due: Due,
    wrong: Vec<String>,
}

impl Check<'_> {
    fn wrong(&mut self, at: usize, what: impl AsRef<str>) {
        let name = self.both.get(at).map_or("", |one| one.name.label);
        self.wrong.push(format!("{name}: {}", what.as_ref()));
    }

    /// Asks a node; an answer that does not come is something that does not hold.
    fn ask<T: DeserializeOwned>(&mut self, at: usize, words: &[&str]) -> Result<Option<T>, Failure> {
        let Some(one) = self.both.get(at) else { return Ok(None) };
        match one.ask(words) {
            Ok(answer) => Ok(Some(answer)),
            Err(failure) if failure.code == Code::Interrupted => Err(failure),
            Err(failure) => {
                let place = failure.place.as_deref().map(|place| format!(" ({place})")).unwrap_or_default();
                self.wrong(at, format!("`{}` failed: {failure}{place}", words.join(" ")));
                Ok(None)
            }
        }
    }

    /// What the node says of its own ledger. What it names is acknowledged from now on.
    fn answers(&mut self, at: usize) -> Result<(), Failure> {
        if let Some(head) = self.ask::<LedgerHead>(at, &["ledger", "checkpoint"])? {
            let parsed = Note::parse(head.note.as_bytes()).and_then(|note| Checkpoint::parse_text(&note.text));
            match parsed {
                Ok(checkpoint) => {
                    let told = self.told.checkpoint(at, checkpoint.size, &checkpoint.root.to_string())?;
                    told.into_iter().for_each(|what| self.wrong(at, what));
                }
                Err(error) => self.wrong(at, format!("its checkpoint does not parse: {error}")),
            }
        }
        if let Some(lines) = self.ask::<Vec<StatementLine>>(at, &["ledger", "list"])? {
            let listed: HashSet<&str> = lines.iter().map(|line| line.digest.as_str()).collect();
            let known = self.told.of.get(at).map(|one| one.statements.keys().cloned().collect::<Vec<_>>());
            for digest in known.unwrap_or_default() {
                if !listed.contains(digest.as_str()) {
                    self.wrong(at, format!("statement {digest} was acknowledged, and is not listed"));
                }
            }
            for line in &lines {
                let told = self.told.statement(at, &line.digest, Some(line.leaf_index))?;
                told.into_iter().for_each(|what| self.wrong(at, what));
            }
        }
        let has_objects = self.told.of.get(at).is_some_and(|one| !one.sealed.is_empty())
            || self.told.of.get(1 - at).is_some_and(|other| !other.delivered.is_empty());
        let words: &[&str] = match self.due {
            Due::OnTheWayAndBytes | Due::Everything if has_objects => &["ledger", "fsck", "--bytes", "--from-start"],
            _ => &["ledger", "fsck"],
        };
        if let Some(checked) = self.ask::<Checked>(at, words)? {
            checked.errors.iter().for_each(|error| self.wrong(at, format!("fsck: {error}")));
        }
        Ok(())
    }

    /// The bare files: every acknowledged statement at its place and on its shelf, every checkpoint a beginning of the newest.
    fn ledger_files(&mut self, at: usize) -> Result<(), Failure> {
        let Some(home) = self.both.get(at).map(|one| one.home().to_owned()) else { return Ok(()) };
        let (checkpoint, entries) = match read_ledger(&home) {
            Ok(read) => read,
            Err(what) => {
                self.wrong(at, what);
                return Ok(());
            }
        };
        let mut wrong = Vec::new();
        if let Some(told) = self.told.of.get(at) {
            let known: HashSet<Hash> = entries.iter().map(|entry| entry.sha256).collect();
            for (digest, place) in &told.statements {
                let Some(sha256) = Hash::from_hex(digest) else { continue };
                let entry = |place: &u64| usize::try_from(*place).ok().and_then(|place| entries.get(place));
                match place {
                    Some(place) if entry(place).is_none_or(|entry| entry.sha256 != sha256) => {
                        wrong.push(format!("statement {digest} was acknowledged as entry {place}, which is another's"));
                    }
                    None if !known.contains(&sha256) => {
                        wrong.push(format!("statement {digest} was acknowledged, and no entry commits to it"));
                    }
                    _ => {}
                }
                let path = format!("statements/{}/{digest}.json", &digest[..2]);
                wrong.extend(differs(&home, &path, &sha256, limits::ENVELOPE_BYTES as u64));
            }
            let mut frontier = Frontier::new();
            let mut roots = told.checkpoints.iter().peekable();
            for size in 0..=entries.len() as u64 {
                if let Some((_, root)) = roots.next_if(|(told, _)| **told == size)
                    && frontier.root().to_string() != *root
                {
                    wrong.push(format!("the checkpoint of size {size} was seen, and is no beginning of this ledger"));
                }
                if let Some(entry) = usize::try_from(size).ok().and_then(|place| entries.get(place)) {
                    frontier.push(entry.leaf_hash());
                }
            }
            for (size, _) in roots {
                wrong.push(format!("the checkpoint went back: size {size} was seen, size {} is here", checkpoint.size));
            }
            if frontier.root() != checkpoint.root {
                wrong.push("the public checkpoint is not signed over these entries".to_owned());
            }
        }
        wrong.iter().for_each(|what| self.wrong(at, what));
        Ok(())
    }

    /// The files of every package that was sealed here or delivered here.
    fn objects(&mut self, at: usize) {
        if self.due == Due::OnTheWay {
            return;
        }
        let (Some(here), Some(other)) = (self.told.of.get(at), self.told.of.get(1 - at)) else { return };
        let delivered: HashSet<&str> = other.delivered.values().map(|one| one.package.as_str()).collect();
        let came_in = other.sealed.iter().filter(|package| delivered.contains(package.id.as_str()));
        let Some(home) = self.both.get(at).map(|one| one.home().to_owned()) else { return };
        let mut wrong = Vec::new();
        for package in here.sealed.iter().chain(came_in) {
            for (sha256, _) in &package.files {
                let Some(digest) = Hash::from_hex(sha256) else { continue };
                let path = format!("objects/{}/{sha256}", &sha256[..2]);
                let what = differs(&home, &path, &digest, FILE_BYTES);
                wrong.extend(what.map(|what| format!("{what}; package {} needs it", package.id)));
            }
        }
        wrong.iter().for_each(|what| self.wrong(at, what));
    }

    /// The queue of one and the inbox of the other say the same.
    fn agree(&mut self, from: usize, to: usize) -> Result<(), Failure> {
        let Some(queue) = self.ask::<Vec<Transfer>>(from, &["queue"])? else { return Ok(()) };
        let Some(inbox) = self.ask::<Vec<Received>>(to, &["inbox"])? else { return Ok(()) };
        let known = self.told.of.get(from).map(|one| one.delivered.values().cloned().collect::<Vec<_>>());
        for told in known.unwrap_or_default() {
            let now = queue.iter().find(|transfer| transfer.release == told.release);
            if now.and_then(|now| now.receipt.as_deref()) != Some(told.receipt.as_str()) {
                self.wrong(from, format!("the receipt for {} was here, and its queue does not know it", told.package));
            }
        }
        for transfer in &queue {
            let received = inbox.iter().find(|received| received.release == transfer.release);
            if let Some(what) = disagree(transfer, received, self.due) {
                self.wrong(from, format!("package {}: {what}", transfer.package));
            }
            if let Some(receipt) = transfer.receipt.clone() {
                let (package, release) = (transfer.package.clone(), transfer.release.clone());
                self.told.deliver(from, Delivered { package, release, receipt })?;
            }
        }
        for received in inbox.iter().filter(|one| queue.iter().all(|transfer| transfer.release != one.release)) {
            self.wrong(from, format!("package {} is in the other's inbox, and not in its queue", received.package));
        }
        Ok(())
    }
}

/// What the two sides of a hand-over do not agree on.
fn disagree(transfer: &Transfer, received: Option<&Received>, due: Due) -> Option<String> {
    let their_state = received.map_or("nothing", |received| received.state.as_str());
    let their_receipt = received.and_then(|received| received.receipt.as_deref());
    if transfer.receipt.is_some() && transfer.receipt.as_deref() != their_receipt {
        let ours = transfer.receipt.as_deref().unwrap_or_default();
        return Some(format!("the sender holds receipt {ours}, the recipient says {their_receipt:?}"));
    }
    let answered = ["accepted", "refused"].contains(&their_state).then_some(their_state);
    if transfer.answer.is_some() && transfer.answer.as_deref() != answered {
        return Some(format!("the sender knows it as {:?}, the recipient as {their_state}", transfer.answer));
    }
    if due != Due::Everything {
        return None;
    }
    if !matches!(transfer.state, TransferState::Received | TransferState::Refused) {
        return Some(format!("it did not arrive: {}", transfer.why));
    }
    (transfer.answer.as_deref() != answered).then(|| format!("the recipient's answer did not arrive: {their_state}"))
}

/// Says it when a file is not what its digest says.
fn differs(home: &Path, path: &str, sha256: &Hash, limit: u64) -> Option<String> {
    match read_file(&home.join(path), limit) {
        Ok(Some(bytes)) if Hash::of(&bytes) == *sha256 => None,
        Ok(Some(bytes)) => Some(format!("{path} has the SHA-256 {}", Hash::of(&bytes))),
        Ok(None) => Some(format!("{path} was acknowledged, and is not there")),
        Err(failure) => Some(format!("{path} cannot be read: {failure}")),
    }
}

/// The entries under the public checkpoint.
fn read_ledger(home: &Path) -> Result<(Checkpoint, Vec<Entry>), String> {
    let ledger = home.join("ledger");
    let said = |path: &Path, what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
    let path = ledger.join("checkpoint");
    let bytes = fs::read(&path).map_err(|error| said(&path, &error))?;
    let note = Note::parse(&bytes).map_err(|error| said(&path, &error))?;
    let checkpoint = Checkpoint::parse_text(&note.text).map_err(|error| said(&path, &error))?;
    let mut entries = Vec::new();
    for index in 0..checkpoint.size.div_ceil(TILE_WIDTH) {
        let width = u16::try_from((checkpoint.size - index * TILE_WIDTH).min(TILE_WIDTH)).unwrap_or(0);
        let (path, bytes, held) = read_bundle(&ledger, index, width)?;
        let bundle = parse_bundle(&bytes, held).map_err(|error| said(&path, &error))?;
        for entry in bundle.into_iter().take(usize::from(width)) {
            entries.push(Entry::parse(entry).map_err(|error| said(&path, &error))?);
        }
    }
    Ok((checkpoint, entries))
}

/// A bundle of entries, or the full one in place of a partial one.
fn read_bundle(ledger: &Path, index: u64, width: u16) -> Result<(PathBuf, Vec<u8>, u16), String> {
    let full = u16::try_from(TILE_WIDTH).unwrap_or(u16::MAX);
    let mut last = String::new();
    for width in [width, full] {
        let path = ledger.join(Tile { kind: TileKind::Entries, index, width }.path());
        match fs::read(&path) {
            Ok(bytes) => return Ok((path, bytes, width)),
            Err(error) => last = format!("{}: {error}", path.display()),
        }
    }
    Err(last)
}
