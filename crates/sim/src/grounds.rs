//! The homes that the runs of one thread take place in: laid out once, and put back after each run.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;
use crate::template::{Failed, Setting, Template};

/// The homes of one thread's runs.
#[derive(Debug)]
pub struct Grounds<'a> {
    template: &'a Template,
    folder: tempfile::TempDir,
    /// Those that are as they should be, by how many nodes their world has.
    ready: BTreeMap<usize, Vec<Arc<Disk>>>,
}

impl<'a> Grounds<'a> {
    /// Those for worlds of this template.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(template: &'a Template) -> Result<Self, Failed> {
        let folder = tempfile::Builder::new().prefix("grounds-").tempdir_in(template.folder())?;
        Ok(Self { template, folder, ready: BTreeMap::new() })
    }

    pub(crate) const fn template(&self) -> &'a Template {
        self.template
    }

    /// A folder for what lies beside the homes.
    pub(crate) fn beside(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// The disks of a world, as it begins.
    pub(crate) fn disks(&mut self, setting: &Setting) -> Result<Vec<Arc<Disk>>, Failed> {
        let count = setting.peers.len();
        if let Some(disks) = self.ready.get(&count) {
            return Ok(disks.clone());
        }
        let folder = self.folder.path().join(count.to_string());
        // What was left behind by a run that could not be put back.
        if folder.is_dir() {
            fs::remove_dir_all(&folder)?;
        }
        let lay_out = |node: usize| {
            let home = folder.join(node.to_string());
            setting.copy(node, &home)?;
            Ok(Arc::new(Disk::of(home)?))
        };
        let disks = (0..count).map(lay_out).collect::<Result<Vec<_>, Failed>>()?;
        self.ready.insert(count, disks.clone());
        Ok(disks)
    }

    /// Makes them again what they were when the run began. Nothing of its nodes is open any more.
    pub(crate) fn put_back(&mut self, setting: &Setting) -> Result<(), Failed> {
        let disks = self.ready.remove(&setting.peers.len()).unwrap_or_default();
        for (node, disk) in disks.iter().enumerate() {
            let home = setting.home(node);
            disk.put_back(&home)?;
            put_back_index(&home, disk.root())?;
        }
        self.ready.insert(setting.peers.len(), disks);
        Ok(())
    }
}

/// The index is not behind the disk, so nobody knows what has changed of it.
fn put_back_index(from: &Path, to: &Path) -> Result<(), Failed> {
    let index = Path::new("index");
    match fs::remove_dir_all(to.join(index)) {
        // A node whose power went while it made its index anew has none.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        removed => removed?,
    }
    Ok(crate::template::copy(from, to, index)?)
}
