//! Views of a node's statements: which there are of a package, which answer which; and of the time-stamp tokens that it
//! logged, over which texts they are.
//!
//! The index is never the truth. It holds what follows from the ledger's entries and the envelopes they commit to, it
//! stores the ledger size that it reflects, and whoever finds it behind replays the rest into it. It is emptied when
//! it cannot be opened, when its layout is another version's, and after a stop that did not close it: sled's flush
//! issues no fsync on Linux, so what an unclean stop left behind is not worth trusting.
//!
//! Per package and statement, never per record or chunk.
//!
//! Invariants:
//! - A row stands in every view that its members name, or in none.
//! - `reflects()` never exceeds the number of entries whose rows are in.

#[cfg(feature = "in_memory")]
mod in_memory;

use std::path::{Path, PathBuf};

use bincode::{Decode, Encode};
use custodia_format::Hash;
use custodia_format::text::Time;
#[cfg(feature = "in_memory")]
use in_memory::{Db, Tree};
#[cfg(not(feature = "in_memory"))]
use sled::{Db, Tree};

#[cfg(feature = "in_memory")]
pub use in_memory::keep_in_memory;

/// The layout of the keys and values below. Another number empties the index.
const LAYOUT: &[u8] = b"custodia/index/3";

/// Bytes of sled's page cache. Rows are small and few; the rest of the memory belongs to the items.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// What a view needs to know of one statement that this node's ledger holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its place in this node's ledger, from 0.
    pub leaf_index: u64,
    /// The SHA-256 of the envelope.
    pub digest: Hash,
    /// The kind, such as `release`.
    pub kind: String,
    /// The ledger of its issuer, `authority/node/generation`: this node's own, or a peer's.
    pub ledger: String,
    /// The root of the package it speaks of.
    pub package: Option<Hash>,
    /// Its number in its issuer's chain on that package.
    pub sequence: Option<u64>,
    /// The digest of the statement it answers.
    pub in_reply_to: Option<Hash>,
    /// The issuer's clock when it was signed: a claim.
    pub issued_at: Time,
}

/// What a view needs to know of a logged file that is no statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchorRow {
    /// Its place in this node's ledger, from 0.
    pub leaf_index: u64,
    /// The SHA-256 of the file.
    pub digest: Hash,
    /// What it is.
    pub anchor: Anchor,
}

/// A logged file that is no statement and that proofs are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// A time-stamp token.
    Token {
        /// The SHA-256 of the text that it stamps.
        stamped: Hash,
    },
    /// A checkpoint of this ledger.
    Note {
        /// Entries that it covers.
        size: u64,
    },
}

/// The same as stored.
#[derive(Encode, Decode)]
struct Stored {
    leaf_index: u64,
    kind: String,
    ledger: String,
    package: Option<[u8; 32]>,
    sequence: Option<u64>,
    in_reply_to: Option<[u8; 32]>,
    issued_at: i64,
}

/// The views of one node.
#[derive(Debug)]
pub struct Index {
    db: Db,
    /// digest → row.
    rows: Tree,
    /// leaf index → digest.
    order: Tree,
    /// package root, leaf index → digest.
    packages: Tree,
    /// digest answered, leaf index → digest.
    answers: Tree,
    /// kind, 0, leaf index → digest.
    kinds: Tree,
    /// SHA-256 of a text, leaf index → digest of a token over it.
    tokens: Tree,
    /// size, leaf index → digest of a checkpoint of that size.
    notes: Tree,
}

impl Index {
    /// Opens the index in a folder, or begins an empty one where that cannot be done or is not worth it.
    ///
    /// # Errors
    /// [`IndexError`] when not even an empty index can be made there.
    pub fn open(folder: &Path) -> Result<Self, IndexError> {
        if let Ok(index) = Self::open_as_it_is(folder)
            && index.db.get(b"layout").is_ok_and(|layout| layout.is_some_and(|layout| layout == LAYOUT))
            && index.db.remove(b"closed").is_ok_and(|closed| closed.is_some())
        {
            index.db.flush()?;
            return Ok(index);
        }
        if folder.exists() {
            tracing::info!("the index is begun anew from the ledger");
            std::fs::remove_dir_all(folder)
                .map_err(|error| IndexError::Folder { path: folder.to_owned(), kind: error.kind() })?;
        }
        let index = Self::open_as_it_is(folder)?;
        index.db.insert(b"layout", LAYOUT)?;
        index.db.flush()?;
        Ok(index)
    }

