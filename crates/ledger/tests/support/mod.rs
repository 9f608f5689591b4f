//! A disk in memory that fails where it is told to, and documents to log on it.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use custodia_format::Hash;
use custodia_format::checkpoint::{Checkpoint, SignedCheckpoint};
use custodia_format::key::SigningKey;
use custodia_format::note::{KeyType, Note, Vkey};
use custodia_ledger::{Document, Ledger, Listed, NewFile, OpenError, Pace, Shelf, Storage, StorageError};

pub(crate) const ORIGIN: &str = "forensics.example/lab-1/1";
pub(crate) const CHECKPOINT: &str = "ledger/checkpoint";
pub(crate) const JOURNAL: &str = "state/journal";
pub(crate) const POISONED: &str = "state/poisoned";

pub(crate) fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

pub(crate) fn vkey() -> Vkey {
    Vkey::new(ORIGIN, KeyType::Ed25519, key().public()).unwrap()
}

/// Every fifth document is an anchor.
pub(crate) fn document(n: u64) -> Document {
    let shelf = if n % 5 == 4 { Shelf::Anchor } else { Shelf::Statement };
    Document { shelf, bytes: format!("document {n}\n").into_bytes() }
}

pub(crate) fn documents(range: Range<u64>) -> Vec<Document> {
    range.map(document).collect()
}

pub(crate) fn digest(document: &Document) -> Hash {
    Hash::of(&document.bytes)
}

/// Nothing happens by time: tests count calls. What is small for a node gathers here too.
pub(crate) const PACE: Pace = Pace { documents: 8, bytes: 16 << 10, idle: Duration::MAX };

pub(crate) fn create(disk: &Disk) -> Ledger {
    try_create(disk).unwrap()
}

pub(crate) fn try_create(disk: &Disk) -> Result<Ledger, OpenError> {
    Ledger::create_paced(disk.clone(), ORIGIN, key(), PACE)
}

pub(crate) fn open(disk: &Disk) -> Result<Ledger, OpenError> {
    Ledger::open_paced(disk.clone(), ORIGIN, key(), PACE)
}

/// The records of a journal, each with the size of its checkpoint; what is not whole ends them.
pub(crate) fn records(journal: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let (mut rest, mut records) = (journal, Vec::new());
    while let Some(line) = rest.iter().position(|byte| *byte == b'\n').filter(|_| rest.starts_with(b"custodia/commit/"))
    {
        let words: Vec<String> = String::from_utf8_lossy(&rest[..line]).split(' ').map(str::to_owned).collect();
        let [stage, note] = [1, 2].map(|word| words[word].parse::<usize>().unwrap());
        let Some(note) = rest.get(line + 1 + stage..line + 1 + stage + note) else { break };
        if Hash::of(&rest[line + 1..line + 1 + stage + note.len()]).to_string() != words[3] {
            break;
        }
        let (record, after) = rest.split_at(line + 1 + stage + note.len());
        records.push((checkpoint(note).size, record.to_vec()));
        rest = after;
    }
    records
}

/// A ledger of documents 0 to `size`, logged in as few commits as may be.
pub(crate) fn home_of(size: u64) -> Disk {
    let disk = Disk::default();
    let ledger = create(&disk);
    if size > 0 {
        ledger.append(documents(0..size)).unwrap();
    }
    drop(ledger);
    disk
}

/// The checkpoint in a note of the test's ledger.
pub(crate) fn checkpoint(note: &[u8]) -> Checkpoint {
    SignedCheckpoint::check(Note::parse(note).unwrap(), &vkey()).unwrap().checkpoint().clone()
}

/// What goes wrong at one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The power goes; every later call fails. Of this call the disk holds that much.
    Crash(Applied),
    /// The call fails and nothing happened, which it says.
    Full,
    /// The call fails; later ones work. Readers see that much of it; the disk holds none of it.
    Unknown(Applied),
    /// The call fails although all of it is on the disk.
    UnknownApplied,
    /// A bit of what a file is extended by flips on the way, at this place of its length; the call succeeds.
    Flip(usize),
}

/// How much of a call happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    Nothing,
    /// Every second file, from the first or from the second on; of one that is extended, every second part.
    Half(usize),
    All,
}

impl Applied {
    fn includes(self, place: usize) -> bool {
        match self {
            Self::Nothing => false,
            Self::Half(first) => place % 2 == first,
            Self::All => true,
        }
    }
}

pub(crate) type Files = BTreeMap<String, Arc<[u8]>>;

/// A disk under a cache. A call that succeeds is on the disk; one that fails leaves both as its [`Fault`] says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<Inner>>);

