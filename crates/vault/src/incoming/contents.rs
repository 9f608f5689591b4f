//! What a transfer brings: its records, and the distinct contents behind them. Two records of one digest share its bytes.

use custodia_format::midstate::{ItemHasher, chunk_count, midstate_count};
use custodia_format::{Hash, limits};

/// Chunks of one transfer: 256 TiB. Two bits are kept in memory for each.
const CHUNKS: u64 = 1 << 28;

/// What the manifest says of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemPlan {
    /// Its record number.
    pub record: u64,
    /// Bytes.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: Hash,
    /// The root over its midstates.
    pub midstates: Hash,
}

/// One distinct content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Content {
    pub(super) sha256: Hash,
    pub(super) midstates: Hash,
    pub(super) size: u64,
    /// The place of its first chunk among all chunks of the transfer.
    pub(super) first_bit: u64,
}

impl Content {
    pub(super) const fn chunks(&self) -> u64 {
        chunk_count(self.size)
    }

    pub(super) const fn has_midstates(&self) -> bool {
        midstate_count(self.size) > 0
    }
}

/// All contents of a transfer, numbered in the order in which records first name them.
#[derive(Debug)]
pub(super) struct Contents {
    /// By record number.
    records: Vec<Entry>,
    contents: Vec<Content>,
    chunks: u64,
    digest: Hash,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    record: u64,
    content: u32,
    role: Role,
}

/// A content travels under the first record that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    First,
    Again,
}

impl Contents {
    pub(super) fn new(mut items: Vec<ItemPlan>) -> Result<Self, PlanError> {
        if items.len() as u64 > limits::RECORDS {
            return Err(PlanError::TooMany { count: items.len() as u64 });
        }
        items.sort_by_key(|item| item.record);
        let firsts = firsts(&items);
        let mut records: Vec<Entry> = Vec::with_capacity(items.len());
        let mut contents: Vec<Content> = Vec::new();
        let mut chunks = 0_u64;
        let mut hasher = ItemHasher::new();
        for (item, first) in items.iter().zip(firsts) {
            let ItemPlan { record, size, sha256, midstates } = *item;
            if records.last().is_some_and(|before| before.record == record) {
                return Err(PlanError::TwoPlans { record });
            }
            check(item)?;
            // An earlier record with this digest already has its entry.
            if let Some(&Entry { record: other, content, .. }) = records.get(first as usize) {
                let same = contents.get(content as usize).map(|it| (it.size, it.midstates));
                if same != Some((size, midstates)) {
                    return Err(PlanError::Contradiction { record, other });
                }
                records.push(Entry { record, content, role: Role::Again });
                continue;
            }
            // At most a million, as checked above.
            records.push(Entry { record, content: contents.len() as u32, role: Role::First });
            contents.push(Content { sha256, midstates, size, first_bit: chunks });
            chunks = chunks.saturating_add(chunk_count(size));
            for part in [&record.to_be_bytes()[..], &size.to_be_bytes(), sha256.as_bytes(), midstates.as_bytes()] {
                hasher.update(part);
            }
        }
        if chunks > CHUNKS {
            return Err(PlanError::TooLarge { chunks });
        }
        contents.shrink_to_fit();
        Ok(Self { records, contents, chunks, digest: hasher.finish().sha256 })
    }

    /// Records.
    pub(super) fn records(&self) -> u64 {
        self.records.len() as u64
    }

    /// Chunks of all contents.
    pub(super) fn chunks(&self) -> u64 {
        self.chunks
    }

    /// What all of this is: a `have` that was written for anything else says nothing here.
    pub(super) fn digest(&self) -> &Hash {
        &self.digest
    }

    pub(super) fn count(&self) -> usize {
        self.contents.len()
    }

    pub(super) fn get(&self, content: u32) -> Option<&Content> {
        self.contents.get(content as usize)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Content)> {
        (0_u32..).zip(&self.contents)
    }

    /// The content that a record names.
    pub(super) fn of_record(&self, record: u64) -> Option<(u32, &Content)> {
        let place = self.records.binary_search_by_key(&record, |entry| entry.record).ok()?;
        let content = self.records.get(place)?.content;
        Some((content, self.get(content)?))
    }

    /// From a record number on: each record that is the first to name a content.
    pub(super) fn first_records(&self, from: u64) -> impl Iterator<Item = (u64, u32, &Content)> {
        let start = self.records.partition_point(|entry| entry.record < from);
        let entries = self.records.get(start..).unwrap_or_default().iter().filter(|entry| entry.role == Role::First);
        entries.filter_map(|entry| Some((entry.record, entry.content, self.get(entry.content)?)))
    }
}

