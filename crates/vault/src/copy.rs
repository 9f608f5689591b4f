//! Items on their way out to a folder of somebody else's: every byte is hashed again on the way, so that what rotted at
//! rest is found before it is handed on.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use custodia_format::Hash;
use custodia_format::midstate::{CHUNK_BYTES, ItemHasher};

use crate::item::ItemError;
use crate::storage::StorageError;
use crate::vault::Vault;

impl Vault {
    /// Copies an item to a new file. Nothing is synced: whoever copies many makes them durable together.
    ///
    /// # Errors
    /// [`ItemError::Damaged`] when the bytes at rest are not the item's, [`ItemError::Missing`], or the storage's, also of
    /// the target. The target is removed then.
    pub fn copy_out(&self, sha256: &Hash, to: &Path) -> Result<(), ItemError> {
        let item = self.item(sha256)?;
        let failed = |error: io::Error| StorageError::at(to, error);
        let mut file = File::create_new(to).map_err(failed)?;
        let mut hasher = ItemHasher::new();
        let mut buffer = vec![0; usize::try_from(item.size().clamp(1, CHUNK_BYTES)).unwrap_or(1)];
        let copied = loop {
            match item.read_at(hasher.size(), &mut buffer) {
                Ok(0) => break Ok(()),
                Ok(read) => {
                    let bytes = buffer.get(..read).unwrap_or_default();
                    hasher.update(bytes);
                    if let Err(error) = file.write_all(bytes) {
                        break Err(failed(error).into());
                    }
                }
                Err(error) => break Err(StorageError::at(&self.objects.path(sha256), error).into()),
            }
        };
        let found = hasher.finish().sha256;
        let copied = copied.and_then(|()| match found == *sha256 {
            true => Ok(()),
            false => Err(ItemError::Damaged { sha256: *sha256, found, chunk: None }),
        });
        if copied.is_err() {
            // Of no use to anybody; that it may stay behind changes nothing.
            let _ = fs::remove_file(to);
        }
        copied
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Plan, Vault};

    #[test]
    fn what_rotted_at_rest_is_not_handed_on() {
        let folder = tempfile::tempdir().unwrap();
        let (home, source) = (folder.path().join("home"), folder.path().join("source"));
        fs::create_dir(&home).unwrap();
        fs::write(&source, vec![7; 3 << 20]).unwrap();
        let vault = Vault::open(&home).unwrap();
        let imported = vault.import(&Plan::of(&[source]), std::num::NonZeroUsize::MIN, &()).unwrap();
        let sha256 = imported.files[0].sha256;
        let out = folder.path().join("out");
        vault.copy_out(&sha256, &out).unwrap();
        assert_eq!(fs::read(&out).unwrap(), vec![7; 3 << 20]);
        // Nothing that is there is replaced.
        assert!(matches!(vault.copy_out(&sha256, &out), Err(ItemError::Storage(_))));
        assert!(out.is_file());

        let object = vault.objects.path(&sha256);
        let mut bytes = fs::read(&object).unwrap();
        bytes[2 << 20] ^= 1;
        fs::remove_file(&object).unwrap();
        fs::write(&object, bytes).unwrap();
        let again = folder.path().join("again");
        assert!(matches!(vault.copy_out(&sha256, &again), Err(ItemError::Damaged { .. })));
        assert!(!again.exists());
    }
}
