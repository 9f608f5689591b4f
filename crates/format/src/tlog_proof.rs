//! The proof that an entry stands in a ledger: C2SP tlog-proof (docs/spec/log-formats.md, "Proofs").

use std::fmt::Write;

use custodia_merkle::{ProofError, verify_inclusion};

use crate::checkpoint::Checkpoint;
use crate::error::Malformed;
use crate::note::Note;
use crate::text::{decimal, from_b64, to_b64};
use crate::{Hash, limits};

const HEADER: &str = "c2sp.org/tlog-proof@v1\n";
/// Bytes of `extra` that still fit a line of other people's readers.
const EXTRA_BYTES: usize = 48_000;

/// An entry's index, the hashes from it up to the root, and the checkpoint with that root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Bytes that nobody signed; none in a proof file.
    pub extra: Option<Vec<u8>>,
    /// The entry's place, from 0.
    pub index: u64,
    /// From the leaf's sibling up.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: Note,
}

/// Why a proof does not close.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InclusionError {
    /// The note's text is no checkpoint.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The hashes do not lead from the entry to the root.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

impl TlogProof {
    /// Reads a proof.
    ///
    /// # Errors
    /// [`Malformed`] when a line does not read, there are more than [`limits::PROOF_HASHES`], or it would print
    /// otherwise.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let wrong = |place: &str, expected: &str, found: &str| Malformed::new("tlog-proof", place, expected, found);
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("", "UTF-8", "other bytes"))?;
        let rest = text.strip_prefix(HEADER).ok_or_else(|| wrong("line 1", HEADER.trim_end(), text))?;
        let (head, checkpoint) = rest.split_once("\n\n").ok_or_else(|| wrong("", "a blank line", rest))?;
        let mut lines = head.split('\n').peekable();
        let extra = match lines.peek().and_then(|line| line.strip_prefix("extra ")) {
            None => None,
            Some(extra) => {
                let read = from_b64(extra).filter(|bytes| bytes.len() <= EXTRA_BYTES);
                lines.next();
                Some(read.ok_or_else(|| wrong("extra", "base64 of at most 48000 bytes", extra))?)
            }
        };
        let index = lines.next().unwrap_or_default();
        let index = index
            .strip_prefix("index ")
            .and_then(decimal)
            .ok_or_else(|| wrong("index", "index and a decimal", index))?;
        let mut hashes = Vec::new();
        for line in lines {
            if hashes.len() == limits::PROOF_HASHES {
                return Err(wrong("hashes", &format!("at most {}", limits::PROOF_HASHES), "more"));
            }
            let hash = from_b64(line).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            hashes.push(Hash::new(hash.ok_or_else(|| wrong("hashes", "base64 of 32 bytes", line))?));
        }
        let checkpoint = Note::parse(checkpoint.as_bytes()).map_err(|error| error.within("checkpoint"))?;
        let proof = Self { extra, index, hashes, checkpoint };
        if proof.print().as_bytes() == bytes { Ok(proof) } else { Err(wrong("", "the one spelling of it", text)) }
    }

    /// Prints the proof.
    pub fn print(&self) -> String {
        let mut text = HEADER.to_owned();
        if let Some(extra) = &self.extra {
            let _ = writeln!(text, "extra {}", to_b64(extra));
        }
        let _ = writeln!(text, "index {}", self.index);
        for hash in &self.hashes {
            let _ = writeln!(text, "{}", to_b64(hash.as_bytes()));
        }
        text.push('\n');
        text + &self.checkpoint.print()
    }

    /// Verifies that the leaf stands at the index under the checkpoint's root. Who signed the checkpoint is not checked
    /// here.
    ///
    /// # Errors
    /// [`InclusionError`], by what is wrong.
    pub fn verify_inclusion(&self, leaf: &Hash) -> Result<Checkpoint, InclusionError> {
        let checkpoint = Checkpoint::parse_text(&self.checkpoint.text)?;
        verify_inclusion(self.index, checkpoint.size, leaf, &self.hashes, &checkpoint.root)?;
        Ok(checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use custodia_merkle::leaf_hash;
    use proptest::prelude::*;

    fn vector() -> String {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/custodia-v1.json"));
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        vectors["tlog_proof_5_of_8"].as_str().unwrap().to_owned()
    }

    #[test]
    fn the_proof_of_the_vectors_closes_for_its_entry_alone() {
        let text = vector();
        let proof = TlogProof::parse(text.as_bytes()).unwrap();
        assert_eq!(proof.print(), text);
        assert_eq!(proof.verify_inclusion(&leaf_hash(b"5")).unwrap().size, 8);
        assert!(proof.verify_inclusion(&leaf_hash(b"6")).is_err());
        for bad in [
            text.replace("index 5", "index 05"),
            text.replace("index 5", "index 18446744073709551615"),
            text.replace("@v1", "@v2"),
            text.replace("extra NQ==", "extra NR=="),
            text.replace("\nindex", "\r\nindex"),
            text.replace("\n\n—", "\n—"),
            text.replacen("EeH1", "EeH", 1),
        ] {
            assert!(TlogProof::parse(bad.as_bytes()).is_err(), "{bad:.60}");
        }
        let long = text.replacen("index 5\n", &format!("index 5\n{}", format!("{}\n", to_b64(&[0; 32])).repeat(61)), 1);
        assert!(TlogProof::parse(long.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn changed_proofs_are_refused_or_print_back(at in 0..500_usize, byte in any::<u8>()) {
            let mut bytes = vector().into_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(proof) = TlogProof::parse(&bytes) {
                prop_assert_eq!(proof.print().into_bytes(), bytes);
            }
        }
    }
}
