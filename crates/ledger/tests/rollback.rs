//! An older copy of the ledger, a journal that does not count, a write that failed: when nothing is signed, what can be read
//! all the same, and what lifts it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use custodia_format::Hash;
use custodia_format::checkpoint::Checkpoint;
use custodia_format::key::SigningKey;
use custodia_format::note::Note;
use custodia_ledger::{AppendError, Depth, Health, Ledger, OpenError};
use support::{
    CHECKPOINT, Disk, JOURNAL, ORIGIN, POISONED, checkpoint, create, digest, document, documents, home_of, key, open,
    records,
};

/// Reads work, appending does not, nothing on the disk changes.
fn is_read_only(ledger: &Ledger, disk: &Disk) {
    let before = disk.durable();
    let size = ledger.size();
    assert!(matches!(ledger.append(documents(7000..7002)), Err(AppendError::Refused { .. })));
    assert_eq!(ledger.append(documents(0..1)).unwrap()[0].index, 0, "what is in the ledger is answered");
    assert_eq!(ledger.entry(size - 1).unwrap().sha256, digest(&document(size - 1)));
    assert_eq!(ledger.document(document(0).shelf, &digest(&document(0))).unwrap(), Some(document(0).bytes));
    ledger.prove(0, size).unwrap();
    ledger.consistency(1, size).unwrap();
    assert!(disk.durable() == before);
}

fn signed(size: u64, root: Hash) -> Note {
    Checkpoint { origin: ORIGIN.to_owned(), size, root }.sign(&key()).unwrap()
}

/// A ledger of three commits, each written out, and its files after each. Its journal holds the last two.
fn three_commits() -> (Disk, Vec<support::Files>) {
    let disk = Disk::default();
    drop(create(&disk));
    let after = [0..4, 4..9, 9..300].map(|range| {
        let ledger = open(&disk).unwrap();
        ledger.append(documents(range)).unwrap();
        ledger.publish().unwrap();
        drop(ledger);
        disk.files()
    });
    (disk, after.to_vec())
}

/// Leaves nothing in the journal but a record of its newest checkpoint that changes nothing, as that of a copy.
fn nothing_to_write_out(disk: &Disk) {
    let journal = disk.file(JOURNAL).unwrap();
    let (size, record) = records(&journal).pop().unwrap();
    let note = record.windows(ORIGIN.len() + 1).rposition(|part| part == format!("{ORIGIN}\n").as_bytes()).unwrap();
    let note = String::from_utf8(record[note..].to_vec()).unwrap();
    let root = checkpoint(note.as_bytes()).root;
    let stage = format!("custodia/stage/v1\norigin {ORIGIN}\nbefore {size}\nsize {size}\nroot {root}\n\n");
    let rest = stage.clone() + &note;
    let line = format!("custodia/commit/v1 {} {} {}\n", stage.len(), note.len(), Hash::of(rest.as_bytes()));
    disk.meddle(JOURNAL, Some((line + &rest).into_bytes()));
}

#[test]
fn a_restored_copy_signs_until_it_meets_a_newer_note_of_its_own() {
    let (disk, after) = three_commits();
    disk.roll_back(&after[1], &["state/", "ledger/"]);
    let newer = Note::parse(&after[2][CHECKPOINT]).unwrap();
    // By itself it cannot know: the documents on the shelves are remarks, no more.
    let ledger = open(&disk).unwrap();
    assert_eq!((ledger.health(), ledger.size()), (Health::Signing, 9));
    let report = ledger.fsck(Depth::Home, &mut |_| {});
    assert!(report.is_sound() && report.findings.len() == 291, "{:?}", report.findings);

    let health = ledger.confront(newer).unwrap();
    assert!(matches!(&health, Health::RolledBack { why } if why.contains("300") && why.contains('9')), "{health}");
    is_read_only(&ledger, &disk);
    // It stays so, whatever comes later.
    assert_eq!(ledger.confront(Note::parse(&after[0][CHECKPOINT]).unwrap()).unwrap(), health);
}

