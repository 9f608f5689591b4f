//! A segment: the records of the documents of one complete subtree, sorted, in a file that checks itself.
//!
//! The file is pages of 4096 bytes, each up to 338 records of 12 bytes (the first 8 bytes of the SHA-256, the offset in
//! the subtree as u32be), zeros, and the SHA-256 of all that at the page's end; then the first 8 bytes of each
//! page's first record; then a footer of one line of text. Nothing in it is believed unless its digest fits.

use custodia_format::Hash;
use custodia_format::text::decimal;
use custodia_merkle::Position;

use crate::places::FOLDER;
use crate::storage::{Storage, StorageError};

/// Bytes of a page: what a disk reads at once.
const PAGE: usize = 4096;
/// Bytes of a record.
const RECORD: usize = 12;
/// Records of a full page: what its digest leaves room for.
const RECORDS: usize = (PAGE - 32) / RECORD;
/// Bytes of the footer: its line and spaces.
const FOOTER: usize = 256;
/// Pages that are read at once by a merge.
const STRIDE: usize = 64;

/// A segment cannot be read as it must be, or not be written. What it is made from tells more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failed;

impl From<StorageError> for Failed {
    fn from(_: StorageError) -> Self {
        Self
    }
}

/// One document: by its key first, so that records sort by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Record {
    key: u64,
    offset: u32,
}

impl Record {
    pub(crate) fn of(digest: &Hash, offset: u32) -> Self {
        Self { key: key(digest), offset }
    }

    /// The same document in a subtree that begins so many entries earlier.
    pub(crate) const fn shifted(self, by: u32) -> Self {
        Self { key: self.key, offset: self.offset + by }
    }

    fn read(bytes: &[u8; RECORD]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *bytes;
        Self { key: u64::from_be_bytes([a, b, c, d, e, f, g, h]), offset: u32::from_be_bytes([i, j, k, l]) }
    }
}

