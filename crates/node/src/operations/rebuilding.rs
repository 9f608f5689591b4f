//! What is told while a ledger is rebuilt from its entries, and of what was found: the same for the node's own `fsck` and
//! for an audit from outside.

use std::time::Instant;

use custodia_ledger::{FsckProgress, FsckReport, Severity};

use crate::api::{Phase, Progress, TELL_EVERY};

/// Tells now and then how far it is.
pub(super) fn told_in_time(mut tell: impl FnMut(Progress)) -> impl FnMut(FsckProgress) {
    let mut last = Instant::now();
    move |done| {
        if last.elapsed() < TELL_EVERY {
            return;
        }
        last = Instant::now();
        tell(Progress::of(Phase::Check).bytes(done.bytes, 0).items(done.entries, done.of_entries));
    }
}

/// What was found, in lines: the damage, and the remarks.
pub(super) fn errors_and_remarks(report: &FsckReport) -> (Vec<String>, Vec<String>) {
    let of = |severity| {
        let found = report.findings.iter().filter(|finding| finding.severity == severity);
        found.map(|finding| format!("{}: {}", finding.path, finding.what)).collect()
    };
    (of(Severity::Damage), of(Severity::Remark))
}
