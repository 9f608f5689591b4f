//! Import from folders that may be hostile: all of it or nothing, and the bytes that come out are those that went in.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use custodia_format::Hash;
use custodia_format::midstate::midstates_root;
use custodia_vault::{Fault, ImportError, ItemError, Length, Plan, Progress, RemarkKind, Special, StorageError, Vault};
use support::{MIB, SmallDisk, assert_swept, digest, noise, objects, two};

struct Case {
    _folder: tempfile::TempDir,
    source: PathBuf,
    vault: Vault,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (home, source) = (folder.path().join("home"), folder.path().join("source"));
        fs::create_dir(&home).unwrap();
        fs::create_dir(&source).unwrap();
        Self { vault: Vault::open(&home).unwrap(), source, _folder: folder }
    }

    fn file(&self, name: &[u8], bytes: &[u8]) -> PathBuf {
        let path = self.source.join(OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn plan(&self) -> Plan {
        Plan::of(std::slice::from_ref(&self.source))
    }

    fn import_fails(&self, plan: &Plan, progress: &dyn Progress) -> ImportError {
        let before = objects(&self.vault);
        let error = self.vault.import(plan, two(), progress).unwrap_err();
        assert_eq!(objects(&self.vault), before);
        assert_swept(&self.vault);
        error
    }
}

fn read(vault: &Vault, sha256: &Hash) -> Vec<u8> {
    let item = vault.item(sha256).unwrap();
    let mut bytes = vec![0; item.size() as usize];
    item.read_exact_at(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn odd_names_empty_files_duplicates_and_long_ones() {
    let case = Case::new();
    let long = [b'n'; 255];
    let mut files: Vec<(&[u8], Vec<u8>)> = vec![
        (b"not utf-8 \xff\xfe", noise(1, 10)),
        (b"new\nline", noise(2, 10)),
        ("Zeugnis \u{2013} \u{5d0}\u{5d1}.txt".as_bytes(), noise(3, 10)),
        (&long, noise(4, 10)),
        (b"empty", vec![]),
        (b"deep/er/empty too", vec![]),
        (b"deep/one MiB", noise(5, MIB)),
        (b"deep/same", noise(5, MIB)),
        (b"long", noise(6, 20 * MIB + 17)),
        (b" -rf *", noise(7, 3)),
    ];
    for (name, bytes) in &files {
        case.file(name, bytes);
    }
    let plan = case.plan();
    assert!(plan.problems.is_empty(), "{:?}", plan.problems);
    assert_eq!(plan.bytes(), files.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>());
    let imported = case.vault.import(&plan, two(), &()).unwrap();
    files.sort();
    assert_eq!(imported.files.len(), files.len());
    for ((file, planned), (name, bytes)) in imported.files.iter().zip(&plan.files).zip(&files) {
        let digest = digest(bytes);
        assert_eq!((&*file.path, file.size, file.sha256), (*name, digest.size, digest.sha256));
        assert_eq!(file.midstates_root, midstates_root(&digest.midstates));
        assert_eq!(case.vault.midstates(&file.sha256).unwrap(), digest.midstates);
        assert_eq!(read(&case.vault, &file.sha256), *bytes);
        let source = fs::metadata(&planned.source).unwrap();
        assert_eq!((file.modified.seconds, i64::from(file.modified.nanos)), (source.mtime(), source.mtime_nsec()));
        let hex = file.sha256.to_string();
        let mode = fs::metadata(case.vault.home().join("objects").join(&hex[..2]).join(&hex)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o400);
    }
    assert_eq!(objects(&case.vault).len(), files.len() - 2, "the same content twice is one object");
    assert_swept(&case.vault);
    // Again: nothing new, nothing lost.
    let before = objects(&case.vault);
    assert_eq!(case.vault.import(&case.plan(), two(), &()).unwrap().files, imported.files);
    assert_eq!(objects(&case.vault), before);
}

#[test]
fn three_thousand_small_files() {
    let case = Case::new();
    for n in 0..3000_u64 {
        case.file(format!("{}/{n}.txt", n % 7).as_bytes(), &noise(n, n as usize % 300 + 1));
    }
    let imported = case.vault.import(&case.plan(), two(), &()).unwrap();
    assert_eq!(imported.files.len(), 3000);
    assert!(imported.files.is_sorted_by(|one, other| one.path < other.path));
    let report = case.vault.check(two(), &()).unwrap();
    assert_eq!((report.items as usize, report.damaged.len()), (objects(&case.vault).len(), 0));
}

#[test]
fn how_paths_are_named() {
    let case = Case::new();
    let (a, b) = (case.file(b"one/a", b"a"), case.file(b"two/b", b"b"));
    let names = |paths: &[PathBuf]| Plan::of(paths).files.into_iter().map(|file| file.path).collect::<Vec<_>>();
    let (one, two) = (case.source.join("one"), case.source.join("two"));
    assert_eq!(names(std::slice::from_ref(&one)), [b"a"]);
    assert_eq!(names(std::slice::from_ref(&a)), [b"a"]);
    assert_eq!(names(&[two, one.clone()]), [b"one/a", b"two/b"]);
    assert_eq!(names(&[a, b]), [b"a", b"b"]);
    assert_eq!(names(&[one.join("..")]), [&b"one/a"[..], b"two/b"]);
    assert_eq!(names(&[one.join(".")]), [b"a"]);
    let empty = Plan::of(&[]);
    assert_eq!(empty.problems[0].fault, Fault::NoFiles);
}

#[test]
fn all_that_cannot_be_sealed_is_named_at_once() {
    let case = Case::new();
    let good = case.file(b"good", b"good");
    symlink("/etc/passwd", case.source.join("link")).unwrap();
    symlink("..", case.source.join("loop")).unwrap();
    support::mkfifo(&case.source.join("pipe"));
    let _socket = std::os::unix::net::UnixListener::bind(case.source.join("socket")).unwrap();
    case.file(b"Same.txt", b"1");
    case.file(b"same.TXT", b"2");
    let mut deep = case.source.clone();
    (0..65).for_each(|_| deep.push("d"));
    fs::create_dir_all(&deep).unwrap();
    fs::create_dir(case.source.join("nothing here")).unwrap();
    fs::hard_link(&good, case.source.join("also good")).unwrap();
    let hole = File::create(case.source.join("hole\u{202e}")).unwrap();
    hole.set_len(10 << 20).unwrap();
    let whole = File::create(case.source.join("too large")).unwrap();
    let too_large = whole.set_len((16 << 40) + 1).is_ok();

    let plan = case.plan();
    let fault = |name: &str| {
        let source = case.source.join(name);
        let found = plan.problems.iter().find(|problem| problem.source == source);
        found.unwrap_or_else(|| panic!("{name}: {:?}", plan.problems)).fault.clone()
    };
    assert_eq!(fault("link"), Fault::Link { target: Some("/etc/passwd".into()) });
    assert_eq!(fault("loop"), Fault::Link { target: Some("..".into()) });
    assert_eq!(fault("pipe"), Fault::Special(Special::Fifo));
    assert_eq!(fault("socket"), Fault::Special(Special::Socket));
    assert_eq!(fault(deep.strip_prefix(&case.source).unwrap().to_str().unwrap()), Fault::TooLong(Length::Depth));
    if too_large {
        assert_eq!(fault("too large"), Fault::TooLarge { size: (16 << 40) + 1 });
    }
    assert_eq!(plan.problems.len(), 5 + usize::from(too_large), "{:?}", plan.problems);
    let remarked = |name: &str, kind: RemarkKind| {
        plan.remarks.iter().any(|remark| remark.source == case.source.join(name) && remark.kind == kind)
    };
    assert!(remarked("nothing here", RemarkKind::EmptyFolder), "{:?}", plan.remarks);
    assert!(remarked("good", RemarkKind::HardLinks { count: 2 }));
    assert!(remarked("same.TXT", RemarkKind::SameElsewhere { other: case.source.join("Same.txt") }));
    assert!(remarked("hole\u{202e}", RemarkKind::HiddenCharacters));
    assert!(remarked("hole\u{202e}", RemarkKind::Sparse { size: 10 << 20, allocated: 0 }));
    for problem in &plan.problems {
        assert!(!problem.to_string().contains(|c: char| c.is_control()));
    }
    match case.import_fails(&plan, &()) {
        ImportError::Refused { problems } => assert_eq!(problems, plan.problems),
        other => panic!("{other}"),
    }
}

#[test]
fn named_paths_that_are_not_there_or_are_links() {
    let case = Case::new();
    let file = case.file(b"file", b"bytes");
    let link = case.source.join("link");
    symlink(&case.source, &link).unwrap();
    let faults = |paths: &[PathBuf]| Plan::of(paths).problems.into_iter().map(|it| it.fault).collect::<Vec<_>>();
    assert_eq!(faults(&[case.source.join("missing")]), [Fault::Missing]);
    assert_eq!(faults(&[file.join("below a file")]), [Fault::Missing]);
    assert_eq!(faults(std::slice::from_ref(&link)), [Fault::Link { target: Some(case.source.clone()) }]);
    assert_eq!(faults(&[file.clone(), file.clone()]), [Fault::Collides { other: file.clone() }]);
    assert_eq!(faults(&["/".into(), file.clone()]), [Fault::Nameless]);
    // A link above what is named is the person's own way to get there.
    assert!(Plan::of(&[link.join("file")]).problems.is_empty());
    fs::create_dir(case.source.join("bare")).unwrap();
    assert_eq!(faults(&[case.source.join("bare")]), [Fault::NoFiles]);
    // A name of a file and of a folder.
    let (other, folder) = (case.file(b"x/a", b"1"), case.file(b"y/a/b", b"2"));
    assert_eq!(faults(&[other.clone(), folder.parent().unwrap().into()]), [Fault::Collides { other }]);
}

#[test]
fn another_file_system_is_not_entered() {
    let Some(disk) = SmallDisk::new("1m") else { return };
    fs::write(disk.path.join("inside"), b"x").unwrap();
    let above = disk.path.parent().unwrap().to_owned();
    // The folder above holds whatever other tests left there, so only our own mount point is looked at.
    let plan = Plan::of(std::slice::from_ref(&disk.path));
    assert!(plan.problems.is_empty(), "a mount that is named is meant: {:?}", plan.problems);
    let inner = disk.path.join("folder");
    fs::create_dir(&inner).unwrap();
    let mounted = rustix::mount::mount_bind(&above, &inner);
    if mounted.is_ok() {
        let plan = Plan::of(std::slice::from_ref(&disk.path));
        rustix::mount::unmount(&inner, rustix::mount::UnmountFlags::DETACH).unwrap();
        assert_eq!(plan.problems.len(), 1, "{:?}", plan.problems);
        assert_eq!((&plan.problems[0].source, &plan.problems[0].fault), (&inner, &Fault::Mounted));
    }
}

/// Does something to the source once so many bytes of it were read.
struct Meanwhile<F: Fn() + Sync> {
    after: u64,
    read: AtomicU64,
    done: AtomicBool,
    act: F,
}

impl<F: Fn() + Sync> Meanwhile<F> {
    fn new(after: u64, act: F) -> Self {
        Self { after, read: AtomicU64::new(0), done: AtomicBool::new(false), act }
    }
}

impl<F: Fn() + Sync> Progress for Meanwhile<F> {
    fn bytes(&self, bytes: u64) {
        let read = self.read.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if read >= self.after && !self.done.swap(true, Ordering::Relaxed) {
            (self.act)();
        }
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_refused() {
    fn append(path: &Path) {
        OpenOptions::new().append(true).open(path).unwrap().write_all(b"more").unwrap();
    }
    fn overwrite(path: &Path) {
        OpenOptions::new().write(true).open(path).unwrap().write_all_at(b"other", 0).unwrap();
    }
    fn truncate(path: &Path) {
        OpenOptions::new().write(true).open(path).unwrap().set_len(100).unwrap();
    }
    fn replace(path: &Path) {
        let new = path.with_extension("new");
        fs::write(&new, noise(9, 3 * MIB)).unwrap();
        fs::rename(&new, path).unwrap();
    }
    fn to_link(path: &Path) {
        fs::remove_file(path).unwrap();
        symlink("/etc/passwd", path).unwrap();
    }
    let case = Case::new();
    case.file(b"calm", b"calm");
    for size in [3 * MIB, 12 * MIB] {
        for change in [append, overwrite, truncate, replace, to_link] {
            let path = case.source.join("live");
            let _ = fs::remove_file(&path);
            case.file(b"live", &noise(8, size));
            let plan = case.plan();
            // After the clock of the file system moved on from the writing above.
            std::thread::sleep(std::time::Duration::from_millis(12));
            let progress = Meanwhile::new(2 * MIB as u64, || change(&path));
            match case.import_fails(&plan, &progress) {
                ImportError::Refused { problems } => {
                    assert_eq!(problems.len(), 1);
                    assert_eq!(problems[0].source, path);
                    assert!(matches!(problems[0].fault, Fault::Changed { .. }), "{}", problems[0]);
                }
                other => panic!("{other}"),
            }
        }
    }
}

#[test]
fn a_file_that_never_rests_is_refused() {
    let case = Case::new();
    let path = case.file(b"live", &noise(8, 4 * MIB));
    let plan = case.plan();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = OpenOptions::new().append(true).open(&path).unwrap();
            while !stop.load(Ordering::Relaxed) {
                file.write_all(&[7; 4096]).unwrap();
                std::thread::yield_now();
                if file.metadata().unwrap().len() > 200 << 20 {
                    file.set_len(4 << 20).unwrap();
                }
            }
        });
        let error = case.import_fails(&plan, &());
        stop.store(true, Ordering::Relaxed);
        assert!(matches!(error, ImportError::Refused { .. }), "{error}");
    });
}

#[test]
fn what_changed_between_plan_and_import_is_refused() {
    let case = Case::new();
    let path = case.file(b"folder/file", b"bytes");
    let plan = case.plan();
    fs::remove_file(&path).unwrap();
    let fault = |plan: &Plan| match case.import_fails(plan, &()) {
        ImportError::Refused { mut problems } => problems.remove(0).fault,
        other => panic!("{other}"),
    };
    assert_eq!(fault(&plan), Fault::Missing);
    support::mkfifo(&path);
    assert_eq!(fault(&plan), Fault::Special(Special::Fifo), "and it does not wait for a writer");
    // The folder becomes a link to one that holds the very same file.
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"bytes").unwrap();
    let plan = case.plan();
    fs::rename(case.source.join("folder"), case.source.join("moved")).unwrap();
    symlink("moved", case.source.join("folder")).unwrap();
    assert_eq!(fault(&plan), Fault::Link { target: None });
}

