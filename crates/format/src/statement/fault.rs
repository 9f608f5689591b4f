//! Why a statement was not taken: its bytes, or a key inside it.

use crate::error::Malformed;
use crate::key::KeyRefused;

/// Why a payload is no statement.
///
/// The two are told apart because a report does: a refused key is `unknown-key`, anything else is `malformed`
/// (docs/spec/proof.md, step 3).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Bytes that the format does not allow. The writer's fault; nothing in the statement is believed.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A public key that could be another's or anybody's. The writer's fault; the card or delegation gives no key.
    #[error("public key refused at {place}: {fault}")]
    RefusedKey {
        /// Where the key stands.
        place: String,
        /// What is wrong with it.
        fault: KeyFault,
    },
}

/// What is wrong with a public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// The key by itself.
    #[error(transparent)]
    Refused(#[from] KeyRefused),
    /// The same raw key stands at another place too: what it signs for one purpose could be shown for the other.
    #[error("the key of {with} again")]
    Reused {
        /// The other place.
        with: String,
    },
}
