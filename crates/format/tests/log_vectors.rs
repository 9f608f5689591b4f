//! Every file of tests/vectors/log ends as its header says (docs/spec/log-formats.md, "Vectors"), and what is good prints
//! back to its bytes.
//!
//! The steps are the crate's own; this file only joins them where a kind needs more than one.

#![allow(clippy::unwrap_used, reason = "a vector whose inputs do not read has failed")]

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use custodia_format::checkpoint::{NoteError, check_ledger_signature, cosignature_time};
use custodia_format::entry::{ENTRY_TEXT_BYTES, Entry};
use custodia_format::note::{Note, Vkey, VkeyError};
use custodia_format::tile::{Tile, TileKind, parse_bundle, push_entry};
use custodia_format::tlog_proof::{InclusionError, TlogProof};
use custodia_format::{Hash, Malformed};
use custodia_merkle::{ProofError, leaf_hash, root, verify_consistency, verify_inclusion};

/// How a vector ends when it does not end well; the words are those of `expect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Malformed,
    Untrusted,
    Inconsistent,
}

impl From<Malformed> for Refusal {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl From<VkeyError> for Refusal {
    fn from(error: VkeyError) -> Self {
        if matches!(error, VkeyError::Malformed(_)) { Self::Malformed } else { Self::Untrusted }
    }
}

impl From<NoteError> for Refusal {
    fn from(error: NoteError) -> Self {
        if matches!(error, NoteError::Malformed(_)) { Self::Malformed } else { Self::Untrusted }
    }
}

impl From<ProofError> for Refusal {
    fn from(_: ProofError) -> Self {
        Self::Inconsistent
    }
}

impl From<InclusionError> for Refusal {
    fn from(error: InclusionError) -> Self {
        if matches!(error, InclusionError::Malformed(_)) { Self::Malformed } else { Self::Inconsistent }
    }
}

fn need(holds: bool, refusal: Refusal) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(refusal) }
}