    fn open_as_it_is(folder: &Path) -> Result<Self, IndexError> {
        let open = || sled::Config::new().path(folder).cache_capacity(CACHE_BYTES).flush_every_ms(None).open();
        #[cfg(feature = "in_memory")]
        let db = in_memory::open(folder, open)?;
        #[cfg(not(feature = "in_memory"))]
        let db = open()?;
        Ok(Self {
            rows: db.open_tree(b"rows")?,
            order: db.open_tree(b"order")?,
            packages: db.open_tree(b"packages")?,
            answers: db.open_tree(b"answers")?,
            kinds: db.open_tree(b"kinds")?,
            tokens: db.open_tree(b"tokens")?,
            notes: db.open_tree(b"notes")?,
            db,
        })
    }

    /// Adds the rows of further entries, and notes that the index now reflects a ledger of this size.
    ///
    /// Entries that commit to nothing that can be read have no row. Adding a row again changes nothing.
    ///
    /// # Errors
    /// [`IndexError`] when the store fails; the caller opens the index again.
    pub fn apply(&self, rows: &[Row], anchors: &[AnchorRow], size: u64) -> Result<(), IndexError> {
        for row in rows {
            let digest = row.digest.as_bytes().as_slice();
            let place = row.leaf_index.to_be_bytes();
            // Before whatever leads to it: others read meanwhile.
            self.rows.insert(digest, encode(row)?)?;
            self.order.insert(place, digest)?;
            self.kinds.insert([&of_kind(&row.kind), place.as_slice()].concat(), digest)?;
            if let Some(package) = &row.package {
                self.packages.insert(joined(package, place), digest)?;
            }
            if let Some(answered) = &row.in_reply_to {
                self.answers.insert(joined(answered, place), digest)?;
            }
        }
        for row in anchors {
            let (digest, place) = (row.digest.as_bytes().as_slice(), row.leaf_index.to_be_bytes());
            match &row.anchor {
                Anchor::Token { stamped } => self.tokens.insert(joined(stamped, place), digest)?,
                Anchor::Note { size } => self.notes.insert([size.to_be_bytes(), place].concat(), digest)?,
            };
        }
        self.db.insert(b"size", &size.to_be_bytes())?;
        Ok(())
    }

    /// The size of the ledger that the index reflects.
    ///
    /// # Errors
    /// [`IndexError`] when the store fails.
    pub fn reflects(&self) -> Result<u64, IndexError> {
        let size = self.db.get(b"size")?;
        Ok(size.and_then(|bytes| bytes.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes))
    }

    /// The row of a statement.
    ///
    /// # Errors
    /// [`IndexError`] when the store fails or holds what it should not.
    pub fn row(&self, digest: &Hash) -> Result<Option<Row>, IndexError> {
        let bytes = self.rows.get(digest.as_bytes())?;
        bytes.map(|bytes| decode(*digest, &bytes)).transpose()
    }

    /// All rows, in the order of the ledger.
    ///
    /// # Errors
    /// As [`Index::row`].
    pub fn all(&self) -> Result<Vec<Row>, IndexError> {
        self.resolve(self.order.iter())
    }

    /// The rows from this place in the ledger on.
    ///
    /// # Errors
    /// As [`Index::row`].
    pub fn since(&self, leaf_index: u64) -> Result<Vec<Row>, IndexError> {
        self.resolve(self.order.range(leaf_index.to_be_bytes()..))
    }

    /// All rows, the newest first, each read when it is asked for.
    ///
    /// # Errors
    /// As [`Index::row`].
    pub fn newest_first(&self) -> impl Iterator<Item = Result<Row, IndexError>> {
        self.order.iter().rev().map(|pair| {
            let digest = hash(&pair?.1).ok_or(IndexError::Damaged)?;
            self.row(&digest)?.ok_or(IndexError::Damaged)
        })
    }

    /// The time-stamp tokens over the text of this SHA-256, as the digests of their files, in the order of the ledger.
    ///
    /// # Errors
    /// As [`Index::row`].
    pub fn tokens_over(&self, stamped: &Hash) -> Result<Vec<Hash>, IndexError> {
        let tokens = self.tokens.scan_prefix(stamped.as_bytes());
        tokens.values().map(|digest| hash(&digest?).ok_or(IndexError::Damaged)).collect()
    }

    /// The smallest checkpoint of this ledger that was logged and covers so many entries, as the digest of its file.
    ///
    /// # Errors
    /// As [`Index::row`].
    pub fn note_covering(&self, size: u64) -> Result<Option<Hash>, IndexError> {
        let first = self.notes.range(size.to_be_bytes()..).values().next().transpose()?;
        first.map(|digest| hash(&digest).ok_or(IndexError::Damaged)).transpose()
    }

