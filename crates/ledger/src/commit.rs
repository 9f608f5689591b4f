//! The commit: documents in, a signed checkpoint out, by the numbered steps of docs/spec/commit.md; and later, for many
//! commits at once, the writing out of what they changed.
//!
//! Planning is pure and lives in `tail`; this file acts. One thread owns a [`Committer`]; whoever gets an error other
//! than "full" from it drops it and signs nothing more.

use std::sync::Arc;
use std::time::Duration;

use custodia_format::checkpoint::{Checkpoint, SignedCheckpoint};
use custodia_format::entry::Entry;
use custodia_format::key::SigningKey;
use custodia_format::note::{Note, Vkey};
use custodia_merkle::Frontier;

use crate::home::{CHECKPOINT, JOURNAL, Shelf};
use crate::journal::{Journal, Record, print_record};
use crate::stage::{Shelved, Stage};
use crate::storage::{NewFile, Storage, StorageError};
use crate::tail::{Plan, Tail, plan};
use crate::tiles::Tiles;
use crate::unwritten::Unwritten;

/// How many of the bytes before it a commit compares before it goes on with the journal.
const COMPARED: usize = 64;

/// When commits are written out, so that others can read them. A commit is durable without that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From so many documents on.
    pub documents: usize,
    /// From so many bytes of documents and tiles, and of the journal, on.
    pub bytes: usize,
    /// When nobody has asked for so long.
    pub idle: Duration,
}

impl Default for Pace {
    /// Writing out what has gathered takes some ten milliseconds then: a caller who comes meanwhile waits for no more. The
    /// pause is longer than those between the answers of one session, of which each would be written out alone.
    fn default() -> Self {
        Self { documents: 256, bytes: 4 << 20, idle: Duration::from_millis(200) }
    }
}

/// A document to be logged, with what was computed from it.
#[derive(Debug, Clone)]
pub(crate) struct NewDocument {
    pub(crate) shelf: Shelf,
    pub(crate) bytes: Vec<u8>,
    pub(crate) entry: Entry,
}

/// The right edge of the ledger, and the right to sign for it.
///
/// Invariant: `tail`, `frontier`, `newest` and the end of the journal are those of one checkpoint.
#[derive(Debug)]
pub(crate) struct Committer {
    storage: Arc<dyn Storage>,
    tiles: Tiles,
    unwritten: Arc<Unwritten>,
    pace: Pace,
    key: SigningKey,
    vkey: Vkey,
    tail: Tail,
    frontier: Frontier,
    journal: Held,
    newest: SignedCheckpoint,
    /// Whether readers were shown `newest`.
    is_public: bool,
}

/// What the journal holds.
#[derive(Debug)]
struct Held {
    /// Its length without the room at its end.
    bytes: usize,
    /// Of these, the newest record.
    newest: usize,
    /// Its last bytes, by which somebody else's are told.
    end: Vec<u8>,
}

impl Held {
    /// That of a journal of one record.
    fn of(record: &[u8]) -> Self {
        let end = record.get(record.len().saturating_sub(COMPARED)..).unwrap_or_default().to_vec();
        Self { bytes: record.len(), newest: record.len(), end }
    }

    /// Bytes of the records before the newest.
    const fn earlier(&self) -> usize {
        self.bytes - self.newest
    }
}

/// Why a commit failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CommitError {
    /// No room: nothing was stored, and the committer can go on.
    Full { path: String },
    /// It may have happened or not: nobody may sign until the ledger was opened again.
    Unknown { why: String },
}

/// What one ledger stands on.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) unwritten: Arc<Unwritten>,
    pub(crate) vkey: Vkey,
    pub(crate) pace: Pace,
}

/// A plan whose root was found by two ways.
#[derive(Debug)]
struct Checked {
    plan: Plan,
    stage: Stage,
    bytes: Vec<u8>,
}

