//! What the tests of the vault share.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "test support: what is made here is well formed")]

#[path = "../../../../tests/noise.rs"]
mod noise;
pub use noise::noise;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;

use custodia_format::Hash;
use custodia_format::midstate::{ItemDigest, ItemHasher, midstates_root, print_midstates};
use custodia_vault::{Found, ItemPlan, Vault};

pub const MIB: usize = 1 << 20;

pub fn two() -> NonZeroUsize {
    NonZeroUsize::new(2).unwrap()
}

pub fn digest(bytes: &[u8]) -> ItemDigest {
    let mut hasher = ItemHasher::new();
    hasher.update(bytes);
    hasher.finish()
}

/// An item that a sender has.
pub struct Sent {
    pub plan: ItemPlan,
    pub bytes: Vec<u8>,
    pub midstates: Vec<u8>,
}

impl Sent {
    pub fn new(record: u64, bytes: Vec<u8>) -> Self {
        let digest = digest(&bytes);
        let midstates = midstates_root(&digest.midstates);
        let plan = ItemPlan { record, size: digest.size, sha256: digest.sha256, midstates };
        Self { plan, bytes, midstates: print_midstates(&digest.midstates) }
    }

    pub fn chunk(&self, chunk: u64) -> &[u8] {
        let start = chunk as usize * MIB;
        &self.bytes[start..self.bytes.len().min(start + MIB)]
    }
}

/// All items in `objects/`; anything else there is a failure.
pub fn objects(vault: &Vault) -> Vec<(Hash, u64)> {
    let mut items: Vec<_> = vault
        .items()
        .map(|found| match found.unwrap() {
            Found::Item { sha256, size } => (sha256, size),
            Found::Stray { path } => panic!("{} is not ours", path.display()),
        })
        .collect();
    items.sort();
    items
}

/// No unfinished file is left.
pub fn assert_swept(vault: &Vault) {
    for shelf in ["objects", "midstates"] {
        let left: Vec<_> = std::fs::read_dir(vault.home().join(shelf).join(".new")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// A small file system of its own, gone at the end.
pub struct SmallDisk {
    pub path: PathBuf,
    _folder: tempfile::TempDir,
}

impl SmallDisk {
    /// `None` where nothing may be mounted; in CI that is a failure.
    pub fn new(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = std::ffi::CString::new(format!("size={size}")).unwrap();
        let mounted =
            rustix::mount::mount("tmpfs", folder.path(), "tmpfs", rustix::mount::MountFlags::empty(), &*options);
        if let Err(error) = mounted {
            assert!(std::env::var_os("CI").is_none(), "CI must be able to mount a small disk: {error}");
            eprintln!("SKIPPED: a small disk cannot be mounted here: {error}");
            return None;
        }
        Some(Self { path: folder.path().to_owned(), _folder: folder })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.path, rustix::mount::UnmountFlags::DETACH);
    }
}

pub fn mkfifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}
