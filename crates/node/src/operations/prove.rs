//! Proofs: what leaves this node for a court, one file each.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use custodia_format::Hash;
use custodia_format::text::to_hex;
use custodia_verify::chain::Chain;
use custodia_verify::{Given, Report, verify_custody};
use serde::{Deserialize, Serialize};

use super::answers::Written;
use super::authority::trust_with_us;
use crate::api::{Operation, Reporter};
use crate::dossier::{self, Records};
use crate::failure::{Code, Failure};
use crate::{Node, edge, home, packages, redacted};

/// Write the proof of a package.
#[derive(Debug, Serialize, Deserialize)]
pub struct Prove {
    /// The package, by a prefix of its id.
    pub package: String,
    /// Where to, by an absolute path.
    pub out: PathBuf,
    /// The redacted copy, by a prefix of the digest of the disclosure that declares it; none: everything is shown.
    #[serde(default)]
    pub disclosure: Option<String>,
    /// Whether the annexes of statements are shown too: persons, places, reasons.
    #[serde(default)]
    pub annexes: bool,
}

impl Operation for Prove {
    const NAME: &'static str = "prove";
    type Answer = Written;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Written, Failure> {
        let root = packages::find(node, &self.package)?;
        refuse_existing(&self.out)?;
        let copy = self.disclosure.as_deref().map(|digest| redacted::declared(node, &root, digest)).transpose()?;
        let records = copy.as_ref().map_or(Records::Shown, Records::Redacted);
        let proof = dossier::of(node, &root, records)?;
        let proof = if self.annexes { dossier::with_annexes(node, proof)? } else { proof };
        let proof = proof.print().into_bytes();
        let report = check(node, &proof, None)?;
        write_new(&self.out, &proof)?;
        Ok(Written {
            path: self.out.display().to_string(),
            sha256: Some(Hash::of(&proof).to_string()),
            files: 1,
            bytes: proof.len() as u64,
            verdict: report.verdict.words().to_owned(),
            findings: findings(&report),
        })
    }
}

/// What every proof of ours goes through before it leaves: the verifier, with what this node believes. Clocks of others that
/// disagree are found by whoever reads the proof, are told to whoever writes it, and do not keep it from a court.
fn check(node: &Node, proof: &[u8], manifest: Option<&[u8]>) -> Result<Report, Failure> {
    check_custody(node, proof, manifest).map(|(report, _)| report)
}

/// The same; gives the chain of custody too.
pub(super) fn check_custody(node: &Node, proof: &[u8], manifest: Option<&[u8]>) -> Result<(Report, Chain), Failure> {
    let trust = trust_with_us(node)?;
    let given = Given { proof, trust: &trust, manifest, content: None, cores: node.cores() };
    let (report, chain) = verify_custody(&given, None);
    if report.contradictions().next().is_some() {
        return Err(Failure::new(Code::SelfCheck, "The proof that was made does not pass the verifier.")
            .instead_of("a proof in which nothing was changed", findings(&report).join("; "))
            .safe("It was not written.")
            .next("custodia ledger fsck")
            .next("report this: a node must not make such a proof"));
    }
    let chain = chain.ok_or_else(|| Failure::new(Code::SelfCheck, "The proof that was made shows no package."))?;
    Ok((report, chain))
}

pub(super) fn findings(report: &Report) -> Vec<String> {
    report.findings.iter().map(ToString::to_string).collect()
}

pub(super) fn refuse_existing(path: &Path) -> Result<(), Failure> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    Err(Failure::new(Code::Exists, "There is something of that name already.")
        .at(path.display())
        .safe("It was not touched.")
        .next("choose another name"))
}

/// Writes a file for others, whole or not at all.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::io(&error, path);
    let partial = beside(path)?;
    let written =
        fs::File::create_new(&partial).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    // A link that is new, so that nothing of that name is ever replaced.
    let written = written.and_then(|()| fs::hard_link(&partial, path));
    let removed = fs::remove_file(&partial);
    written.and(removed).map_err(failed)?;
    home::sync_folder(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

/// A name beside a path that nobody has, for what is not finished: a process that is killed leaves it behind, and hinders
/// nobody by it.
pub(super) fn beside(path: &Path) -> Result<PathBuf, Failure> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.partial", to_hex(edge::random::<4>()?.as_slice())));
    Ok(path.with_file_name(name))
}
