//! Transfers: any order, several threads, wrong bytes, killed processes, torn records, what the vault holds already.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use custodia_format::Hash;
use custodia_vault::{
    Incoming, IncomingError, ItemPlan, MidstatesHere, Missing, Plan, PlanError, Stats, StorageError, Taken, Vault,
};
use support::{MIB, Sent, SmallDisk, assert_swept, noise, objects, two};

struct Case {
    home: tempfile::TempDir,
    sent: Vec<Sent>,
    release: Hash,
}

impl Case {
    fn new(contents: Vec<Vec<u8>>) -> Self {
        let sent = contents.into_iter().enumerate().map(|(n, bytes)| Sent::new(n as u64 * 3 + 1, bytes)).collect();
        Self { home: tempfile::tempdir().unwrap(), sent, release: Hash::of(b"release") }
    }

    /// A long item, one of exactly a MiB, small ones, an empty one, and a long one twice.
    fn mixed() -> Self {
        let long = noise(1, 5 * MIB + 77);
        let short = (10..40).map(|n| noise(n, n as usize * 11));
        let mut contents = vec![long.clone(), noise(2, MIB), vec![], noise(3, MIB - 1), long, noise(4, 2 * MIB)];
        contents.extend(short);
        Self::new(contents)
    }

    fn vault(&self) -> Vault {
        Vault::open(self.home.path()).unwrap()
    }

    fn plan(&self) -> Vec<ItemPlan> {
        self.sent.iter().map(|sent| sent.plan).collect()
    }

    fn open(&self, vault: &Vault) -> Arc<Incoming> {
        vault.transfer(&self.release, || Ok(self.plan())).unwrap()
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("incoming").join(self.release.to_string())
    }

    /// Where the vault holds one of what is sent.
    fn object(&self, sent: &Sent) -> PathBuf {
        let hex = sent.plan.sha256.to_string();
        self.home.path().join("objects").join(&hex[..2]).join(hex)
    }

    fn sent(&self, record: u64) -> &Sent {
        self.sent.iter().find(|sent| sent.plan.record == record).unwrap()
    }

    fn distinct_bytes(&self) -> u64 {
        let distinct: BTreeSet<_> = self.sent.iter().map(|sent| (sent.plan.sha256, sent.plan.size)).collect();
        distinct.iter().map(|(_, size)| size).sum()
    }

    fn bring_range(&self, incoming: &Incoming, range: &Missing) {
        let sent = self.sent(range.record);
        if range.midstates == MidstatesHere::No {
            incoming.take_midstates(range.record, &sent.midstates).unwrap();
        }
        for chunk in range.first_chunk..range.first_chunk + range.count {
            assert_eq!(incoming.take_chunk(range.record, chunk, sent.chunk(chunk)).unwrap(), Taken::New);
        }
    }

    /// What a sender does until nothing is missing.
    fn bring_all(&self, incoming: &Incoming) {
        loop {
            let page = all_missing(incoming);
            if page.is_empty() {
                return;
            }
            page.iter().for_each(|range| self.bring_range(incoming, range));
        }
    }

    fn assert_arrived(&self, vault: &Vault) {
        for sent in &self.sent {
            let item = vault.item(&sent.plan.sha256).unwrap();
            let mut bytes = vec![0; item.size() as usize];
            item.read_exact_at(0, &mut bytes).unwrap();
            assert_eq!(bytes, sent.bytes);
            let midstates = vault.midstates(&sent.plan.sha256).unwrap();
            assert_eq!(custodia_format::midstate::print_midstates(&midstates), sent.midstates);
        }
        let distinct: BTreeSet<_> = self.sent.iter().map(|sent| sent.plan.sha256).collect();
        assert_eq!(objects(vault).len(), distinct.len());
        assert_swept(vault);
    }
}

fn all_missing(incoming: &Incoming) -> Vec<Missing> {
    incoming.missing(0, 0, usize::MAX).unwrap()
}

