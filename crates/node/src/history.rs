//! Histories: the proof files, without records, that come with a release to us and say what happened before.
//!
//! One lies at `peers/<root key id>/histories/<release>.json` as it was received; it was verified before it was kept.

use std::path::PathBuf;

use custodia_format::Hash;
use custodia_format::body::Body;
use custodia_format::key::KeyId;
use custodia_format::kind::Kind;
use custodia_format::proof::{Proof, ProofError};
use custodia_verify::{Given, verify};

use crate::failure::{Code, Failure};
use crate::home::{self, Home};
use crate::{Node, author};

/// Bytes of a history: a statement takes some kilobytes, so these are ten thousand hand-overs.
pub(crate) const HISTORY_BYTES: u64 = 64 << 20;

/// Where the history of a release lies.
pub(crate) fn path(home: &Home, peer: &KeyId, release: &Hash) -> PathBuf {
    home.peer(peer).join("histories").join(format!("{release}.json"))
}

/// The history that came with a release of this peer; none when there is none here.
pub(crate) fn of_release(home: &Home, peer: &KeyId, release: &Hash) -> Result<Option<Proof>, Failure> {
    let bytes = home::read_file(&path(home, peer, release), HISTORY_BYTES)?;
    Ok(bytes.map(|bytes| Proof::parse(&bytes)).transpose()?)
}

/// The histories that came with releases of a package to us, in the order of our ledger.
pub(crate) fn of_package(node: &Node, root: &Hash) -> Result<Vec<Proof>, Failure> {
    let mut proofs = Vec::new();
    for row in node.index().of_package(root)? {
        if row.kind != Kind::Release.to_string() || author::is_own(node, &row) {
            continue;
        }
        for peer in node.peers().all() {
            proofs.extend(of_release(node.home(), &peer.root, &row.digest)?);
        }
    }
    Ok(proofs)
}

/// Checks a history that a peer sent: it must be a proof of this package in which nothing was changed, and hold the
/// release that it comes with. Clocks that disagree are a finding of whoever reads it, and stop nothing.
pub(crate) fn check(node: &Node, root: &Hash, release: &Hash, bytes: &[u8]) -> Result<(), Failure> {
    let refuse = |found: String| {
        Failure::new(Code::PeerMisbehaved, "The history that came with a release does not hold.")
            .at(format!("release {release}"))
            .instead_of("a proof of this package in which nothing was changed", found)
    };
    let proof = Proof::parse(bytes).map_err(|error| refuse(error.to_string()))?;
    if proof.package.root != *root || proof.disclosure.is_some() {
        return Err(refuse(format!("a proof of {}", proof.package.root)));
    }
    if !proof.statements.iter().any(|statement| statement.digest == *release) {
        return Err(refuse("no release".to_owned()));
    }
    let trust = node.trust()?;
    let report = verify(&Given { proof: bytes, trust: &trust, manifest: None, content: None, cores: node.cores() });
    let found = report.contradictions().map(ToString::to_string).collect::<Vec<_>>();
    if found.is_empty() { Ok(()) } else { Err(refuse(found.join("; "))) }
}

/// Whether a body is a release to this authority.
pub(crate) fn is_to_us(node: &Node, body: &Body) -> bool {
    let ours = &node.config().ledger;
    matches!(body, Body::Release(release) if release.recipient.ledger.custodian() == ours.custodian())
}

impl From<ProofError> for Failure {
    fn from(error: ProofError) -> Self {
        match error {
            ProofError::Malformed(malformed) => malformed.into(),
            other => Self::new(Code::Malformed, format!("This is not a proof that this program reads: {other}.")),
        }
    }
}
