//! The commit: documents in, a published checkpoint out, by the numbered steps of docs/spec/commit.md.
//!
//! Planning is pure and lives in `tail`; this file acts. One thread owns a [`Committer`]; whoever gets an error other
//! than "full" from it drops it and signs nothing more.

use std::sync::Arc;

use custodia_format::Hash;
use custodia_format::checkpoint::{Checkpoint, SignedCheckpoint};
use custodia_format::entry::Entry;
use custodia_format::key::SigningKey;
use custodia_format::note::{Note, Vkey};
use custodia_merkle::Frontier;

use crate::head::Head;
use crate::home::{CHECKPOINT, HEAD, ORDER, STAGE, STAGE_BYTES, Shelf, tile_path};
use crate::stage::Stage;
use crate::storage::{Names, NewFile, Rename, Storage, StorageError};
use crate::tail::{Plan, Tail, plan};
use crate::tiles::Tiles;

/// A document to be logged, with what was computed from it.
#[derive(Debug, Clone)]
pub(crate) struct NewDocument {
    pub(crate) shelf: Shelf,
    pub(crate) bytes: Vec<u8>,
    pub(crate) entry: Entry,
}

/// The right edge of the ledger, and the right to sign for it.
///
/// Invariant: `tail`, `frontier` and `head` are those of one checkpoint, and everything up to it is applied.
#[derive(Debug)]
pub(crate) struct Committer {
    storage: Arc<dyn Storage>,
    key: SigningKey,
    vkey: Vkey,
    tail: Tail,
    frontier: Frontier,
    /// The bytes of the head; none before the first commit.
    head: Option<Vec<u8>>,
}

/// Whether the documents of a commit that a crash interrupts keep their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// A caller gave several, in an order that means something.
    Kept,
    /// Each is another caller's.
    Any,
}

/// Why a commit failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CommitError {
    /// No room, before the commit point: nothing was stored, and the committer can go on.
    Full { path: String },
    /// It may have happened or not: nobody may sign until the ledger was opened again.
    Unknown { why: String },
}

impl Committer {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        key: SigningKey,
        vkey: Vkey,
        tail: Tail,
        frontier: Frontier,
        head: Option<Vec<u8>>,
    ) -> Self {
        Self { storage, key, vkey, tail, frontier, head }
    }

    /// How many entries are committed.
    pub(crate) const fn size(&self) -> u64 {
        self.tail.size()
    }

    /// Logs documents that are neither in the ledger nor twice among these, in this order, all or none of them. The
    /// first gets the index that [`Committer::size`] was before.
    pub(crate) fn commit(&mut self, documents: &[NewDocument], order: Order) -> Result<SignedCheckpoint, CommitError> {
        let paths: Vec<String> = documents.iter().map(|new| new.shelf.pending_path(&new.entry.sha256)).collect();
        let kept = if order == Order::Kept { self.step_1_order(documents) } else { Ok(()) };
        let files = paths.iter().zip(documents).map(|(path, new)| NewFile { path, bytes: &new.bytes }).collect();
        let committed = kept.and_then(|()| self.steps(&entries(documents), shelves(documents), files));
        if let Err(CommitError::Full { path }) = committed {
            // The caller is told that nothing was stored, so nothing may be found by the next start.
            return Err(match self.storage.remove(&paths) {
                Ok(()) => CommitError::Full { path },
                Err(error) => CommitError::Unknown { why: error.to_string() },
            });
        }
        committed
    }

    /// Logs documents that stand in `pending/` already, as [`Committer::commit`] does; they stay there when it fails.
    pub(crate) fn commit_pending(&mut self, documents: &[NewDocument]) -> Result<SignedCheckpoint, CommitError> {
        self.steps(&entries(documents), shelves(documents), Vec::new())
    }

    /// Logs entries whose documents lie on their shelves already, or nowhere any more, as [`Committer::commit`] does.
    pub(crate) fn commit_entries(&mut self, entries: &[&Entry]) -> Result<SignedCheckpoint, CommitError> {
        self.steps(entries, Vec::new(), Vec::new())
    }

    /// All steps. `documents` are those that are to be shelved, `fresh` the files of step 1, none when they are there
    /// already.
    fn steps(
        &mut self,
        entries: &[&Entry],
        documents: Vec<(Shelf, Hash)>,
        fresh: Vec<NewFile<'_>>,
    ) -> Result<SignedCheckpoint, CommitError> {
        let (plan, stage) = self.step_2_plan(entries, documents)?;
        let stage_bytes = stage.print();
        self.steps_1_and_3_store(fresh, &stage_bytes)?;
        self.step_4_root_again(&stage_bytes, &plan)?;
        let head = self.step_5_commit(&stage, &stage_bytes, &plan)?;
        // From here on an error of any kind leaves a commit that is not applied: the next start finishes it.
        let unknown = |error: StorageError| CommitError::Unknown { why: error.to_string() };
        apply(self.storage.as_ref(), &stage, head.signed.note()).map_err(unknown)?;
        self.head = Some(head.print());
        self.tail = plan.tail;
        self.frontier = plan.frontier;
        Ok(head.signed)
    }

    /// Before step 1: the order of one caller's documents, so that a start after a crash keeps it.
    fn step_1_order(&self, documents: &[NewDocument]) -> Result<(), CommitError> {
        let order: String = documents.iter().map(|new| format!("{}\n", new.entry.sha256)).collect();
        Ok(self.storage.put_with(&[NewFile { path: ORDER, bytes: order.as_bytes() }], &[], Names::Soon)?)
    }

    /// Steps 1 and 3: the documents in `pending/`, and then all that the commit changes in one file. They share a sync;
    /// their names are durable before the head has its own. Without the head none of them counts, and a start finds the
    /// documents or does not.
    fn steps_1_and_3_store(&self, fresh: Vec<NewFile<'_>>, stage: &[u8]) -> Result<(), CommitError> {
        let mut files = fresh;
        files.push(NewFile { path: STAGE, bytes: stage });
        Ok(self.storage.put_with(&files, &[], Names::Soon)?)
    }

    /// Step 2: indexes, tiles, bundles and the root, in memory.
    fn step_2_plan(&self, entries: &[&Entry], documents: Vec<(Shelf, Hash)>) -> Result<(Plan, Stage), CommitError> {
        let entries: Vec<String> = entries.iter().map(|entry| entry.text()).collect();
        let plan = plan(&self.tail, &self.frontier, entries.iter().map(String::as_bytes))
            .map_err(|error| CommitError::Unknown { why: error.to_string() })?;
        let stage = Stage {
            origin: self.vkey.name().to_owned(),
            before: plan.before,
            size: plan.size(),
            root: plan.frontier.root(),
            documents,
            files: plan.files.clone(),
        };
        Ok((plan, stage))
    }

    /// Step 4: the root once more, from the bytes that stand in the file now and by another way. A bit that flipped in
    /// memory since step 2 is found here, before anything is signed.
    fn step_4_root_again(&self, staged: &[u8], plan: &Plan) -> Result<(), CommitError> {
        let unknown = |why: String| CommitError::Unknown { why };
        let read = self.storage.read(STAGE, STAGE_BYTES).map_err(|error| unknown(error.to_string()))?;
        let stage = Stage::parse(&read).map_err(|error| unknown(error.to_string()))?;
        let tiles = Tiles::new(Arc::clone(&self.storage));
        let root = stage.root_again(|tile| tiles.bytes(tile)).map_err(|error| unknown(error.to_string()))?;
        let planned = plan.frontier.root();
        if read == staged && root == planned && stage.size == plan.frontier.size() {
            return Ok(());
        }
        Err(unknown(format!("two ways to the root of size {} disagree: {planned} and {root}", plan.size())))
    }

    /// Step 5: the signed checkpoint and the digest of the stage, in place of the head that this commit started from.
    fn step_5_commit(&self, stage: &Stage, staged: &[u8], plan: &Plan) -> Result<Head, CommitError> {
        let unknown = |why: String| CommitError::Unknown { why };
        let grows = plan.size() > plan.before || self.head.is_none();
        if !grows {
            return Err(unknown(format!("a second checkpoint of size {}", plan.before)));
        }
        let checkpoint = Checkpoint { origin: stage.origin.clone(), size: stage.size, root: stage.root };
        let note = checkpoint.sign(&self.key).map_err(|error| unknown(error.to_string()))?;
        // Checked after signing: a fault in the signer must not reach a reader.
        let signed = SignedCheckpoint::check(note, &self.vkey).map_err(|error| unknown(error.to_string()))?;
        let head = Head { stage: Hash::of(staged), signed };
        // THE COMMIT POINT. Before this rename is durable nothing happened; from then on the next start finishes it.
        let paths = tile_paths(stage);
        self.storage.swap_with(HEAD, self.head.as_deref(), &head.print(), &tile_files(stage, &paths))?;
        Ok(head)
    }
}

