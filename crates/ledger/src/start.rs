//! Opening a ledger: what a crash left is finished, what does not fit together is named and not signed over
//! (docs/spec/commit.md, "Start").

use std::sync::Arc;

use custodia_format::checkpoint::{Checkpoint, SignedCheckpoint};
use custodia_format::key::SigningKey;
use custodia_format::limits;
use custodia_format::note::{Note, Vkey};
use custodia_format::tile::TILE_WIDTH;
use custodia_merkle::{Frontier, tree_root};

use crate::commit::{Base, Committer, begin_journal, found, publish, write_files};
use crate::fsck::{self, Depth};
use crate::health::Health;
use crate::home::{CHECKPOINT, JOURNAL, JOURNAL_BYTES, LEDGER, POISONED, POISONED_BYTES};
use crate::journal::Journal;
use crate::places::Places;
use crate::storage::{NewFile, Storage, StorageError};
use crate::tail::Tail;
use crate::tiles::{Tiles, Tree};
use crate::unwritten::Unwritten;

/// Why there is no ledger to open, or none to create. Nothing was changed, but for what [`OpenError::Create`] says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The name is none. The caller's fault.
    #[error(transparent)]
    Name(#[from] custodia_format::Malformed),
    /// There is no ledger here.
    #[error("there is no ledger here: neither {JOURNAL} nor {CHECKPOINT} exists")]
    NoLedger,
    /// There is one already.
    #[error("there is a ledger here already: {path}")]
    Exists {
        /// What was found of it.
        path: String,
    },
    /// Neither the journal nor the public checkpoint counts for this name and key. It is never made again silently.
    #[error("{JOURNAL} does not count: {why}")]
    Journal {
        /// What is wrong with it.
        why: String,
    },
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The first checkpoint could not be committed, or that is not known: then it is found by opening the ledger.
    #[error("the ledger could not be created: {why}")]
    Create {
        /// What failed.
        why: String,
    },
    /// No thread could be started.
    #[error("the sequencer could not be started: {why}")]
    Thread {
        /// What the system said.
        why: String,
    },
}

/// What a start found.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) signed: SignedCheckpoint,
    pub(crate) places: Places,
    pub(crate) health: Health,
    /// There only when the ledger may sign.
    pub(crate) committer: Option<Committer>,
}

/// Makes an empty ledger and signs its first checkpoint, of size 0.
pub(crate) fn create(base: Base, tiles: &Tiles, key: SigningKey) -> Result<Start, OpenError> {
    let storage = Arc::clone(&base.storage);
    // Any file of `ledger/` is a trace: who lost both checkpoints must not sign a second history over the tiles.
    let journal = read(storage.as_ref(), JOURNAL, JOURNAL_BYTES)?.map(|_| JOURNAL.to_owned());
    let trace = journal.or(storage.list(LEDGER)?.into_iter().next().map(|file| file.path));
    if let Some(path) = trace {
        return Err(OpenError::Exists { path });
    }
    let journal = found(storage.as_ref(), &key, &base.vkey);
    let journal = journal.map_err(|error| OpenError::Create { why: error.to_string() })?;
    let committer = Committer::new(base, key, (Tail::new(), Frontier::new()), &journal);
    let places = Places::empty(storage, tiles);
    Ok(Start { signed: journal.newest.signed, places, health: Health::Signing, committer: Some(committer) })
}

