//! The plan of a fetch against a model of the receiver: what is missing shrinks as batches arrive.

use std::collections::BTreeSet;

use custodia_exchange::fetch::{BATCHES_UNDER_WAY, Batch, Fetch, PAGE, RETRIES, Step};
use custodia_exchange::{CHUNK_BYTES, Cursor, Midstates, Wanted};
use proptest::prelude::*;

/// What a receiver lacks: chunks, and items whose midstates are not here.
struct Missing {
    sizes: Vec<u64>,
    chunks: BTreeSet<(u64, u64)>,
    midstates: BTreeSet<u64>,
}

impl Missing {
    fn all(sizes: &[u64]) -> Self {
        let chunks = sizes
            .iter()
            .enumerate()
            .flat_map(|(record, size)| (0..size.div_ceil(CHUNK_BYTES)).map(move |chunk| (record as u64, chunk)));
        let midstates =
            sizes.iter().enumerate().filter(|(_, size)| **size >= CHUNK_BYTES).map(|(record, _)| record as u64);
        Self { sizes: sizes.to_vec(), chunks: chunks.collect(), midstates: midstates.collect() }
    }

    fn list(&self, after: Cursor, limit: usize) -> Vec<Wanted> {
        let mut page: Vec<Wanted> = Vec::new();
        for &(record, chunk) in self.chunks.range((after.record, after.chunk)..) {
            let full = page.len() == limit;
            match page.last_mut() {
                Some(last) if last.record == record && last.first_chunk + last.count == chunk => last.count += 1,
                _ if full => break,
                _ => page.push(Wanted {
                    record,
                    size: self.sizes[record as usize],
                    first_chunk: chunk,
                    count: 1,
                    midstates: if self.midstates.contains(&record) { Midstates::Wanted } else { Midstates::Held },
                }),
            }
        }
        page
    }
}

/// Runs a plan to its end. `proves` says whether a chunk proves this time. Returns how often each chunk travelled.
fn run(missing: &mut Missing, mut proves: impl FnMut(u64, u64) -> bool) -> (Step, Vec<(u64, u64)>) {
    let mut plan = Fetch::new();
    let mut under_way: Vec<Batch> = Vec::new();
    let mut travelled = Vec::new();
    loop {
        match plan.step(usize::MAX) {
            Step::List(cursor) => {
                if let Some(end) = plan.listed(missing.list(cursor, PAGE.min(7))) {
                    assert!(under_way.is_empty());
                    return (end, travelled);
                }
            }
            Step::Ask(batch) => {
                assert!(!batch.pieces.is_empty() && under_way.len() < BATCHES_UNDER_WAY);
                for (range, piece) in batch.ranges().iter().zip(&batch.pieces) {
                    assert_eq!((range.record, u64::from(range.count)), (piece.record, piece.count));
                    for other in under_way.iter().flat_map(|batch| &batch.pieces) {
                        let apart = other.record != piece.record
                            || other.first_chunk + other.count <= piece.first_chunk
                            || piece.first_chunk + piece.count <= other.first_chunk;
                        assert!(apart, "{piece:?} and {other:?} are under way together");
                    }
                }
                under_way.push(batch);
            }
            Step::Wait => {
                // The batch that was asked for last arrives first: order must not matter.
                let batch = under_way.pop().expect("it waits for something");
                for piece in &batch.pieces {
                    if piece.midstates == Midstates::Wanted {
                        missing.midstates.remove(&piece.record);
                        plan.midstates_kept(piece.record);
                    }
                    for chunk in piece.first_chunk..piece.first_chunk + piece.count {
                        assert!(!missing.midstates.contains(&piece.record), "content before its midstates");
                        travelled.push((piece.record, chunk));
                        if proves(piece.record, chunk) {
                            missing.chunks.remove(&(piece.record, chunk));
                        }
                    }
                }
                plan.arrived();
            }
            end => return (end, travelled),
        }
    }
}

#[test]
fn everything_is_asked_for_once_and_midstates_come_first() {
    let sizes = [5, 300 * CHUNK_BYTES + 17, 1, CHUNK_BYTES, 40 * CHUNK_BYTES, 999];
    let mut missing = Missing::all(&sizes);
    let (end, mut travelled) = run(&mut missing, |_, _| true);
    assert_eq!(end, Step::Complete);
    let count = travelled.len();
    travelled.sort_unstable();
    travelled.dedup();
    assert_eq!((count, missing.chunks.len()), (travelled.len(), 0));
}

#[test]
fn nothing_missing_is_complete_at_once() {
    assert_eq!(run(&mut Missing::all(&[]), |_, _| true), (Step::Complete, Vec::new()));
}

#[test]
fn a_resumed_fetch_asks_only_for_what_is_missing() {
    let mut missing = Missing::all(&[100 * CHUNK_BYTES]);
    missing.chunks.retain(|(_, chunk)| *chunk >= 50);
    missing.midstates.clear();
    let (end, travelled) = run(&mut missing, |_, _| true);
    assert_eq!((end, travelled.len()), (Step::Complete, 50));
}

#[test]
fn a_chunk_that_never_proves_ends_the_transfer_and_costs_only_itself() {
    let mut missing = Missing::all(&[10 * CHUNK_BYTES, 10]);
    let (end, travelled) = run(&mut missing, |record, chunk| (record, chunk) != (0, 4));
    assert!(matches!(end, Step::GiveUp(Wanted { record: 0, first_chunk: 4, .. })), "{end:?}");
    assert_eq!(travelled.len(), 11 + RETRIES as usize);
}

#[test]
fn bytes_of_a_range_end_with_the_item() {
    let wanted =
        Wanted { record: 0, size: 2 * CHUNK_BYTES + 5, first_chunk: 1, count: 2, midstates: Midstates::Wanted };
    assert_eq!((wanted.bytes(), wanted.midstates_bytes()), (CHUNK_BYTES + 5, 64));
    assert_eq!([wanted.chunk_bytes(0), wanted.chunk_bytes(2), wanted.chunk_bytes(3)], [CHUNK_BYTES, 5, 0]);
}

proptest! {
    #[test]
    fn any_sizes_and_any_two_failures_end_complete(
        sizes in prop::collection::vec(
            prop_oneof![4 => 1u64..200_000, 2 => 1u64..(4 * CHUNK_BYTES), 1 => 1u64..(200 * CHUNK_BYTES)], 0..40,
        ),
        unlucky in 1u64..40,
    ) {
        let mut missing = Missing::all(&sizes);
        let mut failures = std::collections::HashMap::new();
        let (end, _) = run(&mut missing, |record, chunk| {
            let times: &mut u32 = failures.entry((record, chunk)).or_default();
            *times += 1;
            (record * 31 + chunk) % unlucky != 1 || *times > 2
        });
        prop_assert_eq!(end, Step::Complete);
        prop_assert!(missing.chunks.is_empty());
    }
}
