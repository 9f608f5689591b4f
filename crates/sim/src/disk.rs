//! The virtual disk of one node: what lies on it now, and what would lie on it if the power went.
//!
//! The node's files are real ones in memory; every call that changes them comes through `custodia-disk` and is asked for
//! here first. Beside them this keeps what is *durable*: for each file its bytes at its last sync and what was written
//! since, for each folder the names as of its last sync and what became of names since. Nothing more is promised than
//! POSIX and what ext4 and xfs share: a file's sync says nothing of its name, a rename is one step and lasts with either
//! of its folders, what was not synced may be there or not, in any order, block by block.

mod calls;
mod image;
mod inode;
mod remains;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use image::How;
use inode::Inode;
pub use remains::Remains;

/// A file, whatever its names are.
type FileId = u32;

/// A state of durable bytes: which file, and how often they have changed.
pub type Version = (u32, u64);

/// What a name leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Folder,
    File(FileId),
}

/// What became of names since their folders were synced.
#[derive(Debug, Clone, PartialEq, Eq)]
enum NameChange {
    Made(PathBuf, Entry),
    Renamed { from: PathBuf, to: PathBuf, file: FileId },
    Removed(PathBuf),
}

impl NameChange {
    fn paths(&self) -> [Option<&Path>; 2] {
        match self {
            Self::Made(path, _) | Self::Removed(path) => [Some(path), None],
            Self::Renamed { from, to, .. } => [Some(from), Some(to)],
        }
    }

    fn touches(&self, path: &Path) -> bool {
        self.paths().into_iter().flatten().any(|it| it == path)
    }

    fn is_in(&self, folder: &Path) -> bool {
        self.paths().into_iter().flatten().any(|it| it.parent() == Some(folder))
    }
}

/// What goes wrong with a disk, and when.
#[derive(Debug, Clone, Default)]
pub struct Trouble {
    /// The power goes.
    pub power_cut: Option<PowerCut>,
    /// From this call on there are IO errors.
    pub errors_from: Option<u64>,
    /// How many calls fail then.
    pub errors: u64,
    /// No room for anything new.
    pub is_full: bool,
}

/// When the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PowerCut {
    /// Only calls below this folder are counted; all, where there is none.
    pub below: Option<&'static str>,
    /// Only calls after the next rename to this name are counted; all, where there is none.
    pub after: Option<&'static str>,
    /// Before the so-manieth of them, from 1 on.
    pub at: u64,
}

impl PowerCut {
    /// Counts a call. Whether the power goes before it.
    fn comes_before(&mut self, word: &str, path: &Path) -> bool {
        if let Some(name) = self.after {
            if word == "rename" && path.file_name().is_some_and(|it| it == name) {
                self.after = None;
            }
            return false;
        }
        if self.below.is_none_or(|folder| path.starts_with(folder)) {
            self.at = self.at.saturating_sub(1);
            return self.at == 0;
        }
        false
    }
}

/// How often what went wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Injected {
    /// IO errors.
    pub errors: u64,
    /// Calls for which there was no room.
    pub full: u64,
}

/// An IO error that was given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenError {
    /// What was asked for.
    pub call: &'static str,
    /// Where, from the home on.
    pub path: PathBuf,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    /// Inode numbers of the files that are open or were.
    numbers: HashMap<u64, FileId>,
    /// What a running system shows.
    live: BTreeMap<PathBuf, Entry>,
    /// What lasts.
    durable: BTreeMap<PathBuf, Entry>,
    pending: Vec<NameChange>,
    calls: u64,
    is_down: bool,
    trouble: Trouble,
    injected: Injected,
    given: Vec<GivenError>,
    log: Vec<String>,
}

/// One node's disk.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
    /// What it began with, with the numbers that its files have.
    origin: BTreeMap<PathBuf, Entry>,
    state: Mutex<State>,
}

