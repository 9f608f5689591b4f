//! Draft.
mod folder;
mod home;
mod storage;
mod tail;
pub use folder::Folder;
pub use home::Shelf;
pub use storage::{Listed, NewFile, Rename, Storage, StorageError};
/// Documents of one append.
pub const APPEND_DOCUMENTS: usize = 65_536;
