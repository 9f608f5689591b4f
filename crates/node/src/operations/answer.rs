//! A person's answer to what was received: acceptance or refusal.

use std::sync::Arc;

use custodia_format::Hash;
use custodia_format::body::{Acceptance, Body, Coded, Refusal, Text};
use custodia_format::kind::Kind;
use custodia_format::ranges::Items;
use custodia_format::statement::Package;
use custodia_format::text::Word;
use serde::{Deserialize, Serialize};

use super::Decider;
use super::answers::StatementLine;
use super::inbox::{line, releases_to_us};
use crate::api::{Operation, Reporter};
use crate::author::{self, BoundBy, Draft};
use crate::failure::{Code, Failure};
use crate::keys;
use crate::{Node, packages, receive};

/// Take a received package into custody.
#[derive(Debug, Serialize, Deserialize)]
pub struct Accept {
    /// The package, by a prefix of its id.
    pub package: String,
    /// Who takes it.
    pub by: Decider,
}

impl Operation for Accept {
    const NAME: &'static str = "accept";
    type Answer = StatementLine;

    fn signs(&self) -> bool {
        true
    }

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<StatementLine, Failure> {
        let root = packages::find(node, &self.package)?;
        let (release, package) = to_be_answered(node, &root)?;
        if receive::receipt_of(node, &release)?.is_none() {
            return Err(Failure::new(Code::NotYet, "This package is not wholly here yet; there is no receipt.")
                .at(root)
                .safe("Nothing was signed.")
                .next("custodia inbox"));
        }
        let body = Body::Acceptance(Acceptance { items: Items::All, conditions: Vec::new(), seals: Vec::new() });
        answer(node, release, package, body, &self.by)
    }
}

/// Refuse a package.
#[derive(Debug, Serialize, Deserialize)]
pub struct Refuse {
    /// The package, by a prefix of its id.
    pub package: String,
    /// Why.
    pub reason: String,
    /// Who refuses.
    pub by: Decider,
}

impl Operation for Refuse {
    const NAME: &'static str = "refuse";
    type Answer = StatementLine;

    fn signs(&self) -> bool {
        true
    }

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<StatementLine, Failure> {
        let root = packages::find(node, &self.package)?;
        let (release, package) = to_be_answered(node, &root)?;
        let text = Text::parse(&self.reason).map_err(|error| Failure::from(error).at("--reason"))?;
        let reasons = vec![Coded { code: Word::parse("declined")?, text: Some(text) }];
        let body = Body::Refusal(Refusal { items: Items::All, reasons });
        answer(node, release, package, body, &self.by)
    }
}

/// The newest release of a package to us that no person has answered.
fn to_be_answered(node: &Node, root: &Hash) -> Result<(Hash, Package), Failure> {
    let releases = releases_to_us(node, Some(root))?;
    let mut answered = None;
    for (row, statement) in releases.iter().rev() {
        let answers = node.index().answers(&row.digest)?;
        let ends = [Kind::Acceptance.to_string(), Kind::Refusal.to_string()];
        let end = answers.iter().find(|row| ends.contains(&row.kind) && author::is_own(node, row));
        match (end, statement.head.package) {
            (None, Some(package)) => return Ok((row.digest, package)),
            (Some(end), _) => answered = answered.or(Some(end.kind.clone())),
            (None, None) => {}
        }
    }
    Err(match answered {
        Some(kind) => Failure::new(Code::NotYet, "This package was answered before.")
            .at(root)
            .instead_of("a release that waits for an answer", kind)
            .safe("The first answer stands; nothing was signed.")
            .next("custodia show PACKAGE"),
        None => Failure::new(Code::NotYet, "Nobody has released this package to this node.")
            .at(root)
            .safe("Nothing was signed.")
            .next("custodia inbox"),
    })
}

/// Signs a person's answer to a release, and sends it on its way.
fn answer(
    node: &Arc<Node>,
    release: Hash,
    package: Package,
    body: Body,
    by: &Decider,
) -> Result<StatementLine, Failure> {
    let (pseudonym, officer) = author::officer(node, by)?;
    let statement_key = keys::read(node.home(), keys::STATEMENT)?;
    let giver = author::statement(node, &release)?
        .and_then(|release| node.peers().all().into_iter().find(|peer| peer.ledger(&release.head.ledger).is_some()));
    let desk = node.desk();
    let draft = Draft {
        in_reply_to: Some(release),
        package: Some(package),
        officer: Some(pseudonym),
        bound_by: giver.map_or(BoundBy::Anybody, |giver| BoundBy::Reader(giver.root)),
        ..Draft::of(body)
    };
    let said = author::say(node, draft, &[&statement_key, &officer])?;
    drop(desk);
    if let Some(online) = node.online() {
        online.wake();
    }
    Ok(line(&author::row(node, &said.digest)?))
}
