//! Midstates: the standard SHA-256 of an item, made verifiable MiB by MiB (docs/spec/midstates.md, FIPS 180-4 §6.2).
//!
//! SHA-256 is a chain: the value after the first i MiB is all that the rest needs. Whoever holds these values can check
//! each MiB by itself, in any order, on any number of cores, and all of them together prove the one SHA-256 that every
//! court's tools compute. SHA-256 runs once, and this file is where.

use sha2::block_api::compress256;

use crate::error::Malformed;
use crate::limits;
use custodia_merkle::{Frontier, Hash, leaf_hash};

/// Bytes of a chunk: 1 MiB, a multiple of SHA-256's block.
pub const CHUNK_BYTES: u64 = 1 << 20;

/// FIPS 180-4 §5.3.3: the chaining value before the first byte.
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

const BLOCK_BYTES: usize = 64;
const LEAF_PREFIX: &[u8] = b"custodia/midstate/v1\n";

/// SHA-256's chaining value at a MiB boundary: eight words, big-endian, 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Midstate([u32; 8]);

impl Midstate {
    /// The value before the first byte.
    pub const INITIAL: Self = Self(INITIAL);

    /// The value with these bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_be_bytes(*bytes);
        }
        Self(words)
    }

    /// Its bytes.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (place, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(self.0) {
            *place = word.to_be_bytes();
        }
        bytes
    }
}

/// How many chunks an item has: its whole MiB, and the tail after them when there is one. An empty item has none.
pub const fn chunk_count(size: u64) -> u64 {
    size.div_ceil(CHUNK_BYTES)
}

/// How many midstates an item has: one for each whole MiB.
pub const fn midstate_count(size: u64) -> u64 {
    size / CHUNK_BYTES
}

/// Bytes of a chunk; 0 beyond the item.
pub const fn chunk_bytes(size: u64, chunk: u64) -> u64 {
    let rest = size.saturating_sub(chunk.saturating_mul(CHUNK_BYTES));
    if rest < CHUNK_BYTES { rest } else { CHUNK_BYTES }
}

/// Reads midstates from their bytes, 32 for each whole MiB of an item of this size.
///
/// # Errors
/// [`Malformed`] when there are more or fewer.
pub fn parse_midstates(bytes: &[u8], size: u64) -> Result<Vec<Midstate>, Malformed> {
    let (states, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || states.len() as u64 != midstate_count(size) {
        let expected = format!("{} times 32 bytes", midstate_count(size));
        return Err(Malformed::new("midstates", "", expected, bytes.len().to_string()));
    }
    Ok(states.iter().map(Midstate::from_bytes).collect())
}

/// Prints midstates as bytes, 32 each.
pub fn print_midstates(midstates: &[Midstate]) -> Vec<u8> {
    midstates.iter().flat_map(|state| state.to_bytes()).collect()
}

/// The root over an item's midstates, as the file record commits to it; SHA-256 of nothing when there are none.
pub fn midstates_root(midstates: &[Midstate]) -> Hash {
    let mut frontier = Frontier::new();
    for state in midstates {
        frontier.push(leaf_hash(&[LEAF_PREFIX, &state.to_bytes()].concat()));
    }
    frontier.root()
}

/// What one pass over an item gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemDigest {
    /// Bytes.
    pub size: u64,
    /// The standard SHA-256.
    pub sha256: Hash,
    /// The chaining value after each whole MiB.
    pub midstates: Vec<Midstate>,
}

/// SHA-256 over an item's bytes in order, once, keeping the chaining value at each MiB.
#[derive(Debug, Clone)]
pub struct ItemHasher {
    state: [u32; 8],
    /// The bytes after the last whole block.
    block: [u8; BLOCK_BYTES],
    size: u64,
    midstates: Vec<Midstate>,
}

impl Default for ItemHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl ItemHasher {
    /// One that has seen nothing.
    pub const fn new() -> Self {
        Self { state: INITIAL, block: [0; BLOCK_BYTES], size: 0, midstates: Vec::new() }
    }