impl Committer {
    /// Goes on with a ledger whose journal is this one, and whose newest commit is written out and public.
    pub(crate) fn new(base: Base, key: SigningKey, (tail, frontier): (Tail, Frontier), journal: &Journal) -> Self {
        let Base { storage, unwritten, vkey, pace } = base;
        let tiles = Tiles::new(Arc::clone(&storage), Arc::clone(&unwritten));
        let (newest, journal) = (journal.newest.signed.clone(), Held::of(&journal.newest_bytes));
        Self { storage, tiles, unwritten, pace, key, vkey, tail, frontier, journal, newest, is_public: true }
    }

    /// How many entries are committed.
    pub(crate) const fn size(&self) -> u64 {
        self.tail.size()
    }

    /// Logs documents that are neither in the ledger nor twice among these, in this order, all or none of them. The
    /// first gets the index that [`Committer::size`] was before.
    pub(crate) fn commit(&mut self, documents: Vec<NewDocument>) -> Result<SignedCheckpoint, CommitError> {
        let mut entries = Vec::with_capacity(documents.len());
        let mut shelved = Vec::with_capacity(documents.len());
        for NewDocument { shelf, bytes, entry } in documents {
            shelved.push(Shelved { shelf, digest: entry.sha256, bytes });
            entries.push(entry);
        }
        self.steps(&entries, shelved)
    }

    /// Logs entries whose documents lie on their shelves already, or nowhere any more, as [`Committer::commit`] does.
    pub(crate) fn commit_entries(&mut self, entries: &[Entry]) -> Result<SignedCheckpoint, CommitError> {
        self.steps(entries, Vec::new())
    }

    /// Steps 1 to 5.
    fn steps(&mut self, entries: &[Entry], documents: Vec<Shelved>) -> Result<SignedCheckpoint, CommitError> {
        if self.is_due() {
            self.write_out()?;
        }
        let (plan, stage) = step_1_plan(&self.vkey, &self.tail, &self.frontier, entries, documents)?;
        let checked = step_2_root_again(plan, stage, &self.tiles)?;
        let signed = step_3_sign(&checked, &self.key, &self.vkey)?;
        self.step_4_commit(&checked, &signed)?;
        // Step 5: from here on it is read.
        self.unwritten.add(checked.stage);
        (self.tail, self.frontier) = (checked.plan.tail, checked.plan.frontier);
        (self.newest, self.is_public) = (signed.clone(), false);
        Ok(signed)
    }

    /// Step 4: all of it at the end of the journal, by one write and one sync.
    fn step_4_commit(&mut self, checked: &Checked, signed: &SignedCheckpoint) -> Result<(), CommitError> {
        let record = print_record(&checked.bytes, signed);
        let at = self.journal.bytes as u64;
        let unknown = |error: StorageError| CommitError::Unknown { why: error.to_string() };
        // THE COMMIT POINT. Before these bytes are durable nothing happened; from then on every start finds them.
        self.storage.extend(JOURNAL, at, &self.journal.end, &record)?;
        // A bit that flipped on the way would make the next start take it for a record that was never finished.
        if self.storage.read_part(JOURNAL, at, record.len()).map_err(unknown)? != record {
            return Err(CommitError::Unknown { why: format!("{JOURNAL} holds other bytes than were written") });
        }
        self.journal = Held { bytes: self.journal.bytes + record.len(), ..Held::of(&record) };
        Ok(())
    }

    /// Whether so much is committed and not written out that it is time.
    pub(crate) fn is_due(&self) -> bool {
        let (documents, bytes) = self.unwritten.weight();
        documents >= self.pace.documents || bytes.max(self.journal.earlier()) >= self.pace.bytes
    }