#[test]
fn holes_are_hashed_and_occupy_nothing() {
    let case = Case::new();
    let path = case.source.join("hole");
    let file = File::create(&path).unwrap();
    file.set_len(256 << 20).unwrap();
    file.write_all_at(b"in the middle", 100 << 20).unwrap();
    let plan = case.plan();
    let imported = case.vault.import(&plan, two(), &()).unwrap();
    let item = &imported.files[0];
    let hex = item.sha256.to_string();
    let copy = fs::metadata(case.vault.home().join("objects").join(&hex[..2]).join(&hex)).unwrap();
    assert_eq!(copy.len(), 256 << 20);
    assert!(copy.blocks() * 512 <= 2 << 20, "{} blocks", copy.blocks());
    let out = std::process::Command::new("sha256sum").arg(&path).output().unwrap();
    assert!(String::from_utf8(out.stdout).unwrap().starts_with(&hex));
}

#[test]
fn a_full_disk_names_nothing() {
    let Some(disk) = SmallDisk::new("8m") else { return };
    let vault = Vault::open(&disk.path).unwrap();
    let source = tempfile::tempdir().unwrap();
    let plan = Plan::of(&[source.path().to_owned()]);
    assert!(!plan.problems.is_empty());
    for n in 0..3 {
        fs::write(source.path().join(format!("{n}")), noise(n, 4 * MIB)).unwrap();
    }
    let plan = Plan::of(&[source.path().to_owned()]);
    match vault.import(&plan, two(), &()).unwrap_err() {
        ImportError::Storage(StorageError::Full { needed: Some(needed), available: Some(available), .. }) => {
            assert!(needed >= 12 << 20 && available <= 8 << 20, "{needed} {available}");
        }
        other => panic!("{other}"),
    }
    // The disk fills while we copy.
    for n in 1..3 {
        fs::remove_file(source.path().join(format!("{n}"))).unwrap();
    }
    fs::write(source.path().join("1"), noise(1, 2 * MIB)).unwrap();
    let plan = Plan::of(&[source.path().to_owned()]);
    let filler = disk.path.join("filler");
    let progress = Meanwhile::new(MIB as u64, || {
        let mut file = File::create(&filler).unwrap();
        while file.write_all(&[1; 65536]).is_ok() {}
    });
    let error = vault.import(&plan, two(), &progress).unwrap_err();
    assert!(matches!(error, ImportError::Storage(StorageError::Full { .. })), "{error}");
    assert!(objects(&vault).is_empty());
    assert_swept(&vault);
    fs::remove_file(&filler).unwrap();
    assert_eq!(vault.import(&plan, two(), &()).unwrap().files.len(), 2);
}

