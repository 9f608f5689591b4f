//! The ledger: append, prove, read. Three dozen lines of state behind one thread that writes.

use std::collections::HashMap;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;

use custodia_format::checkpoint::{NoteError, SignedCheckpoint};
use custodia_format::entry::Entry;
use custodia_format::key::SigningKey;
use custodia_format::note::{KeyType, Note, Vkey};
use custodia_format::{Hash, limits};
use custodia_merkle::{
    Nodes, Position, ProveError, prove_consistency, prove_inclusion, tree_root, verify_consistency, verify_inclusion,
};

use crate::commit::{Base, NewDocument, Pace};
use crate::fsck::{self, Depth, FsckProgress, FsckReport};
use crate::health::Health;
use crate::home::Shelf;
use crate::journal::Record;
use crate::places::Places;
use crate::sequencer::{self, Request, Wanted};
use crate::start::{self, OpenError, Start, contradiction};
use crate::storage::{Storage, StorageError};
use crate::tiles::{ReadError, Tiles, Tree};
use crate::unwritten::Unwritten;
use crate::{APPEND_BYTES, APPEND_DOCUMENTS};

/// An open ledger.
///
/// Every method takes `&self` and may be called from any thread. Readers see only what is durable.
#[derive(Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
    /// Taken when the ledger is dropped, which ends the thread.
    requests: Option<Sender<Request>>,
    sequencer: Option<JoinHandle<()>>,
    /// Keeps the places tidy; ends when the sequencer does.
    tidier: Option<JoinHandle<()>>,
}

/// A document to be logged: bytes that this crate does not look into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Where it is kept.
    pub shelf: Shelf,
    /// Its exact bytes: an envelope, or a file that is logged as it is.
    pub bytes: Vec<u8>,
}

/// Where a document stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its leaf index.
    pub index: u64,
    /// Its SHA-256.
    pub digest: Hash,
}

/// Why documents were not logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// No room. Nothing was stored; the caller may try again once there is some.
    #[error("no room to write {path}: nothing was stored")]
    Full {
        /// What did not fit.
        path: String,
    },
    /// The ledger does not sign. Nothing was stored.
    #[error("the ledger does not sign: {health}")]
    Refused {
        /// Why.
        health: Health,
    },
    /// A write failed on the way. The documents may be in the ledger or come into it when it is opened again; to append
    /// the same bytes then is safe and says where they are.
    #[error("it is not known whether this was logged: {why}")]
    Unknown {
        /// What failed.
        why: String,
    },
    /// A document is empty or too long, or there are too many. Nothing was stored. The caller's fault.
    #[error("{found} {what}; allowed are 1 to {limit}")]
    Misuse {
        /// What was counted.
        what: &'static str,
        /// How much there was.
        found: usize,
        /// How much is allowed.
        limit: usize,
    },
}

impl Ledger {
    /// Makes an empty ledger, signs its first checkpoint (size 0) and opens it.
    ///
    /// # Errors
    /// [`OpenError::Exists`] when there is any trace of one, else what failed.
    pub fn create(storage: impl Storage + 'static, origin: &str, key: SigningKey) -> Result<Self, OpenError> {
        Self::create_paced(storage, origin, key, Pace::default())
    }

    /// As [`Ledger::create`], with another pace of writing out.
    ///
    /// # Errors
    /// As [`Ledger::create`].
    pub fn create_paced(
        storage: impl Storage + 'static,
        origin: &str,
        key: SigningKey,
        pace: Pace,
    ) -> Result<Self, OpenError> {
        let vkey = Vkey::new(origin, KeyType::Ed25519, key.public())?;
        Self::with(storage, vkey, pace, |base, tiles| start::create(base, tiles, key))
    }

    /// Opens a ledger: finishes what a crash interrupted, checks the right edge.
    ///
    /// When something does not fit together the ledger opens all the same and can be read; [`Ledger::health`] says why
    /// it does not sign. Only one process at a time may do this: the caller holds the home's lock.
    ///
    /// # Errors
    /// [`OpenError::NoLedger`], [`OpenError::Journal`] when nothing that is there counts for this origin and key, else
    /// what failed.
    pub fn open(storage: impl Storage + 'static, origin: &str, key: SigningKey) -> Result<Self, OpenError> {
        Self::open_paced(storage, origin, key, Pace::default())
    }

