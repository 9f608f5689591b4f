//! What was acknowledged, in the hammer's own book: one JSON line each in `told.jsonl`, written before anything follows from
//! it. It is held against the nodes, and can be held against the folder later by itself.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use custodia_node::failure::{Code, Failure};
use custodia_node::home::read_file;
use serde::{Deserialize, Serialize};

/// The book's name in the folder.
const BOOK: &str = "told.jsonl";
/// Bytes of a book that is read.
const BOOK_BYTES: u64 = 1 << 30;

/// One thing that an answer said. `at` is the authority, 0 or 1.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    /// What the run was drawn from.
    Seed(u64),
    /// A statement is in the ledger, where an answer named its place, at that place.
    Statement { at: usize, digest: String, leaf_index: Option<u64> },
    /// The ledger had this checkpoint.
    Checkpoint { at: usize, size: u64, root: String },
    /// A package was sealed.
    Sealed { at: usize, package: Package },
    /// A package was delivered: the sender holds the receipt.
    Delivered { from: usize, delivered: Delivered },
}

/// A package, and the files that were put into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Package {
    pub(super) id: String,
    /// SHA-256 and bytes of each.
    pub(super) files: Vec<(String, u64)>,
}

/// A delivery that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Delivered {
    pub(super) package: String,
    pub(super) release: String,
    pub(super) receipt: String,
}

/// The book.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) seed: u64,
    pub(super) of: [Authority; 2],
    path: PathBuf,
    /// None where the book is only read.
    file: Option<File>,
}

/// What one authority has acknowledged.
#[derive(Debug, Default)]
pub(super) struct Authority {
    pub(super) statements: BTreeMap<String, Option<u64>>,
    /// Size to root.
    pub(super) checkpoints: BTreeMap<u64, String>,
    pub(super) sealed: Vec<Package>,
    /// What it delivered to the other one, by release.
    pub(super) delivered: BTreeMap<String, Delivered>,
}

impl Told {
    /// Begins a book.
    pub(super) fn begin(folder: &Path, seed: u64) -> Result<Self, Failure> {
        let path = folder.join(BOOK);
        let file = OpenOptions::new().create_new(true).append(true).open(&path);
        let file = file.map_err(|error| Failure::io(&error, &path))?;
        let mut told = Self { seed, of: Default::default(), path, file: Some(file) };
        told.write(&Line::Seed(seed))?;
        Ok(told)
    }

    /// Reads the book that a run left.
    pub(super) fn read(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(BOOK);
        let bytes = read_file(&path, BOOK_BYTES)?.ok_or_else(|| {
            Failure::new(Code::Usage, "No run of the hammer left anything in this folder.")
                .at(path.display())
                .safe("Nothing in it was touched.")
                .next("make one: custodia hammer --keep DIR")
        })?;
        let mut told = Self { seed: 0, of: Default::default(), path: path.clone(), file: None };
        for (number, text) in String::from_utf8_lossy(&bytes).lines().enumerate() {
            let line = serde_json::from_str(text).ok().filter(|line| told.take(line)).ok_or_else(|| {
                Failure::new(Code::Malformed, "This line is not one that the hammer writes.").at(format!(
                    "{} line {}",
                    path.display(),
                    number + 1
                ))
            });
            line?;
        }
        Ok(told)
    }

    /// How many statements were acknowledged.
    pub(super) fn acknowledged(&self) -> usize {
        self.of.iter().map(|one| one.statements.len()).sum()
    }

    /// How many packages were delivered.
    pub(super) fn delivered(&self) -> usize {
        self.of.iter().map(|one| one.delivered.len()).sum()
    }

    /// An answer named a statement. Gives what contradicts an earlier answer.
    pub(super) fn statement(
        &mut self,
        at: usize,
        digest: &str,
        leaf_index: Option<u64>,
    ) -> Result<Option<String>, Failure> {
        let known = self.of.get(at).and_then(|one| one.statements.get(digest)).copied();
        match (known, leaf_index) {
            (Some(Some(before)), Some(now)) if before != now => {
                Ok(Some(format!("statement {digest} was entry {before}, and is said to be entry {now}")))
            }
            (Some(Some(_)), _) | (Some(None), None) => Ok(None),
            (None, _) | (Some(None), Some(_)) => {
                self.tell(Line::Statement { at, digest: digest.to_owned(), leaf_index }).map(|()| None)
            }
        }
    }