    /// Step 6, for everything that is committed: documents to their shelves and tiles to `ledger/`, then the public
    /// checkpoint; then a journal that has grown long is begun anew. Doing any of it again changes nothing.
    ///
    /// # Errors
    /// [`CommitError::Full`] when there is no room; then it can be tried again, and the journal holds what is missing.
    pub(crate) fn write_out(&mut self) -> Result<(), CommitError> {
        if !self.is_public {
            write_files(self.storage.as_ref(), &self.unwritten)?;
            publish(self.storage.as_ref(), self.newest.note())?;
            self.unwritten.written();
            self.is_public = true;
        }
        if self.journal.earlier() >= self.pace.bytes {
            self.begin_anew()?;
        }
        Ok(())
    }

    /// Writes out what is left, and leaves a journal of one record: opening such a ledger changes none of its files.
    pub(crate) fn settle(&mut self) -> Result<(), CommitError> {
        self.write_out()?;
        if self.journal.earlier() > 0 { self.begin_anew() } else { Ok(()) }
    }

    /// Leaves nothing in the journal but its newest record, which is written out as all before it.
    fn begin_anew(&mut self) -> Result<(), CommitError> {
        let unknown = |why: String| CommitError::Unknown { why };
        let record = self.storage.read_part(JOURNAL, self.journal.earlier() as u64, self.journal.newest);
        let record = record.map_err(|error| unknown(error.to_string()))?;
        let found = Journal::parse(&record, &self.vkey).map_err(|error| unknown(error.to_string()))?;
        if found.newest.signed != self.newest {
            return Err(unknown(format!("the end of {JOURNAL} is not the newest commit")));
        }
        begin_journal(self.storage.as_ref(), &record)?;
        self.journal = Held::of(&record);
        Ok(())
    }
}

/// Step 1: indexes, tiles, bundles and the root, in memory.
fn step_1_plan(
    vkey: &Vkey,
    tail: &Tail,
    frontier: &Frontier,
    entries: &[Entry],
    documents: Vec<Shelved>,
) -> Result<(Plan, Stage), CommitError> {
    let texts: Vec<String> = entries.iter().map(Entry::text).collect();
    let mut plan = plan(tail, frontier, texts.iter().map(String::as_bytes))
        .map_err(|error| CommitError::Unknown { why: error.to_string() })?;
    if plan.size() == plan.before {
        return Err(CommitError::Unknown { why: format!("a second checkpoint of size {}", plan.before) });
    }
    let origin = vkey.name().to_owned();
    let (before, size, root) = (plan.before, plan.size(), plan.frontier.root());
    let stage = Stage { origin, before, size, root, documents, files: std::mem::take(&mut plan.files) };
    Ok((plan, stage))
}

/// Step 2: the root once more, from the bytes that will be written and by another way. A bit that flipped in memory since
/// step 1 is found here, before anything is signed.
fn step_2_root_again(plan: Plan, stage: Stage, tiles: &Tiles) -> Result<Checked, CommitError> {
    let unknown = |why: String| CommitError::Unknown { why };
    let bytes = stage.print();
    let stage = Stage::parse(&bytes).map_err(|error| unknown(error.to_string()))?;
    let root = stage.root_again(|tile| tiles.bytes(tile)).map_err(|error| unknown(error.to_string()))?;
    let planned = plan.frontier.root();
    if root == planned && stage.root == planned && stage.size == plan.frontier.size() {
        return Ok(Checked { plan, stage, bytes });
    }
    Err(unknown(format!("two ways to the root of size {} disagree: {planned} and {root}", plan.size())))
}

/// Step 3: the checkpoint.
fn step_3_sign(checked: &Checked, key: &SigningKey, vkey: &Vkey) -> Result<SignedCheckpoint, CommitError> {
    let Stage { origin, size, root, .. } = &checked.stage;
    sign(&Checkpoint { origin: origin.clone(), size: *size, root: *root }, key, vkey)
}

