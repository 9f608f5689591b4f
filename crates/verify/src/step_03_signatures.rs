//! Step 3: who signed each statement, and whether they had to and could.

use std::collections::HashMap;

use custodia_format::body::{Body, Holder};
use custodia_format::envelope::Envelope;
use custodia_format::key::{KeyId, PublicKey};
use custodia_format::kind::{Kind, Purpose};
use custodia_format::statement::Statement;
use custodia_format::text::Time;

use crate::case::{Case, Delegated, SignedBy, Verified};
use crate::finding::FindingCode;

/// Verifies the signatures of every statement: delegations and revocations first, for the others stand on them.
pub(crate) fn step_3_signatures(case: &mut Case<'_>) {
    let (root_kinds, others): (Vec<usize>, Vec<usize>) = (0..case.statements.len()).partition(|at| {
        let statement = case.statements.get(*at).and_then(|shown| shown.statement.as_ref());
        statement.is_some_and(|statement| statement.head.kind.is_root_kind())
    });
    for at in root_kinds.into_iter().chain(others) {
        let Some(shown) = case.statements.get(at) else { continue };
        let (Some(envelope), Some(statement)) = (shown.envelope.clone(), shown.statement.clone()) else { continue };
        let place = shown.place();
        if statement.head.kind == Kind::Card {
            continue;
        }
        match check(case, &envelope, &statement) {
            Ok((chain, signed)) => accept(case, at, chain, signed, &statement),
            Err((code, detail)) => case.find(code, &place, detail),
        }
        if !statement.head.kind.is_known() {
            case.find(FindingCode::UnknownKind, place, statement.head.kind.statement_type());
        }
    }
    fork_of_revocations(case);
}

/// Keeps a verified statement, and what it says about keys.
fn accept(case: &mut Case<'_>, at: usize, chain: usize, signed: Vec<SignedBy>, statement: &Statement) {
    if let Some(shown) = case.statements.get_mut(at) {
        shown.chain = Some(chain);
        shown.signed = Some(Verified::new(signed));
    }
    let Some(chain) = case.chains.get_mut(chain) else { return };
    match &statement.body {
        Body::Delegation(delegation) => {
            let purpose = match delegation.holder {
                Holder::Officer => Purpose::Officer,
                Holder::Device => Purpose::Device,
            };
            let delegated = Delegated {
                key: delegation.key,
                purpose,
                pseudonym: delegation.pseudonym.to_string(),
                from: delegation.from,
                to: delegation.to,
            };
            chain.delegated.insert(delegation.key.key_id(), delegated);
        }
        Body::Revocation(revocation) => {
            chain.revocations.push((revocation.clone(), statement.head.issued_at));
        }
        _ => {}
    }
}

type Refused = (FindingCode, String);

/// The authority that issued a statement, and its signatures by key and purpose.
fn check(case: &Case<'_>, envelope: &Envelope, statement: &Statement) -> Result<(usize, Vec<SignedBy>), Refused> {
    let head = &statement.head;
    let named = head.issuer.card.and_then(|card| Some((card, *case.card_of.get(&card)?)));
    let (card, at) = named.ok_or_else(|| {
        (FindingCode::UnknownKey, "the card that it stands under is not shown, or does not verify".to_owned())
    })?;
    let keys = known_keys(case, at, &card);
    let chain = case.chains.get(at).ok_or((FindingCode::UnknownKey, String::new()))?;
    if head.issuer.name != chain.name {
        let detail = format!("it names its issuer {}, its card says {}", head.issuer.name, chain.name);
        return Err((FindingCode::Malformed, detail));
    }
    if !statement.signers_agree(envelope) {
        return Err((FindingCode::WrongSigners, "its signatures are not those that it names".to_owned()));
    }
    let mut signed = Vec::new();
    for (key_id, _) in envelope.signatures() {
        let (key, by) = keys
            .get(key_id)
            .ok_or_else(|| (FindingCode::UnknownKey, format!("{key_id} is no key of {}", chain.name)))?;
        if envelope.verify(key) != Some(true) {
            return Err((FindingCode::BadSignature, format!("the signature of {key_id}")));
        }
        signed.push(by.clone());
    }
    let purposes: Vec<Purpose> = signed.iter().map(|by| by.purpose).collect();
    if !statement.permits(&purposes) {
        return Err((FindingCode::WrongSigners, format!("it is signed by {purposes:?}")));
    }
    let officers: Vec<&String> = signed.iter().filter_map(|by| by.pseudonym.as_ref()).collect();
    let named = head.officer.as_ref().map(custodia_format::text::Code::as_str);
    if purposes.contains(&Purpose::Officer) && !officers.iter().any(|officer| Some(officer.as_str()) == named) {
        let detail = format!("it names {}, who did not sign", named.unwrap_or("nobody"));
        return Err((FindingCode::WrongSigners, detail));
    }
    Ok((at, signed))
}

/// Every key of an authority with what it is for, as of one of its cards: roots and statement keys by that card,
/// officers by any delegation, the rest known and good for nothing here.
fn known_keys(case: &Case<'_>, chain: usize, card: &custodia_format::Hash) -> HashMap<KeyId, (PublicKey, SignedBy)> {
    let mut keys = HashMap::new();
    let Some(chain) = case.chains.get(chain) else { return keys };
    let mut add = |key: PublicKey, purpose: Purpose, pseudonym: Option<String>, from: Time, to: Time| {
        let by = SignedBy { key: key.key_id(), purpose, pseudonym, from, to };
        keys.insert(key.key_id(), (key, by));
    };
    for (digest, known) in &chain.cards {
        let known = known.get();
        for window in known.keys.transport.iter() {
            add(window.key, Purpose::Transport, None, window.from, window.to);
        }
        for window in known.keys.witness.iter() {
            add(*window.key.key(), Purpose::Witness, None, window.from, window.to);
        }
        if digest == card {
            let root = &known.keys.root.current;
            add(root.key, Purpose::Root, None, root.from, root.to);
            for window in known.keys.statement.iter() {
                add(window.key, Purpose::Statement, None, window.from, window.to);
            }
        }
    }
    for delegated in chain.delegated.values() {
        let pseudonym = (delegated.purpose == Purpose::Officer).then(|| delegated.pseudonym.clone());
        add(delegated.key, delegated.purpose, pseudonym, delegated.from, delegated.to);
    }
    keys
}

/// Two revocations of one number under one root.
fn fork_of_revocations(case: &mut Case<'_>) {
    let mut forked = Vec::new();
    for chain in &case.chains {
        let mut numbers: Vec<u64> = chain.revocations.iter().map(|(revocation, _)| revocation.number).collect();
        numbers.sort_unstable();
        if numbers.windows(2).any(|pair| matches!(pair, [one, next] if one == next)) {
            forked.push(chain.shown_name());
        }
    }
    for name in forked {
        case.find(FindingCode::CardFork, name, "two revocations of one number");
    }
}