    /// An answer named a checkpoint. Gives what contradicts an earlier answer.
    pub(super) fn checkpoint(&mut self, at: usize, size: u64, root: &str) -> Result<Option<String>, Failure> {
        match self.of.get(at).and_then(|one| one.checkpoints.get(&size)) {
            Some(before) if before != root => {
                Ok(Some(format!("two checkpoints of size {size}: root {before}, then root {root}")))
            }
            Some(_) => Ok(None),
            None => self.tell(Line::Checkpoint { at, size, root: root.to_owned() }).map(|()| None),
        }
    }

    /// A package was sealed.
    pub(super) fn sealed(&mut self, at: usize, package: Package) -> Result<(), Failure> {
        self.tell(Line::Sealed { at, package })
    }

    /// A package was delivered.
    pub(super) fn deliver(&mut self, from: usize, delivered: Delivered) -> Result<(), Failure> {
        let is_new = self.of.get(from).is_some_and(|one| !one.delivered.contains_key(&delivered.release));
        if is_new { self.tell(Line::Delivered { from, delivered }) } else { Ok(()) }
    }

    fn tell(&mut self, line: Line) -> Result<(), Failure> {
        self.write(&line)?;
        self.take(&line);
        Ok(())
    }

    fn write(&mut self, line: &Line) -> Result<(), Failure> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut bytes = serde_json::to_vec(line).map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
        bytes.push(b'\n');
        file.write_all(&bytes).map_err(|error| Failure::io(&error, &self.path))
    }

    /// Takes a line into memory; says whether it is of one of the two.
    fn take(&mut self, line: &Line) -> bool {
        let at = match line {
            Line::Seed(seed) => {
                self.seed = *seed;
                return true;
            }
            Line::Statement { at, .. } | Line::Checkpoint { at, .. } | Line::Sealed { at, .. } => *at,
            Line::Delivered { from, .. } => *from,
        };
        let Some(one) = self.of.get_mut(at) else { return false };
        match line.clone() {
            Line::Seed(_) => {}
            Line::Statement { digest, leaf_index, .. } => drop(one.statements.insert(digest, leaf_index)),
            Line::Checkpoint { size, root, .. } => drop(one.checkpoints.insert(size, root)),
            Line::Sealed { package, .. } => one.sealed.push(package),
            Line::Delivered { delivered, .. } => drop(one.delivered.insert(delivered.release.clone(), delivered)),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_book_reads_back_and_sees_contradictions() {
        let folder = tempfile::tempdir().unwrap();
        let mut told = Told::begin(folder.path(), 7).unwrap();
        assert_eq!(told.statement(0, "a", None).unwrap(), None);
        assert_eq!(told.statement(0, "a", Some(3)).unwrap(), None);
        assert!(told.statement(0, "a", Some(4)).unwrap().unwrap().contains("entry 3"));
        assert_eq!(told.checkpoint(1, 5, "r").unwrap(), None);
        assert!(told.checkpoint(1, 5, "s").unwrap().is_some());
        told.sealed(0, Package { id: "p".to_owned(), files: vec![("f".to_owned(), 1)] }).unwrap();
        let delivered =
            |receipt: &str| Delivered { package: "p".to_owned(), release: "r".to_owned(), receipt: receipt.to_owned() };
        told.deliver(0, delivered("c")).unwrap();
        let read = Told::read(folder.path()).unwrap();
        assert_eq!((read.seed, read.acknowledged(), read.delivered()), (7, 1, 1));
        assert_eq!(read.of[0].statements, told.of[0].statements);
        assert_eq!(read.of[1].checkpoints, told.of[1].checkpoints);
        assert_eq!(Told::read(&folder.path().join("none")).unwrap_err().code, Code::Usage);
    }
}