#[test]
fn notes_that_fit_change_nothing_and_those_that_do_not_stop_signing() {
    let (disk, after) = three_commits();
    let ledger = open(&disk).unwrap();
    for files in &after {
        assert_eq!(ledger.confront(Note::parse(&files[CHECKPOINT]).unwrap()).unwrap(), Health::Signing);
    }
    assert_eq!(ledger.confront(signed(256, ledger.root(256).unwrap())).unwrap(), Health::Signing);
    // No note of this ledger.
    let other = SigningKey::from_seed(&[8; 32]);
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: 400, root: Hash::ZERO };
    assert!(ledger.confront(checkpoint.sign(&other).unwrap()).is_err());
    let checkpoint = Checkpoint { origin: "other.example/1".to_owned(), ..checkpoint };
    assert!(ledger.confront(checkpoint.sign(&key()).unwrap()).is_err());
    let mut forged = signed(400, Hash::ZERO);
    forged.lines[0].blob[0] ^= 1;
    assert!(ledger.confront(forged).is_err());
    assert_eq!(ledger.health(), Health::Signing);
    // Ahead; of the same size and of an earlier one with another root.
    for note in [signed(301, Hash::ZERO), signed(300, Hash::ZERO), signed(7, Hash::ZERO)] {
        let ledger = open(&disk).unwrap();
        assert!(matches!(ledger.confront(note).unwrap(), Health::RolledBack { .. }));
        is_read_only(&ledger, &disk);
    }
}

#[test]
fn a_public_checkpoint_ahead_of_the_journal_is_a_rollback() {
    let (disk, after) = three_commits();
    disk.roll_back(&after[1], &["state/"]);
    for _ in 0..2 {
        let before = disk.durable();
        let ledger = open(&disk).unwrap();
        assert!(matches!(ledger.health(), Health::RolledBack { .. }), "{}", ledger.health());
        assert!(disk.durable() == before, "a start changes nothing");
        is_read_only(&ledger, &disk);
        assert!(!ledger.fsck(Depth::Home, &mut |_| {}).is_sound());
    }
    // Of the same size with another root.
    let disk = home_of(8);
    disk.meddle(CHECKPOINT, Some(signed(8, Hash::ZERO).print().into_bytes()));
    assert!(matches!(open(&disk).unwrap().health(), Health::RolledBack { .. }));
}

#[test]
fn an_older_public_folder_is_brought_up_to_the_journal_or_not_signed_over() {
    // Behind by what the journal holds: that is written out again.
    let (disk, after) = three_commits();
    disk.roll_back(&after[1], &["ledger/"]);
    let ledger = open(&disk).unwrap();
    assert_eq!((ledger.health(), ledger.size()), (Health::Signing, 300));
    drop(ledger);
    let public = |files: support::Files| {
        files.into_iter().filter(|(path, _)| path.starts_with("ledger/")).collect::<support::Files>()
    };
    assert!(public(disk.files()) == public(after[2].clone()));

    // The checkpoint alone, or none, and the journal changes nothing.
    for public in [Some(after[0][CHECKPOINT].to_vec()), None] {
        disk.meddle(CHECKPOINT, public);
        nothing_to_write_out(&disk);
        let ledger = open(&disk).unwrap();
        assert_eq!((ledger.health(), ledger.size()), (Health::Signing, 300));
        assert_eq!(checkpoint(&disk.file(CHECKPOINT).unwrap()).size, 300, "what a start shows is published");
    }

    // It is of another history: what readers saw is kept.
    disk.meddle(CHECKPOINT, Some(signed(7, Hash::ZERO).print().into_bytes()));
    let ledger = open(&disk).unwrap();
    assert!(matches!(ledger.health(), Health::RolledBack { .. }));
    is_read_only(&ledger, &disk);
    assert_eq!(checkpoint(&disk.file(CHECKPOINT).unwrap()).size, 7);

    // All of it is behind by more: readers are shown what is there.
    let (disk, after) = three_commits();
    disk.roll_back(&after[0], &["ledger/"]);
    nothing_to_write_out(&disk);
    let ledger = open(&disk).unwrap();
    assert!(matches!(ledger.health(), Health::Poisoned { .. }));
    assert_eq!(ledger.size(), 4);
    is_read_only(&ledger, &disk);
}

#[test]
fn a_journal_that_does_not_count_is_never_made_again() {
    for damage in [None, Some(b"nothing".to_vec()), Some(Vec::new())] {
        let disk = home_of(20);
        disk.meddle(JOURNAL, damage);
        let ledger = open(&disk).unwrap();
        assert!(matches!(ledger.health(), Health::Poisoned { .. }));
        is_read_only(&ledger, &disk);
        assert!(matches!(Ledger::create(disk.clone(), ORIGIN, key()), Err(OpenError::Exists { .. })));
        disk.meddle(CHECKPOINT, Some(b"nothing".to_vec()));
        assert!(matches!(open(&disk), Err(OpenError::Journal { .. })));
    }
    // Another key, another name.
    let disk = home_of(20);
    assert!(matches!(
        Ledger::open(disk.clone(), ORIGIN, SigningKey::from_seed(&[8; 32])),
        Err(OpenError::Journal { .. })
    ));
    assert!(matches!(Ledger::open(disk.clone(), "b.example/1", key()), Err(OpenError::Journal { .. })));
    assert!(matches!(Ledger::open(disk.clone(), "no name", key()), Err(OpenError::Name(_))));
    assert!(matches!(Ledger::open(Disk::default(), ORIGIN, key()), Err(OpenError::NoLedger)));
    // Both checkpoints are lost: the tiles are a trace, and no second history is signed over them.
    disk.meddle(JOURNAL, None);
    disk.meddle(CHECKPOINT, None);
    assert!(matches!(open(&disk), Err(OpenError::NoLedger)));
    assert!(matches!(Ledger::create(disk.clone(), ORIGIN, key()), Err(OpenError::Exists { .. })));
}