    /// The statements on a package, in the order of the ledger.
    ///
    /// # Errors
    /// As [`Index::row`].
    pub fn of_package(&self, root: &Hash) -> Result<Vec<Row>, IndexError> {
        self.resolve(self.packages.scan_prefix(root.as_bytes()))
    }

    /// The statements that answer this one, in the order of the ledger.
    ///
    /// # Errors
    /// As [`Index::row`].
    pub fn answers(&self, digest: &Hash) -> Result<Vec<Row>, IndexError> {
        self.resolve(self.answers.scan_prefix(digest.as_bytes()))
    }

    /// The statements of a kind, in the order of the ledger.
    ///
    /// # Errors
    /// As [`Index::row`].
    pub fn of_kind(&self, kind: &str) -> Result<Vec<Row>, IndexError> {
        self.resolve(self.kinds.scan_prefix(of_kind(kind)))
    }

    /// The roots of all packages, in the order in which the ledger first speaks of them.
    ///
    /// # Errors
    /// As [`Index::row`].
    pub fn packages(&self) -> Result<Vec<Hash>, IndexError> {
        let mut first: Vec<(u64, Hash)> = Vec::new();
        for key in self.packages.iter().keys() {
            let key = key?;
            let (Some(root), Some(place)) = (key.get(..32).and_then(hash), key.get(32..).and_then(place)) else {
                return Err(IndexError::Damaged);
            };
            if first.last().is_none_or(|(_, known)| *known != root) {
                first.push((place, root));
            }
        }
        first.sort_unstable();
        Ok(first.into_iter().map(|(_, root)| root).collect())
    }

    /// Marks the index as closed in good order, so that the next start keeps it. Nothing is applied afterwards.
    pub fn close(&self) {
        // An index that could not be closed is begun anew at the next start; nothing is lost by it.
        let closed = self.db.flush().and_then(|_| self.db.insert(b"closed", b"yes")).and_then(|_| self.db.flush());
        if let Err(error) = closed {
            tracing::warn!(%error, "the index was not closed");
        }
    }

    fn resolve(
        &self,
        digests: impl Iterator<Item = sled::Result<(sled::IVec, sled::IVec)>>,
    ) -> Result<Vec<Row>, IndexError> {
        digests
            .map(|pair| {
                let digest = hash(&pair?.1).ok_or(IndexError::Damaged)?;
                self.row(&digest)?.ok_or(IndexError::Damaged)
            })
            .collect()
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.close();
    }
}

/// A kind as the beginning of a key: no other kind's beginning starts like it.
fn of_kind(kind: &str) -> Vec<u8> {
    [kind.as_bytes(), &[0]].concat()
}

fn joined(hash: &Hash, place: [u8; 8]) -> [u8; 40] {
    let mut key = [0; 40];
    key[..32].copy_from_slice(hash.as_bytes());
    key[32..].copy_from_slice(&place);
    key
}

fn hash(bytes: &[u8]) -> Option<Hash> {
    <[u8; 32]>::try_from(bytes).ok().map(Hash::new)
}

fn place(bytes: &[u8]) -> Option<u64> {
    <[u8; 8]>::try_from(bytes).ok().map(u64::from_be_bytes)
}

fn encode(row: &Row) -> Result<Vec<u8>, IndexError> {
    let stored = Stored {
        leaf_index: row.leaf_index,
        kind: row.kind.clone(),
        ledger: row.ledger.clone(),
        package: row.package.map(|root| *root.as_bytes()),
        sequence: row.sequence,
        in_reply_to: row.in_reply_to.map(|digest| *digest.as_bytes()),
        issued_at: row.issued_at.unix(),
    };
    bincode::encode_to_vec(stored, bincode::config::standard()).map_err(|_| IndexError::Damaged)
}

fn decode(digest: Hash, bytes: &[u8]) -> Result<Row, IndexError> {
    let config = bincode::config::standard().with_limit::<4096>();
    let (stored, read): (Stored, usize) = bincode::decode_from_slice(bytes, config).map_err(|_| IndexError::Damaged)?;
    if read != bytes.len() {
        return Err(IndexError::Damaged);
    }
    Ok(Row {
        leaf_index: stored.leaf_index,
        digest,
        kind: stored.kind,
        ledger: stored.ledger,
        package: stored.package.map(Hash::new),
        sequence: stored.sequence,
        in_reply_to: stored.in_reply_to.map(Hash::new),
        issued_at: Time::from_unix(stored.issued_at).ok_or(IndexError::Damaged)?,
    })
}