fn missing_bytes(stats: &Stats) -> u64 {
    stats.bytes - stats.bytes_proven
}

#[test]
fn p2_a_whole_transfer_by_several_threads_in_any_order() {
    let case = Case::mixed();
    let vault = case.vault();
    let incoming = case.open(&vault);
    assert!(Arc::ptr_eq(&incoming, &vault.transfer(&case.release, || panic!("it is open")).unwrap()));
    let mut chunks: Vec<(u64, u64)> = Vec::new();
    for range in all_missing(&incoming) {
        assert_ne!(range.size, 0, "empty items are never missing");
        assert_eq!(range.midstates == MidstatesHere::No, range.size >= MIB as u64);
        if range.midstates == MidstatesHere::No {
            incoming.take_midstates(range.record, &case.sent(range.record).midstates).unwrap();
        }
        chunks.extend((range.first_chunk..range.first_chunk + range.count).map(|chunk| (range.record, chunk)));
    }
    assert!(chunks.is_sorted());
    chunks.sort_by_key(|(record, chunk)| Hash::of(&[*record as u8, *chunk as u8]));
    std::thread::scope(|scope| {
        for part in chunks.chunks(chunks.len().div_ceil(4)) {
            let (case, incoming) = (&case, &incoming);
            scope.spawn(move || {
                for (record, chunk) in part {
                    incoming.take_chunk(*record, *chunk, case.sent(*record).chunk(*chunk)).unwrap();
                }
            });
        }
    });
    assert!(all_missing(&incoming).is_empty());
    let stats = incoming.stats();
    assert_eq!((stats.items, stats.bytes), (case.sent.len() as u64, case.distinct_bytes()));
    assert_eq!((stats.bytes_proven, stats.bytes_travelled, stats.bytes_again), (stats.bytes, stats.bytes, 0));
    assert_eq!((stats.failures, stats.bytes_reused), (0, 0));
    incoming.finish().unwrap();
    incoming.finish().unwrap();
    case.assert_arrived(&vault);
    let hex = case.sent[0].plan.sha256.to_string();
    for shelf in ["objects", "midstates"] {
        let path = case.home.path().join(shelf).join(&hex[..2]).join(&hex);
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o400);
    }
    // What arrives late is dropped.
    assert_eq!(incoming.take_chunk(1, 0, case.sent(1).chunk(0)).unwrap(), Taken::Again);
    incoming.sync().unwrap();
    vault.forget_transfer(&case.release).unwrap();
    vault.forget_transfer(&case.release).unwrap();
    assert!(!case.folder().exists());
    assert!(matches!(incoming.take_chunk(1, 0, case.sent(1).chunk(0)), Err(IncomingError::Forgotten)));
    case.assert_arrived(&vault);
}

#[test]
fn pages_are_in_order_and_go_on_from_a_cursor() {
    let case = Case::mixed();
    let vault = case.vault();
    let incoming = case.open(&vault);
    incoming.take_midstates(1, &case.sent(1).midstates).unwrap();
    incoming.take_chunk(1, 2, case.sent(1).chunk(2)).unwrap();
    let all = all_missing(&incoming);
    assert_eq!((all[0].first_chunk, all[0].count, all[1].first_chunk, all[1].count), (0, 2, 3, 3));
    assert_eq!(all[0].midstates, MidstatesHere::Yes);
    let mut paged = Vec::new();
    let (mut record, mut chunk) = (0, 0);
    loop {
        let page = incoming.missing(record, chunk, 2).unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        (record, chunk) = (last.record, last.first_chunk + last.count);
        paged.extend(page);
    }
    assert_eq!(paged, all);
    assert_eq!(incoming.missing(1, 1, 1).unwrap()[0].first_chunk, 1);
    assert_eq!(incoming.missing(1, 2, 1).unwrap()[0].first_chunk, 3);
    assert!(incoming.missing(u64::MAX, u64::MAX, 1).unwrap().is_empty());
}

