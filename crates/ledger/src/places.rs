//! Where each document stands: its leaf index by its SHA-256, found without reading the ledger.
//!
//! All of it is derived. The tiles are the truth: a place is believed only after the bundle of entries that it names
//! was read, and a segment only when it says the hash of the subtree that it covers, as the tiles do. One that is missing,
//! torn, damaged or of another ledger is made again from its bundles.
//!
//! Invariants:
//! - The segments cover the entries from 0 to [`Set::end`] without a gap and without an overlap; `recent` has all from
//!   there on.
//! - A segment covers a complete subtree of 2^level leaves, level 16 or more. Two that are brothers become one, so that a
//!   ledger of n entries has about log2(n / 65,536) of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use custodia_format::Hash;
use custodia_format::entry::Entry;
use custodia_format::tile::{TILE_WIDTH, TileKind, parse_bundle};
use custodia_merkle::{Frontier, Nodes, Position, leaf_hash};

use crate::places::segment::{Failed, Record, Segment};
use crate::storage::Storage;
use crate::tiles::{ReadError, Tiles, Tree, in_row};

mod segment;

pub(crate) use segment::parse_path;

/// The folder of the segments.
pub(crate) const FOLDER: &str = "state/places";
/// The least segment covers 2^16 entries: its records are 0.8 MB, and so much is read again at a start.
pub(crate) const LEVEL: u8 = 16;
/// Brothers of this level stay two: an offset in a segment is of 32 bits.
const LEVEL_MAX: u8 = 32;

/// The places of a ledger.
#[derive(Debug)]
pub(crate) struct Places {
    storage: Arc<dyn Storage>,
    level: u8,
    /// Replaced as a whole; who reads it keeps what it had.
    set: RwLock<Arc<Set>>,
    /// By the number of their range of 2^level entries.
    recent: RwLock<BTreeMap<u64, HashMap<Hash, u64>>>,
    /// Held by whoever writes segments.
    writing: Mutex<()>,
    /// Ends a merge between two of its parts.
    stopped: AtomicBool,
}

/// The segments of one moment, ascending.
#[derive(Debug, Default)]
pub(crate) struct Set {
    segments: Vec<Arc<Segment>>,
}

impl Set {
    /// The first entry that no segment covers.
    pub(crate) fn end(&self) -> u64 {
        self.segments.last().map_or(0, |last| last.end())
    }
}

/// What was looked up in the segments before the sequencer's turn: none of the documents stands below this index.
pub(crate) type AbsentBelow = u64;

impl Places {
    /// Takes the segments that are there and fit the tiles, and reads what is not in them from the bundles. Says what could
    /// not be read; then a document may be in the ledger without being found.
    pub(crate) fn open(storage: Arc<dyn Storage>, tiles: &Tiles, size: u64) -> (Self, Option<String>) {
        Self::open_at(LEVEL, storage, tiles, size)
    }

    fn open_at(level: u8, storage: Arc<dyn Storage>, tiles: &Tiles, size: u64) -> (Self, Option<String>) {
        let places = Self {
            storage,
            level,
            set: RwLock::default(),
            recent: RwLock::default(),
            writing: Mutex::default(),
            stopped: AtomicBool::new(false),
        };
        let unreadable = places.load(tiles, size);
        (places, unreadable)
    }

    /// Nothing yet, for a ledger without entries.
    pub(crate) fn empty(storage: Arc<dyn Storage>, tiles: &Tiles) -> Self {
        Self::open(storage, tiles, 0).0
    }