#[derive(Debug, Clone, Default)]
struct Inner {
    durable: Files,
    /// What reads see.
    seen: Files,
    /// What was called, on which file first.
    calls: Vec<String>,
    fault: Option<(usize, Fault)>,
    /// Whether every call after it fails too.
    sticky: bool,
    /// What the calls that fail begin with.
    only: &'static str,
    down: bool,
    /// Every public checkpoint that a reader could have seen.
    published: Vec<Arc<[u8]>>,
    /// How long it takes to extend a file.
    extend_takes: Duration,
}

/// One file of a call.
enum Change<'a> {
    Put(&'a str, &'a [u8]),
    /// What it holds from now on up to a place, and what follows there.
    Extend(&'a str, &'a [u8], &'a [u8]),
    Remove(&'a str),
}

/// What a device writes at once, or not at all.
const SECTOR: usize = 64;

impl Disk {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// A disk of its own with the same files.
    pub(crate) fn copy(&self) -> Self {
        let inner = self.lock();
        let (durable, seen, published) = (inner.durable.clone(), inner.seen.clone(), inner.published.clone());
        Self(Arc::new(Mutex::new(Inner { durable, seen, published, ..Inner::default() })))
    }

    /// The call with this number from now on fails so.
    pub(crate) fn fail_at(&self, call: usize, fault: Fault) {
        let mut inner = self.lock();
        inner.calls.clear();
        inner.fault = Some((call, fault));
    }

    /// The same; and every later call fails so too, until the machine is seen to.
    pub(crate) fn fail_from(&self, call: usize, fault: Fault, sticky: bool) {
        self.fail_at(call, fault);
        self.lock().sticky = sticky;
    }

    /// Of the calls that would fail, only those do that begin so.
    pub(crate) fn only_fail(&self, only: &'static str) {
        self.lock().only = only;
    }

    /// The process starts again on the same machine.
    pub(crate) fn restart(&self) {
        let mut inner = self.lock();
        (inner.fault, inner.down, inner.sticky, inner.only) = (None, false, false, "");
        inner.calls.clear();
    }

    /// The machine starts again: what only the cache held is gone.
    pub(crate) fn power_cut(&self) {
        self.restart();
        let mut inner = self.lock();
        inner.seen = inner.durable.clone();
    }

    pub(crate) fn slow_commits(&self, extend_takes: Duration) {
        self.lock().extend_takes = extend_takes;
    }

    /// What was called since the last start, as `operation path`.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    pub(crate) fn is_down(&self) -> bool {
        self.lock().down
    }

    /// What the disk holds.
    pub(crate) fn durable(&self) -> Files {
        self.lock().durable.clone()
    }

    /// What readers see.
    pub(crate) fn files(&self) -> Files {
        self.lock().seen.clone()
    }

    pub(crate) fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.lock().seen.get(path).map(|bytes| bytes.to_vec())
    }

    pub(crate) fn published(&self) -> Vec<Arc<[u8]>> {
        self.lock().published.clone()
    }

    /// Puts a file there as a hand would, past the ledger; none removes it.
    pub(crate) fn meddle(&self, path: &str, bytes: Option<Vec<u8>>) {
        let inner = &mut *self.lock();
        for files in [&mut inner.durable, &mut inner.seen] {
            match &bytes {
                Some(bytes) => _ = files.insert(path.to_owned(), bytes.clone().into()),
                None => _ = files.remove(path),
            }
        }
    }

    /// Replaces everything below these folders by an older copy.
    pub(crate) fn roll_back(&self, older: &Files, folders: &[&str]) {
        let below = |path: &String| folders.iter().any(|folder| path.starts_with(folder));
        let inner = &mut *self.lock();
        for files in [&mut inner.durable, &mut inner.seen] {
            files.retain(|path, _| !below(path));
            files.extend(
                older.iter().filter(|(path, _)| below(path)).map(|(path, bytes)| (path.clone(), bytes.clone())),
            );
        }
    }
}

impl Inner {
    /// Counts a call; gives its fault, if this is the one that fails.
    fn begin(&mut self, call: String) -> Result<Option<Fault>, StorageError> {
        let place = self.calls.len();
        if self.down {
            return Err(failed(&call));
        }
        let meant = call.starts_with(self.only);
        self.calls.push(call);
        let fault = self.fault.filter(|(at, _)| meant && (*at == place || self.sticky && place > *at));
        Ok(fault.map(|(_, fault)| fault))
    }

    fn read_only(&mut self, call: String) -> Result<(), StorageError> {
        match self.begin(call.clone())? {
            None | Some(Fault::Full) => Ok(()),
            fault => {
                self.down = matches!(fault, Some(Fault::Crash(_)));
                Err(failed(&call))
            }
        }
    }

