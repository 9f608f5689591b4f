//! A contradiction instead of a proof: two checkpoints of one ledger, judged by the steps of docs/spec/contradiction.md.

use custodia_format::contradiction::Contradiction;
use custodia_format::entry::Entry;
use custodia_format::envelope::Envelope;
use custodia_format::note::{Note, Vkey};
use custodia_format::statement::{Statement, StatementError};
use custodia_format::text::LedgerName;
use custodia_merkle::verify_consistency;

use crate::case::{Case, Shown};
use crate::finding::FindingCode;
use crate::interval::Interval;
use crate::step_02_cards::step_2_cards;
use crate::step_04_inclusion::{check_note, owner};

/// Judges a contradiction. What it finds is the report's; nothing is proven of any package.
pub(crate) fn judge(case: &mut Case<'_>, bytes: &[u8]) {
    // 1. Parse.
    let contradiction = match Contradiction::parse(bytes) {
        Ok(contradiction) => contradiction,
        Err(error) => return case.find(FindingCode::Malformed, "contradiction", error.to_string()),
    };
    // 2. The cards, as in a proof.
    for envelope in &contradiction.cards {
        show(case, envelope);
    }
    if case.is_over() {
        return;
    }
    step_2_cards(case);
    let Ok([one, other]) = contradiction.checkpoints() else { return };
    let found = LedgerName::parse(&one.origin).ok().and_then(|origin| owner(case, &origin));
    let Some((chain, ledger)) = found else {
        return case.find(FindingCode::UnknownKey, format!("ledger {}", one.origin), "no card names its key");
    };
    let name = case.chains.get(chain).map(|chain| chain.shown_name()).unwrap_or_default();
    if case.chains.get(chain).is_some_and(|chain| chain.trusted.is_none()) {
        case.find(FindingCode::UntrustedAuthority, &name, "compare its root key with the authority's own word");
    }
    // 3. Both are signed by the ledger's key.
    for note in &contradiction.notes {
        if !check_signed(case, note, &ledger, chain) {
            return;
        }
    }
    case.ledgers.insert(one.origin.clone(), (None, other.size));
    // 4. They contradict each other, or are not shown to belong together.
    let place = format!("ledger {}", one.origin);
    if one.size == other.size {
        let detail = format!("{name} signed two roots at size {}: {} and {}", one.size, one.root, other.root);
        return case.find(FindingCode::LedgerFork, place, detail);
    }
    match verify_consistency(one.size, other.size, &one.root, &other.root, &contradiction.offered) {
        Ok(()) => case.find(FindingCode::Malformed, place, "the second continues the first: they do not contradict"),
        Err(error) => {
            let detail = format!(
                "sizes {} and {}: {error}; ask {name} for a consistency proof between them, which an honest ledger can always give",
                one.size, other.size
            );
            case.find(FindingCode::HistoryUnproven, place, detail);
        }
    }
}

/// Adds a card to the case.
fn show(case: &mut Case<'_>, envelope: &Envelope) {
    let printed = envelope.print();
    let digest = envelope.digest();
    let statement = match Statement::parse(envelope) {
        Ok(statement) => statement,
        Err(StatementError::Malformed(error)) => {
            return case.find(FindingCode::Malformed, format!("statement {digest}"), error.to_string());
        }
        Err(error) => return case.refuse_key(format!("statement {digest}"), error.to_string()),
    };
    case.statements.push(Shown {
        digest,
        envelope: Some(envelope.clone()),
        statement: Some(statement),
        entry: Entry::of(printed.as_bytes()),
        tlog_proof: None,
        chain: None,
        signed: None,
        included: None,
        excluded: false,
        interval: Interval::default(),
    });
}

/// Checks one note by the ledger's key, and says who cosigned it and when.
fn check_signed(case: &mut Case<'_>, note: &Note, ledger: &Vkey, chain: usize) -> bool {
    match check_note(case, note, ledger, chain) {
        Ok(_) => true,
        Err(detail) => {
            case.find(FindingCode::BadSignature, format!("note {}", note.digest()), detail);
            false
        }
    }
}