    fn load(&self, tiles: &Tiles, size: u64) -> Option<String> {
        let (mut segments, mut unreadable, mut end) = (Vec::new(), None, 0);
        let full = size >> self.level << self.level;
        let mut found = if full > 0 { self.found(tiles, size) } else { BTreeMap::new() };
        while end < full {
            let segment = match found.remove(&end) {
                Some(segment) => segment,
                None => {
                    let (segment, why) = self.build(tiles, end >> self.level, size);
                    unreadable = unreadable.or(why);
                    segment
                }
            };
            end = segment.end();
            segments.push(Arc::new(segment));
        }
        *self.set.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Set { segments });
        let mut newest = HashMap::new();
        for bundle in full / TILE_WIDTH..size.div_ceil(TILE_WIDTH) {
            match tiles.entries(bundle, size) {
                Ok(entries) => {
                    newest.extend((bundle * TILE_WIDTH..).zip(entries).map(|(index, entry)| (entry.sha256, index)));
                }
                Err(error) => _ = unreadable.get_or_insert_with(|| error.to_string()),
            }
        }
        self.add(newest);
        unreadable
    }

    /// The largest good segment that begins at each place, by its place.
    fn found(&self, tiles: &Tiles, size: u64) -> BTreeMap<u64, Segment> {
        let mut found: BTreeMap<u64, Segment> = BTreeMap::new();
        for file in self.storage.list(FOLDER).unwrap_or_default() {
            let Some(at) = segment::parse_path(&file.path).filter(|at| (self.level..=LEVEL_MAX).contains(&at.level))
            else {
                continue;
            };
            let end = at.index.checked_add(1).and_then(|next| next.checked_mul(1 << at.level));
            if end.is_none_or(|end| end > size) {
                continue;
            }
            let Ok(subtree) = (Tree { tiles, size }).node(at) else { continue };
            let Ok(segment) = Segment::load(self.storage.as_ref(), at, file.bytes, &subtree) else { continue };
            let larger = found.get(&segment.first()).is_none_or(|other| other.end() < segment.end());
            if larger {
                found.insert(segment.first(), segment);
            }
        }
        found
    }

    /// Makes the segment of one range from its bundles, and writes it when all of them were read and hash to their place in
    /// the tree. One that cannot be written stays in memory.
    fn build(&self, tiles: &Tiles, range: u64, size: u64) -> (Segment, Option<String>) {
        let at = Position { level: self.level, index: range };
        let mut records = Vec::with_capacity(1 << self.level);
        let (mut unreadable, mut frontier) = (None, Frontier::new());
        let (first, bundles) = (range << self.level, 1_u64 << self.level >> 8);
        for bundle in first / TILE_WIDTH..first / TILE_WIDTH + bundles {
            let mut read = || {
                let damaged = |what: String| ReadError::Damaged { path: format!("entry bundle {bundle}"), what };
                let tile =
                    in_row(TileKind::Entries, bundle, size).ok_or(ReadError::OutOfRange { asked: first, size })?;
                let bytes = tiles.bytes(tile)?;
                let entries = parse_bundle(&bytes, tile.width).map_err(|error| damaged(error.to_string()))?;
                for (index, bytes) in (bundle * TILE_WIDTH..).zip(entries) {
                    let entry = Entry::parse(bytes).map_err(|error| damaged(error.to_string()))?;
                    records.push(Record::of(&entry.sha256, (index - first) as u32));
                    frontier.push(leaf_hash(bytes));
                }
                Ok(())
            };
            if let Err(error) = read() {
                let _: &mut String = unreadable.get_or_insert_with(|| ReadError::to_string(&error));
            }
        }
        records.sort_unstable();
        let root = frontier.root();
        match (Tree { tiles, size }).node(at) {
            Ok(subtree) if unreadable.is_none() && subtree != root => {
                unreadable =
                    Some(format!("entries {first} to {} do not hash to their tile", first + (1 << self.level) - 1));
            }
            Err(error) => _ = unreadable.get_or_insert_with(|| error.to_string()),
            Ok(_) => {}
        }
        let written = unreadable.is_none().then(|| {
            let mut records = records.iter().copied().map(Ok);
            Segment::write(self.storage.as_ref(), at, root, &mut records).ok()
        });
        let segment = written.flatten().unwrap_or_else(|| Segment::in_memory(at, &records));
        (segment, unreadable)
    }

    fn set(&self) -> Arc<Set> {
        Arc::clone(&self.set.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds what was published now.
    pub(crate) fn add(&self, indexes: HashMap<Hash, u64>) {
        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        for (digest, index) in indexes {
            recent.entry(index >> self.level).or_default().insert(digest, index);
        }
    }

    /// The leaf index of a document, of those below `size`.
    pub(crate) fn find(&self, tiles: &Tiles, size: u64, digest: &Hash) -> Result<Option<u64>, ReadError> {
        self.find_from(0, tiles, size, digest)
    }

    /// As [`Places::find`], when it is known not to stand below `absent_below`.
    pub(crate) fn find_from(
        &self,
        absent_below: AbsentBelow,
        tiles: &Tiles,
        size: u64,
        digest: &Hash,
    ) -> Result<Option<u64>, ReadError> {
        // Read before the segments: what leaves it meanwhile is in them then.
        let recent = {
            let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
            recent.values().rev().find_map(|range| range.get(digest).copied())
        };
        match recent {
            Some(index) => Ok((index < size).then_some(index)),
            None => Ok(self.find_in_segments(absent_below, tiles, size, digest)?.0),
        }
    }

    /// Looks into the segments alone, newest first; says also up to where they reach.
    pub(crate) fn find_in_segments(
        &self,
        absent_below: AbsentBelow,
        tiles: &Tiles,
        size: u64,
        digest: &Hash,
    ) -> Result<(Option<u64>, AbsentBelow), ReadError> {
        loop {
            let set = self.set();
            match self.look(&set, absent_below, tiles, size, digest) {
                Ok(found) => return Ok((found, set.end())),
                Err(Look::Read(error)) => return Err(error),
                Err(Look::Damaged(segment)) => self.replace(&set, &segment, tiles, size)?,
            }
        }
    }

    fn look(
        &self,
        set: &Set,
        absent_below: AbsentBelow,
        tiles: &Tiles,
        size: u64,
        digest: &Hash,
    ) -> Result<Option<u64>, Look> {
        for segment in set.segments.iter().rev().take_while(|segment| segment.end() > absent_below) {
            let candidates =
                segment.find(self.storage.as_ref(), digest).map_err(|_| Look::Damaged(Arc::clone(segment)))?;
            for offset in candidates {
                let index = segment.first() + u64::from(offset);
                if index >= size {
                    continue;
                }
                // Never believed: the entry itself says whose it is.
                if tiles.entry(index, size).map_err(Look::Read)?.sha256 == *digest {
                    return Ok(Some(index));
                }
            }
        }
        Ok(None)
    }

    /// Makes a damaged segment again, out of as many of the least size.
    fn replace(&self, seen: &Arc<Set>, damaged: &Arc<Segment>, tiles: &Tiles, size: u64) -> Result<(), ReadError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, size) = (self.set(), size.max(damaged.end()));
        if !Arc::ptr_eq(&now, seen) && !now.segments.iter().any(|segment| Arc::ptr_eq(segment, damaged)) {
            // Somebody replaced it meanwhile, or it became part of a larger one and its file is gone.
            return Ok(());
        }
        let mut segments = Vec::new();
        for segment in &now.segments {
            if !Arc::ptr_eq(segment, damaged) {
                segments.push(Arc::clone(segment));
                continue;
            }
            for range in segment.first() >> self.level..segment.end() >> self.level {
                let (rebuilt, unreadable) = self.build(tiles, range, size);
                if let Some(what) = unreadable {
                    return Err(ReadError::Damaged { path: "ledger/tile/entries".to_owned(), what });
                }
                segments.push(Arc::new(rebuilt));
            }
        }
        self.show(Set { segments });
        if damaged.at().level > self.level {
            let _ = self.storage.remove(&[segment::path(damaged.at())]);
        }
        Ok(())
    }

    fn show(&self, set: Set) {
        let first_recent = set.end() >> self.level;
        *self.set.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        *recent = recent.split_off(&first_recent);
    }

    /// Moves full ranges of the recent entries into segments, then joins brothers. Off the commit's path: by a thread of its
    /// own. What cannot be read or written stays where it is.
    pub(crate) fn tidy(&self, tiles: &Tiles, size: u64) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let set = self.set();
            let mut segments = set.segments.clone();
            if self.stopped.load(Ordering::Relaxed) {
                return;
            }
            if set.end() + (1 << self.level) <= size {
                let (segment, unreadable) = self.build(tiles, set.end() >> self.level, size);
                if unreadable.is_some() {
                    return;
                }
                segments.push(Arc::new(segment));
                self.show(Set { segments });
            } else if let Some(place) = brothers(&segments) {
                let [left, right] = [place, place + 1].map(|place| Arc::clone(&segments[place]));
                let Ok(joined) = self.join(&left, &right, tiles, size) else { return };
                segments.splice(place..=place + 1, [Arc::new(joined)]);
                self.show(Set { segments });
                let _ = self.storage.remove(&[left.at(), right.at()].map(segment::path));
            } else {
                return;
            }
        }
    }

    fn join(&self, left: &Segment, right: &Segment, tiles: &Tiles, size: u64) -> Result<Segment, Failed> {
        let at = Position { level: left.at().level + 1, index: left.at().index / 2 };
        let subtree = (Tree { tiles, size }).node(at).map_err(|_| Failed)?;
        let half = 1_u32 << left.at().level;
        let storage = self.storage.as_ref();
        let mut left = left.records(storage).peekable();
        let mut right = right.records(storage).map(|record| Ok(record?.shifted(half))).peekable();
        let mut merged = std::iter::from_fn(|| {
            if self.stopped.load(Ordering::Relaxed) {
                return Some(Err(Failed));
            }
            match (left.peek(), right.peek()) {
                (Some(Ok(a)), Some(Ok(b))) if a <= b => left.next(),
                (Some(Ok(_)), Some(_)) => right.next(),
                (Some(_), _) => left.next(),
                (None, _) => right.next(),
            }
        });
        Segment::write(storage, at, subtree, &mut merged)
    }

    /// Removes files that are no segment in use.
    pub(crate) fn sweep(&self) {
        if self.set().segments.is_empty() {
            return;
        }
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let used: Vec<String> = self.set().segments.iter().map(|segment| segment::path(segment.at())).collect();
        let listed = self.storage.list(FOLDER).unwrap_or_default().into_iter().map(|file| file.path);
        let unused: Vec<String> = listed.filter(|path| !used.contains(path)).collect();
        if !unused.is_empty() {
            let _ = self.storage.remove(&unused);
        }
    }

    /// Ends a [`Places::tidy`] that runs, soon.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// Why a look did not end.
