//! What the ledger costs on a real file system.
//!
//! `cargo bench -p custodia-ledger` measures small ledgers with criterion. With `CUSTODIA_LEDGER_SIZES` (such as
//! `1000,100000,10000000`) it prints instead one line of figures for each size, beside what a sync costs in the same run;
//! `CUSTODIA_LEDGER_HOME` says on which disk (default: the system's temporary folder).

#![allow(missing_docs, clippy::unwrap_used, reason = "a program that measures")]

use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion};
use custodia_format::Hash;
use custodia_format::checkpoint::Checkpoint;
use custodia_format::entry::Entry;
use custodia_format::key::SigningKey;
use custodia_format::note::{KeyType, Vkey};
use custodia_format::tile::{Tile, TileKind, push_entry};
use custodia_ledger::{Depth, Document, Folder, Ledger, Shelf, fsck};
use custodia_merkle::{Frontier, leaf_hash, root};
use tempfile::TempDir;

const ORIGIN: &str = "bench.example/1";

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

fn vkey() -> Vkey {
    Vkey::new(ORIGIN, KeyType::Ed25519, key().public()).unwrap()
}

fn home() -> TempDir {
    match std::env::var_os("CUSTODIA_LEDGER_HOME") {
        Some(folder) => tempfile::tempdir_in(folder).unwrap(),
        None => tempfile::tempdir().unwrap(),
    }
}

/// About as long as an envelope.
fn document(n: u64) -> Document {
    Document { shelf: Shelf::Statement, bytes: format!("{{\"n\":{n},\"pad\":\"{:0>900}\"}}", n).into_bytes() }
}

fn open(home: &Path) -> Ledger {
    Ledger::open(Folder::open(home).unwrap(), ORIGIN, key()).unwrap()
}

/// Writes a ledger of so many entries past the sequencer, without documents: what a long life leaves, in seconds.
struct Builder<'a> {
    home: &'a Path,
    rows: Vec<(u64, Vec<Hash>)>,
}

impl Builder<'_> {
    fn tile(&self, tile: Tile, bytes: &[u8]) {
        let path = self.home.join("ledger").join(tile.path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn hashes(&self, level: usize, index: u64, hashes: &[Hash]) {
        let bytes: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
        self.tile(Tile { kind: TileKind::Hashes(level as u8), index, width: hashes.len() as u16 }, &bytes);
    }

    fn push(&mut self, level: usize, hash: Hash) {
        if self.rows.len() <= level {
            self.rows.push((0, Vec::new()));
        }
        self.rows[level].1.push(hash);
        if self.rows[level].1.len() == 256 {
            let (index, row) = (self.rows[level].0, std::mem::take(&mut self.rows[level].1));
            self.hashes(level, index, &row);
            self.rows[level].0 += 1;
            self.push(level + 1, root(&row));
        }
    }
}

fn build(home: &Path, size: u64) {
    let mut builder = Builder { home, rows: Vec::new() };
    let (mut frontier, mut bundle) = (Frontier::new(), Vec::new());
    for n in 0..size {
        let text = Entry::of(format!("entry {n}").as_bytes()).text();
        let leaf = leaf_hash(text.as_bytes());
        push_entry(&mut bundle, text.as_bytes()).unwrap();
        frontier.push(leaf);
        builder.push(0, leaf);
        if (n + 1) % 256 == 0 || n + 1 == size {
            let width = (n % 256 + 1) as u16;
            builder.tile(Tile { kind: TileKind::Entries, index: n / 256, width }, &std::mem::take(&mut bundle));
        }
    }
    for (level, (index, row)) in builder.rows.iter().enumerate().filter(|(_, (_, row))| !row.is_empty()) {
        builder.hashes(level, *index, row);
    }
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size, root: frontier.root() };
    let note = checkpoint.sign(&key()).unwrap().print();
    fs::create_dir_all(home.join("ledger")).unwrap();
    fs::create_dir_all(home.join("state")).unwrap();
    fs::write(home.join("ledger/checkpoint"), &note).unwrap();
    let root = frontier.root();
    let stage = format!("custodia/stage/v1\norigin {ORIGIN}\nbefore {size}\nsize {size}\nroot {root}\n\n");
    let record = format!("{stage}{note}");
    let line = format!("custodia/commit/v1 {} {} {}\n", stage.len(), note.len(), Hash::of(record.as_bytes()));
    fs::write(home.join("state/journal"), line + &record).unwrap();
    // So that the figures are not those of writing this back.
    rustix::fs::sync();
}

