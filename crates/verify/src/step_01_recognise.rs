//! Step 1: is it a proof, and does it parse?

use custodia_format::entry::Entry;
use custodia_format::envelope::Envelope;
use custodia_format::proof::{Proof, ProofError};
use custodia_format::statement::{Statement, StatementError};
use custodia_format::text::LedgerName;

use crate::case::{Case, Shown};
use crate::finding::FindingCode;
use crate::interval::Interval;

/// Cards of one proof.
const CARDS: usize = custodia_format::limits::PROOF_CARDS;

/// Reads the proof and every statement in it; none when the walk ends here.
pub(crate) fn step_1_recognise(case: &mut Case<'_>, bytes: &[u8]) -> Option<Proof> {
    let proof = match Proof::parse(bytes) {
        Ok(proof) => proof,
        Err(ProofError::NewerVersion { found }) => {
            case.find(FindingCode::NewerVersion, "proof", found);
            return None;
        }
        Err(ProofError::Malformed(error)) => {
            case.find(FindingCode::Malformed, "proof", error.to_string());
            return None;
        }
        Err(_) => {
            case.find(FindingCode::NoProof, "proof", "it does not say that it is one");
            return None;
        }
    };
    case.package = Some(proof.package);
    case.anchors.clone_from(&proof.anchors);
    for part in &proof.statements {
        let envelope = part.envelope.as_ref().map(|text| Envelope::parse(text.as_bytes()));
        let envelope = match envelope.transpose() {
            Ok(envelope) => envelope,
            Err(error) => {
                case.find(FindingCode::Malformed, format!("statement {}", part.digest), error.to_string());
                None
            }
        };
        let statement = match envelope.as_ref().map(Statement::parse).transpose() {
            Ok(statement) => statement,
            Err(StatementError::Malformed(error)) => {
                case.find(FindingCode::Malformed, format!("statement {}", part.digest), error.to_string());
                None
            }
            Err(error) => {
                case.refuse_key(format!("statement {}", part.digest), error.to_string());
                None
            }
        };
        let entry = match (&part.entry, &part.envelope) {
            (Some(entry), _) => *entry,
            (None, text) => Entry::of(text.as_deref().unwrap_or_default().as_bytes()),
        };
        case.statements.push(Shown {
            digest: part.digest,
            envelope,
            statement,
            entry,
            tlog_proof: part.tlog_proof.clone(),
            chain: None,
            signed: None,
            included: None,
            excluded: false,
            interval: Interval::default(),
        });
    }
    check_order(case);
    let foreign = case.statements.iter().find(|shown| {
        let package = shown.statement.as_ref().and_then(|statement| statement.head.package.as_ref());
        package.is_some_and(|package| *package != proof.package)
    });
    if let Some(place) = foreign.map(Shown::place) {
        case.find(FindingCode::Malformed, place, "it speaks of another package");
    }
    Some(proof)
}

/// Statements stand by ledger and leaf index; those without a proof after the others of their ledger, by digest.
fn check_order(case: &mut Case<'_>) {
    let order = |shown: &Shown| -> (Option<LedgerName>, bool, u64, Option<custodia_format::Hash>) {
        let index = shown.leaf_index();
        (shown.ledger(), index.is_none(), index.unwrap_or_default(), index.is_none().then_some(shown.digest))
    };
    let name = |shown: &Shown| shown.ledger().map(|ledger| ledger.to_string());
    let out_of_order = case.statements.windows(2).find_map(|pair| match pair {
        [one, next] => {
            let (one_order, next_order) = (order(one), order(next));
            let ascends = (name(one), one_order.1, one_order.2, one_order.3)
                < (name(next), next_order.1, next_order.2, next_order.3);
            // Two entries at one index are a fork, which a later step says better.
            let same_place =
                name(one) == name(next) && one.leaf_index().is_some() && one.leaf_index() == next.leaf_index();
            (!ascends && !same_place).then(|| next.place())
        }
        _ => None,
    });
    if let Some(place) = out_of_order {
        case.find(FindingCode::Malformed, place, "statements do not stand in the order of their ledgers");
    }
    let cards = case.statements.iter().filter_map(|shown| shown.statement.as_ref());
    if cards.filter(|statement| statement.head.kind == custodia_format::kind::Kind::Card).count() > CARDS {
        case.find(FindingCode::Malformed, "proof", format!("more than {CARDS} cards"));
    }
}
