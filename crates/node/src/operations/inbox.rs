//! The inbox: what others handed over; and one package with all that was said of it.

use std::collections::HashMap;
use std::sync::Arc;

use custodia_format::Hash;
use custodia_format::body::Body;
use custodia_format::kind::Kind;
use custodia_format::statement::Statement;
use custodia_index::Row;
use custodia_verify::{Bound, Given, Interval, verify};
use serde::{Deserialize, Serialize};

use super::answers::{Bounded, CameToBe, Received, Shown, StatementLine};
use super::authority::trust_with_us;
use crate::api::{Operation, Reporter};
use crate::dossier::{self, Records};
use crate::failure::{Code, Failure};
use crate::history::is_to_us;
use crate::{Node, author, packages, receive};

/// What others handed over to this authority.
#[derive(Debug, Serialize, Deserialize)]
pub struct Inbox {}

impl Operation for Inbox {
    const NAME: &'static str = "inbox";
    type Answer = Vec<Received>;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Vec<Received>, Failure> {
        releases_to_us(node, None)?.iter().map(|(row, statement)| received(node, row, statement)).collect()
    }
}

/// Releases by others to this node, of one package or of all, in the order of our ledger.
pub(super) fn releases_to_us(node: &Node, root: Option<&Hash>) -> Result<Vec<(Row, Statement)>, Failure> {
    let rows = match root {
        Some(root) => node.index().of_package(root)?,
        None => node.index().of_kind(&Kind::Release.to_string())?,
    };
    let mut found = Vec::new();
    for row in rows {
        if row.kind != Kind::Release.to_string() || author::is_own(node, &row) {
            continue;
        }
        if let Some(statement) =
            author::statement(node, &row.digest)?.filter(|statement| is_to_us(node, &statement.body))
        {
            found.push((row, statement));
        }
    }
    Ok(found)
}

fn received(node: &Node, row: &Row, statement: &Statement) -> Result<Received, Failure> {
    let (Body::Release(body), Some(package)) = (&statement.body, statement.head.package) else {
        return Err(Failure::new(Code::Internal, "A release is no release.").at(row.digest));
    };
    let answers = node.index().answers(&row.digest)?;
    let ours = |kind: Kind| answers.iter().find(|row| row.kind == kind.to_string() && author::is_own(node, row));
    let receipt = ours(Kind::Receipt).map(|row| row.digest.to_string());
    let summary = node.summaries().of(node.home(), &package.root)?;
    let short = package.root.to_string().get(..16).unwrap_or_default().to_owned();
    let (state, next) = match (ours(Kind::Acceptance), ours(Kind::Refusal), &receipt, &summary) {
        (Some(_), ..) => ("accepted", format!("custodia prove {short} --out proof.json")),
        (None, Some(_), ..) => ("refused", String::new()),
        (None, None, Some(_), _) => ("received", format!("custodia accept {short}")),
        (None, None, None, Some(_)) => {
            ("incomplete", "their node sends the rest; keep custodia serve running".to_owned())
        }
        (None, None, None, None) => {
            ("announced", "their node sends the manifest; keep custodia serve running".to_owned())
        }
    };
    Ok(Received {
        package: package.root.to_string(),
        release: row.digest.to_string(),
        from: statement.head.issuer.name.to_string(),
        state: state.to_owned(),
        purpose: body.purpose.to_string(),
        limits: super::send::limits_words(&body.limits),
        originator: body.originator.as_ref().map(|originator| originator.name.to_string()),
        records: package.records,
        bytes: summary.map(|summary| summary.bytes),
        carried: receive::carried(node, &row.digest, &package, &body.items)?,
        receipt,
        released_at: statement.head.issued_at.to_string(),
        next,
    })
}

/// A package, and all that was said of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Show {
    /// The package, by a prefix of its id.
    pub package: String,
}

impl Operation for Show {
    const NAME: &'static str = "show";
    type Answer = Shown;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Shown, Failure> {
        let root = packages::find(node, &self.package)?;
        let summary = node.summaries().of(node.home(), &root)?;
        Ok(Shown {
            package: root.to_string(),
            case: summary.as_ref().and_then(|summary| summary.case.clone()),
            title: summary.as_ref().and_then(|summary| summary.title.clone()),
            files: summary.as_ref().map(|summary| summary.files),
            bytes: summary.as_ref().map(|summary| summary.bytes),
            statements: bounded(node, &root)?,
        })
    }
}

/// What was said of a package, each with the interval that the verifier gives it.
fn bounded(node: &Node, root: &Hash) -> Result<Vec<StatementLine>, Failure> {
    let proof = dossier::of(node, root, Records::Beside)?.print().into_bytes();
    let trust = trust_with_us(node)?;
    let given = Given { proof: &proof, trust: &trust, manifest: None, content: None, cores: node.cores() };
    let report = verify(&given);
    let intervals: HashMap<&str, &Interval> =
        report.statements.iter().map(|shown| (shown.digest.as_str(), &shown.interval)).collect();
    let bound = |bound: &Option<Bound>| {
        bound.as_ref().map(|bound| Bounded { time: bound.time.to_string(), by: bound.by.clone() })
    };
    let came_to_be = |interval: &&Interval| CameToBe { after: bound(&interval.lower), before: bound(&interval.upper) };
    let lines = node.index().of_package(root)?.into_iter().map(|row| {
        let line = line(&row);
        let came_to_be = intervals.get(line.digest.as_str()).map(came_to_be);
        let action = if row.kind == Kind::Event.to_string() { action(node, &row)? } else { None };
        Ok(StatementLine { came_to_be, action, ..line })
    });
    lines.collect()
}

/// What an event says was done.
fn action(node: &Node, row: &Row) -> Result<Option<String>, Failure> {
    Ok(match author::statement(node, &row.digest)?.map(|statement| statement.body) {
        Some(Body::Event(event)) => Some(event.action.to_string()),
        _ => None,
    })
}

/// A row as people see it.
pub(crate) fn line(row: &Row) -> StatementLine {
    StatementLine {
        leaf_index: row.leaf_index,
        digest: row.digest.to_string(),
        kind: row.kind.clone(),
        action: None,
        ledger: row.ledger.clone(),
        sequence: row.sequence,
        package: row.package.map(|root| root.to_string()),
        issued_at: row.issued_at.to_string(),
        came_to_be: None,
    }
}
