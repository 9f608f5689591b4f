//! A node's home: where everything lies, readable with `ls` (docs/spec/home.md).
//!
//! This file owns the paths and their permissions. It refuses to know what stands in the files.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use custodia_disk::File;
use custodia_format::Hash;
use custodia_format::key::KeyId;

use crate::edge;
use crate::failure::{Code, Failure};

/// The folder of one node.
#[derive(Debug, Clone)]
pub struct Home(PathBuf);

impl Home {
    /// Names the folder; nothing is read or written yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `custodia.toml`, the configuration.
    pub fn config(&self) -> PathBuf {
        self.0.join("custodia.toml")
    }

    /// `trust`, whom this node believes (docs/spec/trust.md).
    pub fn trust(&self) -> PathBuf {
        self.0.join("trust")
    }

    /// `keys/NAME`, one private key.
    pub fn key(&self, name: &str) -> PathBuf {
        self.0.join("keys").join(name)
    }

    /// `statements/ab/<digest>.json`, one envelope.
    pub fn statement(&self, digest: &Hash) -> PathBuf {
        self.shelf("statements", digest, ".json")
    }

    /// `manifests/`, where manifests and annexes lie.
    pub fn manifests(&self) -> PathBuf {
        self.0.join("manifests")
    }

    /// `manifests/ab/<root>.jsonl`, a manifest or an annex.
    pub fn manifest(&self, root: &Hash) -> PathBuf {
        self.shelf("manifests", root, ".jsonl")
    }

    /// `anchors/ab/<digest>`, a logged file that is no envelope.
    pub fn anchor(&self, digest: &Hash) -> PathBuf {
        self.shelf("anchors", digest, "")
    }

    /// `peers/<root key id>/`, what we know of one authority.
    pub fn peer(&self, root: &KeyId) -> PathBuf {
        self.0.join("peers").join(root.to_string())
    }

    /// `index/`, views that can be deleted.
    pub fn index(&self) -> PathBuf {
        self.0.join("index")
    }

    /// `desk/`, the only truth that is not evidence.
    pub fn desk(&self) -> PathBuf {
        self.0.join("desk")
    }

    /// `past/<generation>/`, a generation of the ledger that ended.
    pub fn past(&self, generation: u32) -> PathBuf {
        self.0.join("past").join(generation.to_string())
    }

    /// `next/`, a generation of the ledger that is being made.
    pub fn next(&self) -> PathBuf {
        self.0.join("next")
    }

    /// `backup`, which only a backup has.
    pub fn backup(&self) -> PathBuf {
        self.0.join("backup")
    }

    /// `desk/asked`, whether the peers were asked what they saw.
    pub fn asked(&self) -> PathBuf {
        self.desk().join("asked")
    }

    /// `node.sock`, where a running node takes requests of its owner.
    pub fn socket(&self) -> PathBuf {
        self.0.join("node.sock")
    }

    fn shelf(&self, shelf: &str, digest: &Hash, ending: &str) -> PathBuf {
        let hex = digest.to_string();
        self.0.join(shelf).join(&hex[..2]).join(format!("{hex}{ending}"))
    }

    /// Makes the folder and those inside it, for their owner alone.
    ///
    /// # Errors
    /// [`Code::Exists`] when something lies there already, [`Code::Io`] when the system refuses.
    pub fn create(&self) -> Result<(), Failure> {
        let occupied = fs::read_dir(&self.0).is_ok_and(|mut entries| entries.next().is_some());
        if occupied || self.0.is_file() {
            return Err(Failure::new(Code::Exists, "This folder is not empty.")
                .at(self.0.display())
                .safe("Nothing in it was touched.")
                .next("choose another folder with --home DIR"));
        }
        ["", "keys", "desk", "peers", "manifests"].iter().try_for_each(|folder| make_folder(&self.0.join(folder)))
    }