/// The index cannot be used; deleting its folder and starting again rebuilds it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The store failed.
    #[error("the index's store says: {0}")]
    Store(#[from] sled::Error),
    /// A key or value is not what this program wrote.
    #[error("the index holds what it should not")]
    Damaged,
    /// The folder of a useless index could not be removed.
    #[error("the index's folder {path} cannot be emptied: {kind}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        kind: std::io::ErrorKind,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(leaf_index: u64, package: Option<u8>, answered: Option<u64>) -> Row {
        Row {
            leaf_index,
            digest: Hash::of(&leaf_index.to_be_bytes()),
            kind: "event".to_owned(),
            ledger: "forensics.example/lab-1/1".to_owned(),
            package: package.map(|byte| Hash::new([byte; 32])),
            sequence: package.map(|_| leaf_index),
            in_reply_to: answered.map(|index| Hash::of(&index.to_be_bytes())),
            issued_at: Time::from_unix(1_795_449_600).unwrap(),
        }
    }

    #[test]
    fn views_follow_the_order_of_the_ledger() {
        let folder = tempfile::tempdir().unwrap();
        let index = Index::open(folder.path()).unwrap();
        let rows = [row(0, None, None), row(1, Some(9), None), row(2, Some(3), None), row(300, Some(9), Some(1))];
        index.apply(&rows, &[], 301).unwrap();
        assert_eq!(index.reflects().unwrap(), 301);
        assert_eq!(index.all().unwrap(), rows);
        assert_eq!(index.of_package(&Hash::new([9; 32])).unwrap(), [rows[1].clone(), rows[3].clone()]);
        assert_eq!(index.answers(&rows[1].digest).unwrap(), [rows[3].clone()]);
        assert_eq!(index.packages().unwrap(), [Hash::new([9; 32]), Hash::new([3; 32])]);
        assert_eq!(index.row(&Hash::ZERO).unwrap(), None);
        assert_eq!(index.since(2).unwrap(), rows[2..]);
        assert_eq!(index.newest_first().next().unwrap().unwrap(), rows[3]);
    }

    #[test]
    fn tokens_are_found_by_their_text_and_notes_by_what_they_cover() {
        let folder = tempfile::tempdir().unwrap();
        let index = Index::open(folder.path()).unwrap();
        let digest = |n: u8| Hash::of(&[n]);
        let token = |leaf_index, text| AnchorRow {
            leaf_index,
            digest: digest(leaf_index as u8),
            anchor: Anchor::Token { stamped: Hash::of(text) },
        };
        let note = |leaf_index, size| AnchorRow { anchor: Anchor::Note { size }, ..token(leaf_index, b"") };
        let anchors = [token(300, b"a"), note(4, 4), token(5, b"a"), token(6, b"b"), note(7, 1000), note(8, 6)];
        index.apply(&[], &anchors, 301).unwrap();
        assert_eq!(index.tokens_over(&Hash::of(b"a")).unwrap(), [digest(5), digest(300_u16 as u8)]);
        assert_eq!(index.tokens_over(&Hash::of(b"c")).unwrap(), []);
        let covering = |size| index.note_covering(size).unwrap();
        assert_eq!([covering(4), covering(5), covering(7)], [Some(digest(4)), Some(digest(8)), Some(digest(7))]);
        assert_eq!((covering(1001), index.all().unwrap().len()), (None, 0));
    }

    #[test]
    fn a_closed_index_is_kept_and_an_unclosed_one_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        Index::open(&path).unwrap().apply(&[row(0, None, None)], &[], 1).unwrap();
        let index = Index::open(&path).unwrap();
        assert_eq!(index.reflects().unwrap(), 1);
        // A process that is killed runs no destructor.
        let copy = folder.path().join("copy");
        index.db.flush().unwrap();
        copy_folder(&path, &copy);
        drop(index);
        assert_eq!(Index::open(&copy).unwrap().reflects().unwrap(), 0);
    }

    #[test]
    fn garbage_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("db"), b"garbage").unwrap();
        std::fs::write(path.join("conf"), b"garbage").unwrap();
        assert_eq!(Index::open(&path).unwrap().reflects().unwrap(), 0);
    }

    fn copy_folder(from: &Path, to: &Path) {
        std::fs::create_dir(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                copy_folder(&entry.path(), &to.join(entry.file_name()));
            } else {
                std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
    }
}
