//! The proof file: all that a court needs to judge a package's custody, in one JSON text (docs/spec/proof.md, "Bytes").
//!
//! This file reads and prints it and holds its canonical order; what it proves is the verifier's business. There is no
//! unsigned word in it, and nothing in it can add trust.

use crate::Hash;
use crate::disclosure::Disclosure;
use crate::entry::Entry;
use crate::error::Malformed;
use crate::json::{Json, Members, parse_exact, print_exact};
use crate::limits;
use crate::note::Note;
use crate::statement::Package;
use crate::text::{from_b64, to_b64};
use crate::tlog_proof::TlogProof;

/// The `type` of this version.
pub const PROOF_TYPE: &str = "custodia/proof/v1";
const WHAT: &str = "proof";
/// How far into a file its type may stand.
const RECOGNISED_WITHIN: usize = 1024;

/// One statement of a proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofStatement {
    /// The envelope's exact text; none when it is withheld or erased.
    pub envelope: Option<String>,
    /// Its digest.
    pub digest: Hash,
    /// The proof that its ledger holds it, without `extra`; none when no checkpoint covers it yet.
    pub tlog_proof: Option<TlogProof>,
    /// Its entry, where the envelope is not shown.
    pub entry: Option<Entry>,
}

/// A time-stamp token over a note's text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token {
    /// SHA-256 of the note's text.
    pub note: Hash,
    /// RFC 3161 TimeStampToken, DER.
    pub token: Vec<u8>,
}

/// A proof file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The package.
    pub package: Package,
    /// Its statements, and the cards, delegations, revocations and meetings that they need.
    pub statements: Vec<ProofStatement>,
    /// Checkpoint notes that statements name, and others that bound time.
    pub anchors: Vec<Note>,
    /// Time-stamp tokens.
    pub tokens: Vec<Token>,
    /// The records; none when the manifest file lies beside the proof.
    pub disclosure: Option<Disclosure>,
    /// Disclosed annexes.
    pub annexes: Vec<Disclosure>,
}

/// Why bytes are no proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// They do not say that they are one.
    #[error("this is no proof file")]
    NoProof,
    /// They are of a version that this program does not know.
    #[error("this is {found}, which a newer program reads")]
    NewerVersion {
        /// The type that they name.
        found: String,
    },
    /// They say that they are one, and are not.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Proof {
    /// Reads a proof file.
    ///
    /// # Errors
    /// [`ProofError`], by what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        recognise(bytes)?;
        if bytes.len() as u64 > limits::PROOF_BYTES {
            return Err(Malformed::new(WHAT, "", "at most 1 GiB", bytes.len().to_string()).into());
        }
        let mut members = Members::of(parse_exact(WHAT, bytes)?, WHAT, "")?;
        members.read("type", PROOF_TYPE, |text| (text == PROOF_TYPE).then_some(()))?;
        let package = Package::read(members.object("package")?)?;
        let statements = each(members.array("statements", 0, usize::MAX)?, "statements", |json, place| {
            statement(Members::of(json, WHAT, place)?)
        })?;
        let anchors = each(members.array("anchors", 0, usize::MAX)?, "anchors", |json, place| {
            let text = json.as_str().ok_or_else(|| Malformed::new(WHAT, place, "a note", json.kind()))?;
            sorted(Note::parse(text.as_bytes()).map_err(|error| error.within(place))?, place)
        })?;
        ascending(anchors.iter().map(Note::digest), "anchors")?;
        let tokens = each(members.array("tokens", 0, usize::MAX)?, "tokens", |json, place| {
            token(Members::of(json, WHAT, place)?)
        })?;
        ascending(tokens.iter(), "tokens")?;
        let disclosure = match members.take("disclosure")? {
            Json::Null => None,
            object => Some(Disclosure::from_json(object, "disclosure")?),
        };
        let annexes = each(members.array("annexes", 0, usize::MAX)?, "annexes", Disclosure::from_json)?;
        ascending(annexes.iter().map(|annex| *annex.subject.root()), "annexes")?;
        members.end()?;
        Ok(Self { package, statements, anchors, tokens, disclosure, annexes })
    }

    /// Prints the proof file.
    pub fn print(&self) -> String {
        let statements = self.statements.iter().map(|statement| {
            let mut members = vec![
                ("envelope".to_owned(), Json::optional(statement.envelope.as_ref())),
                ("digest".to_owned(), Json::string(statement.digest)),
                ("tlog_proof".to_owned(), Json::optional(statement.tlog_proof.as_ref().map(TlogProof::print))),
            ];
            members.extend(statement.entry.as_ref().map(|entry| ("entry".to_owned(), Json::string(entry.text()))));
            Json::Object(members)
        });
        let tokens = self.tokens.iter().map(|token| {
            Json::object([("note", Json::string(token.note)), ("token", Json::string(to_b64(&token.token)))])
        });
        print_exact(&Json::object([
            ("type", Json::string(PROOF_TYPE)),
            ("package", self.package.json()),
            ("statements", Json::Array(statements.collect())),
            ("anchors", Json::strings(self.anchors.iter().map(Note::print))),
            ("tokens", Json::Array(tokens.collect())),
            ("disclosure", self.disclosure.as_ref().map_or(Json::Null, Disclosure::to_json)),
            ("annexes", Json::Array(self.annexes.iter().map(Disclosure::to_json).collect())),
        ]))
    }
}

