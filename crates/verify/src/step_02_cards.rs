//! Step 2: the cards: who is who, by which keys, and whom the reader believes.

use std::collections::{BTreeMap, HashMap};

use custodia_format::Hash;
use custodia_format::body::{Body, Card};
use custodia_format::key::PublicKey;
use custodia_format::kind::{Kind, Purpose};
use custodia_format::statement::{Statement, StatementError};

use crate::case::{Case, Chain, SignedBy, Verified};
use crate::finding::FindingCode;

/// Verifies every card and joins them into chains.
pub(crate) fn step_2_cards(case: &mut Case<'_>) {
    // By number, so that a card is looked at after the one before it.
    let mut cards: BTreeMap<(u64, usize), (Hash, Card)> = BTreeMap::new();
    for (at, shown) in case.statements.iter().enumerate() {
        if let Some(Statement { body: Body::Card(card), .. }) = &shown.statement {
            cards.insert((card.number, at), (shown.digest, (**card).clone()));
        }
    }
    let shown_numbers: HashMap<Hash, u64> = cards.values().map(|(digest, card)| (*digest, card.number)).collect();
    let mut claimed: HashMap<(usize, u64), Hash> = HashMap::new();
    for ((number, at), (digest, card)) in cards {
        let Some(chain) = take(case, at, &digest, &card, &shown_numbers) else { continue };
        if claimed.insert((chain, number), digest).is_some_and(|other| other != digest) {
            case.find(FindingCode::CardFork, card_place(number, case, chain), "two cards of one number");
        }
        case.card_of.insert(digest, chain);
    }
    for at in 0..case.chains.len() {
        let Some(chain) = case.chains.get(at) else { continue };
        let first = chain.cards.first().map(|(_, card)| card.get().number);
        if first.is_some_and(|number| number > 1) {
            let place = chain.shown_name();
            case.find(FindingCode::CardGap, place, "the cards before it are not shown: ask the authority for them");
        }
    }
    refuse_reused_keys(case);
}

fn card_place(number: u64, case: &Case<'_>, chain: usize) -> String {
    let name = case.chains.get(chain).map(|chain| chain.name.to_string()).unwrap_or_default();
    format!("card {number} of {name}")
}

/// Verifies one card; gives its chain.
fn take(
    case: &mut Case<'_>,
    at: usize,
    digest: &Hash,
    card: &Card,
    shown_numbers: &HashMap<Hash, u64>,
) -> Option<usize> {
    let shown = case.statements.get(at)?;
    let (envelope, statement) = (shown.envelope.clone()?, shown.statement.clone()?);
    let place = format!("card {} of {}", card.number, statement.head.issuer.name);
    match card.check(&statement.head.issuer.name) {
        Ok(()) => {}
        Err(StatementError::Malformed(error)) => {
            case.find(FindingCode::Malformed, place, error.to_string());
            return None;
        }
        Err(error) => {
            case.refuse_key(place, error.to_string());
            return None;
        }
    }
    let previous = card.previous.and_then(|previous| shown_numbers.get(&previous).map(|number| (previous, *number)));
    let chain = match previous {
        Some((previous, number)) => {
            if number + 1 != card.number {
                case.find(FindingCode::CardFork, place, "its number does not follow that of the card before it");
                return None;
            }
            // Refused itself, the card before gives no key by which this one could be verified.
            Some(*case.card_of.get(&previous)?)
        }
        None => None,
    };
    let root = card.keys.root.current.key;
    let mut expected = vec![root];
    if let Some(before) = chain.and_then(|chain| case.chains.get(chain)).and_then(|chain| chain.cards.last()) {
        let old = before.1.get().keys.root.current.key;
        if old != root {
            expected.push(old);
        }
    }
    if !statement.signers_agree(&envelope) {
        case.find(FindingCode::WrongSigners, place, "its signatures are not those that it names");
        return None;
    }
    for (key_id, _) in envelope.signatures() {
        match expected.iter().find(|key| key.key_id() == *key_id) {
            None if card.previous.is_some() && chain.is_none() => {
                // The old root of a card that is not shown: nothing can be said of its signature.
            }
            None => {
                case.find(FindingCode::UnknownKey, place, format!("{key_id} is no root key of it"));
                return None;
            }
            Some(key) if envelope.verify(key) == Some(true) => {}
            Some(_) => {
                case.find(FindingCode::BadSignature, place, format!("the signature of {key_id}"));
                return None;
            }
        }
    }
    if expected.iter().any(|key| envelope.verify(key).is_none()) {
        case.find(FindingCode::WrongSigners, place, "a root key that must sign it did not");
        return None;
    }
    let chain = chain.unwrap_or_else(|| chain_of(case, &root, &statement));
    let known = case.chains.get_mut(chain)?;
    known.trusted = known.trusted.or_else(|| case.trust.authority(&root));
    if known.name != statement.head.issuer.name {
        case.find(FindingCode::Malformed, place, "the name differs from that of the card before it");
        return None;
    }
    known.cards.push((*digest, Verified::new(card.clone())));
    let window = &card.keys.root.current;
    let by = SignedBy { key: root.key_id(), purpose: Purpose::Root, pseudonym: None, from: window.from, to: window.to };
    let shown = case.statements.get_mut(at)?;
    shown.chain = Some(chain);
    shown.signed = Some(Verified::new(vec![by]));
    Some(chain)
}

/// The chain that begins with this root; a new one where there is none.
fn chain_of(case: &mut Case<'_>, root: &PublicKey, statement: &Statement) -> usize {
    if let Some(at) = case.chains.iter().position(|chain| chain.root == *root) {
        return at;
    }
    case.chains.push(Chain {
        root: *root,
        name: statement.head.issuer.name.clone(),
        cards: Vec::new(),
        trusted: None,
        delegated: HashMap::new(),
        revocations: Vec::new(),
        used_untrusted: false,
    });
    case.chains.len() - 1
}

/// One raw key in two purposes, or of two authorities, is nobody's.
fn refuse_reused_keys(case: &mut Case<'_>) {
    let mut owners: HashMap<PublicKey, (usize, String)> = HashMap::new();
    let mut reused = Vec::new();
    for (at, chain) in case.chains.iter().enumerate() {
        for (_, card) in &chain.cards {
            for (purpose, key) in card.get().all_keys() {
                let owner = (at, purpose_of(&purpose).to_owned());
                match owners.get(&key) {
                    Some(known) if *known != owner => reused.push((chain.shown_name(), key.key_id().to_string())),
                    Some(_) => {}
                    None => drop(owners.insert(key, owner)),
                }
            }
        }
    }
    for shown in &case.statements {
        if let Some(Statement { body: Body::Delegation(delegation), head }) = &shown.statement
            && head.kind == Kind::Delegation
        {
            let chain = head.issuer.card.and_then(|card| case.card_of.get(&card).copied()).unwrap_or(usize::MAX);
            let owner = (chain, format!("{}", delegation.pseudonym));
            match owners.get(&delegation.key) {
                Some(known) if *known != owner => reused.push((shown.place(), delegation.key.key_id().to_string())),
                Some(_) => {}
                None => drop(owners.insert(delegation.key, owner)),
            }
        }
    }
    for (place, key) in reused {
        case.refuse_key(place, format!("the key {key} stands for two purposes or two authorities"));
    }
}

/// A purpose without the place of the key in it: a key may stand as next in one card and as current in the one after.
fn purpose_of(place: &str) -> &str {
    place.rsplit_once('.').map_or(place, |(purpose, _)| purpose)
}