#[test]
fn poison_stays_until_everything_was_checked() {
    let disk = home_of(600);
    // The journal does not reach so far back.
    open(&disk).unwrap().append(documents(600..601)).unwrap();
    open(&disk).unwrap();
    let far_away = "ledger/tile/0/000";
    let whole = disk.file(far_away).unwrap();
    let mut flipped = whole.clone();
    flipped[17] ^= 1;
    // Far from the edge, a start alone does not see it.
    disk.meddle(far_away, Some(flipped.clone()));
    assert_eq!(open(&disk).unwrap().health(), Health::Signing);
    disk.meddle(POISONED, Some(b"a write failed\n".to_vec()));
    for _ in 0..2 {
        let ledger = open(&disk).unwrap();
        assert!(matches!(ledger.health(), Health::Poisoned { why } if why.contains("tile/entries/000")));
        assert_eq!(ledger.size(), 601);
        assert!(matches!(ledger.append(documents(900..901)), Err(AppendError::Refused { .. })));
        assert_eq!(disk.file(POISONED).unwrap(), b"a write failed\n");
    }
    disk.meddle(far_away, Some(whole));
    let ledger = open(&disk).unwrap();
    assert_eq!(ledger.health(), Health::Signing);
    assert_eq!(disk.file(POISONED), None);
    assert_eq!(ledger.append(documents(900..901)).unwrap()[0].index, 601);
}

#[test]
fn damage_at_the_edge_stops_signing_without_a_mark() {
    for path in ["ledger/tile/0/002.p/88", "ledger/tile/1/000.p/2", "ledger/tile/entries/002.p/88"] {
        let disk = home_of(600);
        let whole = disk.file(path).unwrap();
        let mut flipped = whole.clone();
        flipped[40] ^= 1;
        disk.meddle(path, Some(flipped));
        // The journal writes it anew.
        assert_eq!(open(&disk).unwrap().health(), Health::Signing);
        let mut flipped = whole.clone();
        flipped[40] ^= 1;
        disk.meddle(path, Some(flipped));
        nothing_to_write_out(&disk);
        let ledger = open(&disk).unwrap();
        assert!(matches!(ledger.health(), Health::Poisoned { .. }), "{path}");
        assert!(matches!(ledger.append(documents(900..901)), Err(AppendError::Refused { .. })));
        disk.meddle(path, Some(whole));
        assert_eq!(open(&disk).unwrap().health(), Health::Signing);
    }
}

/// A journal that holds the commits of sizes 3 to 6, none of them written out but the first.
fn unwritten() -> (Disk, Vec<(u64, Vec<u8>)>) {
    let disk = home_of(3);
    let ledger = open(&disk).unwrap();
    for n in 3..6 {
        ledger.append(documents(n..n + 1)).unwrap();
    }
    let killed = disk.copy();
    let records = records(&killed.file(JOURNAL).unwrap());
    assert_eq!(records.iter().map(|(size, _)| *size).collect::<Vec<_>>(), [3, 4, 5, 6]);
    assert_eq!(checkpoint(&killed.file(CHECKPOINT).unwrap()).size, 3);
    (killed, records)
}

#[test]
fn what_was_never_finished_is_no_commit_and_what_was_is_never_taken_for_that() {
    let (disk, records) = unwritten();
    let journal = records.iter().flat_map(|(_, record)| record.clone()).collect::<Vec<u8>>();
    let last = records[3].1.len();
    let open_with = |bytes: Vec<u8>| {
        let disk = disk.copy();
        disk.meddle(JOURNAL, Some(bytes));
        let ledger = open(&disk).unwrap();
        (ledger.health(), ledger.size())
    };
    // The last one is cut anywhere, or has a hole: it was never written to its end.
    for cut in (journal.len() - last..journal.len()).step_by(7) {
        let room = vec![0; journal.len() + 100 - cut];
        assert_eq!(open_with(journal[..cut].to_vec()), (Health::Signing, 5));
        assert_eq!(open_with([&journal[..cut], &room].concat()), (Health::Signing, 5));
        let mut hole = journal.clone();
        hole[cut] ^= 1;
        assert_eq!(open_with(hole), (Health::Signing, 5));
    }
    // One before it is damaged, or gone: they were answered, and nothing is signed over them.
    for at in (0..journal.len() - last).step_by(7) {
        let mut damaged = journal.clone();
        damaged[at] ^= 1;
        let (health, size) = open_with(damaged);
        assert!(matches!(&health, Health::Poisoned { why } if why.contains(JOURNAL)), "{at}: {health}");
        assert_eq!(size, 3, "what is public is shown");
    }
    for missing in 1..3 {
        let others = records.iter().enumerate().filter(|(at, _)| *at != missing);
        let (health, _) = open_with(others.flat_map(|(_, (_, record))| record.clone()).collect());
        assert!(matches!(&health, Health::Poisoned { why } if why.contains(JOURNAL)), "{missing}: {health}");
    }
    // Twice, or in another order.
    let twice = [&journal[..], &records[3].1].concat();
    assert!(matches!(open_with(twice).0, Health::Poisoned { .. }));
    assert_eq!(open_with(journal), (Health::Signing, 6));
}

