//! The store of a simulator, which opens an index thousands of times: the same trees, in memory, and one file with all of
//! them that is written at each flush.
//!
//! It has what the views need of sled and answers as sled does. Nothing is kept this way before [`keep_in_memory`] was
//! called, and never in the shipped program, which has no such feature.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::{Bound, RangeFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sled::{IVec, Result};

static IN_MEMORY: AtomicBool = AtomicBool::new(false);

/// From now on every index that this process opens is kept in memory.
pub fn keep_in_memory() {
    IN_MEMORY.store(true, Ordering::Release);
}

/// Opens the store of a folder: in memory, or as it is opened otherwise.
pub(crate) fn open(folder: &Path, otherwise: impl FnOnce() -> Result<sled::Db>) -> Result<Db> {
    if IN_MEMORY.load(Ordering::Acquire) { read(folder) } else { otherwise().map(Db::Sled) }
}

/// What was flushed there last.
fn read(folder: &Path) -> Result<Db> {
    fs::create_dir_all(folder)?;
    let file = folder.join("trees");
    let trees = match fs::read(&file) {
        Ok(bytes) => parse(&bytes).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return Err(error.into()),
    };
    let trees = trees.into_iter().map(|(name, pairs)| (name, shared(pairs))).collect();
    Ok(Db::Memory { trees: Mutex::new(trees), file })
}

type Pairs = BTreeMap<IVec, IVec>;

/// One tree, as all who have it open share it.
type Shared = Arc<Mutex<Pairs>>;

