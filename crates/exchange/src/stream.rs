//! The header of a data stream (docs/spec/wire.md §5): `root[32] || u64be record || u64be first_chunk || u32be count`.
//!
//! One stream answers one want frame. Its header repeats the first range of that frame, and so tells the receiver which
//! one it is; the bytes of all its ranges follow in order, without further headers: both sides know every length.

use custodia_format::Hash;

use crate::transfer::Document;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 52;

/// The record number that stands for the manifest: no package has so many records.
const MANIFEST_RECORD: u64 = u64::MAX;
/// The record number that stands for the history.
const HISTORY_RECORD: u64 = u64::MAX - 1;

/// What a data stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamHeader {
    /// Manifest root of the package.
    pub root: Hash,
    /// What the first bytes are.
    pub first: First,
}

/// The first thing on a data stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum First {
    /// A document, and nothing else.
    Document(Document),
    /// Chunks of an item, perhaps after its midstates, perhaps followed by other items.
    Chunks {
        /// Record number of the first item.
        record: u64,
        /// Its first chunk.
        first_chunk: u64,
        /// How many chunks of it.
        count: u32,
    },
}

impl StreamHeader {
    /// The header as it travels. A document has its own record number, first chunk 0 and count 0.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let (record, first_chunk, count) = match self.first {
            First::Document(Document::Manifest) => (MANIFEST_RECORD, 0, 0),
            First::Document(Document::History) => (HISTORY_RECORD, 0, 0),
            First::Chunks { record, first_chunk, count } => (record, first_chunk, count),
        };
        let mut bytes = [0; HEADER_BYTES];
        bytes[..32].copy_from_slice(self.root.as_bytes());
        bytes[32..40].copy_from_slice(&record.to_be_bytes());
        bytes[40..48].copy_from_slice(&first_chunk.to_be_bytes());
        bytes[48..].copy_from_slice(&count.to_be_bytes());
        bytes
    }

    /// Reads a header. `None`: one that no want can have asked for.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let (root, rest) = bytes.split_first_chunk::<32>()?;
        let (record, rest) = rest.split_first_chunk::<8>()?;
        let (first_chunk, rest) = rest.split_first_chunk::<8>()?;
        let (count, _) = rest.split_first_chunk::<4>()?;
        let first = match (u64::from_be_bytes(*record), u64::from_be_bytes(*first_chunk), u32::from_be_bytes(*count)) {
            (MANIFEST_RECORD, 0, 0) => First::Document(Document::Manifest),
            (HISTORY_RECORD, 0, 0) => First::Document(Document::History),
            (_, _, 0) => return None,
            (record, first_chunk, count) => First::Chunks { record, first_chunk, count },
        };
        Some(Self { root: Hash::new(*root), first })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_is_laid_out_as_the_specification_says() {
        let header =
            StreamHeader { root: Hash::new([1; 32]), first: First::Chunks { record: 2, first_chunk: 3, count: 4 } };
        let bytes = header.to_bytes();
        assert_eq!(bytes[..32], [1; 32]);
        assert_eq!(bytes[32..], [0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 4]);
    }

    proptest! {
        #[test]
        fn every_header_that_is_read_prints_the_same(
            bytes in prop::array::uniform32(any::<u8>()), record in any::<u64>(), chunk in any::<u64>(), count in 0u32..3,
        ) {
            let record = if record % 3 == 0 { u64::MAX - record % 2 } else { record };
            let chunk = if chunk % 2 == 0 { 0 } else { chunk };
            let mut wire = [0; HEADER_BYTES];
            wire[..32].copy_from_slice(&bytes);
            wire[32..40].copy_from_slice(&record.to_be_bytes());
            wire[40..48].copy_from_slice(&chunk.to_be_bytes());
            wire[48..].copy_from_slice(&count.to_be_bytes());
            if let Some(header) = StreamHeader::parse(&wire) {
                prop_assert_eq!(header.to_bytes(), wire);
            }
        }
    }
}