#[test]
fn cancelling_leaves_nothing() {
    struct Cancel;
    impl Progress for Cancel {
        fn cancelled(&self) -> bool {
            true
        }
    }
    let case = Case::new();
    case.file(b"a", b"a");
    assert!(matches!(case.import_fails(&case.plan(), &Cancel), ImportError::Cancelled));
}

#[test]
fn damage_is_found_and_a_new_import_heals_it() {
    let case = Case::new();
    case.file(b"long", &noise(1, 3 * MIB + 5));
    case.file(b"short", &noise(2, 5));
    let imported = case.vault.import(&case.plan(), two(), &()).unwrap();
    let hex = imported.files[0].sha256.to_string();
    let path = case.vault.home().join("objects").join(&hex[..2]).join(&hex);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    OpenOptions::new().write(true).open(&path).unwrap().write_all_at(b"rot", MIB as u64 + 9).unwrap();
    fs::write(case.vault.home().join("objects/stray"), b"").unwrap();
    match case.vault.verify_item(&imported.files[0].sha256, &()) {
        Err(ItemError::Damaged { chunk: Some(1), .. }) => {}
        other => panic!("{other:?}"),
    }
    let report = case.vault.check(two(), &()).unwrap();
    assert_eq!((report.items, report.bytes, report.damaged.len()), (2, 3 * MIB as u64 + 10, 1));
    assert_eq!(report.damaged[0].sha256, imported.files[0].sha256);
    assert_eq!(report.strays, [case.vault.home().join("objects/stray")]);
    case.vault.import(&case.plan(), two(), &()).unwrap();
    assert!(case.vault.check(two(), &()).unwrap().damaged.is_empty());
}

