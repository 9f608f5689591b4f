//! The stage: all that a commit logs and changes, from which the commit and recovery alike write it out
//! (docs/spec/commit.md, "Stage").

use custodia_format::text::decimal;
use custodia_format::tile::{TILE_WIDTH, Tile, TileKind, parse_bundle};
use custodia_format::{Hash, Malformed};
use custodia_merkle::{leaf_hash, root, tree_root};

use crate::home::Shelf;
use crate::tail::{Tail, TailError, hashes};

/// A document that is logged and not on its shelf yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shelved {
    pub(crate) shelf: Shelf,
    pub(crate) digest: Hash,
    pub(crate) bytes: Vec<u8>,
}

/// What a commit is about to do. Its bytes are named in the record by their SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stage {
    /// The ledger.
    pub(crate) origin: String,
    /// The size that the commit starts from.
    pub(crate) before: u64,
    /// The size that it leads to.
    pub(crate) size: u64,
    /// The root at that size.
    pub(crate) root: Hash,
    /// The documents that it logs, in the order of their indexes; none when they lie on their shelves already.
    pub(crate) documents: Vec<Shelved>,
    /// The tiles and bundles, each whole.
    pub(crate) files: Vec<(Tile, Vec<u8>)>,
}

impl Stage {
    /// Prints it: lines, an empty line, then the bytes of all documents and of all tiles in the order of their lines.
    pub(crate) fn print(&self) -> Vec<u8> {
        let mut text = format!(
            "custodia/stage/v1\norigin {}\nbefore {}\nsize {}\nroot {}\n",
            self.origin, self.before, self.size, self.root
        );
        for Shelved { shelf, digest, bytes } in &self.documents {
            text += &format!("{} {} {digest}\n", shelf.word(), bytes.len());
        }
        for (tile, bytes) in &self.files {
            text += &format!("file {} {tile}\n", bytes.len());
        }
        text.push('\n');
        let mut print = text.into_bytes();
        self.documents.iter().for_each(|document| print.extend_from_slice(&document.bytes));
        self.files.iter().for_each(|(_, bytes)| print.extend_from_slice(bytes));
        print
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`Malformed`] for any bytes that this would not print.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let wrong = |expected: &str| Malformed::new("stage", "", expected, format!("{} bytes", bytes.len()));
        let end = bytes.windows(2).position(|pair| pair == b"\n\n").ok_or_else(|| wrong("an empty line"))?;
        let (text, mut rest) = bytes.split_at(end + 1);
        rest = rest.get(1..).unwrap_or_default();
        let mut lines = std::str::from_utf8(text).map_err(|_| wrong("lines of ASCII"))?.lines().peekable();
        let mut line = |prefix: &str| lines.next().and_then(|line| line.strip_prefix(prefix));
        let mut read_head = || {
            line("custodia/stage/v1").filter(|rest| rest.is_empty())?;
            let origin = line("origin ")?.to_owned();
            let (before, size) = (decimal(line("before ")?)?, decimal(line("size ")?)?);
            Some((origin, before, size, Hash::from_hex(line("root ")?)?))
        };
        let (origin, before, size, root) =
            read_head().ok_or_else(|| wrong("version, origin, before, size and root"))?;
        let (mut documents, mut files) = (Vec::new(), Vec::new());
        for line in lines {
            let mut words = line.splitn(3, ' ');
            let (Some(word), Some(length), Some(name)) = (words.next(), words.next(), words.next()) else {
                return Err(wrong("a word, a length and a name"));
            };
            let length = decimal(length).and_then(|length| usize::try_from(length).ok());
            let (bytes, after) = length
                .and_then(|length| rest.split_at_checked(length))
                .ok_or_else(|| wrong("all of its documents and files"))?;
            rest = after;
            match Shelf::of_word(word) {
                Some(shelf) => {
                    let digest = Hash::from_hex(name).ok_or_else(|| wrong("a digest"))?;
                    documents.push(Shelved { shelf, digest, bytes: bytes.to_vec() });
                }
                None if word == "file" => files.push((Tile::parse(name)?, bytes.to_vec())),
                None => return Err(wrong("a document or a file")),
            }
        }
        let stage = Self { origin, before, size, root, documents, files };
        if stage.print() == bytes { Ok(stage) } else { Err(wrong("the one spelling of this stage")) }
    }

    /// Finds the root by another way than the plan did: from the staged tiles alone, over the stored tiles that they
    /// leave as they are. On the way every staged bundle must hash to its tile of leaf hashes, and every full tile to
    /// its place in the row above.
    ///
    /// `stored` reads a tile that was committed before.
    ///
    /// # Errors
    /// [`RootError`], with what disagrees.
    pub(crate) fn root_again<E: std::fmt::Display>(
        &self,
        mut stored: impl FnMut(Tile) -> Result<Vec<u8>, E>,
    ) -> Result<Hash, RootError> {
        let staged = |kind, index| {
            self.files
                .iter()
                .find(|(tile, _)| tile.kind == kind && tile.index == index)
                .map(|(_, bytes)| bytes.as_slice())
        };
        let disagrees = |tile: &Tile| RootError::Tile { path: tile.path() };
        for (tile, bytes) in &self.files {
            match tile.kind {
                TileKind::Entries => {
                    let entries = parse_bundle(bytes, tile.width).map_err(|_| disagrees(tile))?;
                    let leaves: Vec<u8> = entries.into_iter().flat_map(|entry| *leaf_hash(entry).as_bytes()).collect();
                    if staged(TileKind::Hashes(0), tile.index) != Some(&leaves) {
                        return Err(disagrees(tile));
                    }
                }
                TileKind::Hashes(level) => {
                    let row = hashes(bytes, tile.width).ok_or_else(|| disagrees(tile))?;
                    if tile.is_full() {
                        let above = staged(TileKind::Hashes(level + 1), tile.index / TILE_WIDTH);
                        let place = (tile.index % TILE_WIDTH) as usize * 32;
                        let found = above.and_then(|above| above.get(place..place + 32));
                        if found != Some(root(&row).as_bytes().as_slice()) {
                            return Err(disagrees(tile));
                        }
                    }
                }
            }
        }
        let tail = Tail::load(self.size, |tile| match self.files.iter().find(|(other, _)| *other == tile) {
            Some((_, bytes)) => Ok(bytes.clone()),
            None => stored(tile),
        })?;
        tree_root(&tail, self.size).map_err(|error| RootError::Edge { why: error.to_string() })
    }
}