enum Look {
    /// The segment is not to be trusted.
    Damaged(Arc<Segment>),
    /// The truth cannot be read.
    Read(ReadError),
}

/// The last two neighbours that are halves of one subtree.
fn brothers(segments: &[Arc<Segment>]) -> Option<usize> {
    let are = |pair: &[Arc<Segment>]| match pair {
        [left, right] => {
            let (left, right) = (left.at(), right.at());
            left.level == right.level && left.level < LEVEL_MAX && left.index % 2 == 0 && left.index + 1 == right.index
        }
        _ => false,
    };
    segments.windows(2).rposition(are)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Folder;
    use crate::home::tile_path;
    use crate::tail::{Tail, plan};
    use std::path::Path;

    /// Segments of 2^8 entries, so that a thousand entries make several.
    const SMALL: u8 = 8;

    fn digest(n: u64) -> Hash {
        Hash::of(n.to_string().as_bytes())
    }

    /// The tiles of a ledger of so many entries.
    fn ledger(home: &Path, size: u64) -> (Arc<dyn Storage>, Tiles) {
        let entries: Vec<String> = (0..size).map(|n| Entry::of(n.to_string().as_bytes()).text()).collect();
        let plan = plan(&Tail::new(), &Frontier::new(), entries.iter().map(String::as_bytes)).unwrap();
        for (tile, bytes) in plan.files {
            let path = home.join(tile_path(&tile));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        let storage: Arc<dyn Storage> = Arc::new(Folder::open(home).unwrap());
        (Arc::clone(&storage), Tiles::new(storage, Arc::default()))
    }

    fn open(storage: &Arc<dyn Storage>, tiles: &Tiles, size: u64) -> Places {
        let (places, unreadable) = Places::open_at(SMALL, Arc::clone(storage), tiles, size);
        assert_eq!(unreadable, None);
        places
    }

    fn all_are_found(places: &Places, tiles: &Tiles, size: u64) {
        each_is_found(places, tiles, size, 1);
    }

    fn each_is_found(places: &Places, tiles: &Tiles, size: u64, step: usize) {
        for n in (0..size).step_by(step) {
            assert_eq!(places.find(tiles, size, &digest(n)), Ok(Some(n)));
        }
        for n in (size..size + 500).step_by(step) {
            assert_eq!(places.find(tiles, size, &digest(n)), Ok(None));
        }
    }

    fn files(home: &Path) -> Vec<String> {
        Folder::open(home).unwrap().list(FOLDER).unwrap().into_iter().map(|file| file.path).collect()
    }

    #[test]
    fn every_place_is_found_at_every_stage_of_growth_and_after_each_start() {
        let home = tempfile::tempdir().unwrap();
        // Both sizes were published.
        ledger(home.path(), 2560);
        let (storage, tiles) = ledger(home.path(), 3000);
        let places = open(&storage, &tiles, 0);
        places.add((0..3000).map(|n| (digest(n), n)).collect());
        all_are_found(&places, &tiles, 3000);
        places.tidy(&tiles, 3000);
        places.sweep();
        // 11 full ranges: 8, 2 and 1 of them.
        assert_eq!(files(home.path()), ["state/places/11/0", "state/places/8/10", "state/places/9/4"]);
        assert_eq!(places.recent.read().unwrap().keys().copied().collect::<Vec<_>>(), [11]);
        all_are_found(&places, &tiles, 3000);
        // A start takes them as they are, whatever the size was when they were made; the newest are in memory.
        for size in [2816, 3000] {
            let again = open(&storage, &tiles, size);
            assert_eq!(again.set().end(), 2816);
            all_are_found(&again, &tiles, size);
        }
        // One that is ahead of the ledger does not count.
        let shorter = open(&storage, &tiles, 2560);
        assert_eq!(shorter.set().end(), 2560);
        all_are_found(&shorter, &tiles, 2560);
    }

    #[test]
    fn a_segment_that_is_missing_or_damaged_anywhere_gives_no_wrong_answer() {
        let home = tempfile::tempdir().unwrap();
        let (storage, tiles) = ledger(home.path(), 1100);
        open(&storage, &tiles, 1100).tidy(&tiles, 1100);
        let path = home.path().join("state/places/10/0");
        let whole = std::fs::read(&path).unwrap();
        let step = whole.len() / 29;
        let mut damages: Vec<Vec<u8>> = (0..29)
            .map(|n| {
                let mut flipped = whole.clone();
                flipped[n * step + n % step] ^= 1 << (n % 8);
                flipped
            })
            .collect();
        damages.extend([
            Vec::new(),
            whole[..whole.len() - 1].to_vec(),
            [&whole[..], b"x"].concat(),
            vec![0; whole.len()],
        ]);
        // A page of another place of the same file.
        let mut swapped = whole.clone();
        swapped.copy_within(0..4096, 4096);
        damages.push(swapped);
        for damaged in damages {
            // While it is open, and at a start.
            std::fs::write(&path, &whole).unwrap();
            let places = open(&storage, &tiles, 1100);
            std::fs::write(&path, &damaged).unwrap();
            each_is_found(&places, &tiles, 1100, 5);
            std::fs::write(&path, &damaged).unwrap();
            each_is_found(&open(&storage, &tiles, 1100), &tiles, 1100, 5);
        }
        std::fs::remove_dir_all(home.path().join(FOLDER)).unwrap();
        let places = open(&storage, &tiles, 1100);
        places.tidy(&tiles, 1100);
        all_are_found(&places, &tiles, 1100);
        assert!(std::fs::read(&path).unwrap() == whole, "it is made again as it was");
    }

    #[test]
    fn segments_of_another_ledger_do_not_count() {
        let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (storage, tiles) = ledger(home.path(), 600);
        open(&storage, &tiles, 600);
        // As long, with other entries.
        let entries: Vec<String> = (1..601_u64).map(|n| Entry::of(n.to_string().as_bytes()).text()).collect();
        let plan = plan(&Tail::new(), &Frontier::new(), entries.iter().map(String::as_bytes)).unwrap();
        for (tile, bytes) in plan.files {
            let path = other.path().join(tile_path(&tile));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        for file in files(home.path()) {
            let to = other.path().join(&file);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(home.path().join(&file), to).unwrap();
        }
        let storage: Arc<dyn Storage> = Arc::new(Folder::open(other.path()).unwrap());
        let tiles = Tiles::new(Arc::clone(&storage), Arc::default());
        let places = open(&storage, &tiles, 600);
        assert_eq!(places.find(&tiles, 600, &digest(0)), Ok(None));
        assert!((1..601).all(|n| places.find(&tiles, 600, &digest(n)) == Ok(Some(n - 1))));
    }

    #[test]
    fn a_bundle_that_cannot_be_read_is_said_and_never_written_into_a_segment() {
        let home = tempfile::tempdir().unwrap();
        let (storage, tiles) = ledger(home.path(), 700);
        let bundle = home.path().join("ledger/tile/entries/001");
        let whole = std::fs::read(&bundle).unwrap();
        let mut other = whole.clone();
        // Another digit of a digest: a good entry, of a document that is not in the tree.
        let place = 2 + 30;
        other[place] = if other[place] == b'0' { b'1' } else { b'0' };
        for damaged in [Vec::new(), other] {
            std::fs::write(&bundle, damaged).unwrap();
            let (places, unreadable) = Places::open_at(SMALL, Arc::clone(&storage), &tiles, 700);
            assert!(unreadable.is_some());
            assert_eq!(places.find(&tiles, 700, &digest(3)), Ok(Some(3)));
            assert_eq!(files(home.path()), ["state/places/8/0"]);
        }
        std::fs::write(&bundle, whole).unwrap();
        all_are_found(&open(&storage, &tiles, 700), &tiles, 700);
    }

    #[test]
    fn documents_whose_digests_begin_alike_are_told_apart() {
        let storage = Folder::open(tempfile::tempdir().unwrap().path()).unwrap();
        let at = Position { level: 10, index: 0 };
        let alike = |n: u32| {
            let mut bytes = [7; 32];
            bytes[31] = n as u8;
            Hash::new(bytes)
        };
        // A run over two pages and more, between others.
        let mut records: Vec<Record> = (0..1024)
            .map(|n| Record::of(&if (100..900).contains(&n) { alike(n) } else { digest(n.into()) }, n))
            .collect();
        records.sort_unstable();
        let segment = Segment::in_memory(at, &records);
        assert_eq!(segment.find(&storage, &alike(1)).unwrap(), (100..900).collect::<Vec<u32>>());
        assert_eq!(segment.find(&storage, &digest(5)).unwrap(), [5]);
        assert!(segment.find(&storage, &digest(5000)).unwrap().is_empty());
        assert_eq!(segment.records(&storage).collect::<Result<Vec<_>, _>>().unwrap(), records);
    }
}
