//! Which chunks are here: one bit each in memory, and the file `have` that says so after a crash.
//!
//! The file is ours alone and never travels:
//!
//! ```text
//! custodia-have v1
//! plan <64 hex: digest of what the transfer brings>
//! chunks <decimal>
//! <one bit per chunk, the lowest bit of each byte first; the last byte is filled with zeros>
//! <32 bytes: SHA-256 of everything before>
//! ```
//!
//! One that is torn, damaged or written for another transfer says that nothing is here: bytes then travel again, and
//! nothing unproven is ever taken for proven. It is written after the bytes that it speaks of were synced.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use custodia_disk::File;
use custodia_format::Hash;

use crate::storage::{StorageError, sync_folder};

/// One bit for each chunk of a transfer. Threads set them without waiting for each other.
#[derive(Debug)]
pub(super) struct Bits {
    words: Vec<AtomicU64>,
    count: u64,
}

impl Bits {
    pub(super) fn new(count: u64) -> Self {
        Self { words: (0..count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(), count }
    }

    fn word(&self, bit: u64) -> Option<&AtomicU64> {
        usize::try_from(bit / 64).ok().and_then(|place| self.words.get(place))
    }

    pub(super) fn is_set(&self, bit: u64) -> bool {
        self.word(bit).is_some_and(|word| word.load(Ordering::Acquire) >> (bit % 64) & 1 == 1)
    }

    /// Sets a bit; whether it was unset before. What was written before this is seen by whoever sees the bit.
    pub(super) fn set(&self, bit: u64) -> bool {
        let mask = 1 << (bit % 64);
        self.word(bit).is_some_and(|word| word.fetch_or(mask, Ordering::AcqRel) & mask == 0)
    }

    pub(super) fn clear(&self, first: u64, end: u64) {
        for bit in first..end.min(self.count) {
            if let Some(word) = self.word(bit) {
                word.fetch_and(!(1 << (bit % 64)), Ordering::AcqRel);
            }
        }
    }

    /// The first bit from `from` to before `end` that is (not) set.
    pub(super) fn next(&self, wanted: bool, from: u64, end: u64) -> Option<u64> {
        let mut bit = from;
        while bit < end {
            let word = self.word(bit)?.load(Ordering::Acquire);
            let matching = (if wanted { word } else { !word }) >> (bit % 64);
            if matching != 0 {
                let found = bit + u64::from(matching.trailing_zeros());
                return (found < end).then_some(found);
            }
            bit = (bit / 64 + 1) * 64;
        }
        None
    }

    /// How many are set from `from` to before `end`.
    pub(super) fn count(&self, from: u64, end: u64) -> u64 {
        let mut count = 0;
        let mut bit = from;
        while bit < end {
            let stop = ((bit / 64 + 1) * 64).min(end);
            let mask = (u64::MAX >> (64 - (stop - bit))) << (bit % 64);
            let word = self.word(bit).map_or(0, |word| word.load(Ordering::Acquire));
            count += u64::from((word & mask).count_ones());
            bit = stop;
        }
        count
    }

    /// All bits as they are now.
    pub(super) fn snapshot(&self) -> Vec<u64> {
        self.words.iter().map(|word| word.load(Ordering::Acquire)).collect()
    }

    /// Sets what is set in a snapshot.
    pub(super) fn add(&self, snapshot: &[u64]) {
        for (word, more) in self.words.iter().zip(snapshot) {
            word.fetch_or(*more, Ordering::AcqRel);
        }
    }
}

const HEADER: &str = "custodia-have v1\n";

fn print(plan: &Hash, chunks: u64, snapshot: &[u64]) -> Vec<u8> {
    let mut bytes = format!("{HEADER}plan {plan}\nchunks {chunks}\n").into_bytes();
    let map = snapshot.iter().flat_map(|word| word.to_le_bytes());
    bytes.extend(map.take(usize::try_from(chunks.div_ceil(8)).unwrap_or(usize::MAX)));
    bytes.extend_from_slice(Hash::of(&bytes).as_bytes());
    bytes
}

fn parse(bytes: &[u8], plan: &Hash, chunks: u64) -> Option<Vec<u64>> {
    let (said, digest) = bytes.split_last_chunk::<32>()?;
    let map = said.strip_prefix(format!("{HEADER}plan {plan}\nchunks {chunks}\n").as_bytes())?;
    if Hash::of(said).as_bytes() != digest || map.len() as u64 != chunks.div_ceil(8) {
        return None;
    }
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let words: Vec<u64> = map.chunks(8).map(word).collect();
    // Bits beyond the last chunk would be chunks that do not exist.
    let beyond = words.last().map_or(0, |last| if chunks.is_multiple_of(64) { 0 } else { last >> (chunks % 64) });
    (beyond == 0).then_some(words)
}

/// What the file in this folder says, if it speaks of this plan and is whole.
pub(super) fn read(folder: &Path, plan: &Hash, chunks: u64) -> Result<Option<Vec<u64>>, StorageError> {
    let path = folder.join("have");
    match fs::read(&path) {
        Ok(bytes) => Ok(parse(&bytes, plan, chunks)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::at(&path, error)),
    }
}

/// Replaces the file, durably. The bytes that it speaks of are durable already.
pub(super) fn write(folder: &Path, plan: &Hash, chunks: u64, snapshot: &[u64]) -> Result<(), StorageError> {
    let (new, path) = (folder.join("have.new"), folder.join("have"));
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(&print(plan, chunks, snapshot))?;
        file.sync_all()
    });
    written.map_err(|error| StorageError::at(&new, error))?;
    // The commit point: from here on these chunks never travel again.
    custodia_disk::rename(&new, &path).map_err(|error| StorageError::at(&path, error))?;
    sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_found_and_counted() {
        let bits = Bits::new(200);
        for bit in [0, 63, 64, 130, 199] {
            assert!(bits.set(bit));
            assert!(!bits.set(bit));
        }
        assert_eq!((bits.count(0, 200), bits.count(1, 64), bits.count(64, 131), bits.count(131, 199)), (5, 1, 2, 0));
        assert_eq!(
            (bits.next(true, 1, 200), bits.next(true, 65, 130), bits.next(true, 131, 200)),
            (Some(63), None, Some(199))
        );
        assert_eq!(
            (bits.next(false, 0, 200), bits.next(false, 63, 66), bits.next(false, 199, 200)),
            (Some(1), Some(65), None)
        );
        bits.clear(60, 131);
        assert_eq!(bits.count(0, 200), 2);
        assert!(!bits.set(1000), "there is no such bit");
    }

    #[test]
    fn every_single_flipped_bit_and_every_cut_is_noticed() {
        let plan = Hash::of(b"plan");
        let words = vec![0x8000_0000_0000_0001, 0b101];
        let bytes = print(&plan, 67, &words);
        assert_eq!(parse(&bytes, &plan, 67), Some(words));
        assert_eq!(parse(&bytes, &Hash::of(b"other"), 67), None);
        assert_eq!(parse(&bytes, &plan, 68), None);
        for place in 0..bytes.len() {
            assert_eq!(parse(&bytes[..place], &plan, 67), None);
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[place] ^= 1 << bit;
                assert_eq!(parse(&flipped, &plan, 67), None);
            }
        }
        assert_eq!(parse(&print(&plan, 3, &[0b1000]), &plan, 3), None, "a fourth chunk of three");
    }
}