#[test]
fn midstates_come_back_when_they_are_lost_or_wrong() {
    let case = Case::new();
    case.file(b"long", &noise(1, 3 * MIB + 5));
    let sha256 = case.vault.import(&case.plan(), two(), &()).unwrap().files[0].sha256;
    let expected = case.vault.midstates(&sha256).unwrap();
    let hex = sha256.to_string();
    let path = case.vault.home().join("midstates").join(&hex[..2]).join(&hex);
    fs::remove_file(&path).unwrap();
    assert_eq!(case.vault.midstates(&sha256).unwrap(), expected);
    fs::remove_file(&path).unwrap();
    fs::write(&path, [0; 96]).unwrap();
    case.vault.verify_item(&sha256, &()).unwrap();
    assert_eq!(case.vault.midstates(&sha256).unwrap(), expected);
}

#[test]
fn a_file_that_cannot_be_read_or_gives_more_than_it_has_is_refused() {
    let case = Case::new();
    for (path, unreadable) in [("/proc/self/mem", true), ("/proc/self/status", false)] {
        let plan = Plan::of(&[path.into()]);
        assert!(plan.problems.is_empty(), "{:?}", plan.problems);
        match case.import_fails(&plan, &()) {
            ImportError::Refused { problems } => {
                let fault = &problems[0].fault;
                assert_eq!(matches!(fault, Fault::Unreadable { .. }), unreadable, "{fault}");
                assert_eq!(matches!(fault, Fault::Length { expected: 0, .. }), !unreadable, "{fault}");
            }
            other => panic!("{other}"),
        }
    }
}