#[test]
fn p2_what_does_not_prove_is_not_written() {
    let case = Case::mixed();
    let vault = case.vault();
    let incoming = case.open(&vault);
    let long = case.sent(1);
    assert!(matches!(incoming.take_chunk(1, 0, long.chunk(0)), Err(IncomingError::MidstatesFirst { record: 1 })));
    let mut wrong = long.midstates.clone();
    wrong[40] ^= 1;
    for wrong in [&wrong[..], &wrong[1..], &[]] {
        assert!(matches!(incoming.take_midstates(1, wrong), Err(IncomingError::NotMidstates { record: 1 })));
    }
    assert!(matches!(incoming.take_midstates(2, &[]), Err(IncomingError::Unknown { record: 2, .. })));
    incoming.take_midstates(1, &long.midstates).unwrap();
    let mut bytes = long.chunk(1).to_vec();
    bytes[MIB - 1] ^= 1;
    for failures in 1..=3 {
        match incoming.take_chunk(1, 1, &bytes) {
            Err(IncomingError::NotProven { record: 1, chunk: 1, failures: found }) => assert_eq!(found, failures),
            other => panic!("{other:?}"),
        }
    }
    for (chunk, bytes) in [(1, long.chunk(2)), (0, long.chunk(1)), (6, long.chunk(1)), (u64::MAX, &[]), (5, &[])] {
        assert!(matches!(incoming.take_chunk(1, chunk, bytes), Err(IncomingError::NotProven { .. })));
    }
    let small = case.sent.last().unwrap();
    assert!(incoming.take_chunk(small.plan.record, 0, &small.bytes[1..]).is_err());
    assert!(incoming.take_chunk(small.plan.record, 0, &noise(99, small.bytes.len())).is_err());
    assert!(matches!(incoming.take_chunk(2, 0, &[]), Err(IncomingError::Unknown { .. })));
    assert!(
        matches!(incoming.take_chunk(7, 0, &[]), Err(IncomingError::NotProven { .. })),
        "an empty item has no chunk"
    );
    assert!(!case.folder().join(long.plan.sha256.to_string()).metadata().is_ok_and(|it| it.blocks_used() > 0));
    assert!(!case.folder().join(small.plan.sha256.to_string()).exists());
    let stats = incoming.stats();
    assert_eq!((stats.bytes_proven, stats.failures), (0, 14));
    assert!(matches!(incoming.finish(), Err(IncomingError::Incomplete { bytes, .. }) if bytes == stats.bytes));
    case.bring_all(&incoming);
    incoming.finish().unwrap();
    case.assert_arrived(&vault);
}

trait Blocks {
    fn blocks_used(&self) -> u64;
}

impl Blocks for fs::Metadata {
    fn blocks_used(&self) -> u64 {
        std::os::unix::fs::MetadataExt::blocks(self)
    }
}

/// As a kill does: nothing is told that it ends. Only threads of ours are waited for.
fn kill(vault: Vault, incoming: Arc<Incoming>) {
    drop((vault, incoming));
}

#[test]
fn p4_nothing_that_arrived_travels_again_however_often_we_are_killed() {
    let case = Case::mixed();
    let (mut travelled, mut proven, mut unrecorded) = (0, 0, 0);
    for life in 0..200 {
        let vault = case.vault();
        let incoming = case.open(&vault);
        let stats = incoming.stats();
        assert_eq!(stats.bytes_proven, proven, "what is recorded, and what proves again");
        assert_eq!((stats.bytes_travelled, stats.bytes_again), (travelled, 0));
        let page = incoming.missing(0, 0, 2).unwrap();
        if page.is_empty() {
            assert!(life > 5);
            incoming.finish().unwrap();
            case.assert_arrived(&vault);
            assert!(unrecorded > 0);
            assert_eq!(travelled, case.distinct_bytes());
            return;
        }
        page.iter().for_each(|range| case.bring_range(&incoming, &Missing { count: 1, ..*range }));
        // Every second life ends after it recorded, every second before.
        if life % 2 == 1 {
            incoming.sync().unwrap();
        }
        let stats = incoming.stats();
        unrecorded += stats.bytes_proven - stats.bytes_recorded;
        (travelled, proven) = (stats.bytes_travelled, stats.bytes_proven);
        kill(vault, incoming);
    }
    panic!("no progress");
}

