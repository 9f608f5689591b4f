//! The proof of a package, put together from all that this node holds of it.
//!
//! What goes in: every statement on the package that is here (our own, those addressed to us, those that came with a
//! history), the cards, delegations, revocations and meetings of everybody whom these need, and the checkpoint notes
//! that bound them in time, with the time-stamp tokens over these. Each statement stands under the earliest checkpoint that others have cosigned, so that two
//! nodes give the same bounds. Same holdings, same bytes. Nothing is judged here: the verifier does that, before a proof
//! leaves.

mod pool;
mod tokens;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use custodia_format::Hash;
use custodia_format::body::Body;
use custodia_format::disclosure::{Disclosure, Subject};
use custodia_format::envelope::Envelope;
use custodia_format::key::KeyId;
use custodia_format::note::Note;
use custodia_format::proof::{Proof, ProofStatement};
use custodia_format::statement::{Package, Statement};

use crate::Node;
use crate::failure::{Code, Failure};
use crate::packages;
use crate::redacted::Redacted;

use pool::{Part, Pool};

/// Where a proof's records are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Records<'a> {
    /// In the proof, all of them shown.
    Shown,
    /// In the manifest file, which lies or travels beside it.
    Beside,
    /// In the proof, as far as this copy shows them; what it withholds of the statements is not shown either.
    Redacted(&'a Redacted),
}

/// Puts together the proof of a package.
pub(crate) fn of(node: &Node, root: &Hash, records: Records<'_>) -> Result<Proof, Failure> {
    let pool = Pool::gather(node, root)?;
    let package = pool
        .package
        .ok_or_else(|| Failure::new(Code::UnknownPackage, "Nothing was said of this package here.").at(root))?;
    let hidden: &[Hash] = if let Records::Redacted(copy) = records { &copy.statements } else { &[] };
    let chosen = choose(&pool, root, hidden);
    let anchors = anchors(&pool, &chosen);
    let mut statements: Vec<ProofStatement> = chosen.values().map(|part| part.shown()).collect();
    let withheld = pool.withheld.values().filter(|part| !chosen.contains_key(&part.digest));
    statements.extend(withheld.cloned());
    for digest in hidden {
        statements.extend(pool.parts.get(digest).map(Part::withheld).transpose()?);
    }
    statements.sort_by_key(|statement| order(&pool, statement));
    let disclosure = match records {
        Records::Beside => None,
        Records::Shown => Some(disclosure(node, package)?),
        Records::Redacted(copy) => Some(copy.disclosure.clone()),
    };
    let tokens = tokens::over(node, &pool, &statements, &anchors)?;
    Ok(Proof { package, statements, anchors, tokens, disclosure, annexes: Vec::new() })
}

/// Shows the annexes of the shown statements too, as far as they are here: persons, places and reasons.
pub(crate) fn with_annexes(node: &Node, mut proof: Proof) -> Result<Proof, Failure> {
    let mut annexes = BTreeMap::new();
    for envelope in proof.statements.iter().filter_map(|statement| statement.envelope.as_deref()) {
        let Some(annex) = Statement::parse(&Envelope::parse(envelope.as_bytes())?)?.head.annex else { continue };
        if let Some(manifest) = packages::manifest(node.home(), &annex.root)? {
            annexes.insert(annex.root, Disclosure::full(Subject::Annex(annex), &manifest)?);
        }
    }
    proof.annexes = annexes.into_values().collect();
    Ok(proof)
}

/// A full disclosure of a package's records.
fn disclosure(node: &Node, package: Package) -> Result<Disclosure, Failure> {
    let manifest = packages::manifest(node.home(), &package.root)?.ok_or_else(|| {
        Failure::new(Code::NotYet, "The manifest of this package is not here yet.")
            .at(package.root)
            .next("custodia inbox")
    })?;
    Ok(Disclosure::full(Subject::Package(package), &manifest)?)
}