    /// One that goes on after the whole MiB that these midstates stand for.
    pub fn resume(midstates: Vec<Midstate>) -> Self {
        let state = midstates.last().map_or(INITIAL, |state| state.0);
        let size = midstates.len() as u64 * CHUNK_BYTES;
        Self { state, block: [0; BLOCK_BYTES], size, midstates }
    }

    /// How many bytes it has seen.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next bytes, as many as there are.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let to_boundary = CHUNK_BYTES - self.size % CHUNK_BYTES;
            let take = usize::try_from(to_boundary).map_or(bytes.len(), |left| left.min(bytes.len()));
            let (now, later) = bytes.split_at(take);
            self.update_within_chunk(now);
            if self.size.is_multiple_of(CHUNK_BYTES) {
                self.midstates.push(Midstate(self.state));
            }
            bytes = later;
        }
    }

    fn update_within_chunk(&mut self, mut bytes: &[u8]) {
        let filled = (self.size % BLOCK_BYTES as u64) as usize;
        self.size += bytes.len() as u64;
        if filled > 0 {
            let (head, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - filled));
            let end = filled + head.len();
            self.block[filled..end].copy_from_slice(head);
            if end < BLOCK_BYTES {
                return;
            }
            compress256(&mut self.state, std::slice::from_ref(&self.block));
            bytes = rest;
        }
        let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        compress256(&mut self.state, blocks);
        self.block[..rest.len()].copy_from_slice(rest);
    }

    /// Ends the item.
    pub fn finish(self) -> ItemDigest {
        let tail = self.block.get(..(self.size % BLOCK_BYTES as u64) as usize).unwrap_or_default();
        let sha256 = finish(self.state, tail, self.size);
        ItemDigest { size: self.size, sha256, midstates: self.midstates }
    }
}

/// FIPS 180-4 §5.1.1: a one bit, zeros, the length in bits; then the last compressions.
fn finish(mut state: [u32; 8], tail: &[u8], size: u64) -> Hash {
    let mut last = [0_u8; 2 * BLOCK_BYTES];
    last[..tail.len()].copy_from_slice(tail);
    last[tail.len()] = 0x80;
    let end = if tail.len() < BLOCK_BYTES - 8 { BLOCK_BYTES } else { 2 * BLOCK_BYTES };
    last[end - 8..end].copy_from_slice(&size.wrapping_mul(8).to_be_bytes());
    compress256(&mut state, last[..end].as_chunks::<BLOCK_BYTES>().0);
    Hash::new(Midstate(state).to_bytes())
}

/// Why a chunk is not what the sealer committed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// The item has no such chunk, or its midstates are not as many as its whole MiB.
    #[error("the item has no chunk {chunk}")]
    Range {
        /// The chunk that was named.
        chunk: u64,
    },
    /// The chunk has another length.
    #[error("chunk {chunk} has {got} bytes, not {expected}")]
    Length {
        /// The chunk.
        chunk: u64,
        /// The bytes it must have.
        expected: u64,
        /// The bytes it has.
        got: u64,
    },
    /// The bytes are others.
    #[error("the bytes of chunk {chunk} are not those that were sealed")]
    Bytes {
        /// The chunk.
        chunk: u64,
    },
}

