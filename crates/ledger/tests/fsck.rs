//! `fsck` is silent over what is whole, and names whatever is not.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};

use custodia_format::Hash;
use custodia_format::checkpoint::Checkpoint;
use custodia_ledger::{Depth, Folder, FsckReport, Health, Ledger, ReadError, Severity, Shelf, fsck};
use support::{
    CHECKPOINT, Disk, JOURNAL, ORIGIN, POISONED, create, digest, document, documents, home_of, key, open, records, vkey,
};

fn check(disk: &Disk, depth: Depth) -> FsckReport {
    fsck(disk, &vkey(), depth, &mut |_| {})
}

/// A ledger that published all of these sizes, so that partial tiles of many widths stand beside the full ones.
fn grown(sizes: &[u64]) -> Disk {
    let disk = Disk::default();
    let ledger = create(&disk);
    let mut from = 0;
    for size in sizes {
        ledger.append(documents(from..*size)).unwrap();
        ledger.publish().unwrap();
        from = *size;
    }
    disk
}

/// Whether something was found about this file.
fn names(report: &FsckReport, path: &str, severity: Severity) -> bool {
    report.findings.iter().any(|one| one.severity == severity && (one.path == path || one.what.contains(path)))
}

#[test]
fn nothing_is_found_in_a_ledger_that_is_whole() {
    let homes: [&[u64]; 10] = [
        &[],
        &[1],
        &[8],
        &[255],
        &[256],
        &[257],
        &[600],
        &[1, 2, 3, 200, 255, 256, 257, 300, 512],
        &[100, 101, 254, 600],
        &[65_535, 65_536, 65_537, 65_800],
    ];
    for sizes in homes {
        let size = sizes.last().copied().unwrap_or(0);
        let disk = grown(sizes);
        for depth in [Depth::Published, Depth::Home] {
            let mut told = Vec::new();
            let report = fsck(&disk, &vkey(), depth, &mut |progress| told.push(progress));
            assert_eq!((report.entries, &report.findings), (size, &Vec::new()), "{sizes:?}");
            let counts = |one: &custodia_ledger::FsckProgress| (one.entries, one.files, one.bytes);
            assert!(told.is_sorted_by_key(counts) && told.iter().all(|one| one.of_entries == size));
            // A caller who shows this shows "0 of 0" first, and is told of every bundle.
            assert_eq!((told[0].entries, told.last().unwrap().entries), (0, size));
            assert!(told.len() as u64 > size.div_ceil(256));
            assert!(report.files >= told.last().unwrap().files && report.bytes > 0);
        }
    }
}

#[test]
fn a_ledger_of_single_commits_keeps_every_partial_tile_and_all_are_read() {
    let sizes: Vec<u64> = (1..=300).collect();
    let disk = grown(&sizes);
    let report = check(&disk, Depth::Home);
    assert_eq!(report.findings, []);
    let tiles = disk.files().keys().filter(|path| path.starts_with("ledger/")).count() as u64;
    assert!(report.files >= tiles + 300, "{} of {tiles} and the documents", report.files);
}

#[test]
fn nothing_at_all_is_not_sound() {
    for depth in [Depth::Published, Depth::Home] {
        let report = check(&Disk::default(), depth);
        assert_eq!(report.entries, 0);
        assert!(!report.is_sound() && names(&report, CHECKPOINT, Severity::Damage));
    }
}

