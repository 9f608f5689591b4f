//! The next generation of a ledger holds what the one before held, under a name and a key of its own; the one before is
//! read for ever and signs nothing any more.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use custodia_format::checkpoint::SignedCheckpoint;
use custodia_format::entry::Entry;
use custodia_format::key::SigningKey;
use custodia_format::note::{KeyType, Vkey};
use custodia_ledger::{AppendError, Depth, Health, Ledger, OpenError, ReadError, found_next, salvage};
use support::{CHECKPOINT, Disk, JOURNAL, digest, document, documents, home_of, records, vkey};

const NEXT: &str = "forensics.example/lab-1/2";

fn next_key() -> SigningKey {
    SigningKey::from_seed(&[8; 32])
}

fn entries(ledger: &Ledger) -> impl Iterator<Item = Result<Entry, ReadError>> {
    (0..ledger.size()).map(|index| ledger.entry(index))
}

#[test]
fn an_ended_ledger_is_read_and_signs_nothing() {
    let disk = home_of(300);
    let before = disk.durable();
    let ended = Ledger::open_ended(disk.clone(), vkey()).unwrap();
    assert_eq!((ended.health(), ended.size()), (Health::Ended, 300));
    let refused = ended.append(documents(300..301));
    assert!(matches!(refused, Err(AppendError::Refused { health: Health::Ended })));
    for n in 0..300 {
        assert_eq!(ended.find(&digest(&document(n))).unwrap(), Some(n));
        ended.prove(n, 300).unwrap();
    }
    ended.consistency(7, 300).unwrap();
    // Nothing that a peer shows makes it anything else.
    let newer = Ledger::open(home_of(301), support::ORIGIN, support::key()).unwrap().checkpoint();
    assert_eq!(ended.confront(newer.note().clone()).unwrap(), Health::Ended);
    drop(ended);
    assert!(disk.durable() == before, "it was written to");

    let other = Vkey::new(NEXT, KeyType::Ed25519, next_key().public()).unwrap();
    assert!(matches!(Ledger::open_ended(disk, other), Err(OpenError::NoLedger)));
}

#[test]
fn the_next_generation_holds_the_same_documents_and_goes_on() {
    let held = home_of(65_000);
    support::open(&held).unwrap().append(documents(65_000..70_000)).unwrap();
    let old = Ledger::open_ended(held, vkey()).unwrap();
    let disk = Disk::default();
    let card = document(70_000);
    let all = entries(&old).chain([Ok(Entry::of(&card.bytes))]);
    let founded = found_next(disk.clone(), NEXT, next_key(), all).unwrap();
    assert_eq!((founded.checkpoint().origin.as_str(), founded.checkpoint().size), (NEXT, 70_001));
    // What is promised is on the disk, also when the power goes now.
    disk.power_cut();
    let next = Ledger::open(disk, NEXT, next_key()).unwrap();
    assert_eq!(next.checkpoint(), founded);
    assert_eq!(next.root(70_000).unwrap(), old.root(70_000).unwrap(), "the same entries in the same order");
    for n in [0, 1, 255, 256, 65_535, 65_536, 69_999, 70_000] {
        assert_eq!(next.find(&digest(&document(n))).unwrap(), Some(n), "{n}");
    }
    // A document that came along keeps its index; a new one follows.
    assert_eq!(next.append(vec![document(5)]).unwrap()[0].index, 5);
    assert_eq!(next.append(vec![document(70_001)]).unwrap()[0].index, 70_001);
    assert!(next.fsck(Depth::Published, &mut |_| {}).is_sound());
}

#[test]
fn a_ledger_is_not_founded_over_another_and_of_no_unreadable_entries() {
    let disk = home_of(3);
    let before = disk.durable();
    let refused = found_next(disk.clone(), NEXT, next_key(), []);
    assert!(matches!(refused, Err(OpenError::Exists { .. })), "{refused:?}");
    assert!(disk.durable() == before);

    let unreadable = ReadError::OutOfRange { asked: 9, size: 3 };
    let failed = found_next(Disk::default(), NEXT, next_key(), [Err(unreadable)]);
    assert!(matches!(failed, Err(OpenError::Create { .. })), "{failed:?}");

    let empty = Disk::default();
    let founded = found_next(empty.clone(), NEXT, next_key(), []).unwrap();
    assert_eq!(founded.checkpoint().size, 0);
    let public = empty.durable();
    let note = custodia_format::note::Note::parse(&public[CHECKPOINT]).unwrap();
    let vkey = Vkey::new(NEXT, KeyType::Ed25519, next_key().public()).unwrap();
    SignedCheckpoint::check(note, &vkey).unwrap();
}

#[test]
fn what_stands_in_a_damaged_journal_alone_is_salvaged() {
    let disk = home_of(3);
    let ledger = support::open(&disk).unwrap();
    for n in 3..7 {
        ledger.append(documents(n..n + 1)).unwrap();
    }
    let killed = disk.copy();
    let records = records(&killed.file(JOURNAL).unwrap());
    let mut damaged = killed.file(JOURNAL).unwrap();
    let third: usize = records[..2].iter().map(|(_, record)| record.len()).sum();
    damaged[third + 300] ^= 1;
    killed.meddle(JOURNAL, Some(damaged));
    assert!(!support::open(&killed).unwrap().health().may_sign());
    let there = |n: u64| killed.file(&document(n).shelf.path(&digest(&document(n))));
    assert_eq!((3..7).filter_map(there).count(), 0);
    assert_eq!(salvage(&killed, &vkey()).unwrap(), 3);
    for n in [0, 1, 2, 3, 5, 6] {
        assert_eq!(there(n), Some(document(n).bytes), "{n}");
    }
    assert_eq!(there(4), None, "that one is damaged itself");
    assert_eq!(salvage(&killed, &vkey()).unwrap(), 0);
    assert_eq!(salvage(&Disk::default(), &vkey()).unwrap(), 0);
}
