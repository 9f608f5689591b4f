//! Every storage call of a ledger's life fails in every way; then it is opened again, and nothing that was said before
//! is untrue.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::collections::BTreeMap;

use custodia_format::Hash;
use custodia_format::checkpoint::Checkpoint;
use custodia_format::entry::Entry;
use custodia_ledger::{AppendError, Depth, Document, Health, Ledger, OpenError, Shelf, fsck};
use support::{
    Applied, CHECKPOINT, Disk, Fault, JOURNAL, POISONED, checkpoint, create, digest, document, documents, open,
    records, try_create, vkey,
};

const FAULTS: [Fault; 10] = [
    Fault::Crash(Applied::Nothing),
    Fault::Crash(Applied::Half(0)),
    Fault::Crash(Applied::Half(1)),
    Fault::Crash(Applied::All),
    Fault::Full,
    Fault::Unknown(Applied::Nothing),
    Fault::Unknown(Applied::Half(0)),
    Fault::Unknown(Applied::Half(1)),
    Fault::Unknown(Applied::All),
    Fault::UnknownApplied,
];

/// Documents of the whole workload.
const ALL: u64 = 305;

/// One, three, two of those and a new one with itself beside it, one of those, and three hundred over a tile's edge, of
/// which the first ones come by themselves: some are written out while others wait.
fn workload() -> Vec<Vec<Document>> {
    let twice = [documents(2..5), documents(3..5)].concat();
    let mut groups = vec![documents(0..1), documents(1..4), twice, documents(0..1)];
    groups.extend((5..12).map(|n| documents(n..n + 1)));
    groups.push(documents(12..ALL));
    groups
}

/// What callers and readers were told.
#[derive(Debug, Clone, Default)]
struct Told {
    indexes: BTreeMap<Hash, u64>,
    roots: BTreeMap<u64, Hash>,
    newest: u64,
}

impl Told {
    fn appended(&mut self, ledger: &Ledger, documents: &[Document]) {
        let appended = ledger.append(documents.to_vec()).unwrap();
        self.answered(ledger, documents, &appended.iter().map(|one| (one.digest, one.index)).collect::<Vec<_>>());
    }

    fn answered(&mut self, ledger: &Ledger, documents: &[Document], appended: &[(Hash, u64)]) {
        assert_eq!(
            appended.iter().map(|(digest, _)| *digest).collect::<Vec<_>>(),
            documents.iter().map(digest).collect::<Vec<_>>()
        );
        for (digest, index) in appended {
            assert_eq!(self.indexes.entry(*digest).or_insert(*index), index);
        }
        self.checkpoint(ledger.checkpoint().checkpoint());
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        assert_eq!(
            self.roots.entry(checkpoint.size).or_insert(checkpoint.root),
            &checkpoint.root,
            "two roots of one size"
        );
        self.newest = self.newest.max(checkpoint.size);
    }

    /// All that was said is true of this ledger, and of what was ever public.
    fn holds_in(&mut self, ledger: &Ledger, disk: &Disk) {
        disk.published().iter().for_each(|note| self.checkpoint(&checkpoint(note)));
        let now = ledger.checkpoint().checkpoint().clone();
        assert!(now.size >= self.newest, "{} after {}", now.size, self.newest);
        self.checkpoint(&now);
        for (size, root) in &self.roots {
            assert_eq!(ledger.root(*size).unwrap(), *root, "the tree of {size} is another one");
            if *size > 0 {
                ledger.consistency(*size, now.size).unwrap();
            }
        }
        let entries: Vec<Entry> =
            (0..now.size.div_ceil(256)).flat_map(|bundle| ledger.bundle(bundle).unwrap()).collect();
        for (digest, index) in &self.indexes {
            assert_eq!(ledger.index_of_digest(digest), Some(*index));
            assert_eq!(entries[*index as usize].sha256, *digest);
            let kept = [Shelf::Statement, Shelf::Anchor].map(|shelf| ledger.document(shelf, digest).unwrap());
            assert_eq!(kept.iter().flatten().count(), 1, "entry {index} has lost its document");
        }
    }
}