/// One file: the header's lines by name, and the bytes after the empty line.
struct Vector {
    given: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Vector {
    fn read(content: &[u8]) -> Self {
        let end = content.windows(2).position(|two| two == b"\n\n").expect("an empty line ends the header");
        let mut given = BTreeMap::new();
        for line in std::str::from_utf8(&content[..end]).unwrap().split('\n') {
            let (name, value) = line.split_once(": ").expect("a header line is `name: value`");
            assert!(given.insert(name.to_owned(), value.to_owned()).is_none(), "{name} stands there twice");
        }
        Self { given, body: content[end + 2..].to_vec() }
    }

    /// Takes one line of the header; what is left over at the end nobody has read.
    fn take(&mut self, name: &str) -> String {
        self.given.remove(name).unwrap_or_else(|| panic!("the header has no {name}"))
    }

    fn number(&mut self, name: &str) -> u64 {
        self.take(name).parse().unwrap()
    }

    fn hash(&mut self, name: &str) -> Hash {
        Hash::from_hex(&self.take(name)).unwrap()
    }

    fn vkey(&mut self, name: &str) -> Vkey {
        Vkey::parse(&self.take(name)).unwrap()
    }

    fn text(&self) -> Result<&str, Refusal> {
        std::str::from_utf8(&self.body).map_err(|_| Refusal::Malformed)
    }

    /// The body as one hash a line.
    fn hashes(&self) -> Vec<Hash> {
        let hash = |line: &str| Hash::new(STANDARD.decode(line).unwrap().try_into().unwrap());
        self.text().unwrap().lines().map(hash).collect()
    }

    /// The body as base64 in lines.
    fn bytes(&self) -> Vec<u8> {
        STANDARD.decode(self.text().unwrap().replace('\n', "")).unwrap()
    }

    /// Reads the body, checks it, and prints it again: what was read, in the body's own form.
    fn run(&mut self, kind: &str) -> Result<Vec<u8>, Refusal> {
        match kind {
            "vkey" => Ok(Vkey::parse(self.text()?)?.to_string().into_bytes()),
            "note" => Ok(Note::parse(&self.body)?.print().into_bytes()),
            "checkpoint" => self.checkpoint(),
            "cosignature" => {
                let (ledger, witness, time) = (self.vkey("vkey"), self.vkey("witness"), self.number("time"));
                let note = Note::parse(&self.body)?;
                check_ledger_signature(&note, &ledger)?;
                need(cosignature_time(&note, &witness)? == Some(time), Refusal::Untrusted)?;
                Ok(note.print().into_bytes())
            }
            "tlog-proof" => {
                let (ledger, leaf) = (self.vkey("vkey"), self.hash("leaf"));
                let proof = TlogProof::parse(&self.body)?;
                check_ledger_signature(&proof.checkpoint, &ledger)?;
                proof.verify_inclusion(&leaf)?;
                Ok(proof.print().into_bytes())
            }
            "inclusion" => {
                let (index, size) = (self.number("index"), self.number("size"));
                verify_inclusion(index, size, &self.hash("leaf"), &self.hashes(), &self.hash("root"))?;
                Ok(self.body.clone())
            }
            "consistency" => {
                let (old, new) = (self.number("old-size"), self.number("new-size"));
                let (old_root, new_root) = (self.hash("old-root"), self.hash("new-root"));
                verify_consistency(old, new, &old_root, &new_root, &self.hashes())?;
                Ok(self.body.clone())
            }
            "tile-path" => Ok(Tile::parse(self.text()?)?.path().into_bytes()),
            "tile" => self.tile(),
            "bundle" => self.bundle(),
            "entry" => {
                let leaf = self.hash("leaf");
                let entry = Entry::parse(&self.body)?;
                need(entry.text().len() == ENTRY_TEXT_BYTES, Refusal::Malformed)?;
                need(entry.leaf_hash() == leaf, Refusal::Inconsistent)?;
                Ok(entry.text().into_bytes())
            }
            _ => panic!("a kind that is not known: {kind}"),
        }
    }

    fn checkpoint(&mut self) -> Result<Vec<u8>, Refusal> {
        let ledger = self.vkey("vkey");
        let order = self.given.remove("order");
        let note = Note::parse(&self.body)?;
        let checkpoint = check_ledger_signature(&note, &ledger)?;
        assert_eq!(checkpoint.text(), note.text);
        if let Some(order) = order {
            assert_eq!(order, "stored");
            let mut sorted = note.clone();
            sorted.sort(&ledger);
            assert!(sorted.is_sorted());
            need(sorted == note, Refusal::Malformed)?;
        }
        Ok(note.print().into_bytes())
    }

    fn tile(&mut self) -> Result<Vec<u8>, Refusal> {
        let (path, size, expected) = (self.take("path"), self.number("size"), self.hash("root"));
        let tile = Tile::parse(&path)?;
        let bytes = self.bytes();
        let (hashes, rest) = bytes.as_chunks::<32>();
        need(rest.is_empty() && hashes.len() == usize::from(tile.width), Refusal::Malformed)?;
        need(tile.kind != TileKind::Entries && belongs(tile, size), Refusal::Inconsistent)?;
        let hashes: Vec<Hash> = hashes.iter().map(|hash| Hash::new(*hash)).collect();
        need(root(&hashes) == expected, Refusal::Inconsistent)?;
        Ok(self.body.clone())
    }

    fn bundle(&mut self) -> Result<Vec<u8>, Refusal> {
        let (path, size, expected) = (self.take("path"), self.number("size"), self.hash("root"));
        let tile = Tile::parse(&path)?;
        let bytes = self.bytes();
        let entries = parse_bundle(&bytes, tile.width)?;
        need(tile.kind == TileKind::Entries && belongs(tile, size), Refusal::Inconsistent)?;
        let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        need(root(&leaves) == expected, Refusal::Inconsistent)?;
        let mut again = Vec::new();
        entries.iter().try_for_each(|entry| push_entry(&mut again, entry))?;
        assert_eq!(again, bytes);
        Ok(self.body.clone())
    }
}

/// Whether a tree of this size has just this tile.
fn belongs(tile: Tile, size: u64) -> bool {
    Tile::between(0, size).any(|one| one == tile)
}

#[test]
fn every_vector_ends_as_its_header_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/log");
    let (mut count, mut to_fail, mut wrong) = (0, 0, Vec::new());
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        let mut vector = Vector::read(&std::fs::read(file.path()).unwrap());
        let (kind, expected) = (vector.take("kind"), vector.take("expect"));
        assert!(name.starts_with(&format!("{kind}-")), "{name} is of kind {kind}");
        assert!(vector.take("why").ends_with('.'), "{name} does not say why");
        count += 1;
        to_fail += usize::from(expected != "ok");
        let ended = vector.run(&kind);
        assert!(vector.given.is_empty(), "{name}: nobody reads {:?}", vector.given);
        let got = match &ended {
            Ok(printed) if *printed == vector.body => "ok",
            Ok(_) => "printed otherwise",
            Err(Refusal::Malformed) => "malformed",
            Err(Refusal::Untrusted) => "untrusted",
            Err(Refusal::Inconsistent) => "inconsistent",
        };
        if got != expected {
            wrong.push(format!("{name}: expected {expected}, got {got}"));
        }
    }
    wrong.sort();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(count >= 100, "only {count} vectors were found");
    assert!(4 * to_fail >= 3 * count, "only {to_fail} of {count} vectors are to fail");
}