impl Disk {
    /// Takes what lies in a folder for durable.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(root: PathBuf) -> io::Result<Self> {
        let mut origin = BTreeMap::from([(PathBuf::new(), Entry::Folder)]);
        let mut open = vec![PathBuf::new()];
        while let Some(folder) = open.pop() {
            for name in fs::read_dir(root.join(&folder))? {
                let name = name?;
                let path = folder.join(name.file_name());
                if !is_ours(&path) {
                    continue;
                }
                if name.file_type()?.is_dir() {
                    origin.insert(path.clone(), Entry::Folder);
                    open.push(path);
                } else {
                    origin.insert(path, Entry::File(0));
                }
            }
        }
        // The system lists in any order.
        let files = origin.values_mut().filter(|entry| **entry != Entry::Folder);
        files.zip(0..).for_each(|(entry, number)| *entry = Entry::File(number));
        let state = Mutex::new(State::of(&origin));
        Ok(Self { root, origin, state })
    }

    /// Puts everything back as it was when this began; `from` holds the same, unchanged. Nothing of the node is open any more.
    ///
    /// # Errors
    /// What the system says.
    pub fn put_back(&self, from: &Path) -> io::Result<()> {
        let mut state = self.state();
        let is_as_it_was = |path: &Path, entry: &Entry| match (entry, self.origin.get(path)) {
            (Entry::Folder, was) => was == Some(&Entry::Folder),
            (Entry::File(id), was) => was == Some(entry) && state.inode(*id).is_some_and(|inode| !inode.is_touched),
        };
        // What is in a folder comes after it.
        for (path, entry) in state.live.iter().rev().filter(|(path, entry)| !is_as_it_was(path, entry)) {
            match entry {
                Entry::Folder => fs::remove_dir(self.root.join(path))?,
                Entry::File(_) => fs::remove_file(self.root.join(path))?,
            }
        }
        for (path, entry) in &self.origin {
            match (entry, state.live.get(path)) {
                (Entry::Folder, Some(Entry::Folder)) => {}
                (Entry::Folder, _) => make_folder(&self.root.join(path))?,
                (Entry::File(_), Some(lies)) if is_as_it_was(path, lies) => {}
                (Entry::File(_), _) => share(from, &self.root, path)?,
            }
        }
        *state = State::of(&self.origin);
        Ok(())
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the power went.
    pub fn is_down(&self) -> bool {
        self.state().is_down
    }

    /// Lets nothing change any more, or lets it again.
    pub fn set_down(&self, is_down: bool) {
        self.state().is_down = is_down;
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// What goes wrong from now on.
    pub fn set_trouble(&self, trouble: Trouble) {
        self.state().trouble = trouble;
    }

    /// What goes wrong now.
    pub fn trouble(&self) -> Trouble {
        self.state().trouble.clone()
    }

    /// How often what went wrong until now.
    pub fn injected(&self) -> Injected {
        self.state().injected
    }

    /// The IO errors that were given out since this was last asked.
    pub fn take_given(&self) -> Vec<GivenError> {
        std::mem::take(&mut self.state().given)
    }

    /// The calls since this was last asked, for the trace.
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.state().log)
    }

    /// The bytes of a file if power went now and everything un-synced were lost.
    pub fn durable(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        let Some(Entry::File(id)) = reachable(&state.durable, path) else { return None };
        state.inode(id)?.durable(&self.root)
    }

    /// Which bytes those are: equal before and after means that they are the same.
    pub fn durable_version(&self, path: &Path) -> Option<Version> {
        let state = self.state();
        let Some(Entry::File(id)) = reachable(&state.durable, path) else { return None };
        Some((id, state.inode(id)?.version))
    }

    /// The files below a folder if power went now and everything un-synced were lost, with their lengths.
    pub fn durable_files(&self, folder: &Path) -> Vec<(PathBuf, u64)> {
        let state = self.state();
        let files = below(&state.durable, folder).filter_map(|(path, _)| match reachable(&state.durable, path)? {
            Entry::File(id) => Some((path.clone(), state.inode(id)?.durable_length(&self.root)?)),
            Entry::Folder => None,
        });
        files.collect()
    }

    /// The files that lie on the running system below a folder.
    pub fn files(&self, folder: &Path) -> Vec<PathBuf> {
        let state = self.state();
        let below = below(&state.live, folder);
        below.filter(|(_, entry)| **entry != Entry::Folder).map(|(path, _)| path.clone()).collect()
    }

    /// Bits change at rest. What is not synced yet is left alone.
    pub fn flip(&self, path: &Path, byte: u64, bit: u8) -> bool {
        let mut state = self.state();
        let Some(Entry::File(id)) = state.live.get(path).copied() else { return false };
        let Some(inode) = state.inodes.get_mut(id as usize).filter(|inode| inode.is_synced()) else {
            return false;
        };
        let place = self.root.join(path);
        let Ok(mut bytes) = fs::read(&place) else { return false };
        let length = bytes.len() as u64;
        let Some(found) = usize::try_from(byte % length.max(1)).ok().and_then(|at| bytes.get_mut(at)) else {
            return false;
        };
        *found ^= 1 << (bit % 8);
        inode.version += 1;
        inode.is_touched = true;
        // A file of its own: the bytes may be shared with what the homes were copied from.
        let mode = fs::metadata(&place).map(|metadata| metadata.permissions());
        let beside = place.with_extension("flipped");
        let written = fs::write(&beside, &bytes).and_then(|()| fs::rename(&beside, &place));
        if let Ok(mode) = mode {
            let _ = fs::set_permissions(&place, mode);
        }
        if let Ok(metadata) = fs::metadata(&place) {
            state.numbers.insert(metadata.ino(), id);
        }
        written.is_ok()
    }
}