/// Every file of a home, one after the other: a bit flipped in its beginning, middle and end; cut; emptied; gone.
#[test]
fn damage_to_any_file_is_named() {
    let disk = grown(&[3, 200, 257, 260]);
    for (path, bytes) in disk.files() {
        let flip = |at: usize| {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 4;
            ("a bit", Some(flipped))
        };
        let damages = [
            flip(0),
            flip(bytes.len() / 2),
            flip(bytes.len() - 1),
            ("cut", Some(bytes[..bytes.len() - 1].to_vec())),
            ("one more byte", Some([&bytes[..], b"x"].concat())),
            ("emptied", Some(Vec::new())),
            ("gone", None),
        ];
        for (what, damaged) in damages {
            let disk = disk.copy();
            disk.meddle(&path, damaged);
            let report = check(&disk, Depth::Home);
            let partial = ["000.p/3", "000.p/200"].iter().any(|end| path.ends_with(end)) || path.ends_with("001.p/1");
            let document = path.starts_with("statements/") || path.starts_with("anchors/");
            let severity = match (what, path.as_str()) {
                // The wider tile has it; which sizes were published is written nowhere.
                ("gone", _) if partial => continue,
                // It may have been erased.
                ("gone", _) if document => Severity::Remark,
                // It is not whole, and was never finished for all that can be said.
                ("one more byte", JOURNAL) => Severity::Remark,
                _ => Severity::Damage,
            };
            let named = match Shelf::Statement.path(&digest(&document_at(&path))) {
                named if document && what == "gone" => named,
                _ => path.clone(),
            };
            assert!(names(&report, &named, severity), "{path}, {what}: {:?}", report.findings);
            assert_eq!(report.is_sound(), severity == Severity::Remark, "{path}, {what}: {:?}", report.findings);
            if path.starts_with("ledger/") && what != "gone" {
                assert!(!check(&disk, Depth::Published).is_sound(), "{path}, {what}");
            }
        }
    }
}

/// The document whose digest a shelf's path names; the first when it is another file.
fn document_at(path: &str) -> custodia_ledger::Document {
    documents(0..260).into_iter().find(|one| path.contains(&digest(one).to_string())).unwrap_or_else(|| document(0))
}

#[test]
fn strangers_and_leftovers_are_remarks() {
    let disk = home_of(8);
    let name = digest(&document(900)).to_string();
    let strays = [
        "ledger/notes.txt".to_owned(),
        "ledger/tile/0/000.p/.8.tmp".to_owned(),
        "ledger/tile/0/001".to_owned(),
        "ledger/tile/0/000.p/9".to_owned(),
        "ledger/tile/3/000.p/1".to_owned(),
        "state/.journal.tmp".to_owned(),
        format!("statements/zz/{name}.json"),
        format!("anchors/{}/{name}.json", &name[..2]),
        "statements/README".to_owned(),
        POISONED.to_owned(),
    ];
    for path in &strays {
        disk.meddle(path, Some(b"x".to_vec()));
    }
    let left = document(900);
    let shelved = left.shelf.path(&digest(&left));
    disk.meddle(&shelved, Some(left.bytes));
    let report = check(&disk, Depth::Home);
    assert!(report.is_sound(), "{:?}", report.findings);
    for path in strays.iter().chain([&shelved]) {
        assert!(names(&report, path, Severity::Remark), "{path}: {:?}", report.findings);
    }
    assert_eq!(report.findings.len(), strays.len() + 1, "{:?}", report.findings);
}

#[test]
fn a_document_under_another_name_is_damage() {
    let disk = home_of(8);
    let [one, other] = [0, 1].map(|n| document(n).shelf.path(&digest(&document(n))));
    disk.meddle(&one, disk.file(&other));
    let report = check(&disk, Depth::Home);
    assert!(names(&report, &one, Severity::Damage), "{:?}", report.findings);
    assert_eq!(report.damage().count(), 1, "{:?}", report.findings);
}