#[test]
fn recording_begins_by_itself() {
    let case = Case::new(vec![noise(1, 65 * MIB)]);
    let vault = case.vault();
    let incoming = case.open(&vault);
    case.bring_all(&incoming);
    // Waits for the thread that records.
    kill(vault, incoming);
    let vault = case.vault();
    let stats = case.open(&vault).stats();
    assert!(stats.bytes_recorded >= 64 << 20, "{stats:?}");
}

#[test]
fn a_torn_or_flipped_or_foreign_record_counts_as_nothing() {
    let case = Case::mixed();
    let vault = case.vault();
    let incoming = case.open(&vault);
    let page = all_missing(&incoming);
    page.iter().take(4).for_each(|range| case.bring_range(&incoming, range));
    incoming.sync().unwrap();
    let recorded = incoming.stats().bytes_recorded;
    assert!(recorded > 0);
    kill(vault, incoming);
    let have = case.folder().join("have");
    let good = fs::read(&have).unwrap();
    let bytes_recorded = || {
        let vault = case.vault();
        case.open(&vault).stats().bytes_recorded
    };
    for cut in [0, 10, good.len() / 2, good.len() - 1] {
        fs::write(&have, &good[..cut]).unwrap();
        assert_eq!(bytes_recorded(), 0);
    }
    for place in [0, 30, 90, good.len() - 33, good.len() - 1] {
        let mut bad = good.clone();
        bad[place] ^= 4;
        fs::write(&have, bad).unwrap();
        assert_eq!(bytes_recorded(), 0);
    }
    fs::write(&have, &good).unwrap();
    assert_eq!(bytes_recorded(), recorded);
    // The same folder for another plan.
    let vault = case.vault();
    let other = vault.transfer(&case.release, || Ok(case.plan().into_iter().skip(1).collect())).unwrap();
    assert_eq!(other.stats().bytes_recorded, 0);
    drop((vault, other));
    // A file that is shorter or gone loses its marks, the others keep theirs.
    let file = case.folder().join(case.sent(1).plan.sha256.to_string());
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(3 << 20).unwrap();
    assert_eq!(bytes_recorded(), recorded - case.sent(1).plan.size);
    fs::remove_file(&file).unwrap();
    assert_eq!(bytes_recorded(), recorded - case.sent(1).plan.size);
    let vault = case.vault();
    let incoming = case.open(&vault);
    case.bring_all(&incoming);
    incoming.finish().unwrap();
    case.assert_arrived(&vault);
}