/// The index is not behind the seam: it is rebuilt. The lock is the system's own.
fn is_ours(path: &Path) -> bool {
    !path.starts_with("index") && path != Path::new("lock")
}

/// A folder and what is in it, at any depth.
fn below<'a>(
    names: &'a BTreeMap<PathBuf, Entry>,
    folder: &Path,
) -> impl Iterator<Item = (&'a PathBuf, &'a Entry)> + use<'a> {
    let first = names.range::<Path, _>((Bound::Included(folder), Bound::Unbounded));
    let folder = folder.to_owned();
    first.take_while(move |(path, _)| path.starts_with(&folder))
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(true).create(path)
}

/// Gives a home a file of another one. What never changes in place shares its bytes.
///
/// # Errors
/// What the system says.
pub(crate) fn share(from: &Path, to: &Path, path: &Path) -> io::Result<()> {
    if path.starts_with("state") || !is_ours(path) {
        fs::copy(from.join(path), to.join(path)).map(drop)
    } else {
        fs::hard_link(from.join(path), to.join(path))
    }
}

/// What a name leads to, if all folders above it are there.
fn reachable(names: &BTreeMap<PathBuf, Entry>, path: &Path) -> Option<Entry> {
    let above = path.ancestors().skip(1);
    above.into_iter().all(|folder| names.get(folder) == Some(&Entry::Folder)).then(|| names.get(path).copied())?
}

impl State {
    /// Nothing has happened yet.
    fn of(origin: &BTreeMap<PathBuf, Entry>) -> Self {
        let files = origin.iter().filter(|(_, entry)| **entry != Entry::Folder);
        let inodes = files.map(|(path, _)| Inode::at(path.clone())).collect();
        Self { inodes, live: origin.clone(), durable: origin.clone(), ..Self::default() }
    }

    fn add(&mut self, path: PathBuf) -> FileId {
        let id = FileId::try_from(self.inodes.len()).unwrap_or(FileId::MAX);
        self.inodes.push(Inode { is_touched: true, ..Inode::at(path.clone()) });
        self.live.insert(path, Entry::File(id));
        id
    }

    fn inode(&self, id: FileId) -> Option<&Inode> {
        self.inodes.get(id as usize)
    }

    fn of_file(&mut self, file: &File) -> Option<&mut Inode> {
        let id = *self.numbers.get(&file.metadata().ok()?.ino())?;
        self.inodes.get_mut(id as usize)
    }

    /// Keeps the bytes of a file that is about to lose its name.
    fn hold(&mut self, root: &Path, path: &Path) {
        let Some(Entry::File(id)) = self.live.get(path).copied() else { return };
        if let Some(inode) = self.inodes.get_mut(id as usize) {
            inode.held = File::open(root.join(path)).ok();
        }
    }

    fn apply_name(durable: &mut BTreeMap<PathBuf, Entry>, change: &NameChange) {
        match change {
            NameChange::Made(path, entry) => drop(durable.insert(path.clone(), *entry)),
            NameChange::Renamed { from, to, file } => {
                durable.remove(from);
                durable.insert(to.clone(), Entry::File(*file));
            }
            NameChange::Removed(path) => {
                let gone: Vec<PathBuf> = below(durable, path).map(|(path, _)| path.clone()).collect();
                gone.iter().for_each(|path| _ = durable.remove(path));
            }
        }
    }

