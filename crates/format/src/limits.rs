//! Every limit of the formats, with its reason. Parsers check them before they allocate (docs/spec/limits.md).

/// Bytes of a statement's payload: the largest honest body (a release with 1,000 ranges) is a tenth of it.
pub const PAYLOAD_BYTES: usize = 48 * 1024;
/// Bytes of an envelope: a payload in base64 and eight signatures.
pub const ENVELOPE_BYTES: usize = 72 * 1024;
/// Signatures of one envelope.
pub const ENVELOPE_SIGNATURES: usize = 8;
/// Bytes of a note: a checkpoint with post-quantum lines from every witness that can be imagined.
pub const NOTE_BYTES: usize = 256 * 1024;
/// Signature lines of one note.
pub const NOTE_SIGNATURES: usize = 64;
/// Hashes of one Merkle proof: a tree has fewer than 2^63 leaves.
pub const PROOF_HASHES: usize = 63;
/// Largest size, index, count or time in any format: 2^63 - 1, so that every language's integers hold it.
pub const DECIMAL_MAX: u64 = (1 << 63) - 1;
/// Bytes of a ledger entry that a bundle can hold (a `u16` length).
pub const ENTRY_BYTES: usize = 65_535;
/// Records of one package.
pub const RECORDS: u64 = 1_000_000;
/// Fields of one record.
pub const RECORD_FIELDS: usize = 64;
/// Bytes of one value in compact JSON.
pub const VALUE_BYTES: usize = 64 * 1024;
/// Bytes of an item's path.
pub const PATH_BYTES: usize = 4096;
/// Bytes of one component of a path: what common file systems take.
pub const PATH_COMPONENT_BYTES: usize = 255;
/// Components of a path.
pub const PATH_DEPTH: usize = 64;
/// Bytes of a manifest or annex file, which is read as a stream.
pub const MANIFEST_BYTES: u64 = 1 << 30;
/// Bytes of a manifest's first line.
pub const MANIFEST_HEADER_BYTES: usize = 1024 * 1024;
/// Bytes of a proof file.
pub const PROOF_BYTES: u64 = 1 << 30;
/// Bytes of a trust file.
pub const TRUST_BYTES: usize = 1024 * 1024;
/// Bytes of one RFC 3161 token.
pub const TOKEN_BYTES: usize = 64 * 1024;
/// Cards in one proof.
pub const PROOF_CARDS: usize = 10_000;
/// Bytes of one item.
pub const ITEM_BYTES: u64 = 16 << 40;
/// Containers inside one another in a JSON text; the outermost is the first.
pub const JSON_DEPTH: usize = 32;
/// Characters of a `text` value in a body.
pub const TEXT_CHARS: usize = 4096;
/// Ranges of one list of records in a body.
pub const RANGES: usize = 1000;
/// Bytes of a name or origin in a note (C2SP signed-note, our strict profile).
pub const NAME_BYTES: usize = 255;