#[test]
fn what_was_written_and_not_recorded_is_proven_again_and_does_not_travel() {
    let case = Case::mixed();
    let vault = case.vault();
    let incoming = case.open(&vault);
    case.bring_all(&incoming);
    kill(vault, incoming);
    assert!(!case.folder().join("have").exists(), "it came in too quickly to be recorded");
    // A process was killed between the last look at a file and its name.
    let files = || case.sent.iter().map(|sent| case.folder().join(sent.plan.sha256.to_string()));
    let written = files().filter(|path| path.exists());
    written.for_each(|path| fs::set_permissions(path, fs::Permissions::from_mode(0o400)).unwrap());
    let vault = case.vault();
    let incoming = case.open(&vault);
    let stats = incoming.stats();
    assert_eq!((stats.bytes_recorded, stats.bytes_proven), (0, stats.bytes));
    assert_eq!(all_missing(&incoming), []);
    kill(vault, incoming);

    // What rotted, was cut off or was never written comes anew, and nothing else.
    let long = files().next().unwrap();
    let mut bytes = fs::read(&long).unwrap();
    bytes[(2 << 20) + 5] ^= 1;
    fs::write(&long, bytes).unwrap();
    let short = files().next_back().unwrap();
    fs::write(&short, b"cut").unwrap();
    let vault = case.vault();
    let incoming = case.open(&vault);
    let missing: Vec<(u64, u64, u64)> =
        all_missing(&incoming).iter().map(|range| (range.record, range.first_chunk, range.count)).collect();
    let last = case.sent.last().unwrap().plan.record;
    assert_eq!(missing, [(case.sent[0].plan.record, 2, 1), (last, 0, 1)]);
    case.bring_all(&incoming);
    incoming.finish().unwrap();
    assert!(!case.folder().join("have").exists(), "the names are its record");
    case.assert_arrived(&vault);
}

#[test]
fn torn_midstates_travel_again() {
    let case = Case::mixed();
    let vault = case.vault();
    let incoming = case.open(&vault);
    incoming.take_midstates(1, &case.sent(1).midstates).unwrap();
    kill(vault, incoming);
    let path = case.folder().join(case.sent(1).plan.sha256.to_string()).with_extension("midstates");
    let mut bytes = fs::read(&path).unwrap();
    let here = || {
        let vault = case.vault();
        let incoming = case.open(&vault);
        all_missing(&incoming)[0].midstates
    };
    assert_eq!(here(), MidstatesHere::Yes);
    bytes[7] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(here(), MidstatesHere::No);
    fs::write(&path, &bytes[..32]).unwrap();
    assert_eq!(here(), MidstatesHere::No);
}

#[test]
fn what_the_vault_holds_does_not_travel_but_is_hashed_first() {
    let case = Case::mixed();
    let vault = case.vault();
    let source = tempfile::tempdir().unwrap();
    let (long, small) = (&case.sent[0], case.sent.last().unwrap());
    fs::write(source.path().join("long"), &long.bytes).unwrap();
    fs::write(source.path().join("small"), &small.bytes).unwrap();
    vault.import(&Plan::of(&[source.path().to_owned()]), two(), &()).unwrap();
    // One of the two has rotted: it must travel, and the good bytes take its place.
    let path = case.object(small);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, noise(77, small.bytes.len())).unwrap();

    let incoming = case.open(&vault);
    let missing = all_missing(&incoming);
    assert!(missing.iter().all(|range| range.record != long.plan.record));
    assert!(missing.iter().any(|range| range.record == small.plan.record));
    let stats = incoming.stats();
    assert_eq!((stats.bytes_reused, stats.bytes_proven), (long.plan.size, long.plan.size));
    assert_eq!(incoming.take_chunk(long.plan.record, 0, long.chunk(0)).unwrap(), Taken::Again);
    case.bring_all(&incoming);
    incoming.finish().unwrap();
    case.assert_arrived(&vault);
    // A second release of the same items needs nothing.
    let second = vault.transfer(&Hash::of(b"second"), || Ok(case.plan())).unwrap();
    assert!(all_missing(&second).is_empty());
    assert_eq!(second.stats().bytes_reused, case.distinct_bytes());
    second.finish().unwrap();
    case.assert_arrived(&vault);
}

#[test]
fn what_is_erased_between_the_hashing_and_the_end_is_missing_again() {
    let case = Case::new(vec![noise(1, 100)]);
    let vault = case.vault();
    let first = case.open(&vault);
    case.bring_all(&first);
    first.finish().unwrap();
    let second = vault.transfer(&Hash::of(b"second"), || Ok(case.plan())).unwrap();
    assert!(all_missing(&second).is_empty());
    fs::remove_file(case.object(&case.sent[0])).unwrap();
    assert!(matches!(second.finish(), Err(IncomingError::Incomplete { chunks: 1, bytes: 100 })));
    case.bring_all(&second);
    second.finish().unwrap();
    case.assert_arrived(&vault);
}

