//! What a node remembers in `desk/` that is no evidence: small JSON files, each replaced whole. One that cannot be read is as
//! good as none.

use std::path::Path;

use custodia_format::text::Time;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::{Code, Failure};
use crate::home;

/// Bytes of one of these files.
const RECORD_BYTES: u64 = 64 << 20;

/// What is remembered there, if it can be read.
pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let bytes = home::read_file(path, RECORD_BYTES).ok()??;
    serde_json::from_slice(&bytes).ok()
}

/// Remembers it durably.
pub(crate) fn save<T: Serialize>(path: &Path, record: &T) -> Result<(), Failure> {
    let bytes = serde_json::to_vec(record).map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
    home::write_durably(path, &bytes)
}

/// A moment of this machine's clock, as people read it.
pub(crate) fn moment(unix: i64) -> String {
    Time::from_unix(unix).unwrap_or(Time::EPOCH).to_string()
}
