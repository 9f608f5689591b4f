//! Real kills on a real file system: this program starts itself as a child that appends, kills it with SIGKILL in the
//! middle, and opens what it left. Nothing that the child was answered may be missing.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use custodia_format::Hash;
use custodia_ledger::{Depth, Folder, Health, Ledger};
use support::{ORIGIN, digest, document, key};

/// Says to the child which home it appends to, and from which document on.
const CHILD: &str = "CUSTODIA_LEDGER_CHILD";
const KILLS: u64 = 200;
/// Documents that one child may append before it ends by itself.
const OF_ONE: u64 = 100_000;

fn open(home: &Path) -> Ledger {
    Ledger::open(Folder::open(home).unwrap(), ORIGIN, key()).unwrap()
}

/// The child: three callers, each says `index digest` once it was answered. No test by itself.
#[test]
fn a_child_appends_until_it_is_killed() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let (home, first) = told.split_once(' ').unwrap();
    let next = AtomicU64::new(first.parse().unwrap());
    let ledger = open(Path::new(home));
    assert_eq!(ledger.health(), Health::Signing);
    let out = Mutex::new(std::io::stdout());
    writeln!(out.lock().unwrap(), "\nready").unwrap();
    std::thread::scope(|scope| {
        for callers in 1..=3 {
            let (ledger, next, out) = (&ledger, &next, &out);
            scope.spawn(move || {
                for _ in 0..OF_ONE / 3 {
                    let from = next.fetch_add(callers, Ordering::Relaxed);
                    for one in ledger.append((from..from + callers).map(document).collect()).unwrap() {
                        // The test's harness may write to the same line; ours begin and end with a word.
                        writeln!(out.lock().unwrap(), "told {} {} .", one.index, one.digest).unwrap();
                    }
                }
            });
        }
    });
}

/// What a child said before it was killed after so long.
fn killed_after(home: &Path, first: u64, time: Duration) -> Vec<(u64, Hash)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_child_appends_until_it_is_killed", "--nocapture", "--test-threads", "1"])
        .env(CHILD, format!("{} {first}", home.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    lines.find(|line| line == "ready").expect("the child opens what the one before left");
    std::thread::sleep(time);
    // SIGKILL.
    child.kill().unwrap();
    let told = lines.filter_map(|line| {
        let (index, digest) = line.strip_prefix("told ")?.strip_suffix(" .")?.split_once(' ')?;
        Some((index.parse().unwrap(), Hash::from_hex(digest).unwrap()))
    });
    let told = told.collect();
    assert!(!child.wait().unwrap().success(), "it was killed, it did not end");
    told
}

#[test]
fn of_200_kills_none_loses_an_entry_that_was_answered() {
    let place = tempfile::tempdir().unwrap();
    let home = place.path();
    drop(Ledger::create(Folder::open(home).unwrap(), ORIGIN, key()).unwrap());
    let (began, mut told, mut kills) = (Instant::now(), Vec::new(), 0);
    // A slow disk makes fewer kills, not a longer test.
    while kills < KILLS && began.elapsed() < Duration::from_secs(40) {
        // From the first moment after it is ready to a dozen commits later, a little more each time.
        let time = Duration::from_micros(kills * 977 % 20_011);
        told.extend(killed_after(home, kills * OF_ONE, time));
        kills += 1;
    }
    let ledger = open(home);
    assert_eq!(ledger.health(), Health::Signing);
    let lost = told.iter().filter(|(index, digest)| {
        ledger.index_of_digest(digest) != Some(*index) || ledger.entry(*index).unwrap().sha256 != *digest
    });
    let lost = lost.count();
    println!("{kills} kills, {} entries answered, {} in the ledger, {lost} lost", told.len(), ledger.size());
    assert_eq!(lost, 0);
    assert!(told.len() as u64 <= ledger.size() && !told.is_empty());
    let report = ledger.fsck(Depth::Home, &mut |_| {});
    assert!(report.is_sound(), "{:?}", report.damage().collect::<Vec<_>>());
    assert_eq!(ledger.append(vec![document(0)]).unwrap()[0].digest, digest(&document(0)));
}