#[test]
fn p2_what_rots_between_the_hashing_and_the_end_is_missing_again() {
    let case = Case::new(vec![noise(1, 100)]);
    let vault = case.vault();
    let first = case.open(&vault);
    case.bring_all(&first);
    first.finish().unwrap();
    let second = vault.transfer(&Hash::of(b"second"), || Ok(case.plan())).unwrap();
    assert!(all_missing(&second).is_empty());
    let path = case.object(&case.sent[0]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, noise(2, 100)).unwrap();
    assert!(matches!(second.finish(), Err(IncomingError::Incomplete { chunks: 1, bytes: 100 })));
    case.bring_all(&second);
    second.finish().unwrap();
    case.assert_arrived(&vault);
}

#[test]
fn p2_what_an_earlier_process_recorded_is_proven_once_more_before_the_end() {
    let case = Case::mixed();
    let vault = case.vault();
    let incoming = case.open(&vault);
    case.bring_all(&incoming);
    incoming.sync().unwrap();
    kill(vault, incoming);
    let file = |n: usize| case.folder().join(case.sent[n].plan.sha256.to_string());
    let rot = |path: &std::path::Path, place: usize| {
        let mut bytes = fs::read(path).unwrap();
        bytes[place] ^= 16;
        fs::write(path, bytes).unwrap();
    };
    // A bit of one recorded chunk; and midstates, without which chunks cannot be proven one by one.
    rot(&file(0), (2 << 20) + 77);
    rot(&file(5).with_extension("midstates"), 5);
    let vault = case.vault();
    let incoming = case.open(&vault);
    assert!(all_missing(&incoming).is_empty(), "it was recorded, and what was recorded is not asked for");
    assert!(matches!(incoming.finish(), Err(IncomingError::Incomplete { chunks: 1, bytes: 1_048_576 })));
    let missing: Vec<(u64, u64, u64)> =
        all_missing(&incoming).iter().map(|range| (range.record, range.first_chunk, range.count)).collect();
    assert_eq!(missing, [(case.sent[0].plan.record, 2, 1)], "nothing else travels again");
    case.bring_all(&incoming);
    incoming.finish().unwrap();
    case.assert_arrived(&vault);
}

#[test]
fn p1_a_crash_at_any_step_of_the_end_loses_nothing() {
    let case = Case::mixed();
    let vault = case.vault();
    let incoming = case.open(&vault);
    case.bring_all(&incoming);
    incoming.sync().unwrap();
    kill(vault, incoming);
    // As if the end had been reached for some: their files have their names already, the rest has not.
    let hex = |n: usize| case.sent[n].plan.sha256.to_string();
    for n in [0, 3, 20] {
        let to = case.home.path().join("objects").join(&hex(n)[..2]);
        fs::create_dir_all(&to).unwrap();
        let from = case.folder().join(hex(n));
        fs::set_permissions(&from, fs::Permissions::from_mode(0o400)).unwrap();
        fs::rename(from, to.join(hex(n))).unwrap();
    }
    fs::write(case.folder().join("have.new"), b"torn").unwrap();
    let vault = case.vault();
    let incoming = case.open(&vault);
    assert!(all_missing(&incoming).is_empty());
    assert_eq!(missing_bytes(&incoming.stats()), 0);
    incoming.finish().unwrap();
    kill(vault, incoming);
    case.assert_arrived(&case.vault());
    // After the end, before it was forgotten.
    let vault = case.vault();
    let incoming = case.open(&vault);
    assert!(all_missing(&incoming).is_empty());
    incoming.finish().unwrap();
    case.assert_arrived(&vault);
    assert_eq!(incoming.stats().bytes_travelled, case.distinct_bytes());
}