/// Opens a ledger. Its health says whether it may sign; what can be read is read in any case.
pub(crate) fn open(base: Base, tiles: &Tiles, key: SigningKey) -> Result<Start, OpenError> {
    let (storage, vkey) = (Arc::clone(&base.storage), base.vkey.clone());
    // Step 1: journal and public checkpoint, before anything is written.
    let public = read_public(storage.as_ref(), &vkey)?;
    let (bytes, journal) = match (read_journal(storage.as_ref(), &vkey)?, &public) {
        (Ok(Some(journal)), _) => journal,
        (Ok(None), Ok(None)) => return Err(OpenError::NoLedger),
        (other, Ok(Some(public))) => {
            let why = other.err().unwrap_or_else(|| format!("{JOURNAL} is missing, {CHECKPOINT} is there"));
            return Ok(read_only(&storage, tiles, public.clone(), Health::Poisoned { why }));
        }
        (other, _) => {
            return Err(OpenError::Journal { why: other.err().unwrap_or_else(|| format!("{JOURNAL} is missing")) });
        }
    };
    let newest = journal.newest.signed.clone();
    let held = newest.checkpoint();
    // Step 2: a reader has seen more than we hold, or something else.
    let public = match public {
        Err(why) => return Ok(read_only(&storage, tiles, newest, Health::Poisoned { why })),
        Ok(public) => public,
    };
    // As if all that the journal holds were written out.
    let staged = Arc::new(Unwritten::default());
    journal.records().for_each(|record| staged.add(record.stage.clone()));
    if let Some(public) = &public {
        let other = || other_history(&storage, &staged, public.checkpoint(), held);
        let (shown, health) = match contradiction(public.checkpoint(), held) {
            Some(why) if journal.torn => {
                let why = format!("the end of {JOURNAL} is damaged: {why}");
                (Some(public), Some(Health::Poisoned { why }))
            }
            Some(why) => (None, Some(Health::RolledBack { why })),
            None => (Some(public), other().map(|why| Health::RolledBack { why })),
        };
        if let Some(health) = health {
            return Ok(read_only(&storage, tiles, shown.unwrap_or(&newest).clone(), health));
        }
    }
    // Until the edge is known to be whole, readers are shown no more than what is public.
    let seen = public.as_ref().unwrap_or(&newest);
    let poisoned = |signed: &SignedCheckpoint, why: String| {
        mark_poisoned(storage.as_ref(), &why);
        Ok(read_only(&storage, tiles, signed.clone(), Health::Poisoned { why }))
    };
    // Step 3: written anew, because after a failed sync the system may show bytes that the disk does not hold. Step 4.
    let bytes = bytes.get(..journal.bytes).unwrap_or_default();
    let written = begin_journal(storage.as_ref(), bytes).and_then(|()| write_files(storage.as_ref(), &staged));
    if let Err(error) = written {
        // What was answered can be read all the same, on a disk without room too: from the journal.
        journal.records().for_each(|record| base.unwritten.add(record.stage.clone()));
        let shown = if check_edge(tiles, held).is_ok() { &newest } else { seen };
        return poisoned(shown, error.to_string());
    }
    // Step 5.
    let edge = match check_edge(tiles, held) {
        Ok(edge) => edge,
        Err(why) => return Ok(read_only(&storage, tiles, seen.clone(), Health::Poisoned { why })),
    };
    // Somebody may have put an older one there, or none; one that is not our past is kept.
    let Checkpoint { size, root, .. } = seen.checkpoint();
    if tree_root(&Tree { tiles, size: held.size }, *size) != Ok(*root) {
        let why = format!("size {size} with root {root} is public, another tree is here");
        return Ok(read_only(&storage, tiles, newest.clone(), Health::RolledBack { why }));
    }
    // Step 6. Also what is public is written anew.
    let shown = publish(storage.as_ref(), newest.note()).and_then(|()| match journal.earlier.is_empty() {
        true => Ok(()),
        false => begin_journal(storage.as_ref(), &journal.newest_bytes),
    });
    if let Err(error) = shown {
        return poisoned(&newest, error.to_string());
    }
    // Step 7: after a failed write everything is checked, not only the edge.
    if let Err(why) = check_after_poison(storage.as_ref(), &vkey) {
        return Ok(read_only(&storage, tiles, newest, Health::Poisoned { why }));
    }
    let (places, unreadable) = Places::open(Arc::clone(&storage), tiles, held.size);
    if let Some(why) = unreadable {
        return Ok(Start { signed: newest, places, health: Health::Poisoned { why }, committer: None });
    }
    let committer = Committer::new(base, key, edge, &journal);
    Ok(Start { signed: newest, places, health: Health::Signing, committer: Some(committer) })
}

/// Opens a ledger that ended: what is published of it, or else what its journal says.
pub(crate) fn open_ended(storage: &Arc<dyn Storage>, tiles: &Tiles, vkey: &Vkey) -> Result<Start, OpenError> {
    let held = read_journal(storage.as_ref(), vkey)?.ok().flatten().map(|(_, journal)| journal.newest.signed);
    match read_public(storage.as_ref(), vkey)?.ok().flatten().or(held) {
        Some(signed) => Ok(read_only(storage, tiles, signed, Health::Ended)),
        None => Err(OpenError::NoLedger),
    }
}

