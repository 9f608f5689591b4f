//! Opening a ledger: what a crash left is finished, what does not fit together is named and not signed over
//! (docs/spec/commit.md, "Start").

use std::collections::HashMap;
use std::sync::Arc;

use custodia_format::checkpoint::{Checkpoint, SignedCheckpoint};
use custodia_format::entry::Entry;
use custodia_format::key::SigningKey;
use custodia_format::note::{Note, Vkey};
use custodia_format::tile::{TILE_WIDTH, TileKind};
use custodia_format::{Hash, limits};
use custodia_merkle::{Nodes, Position, root, tree_root};

use crate::APPEND_DOCUMENTS;
use crate::commit::{Committer, NewDocument, apply};
use crate::fsck::{self, Depth};
use crate::head::Head;
use crate::health::Health;
use crate::home::{
    CHECKPOINT, HEAD, HEAD_BYTES, LEDGER, ORDER, ORDER_BYTES, PENDING, POISONED, STAGE, STAGE_BYTES, Shelf,
};
use crate::places::Places;
use crate::stage::Stage;
use crate::storage::{NewFile, Rename, Storage, StorageError};
use crate::tail::{Tail, hashes};
use crate::tiles::{ReadError, Tiles, Tree};

/// Why there is no ledger to open, or none to create. Nothing was changed, but for what [`OpenError::Create`] says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The name is none. The caller's fault.
    #[error(transparent)]
    Name(#[from] custodia_format::Malformed),
    /// There is no ledger here.
    #[error("there is no ledger here: neither {HEAD} nor {CHECKPOINT} exists")]
    NoLedger,
    /// There is one already.
    #[error("there is a ledger here already: {path}")]
    Exists {
        /// What was found of it.
        path: String,
    },
    /// Neither the head nor the public checkpoint counts for this name and key. It is never made again silently.
    #[error("{HEAD} does not count: {why}")]
    Head {
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
pub(crate) fn create(
    storage: &Arc<dyn Storage>,
    tiles: &Tiles,
    vkey: &Vkey,
    key: SigningKey,
) -> Result<Start, OpenError> {
    // Any file of `ledger/` is a trace: who lost both checkpoints must not sign a second history over the tiles.
    let head = read(storage.as_ref(), HEAD, HEAD_BYTES)?.map(|_| HEAD.to_owned());
    let trace = head.or(storage.list(LEDGER)?.into_iter().next().map(|file| file.path));
    if let Some(path) = trace {
        return Err(OpenError::Exists { path });
    }
    let tail = Tail::new();
    let frontier = tail.frontier().map_err(|error| OpenError::Create { why: error.to_string() })?;
    let mut committer = Committer::new(Arc::clone(storage), key, vkey.clone(), tail, frontier, None);
    let signed = committer.commit_pending(&[]).map_err(|error| OpenError::Create { why: error.to_string() })?;
    let places = Places::empty(Arc::clone(storage), tiles);
    Ok(Start { signed, places, health: Health::Signing, committer: Some(committer) })
}

/// Opens a ledger. Its health says whether it may sign; what can be read is read in any case.
pub(crate) fn open(
    storage: &Arc<dyn Storage>,
    tiles: &Tiles,
    vkey: &Vkey,
    key: SigningKey,
) -> Result<Start, OpenError> {
    // Step 1: both checkpoints, before anything is written.
    let public = read_public(storage.as_ref(), vkey)?;
    let (bytes, head) = match (read_head(storage.as_ref(), vkey)?, &public) {
        (Ok(Some(head)), _) => head,
        (Ok(None), Ok(None)) => return Err(OpenError::NoLedger),
        (other, Ok(Some(public))) => {
            let why = other.err().unwrap_or_else(|| format!("{HEAD} is missing, {CHECKPOINT} is there"));
            return Ok(read_only(storage, tiles, public.clone(), Health::Poisoned { why }));
        }
        (other, _) => return Err(OpenError::Head { why: other.err().unwrap_or_else(|| format!("{HEAD} is missing")) }),
    };
    // Step 2: a reader has seen more than we hold, or something else.
    match &public {
        Err(why) => return Ok(read_only(storage, tiles, head.signed, Health::Poisoned { why: why.clone() })),
        Ok(Some(public)) => {
            if let Some(why) = contradiction(public.checkpoint(), head.signed.checkpoint()) {
                return Ok(read_only(storage, tiles, head.signed, Health::RolledBack { why }));
            }
        }
        Ok(None) => {}
    }
    if let Ok(Some(public)) = &public
        && let Some(why) = other_history(storage.as_ref(), tiles, public.checkpoint(), &head)
    {
        return Ok(read_only(storage, tiles, public.clone(), Health::RolledBack { why }));
    }
    let poisoned = |why: String| {
        mark_poisoned(storage.as_ref(), &why);
        Health::Poisoned { why }
    };
    // Steps 3 and 4. Until the edge is known to be whole, readers are shown no more than what is published.
    let public = public.ok().flatten();
    let published = match finish_last_commit(storage.as_ref(), &bytes, &head) {
        Ok(Finished::Applied) => Some(head.signed.clone()),
        Ok(Finished::Before) => public,
        Err(why) => return Ok(read_only(storage, tiles, public.unwrap_or(head.signed), poisoned(why))),
    };
    let seen = || published.clone().unwrap_or_else(|| head.signed.clone());
    // Step 5: after a failed write everything is checked, not only the edge.
    if let Err(why) = check_after_poison(storage.as_ref(), vkey) {
        return Ok(read_only(storage, tiles, seen(), Health::Poisoned { why }));
    }
    // Step 6.
    let (tail, frontier) = match check_edge(tiles, head.signed.checkpoint()) {
        Ok(edge) => edge,
        Err(why) => return Ok(read_only(storage, tiles, seen(), Health::Poisoned { why })),
    };
    let held = head.signed.checkpoint();
    if published.as_ref().map(SignedCheckpoint::checkpoint) != Some(held) {
        // Somebody put an older one there, or none; one that is not our past is kept.
        let (seen, tree) = (seen(), Tree { tiles, size: held.size });
        let Checkpoint { size, root, .. } = seen.checkpoint();
        if tree_root(&tree, *size) != Ok(*root) {
            let why = format!("size {size} with root {root} is public, another tree is here");
            return Ok(read_only(storage, tiles, head.signed, Health::RolledBack { why }));
        }
        if let Err(error) = storage.put(&[NewFile { path: CHECKPOINT, bytes: head.signed.note().print().as_bytes() }]) {
            return Ok(read_only(storage, tiles, seen, poisoned(error.to_string())));
        }
    }
    let (places, unreadable) = Places::open(Arc::clone(storage), tiles, tail.size());
    if let Some(why) = unreadable {
        return Ok(Start { signed: head.signed, places, health: Health::Poisoned { why }, committer: None });
    }
    let committer = Committer::new(Arc::clone(storage), key, vkey.clone(), tail, frontier, Some(bytes));
    let mut start = Start { signed: head.signed, places, health: Health::Signing, committer: Some(committer) };
    // Step 7.
    if let Err(why) = append_pending(storage.as_ref(), tiles, &mut start) {
        start.health = poisoned(why);
        start.committer = None;
    }
    Ok(start)
}

/// Opens a ledger that ended: what is published of it, or else what its head says.
pub(crate) fn open_ended(storage: &Arc<dyn Storage>, tiles: &Tiles, vkey: &Vkey) -> Result<Start, OpenError> {
    let head = read_head(storage.as_ref(), vkey)?.ok().flatten().map(|(_, head)| head.signed);
    match read_public(storage.as_ref(), vkey)?.ok().flatten().or(head) {
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

fn read_head(storage: &dyn Storage, vkey: &Vkey) -> Result<Found<(Vec<u8>, Head)>, OpenError> {
    let Some(bytes) = read(storage, HEAD, HEAD_BYTES)? else { return Ok(Ok(None)) };
    let parsed = Head::parse(&bytes, vkey).map_err(|error| format!("{HEAD}: {error}"));
    Ok(parsed.map(|head| Some((bytes, head))))
}

/// Whether the stage would lay another history over the one that is public: `state/` and `ledger/` come from two copies
/// that went on by themselves. What cannot be read decides nothing here; the steps that follow name it.
fn other_history(storage: &dyn Storage, tiles: &Tiles, public: &Checkpoint, head: &Head) -> Option<String> {
    let staged = storage.read(STAGE, STAGE_BYTES).ok().filter(|staged| Hash::of(staged) == head.stage)?;
    let stage = Stage::parse(&staged).ok()?;
    let root = tree_root(&Staged { stage: &stage, tiles, public: public.size }, public.size).ok()?;
    let Checkpoint { size, root: seen, .. } = public;
    (root != *seen).then(|| {
        format!("size {size} with root {seen} is public, {HEAD} of size {} was signed over {root}", stage.size)
    })
}

/// The tree as it would be with the stage applied.
struct Staged<'a> {
    stage: &'a Stage,
    tiles: &'a Tiles,
    public: u64,
}

impl Nodes for Staged<'_> {
    type Error = ReadError;

    fn node(&self, at: Position) -> Result<Hash, ReadError> {
        let kind = TileKind::Hashes(at.level / 8);
        let (first, width) = (at.index << (at.level % 8), 1 << (at.level % 8));
        let staged = self.stage.files.iter().find(|(tile, _)| tile.kind == kind && tile.index == first / TILE_WIDTH);
        if let Some((tile, bytes)) = staged {
            let row = hashes(bytes, tile.width).unwrap_or_default();
            let place = (first % TILE_WIDTH) as usize;
            return row
                .get(place..place + width)
                .map(root)
                .ok_or(ReadError::OutOfRange { asked: first, size: self.stage.size });
        }
        let node = |size| Tree { tiles: self.tiles, size }.node(at);
        node(self.stage.size).or_else(|_| node(self.public))
    }
}

/// How far the last commit had come.
enum Finished {
    /// Its stage is there and was applied now, perhaps again.
    Applied,
    /// Its stage has made room for a plan that was not committed.
    Before,
}

/// Steps 3 and 4: the head is written anew, because after a failed sync the system may show bytes that the disk does
/// not hold; then its stage is applied, which finishes the last commit or changes nothing.
fn finish_last_commit(storage: &dyn Storage, bytes: &[u8], head: &Head) -> Result<Finished, String> {
    storage.put(&[NewFile { path: HEAD, bytes }]).map_err(|error| error.to_string())?;
    let staged = read(storage, STAGE, STAGE_BYTES).map_err(|error| error.to_string())?;
    // Another stage is a plan that was not committed; then the head's own was applied before that plan was made.
    let Some(staged) = staged.filter(|staged| Hash::of(staged) == head.stage) else { return Ok(Finished::Before) };
    let stage = Stage::parse(&staged).map_err(|error| error.to_string())?;
    apply(storage, &stage, head.signed.note()).map_err(|error| error.to_string())?;
    Ok(Finished::Applied)
}

fn check_after_poison(storage: &dyn Storage, vkey: &Vkey) -> Result<(), String> {
    if read(storage, POISONED, HEAD_BYTES).map_err(|error| error.to_string())?.is_none() {
        return Ok(());
    }
    let report = fsck::run(storage, vkey, Depth::Home, &mut |_| {});
    match report.damage().next() {
        Some(damage) => Err(format!("{}: {}", damage.path, damage.what)),
        None => storage.remove(&[POISONED.to_owned()]).map_err(|error| error.to_string()),
    }
}

/// Step 6: the tiles and bundles at the right edge must give the root that the head signed.
fn check_edge(tiles: &Tiles, head: &Checkpoint) -> Result<(Tail, custodia_merkle::Frontier), String> {
    let tail = Tail::load(head.size, |tile| tiles.bytes(tile)).map_err(|error| error.to_string())?;
    let frontier = tail.frontier().map_err(|error| error.to_string())?;
    let root = frontier.root();
    if root == head.root {
        return Ok((tail, frontier));
    }
    let first = head.size - head.size % TILE_WIDTH;
    Err(format!(
        "the tiles of size {} give root {root}, {HEAD} signed {}; look at entries {first} on",
        head.size, head.root
    ))
}

/// Step 7: what was signed and not yet logged is logged, unchanged, before anything new.
fn append_pending(storage: &dyn Storage, tiles: &Tiles, start: &mut Start) -> Result<(), String> {
    let text = |error: StorageError| error.to_string();
    let (mut fresh, mut logged, mut torn) = (Vec::new(), Vec::new(), Vec::new());
    for file in storage.list(PENDING).map_err(text)? {
        let Some((shelf, digest)) = Shelf::parse_pending_path(&file.path) else {
            torn.extend(file.path.ends_with(".tmp").then_some(file.path));
            continue;
        };
        let bytes = storage.read(&file.path, limits::NOTE_BYTES as u64).map_err(text)?;
        let entry = Entry::of(&bytes);
        if entry.sha256 != digest {
            return Err(format!("{} holds other bytes than its name says", file.path));
        }
        let size = start.signed.checkpoint().size;
        if start.places.find(tiles, size, &digest).map_err(|error| error.to_string())?.is_some() {
            logged.push(Rename { from: file.path, to: shelf.path(&digest) });
        } else {
            fresh.push(NewDocument { shelf, bytes, entry });
        }
    }
    storage.remove(&torn).map_err(text)?;
    storage.rename(&logged).map_err(text)?;
    // Written anew like the head: what is seen after a failed write may not be on the disk, and a rename does not put
    // it there.
    let paths: Vec<String> = fresh.iter().map(|new| new.shelf.pending_path(&new.entry.sha256)).collect();
    let files: Vec<NewFile<'_>> =
        paths.iter().zip(&fresh).map(|(path, new)| NewFile { path, bytes: &new.bytes }).collect();
    storage.put(&files).map_err(text)?;
    let order = read(storage, ORDER, ORDER_BYTES).map_err(text)?.unwrap_or_default();
    let order: HashMap<&[u8], usize> = order.split(|byte| *byte == b'\n').zip(0..).collect();
    let place = |new: &NewDocument| order.get(new.entry.sha256.to_string().as_bytes()).copied().unwrap_or(usize::MAX);
    fresh.sort_by_cached_key(|new| (place(new), new.entry.sha256));
    let committer = start.committer.as_mut().ok_or("no committer")?;
    for documents in fresh.chunks(APPEND_DOCUMENTS) {
        let first = committer.size();
        start.signed = committer.commit_pending(documents).map_err(|error| error.to_string())?;
        start.places.add(documents.iter().map(|new| new.entry.sha256).zip(first..).collect());
    }
    Ok(())
}