    fn write(&mut self, call: String, can_be_full: bool, changes: &[Change<'_>]) -> Result<(), StorageError> {
        let fault = self.begin(call.clone())?;
        if let (Some(Fault::Flip(place)), Some(Change::Extend(path, held, bytes))) = (fault, changes.first()) {
            let mut flipped = bytes.to_vec();
            let place = place % flipped.len();
            flipped[place] ^= 1;
            return self.write_after(None, call, can_be_full, &[Change::Extend(path, held, &flipped)]);
        }
        self.write_after(fault, call, can_be_full, changes)
    }

    fn write_after(
        &mut self,
        fault: Option<Fault>,
        call: String,
        can_be_full: bool,
        changes: &[Change<'_>],
    ) -> Result<(), StorageError> {
        let (on_disk, in_cache) = match fault {
            Some(Fault::Full) if can_be_full => return Err(StorageError::Full { path: call }),
            None | Some(Fault::Full | Fault::UnknownApplied | Fault::Flip(_)) => (Applied::All, Applied::All),
            Some(Fault::Crash(applied)) => (applied, applied),
            Some(Fault::Unknown(applied)) => (Applied::Nothing, applied),
        };
        for (place, change) in changes.iter().enumerate() {
            apply(&mut self.durable, change, place, on_disk);
            apply(&mut self.seen, change, place, in_cache);
        }
        let public = self.seen.get(CHECKPOINT).filter(|public| self.published.last() != Some(public)).cloned();
        self.published.extend(public);
        match fault {
            None | Some(Fault::Full) => Ok(()),
            fault => {
                self.down = matches!(fault, Some(Fault::Crash(_)));
                Err(failed(&call))
            }
        }
    }
}

/// As much of a change as happened. A file that is extended is torn between its sectors, the others are whole or not there.
fn apply(files: &mut Files, change: &Change<'_>, place: usize, applied: Applied) {
    match change {
        Change::Put(path, bytes) if applied.includes(place) => {
            _ = files.insert((*path).to_owned(), (*bytes).into());
        }
        Change::Remove(path) if applied.includes(place) => _ = files.remove(*path),
        Change::Extend(path, held, bytes) if applied != Applied::Nothing => {
            let mut torn = held.to_vec();
            for (sector, bytes) in bytes.chunks(SECTOR).enumerate() {
                let is_there = applied.includes(sector);
                torn.extend(bytes.iter().map(|byte| if is_there { *byte } else { 0 }));
            }
            files.insert((*path).to_owned(), torn.into());
        }
        _ => {}
    }
}

fn failed(call: &str) -> StorageError {
    StorageError::Unknown { operation: "call", path: call.to_owned(), why: "as the test says".to_owned() }
}

impl Storage for Disk {
    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, StorageError> {
        let mut inner = self.lock();
        inner.read_only(format!("read {path}"))?;
        let bytes = inner.seen.get(path).ok_or_else(|| StorageError::NotFound { path: path.to_owned() })?;
        match bytes.len() as u64 {
            length if length > limit => Err(StorageError::TooLarge { path: path.to_owned(), bytes: length, limit }),
            _ => Ok(bytes.to_vec()),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, StorageError> {
        let mut inner = self.lock();
        inner.read_only(format!("list {folder}"))?;
        let below =
            inner.seen.iter().filter(|(path, _)| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')));
        Ok(below.map(|(path, bytes)| Listed { path: path.clone(), bytes: bytes.len() as u64 }).collect())
    }

    fn put(&self, files: &[NewFile<'_>]) -> Result<(), StorageError> {
        let changes: Vec<Change<'_>> = files.iter().map(|file| Change::Put(file.path, file.bytes)).collect();
        let call = format!("put {}", files.first().map_or("", |file| file.path));
        self.lock().write(call, true, &changes)
    }

    fn extend(&self, path: &str, at: u64, before: &[u8], bytes: &[u8]) -> Result<(), StorageError> {
        std::thread::sleep(self.lock().extend_takes);
        let mut inner = self.lock();
        let held = inner.seen.get(path).cloned().unwrap_or_default();
        let fits = held.split_at_checked(at as usize).filter(|(held, after)| {
            !before.is_empty() && held.ends_with(before) && after.iter().all(|byte| *byte == 0)
        });
        let Some((held, _)) = fits else { return Err(StorageError::Conflict { path: path.to_owned() }) };
        inner.write(format!("extend {path}"), true, &[Change::Extend(path, held, bytes)])
    }

    fn remove(&self, paths: &[String]) -> Result<(), StorageError> {
        let changes: Vec<Change<'_>> = paths.iter().map(|path| Change::Remove(path)).collect();
        let call = format!("remove {}", paths.first().map_or("", |path| path));
        self.lock().write(call, false, &changes)
    }
}
