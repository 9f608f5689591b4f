//! Import: files are copied into the vault and hashed by one and the same read, all of them or none.
//!
//! What is sealed is the copy. A file that changes between the walk and the end of its reading is refused, and with it the
//! whole import: nothing gets a name before everything is read. Threads share the files; a long one is read and hashed by
//! one thread and written by another.

mod copy;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use custodia_format::Hash;
use custodia_format::midstate::{midstate_count, midstates_root, print_midstates};

use crate::item::write_read_only;
use crate::progress::Progress;
use crate::shelf::{Move, Unfinished, settle};
use crate::source::{Fault, Plan, PlannedFile, Problem, Stamp};
use crate::storage::StorageError;
use crate::vault::Vault;
use copy::{Buffers, Failure, copy};

impl Vault {
    /// Copies the files of a plan into the vault. Durable when it returns; when it fails nothing of the plan has a name
    /// that had none before, unless the disk failed at the very last step, and every named file is complete even then.
    ///
    /// # Errors
    /// [`ImportError`]. The sources are untouched, whatever happens.
    pub fn import(&self, plan: &Plan, threads: NonZeroUsize, progress: &dyn Progress) -> Result<Imported, ImportError> {
        if !plan.problems.is_empty() {
            return Err(ImportError::Refused { problems: plan.problems.clone() });
        }
        self.check_room(plan)?;
        let unfinished = Unfinished::new(&self.objects, self.unfinished_name())?;
        let import =
            Import { plan, folder: unfinished.folder(), progress, next: AtomicUsize::new(0), found: Found::default() };
        let files = import.run(threads)?;
        progress.syncing();
        let with_midstates = files.iter().filter(|file| midstate_count(file.size) > 0).count();
        settle(files.len() + with_midstates, self.objects.folder(), || {
            files.iter().enumerate().flat_map(|(place, file)| {
                let from = copy_path(unfinished.folder(), place);
                let sha256 = file.sha256;
                let midstates = (midstate_count(file.size) > 0).then(|| Move {
                    shelf: &self.midstates,
                    from: midstates_path(&from),
                    sha256,
                });
                midstates.into_iter().chain([Move { shelf: &self.objects, from, sha256 }])
            })
        })?;
        Ok(Imported { files })
    }

    fn check_room(&self, plan: &Plan) -> Result<(), StorageError> {
        let midstates = |file: &PlannedFile| midstate_count(file.size).saturating_mul(32);
        let needed = plan.files.iter().map(midstates).fold(plan.bytes_on_disk(), u64::saturating_add);
        let available = self.room()?;
        if needed > available {
            let path = self.objects.folder().to_owned();
            return Err(StorageError::Full { path, needed: Some(needed), available: Some(available) });
        }
        Ok(())
    }
}

fn copy_path(folder: &Path, place: usize) -> PathBuf {
    folder.join(place.to_string())
}

fn midstates_path(copy: &Path) -> PathBuf {
    copy.with_extension("midstates")
}

/// One import at work. Shared by its threads.
struct Import<'a> {
    plan: &'a Plan,
    /// Where the copies lie until all of them are there.
    folder: &'a Path,
    progress: &'a dyn Progress,
    /// The next file that nobody has taken.
    next: AtomicUsize,
    found: Found,
}

/// What ended an import.
#[derive(Default)]
struct Found {
    /// Set with the first failure: the import is refused as a whole, so no further file is begun.
    stop: AtomicBool,
    problems: Mutex<Vec<Problem>>,
    storage: Mutex<Option<StorageError>>,
}

impl Import<'_> {
    fn run(&self, threads: NonZeroUsize) -> Result<Vec<ImportedFile>, ImportError> {
        let count = self.plan.files.len();
        let mut files: Vec<(usize, ImportedFile)> = Vec::with_capacity(count);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.get().min(count)).map(|_| scope.spawn(|| self.work())).collect();
            for worker in workers {
                // A panic of a worker is a defect of ours, and goes on in this thread.
                files.extend(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
        });
        if let Some(error) = self.found.storage.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error.into());
        }
        let mut problems = std::mem::take(&mut *self.found.problems.lock().unwrap_or_else(PoisonError::into_inner));
        if !problems.is_empty() {
            problems.sort_by(|one, other| one.source.cmp(&other.source));
            return Err(ImportError::Refused { problems });
        }
        if files.len() < count || self.progress.cancelled() {
            return Err(ImportError::Cancelled);
        }
        files.sort_unstable_by_key(|(place, _)| *place);
        Ok(files.into_iter().map(|(_, file)| file).collect())
    }

    /// Takes file after file until there is none left.
    fn work(&self) -> Vec<(usize, ImportedFile)> {
        let mut buffers = Buffers::default();
        let mut done = Vec::new();
        while !self.found.stop.load(Ordering::Relaxed) {
            let place = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = self.plan.files.get(place) else { break };
            match self.file(place, file, &mut buffers) {
                Ok(file) => done.push((place, file)),
                Err(failure) => {
                    self.found.stop.store(true, Ordering::Relaxed);
                    self.found.note(file, failure);
                }
            }
        }
        done
    }

    fn file(&self, place: usize, file: &PlannedFile, buffers: &mut Buffers) -> Result<ImportedFile, Failure> {
        let to = copy_path(self.folder, place);
        let digest = copy(file, &to, buffers, self.progress)?;
        if !digest.midstates.is_empty() {
            write_read_only(&midstates_path(&to), &print_midstates(&digest.midstates))?;
        }
        self.progress.file();
        Ok(ImportedFile {
            path: file.path.clone(),
            size: digest.size,
            sha256: digest.sha256,
            midstates_root: midstates_root(&digest.midstates),
            modified: file.modified,
        })
    }
}

impl Found {
    fn note(&self, file: &PlannedFile, failure: Failure) {
        match failure {
            Failure::Fault(fault) => {
                let problem = Problem { source: file.source.clone(), fault };
                self.problems.lock().unwrap_or_else(PoisonError::into_inner).push(problem);
            }
            Failure::Storage(error) => {
                *self.storage.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
            Failure::Cancelled => {}
        }
    }
}

/// What an import brought into the vault.
#[derive(Debug, Clone)]
pub struct Imported {
    /// In the order of the plan's files.
    pub files: Vec<ImportedFile>,
}

/// One file that is now an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedFile {
    /// Its sealed path.
    pub path: Vec<u8>,
    /// Bytes.
    pub size: u64,
    /// Its SHA-256, and so its name in the vault.
    pub sha256: Hash,
    /// The root over its midstates.
    pub midstates_root: Hash,
    /// When its source was last written, by the clock of whoever wrote it.
    pub modified: Stamp,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The sources are at fault: the plan had problems, or reading met some. Mend them and plan again.
    #[error("{}", Sentence(problems))]
    Refused {
        /// All that is known, by source.
        problems: Vec<Problem>,
    },
    /// The work was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// Our own disk is full or failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

struct Sentence<'a>(&'a [Problem]);

impl std::fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            [] => write!(f, "nothing to import"),
            [one] => write!(f, "{one}"),
            [first, rest @ ..] => write!(f, "{first}; and {} more", rest.len()),
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}
