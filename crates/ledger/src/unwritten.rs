//! What is committed and stands in the journal alone so far: whoever reads finds it here until it is in its place.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use custodia_format::Hash;
use custodia_format::tile::{Tile, TileKind};

use crate::home::{Shelf, tile_path};
use crate::stage::{Shelved, Stage};
use crate::storage::NewFile;
use crate::tiles::{ReadError, cut};

/// Documents and tiles of commits that are not written out, and the right edge in any case: of a partial tile only the
/// widest is written, and who reads at a smaller size takes a part of it.
///
/// Written by the sequencer alone.
#[derive(Debug, Default)]
pub(crate) struct Unwritten(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The widest tile of each place that is new.
    tiles: BTreeMap<(TileKind, u64), Kept>,
    /// In the order in which they are written.
    documents: BTreeMap<Hash, Shelved>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    tile: Tile,
    bytes: Vec<u8>,
    written: bool,
}

impl Unwritten {
    /// Takes what a commit logged and changed, whole.
    pub(crate) fn add(&self, stage: Stage) {
        let mut inner = self.write();
        for (tile, bytes) in stage.files {
            inner.bytes += bytes.len();
            let before = inner.tiles.insert((tile.kind, tile.index), Kept { tile, bytes, written: false });
            inner.bytes -= before.filter(|kept| !kept.written).map_or(0, |kept| kept.bytes.len());
        }
        for document in stage.documents {
            inner.bytes += document.bytes.len();
            inner.documents.insert(document.digest, document);
        }
    }

    /// A tile, cut from a wider one if there is that; none when it is not here.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] when the wider one does not parse.
    pub(crate) fn tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, ReadError> {
        match self.read().tiles.get(&(tile.kind, tile.index)) {
            Some(kept) if kept.tile.width == tile.width => Ok(Some(kept.bytes.clone())),
            Some(kept) if kept.tile.width > tile.width => cut(tile, &kept.bytes, kept.tile.width).map(Some),
            _ => Ok(None),
        }
    }

    /// A document; none when it is not here.
    pub(crate) fn document(&self, shelf: Shelf, digest: &Hash) -> Option<Vec<u8>> {
        let inner = self.read();
        inner.documents.get(digest).filter(|document| document.shelf == shelf).map(|document| document.bytes.clone())
    }

    /// How many documents wait, and how many bytes with the tiles.
    pub(crate) fn weight(&self) -> (usize, usize) {
        let inner = self.read();
        (inner.documents.len(), inner.bytes)
    }

    /// Hands out every file that is to be written: documents, then tiles. Readers go on meanwhile.
    pub(crate) fn with_files<T>(&self, act: impl FnOnce(&[NewFile<'_>]) -> T) -> T {
        let inner = self.read();
        let documents = inner.documents.values().map(|document| {
            let path = document.shelf.path(&document.digest);
            (path, document.bytes.as_slice())
        });
        let tiles = inner.tiles.values().filter(|kept| !kept.written);
        let tiles = tiles.map(|kept| (tile_path(&kept.tile), kept.bytes.as_slice()));
        let files: Vec<(String, &[u8])> = documents.chain(tiles).collect();
        act(&files.iter().map(|(path, bytes)| NewFile { path, bytes }).collect::<Vec<_>>())
    }

    /// All of it is in its place: what is not at the right edge is forgotten.
    pub(crate) fn written(&self) {
        let mut inner = self.write();
        inner.documents = BTreeMap::new();
        inner.tiles.retain(|_, kept| !kept.tile.is_full());
        inner.tiles.values_mut().for_each(|kept| kept.written = true);
        inner.bytes = 0;
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        // Each change of it is whole before the lock is given back, or the sequencer is gone and nothing is written any more.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