/// A small write at the end of a file and its sync, in microseconds, sorted.
fn syncs(home: &Path, count: usize) -> Vec<u64> {
    let mut file = OpenOptions::new().create(true).append(true).open(home.join("sync")).unwrap();
    let mut once = || {
        file.write_all(&[b'x'; 200]).unwrap();
        timed(|| file.sync_all().unwrap()).1
    };
    sorted((0..count).map(|_| once()))
}

fn sorted(times: impl Iterator<Item = Duration>) -> Vec<u64> {
    let mut micros: Vec<u64> = times.map(|time| time.as_micros() as u64).collect();
    micros.sort_unstable();
    micros
}

fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = run();
    (value, start.elapsed())
}

fn part(sorted: &[u64], percent: usize) -> u64 {
    sorted[(sorted.len() - 1) * percent / 100]
}

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Appends one document at a time by so many callers for so long; the times of each, and how many a second.
fn append_for(ledger: &Ledger, callers: usize, time: Duration) -> (Vec<u64>, f64) {
    let end = Instant::now() + time;
    let caller = || {
        let mut times = Vec::new();
        while Instant::now() < end {
            let document = document(NEXT.fetch_add(1, Ordering::Relaxed));
            times.push(timed(|| ledger.append(vec![document]).unwrap()).1);
        }
        times
    };
    let (times, took) = timed(|| {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..callers).map(|_| scope.spawn(caller)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        })
    });
    let count = times.len() as f64;
    (sorted(times.into_iter()), count / took.as_secs_f64())
}

fn memory_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.trim().split(' ').next().unwrap().parse::<u64>().unwrap_or(0) / 1024
}

/// A step that is spread over the ledger and hits no tile twice soon.
fn spread(size: u64) -> impl Iterator<Item = u64> + Clone {
    (0..1000).map(move |n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % size)
}