/// Why a stage's tiles give no root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RootError {
    #[error("{path} disagrees with the tile above or beside it")]
    Tile { path: String },
    #[error("{why}")]
    Edge { why: String },
}

impl<E: std::fmt::Display> From<TailError<E>> for RootError {
    fn from(error: TailError<E>) -> Self {
        Self::Edge { why: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tail::plan;
    use custodia_merkle::Frontier;

    fn stage(from: u64, to: u64) -> (Stage, Vec<(Tile, Vec<u8>)>) {
        let entries: Vec<String> = (0..to).map(|n| n.to_string()).collect();
        let (old, new) = entries.split_at(from as usize);
        let before = plan(&Tail::new(), &Frontier::new(), old.iter().map(String::as_bytes)).unwrap();
        let after = plan(&before.tail, &before.frontier, new.iter().map(String::as_bytes)).unwrap();
        let shelved = |entry: &String| {
            let bytes = entry.clone().into_bytes();
            Shelved { shelf: Shelf::Anchor, digest: Hash::of(&bytes), bytes }
        };
        let documents = new.iter().map(shelved).collect();
        let root = after.frontier.root();
        let stage = Stage { origin: "a/b/1".to_owned(), before: from, size: to, root, documents, files: after.files };
        (stage, before.files)
    }

    fn read(files: &[(Tile, Vec<u8>)]) -> impl Fn(Tile) -> Result<Vec<u8>, String> {
        |tile| files.iter().find(|(other, _)| *other == tile).map(|(_, bytes)| bytes.clone()).ok_or(tile.path())
    }

    #[test]
    fn both_ways_give_one_root() {
        for (from, to) in
            [(0, 0), (0, 1), (0, 256), (1, 3), (255, 256), (255, 257), (256, 257), (300, 1000), (511, 513)]
        {
            let (stage, stored) = stage(from, to);
            assert_eq!(Stage::parse(&stage.print()).unwrap(), stage);
            assert_eq!(stage.root_again(read(&stored)).unwrap(), stage.root, "{from} to {to}");
        }
    }

    #[test]
    fn a_flipped_bit_gives_another_root_or_none() {
        let (stage, stored) = stage(250, 515);
        for file in 0..stage.files.len() {
            for at in 0..stage.files[file].1.len() {
                let mut bad = stage.clone();
                bad.files[file].1[at] ^= 1 << (at % 8);
                assert!(!bad.root_again(read(&stored)).is_ok_and(|root| root == stage.root), "{file} {at}");
            }
        }
    }

    #[test]
    fn a_flipped_bit_of_a_full_upper_tile_is_found_by_the_tile_above() {
        let (stage, stored) = stage(65_530, 65_540);
        let upper = stage.files.iter().position(|(tile, _)| tile.kind == TileKind::Hashes(1) && tile.is_full());
        let upper = upper.expect("the 256th bundle fills a tile of the row above");
        assert_eq!(stage.root_again(read(&stored)).unwrap(), stage.root);
        for at in (0..stage.files[upper].1.len()).step_by(101) {
            let mut bad = stage.clone();
            bad.files[upper].1[at] ^= 1 << (at % 8);
            assert!(bad.root_again(read(&stored)).is_err(), "{at}");
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        let (stage, _) = stage(2, 4);
        let good = stage.print();
        for at in 0..good.len() {
            assert!(Stage::parse(&good[..at]).is_err());
        }
        let mut longer = good.clone();
        longer.push(0);
        assert!(Stage::parse(&longer).is_err());
        let text = String::from_utf8_lossy(&good).into_owned();
        for (from, to) in [("v1", "v2"), ("before 2", "before 02"), ("file ", "files "), ("tile/0/", "tile/00/")] {
            assert!(Stage::parse(text.replacen(from, to, 1).as_bytes()).is_err(), "{from}");
        }
    }
}
