//! The 128 random bits of a statement.

use std::fmt;

use crate::text::{from_b64url, to_b64url};

/// 16 random bytes, printed as 22 characters of base64url: no digest can be guessed, no two statements are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatementId([u8; 16]);

impl StatementId {
    /// The id of these bytes; whoever calls this has drawn them at random.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads the 22 characters, the one spelling of their bytes.
    pub fn parse(text: &str) -> Option<Self> {
        from_b64url(text).map(Self)
    }
}

impl fmt::Display for StatementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_b64url(&self.0))
    }
}
