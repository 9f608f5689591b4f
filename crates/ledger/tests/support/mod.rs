//! A disk in memory that fails where it is told to, and documents to log on it.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use custodia_format::Hash;
use custodia_format::checkpoint::{Checkpoint, SignedCheckpoint};
use custodia_format::key::SigningKey;
use custodia_format::note::{KeyType, Note, Vkey};
use custodia_ledger::{Document, Ledger, Listed, Names, NewFile, OpenError, Rename, Shelf, Storage, StorageError};

pub(crate) const ORIGIN: &str = "forensics.example/lab-1/1";
pub(crate) const CHECKPOINT: &str = "ledger/checkpoint";
pub(crate) const HEAD: &str = "state/head";
pub(crate) const STAGE: &str = "state/stage";
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

pub(crate) fn create(disk: &Disk) -> Ledger {
    Ledger::create(disk.clone(), ORIGIN, key()).unwrap()
}

pub(crate) fn open(disk: &Disk) -> Result<Ledger, OpenError> {
    Ledger::open(disk.clone(), ORIGIN, key())
}

/// A ledger of documents 0 to `size`, logged in as few commits as may be.
pub(crate) fn home_of(size: u64) -> Disk {
    let disk = Disk::default();
    let ledger = create(&disk);
    if size > 0 {
        ledger.append(documents(0..size)).unwrap();
    }
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
    /// A bit of the first file that is written flips on the way, at this place of its length; the call succeeds.
    Flip(usize),
}

/// How much of a call happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    Nothing,
    /// Every second file, from the first or from the second on.
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

/// A disk under a cache. A call that succeeds is on the disk; one that fails leaves both as its [`Fault`] says. A file
/// whose bytes the disk never got is empty there after a rename: a name is no content.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<Inner>>);

#[derive(Debug, Clone, Default)]
struct Inner {
    durable: Files,
    /// What reads see.
    seen: Files,
    /// What is seen and will be durable before anything else appears.
    owed: Vec<Owed>,
    /// What the disk holds under a name that it does not have yet.
    nameless: BTreeSet<Arc<[u8]>>,
    /// What was called, on which file first.
    calls: Vec<String>,
    fault: Option<(usize, Fault)>,
    /// Whether every call after it fails too.
    sticky: bool,
    down: bool,
    /// Every public checkpoint that a reader could have seen.
    published: Vec<Arc<[u8]>>,
    /// How long a swap takes.
    swap_takes: Duration,
}

/// A change whose name is not durable yet.
#[derive(Debug, Clone)]
enum Owed {
    Put(String, Arc<[u8]>),
    Rename(String, String),
}

/// One file of a call.
enum Change<'a> {
    Put(&'a str, &'a [u8]),
    Rename(&'a str, &'a str),
    Remove(&'a str),
}