/// The statements on the package, and then, until nothing more is needed, what shows whose keys those are: the issuers,
/// and everybody whose cosignature stands on a note that is shown.
fn choose<'a>(pool: &'a Pool, root: &Hash, hidden: &[Hash]) -> BTreeMap<Hash, &'a Part> {
    let on_package = |statement: &Statement| statement.head.package.is_some_and(|package| package.root == *root);
    let mut chosen: BTreeMap<Hash, &Part> = pool
        .parts
        .iter()
        .filter(|(digest, part)| on_package(&part.statement) && !hidden.contains(digest))
        .map(|(digest, part)| (*digest, part))
        .collect();
    let mut needed: BTreeSet<KeyId> = BTreeSet::new();
    loop {
        let mut wanted: BTreeSet<KeyId> =
            chosen.values().filter_map(|part| pool.authority_of(&part.statement)).collect();
        let notes = chosen.values().filter_map(|part| Some(part.proof.as_ref()?.checkpoint.clone()));
        for note in notes.chain(anchors(pool, &chosen)) {
            wanted.extend(pool.cosigners(&note));
        }
        if wanted.is_subset(&needed) {
            return chosen;
        }
        needed.extend(wanted);
        let signers: BTreeSet<KeyId> = chosen.values().flat_map(|part| part.statement.head.signers.clone()).collect();
        for (digest, part) in &pool.parts {
            let Some(authority) = pool.authority_of(&part.statement).filter(|authority| needed.contains(authority))
            else {
                continue;
            };
            let belongs = match &part.statement.body {
                Body::Card(_) | Body::Revocation(_) => true,
                Body::Delegation(delegation) => signers.contains(&delegation.key.key_id()),
                Body::Meeting(meeting) => meeting.root != authority && needed.contains(&meeting.root),
                _ => false,
            };
            if belongs {
                chosen.insert(*digest, part);
            }
        }
    }
}

/// The notes that the statements name as what existed before them, none twice, by digest.
fn anchors(pool: &Pool, chosen: &BTreeMap<Hash, &Part>) -> Vec<Note> {
    let named: BTreeSet<Hash> = chosen.values().filter_map(|part| part.statement.head.not_before).collect();
    named.iter().filter_map(|digest| pool.notes.get(digest).cloned()).collect()
}

/// By ledger and leaf index; those without a proof after the others of their ledger, by digest.
fn order(pool: &Pool, statement: &ProofStatement) -> (String, bool, u64, Hash) {
    let index = statement.tlog_proof.as_ref().map(|proof| proof.index);
    let of_proof = || {
        let proof = statement.tlog_proof.as_ref()?;
        proof.checkpoint.text.lines().next().map(str::to_owned)
    };
    let ledger = pool.parts.get(&statement.digest).map(|part| part.statement.head.ledger.to_string()).or_else(of_proof);
    let last = if index.is_none() { statement.digest } else { Hash::ZERO };
    (ledger.unwrap_or_default(), index.is_none(), index.unwrap_or_default(), last)
}

/// Card digests to the root that their chain begins with, from cards in any order.
fn chains(cards: &HashMap<Hash, (Option<Hash>, KeyId)>) -> HashMap<Hash, KeyId> {
    let mut known = HashMap::new();
    for digest in cards.keys() {
        // No longer than there are cards, whatever they say of each other.
        let mut at = *digest;
        for _ in 0..cards.len() {
            match cards.get(&at) {
                Some((Some(previous), _)) if cards.contains_key(previous) => at = *previous,
                Some((_, root)) => {
                    known.insert(*digest, *root);
                    break;
                }
                None => break,
            }
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_lead_to_their_first_and_a_circle_leads_nowhere() {
        let id = |n: u8| KeyId(Hash::of(&[n]));
        let card = |n: u8| Hash::of(&[100 + n]);
        let cards = HashMap::from([
            (card(1), (None, id(1))),
            (card(2), (Some(card(1)), id(2))),
            (card(3), (Some(card(2)), id(3))),
            (card(7), (Some(card(8)), id(7))),
            (card(8), (Some(card(7)), id(8))),
        ]);
        let known = chains(&cards);
        assert_eq!(known.get(&card(3)), Some(&id(1)));
        assert_eq!(known.get(&card(1)), Some(&id(1)));
        assert_eq!(known.get(&card(7)), None);
    }
}