/// For each item the place of the first one with the same digest, perhaps its own.
fn firsts(items: &[ItemPlan]) -> Vec<u32> {
    // Places and no map: a million items must not take ten times their own room, even for a moment.
    let sha256 = |place: u32| items.get(place as usize).map(|item| item.sha256);
    let mut places: Vec<u32> = (0..items.len() as u32).collect();
    places.sort_by_key(|place| (sha256(*place), *place));
    let mut firsts = vec![0; items.len()];
    for same in places.chunk_by(|one, other| sha256(*one) == sha256(*other)) {
        for place in same {
            if let (Some(slot), Some(first)) = (firsts.get_mut(*place as usize), same.first()) {
                *slot = *first;
            }
        }
    }
    firsts
}

/// Refuses an item that no bytes can fulfil.
fn check(item: &ItemPlan) -> Result<(), PlanError> {
    let nothing = Hash::of(&[]);
    let impossible = item.size > limits::ITEM_BYTES
        || (midstate_count(item.size) == 0 && item.midstates != nothing)
        || (item.size == 0) != (item.sha256 == nothing);
    if impossible { Err(PlanError::Impossible { record: item.record }) } else { Ok(()) }
}

/// Why a transfer cannot begin with what it is told to bring.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The caller could not say what there is to bring.
    #[error("{0}")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// More items than a package has records.
    #[error("{count} items; a package has at most {} records", limits::RECORDS)]
    TooMany {
        /// How many.
        count: u64,
    },
    /// More bytes than one transfer may bring.
    #[error("{chunks} MiB; a transfer brings at most {CHUNKS}")]
    TooLarge {
        /// Chunks of all contents.
        chunks: u64,
    },
    /// Two items under one record number.
    #[error("record {record} is named twice")]
    TwoPlans {
        /// The record.
        record: u64,
    },
    /// Two records agree in the digest and differ in size or midstates: the sealer's fault.
    #[error("records {other} and {record} have one SHA-256, but not one size or one root of midstates")]
    Contradiction {
        /// The record.
        record: u64,
        /// An earlier one.
        other: u64,
    },
    /// No bytes can have this size, digest and root of midstates: the sealer's fault.
    #[error("record {record} describes no item that can exist")]
    Impossible {
        /// The record.
        record: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(record: u64, size: u64, fill: u8) -> ItemPlan {
        let midstates = if midstate_count(size) == 0 { Hash::of(&[]) } else { Hash::new([fill ^ 1; 32]) };
        ItemPlan { record, size, sha256: Hash::new([fill; 32]), midstates }
    }

    #[test]
    fn records_of_one_digest_share_a_content() {
        let contents = Contents::new(vec![plan(9, 5, 1), plan(2, 5, 1), plan(4, 3 << 20, 2)]).unwrap();
        assert_eq!((contents.records(), contents.count(), contents.chunks()), (3, 2, 4));
        assert_eq!(contents.of_record(9).unwrap().0, contents.of_record(2).unwrap().0);
        assert!(contents.of_record(3).is_none());
        let firsts = |from| contents.first_records(from).map(|(record, ..)| record).collect::<Vec<_>>();
        assert_eq!((firsts(0), firsts(3), firsts(5)), (vec![2, 4], vec![4], vec![]));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |items: &[ItemPlan]| Contents::new(items.to_vec()).unwrap_err();
        assert!(matches!(refused(&[plan(1, 5, 1), plan(1, 6, 2)]), PlanError::TwoPlans { record: 1 }));
        assert!(matches!(refused(&[plan(1, 5, 1), plan(2, 6, 1)]), PlanError::Contradiction { record: 2, other: 1 }));
        assert!(matches!(refused(&[plan(1, 0, 1)]), PlanError::Impossible { record: 1 }));
        assert!(matches!(refused(&[plan(1, limits::ITEM_BYTES + 1, 1)]), PlanError::Impossible { .. }));
        let midstates = Hash::new([7; 32]);
        assert!(matches!(refused(&[ItemPlan { midstates, ..plan(1, 5, 1) }]), PlanError::Impossible { .. }));
        let much: Vec<ItemPlan> = (0..20).map(|n| plan(n, limits::ITEM_BYTES, n as u8)).collect();
        assert!(matches!(refused(&much), PlanError::TooLarge { .. }));
    }

    #[test]
    fn an_entry_stays_small() {
        assert!(size_of::<Entry>() + size_of::<Content>() <= 104);
    }
}
