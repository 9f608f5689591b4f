//! Step 10: the verdict is the worst class among the findings, and nothing checked is no verdict.

use crate::case::Case;
use crate::finding::{Class, FindingCode};
use crate::report::{AuthorityLine, LedgerLine, Report, StatementLine, Verdict};

/// Writes the report.
pub(crate) fn step_10_verdict(case: Case<'_>) -> Report {
    let worst = case.findings.iter().map(|finding| finding.class).max();
    let checked = case.statements.iter().any(crate::case::Shown::is_signed);
    let verdict = match worst {
        Some(Class::Changed) => Verdict::Changed,
        _ if !checked => Verdict::CannotTell,
        Some(Class::CannotTell) => Verdict::CannotTell,
        Some(Class::Remark) => Verdict::UnchangedWithRemarks,
        None => Verdict::Unchanged,
    };
    let doubts = |finding: &&crate::Finding| finding.class == Class::CannotTell;
    let only_trust = checked
        && case.findings.iter().filter(doubts).all(|finding| finding.code == FindingCode::UntrustedAuthority)
        && verdict == Verdict::CannotTell;
    let fork = case.findings.iter().any(|finding| finding.code == FindingCode::LedgerFork);
    let statements = case
        .statements
        .iter()
        .map(|shown| StatementLine::of(shown, shown.chain.and_then(|chain| case.chains.get(chain))))
        .collect();
    let authorities = case.chains.iter().map(AuthorityLine::of).collect();
    let ledgers = case.ledgers.iter().map(|(origin, (number, size))| LedgerLine {
        origin: origin.clone(),
        shown_up_to: *number,
        checkpoint_size: *size,
    });
    let mut findings: Vec<_> = case.findings.iter().cloned().collect();
    findings.sort_by(|one, next| next.class.cmp(&one.class).then_with(|| one.cmp(next)));
    Report {
        verdict,
        package: case.package.map(|package| package.root.to_string()),
        findings,
        authorities,
        statements,
        ledgers: ledgers.collect(),
        items: case.items,
        only_trust,
        fork,
    }
}