    /// As [`Ledger::open`], with another pace of writing out.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub fn open_paced(
        storage: impl Storage + 'static,
        origin: &str,
        key: SigningKey,
        pace: Pace,
    ) -> Result<Self, OpenError> {
        let vkey = Vkey::new(origin, KeyType::Ed25519, key.public())?;
        Self::with(storage, vkey, pace, |base, tiles| start::open(base, tiles, key))
    }

    /// Opens a ledger that another generation has succeeded. It can be read, and its health says that it ended; no key is
    /// needed, and nothing is written.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub fn open_ended(storage: impl Storage + 'static, vkey: Vkey) -> Result<Self, OpenError> {
        Self::with(storage, vkey, Pace::default(), |base, tiles| start::open_ended(&base.storage, tiles, &base.vkey))
    }

    fn with(
        storage: impl Storage + 'static,
        vkey: Vkey,
        pace: Pace,
        start: impl FnOnce(Base, &Tiles) -> Result<Start, OpenError>,
    ) -> Result<Self, OpenError> {
        let storage: Arc<dyn Storage> = Arc::new(storage);
        let unwritten = Arc::new(Unwritten::default());
        let tiles = Tiles::new(Arc::clone(&storage), Arc::clone(&unwritten));
        let base = Base { storage: Arc::clone(&storage), unwritten: Arc::clone(&unwritten), vkey: vkey.clone(), pace };
        let Start { signed, places, health, committer } = start(base, &tiles)?;
        let view = RwLock::new(View { signed, health });
        let shared = Arc::new(Shared { storage, tiles, unwritten, places, vkey, view });
        let thread = |error: std::io::Error| OpenError::Thread { why: error.to_string() };
        let (sender, requests) = channel();
        let (grown, growth) = channel();
        // What is read only has nothing to tidy up, and its disk is left alone.
        let tidier = committer.is_some().then(|| sequencer::start_tidier(Arc::clone(&shared), growth));
        let tidier = tidier.transpose().map_err(thread)?;
        let sequencer = sequencer::start(Arc::clone(&shared), committer, pace.idle, requests, grown).map_err(thread)?;
        Ok(Self { shared, requests: Some(sender), sequencer: Some(sequencer), tidier })
    }

    /// Logs documents, all or none, in this order, and waits until they are durable. From then on [`Ledger::checkpoint`]
    /// covers them. The files that others read follow when there is time, and at the latest with [`Ledger::publish`].
    ///
    /// A document that is in the ledger keeps its index and is not stored again. Callers at the same time share one
    /// commit.
    ///
    /// # Errors
    /// [`AppendError`], which says what was stored.
    pub fn append(&self, documents: Vec<Document>) -> Result<Vec<Appended>, AppendError> {
        let within = |what, found: usize, limit| match found {
            found if (1..=limit).contains(&found) => Ok(()),
            found => Err(AppendError::Misuse { what, found, limit }),
        };
        within("documents", documents.len(), APPEND_DOCUMENTS)?;
        documents
            .iter()
            .try_for_each(|document| within("bytes of a document", document.bytes.len(), limits::NOTE_BYTES))?;
        within("bytes of documents", documents.iter().map(|document| document.bytes.len()).sum(), APPEND_BYTES)?;
        let documents = documents
            .into_iter()
            .map(|Document { shelf, bytes }| self.wanted(NewDocument { shelf, entry: Entry::of(&bytes), bytes }))
            .collect::<Result<Vec<Wanted>, AppendError>>()?;
        self.ask(|answer| Request::Append { documents, answer })
    }

    /// Writes out what is committed, and waits for it: then `ledger/` and the shelves hold all that was answered before, and
    /// the public checkpoint covers it.
    ///
    /// # Errors
    /// [`AppendError::Full`], after which it can be tried again; [`AppendError::Refused`] when a write failed before.
    /// What was answered stays durable in any case.
    pub fn publish(&self) -> Result<(), AppendError> {
        self.ask(|answer| Request::Publish { settle: false, answer })
    }

    /// As [`Ledger::publish`], and leaves a journal of one record, so that opening the ledger again changes none of its files.
    /// Dropping it does the same; this is for a process that ends without that.
    ///
    /// # Errors
    /// As [`Ledger::publish`].
    pub fn settle(&self) -> Result<(), AppendError> {
        self.ask(|answer| Request::Publish { settle: true, answer })
    }

    fn ask<T>(&self, request: impl FnOnce(SyncSender<Result<T, AppendError>>) -> Request) -> Result<T, AppendError> {
        let (answer, answered) = sync_channel(1);
        let sent = self.requests.as_ref().and_then(|requests| requests.send(request(answer)).ok());
        sent.and_then(|()| answered.recv().ok()).unwrap_or_else(|| {
            let why = "the sequencer stopped".to_owned();
            self.shared.set_health(Health::Poisoned { why: why.clone() });
            Err(AppendError::Unknown { why })
        })
    }

    /// Looks for the document where that takes longest, in the caller's thread. The sequencer looks at the rest.
    fn wanted(&self, new: NewDocument) -> Result<Wanted, AppendError> {
        let Shared { places, tiles, .. } = self.shared.as_ref();
        match places.find_in_segments(0, tiles, self.size(), &new.entry.sha256) {
            Ok((index, absent_below)) => Ok(Wanted { new, index, absent_below }),
            Err(error) => Err(AppendError::Refused { health: self.shared.doubt(&error) }),
        }
    }

    /// The newest checkpoint, signed by this ledger alone.
    pub fn checkpoint(&self) -> SignedCheckpoint {
        self.shared.view().signed.clone()
    }

    /// The newest checkpoint, and a journal that begins with exactly that: what a copy of the tiles and documents that are there
    /// now can be opened with, whatever is committed meanwhile.
    ///
    /// # Errors
    /// As [`Ledger::publish`].
    pub fn journal_of_copy(&self) -> Result<(Vec<u8>, SignedCheckpoint), AppendError> {
        let signed = self.checkpoint();
        self.publish()?;
        Ok((Record::of_copy(signed.clone()), signed))
    }

    /// How many entries it has.
    pub fn size(&self) -> u64 {
        self.shared.size()
    }

    /// The ledger's name and key.
    pub fn vkey(&self) -> &Vkey {
        &self.shared.vkey
    }

    /// Whether it signs.
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// The leaf index of the entry, if it is in the ledger. As [`Ledger::index_of_digest`].
    pub fn index_of(&self, entry: &Entry) -> Option<u64> {
        self.index_of_digest(&entry.sha256)
    }

    /// The leaf index of the document with this SHA-256, if it is in the ledger. None also when that cannot be read: then
    /// [`Ledger::health`] says so, and [`Ledger::find`] tells the two apart.
    pub fn index_of_digest(&self, digest: &Hash) -> Option<u64> {
        self.find(digest).ok().flatten()
    }

    /// The leaf index of the document with this SHA-256, if it is in the ledger. Its entry was read and says so.
    ///
    /// # Errors
    /// [`ReadError`] when the entries that would tell cannot be read. Then nothing more is signed: a document could be
    /// logged twice.
    pub fn find(&self, digest: &Hash) -> Result<Option<u64>, ReadError> {
        let found = self.shared.places.find(&self.shared.tiles, self.size(), digest);
        found.inspect_err(|error| _ = self.shared.doubt(error))
    }

    /// One entry.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn entry(&self, index: u64) -> Result<Entry, ReadError> {
        match self.size() {
            size if index >= size => Err(ReadError::OutOfRange { asked: index, size }),
            size => self.shared.tiles.entry(index, size),
        }
    }

    /// All entries of one bundle, which are those from `256 * bundle` on, at most 256.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn bundle(&self, bundle: u64) -> Result<Vec<Entry>, ReadError> {
        self.shared.tiles.entries(bundle, self.size())
    }

    /// A document that was logged; none when it is not on its shelf, as after an erasure.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] when its bytes are not those that were logged, [`ReadError::Storage`].
    pub fn document(&self, shelf: Shelf, digest: &Hash) -> Result<Option<Vec<u8>>, ReadError> {
        // Looked for here first, as with tiles.
        if let Some(bytes) = self.shared.unwritten.document(shelf, digest) {
            return Ok(Some(bytes));
        }
        let path = shelf.path(digest);
        match self.shared.storage.read(&path, limits::NOTE_BYTES as u64) {
            Ok(bytes) if Hash::of(&bytes) == *digest => Ok(Some(bytes)),
            Ok(_) => Err(ReadError::Damaged { path, what: "it holds other bytes than its name says".to_owned() }),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The root of the tree of this size, for any size up to the newest.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn root(&self, size: u64) -> Result<Hash, ReadError> {
        let newest = self.checkpoint();
        match newest.checkpoint().size {
            newest_size if size > newest_size => Err(ReadError::OutOfRange { asked: size, size: newest_size }),
            newest_size if size == newest_size => Ok(newest.checkpoint().root),
            newest_size => tree_root(&Tree { tiles: &self.shared.tiles, size: newest_size }, size),
        }
    }

    /// The inclusion proof of the leaf in the tree of this size, for any size up to the newest. It has been
    /// verified before it is returned.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] when there is no such leaf or size; [`ReadError::Damaged`] when the tiles give no proof.
    pub fn prove(&self, index: u64, size: u64) -> Result<Vec<Hash>, ReadError> {
        let (root, tree) = (self.root(size)?, self.tree());
        let proof = prove_inclusion(&tree, index, size).map_err(read_error)?;
        let leaf = tree.node(Position { level: 0, index })?;
        verify_inclusion(index, size, &leaf, &proof, &root).map_err(|error| does_not_close(index, error))?;
        Ok(proof)
    }

    /// The proof that the tree of size `new` continues that of size `old`, which is at least 1. It has been verified
    /// before it is returned.
    ///
    /// # Errors
    /// As [`Ledger::prove`].
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, ReadError> {
        let (old_root, new_root) = (self.root(old)?, self.root(new)?);
        let proof = prove_consistency(&self.tree(), old, new).map_err(read_error)?;
        verify_consistency(old, new, &old_root, &new_root, &proof).map_err(|error| does_not_close(old, error))?;
        Ok(proof)
    }

    /// Compares the ledger with a checkpoint of it that somebody else holds. One that is ahead, or has another root, means
    /// that this disk is an older copy or that there are two: the ledger signs nothing more.
    ///
    /// # Errors
    /// [`NoteError`] when the note is no checkpoint that this ledger signed; then nothing changed.
    pub fn confront(&self, note: Note) -> Result<Health, NoteError> {
        let seen = SignedCheckpoint::check(note, self.vkey())?;
        let seen = seen.checkpoint();
        let held = self.checkpoint();
        let other_past = || match self.root(seen.size) {
            Ok(root) if root != seen.root => {
                Some(format!("size {} with root {} was seen, {root} is here", seen.size, seen.root))
            }
            _ => None,
        };
        if let Some(why) = contradiction(seen, held.checkpoint()).or_else(other_past) {
            self.shared.set_health(Health::RolledBack { why });
        }
        Ok(self.health())
    }

    /// Checks everything again from the entries up, while the ledger goes on: what is committed now is written out before.
    /// `progress` is called at the start, after each bundle and each document, and before each tile that later ones contain.
    pub fn fsck(&self, depth: Depth, progress: &mut dyn FnMut(FsckProgress)) -> FsckReport {
        // That it could not be written out is a finding of the check.
        let _ = self.publish();
        fsck::run(self.shared.storage(), self.vkey(), depth, progress)
    }

    fn tree(&self) -> Tree<'_> {
        Tree { tiles: &self.shared.tiles, size: self.size() }
    }
}