    /// Checks that there is a node here and that nobody else can read its keys.
    ///
    /// # Errors
    /// [`Code::NoHome`] or [`Code::Perm`].
    pub fn check(&self) -> Result<(), Failure> {
        if !self.config().is_file() {
            return Err(Failure::new(Code::NoHome, "There is no node in this folder.")
                .at(self.0.display())
                .next("custodia init --name NAME --display TEXT --state XX --role ROLE")
                .next("or name the folder of a node with --home DIR"));
        }
        if self.backup().exists() {
            return Err(Failure::new(Code::NoHome, "This folder is a backup, and no home that a node may work on.")
                .at(self.0.display())
                .safe("Nothing in it was touched.")
                .next("custodia --home DIR restore BACKUP"));
        }
        let keys = self.0.join("keys");
        let open = fs::read_dir(&keys).map_err(|error| Failure::io(&error, &keys))?.flatten().map(|entry| entry.path());
        for path in std::iter::once(keys.clone()).chain(open) {
            let mode = fs::metadata(&path).map_err(|error| Failure::io(&error, &path))?.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(Failure::new(Code::Perm, "Others can read this node's private keys.")
                    .at(path.display())
                    .instead_of("permissions for the owner alone", format!("{mode:03o}"))
                    .safe("The node did not start.")
                    .next(format!("chmod go= {}", path.display())));
            }
        }
        Ok(())
    }
}

/// Makes a folder, and those above it, for their owner alone and durably; existing ones are left as they are.
///
/// # Errors
/// [`Code::Io`] when the system refuses.
pub fn make_folder(path: &Path) -> Result<(), Failure> {
    if path.is_dir() {
        return if custodia_disk::lasts(path) { Ok(()) } else { sync_name(path) };
    }
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        make_folder(above)?;
    }
    match custodia_disk::make_folder(path) {
        Ok(()) => sync_name(path),
        // Another thread was quicker.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => sync_name(path),
        Err(error) => Err(Failure::io(&error, path)),
    }
}

/// Makes a folder's name durable. Who made it may have been killed before that, or may have failed.
fn sync_name(path: &Path) -> Result<(), Failure> {
    let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) else { return Ok(()) };
    match custodia_disk::sync_folder(above) {
        // A home may lie in a folder that its owner cannot read: whoever made it there saw to it.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced.map_err(|error| Failure::io(&error, above)),
    }
}

/// What lies in a folder, ascending; nothing when there is no such folder.
///
/// # Errors
/// [`Code::Io`] when the system refuses: what cannot be listed is not taken for empty.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error: std::io::Error| Failure::io(&error, folder);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut paths = entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect::<Result<Vec<_>, Failure>>()?;
    paths.sort();
    Ok(paths)
}

/// Makes all of a file system durable that a folder lies on: one sync where many files were written.
///
/// # Errors
/// [`Code::Io`] when the system refuses.
pub(crate) fn sync_all(folder: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::io(&error, folder);
    let open = custodia_disk::File::open_to_sync(folder).map_err(failed)?;
    custodia_disk::sync_everything(&open, folder).map_err(failed)
}

/// Makes what was renamed into a folder durable.
///
/// # Errors
/// [`Code::Io`] when the system refuses.
pub fn sync_folder(path: &Path) -> Result<(), Failure> {
    custodia_disk::sync_folder(path).map_err(|error| Failure::io(&error, path))
}

/// Writes a whole file so that a reader sees the old bytes or the new ones, and the new ones last: temporary file,
/// sync, rename, sync of the folder. The file is its owner's alone.
///
/// # Errors
/// [`Code::DiskFull`] or [`Code::Io`]; the old bytes then still stand.
pub fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut new = NewFile::create(path.parent().unwrap_or(Path::new(".")))?;
    new.file.write_all(bytes).map_err(|error| Failure::io(&error, path))?;
    new.keep_as(path)
}

/// Writes a whole file that a power cut may take, or leave empty: a mark whose loss costs a repeat, a figure for people.
///
/// # Errors
/// [`Code::DiskFull`] or [`Code::Io`].
pub(crate) fn write_losable(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut new = NewFile::create(path.parent().unwrap_or(Path::new(".")))?;
    let written = new.file.write_all(bytes).and_then(|()| custodia_disk::rename(&new.path, path));
    written.map_err(|error| Failure::io(&error, path))
}

