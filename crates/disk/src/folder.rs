//! Names: what is made, renamed, linked and removed in folders, and what makes it last.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use crate::File;
use crate::lasting::{made_in, when_synced};
#[cfg(feature = "watched")]
use crate::{guard, watch::Call};

/// Makes a call that concerns one path, or asks who watches it.
macro_rules! call {
    ($at:expr, $call:expr, $act:expr) => {{
        #[cfg(feature = "watched")]
        return guard($at, &$call, &mut |_| $act);
        #[cfg(not(feature = "watched"))]
        {
            let _ = $at;
            $act
        }
    }};
}

/// Gives a file or a folder another name; what had that name is replaced.
///
/// # Errors
/// What the system says, as with every call here.
#[inline]
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    call!(to, Call::Rename { from, to }, fs::rename(from, to))
}

/// Takes a file's name away.
///
/// # Errors
/// `NotFound`, or what the system says.
#[inline]
pub fn remove_file(path: &Path) -> io::Result<()> {
    call!(path, Call::RemoveFile { path }, fs::remove_file(path))
}

/// Takes a folder away with all that is in it.
///
/// # Errors
/// `NotFound`, or what the system says; a part may be gone then.
#[inline]
pub fn remove_folder(path: &Path) -> io::Result<()> {
    call!(path, Call::RemoveFolder { path }, fs::remove_dir_all(path))
}

/// Makes a folder for its owner alone.
///
/// # Errors
/// `AlreadyExists`, or what the system says.
#[inline]
pub fn make_folder(path: &Path) -> io::Result<()> {
    make_one(path).inspect(|()| path.parent().into_iter().for_each(made_in))
}

fn make_one(path: &Path) -> io::Result<()> {
    call!(path, Call::MakeFolder { path }, DirBuilder::new().mode(0o700).create(path))
}

/// Says who may do what with a file.
///
/// # Errors
/// What the system says.
#[inline]
pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    call!(path, Call::SetMode { path }, fs::set_permissions(path, Permissions::from_mode(mode)))
}

/// Makes the bytes of a file durable.
///
/// # Errors
/// What the system says: then nobody knows what is on the disk.
pub fn sync_file(path: &Path) -> io::Result<()> {
    File::open_to_sync(path)?.sync_all()
}

/// Makes the names in a folder durable.
///
/// # Errors
/// As [`sync_file`].
pub fn sync_folder(path: &Path) -> io::Result<()> {
    let they_last = when_synced(path);
    File::open_to_sync(path)?.sync_all()?;
    they_last();
    Ok(())
}

/// Makes everything durable on the file system that an open file or folder lies on; `path` is its name. Where there is no
/// such call the file alone is synced.
///
/// # Errors
/// What failed on that file system since the file was opened.
pub fn sync_everything(file: &File, path: &Path) -> io::Result<()> {
    call!(path, Call::SyncEverything { path }, sync_file_system_of(file))
}

fn sync_file_system_of(file: &File) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    return Ok(rustix::fs::syncfs(file)?);
    #[cfg(not(target_os = "linux"))]
    file.sync_all()
}
