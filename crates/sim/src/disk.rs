//! The virtual disk of one node: what lies on it now, and what would lie on it if the power went.
//!
//! The node's files are real ones in memory; every call that changes them comes through `custodia-disk` and is asked for
//! here first. Beside them this keeps what is *durable*: for each file its bytes at its last sync and what was written
//! since, for each folder the names as of its last sync and what became of names since. Nothing more is promised than
//! POSIX and what ext4 and xfs share: a file's sync says nothing of its name, a rename is one step and lasts with either
//! of its folders, what was not synced may be there or not, in any order, block by block.

mod calls;
mod image;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use image::How;

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

/// What became of the bytes of a file since its last sync.
#[derive(Debug, Clone)]
enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    Length(u64),
    Zeros { offset: u64, length: u64 },
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

#[derive(Debug, Default)]
struct Inode {
    /// Where it lies now.
    path: Option<PathBuf>,
    /// Its bytes, where it has lost its name.
    held: Option<File>,
    /// Its bytes at the last sync; none when they are those that lie there now.
    synced: Option<Vec<u8>>,
    changes: Vec<Change>,
    /// A sync of it has failed: what was written before may never reach the disk, whatever later syncs say.
    is_stuck: bool,
    /// Grows with everything that happens to its durable bytes.
    version: u64,
}

/// What goes wrong with a disk, and when.
#[derive(Debug, Clone, Default)]
pub struct Trouble {
    /// The power goes before this call.
    pub power_cut_at: Option<u64>,
    /// From this call on there are IO errors.
    pub errors_from: Option<u64>,
    /// How many calls fail then.
    pub errors: u64,
    /// No room for anything new.
    pub is_full: bool,
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
    state: Mutex<State>,
}

impl Disk {
    /// Takes what lies in a folder for durable.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(root: PathBuf) -> io::Result<Self> {
        let mut state = State::default();
        let mut open = vec![PathBuf::new()];
        state.live.insert(PathBuf::new(), Entry::Folder);
        while let Some(folder) = open.pop() {
            let mut names = fs::read_dir(root.join(&folder))?.collect::<io::Result<Vec<_>>>()?;
            names.sort_by_key(std::fs::DirEntry::file_name);
            for name in names {
                let path = folder.join(name.file_name());
                if !is_ours(&path) {
                    continue;
                }
                if name.file_type()?.is_dir() {
                    state.live.insert(path.clone(), Entry::Folder);
                    open.push(path);
                } else {
                    state.add(path);
                }
            }
        }
        state.durable = state.live.clone();
        Ok(Self { root, state: Mutex::new(state) })
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

    /// The files that lie on the running system below a folder.
    pub fn files(&self, folder: &Path) -> Vec<PathBuf> {
        let state = self.state();
        let below = state.live.iter().filter(|(path, entry)| path.starts_with(folder) && **entry != Entry::Folder);
        below.map(|(path, _)| path.clone()).collect()
    }

    /// Bits change at rest. What is not synced yet is left alone.
    pub fn flip(&self, path: &Path, byte: u64, bit: u8) -> bool {
        let mut state = self.state();
        let Some(Entry::File(id)) = state.live.get(path).copied() else { return false };
        let Some(inode) = state.inodes.get_mut(id as usize).filter(|inode| inode.synced.is_none()) else {
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

/// What a name leads to, if all folders above it are there.
fn reachable(names: &BTreeMap<PathBuf, Entry>, path: &Path) -> Option<Entry> {
    let above = path.ancestors().skip(1);
    above.into_iter().all(|folder| names.get(folder) == Some(&Entry::Folder)).then(|| names.get(path).copied())?
}

impl Change {
    fn apply(self, to: &mut Vec<u8>) {
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        match self {
            Self::Length(length) => to.resize(place(length), 0),
            Self::Write { offset, bytes } => {
                let (at, end) = (place(offset), place(offset) + bytes.len());
                to.resize(to.len().max(end), 0);
                to.splice(at..end, bytes);
            }
            Self::Zeros { offset, length } => {
                let end = place(offset).saturating_add(place(length)).min(to.len());
                to.get_mut(place(offset)..end).into_iter().for_each(|part| part.fill(0));
            }
        }
    }
}

impl Inode {
    /// What a running system shows.
    fn live(&self, root: &Path) -> Option<Vec<u8>> {
        if let Some(held) = &self.held {
            use std::os::unix::fs::FileExt;
            let mut bytes = vec![0; usize::try_from(held.metadata().ok()?.len()).ok()?];
            held.read_exact_at(&mut bytes, 0).ok()?;
            return Some(bytes);
        }
        let mut bytes = Vec::new();
        File::open(root.join(self.path.as_ref()?)).ok()?.read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    fn durable(&self, root: &Path) -> Option<Vec<u8>> {
        match &self.synced {
            Some(synced) => Some(synced.clone()),
            None => self.live(root),
        }
    }

    fn change(&mut self, root: &Path, change: Change) {
        self.begin_change(root);
        self.changes.push(change);
    }

    fn begin_change(&mut self, root: &Path) {
        if self.synced.is_none() {
            self.synced = Some(self.live(root).unwrap_or_default());
        }
    }

    fn sync(&mut self) {
        match &mut self.synced {
            // What was lost stays lost; what was written since is new to the system.
            Some(bytes) if self.is_stuck => self.changes.drain(..).for_each(|change| change.apply(bytes)),
            Some(_) => {
                self.synced = None;
                self.changes.clear();
            }
            None => return,
        }
        self.version += 1;
    }
}

impl State {
    fn add(&mut self, path: PathBuf) -> FileId {
        let id = FileId::try_from(self.inodes.len()).unwrap_or(FileId::MAX);
        self.inodes.push(Inode { path: Some(path.clone()), ..Inode::default() });
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
            NameChange::Removed(path) => durable.retain(|it, _| !it.starts_with(path)),
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
        let (folder, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
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
        disk.lay_out(&after.path().join("home"), How::Lost, &mut Random::new(1)).unwrap();
        assert_eq!(fs::read(after.path().join("home/a")).unwrap(), b"bytes");
        assert_eq!(fs::read(&path).unwrap(), b"other");
    }
}