    /// Makes the names in a folder last, with what came before of the same names.
    fn sync_names(&mut self, folder: &Path) {
        let mut chosen: BTreeSet<usize> =
            self.pending.iter().enumerate().filter(|(_, it)| it.is_in(folder)).map(|(n, _)| n).collect();
        let mut open: Vec<usize> = chosen.iter().copied().collect();
        while let Some(at) = open.pop() {
            let Some(later) = self.pending.get(at).cloned() else { continue };
            for (n, earlier) in self.pending.iter().enumerate().take(at) {
                if later.paths().into_iter().flatten().any(|path| earlier.touches(path)) && chosen.insert(n) {
                    open.push(n);
                }
            }
        }
        let (last, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().enumerate().partition(|(n, _)| chosen.contains(n));
        last.iter().for_each(|(_, change)| Self::apply_name(&mut self.durable, change));
        self.pending = rest.into_iter().map(|(_, change)| change).collect();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::random::Random;

    #[test]
    fn a_name_lasts_with_its_folder_and_bytes_with_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(Disk::of(folder.path().to_owned()).unwrap());
        let _watching = custodia_disk::watch::watch(folder.path().to_owned(), disk.clone());
        let (beside, path) = (folder.path().join("beside"), folder.path().join("a"));
        let file = custodia_disk::File::create(&beside).unwrap();
        file.write_all_at(b"bytes", 0).unwrap();
        file.sync_all().unwrap();
        custodia_disk::rename(&beside, &path).unwrap();
        assert_eq!(disk.durable(Path::new("a")), None, "its folder was not synced");
        custodia_disk::sync_folder(folder.path()).unwrap();
        assert_eq!(disk.durable(Path::new("a")).as_deref(), Some(&b"bytes"[..]));
        file.write_all_at(b"other", 0).unwrap();
        assert_eq!(disk.durable(Path::new("a")).as_deref(), Some(&b"bytes"[..]), "the file was not synced again");
        assert_eq!(fs::read(&path).unwrap(), b"other");
        disk.power_up(How::Lost, &mut Random::new(1)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"bytes");
    }

    #[test]
    fn what_changes_of_a_long_file_since_its_sync_can_be_taken_back() {
        let (home, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let long: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        for folder in [&home, &copy] {
            fs::write(folder.path().join("a"), &long).unwrap();
        }
        let disk = Arc::new(Disk::of(home.path().to_owned()).unwrap());
        let watching = custodia_disk::watch::watch(home.path().to_owned(), disk.clone());
        let file = custodia_disk::File::open_existing(&home.path().join("a")).unwrap();
        file.write_all_at(&[1; 5000], 50_000).unwrap();
        file.set_len(10_000).unwrap();
        file.write_all_at(&[2; 5000], 20_000).unwrap();
        file.set_len(200_000).unwrap();
        file.punch_hole(0, 4096).unwrap();
        let durable = |path: &str| disk.durable(Path::new(path));
        assert_eq!(durable("a").as_ref(), Some(&long));
        assert_eq!(disk.durable_files(Path::new("")), [(PathBuf::from("a"), 100_000)]);
        file.sync_all().unwrap();
        assert_eq!(durable("a").map(|bytes| (bytes.len(), bytes[20_000])), Some((200_000, 2)));

        // A sync that fails: what was written before may be lost, whatever is synced later.
        file.write_all_at(&[3; 10], 100).unwrap();
        disk.set_trouble(Trouble { errors_from: Some(0), errors: 1, ..Trouble::default() });
        assert!(file.sync_all().is_err());
        file.write_all_at(&[4; 10], 200).unwrap();
        file.sync_all().unwrap();
        assert_eq!(durable("a").map(|bytes| (bytes[100], bytes[200])), Some((0, 4)));

        custodia_disk::make_folder(&home.path().join("b")).unwrap();
        custodia_disk::rename(&home.path().join("a"), &home.path().join("b/a")).unwrap();
        drop((file, watching));
        disk.put_back(copy.path()).unwrap();
        assert_eq!(durable("a").as_ref(), Some(&long));
        assert_eq!(fs::read(home.path().join("a")).unwrap(), long);
        assert!(!home.path().join("b").exists());
    }
}