#[test]
fn a_checkpoint_that_went_back_is_damage() {
    let disk = home_of(0);
    let mut public = vec![disk.file(CHECKPOINT)];
    open(&disk).unwrap().append(documents(0..3)).unwrap();
    public.push(disk.file(CHECKPOINT));
    let ledger = open(&disk).unwrap();
    for range in [3..8, 8..20] {
        ledger.append(documents(range)).unwrap();
        ledger.publish().unwrap();
        public.push(disk.file(CHECKPOINT));
    }
    let disk = disk.copy();
    // By what the journal holds it looks as after a crash, which the next start finishes.
    for (older, severity) in [(2, Severity::Remark), (1, Severity::Remark), (0, Severity::Damage)] {
        disk.meddle(CHECKPOINT, public[older].clone());
        let report = check(&disk, Depth::Home);
        assert!(names(&report, CHECKPOINT, severity), "{:?}", report.findings);
        assert_eq!(report.is_sound(), severity == Severity::Remark, "{:?}", report.findings);
    }
    // By one commit, which no start can finish.
    disk.meddle(CHECKPOINT, public[2].clone());
    let journal = records(&disk.file(JOURNAL).unwrap());
    disk.meddle(JOURNAL, Some(journal.last().unwrap().1.clone()));
    assert!(names(&check(&disk, Depth::Home), CHECKPOINT, Severity::Damage));
}

#[test]
fn a_journal_older_than_what_is_public_is_damage() {
    let disk = Disk::default();
    let ledger = create(&disk);
    ledger.append(documents(0..3)).unwrap();
    let older = disk.files();
    ledger.append(documents(3..8)).unwrap();
    drop(ledger);
    disk.roll_back(&older, &["state/"]);
    let report = check(&disk, Depth::Home);
    let rolled_back = |one: &custodia_ledger::FsckFinding| one.path == JOURNAL && one.what.contains("rolled back");
    assert!(report.damage().any(rolled_back), "{:?}", report.findings);
    assert!(check(&disk, Depth::Published).is_sound());
}

#[test]
fn a_signed_root_that_the_entries_do_not_give_is_damage() {
    let disk = home_of(8);
    let lie = Checkpoint { origin: ORIGIN.to_owned(), size: 8, root: Hash::ZERO }.sign(&key()).unwrap();
    disk.meddle(CHECKPOINT, Some(lie.print().into_bytes()));
    let report = check(&disk, Depth::Published);
    assert!(names(&report, CHECKPOINT, Severity::Damage), "{:?}", report.findings);
}

#[test]
fn no_proof_is_made_of_tiles_that_are_damaged() {
    let (first, second) = ("ledger/tile/0/000", "ledger/tile/0/001");
    let disk = home_of(600);
    open(&disk).unwrap().append(documents(600..601)).unwrap();
    open(&disk).unwrap();
    let whole = disk.file(first).unwrap();
    let mut flipped = whole.clone();
    flipped[32] ^= 1;
    let longer = [&whole[..], b"x"].concat();
    for bytes in [flipped, whole[..whole.len() - 1].to_vec(), longer, disk.file(second).unwrap(), Vec::new()] {
        let disk = disk.copy();
        disk.meddle(first, Some(bytes));
        // The edge is whole: it goes on, and shows nobody what does not close.
        let ledger = open(&disk).unwrap();
        assert_eq!(ledger.health(), Health::Signing);
        assert!(matches!(ledger.prove(0, 601), Err(ReadError::Damaged { .. })));
        assert!(matches!(ledger.consistency(1, 601), Err(ReadError::Damaged { .. })));
        assert!(names(&ledger.fsck(Depth::Home, &mut |_| {}), first, Severity::Damage));
    }
}

#[test]
fn a_check_of_a_ledger_that_goes_on_finds_no_damage() {
    let home = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(Folder::open(home.path()).unwrap(), ORIGIN, key()).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..60 {
                ledger.append(documents(7 * n..7 * n + 7)).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        let mut checks = 0;
        while checks < 5 || !done.load(Ordering::Relaxed) {
            let report = ledger.fsck(Depth::Home, &mut |_| {});
            assert!(report.is_sound(), "{:?}", report.damage().collect::<Vec<_>>());
            checks += 1;
        }
    });
    assert_eq!(ledger.fsck(Depth::Home, &mut |_| {}).findings, []);
}
