//! The chain of custody of a package, or of one of its records, as this node can show it.

use std::path::PathBuf;
use std::sync::Arc;

use custodia_format::{Hash, limits};
use custodia_verify::{Given, verify_custody};
use serde::{Deserialize, Serialize};

use super::authority::trust_with_us;
use super::prove::{refuse_existing, write_new};
use super::which::Which;
use crate::api::{Operation, Reporter};
use crate::dossier::{self, Records};
use crate::failure::{Code, Failure};
use crate::{Node, home, packages};

/// Draw the chain of custody of a package.
#[derive(Debug, Serialize, Deserialize)]
pub struct Chain {
    /// The package, by a prefix of its id.
    pub package: String,
    /// Of this record alone: a code, a sealed path, or a record number.
    pub item: Option<String>,
    /// The file for the drawing, by an absolute path.
    pub svg: Option<PathBuf>,
}

/// A chain of custody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainShown {
    /// In words.
    pub text: String,
    /// As a document (docs/operate/custody.md, "The chain").
    pub chain: serde_json::Value,
    /// What the verifier says of the statements that it is drawn from.
    pub verdict: String,
    /// The drawing.
    pub svg: Option<String>,
}

impl Operation for Chain {
    const NAME: &'static str = "chain";
    type Answer = ChainShown;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<ChainShown, Failure> {
        let root = packages::find(node, &self.package)?;
        if let Some(svg) = &self.svg {
            refuse_existing(svg)?;
        }
        let item = self.item.as_deref().map(|item| record(node, &root, item)).transpose()?;
        let proof = dossier::with_annexes(node, dossier::of(node, &root, Records::Beside)?)?.print().into_bytes();
        let manifest = home::read_file(&node.home().manifest(&root), limits::MANIFEST_BYTES)?;
        let trust = trust_with_us(node)?;
        let given =
            Given { proof: &proof, trust: &trust, manifest: manifest.as_deref(), content: None, cores: node.cores() };
        let (report, chain) = verify_custody(&given, item);
        let chain = chain.ok_or_else(|| {
            Failure::new(Code::SelfCheck, "The proof that was made shows no package.").next("custodia ledger fsck")
        })?;
        if let Some(svg) = &self.svg {
            write_new(svg, chain.to_svg().as_bytes())?;
        }
        Ok(ChainShown {
            text: chain.to_text(),
            chain: serde_json::to_value(&chain).unwrap_or_default(),
            verdict: report.verdict.words().to_owned(),
            svg: self.svg.map(|svg| svg.display().to_string()),
        })
    }
}

/// The one record that is meant.
fn record(node: &Node, root: &Hash, item: &str) -> Result<u64, Failure> {
    let which = Which::parse(item);
    let mut found = Vec::new();
    packages::unclosed_records(&node.home().manifest(root), |_, number, record| {
        if which.is(number, &record) && found.len() < 2 {
            found.push(number);
        }
        Ok(())
    })?;
    match found[..] {
        [one] => Ok(one),
        _ => Err(Failure::new(Code::UnknownRecord, "This names no record of this package, or several.")
            .at("--item")
            .instead_of("one code, sealed path or record number", item)
            .next("custodia records list PACKAGE")),
    }
}
