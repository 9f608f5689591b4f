//! Links: the hashes that chain a package's statements in one ledger (docs/spec/statement.md, "The chain").

use crate::Hash;

/// Names what a link is for, first in the hashed bytes.
const TAG: &[u8] = b"custodia/link/v1\n";

/// The link of statement `n`: `H(00 || tag || u64be(n) || previous || digest)`.
///
/// `previous` is the link of statement `n - 1`, [`Hash::ZERO`] for the first. A withheld statement is as good as a
/// shown one here: only its digest goes in.
pub fn link(n: u64, previous: &Hash, digest: &Hash) -> Hash {
    let mut bytes = Vec::with_capacity(1 + TAG.len() + 8 + 64);
    bytes.push(0);
    bytes.extend_from_slice(TAG);
    bytes.extend_from_slice(&n.to_be_bytes());
    bytes.extend_from_slice(previous.as_bytes());
    bytes.extend_from_slice(digest.as_bytes());
    Hash::of(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_links_of_the_vectors() {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/custodia-v1.json"));
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        let hash = |value: &serde_json::Value| Hash::from_hex(value.as_str().unwrap()).unwrap();
        let mut previous = Hash::ZERO;
        let cases = vectors["links"].as_array().unwrap();
        assert!(!cases.is_empty());
        for (n, case) in (0..).zip(cases) {
            previous = link(n, &previous, &hash(&case["digest"]));
            assert_eq!(previous, hash(&case["link"]));
        }
    }
}