fn entries(documents: &[NewDocument]) -> Vec<&Entry> {
    documents.iter().map(|new| &new.entry).collect()
}

fn shelves(documents: &[NewDocument]) -> Vec<(Shelf, Hash)> {
    documents.iter().map(|new| (new.shelf, new.entry.sha256)).collect()
}

/// Step 6, for the commit that runs and for every start: the stage's tiles go to `ledger/`, then the public checkpoint
/// follows, then the documents leave `pending/` for their shelves. Tiles and checkpoint are durable, each before the
/// next one appears; where a document stands is durable before the next commit begins. Doing any of it again changes
/// nothing.
pub(crate) fn apply(storage: &dyn Storage, stage: &Stage, note: &Note) -> Result<(), StorageError> {
    let (paths, note) = (tile_paths(stage), note.print());
    let checkpoint = [NewFile { path: CHECKPOINT, bytes: note.as_bytes() }];
    storage.put_with(&tile_files(stage, &paths), &checkpoint, Names::Now)?;
    storage.put(&checkpoint)?;
    let shelve = |(shelf, digest): &(Shelf, Hash)| Rename { from: shelf.pending_path(digest), to: shelf.path(digest) };
    storage.rename_soon(&stage.documents.iter().map(shelve).collect::<Vec<_>>())
}

fn tile_paths(stage: &Stage) -> Vec<String> {
    stage.files.iter().map(|(tile, _)| tile_path(tile)).collect()
}

fn tile_files<'a>(stage: &'a Stage, paths: &'a [String]) -> Vec<NewFile<'a>> {
    paths.iter().zip(&stage.files).map(|(path, (_, bytes))| NewFile { path, bytes }).collect()
}

impl From<StorageError> for CommitError {
    /// For the steps before the commit point.
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Full { path } => Self::Full { path },
            other => Self::Unknown { why: other.to_string() },
        }
    }
}

impl std::fmt::Display for CommitError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Full { path } => write!(f, "no room to write {path}"),
            Self::Unknown { why } => f.write_str(why),
        }
    }
}
