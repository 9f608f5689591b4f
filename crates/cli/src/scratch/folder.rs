//! The folder in which everything lies: one that a person named, new or empty, else a new one in the temporary directory.

use std::fs;
use std::path::{Path, PathBuf};

use custodia_node::failure::{Code, Failure};

/// Makes it.
pub(crate) fn make_folder(keep: Option<&Path>, prefix: &str) -> Result<PathBuf, Failure> {
    let Some(keep) = keep else {
        let temp = std::env::temp_dir();
        let made = tempfile::Builder::new().prefix(prefix).tempdir_in(&temp);
        return Ok(made.map_err(|error| Failure::io(&error, &temp))?.keep());
    };
    let folder = absolute(keep)?;
    fs::create_dir_all(&folder).map_err(|error| Failure::io(&error, &folder))?;
    let mut entries = fs::read_dir(&folder).map_err(|error| Failure::io(&error, &folder))?;
    if entries.next().is_some() {
        return Err(Failure::new(Code::Exists, "This folder is not empty.")
            .at(folder.display())
            .safe("Nothing in it was touched.")
            .next("name another with --keep DIR"));
    }
    Ok(folder)
}

/// The processes have another working folder than the person.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::io(&error, path))
}

/// Another one at each run.
pub(crate) fn fresh_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    (now as u64 ^ u64::from(std::process::id())) % 1_000_000
}