impl Disk {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// A disk of its own with the same files.
    pub(crate) fn copy(&self) -> Self {
        let inner = self.lock();
        let (durable, seen, published) = (inner.durable.clone(), inner.seen.clone(), inner.published.clone());
        let (owed, nameless) = (inner.owed.clone(), inner.nameless.clone());
        Self(Arc::new(Mutex::new(Inner { durable, seen, owed, nameless, published, ..Inner::default() })))
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

    /// The process starts again on the same machine.
    pub(crate) fn restart(&self) {
        let mut inner = self.lock();
        (inner.fault, inner.down, inner.sticky) = (None, false, false);
        inner.calls.clear();
        // The storage that owed them is gone with the process; the cache still holds them.
        inner.owed.clear();
    }

    /// The machine starts again: what only the cache held is gone.
    pub(crate) fn power_cut(&self) {
        self.restart();
        let mut inner = self.lock();
        inner.seen = inner.durable.clone();
        inner.nameless.clear();
    }

    pub(crate) fn slow_swaps(&self, swap_takes: Duration) {
        self.lock().swap_takes = swap_takes;
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
        self.calls.push(call);
        Ok(self.fault.filter(|(at, _)| *at == place || self.sticky && place > *at).map(|(_, fault)| fault))
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

    fn write(
        &mut self,
        call: String,
        can_be_full: bool,
        names: Names,
        changes: &[Change<'_>],
    ) -> Result<(), StorageError> {
        let fault = self.begin(call.clone())?;
        // The stage is the last file of its call.
        if let (Some(Fault::Flip(place)), Some((Change::Put(path, bytes), before))) = (fault, changes.split_last()) {
            let mut flipped = bytes.to_vec();
            let place = place % flipped.len();
            flipped[place] ^= 1;
            self.write_after(None, call.clone(), can_be_full, names, before)?;
            return self.write_after(None, call, can_be_full, names, &[Change::Put(path, &flipped)]);
        }
        self.write_after(fault, call, can_be_full, names, changes)
    }

    fn write_after(
        &mut self,
        fault: Option<Fault>,
        call: String,
        can_be_full: bool,
        names: Names,
        changes: &[Change<'_>],
    ) -> Result<(), StorageError> {
        let (on_disk, in_cache) = match fault {
            Some(Fault::Full) if can_be_full => return Err(StorageError::Full { path: call }),
            None | Some(Fault::Full | Fault::UnknownApplied | Fault::Flip(_)) => (Applied::All, Applied::All),
            Some(Fault::Crash(applied)) => (applied, applied),
            Some(Fault::Unknown(applied)) => (Applied::Nothing, applied),
        };
        // A call that is cut in its first half has synced some of what was owed and begun nothing; in its second, it has
        // synced all of that.
        let owed = std::mem::take(&mut self.owed);
        let before_names = matches!(fault, Some(Fault::Crash(Applied::Half(0) | Applied::Nothing)));
        for (place, change) in owed.iter().enumerate() {
            let synced = match fault {
                Some(Fault::Crash(Applied::Half(0))) => place % 2 == 0,
                Some(Fault::Crash(Applied::Nothing) | Fault::Unknown(Applied::Nothing)) => false,
                _ => true,
            };
            if synced {
                match change {
                    Owed::Put(path, bytes) => self.make_durable(&Change::Put(path, bytes)),
                    Owed::Rename(from, to) => self.make_durable(&Change::Rename(from, to)),
                }
            }
        }
        let (on_disk, in_cache) =
            if before_names && !owed.is_empty() { (Applied::Nothing, Applied::Nothing) } else { (on_disk, in_cache) };
        for (place, change) in changes.iter().enumerate() {
            if on_disk.includes(place) && (names == Names::Now || fault.is_some()) {
                self.make_durable(change);
            }
            if in_cache.includes(place) {
                show(&mut self.seen, change);
            }
            if names == Names::Soon && fault.is_none_or(|fault| fault == Fault::Full) {
                self.nameless.extend(if let Change::Put(_, bytes) = change { Some((*bytes).into()) } else { None });
                self.owed.extend(match change {
                    Change::Put(path, bytes) => Some(Owed::Put((*path).to_owned(), (*bytes).into())),
                    Change::Rename(from, to) => Some(Owed::Rename((*from).to_owned(), (*to).to_owned())),
                    Change::Remove(_) => None,
                });
            }
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

    fn rename(&mut self, renames: &[Rename], names: Names) -> Result<(), StorageError> {
        let changes: Vec<Change<'_>> = renames.iter().map(|file| Change::Rename(&file.from, &file.to)).collect();
        let call = format!("rename {}", renames.first().map_or("", |file| &file.from));
        self.write(call, false, names, &changes)
    }

    fn settle(&mut self) {
        for change in std::mem::take(&mut self.owed) {
            match &change {
                Owed::Put(path, bytes) => self.make_durable(&Change::Put(path, bytes)),
                Owed::Rename(from, to) => self.make_durable(&Change::Rename(from, to)),
            }
        }
    }

    fn make_durable(&mut self, change: &Change<'_>) {
        if let Change::Rename(from, to) = change {
            // What is not there was renamed before, perhaps in the cache alone: its new name is synced again.
            let Some(content) = self.seen.get(*from).or_else(|| self.seen.get(*to)).cloned() else { return };
            let held = [*from, *to].iter().any(|path| self.durable.get(*path) == Some(&content));
            let held = held || self.nameless.contains(&content);
            self.durable.remove(*from);
            self.durable.insert((*to).to_owned(), if held { content } else { Arc::default() });
        } else {
            show(&mut self.durable, change);
        }
    }
}

fn show(files: &mut Files, change: &Change<'_>) {
    match change {
        Change::Put(path, bytes) => _ = files.insert((*path).to_owned(), (*bytes).into()),
        Change::Rename(from, to) => {
            if let Some(content) = files.remove(*from) {
                files.insert((*to).to_owned(), content);
            }
        }
        Change::Remove(path) => _ = files.remove(*path),
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
        self.put_with(files, &[], Names::Now)
    }

    fn put_with(&self, files: &[NewFile<'_>], _: &[NewFile<'_>], names: Names) -> Result<(), StorageError> {
        let changes: Vec<Change<'_>> = files.iter().map(|file| Change::Put(file.path, file.bytes)).collect();
        // A commit's stage comes after its documents: the call is named after both.
        let paths: Vec<&str> = [files.first(), files.last()].into_iter().flatten().map(|file| file.path).collect();
        let call = match paths.as_slice() {
            [first, STAGE] if *first != STAGE => format!("put {first} and {STAGE}"),
            paths => format!("put {}", paths.first().unwrap_or(&"")),
        };
        self.lock().write(call, true, names, &changes)
    }

    fn swap(&self, path: &str, expected: Option<&[u8]>, bytes: &[u8]) -> Result<(), StorageError> {
        std::thread::sleep(self.lock().swap_takes);
        let mut inner = self.lock();
        if inner.seen.get(path).map(|found| &found[..]) != expected {
            return Err(StorageError::Conflict { path: path.to_owned() });
        }
        inner.write(format!("swap {path}"), true, Names::Now, &[Change::Put(path, bytes)])
    }

    fn rename(&self, renames: &[Rename]) -> Result<(), StorageError> {
        self.lock().rename(renames, Names::Now)
    }

    fn rename_soon(&self, renames: &[Rename]) -> Result<(), StorageError> {
        self.lock().rename(renames, Names::Soon)
    }

    /// No call of its own: it comes by time, and tests count.
    fn settle(&self) -> Result<(), StorageError> {
        let mut inner = self.lock();
        let fails = inner.sticky && inner.fault.is_some_and(|(at, _)| inner.calls.len() > at);
        if inner.down || fails {
            return Err(failed("settle"));
        }
        inner.settle();
        Ok(())
    }

    fn remove(&self, paths: &[String]) -> Result<(), StorageError> {
        let changes: Vec<Change<'_>> = paths.iter().map(|path| Change::Remove(path)).collect();
        let call = format!("remove {}", paths.first().map_or("", |path| path));
        self.lock().write(call, false, Names::Now, &changes)
    }
}