fn figures(size: u64) {
    let home = home();
    let home = home.path();
    let ((), building) = timed(|| build(home, size));
    println!("## {size} entries (made in {building:.1?})");
    let (report, took) = timed(|| fsck(&Folder::open(home).unwrap(), &vkey(), Depth::Published, &mut |_| {}));
    assert!(report.is_sound());
    println!("fsck (published): {took:.2?}, {:.0} entries a second", size as f64 / took.as_secs_f64());
    let (ledger, first) = timed(|| open(home));
    println!("first open, without places: {first:.2?}, {} MiB resident", memory_mib());
    // The places are put together in the background; an append does not wait for that.
    let settled = timed(|| {
        while fs::read_dir(home.join("state/places")).is_ok_and(|_| !tidy(home, size)) {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    println!("places in order {:.2?} later", settled.1);
    drop(ledger);
    let (ledger, again) = timed(|| open(home));
    println!("open: {again:.2?}, {} MiB resident", memory_mib());
    let prove = |index| timed(|| black_box(ledger.prove(index, size).unwrap()));
    let proofs: Vec<_> = spread(size).map(prove).collect();
    let bytes = proofs.iter().map(|(proof, _)| 32 * proof.len()).max().unwrap();
    let times = sorted(proofs.iter().map(|(_, time)| *time));
    println!(
        "prove one entry: p50 {} us, p99 {} us, at most {bytes} bytes of hashes",
        part(&times, 50),
        part(&times, 99)
    );
    let finds = spread(size).map(|n| {
        let digest = Hash::of(format!("entry {n}").as_bytes());
        let (found, time) = timed(|| ledger.find(&digest).unwrap());
        assert_eq!(found, Some(n));
        time
    });
    println!("find the index of a document: p50 {} us", part(&sorted(finds), 50));
    let absent = spread(size).map(|n| timed(|| assert_eq!(ledger.find(&Hash::of(&n.to_be_bytes())).unwrap(), None)).1);
    println!("find that there is none: p50 {} us", part(&sorted(absent), 50));
    for callers in [1, 64] {
        // Together, so that what the machine does besides falls on both.
        let before = syncs(home, 300);
        let (times, a_second) = append_for(&ledger, callers, Duration::from_secs(4));
        let after = syncs(home, 300);
        let sync = sorted(before.iter().chain(&after).map(|micros| Duration::from_micros(*micros)));
        println!(
            "append, {callers} callers: {a_second:.0} a second, p50 {} us, p99 {} us; a sync: p50 {} us, p90 {} us",
            part(&times, 50),
            part(&times, 99),
            part(&sync, 50),
            part(&sync, 90)
        );
    }
    println!("{} MiB resident", memory_mib());
    drop(ledger);
    let size = killed(home);
    let (ledger, again) = timed(|| open(home));
    assert!(ledger.size() >= size && ledger.health().may_sign());
    println!("open after a kill in the middle of appends: {again:.2?}");
}

/// Lets another process append to the ledger, and kills it; gives the size that was published by then.
fn killed(home: &Path) -> u64 {
    let program = std::env::current_exe().unwrap();
    let mut child = std::process::Command::new(program).env(APPENDS_TO, home).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    child.kill().unwrap();
    child.wait().unwrap();
    let checkpoint = fs::read_to_string(home.join("ledger/checkpoint")).unwrap();
    checkpoint.lines().nth(1).unwrap().parse().unwrap()
}

/// Names the home to which this program shall append until it is killed.
const APPENDS_TO: &str = "CUSTODIA_LEDGER_APPENDS_TO";

/// Whether there is one segment for each bit of the number of full ranges.
fn tidy(home: &Path, size: u64) -> bool {
    let levels = fs::read_dir(home.join("state/places")).unwrap().flatten();
    let files: usize = levels.map(|level| fs::read_dir(level.path()).unwrap().count()).sum();
    files == (size >> 16).count_ones() as usize
}

fn small(criterion: &mut Criterion) {
    let place = home();
    let ledger = Ledger::create(Folder::open(place.path()).unwrap(), ORIGIN, key()).unwrap();
    let mut group = criterion.benchmark_group("ledger");
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4));
    let mut file = File::create(place.path().join("sync")).unwrap();
    group.bench_function("a sync, to compare", |bench| {
        bench.iter(|| {
            file.write_all(&[b'x'; 200]).unwrap();
            file.sync_all().unwrap();
        });
    });
    let new = || document(NEXT.fetch_add(1, Ordering::Relaxed));
    group.bench_function("append, 1 caller", |bench| {
        bench.iter_batched(new, |document| ledger.append(vec![document]).unwrap(), BatchSize::PerIteration);
    });
    group.bench_function("append, 64 callers, one each", |bench| {
        bench.iter(|| {
            std::thread::scope(|scope| {
                (0..64).for_each(|_| _ = scope.spawn(|| ledger.append(vec![new()]).unwrap()));
            });
        });
    });
    for size in [1_000, 100_000, 300_000] {
        let place = home();
        build(place.path(), size);
        let ledger = open(place.path());
        let mut indexes = spread(size).cycle();
        group.bench_function(format!("prove, {size} entries"), |bench| {
            bench.iter(|| ledger.prove(indexes.next().unwrap(), size).unwrap());
        });
        drop(ledger);
        group.bench_function(format!("open, {size} entries"), |bench| bench.iter(|| open(place.path()).size()));
        group.bench_function(format!("fsck, {size} entries"), |bench| {
            let folder = Folder::open(place.path()).unwrap();
            bench.iter(|| fsck(&folder, &vkey(), Depth::Published, &mut |_| {}).entries);
        });
    }
    group.finish();
}

fn main() {
    if let Some(home) = std::env::var_os(APPENDS_TO) {
        NEXT.store(u64::from(std::process::id()) << 32, Ordering::Relaxed);
        append_for(&open(Path::new(&home)), 64, Duration::from_secs(60));
        return;
    }
    match std::env::var("CUSTODIA_LEDGER_SIZES") {
        Ok(sizes) => sizes.split(',').map(|size| size.parse().expect("a number of entries")).for_each(figures),
        Err(_) => {
            let mut criterion = Criterion::default().configure_from_args();
            small(&mut criterion);
            criterion.final_summary();
        }
    }
}