impl Drop for Ledger {
    /// Waits for the commit that runs, and for what is committed to be written out.
    fn drop(&mut self) {
        drop(self.requests.take());
        self.shared.places.stop();
        for thread in [self.sequencer.take(), self.tidier.take()].into_iter().flatten() {
            let _ = thread.join();
        }
    }
}

fn read_error(error: ProveError<ReadError>) -> ReadError {
    match error {
        ProveError::Store(error) => error,
        ProveError::OutOfRange { asked, size } => ReadError::OutOfRange { asked, size },
    }
}

fn does_not_close(asked: u64, error: impl std::fmt::Display) -> ReadError {
    ReadError::Damaged { path: "ledger/tile".to_owned(), what: format!("no proof of {asked} closes: {error}") }
}

/// What the sequencer writes and everybody reads.
#[derive(Debug)]
pub(crate) struct Shared {
    storage: Arc<dyn Storage>,
    tiles: Tiles,
    unwritten: Arc<Unwritten>,
    places: Places,
    vkey: Vkey,
    view: RwLock<View>,
}

/// What readers in this process see. Written by the sequencer alone, but for its health.
#[derive(Debug)]
struct View {
    signed: SignedCheckpoint,
    health: Health,
}

impl Shared {
    pub(crate) fn storage(&self) -> &dyn Storage {
        self.storage.as_ref()
    }