fn key(digest: &Hash) -> u64 {
    digest.as_bytes().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// An open segment. Its pages are read when they are asked for.
#[derive(Debug)]
pub(crate) struct Segment {
    at: Position,
    /// How many records it has: one for each leaf.
    count: u64,
    /// The key of each page's first record.
    fences: Vec<u64>,
    /// All pages, of a segment that could not be written.
    pages: Option<Vec<u8>>,
}

/// Where the segment of a subtree stands.
pub(crate) fn path(at: Position) -> String {
    format!("{FOLDER}/{}/{}", at.level, at.index)
}

/// Reads what [`path`] printed.
pub(crate) fn parse_path(text: &str) -> Option<Position> {
    let (level, index) = text.strip_prefix(FOLDER)?.strip_prefix('/')?.split_once('/')?;
    let at = Position { level: u8::try_from(decimal(level)?).ok()?, index: decimal(index)? };
    (path(at) == text).then_some(at)
}

/// The footer, over the digest of the fences: what the segment is of.
fn footer(at: Position, subtree: &Hash, pages: u64, fences: &[u8]) -> Vec<u8> {
    let line = format!("custodia/places/v1 {} {} {subtree} {pages} {}", at.level, at.index, Hash::of(fences));
    format!("{line:<width$}\n", width = FOOTER - 1).into_bytes()
}

fn page(records: &[Record]) -> Vec<u8> {
    let mut page = Vec::with_capacity(PAGE);
    for record in records {
        page.extend_from_slice(&record.key.to_be_bytes());
        page.extend_from_slice(&record.offset.to_be_bytes());
    }
    page.resize(PAGE - 32, 0);
    let digest = Hash::of(&page);
    page.extend_from_slice(digest.as_bytes());
    page
}

fn pages_of(count: u64) -> u64 {
    count.div_ceil(RECORDS as u64)
}

impl Segment {
    pub(crate) const fn at(&self) -> Position {
        self.at
    }

    pub(crate) const fn first(&self) -> u64 {
        self.at.index << self.at.level
    }

    pub(crate) const fn end(&self) -> u64 {
        self.first() + (1 << self.at.level)
    }

    /// Opens the file of so many bytes, if it is whole and of this subtree.
    pub(crate) fn load(storage: &dyn Storage, at: Position, bytes: u64, subtree: &Hash) -> Result<Self, Failed> {
        let count = 1_u64 << at.level;
        let pages = pages_of(count);
        let (fences_at, fence_bytes) = (pages * PAGE as u64, pages * 8);
        if bytes != fences_at + fence_bytes + FOOTER as u64 {
            return Err(Failed);
        }
        let tail = storage.read_part(&path(at), fences_at, fence_bytes as usize + FOOTER)?;
        let (fences, found) = tail.split_at_checked(fence_bytes as usize).ok_or(Failed)?;
        if found != footer(at, subtree, pages, fences) {
            return Err(Failed);
        }
        let fences = fences.as_chunks::<8>().0.iter().map(|fence| u64::from_be_bytes(*fence)).collect();
        Ok(Self { at, count, fences, pages: None })
    }

    /// Writes a segment out of sorted records, one for each leaf of its subtree. It appears whole or not at all.
    pub(crate) fn write(
        storage: &dyn Storage,
        at: Position,
        subtree: Hash,
        records: &mut dyn Iterator<Item = Result<Record, Failed>>,
    ) -> Result<Self, Failed> {
        let (mut fences, mut count, mut ended) = (Vec::new(), 0_u64, false);
        let failed = |why: &str| StorageError::Unknown { operation: "merge", path: path(at), why: why.to_owned() };
        storage.put_parts(&path(at), &mut || {
            if ended {
                return Ok(None);
            }
            let mut part = Vec::with_capacity(STRIDE * PAGE);
            while part.len() < STRIDE * PAGE {
                let filled: Result<Vec<Record>, Failed> = (&mut *records).take(RECORDS).collect();
                let filled = filled.map_err(|_| failed("a record could not be read"))?;
                let Some(first) = filled.first() else { break };
                fences.push(first.key);
                count += filled.len() as u64;
                part.extend(page(&filled));
            }
            if part.len() == STRIDE * PAGE {
                return Ok(Some(part));
            }
            if count != 1 << at.level {
                return Err(failed("it has not one record for each leaf"));
            }
            ended = true;
            let fence_bytes: Vec<u8> = fences.iter().flat_map(|fence| fence.to_be_bytes()).collect();
            part.extend(&fence_bytes);
            part.extend(footer(at, &subtree, fences.len() as u64, &fence_bytes));
            Ok(Some(part))
        })?;
        Ok(Self { at, count, fences, pages: None })
    }

    /// A segment that is in no file, of as many records as there are.
    pub(crate) fn in_memory(at: Position, records: &[Record]) -> Self {
        let pages = records.chunks(RECORDS);
        let fences = pages.clone().filter_map(|page| page.first()).map(|first| first.key).collect();
        Self { at, count: records.len() as u64, fences, pages: Some(pages.flat_map(page).collect()) }
    }

    /// The offsets of all documents whose digest begins like this one.
    pub(crate) fn find(&self, storage: &dyn Storage, digest: &Hash) -> Result<Vec<u32>, Failed> {
        let key = key(digest);
        // The run of a key may begin in the page before the first that begins with it.
        let mut page = self.fences.partition_point(|fence| *fence < key).saturating_sub(1);
        let mut found = Vec::new();
        while self.fences.get(page).is_some_and(|fence| *fence <= key) {
            let bytes = self.read(storage, page, 1)?;
            let records = self.records_of(page, &bytes)?;
            let first = records.partition_point(|record| Record::read(record).key < key);
            let run = records.iter().skip(first).map(Record::read).take_while(|record| record.key == key);
            found.extend(run.map(|record| record.offset));
            page += 1;
        }
        Ok(found)
    }

    fn read(&self, storage: &dyn Storage, page: usize, pages: usize) -> Result<Vec<u8>, Failed> {
        let (first, bytes) = (page * PAGE, pages.min(self.fences.len() - page) * PAGE);
        match &self.pages {
            Some(all) => all.get(first..first + bytes).map(<[u8]>::to_vec).ok_or(Failed),
            None => Ok(storage.read_part(&path(self.at), first as u64, bytes)?),
        }
    }

    /// The records of a page, if it is the one that was written there.
    fn records_of<'a>(&self, page: usize, bytes: &'a [u8]) -> Result<&'a [[u8; RECORD]], Failed> {
        let (records, digest) = bytes.split_at_checked(PAGE - 32).ok_or(Failed)?;
        let count = (self.count as usize - page * RECORDS).min(RECORDS);
        let (records, _) = records.as_chunks::<RECORD>();
        let records = records.get(..count).ok_or(Failed)?;
        let first = records.first().map(|first| Record::read(first).key);
        let whole = Hash::of(bytes.get(..PAGE - 32).ok_or(Failed)?).as_bytes().as_slice() == digest;
        if whole && first == self.fences.get(page).copied() { Ok(records) } else { Err(Failed) }
    }

    /// All records in their order.
    pub(crate) fn records<'a>(&'a self, storage: &'a dyn Storage) -> impl Iterator<Item = Result<Record, Failed>> + 'a {
        let strides = (0..self.fences.len()).step_by(STRIDE);
        strides.flat_map(move |first| {
            let read = || {
                let bytes = self.read(storage, first, STRIDE)?;
                let mut records = Vec::with_capacity(STRIDE * RECORDS);
                for (page, bytes) in (first..).zip(bytes.chunks(PAGE)) {
                    records.extend(self.records_of(page, bytes)?.iter().map(Record::read));
                }
                Ok(records)
            };
            match read() {
                Ok(records) => records.into_iter().map(Ok).collect::<Vec<_>>(),
                Err(failed) => vec![Err(failed)],
            }
        })
    }
}
