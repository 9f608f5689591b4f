//! What callers at the same time get, and what stands in the files afterwards: byte for byte as C2SP tlog-tiles says.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Barrier;
use std::time::Duration;

use custodia_format::Hash;
use custodia_format::entry::Entry;
use custodia_format::note::Vkey;
use custodia_ledger::{AppendError, Appended, Depth, Document, Folder, Ledger, ReadError, Shelf, fsck};
use custodia_merkle::{leaf_hash, node_hash, root, verify_consistency, verify_inclusion};
use support::{
    CHECKPOINT, Disk, Files, JOURNAL, ORIGIN, PACE, checkpoint, create, digest, document, documents, home_of, key, open,
};

fn commits(disk: &Disk) -> usize {
    disk.calls().iter().filter(|call| call.starts_with("extend")).count()
}

/// Appends by so many threads that begin together; what each was answered.
fn together(ledger: &Ledger, callers: u64, of: impl Fn(u64) -> Vec<Document> + Sync) -> Vec<Vec<Appended>> {
    let (barrier, of) = (&Barrier::new(callers as usize), &of);
    std::thread::scope(|scope| {
        let ask = |caller| {
            move || {
                barrier.wait();
                ledger.append(of(caller)).unwrap()
            }
        };
        let threads: Vec<_> = (0..callers).map(|caller| scope.spawn(ask(caller))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn many_callers_share_few_commits_and_each_gets_its_own_indexes() {
    let disk = Disk::default();
    let ledger = create(&disk);
    disk.slow_commits(Duration::from_millis(5));
    let before = commits(&disk);
    let answers = together(&ledger, 64, |caller| documents(3 * caller..3 * caller + 3));
    assert!(commits(&disk) - before < 32, "{} commits for 64 callers", commits(&disk) - before);
    let mut indexes = BTreeSet::new();
    for (caller, answer) in (0..).zip(answers) {
        assert_eq!(
            answer.iter().map(|one| one.digest).collect::<Vec<_>>(),
            documents(3 * caller..3 * caller + 3).iter().map(digest).collect::<Vec<_>>()
        );
        // In the caller's order and next to each other, whoever shares the commit.
        assert!(answer.windows(2).all(|pair| pair[1].index == pair[0].index + 1), "{answer:?}");
        for Appended { index, digest } in answer {
            assert_eq!(ledger.entry(index).unwrap().sha256, digest);
            indexes.insert(index);
        }
    }
    assert_eq!(indexes, (0..192).collect());
    assert_eq!(ledger.size(), 192);
}

#[test]
fn one_document_has_one_index_whoever_asks_and_how_often() {
    let disk = Disk::default();
    let ledger = create(&disk);
    disk.slow_commits(Duration::from_millis(2));
    for round in 0..5 {
        // Everybody's first is the same one; the second is shared by pairs, and is there twice.
        let of = |caller| [0, 1 + caller / 2, 1 + caller / 2].map(|n| document(1000 * round + n)).to_vec();
        let answers = together(&ledger, 16, of);
        let indexes: BTreeMap<Hash, u64> = answers.iter().flatten().map(|one| (one.digest, one.index)).collect();
        assert_eq!(indexes.len(), 1 + 8);
        assert!(answers.iter().flatten().all(|one| indexes[&one.digest] == one.index));
        assert_eq!(ledger.size(), 9 * (round + 1));
        let before = commits(&disk);
        assert_eq!(ledger.append(of(3)).unwrap(), answers[3]);
        assert_eq!(commits(&disk), before, "what is in the ledger makes no commit");
    }
    // The same bytes for the other shelf are the same document.
    let statement = document(0);
    let again = ledger.append(vec![Document { shelf: Shelf::Anchor, ..statement.clone() }]).unwrap();
    assert_eq!(Some(again[0].index), ledger.index_of(&Entry::of(&statement.bytes)));
}

#[test]
fn what_is_too_much_or_nothing_is_refused_before_anything_is_written() {
    let disk = Disk::default();
    let ledger = create(&disk);
    let calls = disk.calls();
    let of = |bytes: usize| Document { shelf: Shelf::Statement, bytes: vec![b'x'; bytes] };
    let many = vec![of(1); custodia_ledger::APPEND_DOCUMENTS + 1];
    for asked in
        [Vec::new(), vec![of(0)], vec![of(1), of(0)], vec![of(256 * 1024 + 1)], vec![of(256 * 1024); 257], many]
    {
        assert!(matches!(ledger.append(asked), Err(AppendError::Misuse { .. })));
    }
    assert_eq!(disk.calls(), calls);
    assert_eq!(ledger.append(vec![of(256 * 1024), of(1)]).unwrap()[1].index, 1);
    assert_eq!(ledger.entry(1000), Err(ReadError::OutOfRange { asked: 1000, size: 2 }));
    assert_eq!(ledger.root(3), Err(ReadError::OutOfRange { asked: 3, size: 2 }));
    for (index, size) in [(0, 0), (2, 2), (0, 3)] {
        assert!(matches!(ledger.prove(index, size), Err(ReadError::OutOfRange { .. })));
    }
    for (old, new) in [(0, 2), (2, 1), (1, 3), (3, 3)] {
        assert!(matches!(ledger.consistency(old, new), Err(ReadError::OutOfRange { .. })), "{old} {new}");
    }
}

/// The text of an entry, spelled out.
fn entry_text(document: &Document) -> String {
    let entry = Entry::of(&document.bytes);
    let sha512: String = entry.sha512.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("custodia/entry/v1\nsha256 {}\nsha512 {sha512}\n", entry.sha256)
}

/// Every file that a ledger has which published these sizes: full tiles, and the partial ones of every size.
fn layout(documents: &[Document], sizes: &[u64]) -> BTreeMap<String, Vec<u8>> {
    let entries: Vec<String> = documents.iter().map(entry_text).collect();
    let mut rows = vec![entries.iter().map(|entry| leaf_hash(entry.as_bytes())).collect::<Vec<Hash>>()];
    while let Some(above) = rows.last().filter(|row| row.len() >= 256) {
        rows.push(above.chunks_exact(256).map(reduce).collect());
    }
    let bundle = |entries: &[String]| -> Vec<u8> {
        entries.iter().flat_map(|entry| [&(entry.len() as u16).to_be_bytes()[..], entry.as_bytes()].concat()).collect()
    };
    let tile = |hashes: &[Hash]| -> Vec<u8> { hashes.iter().flat_map(|hash| *hash.as_bytes()).collect() };
    let mut files = BTreeMap::new();
    for size in sizes {
        let mut row = |name: &str, count: u64, bytes: &dyn Fn(usize, usize) -> Vec<u8>| {
            let (full, rest) = ((count / 256) as usize, (count % 256) as usize);
            for index in 0..full {
                files
                    .entry(format!("ledger/tile/{name}/{index:03}"))
                    .or_insert_with(|| bytes(256 * index, 256 * index + 256));
            }
            if rest > 0 {
                files.insert(format!("ledger/tile/{name}/{full:03}.p/{rest}"), bytes(256 * full, 256 * full + rest));
            }
        };
        row("entries", *size, &|from, to| bundle(&entries[from..to]));
        for (level, hashes) in rows.iter().enumerate() {
            row(&level.to_string(), size >> (8 * level), &|from, to| tile(&hashes[from..to]));
        }
    }
    files
}

/// The root over 256 hashes, pair by pair.
fn reduce(hashes: &[Hash]) -> Hash {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
    }
    row[0]
}

fn tiles_of(files: &Files) -> BTreeMap<String, Vec<u8>> {
    let tiles = files.iter().filter(|(path, _)| path.starts_with("ledger/tile/"));
    tiles.map(|(path, bytes)| (path.clone(), bytes.to_vec())).collect()
}

/// That the vectors' own entries give their roots and tiles is tested beside the planner, which they enter as they are;
/// here documents go all the way.
#[test]
fn the_files_of_70000_documents_are_those_of_tlog_tiles() {
    let sizes = [1, 2, 255, 256, 257, 511, 513, 65_279, 65_535, 65_536, 65_537, 69_999, 70_000];
    let all = documents(0..70_000);
    let disk = Disk::default();
    let ledger = create(&disk);
    let mut from = 0;
    for size in sizes {
        ledger.append(all[from as usize..size as usize].to_vec()).unwrap();
        ledger.publish().unwrap();
        from = size;
    }
    let (expected, found) = (layout(&all, &sizes), tiles_of(&disk.files()));
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    let other: Vec<&String> =
        expected.iter().filter(|(path, bytes)| found[*path] != **bytes).map(|(path, _)| path).collect();
    assert!(other.is_empty(), "{other:?}");
    for path in
        ["ledger/tile/1/000", "ledger/tile/1/001.p/17", "ledger/tile/2/000.p/1", "ledger/tile/entries/273.p/112"]
    {
        assert!(found.contains_key(path), "{path}");
    }

    let leaves: Vec<Hash> = all.iter().map(|one| leaf_hash(entry_text(one).as_bytes())).collect();
    let public = disk.file(CHECKPOINT).unwrap();
    assert_eq!(public, ledger.checkpoint().note().print().as_bytes());
    assert_eq!(checkpoint(&public).root, root(&leaves));
    for size in sizes {
        let expected = root(&leaves[..size as usize]);
        assert_eq!(ledger.root(size).unwrap(), expected, "{size}");
        for index in [0, size / 3, size - 1] {
            let proof = ledger.prove(index, size).unwrap();
            verify_inclusion(index, size, &leaves[index as usize], &proof, &expected).unwrap();
        }
        let proof = ledger.consistency(size, 70_000).unwrap();
        verify_consistency(size, 70_000, &expected, &root(&leaves), &proof).unwrap();
    }
    drop(ledger);
    let ledger = open(&disk).unwrap();
    assert_eq!((ledger.size(), ledger.index_of_digest(&digest(&all[65_536]))), (70_000, Some(65_536)));
    drop(ledger);

    // The places are derived: without them, and with others in their stead, everything is found where it is, and what is
    // there is not logged twice.
    let segment = "state/places/16/0";
    let whole = disk.file(segment).expect("the first 65,536 entries have a segment");
    let mut flipped = whole.clone();
    flipped[5000] ^= 1;
    let mut other_fence = whole.clone();
    let place = whole.len() - 300;
    other_fence[place] ^= 1;
    for damage in [None, Some(Vec::new()), Some(other_fence)] {
        disk.meddle(segment, damage);
        let ledger = open(&disk).unwrap();
        assert!(ledger.health().may_sign());
        for index in (0..70_000).step_by(991).chain([65_535, 69_999]) {
            assert_eq!(ledger.append(vec![all[index].clone()]).unwrap()[0].index, index as u64);
        }
        assert_eq!(ledger.size(), 70_000);
        drop(ledger);
        assert!(disk.file(segment).unwrap() == whole, "it is made again as it was");
    }
    // Damaged while it is open: found by its own digest, and made again.
    let ledger = open(&disk).unwrap();
    disk.meddle(segment, Some(flipped));
    assert!((0..65_536).step_by(61).all(|n| ledger.index_of_digest(&digest(&all[n])) == Some(n as u64)));
    assert!(ledger.health().may_sign() && disk.file(segment).unwrap() == whole);
    assert_eq!(ledger.fsck(Depth::Home, &mut |_| {}).findings, []);
}

#[test]
fn every_document_stands_on_its_shelf_and_nowhere_else() {
    let disk = home_of(10);
    let found: BTreeSet<String> = disk.files().into_keys().filter(|path| !path.starts_with("ledger/")).collect();
    let shelf = |one: Document| {
        let name = digest(&one).to_string();
        match one.shelf {
            Shelf::Statement => format!("statements/{}/{name}.json", &name[..2]),
            Shelf::Anchor => format!("anchors/{}/{name}", &name[..2]),
        }
    };
    let state = [JOURNAL.to_owned()];
    assert_eq!(found, documents(0..10).into_iter().map(shelf).chain(state).collect());
    let ledger = open(&disk).unwrap();
    for one in documents(0..10) {
        let name = digest(&one);
        assert_eq!(ledger.document(one.shelf, &name).unwrap(), Some(one.bytes));
        disk.meddle(&one.shelf.path(&name), Some(b"other bytes".to_vec()));
        assert!(matches!(ledger.document(one.shelf, &name), Err(ReadError::Damaged { .. })));
        disk.meddle(&one.shelf.path(&name), None);
        assert_eq!(ledger.document(one.shelf, &name), Ok(None));
    }
}

#[test]
fn every_proof_of_every_size_to_300_closes() {
    const LAST: u64 = 300;
    let disk = Disk::default();
    let ledger = create(&disk);
    let all = documents(0..LAST);
    // Commits of 1, 2, 3, … documents, so that proofs run over partial tiles of many widths.
    let mut rest = &all[..];
    for step in 1.. {
        let (now, later) = rest.split_at(step.min(rest.len()));
        ledger.append(now.to_vec()).unwrap();
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    let leaves: Vec<Hash> = all.iter().map(|one| leaf_hash(entry_text(one).as_bytes())).collect();
    let roots: Vec<Hash> = (0..=leaves.len()).map(|size| root(&leaves[..size])).collect();
    let check = |first: u64| {
        for size in (first..=LAST).step_by(2) {
            assert_eq!(ledger.root(size).unwrap(), roots[size as usize]);
            for index in 0..size {
                let proof = ledger.prove(index, size).unwrap();
                verify_inclusion(index, size, &leaves[index as usize], &proof, &roots[size as usize]).unwrap();
            }
            for old in (1..=size).step_by(7).chain([size]) {
                let proof = ledger.consistency(old, size).unwrap();
                verify_consistency(old, size, &roots[old as usize], &roots[size as usize], &proof).unwrap();
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=2).map(|first| scope.spawn(move || check(first))).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// A home that another program wrote: the documents of its entries, logged again, give the same files.
#[test]
fn the_ledger_of_the_vectors_is_made_again_from_its_documents() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/world");
    let vkeys = std::fs::read_to_string(vectors.join("vkeys")).unwrap();
    let vkey = Vkey::parse(vkeys.lines().next().unwrap()).unwrap();
    let home = vectors.join("forensics.example");
    let folder = Folder::open(&home).unwrap();
    let report = fsck(&folder, &vkey, Depth::Published, &mut |_| {});
    assert_eq!((report.entries, report.findings), (6, Vec::new()));

    let bundle = std::fs::read(home.join("ledger/tile/entries/000.p/6")).unwrap();
    let entries = custodia_format::tile::parse_bundle(&bundle, 6).unwrap();
    let read = |entry: &&[u8]| {
        let path = Shelf::Statement.path(&Entry::parse(entry).unwrap().sha256);
        Document { shelf: Shelf::Statement, bytes: std::fs::read(home.join(path)).unwrap() }
    };
    let all: Vec<Document> = entries.iter().map(read).collect();
    let disk = Disk::default();
    let ledger = create(&disk);
    ledger.append(all[..3].to_vec()).unwrap();
    ledger.publish().unwrap();
    for one in &all[3..] {
        assert_eq!(ledger.append(vec![one.clone()]).unwrap().len(), 1);
        ledger.publish().unwrap();
    }
    let files = disk.files();
    let tiles = tiles_of(&files);
    assert_eq!(tiles.len(), 8);
    for (path, bytes) in tiles {
        assert_eq!(std::fs::read(home.join(&path)).unwrap(), bytes, "{path}");
    }
    let published = std::fs::read_to_string(home.join(CHECKPOINT)).unwrap();
    let [size, root] = [1, 2].map(|line| published.lines().nth(line).unwrap().to_owned());
    let made = checkpoint(&files[CHECKPOINT]);
    assert_eq!([made.size.to_string(), made.text().lines().nth(2).unwrap().to_owned()], [size, root]);
}

#[test]
fn a_folder_on_a_disk_holds_what_the_one_in_memory_does() {
    let home = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let folder = || Folder::open(home.path()).unwrap();
    let ledger = Ledger::create_paced(folder(), ORIGIN, key(), PACE).unwrap();
    let in_memory = create(&disk);
    let same = || {
        let mut files = BTreeMap::new();
        for part in ["ledger", "state", "statements", "anchors"] {
            for listed in custodia_ledger::Storage::list(&folder(), part).unwrap() {
                let mut bytes = std::fs::read(home.path().join(&listed.path)).unwrap();
                if listed.path == JOURNAL {
                    // The room at its end.
                    bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1);
                }
                files.insert(listed.path, bytes.into());
            }
        }
        assert!(files == disk.files(), "{:?}", files.keys());
    };
    for range in [0..1, 1..4, 4..300, 2..6, 300..301, 301..302] {
        assert_eq!(ledger.append(documents(range.clone())).unwrap(), in_memory.append(documents(range)).unwrap());
    }
    drop((ledger, in_memory));
    same();
    let (ledger, in_memory) = (Ledger::open_paced(folder(), ORIGIN, key(), PACE).unwrap(), open(&disk).unwrap());
    assert!(ledger.health().may_sign() && in_memory.health().may_sign());
    same();
    assert_eq!(ledger.fsck(Depth::Home, &mut |_| {}).findings, []);
}