    pub(crate) fn health(&self) -> Health {
        self.view().health.clone()
    }

    /// The leaf index of a document, for the sequencer: what its caller found, and what was committed since.
    pub(crate) fn index_of(&self, wanted: &Wanted) -> Result<Option<u64>, ReadError> {
        let find = || self.places.find_from(wanted.absent_below, &self.tiles, self.size(), &wanted.new.entry.sha256);
        wanted.index.map_or_else(find, |index| Ok(Some(index)))
    }

    /// Shows readers a checkpoint that is committed.
    pub(crate) fn show(&self, signed: SignedCheckpoint, indexes: HashMap<Hash, u64>) {
        // A place is shown only once the size covers it.
        self.places.add(indexes);
        self.view.write().unwrap_or_else(PoisonError::into_inner).signed = signed;
    }

    /// Brings the places in order, up to what is committed now.
    pub(crate) fn tidy(&self) {
        self.places.tidy(&self.tiles, self.size());
        self.places.sweep();
    }

    /// Stops signing. What stopped it first stands, but that it is rolled back is final and hides behind nothing.
    pub(crate) fn set_health(&self, health: Health) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        let worse = matches!((&view.health, &health), (Health::Poisoned { .. }, Health::RolledBack { .. }));
        if view.health.may_sign() || worse {
            view.health = health;
        }
    }

    /// Stops signing because something committed cannot be read.
    pub(crate) fn doubt(&self, error: &ReadError) -> Health {
        self.set_health(Health::Poisoned { why: error.to_string() });
        self.health()
    }

    pub(crate) fn size(&self) -> u64 {
        self.view().signed.checkpoint().size
    }

    fn view(&self) -> RwLockReadGuard<'_, View> {
        // A view is replaced member by member, and each is whole.
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }
}