#[test]
fn a_last_commit_that_readers_saw_is_not_taken_for_one_that_was_never_finished() {
    let (disk, records) = unwritten();
    let finished = disk.copy();
    drop(open(&finished).unwrap());
    disk.meddle(CHECKPOINT, finished.file(CHECKPOINT));
    let mut damaged = disk.file(JOURNAL).unwrap();
    let at = damaged.len() - records[3].1.len() / 2;
    damaged[at] ^= 1;
    disk.meddle(JOURNAL, Some(damaged));
    let ledger = open(&disk).unwrap();
    assert!(matches!(ledger.health(), Health::Poisoned { why } if why.contains("damaged")));
    assert!(matches!(ledger.append(documents(900..901)), Err(AppendError::Refused { .. })));
}

/// `state/` of a copy that went on by itself, over the `ledger/` of the one that went on elsewhere.
#[test]
fn the_state_of_a_clone_that_diverged_is_not_laid_over_what_is_public() {
    for (common, theirs, ours) in [(5, 3, 3), (5, 4, 2), (5, 200, 400), (300, 10, 9), (513, 300, 2), (256, 1, 1)] {
        let disk = home_of(common);
        let clone = disk.copy();
        open(&disk).unwrap().append(documents(10_000..10_000 + theirs)).unwrap();
        open(&clone).unwrap().append(documents(20_000..20_000 + ours + theirs)).unwrap();
        // Never behind: by its size alone the head could follow what is public.
        disk.roll_back(&clone.files(), &["state/"]);
        let before = disk.durable();
        for _ in 0..2 {
            let ledger = open(&disk).unwrap();
            assert!(matches!(ledger.health(), Health::RolledBack { .. }), "{}", ledger.health());
            assert_eq!(ledger.size(), common + theirs, "what is public is shown");
            assert!(ledger.fsck(Depth::Published, &mut |_| {}).is_sound());
            assert!(ledger.index_of_digest(&digest(&document(10_000))).is_some());
            drop(ledger);
            assert!(disk.durable() == before, "nothing was written over it");
        }
    }
}

#[test]
fn that_it_is_rolled_back_hides_behind_no_failed_write() {
    let (disk, after) = three_commits();
    disk.roll_back(&after[1], &["state/", "ledger/"]);
    let ledger = open(&disk).unwrap();
    disk.fail_at(0, support::Fault::Unknown(support::Applied::Nothing));
    assert!(matches!(ledger.append(documents(800..801)), Err(AppendError::Unknown { .. })));
    assert!(matches!(ledger.health(), Health::Poisoned { .. }));
    let newer = Note::parse(&after[2][CHECKPOINT]).unwrap();
    assert!(matches!(ledger.confront(newer).unwrap(), Health::RolledBack { .. }));
    assert!(matches!(ledger.append(documents(800..801)), Err(AppendError::Refused { .. })));
}

/// Whoever passed by the lock of the home meets the journal.
#[test]
fn of_two_that_have_one_ledger_open_the_one_that_is_behind_signs_nothing() {
    let disk = home_of(8);
    let (one, other) = (open(&disk).unwrap(), open(&disk).unwrap());
    one.append(documents(8..9)).unwrap();
    let journal = disk.file(JOURNAL);
    assert!(matches!(other.append(documents(9..12)), Err(AppendError::Unknown { .. })));
    assert!(matches!(other.health(), Health::Poisoned { .. }));
    assert!(matches!(other.append(documents(12..13)), Err(AppendError::Refused { .. })));
    assert!(disk.file(JOURNAL) == journal);
    drop((one, other));
    let ledger = open(&disk).unwrap();
    assert_eq!((ledger.health(), ledger.index_of_digest(&digest(&document(8)))), (Health::Signing, Some(8)));
}
