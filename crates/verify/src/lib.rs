//! The verifier: a proof in, a report out.
//!
//! It follows the numbered steps of docs/spec/proof.md, one file a step, and trusts nothing: no clock, no network, no
//! node, no file name. It says what is proven, by whom, between which two times, and what is not; the rest is the
//! court's word. Any bytes give a report. This crate refuses files, clocks, networks and randomness: content is handed
//! in through [`Content`].

mod case;
pub mod chain;
mod content;
mod contradiction;
mod finding;
mod interval;
mod report;
mod step_01_recognise;
mod step_02_cards;
mod step_03_signatures;
mod step_04_inclusion;
mod step_04_tokens;
mod step_05_interval;
mod step_06_keys;
mod step_07_chains;
mod step_08_records;
mod step_09_content;
mod step_10_verdict;
pub mod time_stamp;
mod words;

use std::num::NonZeroUsize;

use custodia_format::contradiction::Contradiction;
use custodia_format::trust::TrustFile;

pub use case::Verified;
pub use content::{Content, ContentError, ContentFile};
pub use finding::{Class, Finding, FindingCode};
pub use interval::{Bound, BoundSource, Interval};
pub use report::{AuthorityLine, ItemCounts, LedgerLine, Report, StatementLine, Strictness, Verdict};

use case::Case;
use chain::Chain;

/// What a reader hands to the verifier.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// The proof file's bytes.
    pub proof: &'a [u8],
    /// Whom the reader believes, from outside the proof.
    pub trust: &'a TrustFile,
    /// The manifest file, where it lies beside a proof without disclosure.
    pub manifest: Option<&'a [u8]>,
    /// The items, where the reader has them.
    pub content: Option<&'a dyn Content>,
    /// Threads for hashing.
    pub cores: NonZeroUsize,
}

/// Judges a proof by the steps of docs/spec/proof.md, or a contradiction by those of docs/spec/contradiction.md. Total: any
/// bytes give a report.
pub fn verify(given: &Given<'_>) -> Report {
    let mut case = Case::new(given.trust);
    if Contradiction::is_named_by(given.proof) {
        contradiction::judge(&mut case, given.proof);
    } else {
        walk(&mut case, given);
    }
    step_10_verdict::step_10_verdict(case)
}

/// Judges a proof, and draws the chain of custody of its package, or of one of its records, from what was verified: none where the
/// proof shows no package.
pub fn verify_custody(given: &Given<'_>, item: Option<u64>) -> (Report, Option<Chain>) {
    let mut case = Case::new(given.trust);
    walk(&mut case, given);
    let chain = Chain::of(&case, item);
    (step_10_verdict::step_10_verdict(case), chain)
}

/// The steps in order. A step that finds the proof malformed is the last before the verdict.
fn walk(case: &mut Case<'_>, given: &Given<'_>) {
    let Some(proof) = step_01_recognise::step_1_recognise(case, given.proof) else { return };
    step_02_cards::step_2_cards(case);
    step_03_signatures::step_3_signatures(case);
    if case.is_over() {
        return;
    }
    step_04_inclusion::step_4_inclusion(case, &proof);
    if case.is_over() {
        return;
    }
    step_05_interval::step_5_interval(case);
    step_06_keys::step_6_keys(case);
    step_07_chains::step_7_chains(case);
    let records = step_08_records::step_8_records(case, &proof, given.manifest);
    if let Some(records) = records {
        step_09_content::step_9_content(case, &records, given.content, given.cores);
    }
}