#[test]
fn a_full_disk_while_receiving() {
    let Some(disk) = SmallDisk::new("12m") else { return };
    let mut case = Case::mixed();
    case.home = tempfile::tempdir_in(&disk.path).unwrap();
    let vault = case.vault();
    let incoming = case.open(&vault);
    let filler = disk.path.join("filler");
    fs::write(&filler, noise(5, 7 * MIB)).unwrap();
    let mut full = 0;
    for range in all_missing(&incoming) {
        let sent = case.sent(range.record);
        if range.midstates == MidstatesHere::No && incoming.take_midstates(range.record, &sent.midstates).is_err() {
            full += 1;
            continue;
        }
        for chunk in range.first_chunk..range.first_chunk + range.count {
            match incoming.take_chunk(range.record, chunk, sent.chunk(chunk)) {
                Ok(_) => {}
                Err(IncomingError::Storage(StorageError::Full { .. })) => full += 1,
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(full > 0);
    let stats = incoming.stats();
    assert!(stats.bytes_proven > 0 && stats.bytes_proven < stats.bytes);
    // Nothing can be recorded now; what is proven stays so, here and now.
    let synced = incoming.sync();
    assert!(matches!(synced, Ok(()) | Err(IncomingError::Storage(StorageError::Full { .. }))), "{synced:?}");
    assert!(objects(&vault).is_empty());
    fs::remove_file(&filler).unwrap();
    incoming.sync().unwrap();
    let recorded = incoming.stats().bytes_recorded;
    assert_eq!(recorded, stats.bytes_proven);
    kill(vault, incoming);
    let vault = case.vault();
    let incoming = case.open(&vault);
    assert_eq!(incoming.stats().bytes_proven, recorded);
    case.bring_all(&incoming);
    incoming.finish().unwrap();
    case.assert_arrived(&vault);
    assert_eq!(incoming.stats().bytes_again, 0);
    drop((incoming, vault, case));
}

#[test]
fn zeros_that_arrive_occupy_nothing() {
    let mut bytes = vec![0; 64 * MIB + 5];
    bytes[10 * MIB + 3] = 1;
    let case = Case::new(vec![bytes]);
    let vault = case.vault();
    let incoming = case.open(&vault);
    case.bring_all(&incoming);
    incoming.finish().unwrap();
    case.assert_arrived(&vault);
    let hex = case.sent[0].plan.sha256.to_string();
    let object = fs::metadata(case.home.path().join("objects").join(&hex[..2]).join(&hex)).unwrap();
    assert!(object.blocks_used() * 512 <= 3 << 20, "{}", object.blocks_used());
}

#[test]
fn five_thousand_small_items() {
    let case = Case::new((0..5000).map(|n| noise(n, n as usize % 500 + 1)).collect());
    let vault = case.vault();
    let incoming = case.open(&vault);
    for range in incoming.missing(0, 0, 3000).unwrap() {
        case.bring_range(&incoming, &range);
    }
    incoming.sync().unwrap();
    kill(vault, incoming);
    let vault = case.vault();
    let incoming = case.open(&vault);
    case.bring_all(&incoming);
    incoming.finish().unwrap();
    case.assert_arrived(&vault);
    let stats = incoming.stats();
    assert_eq!((stats.bytes_travelled, stats.bytes_again), (stats.bytes, 0));
}

#[test]
fn a_plan_that_cannot_be_is_refused() {
    let case = Case::mixed();
    let vault = case.vault();
    let refused = |plan: Result<Vec<ItemPlan>, PlanError>| match vault.transfer(&case.release, || plan) {
        Err(IncomingError::Plan(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused(Err(PlanError::Unreadable("torn".into()))), PlanError::Unreadable(_)));
    let twice = [case.plan(), case.plan()].concat();
    assert!(matches!(refused(Ok(twice)), PlanError::TwoPlans { record: 1 }));
    // And the next one may still begin.
    case.bring_all(&case.open(&vault));
}
