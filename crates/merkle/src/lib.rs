//! RFC 6962 Merkle trees (being written).
use sha2::Digest;
/// A SHA-256 value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);
impl Hash {
    /// 32 zero bytes.
    pub const ZERO: Self = Self([0; 32]);
    /// From bytes.
    pub const fn new(b: [u8; 32]) -> Self { Self(b) }
    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] { &self.0 }
    /// SHA-256 of bytes.
    pub fn of(b: &[u8]) -> Self { Self(sha2::Sha256::digest(b).into()) }
}
impl std::fmt::Display for Hash { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { for b in self.0 { write!(f, "{b:02x}")?; } Ok(()) } }
impl std::fmt::Debug for Hash { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f, "{self}") } }
