//! Step 7: the custody chains: links, gaps, hand-overs, limits, clocks.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use custodia_format::Hash;
use custodia_format::body::{Body, Release};
use custodia_format::kind::Kind;
use custodia_format::link::link;
use custodia_format::statement::Statement;
use custodia_format::text::LedgerName;

use crate::case::{Case, Shown};
use crate::finding::FindingCode;

/// Walks every chain, and joins hand-overs.
pub(crate) fn step_7_chains(case: &mut Case<'_>) {
    let mut found = Vec::new();
    let gone = Gone::of(case);
    for custodian in custodians(case) {
        walk(case, &custodian, &gone, &mut found);
    }
    hand_overs(case, &mut found);
    limits(case, &mut found);
    clocks(case, &mut found);
    seals(case, &mut found);
    for (code, place, detail) in found {
        case.find(code, place, detail);
    }
    for shown in case.statements.iter().filter(|shown| shown.is_signed()) {
        let Some(statement) = &shown.statement else { continue };
        if let Some(number) = statement.head.sequence {
            let known = case.ledgers.entry(statement.head.ledger.to_string()).or_default();
            known.0 = known.0.max(Some(number));
        }
    }
}

type Found = Vec<(FindingCode, String, String)>;

/// What statements say is withheld or erased.
struct Gone {
    declared: HashSet<Hash>,
    erased: HashSet<Hash>,
}

impl Gone {
    fn of(case: &Case<'_>) -> Self {
        let mut gone = Self { declared: HashSet::new(), erased: HashSet::new() };
        for (_, _, body) in case.signed_bodies() {
            match body {
                Body::Disclosure(disclosure) => gone.declared.extend(disclosure.withheld.iter()),
                Body::Erasure(erasure) => gone.erased.extend(erasure.statements.iter()),
                _ => {}
            }
        }
        gone
    }

    fn code(&self, digest: &Hash) -> FindingCode {
        if self.erased.contains(digest) {
            FindingCode::ErasedByOrder
        } else if self.declared.contains(digest) {
            FindingCode::DeclaredWithheld
        } else {
            FindingCode::UndeclaredGap
        }
    }
}

/// Every `authority/node` that has a statement here.
fn custodians(case: &Case<'_>) -> BTreeSet<String> {
    case.statements.iter().filter_map(Shown::ledger).map(|ledger| ledger.custodian()).collect()
}

/// A place in a custodian's history: generation, then leaf index; statements without a proof come last.
fn order(shown: &Shown) -> (u32, bool, u64, u64) {
    let generation = shown.ledger().map_or(0, |ledger| ledger.generation);
    let number = shown.statement.as_ref().and_then(|statement| statement.head.sequence).unwrap_or_default();
    (generation, shown.leaf_index().is_none(), shown.leaf_index().unwrap_or_default(), number)
}

/// The links of one custodian's chain, from 0 to the newest shown.
fn walk(case: &Case<'_>, custodian: &str, gone: &Gone, found: &mut Found) {
    let mine = |shown: &&Shown| shown.ledger().is_some_and(|ledger: LedgerName| ledger.custodian() == custodian);
    let mut all: Vec<&Shown> = case.statements.iter().filter(mine).collect();
    all.sort_by_key(|shown| order(shown));
    let (mut next, mut last) = (0_u64, Hash::ZERO);
    let mut waiting: Vec<&Shown> = Vec::new();
    for shown in all {
        let Some(statement) = &shown.statement else {
            waiting.push(shown);
            continue;
        };
        let (Some(number), true) = (statement.head.sequence, shown.is_signed()) else { continue };
        let previous = statement.head.previous.unwrap_or(Hash::ZERO);
        if number < next {
            found.push((FindingCode::ChainFork, shown.place(), format!("number {number} of {custodian} stands twice")));
            continue;
        }
        let gap = number - next;
        let between = std::mem::take(&mut waiting);
        if gap > 0 && between.len() as u64 != gap {
            let detail = format!("{gap} statements of {custodian} before it are not shown: ask {custodian} for them");
            found.push((FindingCode::UndeclaredGap, shown.place(), detail));
            last = previous;
        } else if gap > 0 {
            for (n, withheld) in (next..).zip(&between) {
                last = link(n, &last, &withheld.digest);
            }
        }
        tell_withheld(&between, gone, found);
        if last != previous {
            found.push((FindingCode::ChainFork, shown.place(), "its link does not close".to_owned()));
        }
        last = link(number, &previous, &shown.digest);
        next = number + 1;
    }
    tell_withheld(&waiting, gone, found);
}

fn tell_withheld(withheld: &[&Shown], gone: &Gone, found: &mut Found) {
    for shown in withheld {
        found.push((gone.code(&shown.digest), shown.place(), "its envelope is not shown".to_owned()));
    }
}

