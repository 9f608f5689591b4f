//! The bytes of one file: as they lie there, as they last, and what happened in between.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Files up to this length are kept whole before their first change; of longer ones, what each change takes away.
const SMALL: u64 = 16 << 10;

/// What became of the bytes of a file since its last sync.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    Length(u64),
    Zeros { offset: u64, length: u64 },
}

/// What a change took away.
#[derive(Debug)]
pub(super) struct Undo {
    /// The length before it.
    length: u64,
    offset: u64,
    bytes: Vec<u8>,
}

/// The bytes at the last sync.
#[derive(Debug, Default)]
pub(super) enum Synced {
    /// Those that lie there now.
    #[default]
    Live,
    /// Those that lie there now, when this is undone, the last first.
    Undone(Vec<Undo>),
    /// These.
    Bytes(Vec<u8>),
}

#[derive(Debug, Default)]
pub(super) struct Inode {
    /// Where it lies now.
    pub(super) path: Option<PathBuf>,
    /// Its bytes, where it has lost its name.
    pub(super) held: Option<File>,
    pub(super) synced: Synced,
    pub(super) changes: Vec<Change>,
    /// A sync of it has failed: what was written before may never reach the disk, whatever later syncs say.
    pub(super) is_stuck: bool,
    /// Grows with everything that happens to its durable bytes.
    pub(super) version: u64,
    /// It is not what the run began with any more.
    pub(super) is_touched: bool,
}

impl Change {
    fn apply(self, to: &mut Vec<u8>) {
        match self {
            Self::Length(length) => to.resize(place(length), 0),
            Self::Write { offset, bytes } => overwrite(to, place(offset), &bytes),
            Self::Zeros { offset, length } => {
                let end = place(offset).saturating_add(place(length)).min(to.len());
                to.get_mut(place(offset)..end).into_iter().for_each(|part| part.fill(0));
            }
        }
    }

    /// Where it changes something, and until where; the length of the file is that of before.
    fn range(&self, length: u64) -> (u64, u64) {
        match self {
            Self::Write { offset, bytes } => (*offset, offset.saturating_add(bytes.len() as u64)),
            Self::Length(new) => (*new, length),
            Self::Zeros { offset, length } => (*offset, offset.saturating_add(*length)),
        }
    }
}

fn place(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

fn overwrite(to: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at.saturating_add(bytes.len());
    to.resize(to.len().max(end), 0);
    to.get_mut(at..end).into_iter().for_each(|part| part.copy_from_slice(bytes));
}

impl Inode {
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path: Some(path), ..Self::default() }
    }

    /// Whether its bytes are those of its last sync.
    pub(super) const fn is_synced(&self) -> bool {
        matches!(self.synced, Synced::Live)
    }

    fn open(&self, root: &Path) -> Option<File> {
        match &self.held {
            Some(held) => held.try_clone().ok(),
            None => File::open(root.join(self.path.as_ref()?)).ok(),
        }
    }

    /// What a running system shows.
    pub(super) fn live(&self, root: &Path) -> Option<Vec<u8>> {
        let file = self.open(root)?;
        read_range(&file, 0, file.metadata().ok()?.len())
    }

    /// What lasts.
    pub(super) fn durable(&self, root: &Path) -> Option<Vec<u8>> {
        match &self.synced {
            Synced::Live => self.live(root),
            Synced::Bytes(bytes) => Some(bytes.clone()),
            Synced::Undone(undos) => {
                let mut bytes = self.live(root)?;
                for undo in undos.iter().rev() {
                    bytes.resize(place(undo.length), 0);
                    if !undo.bytes.is_empty() {
                        overwrite(&mut bytes, place(undo.offset), &undo.bytes);
                    }
                }
                Some(bytes)
            }
        }
    }

    /// How long that is.
    pub(super) fn durable_length(&self, root: &Path) -> Option<u64> {
        match &self.synced {
            Synced::Bytes(bytes) => Some(bytes.len() as u64),
            Synced::Undone(undos) if !undos.is_empty() => undos.first().map(|undo| undo.length),
            Synced::Live | Synced::Undone(_) => Some(self.open(root)?.metadata().ok()?.len()),
        }
    }

    /// A change is about to be made: what it takes away is kept.
    pub(super) fn begin_change(&mut self, root: &Path, change: &Change) {
        self.is_touched = true;
        if matches!(self.synced, Synced::Bytes(_)) {
            return;
        }
        let Some(file) = self.open(root) else { return };
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        if matches!(self.synced, Synced::Live) {
            let whole = (length <= SMALL).then(|| read_range(&file, 0, length)).flatten();
            self.synced = whole.map_or(Synced::Undone(Vec::new()), Synced::Bytes);
        }
        if let Synced::Undone(undos) = &mut self.synced {
            let (from, until) = change.range(length);
            let bytes = read_range(&file, from, until.min(length).saturating_sub(from)).unwrap_or_default();
            undos.push(Undo { length, offset: from, bytes });
        }
    }

    /// A change was made.
    pub(super) fn changed(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// What was written since the last sync may be lost, whatever is synced from now on.
    pub(super) fn stick(&mut self, root: &Path) {
        if let Synced::Undone(_) = self.synced {
            self.synced = Synced::Bytes(self.durable(root).unwrap_or_default());
        }
        self.is_stuck = true;
        self.changes.clear();
    }

    pub(super) fn sync(&mut self) {
        match &mut self.synced {
            Synced::Live => return,
            // What was lost stays lost; what was written since is new to the system.
            Synced::Bytes(bytes) if self.is_stuck => self.changes.drain(..).for_each(|change| change.apply(bytes)),
            _ => {
                self.synced = Synced::Live;
                self.changes.clear();
            }
        }
        self.version += 1;
    }

    /// The power went and came back: it lies here now, or nowhere, and is what lies there.
    pub(super) fn settle(&mut self, path: Option<PathBuf>) {
        self.path = path;
        self.held = None;
        self.synced = Synced::Live;
        self.changes.clear();
        self.is_stuck = false;
    }
}

fn read_range(file: &File, from: u64, length: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    file.read_exact_at(&mut bytes, from).ok()?;
    Some(bytes)
}
