//! What a forger might do: one byte of one file, one byte of the proof. Copies are changed, never what they are made of.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use custodia_node::failure::{Code, Failure};

/// The folder of an export with the files (docs/spec/proof.md, "Export").
const ITEMS: &str = "items";
/// The largest file that is copied to be changed, where there is a smaller one.
const HANDY_BYTES: u64 = 16 << 20;

/// What was changed in a copy of an export.
#[derive(Debug)]
pub(crate) struct Changed {
    /// The file, as it was sealed.
    pub(crate) file: PathBuf,
    /// Which byte, counted from 0.
    pub(crate) offset: u64,
}

/// Makes a copy of an export in which one byte of one file is another. Every other file is a link to the same bytes.
pub(crate) fn export(from: &Path, to: &Path) -> Result<Changed, Failure> {
    let mut files = Vec::new();
    walk(from, Path::new(""), &mut files)?;
    let (changed, size) = victim(&files)?;
    for (below, _) in &files {
        let (source, copy) = (from.join(below), to.join(below));
        let failed = |error: std::io::Error| Failure::io(&error, &copy);
        fs::create_dir_all(copy.parent().unwrap_or(to)).map_err(failed)?;
        if below == &changed {
            fs::copy(&source, &copy).map_err(failed)?;
        } else if fs::hard_link(&source, &copy).is_err() {
            // A file system without links.
            fs::copy(&source, &copy).map_err(failed)?;
        }
    }
    let offset = size / 2;
    flip(&to.join(&changed), offset)?;
    let file = changed.strip_prefix(ITEMS).unwrap_or(&changed).to_owned();
    Ok(Changed { file, offset })
}

/// Makes a copy of a proof in which one character is another: a digit of the last sealed SHA-256 that it shows, as if
/// another file had been sealed. Gives its place, counted from 0.
pub(crate) fn proof(from: &Path, to: &Path) -> Result<u64, Failure> {
    const SEALED: &str = "\\\"sha256\\\",\\\"";
    let text = fs::read_to_string(from).map_err(|error| Failure::io(&error, from))?;
    let place = text.rfind(SEALED).map(|start| start + SEALED.len());
    let mut bytes = text.into_bytes();
    let (place, byte) = place
        .and_then(|place| bytes.get_mut(place).map(|byte| (place, byte)))
        .ok_or_else(|| Failure::new(Code::Internal, "The proof shows no SHA-256 of a file.").at(from.display()))?;
    *byte = if *byte == b'a' { b'b' } else { b'a' };
    fs::write(to, &bytes).map_err(|error| Failure::io(&error, to))?;
    Ok(place as u64)
}

/// The file to be changed: the largest handy one, else the smallest with any byte in it.
fn victim(files: &[(PathBuf, u64)]) -> Result<(PathBuf, u64), Failure> {
    let items = || files.iter().filter(|(path, size)| path.starts_with(ITEMS) && *size > 0);
    let handy = items().filter(|(_, size)| *size <= HANDY_BYTES).max_by_key(|(_, size)| *size);
    handy.or_else(|| items().min_by_key(|(_, size)| *size)).cloned().ok_or_else(|| {
        Failure::new(Code::Empty, "No file of this folder has a byte that could be changed.")
            .safe("Everything before this step was done.")
            .next("name a folder with some content")
    })
}

fn walk(root: &Path, below: &Path, files: &mut Vec<(PathBuf, u64)>) -> Result<(), Failure> {
    let folder = root.join(below);
    let failed = |error: std::io::Error| Failure::io(&error, &folder);
    for entry in fs::read_dir(&folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = below.join(entry.file_name());
        if entry.file_type().map_err(failed)?.is_dir() {
            walk(root, &path, files)?;
        } else {
            files.push((path, entry.metadata().map_err(failed)?.len()));
        }
    }
    Ok(())
}

fn flip(path: &Path, offset: u64) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::io(&error, path);
    // An export is read-only for everybody; this copy is ours to spoil.
    let mut permissions = fs::metadata(path).map_err(failed)?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
    fs::set_permissions(path, permissions).map_err(failed)?;
    let file = fs::OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
    let mut byte = [0; 1];
    file.read_exact_at(&mut byte, offset).map_err(failed)?;
    file.write_all_at(&[byte[0] ^ 1], offset).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_of_a_copy_is_changed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("export"), folder.path().join("tampered"));
        fs::create_dir_all(from.join("items/a")).unwrap();
        fs::write(from.join("items/a/large"), [7; 100]).unwrap();
        fs::write(from.join("items/empty"), []).unwrap();
        fs::write(from.join("proof.json"), [8; 1000]).unwrap();
        let changed = export(&from, &to).unwrap();
        assert_eq!((changed.file.to_str().unwrap(), changed.offset), ("a/large", 50));
        assert_eq!(fs::read(from.join("items/a/large")).unwrap(), [7; 100]);
        let spoilt = fs::read(to.join("items/a/large")).unwrap();
        assert_eq!(spoilt.iter().filter(|byte| **byte != 7).count(), 1);
        assert_eq!(fs::read(to.join("proof.json")).unwrap(), [8; 1000]);
        assert!(fs::read(to.join("items/empty")).unwrap().is_empty());
    }
}