fn shared(pairs: Pairs) -> Shared {
    Arc::new(Mutex::new(pairs))
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All trees of an index.
#[derive(Debug)]
pub(crate) enum Db {
    Sled(sled::Db),
    Memory { trees: Mutex<BTreeMap<Vec<u8>, Shared>>, file: PathBuf },
}

/// One of them.
#[derive(Debug)]
pub(crate) enum Tree {
    Sled(sled::Tree),
    Memory(Shared),
}

impl Db {
    pub(crate) fn open_tree(&self, name: &[u8]) -> Result<Tree> {
        match self {
            Self::Sled(db) => db.open_tree(name).map(Tree::Sled),
            Self::Memory { trees, .. } => Ok(Tree::Memory(lock(trees).entry(name.to_vec()).or_default().clone())),
        }
    }

    /// The tree without a name.
    fn own(&self) -> Shared {
        match self {
            Self::Sled(_) => Shared::default(),
            Self::Memory { trees, .. } => lock(trees).entry(Vec::new()).or_default().clone(),
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<IVec>> {
        match self {
            Self::Sled(db) => db.get(key),
            Self::Memory { .. } => Ok(lock(&self.own()).get(key).cloned()),
        }
    }

    pub(crate) fn insert(&self, key: &[u8], value: impl Into<IVec>) -> Result<Option<IVec>> {
        match self {
            Self::Sled(db) => db.insert(key, value),
            Self::Memory { .. } => Ok(lock(&self.own()).insert(key.into(), value.into())),
        }
    }

    pub(crate) fn remove(&self, key: &[u8]) -> Result<Option<IVec>> {
        match self {
            Self::Sled(db) => db.remove(key),
            Self::Memory { .. } => Ok(lock(&self.own()).remove(key)),
        }
    }

    pub(crate) fn flush(&self) -> Result<usize> {
        match self {
            Self::Sled(db) => db.flush(),
            Self::Memory { trees, file } => {
                let bytes = print(&lock(trees));
                fs::write(file, &bytes)?;
                Ok(bytes.len())
            }
        }
    }
}

impl Tree {
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<IVec>> {
        match self {
            Self::Sled(tree) => tree.get(key),
            Self::Memory(pairs) => Ok(lock(pairs).get(key).cloned()),
        }
    }

    pub(crate) fn insert(&self, key: impl AsRef<[u8]>, value: impl Into<IVec>) -> Result<Option<IVec>> {
        match self {
            Self::Sled(tree) => tree.insert(key, value),
            Self::Memory(pairs) => Ok(lock(pairs).insert(key.as_ref().into(), value.into())),
        }
    }

    pub(crate) fn iter(&self) -> Iter {
        self.range::<[u8; 0]>([]..)
    }

    pub(crate) fn range<K: AsRef<[u8]>>(&self, from: RangeFrom<K>) -> Iter {
        match self {
            Self::Sled(tree) => Iter(Box::new(tree.range(from))),
            Self::Memory(pairs) => found(&lock(pairs), from.start.as_ref(), &[]),
        }
    }

    pub(crate) fn scan_prefix(&self, prefix: impl AsRef<[u8]>) -> Iter {
        match self {
            Self::Sled(tree) => Iter(Box::new(tree.scan_prefix(prefix))),
            Self::Memory(pairs) => found(&lock(pairs), prefix.as_ref(), prefix.as_ref()),
        }
    }
}

/// The pairs from a key on, as long as they begin so, as they are now.
fn found(pairs: &Pairs, from: &[u8], prefix: &[u8]) -> Iter {
    let from = pairs.range::<[u8], _>((Bound::Included(from), Bound::Unbounded));
    let found = from.take_while(|(key, _)| key.starts_with(prefix)).map(|(key, value)| (key.clone(), value.clone()));
    Iter(Box::new(found.map(Ok).collect::<Vec<_>>().into_iter()))
}

type Pair = Result<(IVec, IVec)>;

/// Pairs of a tree, in the order of their keys.
pub(crate) struct Iter(Box<dyn DoubleEndedIterator<Item = Pair>>);

impl Iter {
    pub(crate) fn keys(self) -> impl Iterator<Item = Result<IVec>> {
        self.0.map(|pair| Ok(pair?.0))
    }

    pub(crate) fn values(self) -> impl Iterator<Item = Result<IVec>> {
        self.0.map(|pair| Ok(pair?.1))
    }
}

impl Iterator for Iter {
    type Item = Pair;

    fn next(&mut self) -> Option<Pair> {
        self.0.next()
    }
}

impl DoubleEndedIterator for Iter {
    fn next_back(&mut self) -> Option<Pair> {
        self.0.next_back()
    }
}

/// Each tree: its name, how many pairs it has, and those; a length is 4 bytes, big-endian.
fn print(trees: &BTreeMap<Vec<u8>, Shared>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut put = |bytes: &[u8]| {
        out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(bytes);
    };
    for (name, pairs) in trees {
        let pairs = lock(pairs);
        put(name);
        put(&(pairs.len() as u64).to_be_bytes());
        for (key, value) in pairs.iter() {
            put(key);
            put(value);
        }
    }
    out
}

/// What `print` wrote; none, when it is anything else.
fn parse(mut bytes: &[u8]) -> Option<BTreeMap<Vec<u8>, Pairs>> {
    fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (taken, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        *bytes = rest;
        Some(taken)
    }
    let mut trees = BTreeMap::new();
    while !bytes.is_empty() {
        let name = take(&mut bytes)?.to_vec();
        let count = u64::from_be_bytes(take(&mut bytes)?.try_into().ok()?);
        let mut pairs = Pairs::new();
        for _ in 0..count {
            pairs.insert(take(&mut bytes)?.into(), take(&mut bytes)?.into());
        }
        trees.insert(name, pairs);
    }
    Some(trees)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_answers_as_sled_does_and_holds_what_was_flushed() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
        let both = [read(&ours).unwrap(), Db::Sled(sled::open(theirs).unwrap())];
        let told = both.map(|db| {
            let tree = db.open_tree(b"tree").unwrap();
            for key in [&[1_u8, 2][..], &[1], &[1, 255], &[2], &[0, 9]] {
                assert_eq!(tree.insert(key, key).unwrap(), None);
            }
            assert_eq!(tree.insert([2], b"other").unwrap().as_deref(), Some(&[2][..]));
            db.insert(b"size", b"1").unwrap();
            db.insert(b"closed", b"yes").unwrap();
            assert_eq!(db.remove(b"closed").unwrap().as_deref(), Some(&b"yes"[..]));
            db.flush().unwrap();
            tree.insert([7], b"lost").unwrap();
            let found: Vec<Vec<(IVec, IVec)>> = [tree.iter(), tree.range([1_u8, 3]..), tree.scan_prefix([1])]
                .map(|pairs| pairs.map(|pair| pair.unwrap()).collect())
                .into();
            let last = tree.iter().next_back().map(|pair| pair.unwrap());
            let values: Vec<IVec> = tree.scan_prefix([1]).values().map(|it| it.unwrap()).collect();
            let keys: Vec<IVec> = tree.iter().keys().map(|it| it.unwrap()).collect();
            (
                found,
                last,
                values,
                keys,
                db.get(b"size").unwrap(),
                db.get(b"closed").unwrap(),
                tree.get(&[1, 2]).unwrap(),
            )
        });
        assert_eq!(told[0], told[1]);
        let again = read(&ours).unwrap();
        let kept: Vec<IVec> = again.open_tree(b"tree").unwrap().iter().keys().map(|key| key.unwrap()).collect();
        assert_eq!(kept, [&[0_u8, 9][..], &[1], &[1, 2], &[1, 255], &[2]]);
        assert_eq!(again.get(b"size").unwrap().as_deref(), Some(&b"1"[..]));
        fs::write(ours.join("trees"), b"garbage").unwrap();
        assert!(read(&ours).is_err());
    }
}
