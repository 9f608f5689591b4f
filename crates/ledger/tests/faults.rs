//! Counts: every storage call of a workload fails, once or from then on, by an input-output error, a full disk, a short
//! write or a failed sync; then the ledger is opened again and every entry that was answered is looked for.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use custodia_format::Hash;
use custodia_ledger::{AppendError, Depth, Document, Health, Ledger};
use support::{Applied, Disk, Fault, create, digest, documents, open, try_create};

/// What a system call would have said, and what the storage makes of it.
const ERRORS: [(&str, Fault); 6] = [
    ("EIO", Fault::Unknown(Applied::Nothing)),
    ("ENOSPC", Fault::Full),
    ("short write", Fault::Unknown(Applied::Half(0))),
    ("short write, other half", Fault::Unknown(Applied::Half(1))),
    ("sync error, in the cache", Fault::Unknown(Applied::All)),
    ("sync error, on the disk", Fault::UnknownApplied),
];

/// Commits of one, of several, and of what is there already; with a start in between.
fn workload() -> Vec<Vec<Document>> {
    let mut groups = vec![documents(0..1), documents(1..4), documents(2..6), documents(0..3)];
    groups.extend((6..66).map(|n| documents(n..n + 1)));
    groups.push(documents(66..74));
    groups
}

/// What a caller was told of each document.
#[derive(Default)]
struct Told {
    indexes: BTreeMap<Hash, u64>,
    /// What the errors were called.
    failures: BTreeSet<&'static str>,
}

/// The workload, with a start in the middle; a caller that is told "full" tries twice.
fn live(disk: &Disk) -> Told {
    let mut told = Told::default();
    let groups = workload();
    let (first, second) = groups.split_at(groups.len() / 2);
    let mut ledger = try_create(disk);
    for part in [first, second] {
        match &ledger {
            Err(_) => _ = told.failures.insert("not opened"),
            Ok(ledger) => part.iter().for_each(|group| append(ledger, group, &mut told)),
        }
        drop(ledger);
        ledger = open(disk);
    }
    told
}

fn append(ledger: &Ledger, group: &[Document], told: &mut Told) {
    for _ in 0..2 {
        match ledger.append(group.to_vec()) {
            Ok(appended) => {
                for one in appended {
                    assert_eq!(told.indexes.entry(one.digest).or_insert(one.index), &one.index);
                }
                return;
            }
            Err(AppendError::Full { .. }) => _ = told.failures.insert("nothing stored"),
            Err(AppendError::Unknown { .. }) => _ = told.failures.insert("not known"),
            Err(AppendError::Refused { .. }) => _ = told.failures.insert("refused"),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Opens the disk as it is then; how many answered entries are not where they were said to be.
fn lost(disk: &Disk, told: &Told) -> usize {
    let ledger = match open(disk) {
        Ok(ledger) => ledger,
        Err(error) => {
            assert!(told.indexes.is_empty(), "{error}");
            create(disk)
        }
    };
    assert_eq!(ledger.health(), Health::Signing);
    let there = |digest: &Hash, index: u64| {
        ledger.index_of_digest(digest) == Some(index) && ledger.entry(index).is_ok_and(|entry| entry.sha256 == *digest)
    };
    let lost = told.indexes.iter().filter(|(digest, index)| !there(digest, **index)).count();
    assert!(ledger.fsck(Depth::Published, &mut |_| {}).is_sound());
    // All of it goes in, and each document once.
    let all: BTreeSet<Hash> = workload().iter().flatten().map(digest).collect();
    workload().into_iter().for_each(|group| _ = ledger.append(group).unwrap());
    assert_eq!(ledger.size(), all.len() as u64);
    lost
}

/// A row of the table: where it failed, and how.
fn row(call: &str, error: &str, sticky: bool) -> (String, String) {
    let (operation, path) = call.split_once(' ').unwrap_or((call, ""));
    let part = path.split(['/', ' ']).next().unwrap_or("");
    let place = match part {
        "state" => path.split(' ').next().unwrap_or(path),
        part => part,
    };
    (format!("{operation} {place}"), format!("{error}{}", if sticky { ", from then on" } else { "" }))
}

#[test]
fn of_3000_injected_failures_none_loses_an_entry_that_was_answered() {
    let whole = Disk::default();
    live(&whole);
    let calls = whole.calls();
    let cases: Vec<(usize, &str, Fault, bool)> = (0..calls.len())
        .flat_map(|at| {
            ERRORS.into_iter().flat_map(move |(name, fault)| [(at, name, fault, false), (at, name, fault, true)])
        })
        .collect();
    assert!(cases.len() >= 3000, "{} failures", cases.len());
    type Table = BTreeMap<(String, String), BTreeMap<String, usize>>;
    let check = |first: usize| {
        let (mut table, mut lost_all) = (Table::new(), 0);
        for (at, name, fault, sticky) in cases.iter().skip(first).step_by(2) {
            let disk = Disk::default();
            disk.fail_from(*at, *fault, *sticky);
            let told = live(&disk);
            // Every second machine also loses what only its cache held.
            if (at / 2) % 2 == 0 {
                disk.power_cut()
            } else {
                disk.restart()
            }
            let lost = lost(&disk, &told);
            lost_all += lost;
            let outcome = match (lost, told.failures.iter().copied().collect::<Vec<_>>().join(", ")) {
                (0, failures) if failures.is_empty() => "done all the same".to_owned(),
                (0, failures) => failures,
                (lost, _) => format!("LOST {lost}"),
            };
            *table.entry(row(&calls[*at], name, *sticky)).or_default().entry(outcome).or_default() += 1;
        }
        (table, lost_all)
    };
    let parts: Vec<(Table, usize)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|first| scope.spawn(move || check(first))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (mut table, mut lost) = (Table::new(), 0);
    for (part, lost_of_part) in parts {
        lost += lost_of_part;
        for (row, outcomes) in part {
            let all = table.entry(row).or_default();
            outcomes.into_iter().for_each(|(outcome, count)| *all.entry(outcome).or_default() += count);
        }
    }
    println!("{:<28} {:<40} outcomes", "fault point", "fault");
    for ((place, fault), outcomes) in &table {
        let outcomes: Vec<String> = outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        println!("{place:<28} {fault:<40} {}", outcomes.join("; "));
    }
    println!("{} failures injected, {lost} answered entries lost", cases.len());
    assert_eq!(lost, 0);
}