/// The size of the newest record of the journal.
fn committed(disk: &Disk) -> Option<u64> {
    Some(records(&disk.file(JOURNAL)?).last()?.0)
}

/// Runs the workload until a call fails with doubt.
fn live(disk: &Disk, told: &mut Told) {
    let ledger = match try_create(disk) {
        Ok(ledger) => ledger,
        Err(error) => return assert!(matches!(error, OpenError::Create { .. } | OpenError::Storage(_)), "{error}"),
    };
    told.checkpoint(ledger.checkpoint().checkpoint());
    for group in workload() {
        match ledger.append(group.clone()) {
            Ok(appended) => {
                told.answered(&ledger, &group, &appended.iter().map(|one| (one.digest, one.index)).collect::<Vec<_>>())
            }
            Err(AppendError::Full { .. }) => {
                nothing_was_stored(disk, told, &group);
                assert_eq!(ledger.health(), Health::Signing);
                told.appended(&ledger, &group);
            }
            // Refused when it was what had been answered before that could not be written out.
            Err(AppendError::Unknown { .. } | AppendError::Refused { .. }) => {
                return nothing_more_is_signed(&ledger, disk, told);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// After "full": no start finds any of it.
fn nothing_was_stored(disk: &Disk, told: &Told, group: &[Document]) {
    for cut in [false, true] {
        let disk = disk.copy();
        if cut {
            disk.power_cut();
        }
        let ledger = open(&disk).unwrap();
        assert_eq!(ledger.health(), Health::Signing);
        for digest in group.iter().map(digest) {
            assert_eq!(ledger.index_of_digest(&digest), told.indexes.get(&digest).copied());
        }
    }
}

/// After an error with doubt: what is in the ledger is still answered, nothing new is taken.
fn nothing_more_is_signed(ledger: &Ledger, disk: &Disk, told: &mut Told) {
    assert!(matches!(ledger.health(), Health::Poisoned { .. }));
    let before = (disk.file(JOURNAL), disk.file(CHECKPOINT), ledger.checkpoint());
    assert!(matches!(ledger.append(documents(900..902)), Err(AppendError::Refused { .. })));
    if told.indexes.contains_key(&digest(&document(0))) {
        told.appended(ledger, &documents(0..1));
    }
    if !disk.is_down() {
        told.checkpoint(ledger.checkpoint().checkpoint());
        assert!(ledger.root(ledger.size()).is_ok());
    }
    assert_eq!((disk.file(JOURNAL), disk.file(CHECKPOINT), ledger.checkpoint()), before);
}

/// The next start: everything holds.
fn start_again(disk: &Disk, told: &mut Told) {
    // A mirror that reads meanwhile finds all that the public checkpoint covers.
    if disk.file(CHECKPOINT).is_some() {
        let report = fsck(disk, &vkey(), Depth::Published, &mut |_| {});
        assert!(report.is_sound(), "{:?}", report.findings);
    }
    let before = committed(disk);
    let ledger = match open(disk) {
        Err(OpenError::NoLedger) => {
            assert_eq!((before, told.newest), (None, 0));
            create(disk)
        }
        opened => opened.unwrap(),
    };
    assert_eq!(ledger.health(), Health::Signing);
    told.holds_in(&ledger, disk);
    assert_eq!(disk.file(POISONED), None);
    assert_eq!(ledger.size(), before.unwrap_or(0), "what the journal holds, and nothing else");
    assert_eq!(disk.file(CHECKPOINT).unwrap(), ledger.checkpoint().note().print().as_bytes());
    assert_eq!(records(&disk.file(JOURNAL).unwrap()).len(), 1, "what is written out is gone from it");
    // All or none of a caller's documents.
    for group in [documents(1..4), documents(12..ALL)] {
        let there: Vec<bool> = group.iter().map(|one| ledger.index_of_digest(&digest(one)).is_some()).collect();
        assert!(there.iter().all(|one| *one == there[0]), "{there:?}");
    }
    // The order of the caller.
    let indexes: Vec<u64> = documents(0..ALL).iter().filter_map(|one| ledger.index_of_digest(&digest(one))).collect();
    assert!(indexes.is_sorted(), "{indexes:?}");

    let size = ledger.size();
    assert_eq!(ledger.append(documents(1000..1001)).unwrap()[0].index, size);
    workload().iter().for_each(|group| told.appended(&ledger, group));
    assert_eq!(ledger.size(), ALL + 1);
    drop(ledger);
    // All of it is on the disk, not in the cache alone.
    disk.power_cut();
    let ledger = open(disk).unwrap();
    told.holds_in(&ledger, disk);
    let report = ledger.fsck(Depth::Home, &mut |_| {});
    assert_eq!((report.entries, report.is_sound()), (ALL + 1, true), "{:?}", report.findings);
}

fn calls_of_a_life() -> Vec<String> {
    let (disk, mut told) = (Disk::default(), Told::default());
    live(&disk, &mut told);
    assert_eq!(told.newest, ALL);
    let calls = disk.calls();
    let count = |start: &str| calls.iter().filter(|call| call.starts_with(start)).count();
    // Some of it was written out while it lived, and the journal begun anew, not only at its end.
    assert!(count("extend") == 11 && count("put ledger/checkpoint") > 3 && count("put state/journal") > 1, "{calls:?}");
    calls
}

#[test]
fn whatever_call_fails_nothing_said_becomes_untrue() {
    let calls = calls_of_a_life();
    let check = |first: usize| {
        for at in (first..calls.len()).step_by(2) {
            for fault in FAULTS {
                let (disk, mut told) = (Disk::default(), Told::default());
                disk.fail_at(at, fault);
                live(&disk, &mut told);
                for cut in [true, false] {
                    if !cut && disk.is_down() {
                        continue;
                    }
                    let (disk, mut told) = (disk.copy(), told.clone());
                    if cut {
                        disk.power_cut();
                    }
                    let place = format!("call {at}, {}, {fault:?}, power cut: {cut}", calls[at]);
                    let checked =
                        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| start_again(&disk, &mut told)));
                    assert!(checked.is_ok(), "{place}");
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|first| scope.spawn(move || check(first))).collect();
        assert!(threads.into_iter().all(|thread| thread.join().is_ok()));
    });
}

#[test]
fn a_bit_that_flips_on_the_way_to_the_journal_is_found_before_anybody_is_answered() {
    let commits = calls_of_a_life().into_iter().enumerate().filter(|(_, call)| call.starts_with("extend"));
    for (at, _) in commits {
        for place in (0..20_000).step_by(371) {
            let (disk, mut told) = (Disk::default(), Told::default());
            disk.fail_at(at, Fault::Flip(place));
            live(&disk, &mut told);
            assert!(told.newest < ALL && disk.file(POISONED).is_some(), "{at} {place}");
            assert_eq!(committed(&disk), Some(told.newest));
            disk.power_cut();
            start_again(&disk, &mut told);
        }
    }
}

#[test]
fn a_full_disk_fails_the_operation_and_nothing_else() {
    let calls = calls_of_a_life();
    let mut told_full = 0;
    for (at, call) in calls.iter().enumerate() {
        let disk = Disk::default();
        disk.fail_at(at, Fault::Full);
        let Ok(ledger) = try_create(&disk) else { continue };
        let failed: Vec<AppendError> = workload().into_iter().filter_map(|group| ledger.append(group).err()).collect();
        let commits = call.starts_with("extend");
        assert!(failed.len() <= 1 && failed.iter().all(|error| matches!(error, AppendError::Full { .. })), "{call}");
        assert!(!commits || failed.len() == 1, "{call}");
        told_full += failed.len();
        // What could not be written out is written out later.
        assert_eq!(ledger.health(), Health::Signing);
        ledger.publish().unwrap();
        assert_eq!(disk.file(CHECKPOINT).unwrap(), ledger.checkpoint().note().print().as_bytes());
    }
    assert_eq!(told_full, calls.iter().filter(|call| call.starts_with("extend")).count());
}

/// The disk has no room for what is committed, and none for long.
#[test]
fn what_cannot_be_written_out_is_read_and_bounded() {
    let disk = Disk::default();
    let ledger = create(&disk);
    ledger.append(documents(0..3)).unwrap();
    let extends = |call: &String| call.starts_with("extend");
    disk.fail_from(0, Fault::Full, true);
    disk.only_fail("put");
    let mut size = 3;
    let error = loop {
        match ledger.append(documents(size..size + 1)) {
            Ok(_) => size += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, AppendError::Full { .. }) && (4..20).contains(&size), "{error}, {size}");
    assert!(matches!(ledger.publish(), Err(AppendError::Full { .. })));
    for n in 0..size {
        let one = document(n);
        assert_eq!(ledger.document(one.shelf, &digest(&one)).unwrap(), Some(one.bytes.clone()));
        assert_eq!(ledger.index_of_digest(&digest(&one)), Some(n));
        ledger.prove(n, size).unwrap();
    }
    assert!(disk.calls().iter().any(extends));
    // Nothing is lost when it ends so. Opened again while there is no room, it is read, and signs nothing.
    drop(ledger);
    let full = disk.copy();
    full.fail_from(0, Fault::Full, true);
    full.only_fail("put");
    let ledger = open(&full).unwrap();
    assert!(matches!(ledger.health(), Health::Poisoned { why } if why.contains("no room")));
    for n in 0..size {
        let one = document(n);
        assert_eq!(ledger.document(one.shelf, &digest(&one)).unwrap(), Some(one.bytes.clone()));
        assert_eq!(ledger.index_of_digest(&digest(&one)), Some(n));
        ledger.prove(n, size).unwrap();
    }
    assert!(matches!(ledger.append(documents(900..901)), Err(AppendError::Refused { .. })));
    drop(ledger);
    // With room again it goes on.
    disk.restart();
    let ledger = open(&disk).unwrap();
    assert_eq!((ledger.health(), ledger.size()), (Health::Signing, size));
    ledger.append(documents(size..size + 1)).unwrap();
    assert_eq!(ledger.fsck(Depth::Home, &mut |_| {}).findings, []);
}

#[test]
fn a_recovery_that_fails_ends_where_one_that_does_not_ends() {
    // What a crash at any call leaves, each different disk once.
    let mut left: Vec<(Disk, String)> = Vec::new();
    for (at, call) in calls_of_a_life().iter().enumerate() {
        for applied in [Applied::Nothing, Applied::Half(0), Applied::All] {
            let disk = Disk::default();
            disk.fail_at(at, Fault::Crash(applied));
            live(&disk, &mut Told::default());
            disk.power_cut();
            if !left.iter().any(|(other, _)| other.durable() == disk.durable()) {
                left.push((disk, format!("{call}, {applied:?}")));
            }
        }
    }
    let check = |first: usize| left.iter().skip(first).step_by(2).map(|(disk, crash)| fail_in_start(disk, crash)).sum();
    let checked: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|first| scope.spawn(move || -> usize { check(first) })).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(checked > 1000, "{checked}");
}

/// Fails the start from this disk at each of its calls, and starts again. Says how often.
fn fail_in_start(disk: &Disk, crash: &str) -> usize {
    let whole = disk.copy();
    let Ok(ledger) = open(&whole) else { return 0 };
    drop(ledger);
    // That a crash comes after a call is the crash before the next.
    let faults =
        [Fault::Crash(Applied::Nothing), Fault::Crash(Applied::Half(1)), Fault::Full, Fault::Unknown(Applied::Half(0))];
    let calls = whole.calls();
    for (at, call) in calls.iter().enumerate() {
        for fault in faults {
            let again = disk.copy();
            again.fail_at(at, fault);
            let first = open(&again).map(|ledger| ledger.health());
            if again.is_down() {
                again.power_cut()
            } else {
                again.restart()
            }
            let place = format!("after {crash}: call {at} of the start, {call}, {fault:?}: {first:?}");
            assert_eq!(open(&again).unwrap().health(), Health::Signing, "{place}");
            again.power_cut();
            let same = again.durable() == whole.durable();
            assert!(same, "{place}\n{:?}\n{:?}", again.durable().keys(), whole.durable().keys());
        }
    }
    calls.len() * faults.len()
}
