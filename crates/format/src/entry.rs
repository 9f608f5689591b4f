//! Ledger entries: a commitment of 226 bytes to an envelope or an anchored file (docs/spec/entry.md).
//!
//! No kind, no time, no name: any mirror may read it and learns nothing. The second digest lets the tree be renewed
//! without reading objects.

use custodia_merkle::leaf_hash;
use sha2::{Digest, Sha512};

use crate::Hash;
use crate::error::Malformed;
use crate::text::{from_hex, to_hex};

/// Bytes of an entry.
pub const ENTRY_TEXT_BYTES: usize = 226;

/// The two digests of a document's exact bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its SHA-256, by which it is stored and named.
    pub sha256: Hash,
    /// Its SHA-512.
    pub sha512: [u8; 64],
}

impl Entry {
    /// Commits to a document.
    pub fn of(document: &[u8]) -> Self {
        Self { sha256: Hash::of(document), sha512: Sha512::digest(document).into() }
    }

    /// Prints the three lines.
    pub fn text(&self) -> String {
        format!("custodia/entry/v1\nsha256 {}\nsha512 {}\n", self.sha256, to_hex(&self.sha512))
    }

    /// Reads the three lines.
    ///
    /// # Errors
    /// [`Malformed`] for any other bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let read = || {
            let text = std::str::from_utf8(bytes).ok()?.strip_prefix("custodia/entry/v1\nsha256 ")?;
            let (sha256, sha512) = text.strip_suffix('\n')?.split_once("\nsha512 ")?;
            Some(Self { sha256: Hash::from_hex(sha256)?, sha512: from_hex(sha512)? })
        };
        read().ok_or_else(|| {
            let shown = String::from_utf8_lossy(bytes.get(..bytes.len().min(256)).unwrap_or_default());
            Malformed::new("entry", "", "three lines with two digests", shown)
        })
    }

    /// Its hash as a leaf of the ledger's tree.
    pub fn leaf_hash(&self) -> Hash {
        leaf_hash(self.text().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_of_the_vectors() {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/custodia-v1.json"));
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        let entry = Entry::of(vectors["dsse"]["envelope"].as_str().unwrap().as_bytes());
        let expected = vectors["entry"]["text"].as_str().unwrap();
        assert_eq!(entry.text(), expected);
        assert_eq!(expected.len(), ENTRY_TEXT_BYTES);
        assert_eq!(entry.leaf_hash().to_string(), vectors["entry"]["leaf_hash"].as_str().unwrap());
        assert_eq!(Entry::parse(expected.as_bytes()).unwrap(), entry);
        for bad in [
            expected.to_uppercase(),
            expected.replace("v1", "v2"),
            expected.trim_end().to_owned(),
            format!("{expected}\n"),
            expected.replace("sha512 ", "sha512  "),
            String::new(),
        ] {
            assert!(Entry::parse(bad.as_bytes()).is_err());
        }
    }
}