/// A file that is being written and has no name yet; it goes away unless it is kept.
#[derive(Debug)]
pub(crate) struct NewFile {
    path: PathBuf,
    file: File,
}

impl NewFile {
    /// Begins a file of its owner's in this folder, which is made when it is missing.
    pub(crate) fn create(folder: &Path) -> Result<Self, Failure> {
        make_folder(folder)?;
        Self::inside(folder)
    }

    /// As [`NewFile::create`], in a folder that is there and need not last itself.
    pub(crate) fn inside(folder: &Path) -> Result<Self, Failure> {
        let name = custodia_format::text::to_hex(edge::random::<8>()?.as_slice());
        let path = folder.join(format!(".{name}.tmp"));
        Ok(Self { file: File::create_new(&path).map_err(|error| Failure::io(&error, &path))?, path })
    }

    /// Where it lies until it is kept.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file, to be written.
    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Makes it durable under its name.
    pub(crate) fn keep_as(self, path: &Path) -> Result<(), Failure> {
        let folder = path.parent().unwrap_or(Path::new("."));
        make_folder(folder)?;
        let kept = self.file.sync_all().and_then(|()| custodia_disk::rename(&self.path, path));
        kept.map_err(|error| Failure::io(&error, path))?;
        sync_folder(folder)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // After it was kept there is nothing under this name; otherwise nobody misses it.
        let _ = custodia_disk::remove_file(&self.path);
    }
}

/// Reads a whole file of at most `limit` bytes; none when there is no such file.
///
/// # Errors
/// [`Code::Malformed`] when it is larger, [`Code::Io`] when the system refuses.
pub fn read_file(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, Failure> {
    let failed = |error: std::io::Error| Failure::io(&error, path);
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    let size = file.metadata().map_err(failed)?.len();
    let mut bytes = Vec::new();
    if size <= limit {
        bytes.reserve_exact(usize::try_from(size).unwrap_or_default());
        // It may grow meanwhile.
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    }
    match size.max(bytes.len() as u64) {
        size if size > limit => Err(Failure::new(Code::Malformed, "This file is too large for what it should be.")
            .at(path.display())
            .instead_of(format!("at most {limit} bytes"), size.to_string())),
        _ => Ok(Some(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_made_once_and_kept_private() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("node"));
        assert_eq!(home.check().unwrap_err().code, Code::NoHome);
        home.create().unwrap();
        write_durably(&home.config(), b"").unwrap();
        home.check().unwrap();
        assert_eq!(home.create().unwrap_err().code, Code::Exists);
        write_durably(&home.key("root"), b"secret").unwrap();
        fs::set_permissions(home.key("root"), fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(home.check().unwrap_err().code, Code::Perm);
    }

    #[cfg(feature = "watched")]
    #[test]
    fn a_folder_whose_name_may_not_last_is_not_taken_for_one_that_does() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicBool, Ordering};

        use custodia_disk::watch::{Call, Verdict, Watcher, watch};

        /// Fails the first sync.
        struct Once(AtomicBool);
        impl Watcher for Once {
            fn before(&self, call: &Call<'_>) -> Verdict {
                match call {
                    Call::Sync { .. } if self.0.swap(false, Ordering::Relaxed) => {
                        Verdict::Fail(std::io::Error::from_raw_os_error(5))
                    }
                    _ => Verdict::Go,
                }
            }
            fn after(&self, _: &Call<'_>) {}
        }
        let folder = tempfile::tempdir().unwrap();
        let _watching = watch(folder.path().to_owned(), Arc::new(Once(AtomicBool::new(true))));
        let inner = folder.path().join("inner");
        assert!(make_folder(&inner).is_err());
        assert!(inner.is_dir() && !custodia_disk::lasts(&inner));
        make_folder(&inner).unwrap();
        assert!(custodia_disk::lasts(&inner));
        // Another process has not seen that.
        custodia_disk::forget(folder.path());
        assert!(!custodia_disk::lasts(&inner));
        make_folder(&inner).unwrap();
        assert!(custodia_disk::lasts(&inner));
    }
}