/// Proves one chunk of an item: the bytes lead from the midstate before it to the one after it or, in the tail, to the
/// item's SHA-256. The last whole MiB of an item without a tail must lead to both.
///
/// The midstates must have been checked against their sealed root. All chunks proven is the SHA-256 proven.
///
/// # Errors
/// [`ChunkError`], by what is wrong.
pub fn prove_chunk(
    size: u64,
    sha256: &Hash,
    midstates: &[Midstate],
    chunk: u64,
    bytes: &[u8],
) -> Result<(), ChunkError> {
    let whole = midstate_count(size);
    if chunk >= chunk_count(size) || midstates.len() as u64 != whole || size > limits::ITEM_BYTES {
        return Err(ChunkError::Range { chunk });
    }
    let expected = chunk_bytes(size, chunk);
    if bytes.len() as u64 != expected {
        return Err(ChunkError::Length { chunk, expected, got: bytes.len() as u64 });
    }
    let at = |place: u64| usize::try_from(place).ok().and_then(|place| midstates.get(place));
    let before = match chunk.checked_sub(1) {
        None => Midstate::INITIAL,
        Some(before) => *at(before).ok_or(ChunkError::Range { chunk })?,
    };
    let (blocks, tail) = bytes.as_chunks::<BLOCK_BYTES>();
    let mut state = before.0;
    compress256(&mut state, blocks);
    let leads_on = chunk == whole || at(chunk).is_some_and(|after| after.0 == state);
    let ends = (chunk + 1) * CHUNK_BYTES < size || finish(state, tail, size) == *sha256;
    if leads_on && ends { Ok(()) } else { Err(ChunkError::Bytes { chunk }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vectors() -> serde_json::Value {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/custodia-v1.json"));
        serde_json::from_str::<serde_json::Value>(text).unwrap()["midstates"].take()
    }

    fn bytes(size: usize) -> Vec<u8> {
        (0..size as u64).map(|i| (i.wrapping_mul(i).wrapping_add(i / 251)) as u8).collect()
    }

    fn digest(bytes: &[u8], piece: usize) -> ItemDigest {
        let mut hasher = ItemHasher::new();
        bytes.chunks(piece).for_each(|piece| hasher.update(piece));
        hasher.finish()
    }

    #[test]
    fn digests_and_midstates_of_the_vectors() {
        for (size, case) in vectors()["sizes"].as_object().unwrap() {
            let bytes = bytes(size.parse().unwrap());
            for piece in [1 << 20, 65_537, (1 << 20) + 1] {
                let digest = digest(&bytes, piece);
                assert_eq!(digest.sha256.to_string(), case["sha256"].as_str().unwrap(), "{size}");
                let states: Vec<String> =
                    digest.midstates.iter().map(|state| crate::text::to_hex(&state.to_bytes())).collect();
                assert_eq!(serde_json::json!(states), case["states"], "{size}");
                assert_eq!(midstates_root(&digest.midstates).to_string(), case["root"].as_str().unwrap(), "{size}");
            }
        }
    }

    #[test]
    fn each_chunk_proves_by_itself_and_a_changed_one_does_not() {
        for size in [1, 63, 64, 1 << 20, (1 << 20) + 1, 2 << 20, (2 << 20) + 524_293] {
            let mut bytes = bytes(size);
            let digest = digest(&bytes, 1 << 20);
            let prove =
                |chunk: u64, bytes: &[u8]| prove_chunk(digest.size, &digest.sha256, &digest.midstates, chunk, bytes);
            for (chunk, part) in bytes.clone().chunks(1 << 20).enumerate().rev() {
                prove(chunk as u64, part).unwrap();
                assert!(prove(chunk as u64, &part[1..]).is_err());
                assert!(prove(chunk as u64 + 1, part).is_err());
            }
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            let chunk = chunk_count(digest.size) - 1;
            let part = bytes.chunks(1 << 20).next_back().unwrap();
            assert_eq!(prove(chunk, part), Err(ChunkError::Bytes { chunk }));
        }
        assert_eq!(chunk_count(0), 0);
        assert!(prove_chunk(0, &Hash::of(&[]), &[], 0, &[]).is_err());
    }

    #[test]
    fn a_hasher_goes_on_from_midstates() {
        let bytes = bytes((2 << 20) + 77);
        let whole = digest(&bytes, 4096);
        let mut resumed = ItemHasher::resume(whole.midstates[..1].to_vec());
        resumed.update(&bytes[1 << 20..]);
        assert_eq!(resumed.finish(), whole);
        let printed = print_midstates(&whole.midstates);
        assert_eq!(parse_midstates(&printed, whole.size).unwrap(), whole.midstates);
        assert!(parse_midstates(&printed[1..], whole.size).is_err());
        assert!(parse_midstates(&printed, whole.size + CHUNK_BYTES).is_err());
    }

    proptest! {
        #[test]
        fn it_is_the_standard_sha256(bytes in prop::collection::vec(any::<u8>(), 0..400), piece in 1..70_usize) {
            prop_assert_eq!(digest(&bytes, piece).sha256, Hash::of(&bytes));
        }
    }
}