fn sign(checkpoint: &Checkpoint, key: &SigningKey, vkey: &Vkey) -> Result<SignedCheckpoint, CommitError> {
    let unknown = |why: String| CommitError::Unknown { why };
    let note = checkpoint.sign(key).map_err(|error| unknown(error.to_string()))?;
    // Checked after signing: a fault in the signer must not reach a reader.
    SignedCheckpoint::check(note, vkey).map_err(|error| unknown(error.to_string()))
}

/// The first half of step 6, for the commits that run and for every start.
pub(crate) fn write_files(storage: &dyn Storage, unwritten: &Unwritten) -> Result<(), StorageError> {
    unwritten.with_files(|files| storage.put(files))
}

/// The second half: what readers see.
pub(crate) fn publish(storage: &dyn Storage, note: &Note) -> Result<(), StorageError> {
    storage.put(&[NewFile { path: CHECKPOINT, bytes: note.print().as_bytes() }])
}

/// Begins the journal anew with what its newest record, or all of its records, were.
pub(crate) fn begin_journal(storage: &dyn Storage, records: &[u8]) -> Result<(), StorageError> {
    storage.put(&[NewFile { path: JOURNAL, bytes: records }])
}

/// The first checkpoint of a ledger, of size 0, and the journal that begins with it.
pub(crate) fn found(storage: &dyn Storage, key: &SigningKey, vkey: &Vkey) -> Result<Journal, CommitError> {
    let unknown = |why: String| CommitError::Unknown { why };
    let checkpoint = Checkpoint { origin: vkey.name().to_owned(), size: 0, root: Frontier::new().root() };
    let record = Record::of_copy(sign(&checkpoint, key, vkey)?);
    let journal = Journal::parse(&record, vkey).map_err(|error| unknown(error.to_string()))?;
    begin_journal(storage, &record)?;
    publish(storage, journal.newest.signed.note()).map_err(|error| unknown(error.to_string()))?;
    Ok(journal)
}

impl From<StorageError> for CommitError {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Folder;

    /// What the plan says and what would be written disagree, in any bit of any tile.
    #[test]
    fn a_bit_that_flips_after_the_plan_is_found_before_anything_is_signed() {
        let home = tempfile::tempdir().unwrap();
        let storage: Arc<dyn Storage> = Arc::new(Folder::open(home.path()).unwrap());
        let vkey =
            Vkey::new("a/b/1", custodia_format::note::KeyType::Ed25519, SigningKey::from_seed(&[7; 32]).public());
        let vkey = vkey.unwrap();
        let unwritten = Arc::new(Unwritten::default());
        let tiles = Tiles::new(storage, Arc::clone(&unwritten));
        let entries: Vec<Entry> = (0..515_u32).map(|n| Entry::of(&n.to_be_bytes())).collect();
        // The first tile is full before: only the root tells whether its place in the row above is right.
        let (old, new) = entries.split_at(300);
        let planned = |tail: &Tail, frontier: &Frontier, entries: &[Entry]| {
            step_1_plan(&vkey, tail, frontier, entries, Vec::new()).unwrap()
        };
        let (before, stage) = planned(&Tail::new(), &Frontier::new(), old);
        unwritten.add(stage);
        let (plan, stage) = planned(&before.tail, &before.frontier, new);
        assert!(step_2_root_again(plan.clone(), stage.clone(), &tiles).is_ok());
        for file in 0..stage.files.len() {
            for at in (0..stage.files[file].1.len()).step_by(53) {
                let mut flipped = stage.clone();
                flipped.files[file].1[at] ^= 1 << (at % 8);
                assert!(step_2_root_again(plan.clone(), flipped, &tiles).is_err(), "{file} {at}");
            }
        }
        let other_root = Stage { root: custodia_format::Hash::of(b"another"), ..stage.clone() };
        assert!(step_2_root_again(plan.clone(), other_root, &tiles).is_err());
        // What the plan's own hashes are is not believed either.
        let other_plan = Plan { frontier: before.frontier, ..plan };
        assert!(step_2_root_again(other_plan, stage, &tiles).is_err());
    }
}