/// Leaves a mark that the next start checks everything before it signs. That the mark itself cannot be written changes
/// nothing for this process, which signs no more.
pub(crate) fn mark_poisoned(storage: &dyn Storage, why: &str) {
    let _ = storage.put(&[NewFile { path: POISONED, bytes: format!("{why}\n").as_bytes() }]);
}

/// Why two checkpoints of this ledger, one of them published or seen elsewhere, cannot both be its own past.
pub(crate) fn contradiction(seen: &Checkpoint, held: &Checkpoint) -> Option<String> {
    let fork = seen.size == held.size && seen.root != held.root;
    (seen.size > held.size || fork).then(|| {
        format!(
            "size {} with root {} was seen, size {} with root {} is here",
            seen.size, seen.root, held.size, held.root
        )
    })
}

fn read_only(storage: &Arc<dyn Storage>, tiles: &Tiles, signed: SignedCheckpoint, health: Health) -> Start {
    let (places, _) = Places::open(Arc::clone(storage), tiles, signed.checkpoint().size);
    Start { signed, places, health, committer: None }
}

fn read(storage: &dyn Storage, path: &str, limit: u64) -> Result<Option<Vec<u8>>, StorageError> {
    match storage.read(path, limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(StorageError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

type Found<T> = Result<Option<T>, String>;

fn read_public(storage: &dyn Storage, vkey: &Vkey) -> Result<Found<SignedCheckpoint>, OpenError> {
    let Some(bytes) = read(storage, CHECKPOINT, limits::NOTE_BYTES as u64)? else { return Ok(Ok(None)) };
    let checked = Note::parse(&bytes).map_err(|error| error.to_string());
    let checked = checked.and_then(|note| SignedCheckpoint::check(note, vkey).map_err(|error| error.to_string()));
    Ok(checked.map(Some).map_err(|why| format!("{CHECKPOINT}: {why}")))
}

fn read_journal(storage: &dyn Storage, vkey: &Vkey) -> Result<Found<(Vec<u8>, Journal)>, OpenError> {
    let Some(bytes) = read(storage, JOURNAL, JOURNAL_BYTES)? else { return Ok(Ok(None)) };
    let parsed = Journal::parse(&bytes, vkey).map_err(|error| format!("{JOURNAL}: {error}"));
    Ok(parsed.map(|journal| Some((bytes, journal))))
}

/// Whether what is committed would lay another history over the one that is public: `state/` and `ledger/` come from two
/// copies that went on by themselves. What cannot be read, or does not give the public root by itself, decides nothing here;
/// the steps that follow name it.
fn other_history(
    storage: &Arc<dyn Storage>,
    staged: &Arc<Unwritten>,
    public: &Checkpoint,
    held: &Checkpoint,
) -> Option<String> {
    let Checkpoint { size, root: seen, .. } = public;
    // Of its own: what is read here may be written anew by the steps that follow.
    let root = |unwritten| {
        let tiles = &Tiles::new(Arc::clone(storage), unwritten);
        tree_root(&Tree { tiles, size: *size }, *size).ok()
    };
    let root = root(Arc::default()).filter(|written| written == seen).and_then(|_| root(Arc::clone(staged)))?;
    (root != *seen).then(|| {
        format!("size {size} with root {seen} is public, {JOURNAL} of size {} was signed over {root}", held.size)
    })
}

fn check_after_poison(storage: &dyn Storage, vkey: &Vkey) -> Result<(), String> {
    if read(storage, POISONED, POISONED_BYTES).map_err(|error| error.to_string())?.is_none() {
        return Ok(());
    }
    let report = fsck::run(storage, vkey, Depth::Home, &mut |_| {});
    match report.damage().next() {
        Some(damage) => Err(format!("{}: {}", damage.path, damage.what)),
        None => storage.remove(&[POISONED.to_owned()]).map_err(|error| error.to_string()),
    }
}

/// Step 6: the tiles and bundles at the right edge must give the root that was signed.
fn check_edge(tiles: &Tiles, held: &Checkpoint) -> Result<(Tail, Frontier), String> {
    let tail = Tail::load(held.size, |tile| tiles.bytes(tile)).map_err(|error| error.to_string())?;
    let frontier = tail.frontier().map_err(|error| error.to_string())?;
    let root = frontier.root();
    if root == held.root {
        return Ok((tail, frontier));
    }
    let first = held.size - held.size % TILE_WIDTH;
    Err(format!(
        "the tiles of size {} give root {root}, {JOURNAL} signed {}; look at entries {first} on",
        held.size, held.root
    ))
}