/// Every release has an answer of its recipient, and every answer a release.
fn hand_overs(case: &Case<'_>, found: &mut Found) {
    let releases: HashMap<Hash, (&Shown, &Release)> =
        case.signed_bodies()
            .filter_map(|(shown, _, body)| {
                if let Body::Release(release) = body { Some((shown.digest, (shown, &**release))) } else { None }
            })
            .collect();
    let shown_digests: HashSet<Hash> = case.statements.iter().map(|shown| shown.digest).collect();
    let mut answered = HashSet::new();
    for (shown, statement, body) in case.signed_bodies() {
        if !matches!(body, Body::Consignment(_) | Body::Receipt(_) | Body::Acceptance(_) | Body::Refusal(_)) {
            continue;
        }
        let answers = statement.head.in_reply_to;
        let release = answers.and_then(|digest| releases.get(&digest));
        let Some((_, release)) = release else {
            let other = answers.is_some_and(|digest| shown_digests.contains(&digest));
            if !(other && matches!(body, Body::Refusal(_))) {
                let detail = "the release that it answers is not shown";
                found.push((FindingCode::OneSidedHandover, shown.place(), detail.to_owned()));
            }
            continue;
        };
        let named = body.release().is_none_or(|named| Some(named) == answers);
        if named && is_recipient(case, shown, statement, release) {
            answered.extend(answers);
        } else {
            let detail = "it does not come from the one to whom that was released";
            found.push((FindingCode::OneSidedHandover, shown.place(), detail.to_owned()));
        }
    }
    for (digest, (shown, release)) in &releases {
        if !answered.contains(digest) {
            let detail =
                format!("no answer of {} is shown: ask them, or the sender, for a newer proof", release.recipient.name);
            found.push((FindingCode::OneSidedHandover, shown.place(), detail));
        }
    }
}

fn is_recipient(case: &Case<'_>, shown: &Shown, statement: &Statement, release: &Release) -> bool {
    let Some(chain) = shown.chain.and_then(|chain| case.chains.get(chain)) else { return false };
    let roots = chain.cards.iter().flat_map(|(_, card)| card.get().keys.root.iter()).map(|window| window.key.key_id());
    let rooted = roots.into_iter().any(|root| root == release.recipient.root);
    rooted && statement.head.ledger.custodian() == release.recipient.ledger.custodian()
}

/// An onward release repeats the limits of the one it stands on: that of its custodian's latest earlier consignment.
fn limits(case: &Case<'_>, found: &mut Found) {
    let mut stands_on: BTreeMap<String, &Release> = BTreeMap::new();
    let mut in_order: Vec<_> = case.signed_bodies().collect();
    in_order.sort_by_key(|(shown, ..)| order(shown));
    let releases: HashMap<Hash, &Release> = case
        .signed_bodies()
        .filter_map(
            |(shown, _, body)| if let Body::Release(release) = body { Some((shown.digest, &**release)) } else { None },
        )
        .collect();
    for (shown, statement, body) in in_order {
        let custodian = statement.head.ledger.custodian();
        match body {
            Body::Consignment(consignment) => {
                if let Some(release) = releases.get(&consignment.release) {
                    stands_on.insert(custodian, release);
                }
            }
            Body::Release(release) => {
                let widened = stands_on
                    .get(&custodian)
                    .is_some_and(|old| release.limits.widen(&old.limits, &release.recipient.name));
                if widened {
                    let detail = "it allows more than the release that it stands on";
                    found.push((FindingCode::LimitsWidened, shown.place(), detail.to_owned()));
                }
            }
            _ => {}
        }
    }
}

/// No statement claims to be earlier than the one before it in its chain, or than the one it answers.
fn clocks(case: &Case<'_>, found: &mut Found) {
    let issued: HashMap<Hash, _> =
        case.signed_bodies().map(|(shown, statement, _)| (shown.digest, statement.head.issued_at)).collect();
    let mut in_order: Vec<_> =
        case.signed_bodies().filter(|(_, statement, _)| statement.head.package.is_some()).collect();
    in_order.sort_by_key(|(shown, ..)| order(shown));
    let mut before: BTreeMap<String, _> = BTreeMap::new();
    for (shown, statement, _) in in_order {
        let time = statement.head.issued_at;
        let predecessor = before.insert(statement.head.ledger.custodian(), time);
        let answered = statement.head.in_reply_to.and_then(|digest| issued.get(&digest).copied());
        if predecessor.max(answered).is_some_and(|earlier| time < earlier) {
            found.push((FindingCode::ClockInverted, shown.place(), format!("its clock said {time}")));
        }
    }
}

/// The package is sealed, and once in a ledger.
fn seals(case: &Case<'_>, found: &mut Found) {
    let mut seals: BTreeMap<String, u64> = BTreeMap::new();
    for (shown, statement, _) in case.signed_bodies().filter(|(_, statement, _)| statement.head.kind == Kind::Seal) {
        let count = seals.entry(statement.head.ledger.to_string()).or_default();
        *count += 1;
        if *count == 2 {
            found.push((FindingCode::Resealed, shown.place(), format!("in {}", statement.head.ledger)));
        }
    }
    if seals.is_empty() {
        found.push((FindingCode::NoSeal, "package".to_owned(), "ask its originator for the seal".to_owned()));
    }
}