/// A proof names its type within its first bytes; whatever does not is somebody else's file.
fn recognise(bytes: &[u8]) -> Result<(), ProofError> {
    const MARK: &[u8] = b"\"custodia/proof/";
    let head = bytes.get(..bytes.len().min(RECOGNISED_WITHIN)).unwrap_or_default();
    let at = head.windows(MARK.len()).position(|window| window == MARK).ok_or(ProofError::NoProof)?;
    let named = head.get(at + 1..).unwrap_or_default();
    let named = named.split(|byte| *byte == b'"').next().unwrap_or_default();
    let found = String::from_utf8_lossy(named).into_owned();
    let newer =
        found.strip_prefix("custodia/proof/v").and_then(crate::text::decimal).is_some_and(|version| version > 1);
    if newer { Err(ProofError::NewerVersion { found }) } else { Ok(()) }
}

fn each<T>(
    elements: Vec<Json>,
    name: &str,
    read: impl Fn(Json, &str) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    elements.into_iter().enumerate().map(|(place, json)| read(json, &format!("{name}.{place}"))).collect()
}

fn statement(mut members: Members) -> Result<ProofStatement, Malformed> {
    let envelope = members.optional_string("envelope")?;
    let digest = members.read("digest", "64 lowercase hex", Hash::from_hex)?;
    let tlog_proof = members.optional_string("tlog_proof")?;
    let tlog_proof = match tlog_proof {
        None => None,
        Some(text) => {
            let place = members.path("tlog_proof");
            let proof = TlogProof::parse(text.as_bytes()).map_err(|error| error.within(&place))?;
            if proof.extra.is_some() {
                return Err(members.wrong("tlog_proof", "no extra line", "one"));
            }
            let checkpoint = sorted(proof.checkpoint, &place)?;
            Some(TlogProof { checkpoint, ..proof })
        }
    };
    let entry = match &envelope {
        Some(text) => {
            let found = Hash::of(text.as_bytes());
            if found != digest {
                return Err(members.wrong("digest", &found.to_string(), &digest.to_string()));
            }
            None
        }
        None => {
            let entry = Entry::parse(members.string("entry")?.as_bytes())?;
            if entry.sha256 != digest || tlog_proof.is_none() {
                return Err(members.wrong("entry", "the entry of this digest, with its tlog_proof", &entry.text()));
            }
            Some(entry)
        }
    };
    members.end()?;
    Ok(ProofStatement { envelope, digest, tlog_proof, entry })
}

fn token(mut members: Members) -> Result<Token, Malformed> {
    let note = members.read("note", "64 lowercase hex", Hash::from_hex)?;
    let token = members.read("token", "base64 of 1 to 65536 bytes", |text| {
        from_b64(text).filter(|token| (1..=limits::TOKEN_BYTES).contains(&token.len()))
    })?;
    members.end()?;
    Ok(Token { note, token })
}

/// A stored note has the ledger's line first and the others ascending; which line is the ledger's, its card says.
fn sorted(note: Note, place: &str) -> Result<Note, Malformed> {
    if note.is_sorted() {
        return Ok(note);
    }
    Err(Malformed::new(WHAT, place, "signature lines after the first ascending", "another order"))
}

fn ascending<T: PartialOrd>(values: impl Iterator<Item = T>, place: &str) -> Result<(), Malformed> {
    let values: Vec<T> = values.collect();
    let ordered = values.iter().zip(values.iter().skip(1)).all(|(one, next)| one < next);
    if ordered { Ok(()) } else { Err(Malformed::new(WHAT, place, "ascending, none twice", "another order")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(name: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/world/");
        std::fs::read(format!("{folder}{name}")).unwrap()
    }

    #[test]
    fn proofs_of_the_world_print_back() {
        for name in ["full", "redacted", "sealed-only"] {
            let bytes = world(&format!("{name}.proof.json"));
            assert_eq!(Proof::parse(&bytes).unwrap().print().into_bytes(), bytes, "{name}");
        }
    }

    #[test]
    fn damaged_proofs_are_told_apart() {
        for name in ["space", "surplus-member", "digest"] {
            let bytes = world(&format!("tampered/{name}.proof.json"));
            assert!(matches!(Proof::parse(&bytes), Err(ProofError::Malformed(_))), "{name}");
        }
        assert_eq!(Proof::parse(&world("tampered/no-proof.proof.json")), Err(ProofError::NoProof));
        assert_eq!(Proof::parse(b""), Err(ProofError::NoProof));
        let newer = String::from_utf8(world("full.proof.json")).unwrap().replace("proof/v1", "proof/v2");
        assert!(matches!(Proof::parse(newer.as_bytes()), Err(ProofError::NewerVersion { .. })));
        let full = world("full.proof.json");
        for end in (100..full.len()).step_by(997) {
            assert!(matches!(Proof::parse(&full[..end]), Err(ProofError::Malformed(_))));
        }
    }
}
