//! Step 6: was each key still good when it signed, and was its authority within the reader's dates?

use std::collections::BTreeSet;

use custodia_format::checkpoint::Checkpoint;
use custodia_format::text::LedgerName;

use crate::case::Case;
use crate::finding::FindingCode;
use crate::interval::BoundSource;
use crate::step_04_inclusion::earliest;

/// Judges keys by proven times alone.
pub(crate) fn step_6_keys(case: &mut Case<'_>) {
    for at in 0..case.statements.len() {
        judge_signatures(case, at);
        judge_ledger_key(case, at);
    }
    judge_trust(case);
    count_revocations(case);
}

fn judge_signatures(case: &mut Case<'_>, at: usize) {
    let Some(shown) = case.statements.get(at).filter(|shown| !shown.excluded) else { return };
    let (Some(signed), Some(chain)) = (&shown.signed, shown.chain.and_then(|chain| case.chains.get(chain))) else {
        return;
    };
    let place = shown.place();
    let (lower, upper) = (&shown.interval.lower, &shown.interval.upper);
    let mut found = Vec::new();
    for by in signed.get() {
        let end = chain.revoked(&by.key).map_or(by.to, |revoked| revoked.min(by.to));
        let Some(upper) = upper else {
            found.push((FindingCode::KeyTime, format!("nothing says when the key {} signed", by.key)));
            continue;
        };
        if lower.as_ref().is_some_and(|lower| lower.time > end) {
            found.push((FindingCode::UnknownKey, format!("the key {} had ended at {end}", by.key)));
        } else if upper.time < by.from && upper.source != BoundSource::Word {
            found.push((FindingCode::UnknownKey, format!("the key {} began at {}", by.key, by.from)));
        } else if end < upper.time {
            found.push((
                FindingCode::KeyTime,
                format!("the key {} ended at {end}; a proof of an earlier time would decide", by.key),
            ));
        }
    }
    for (code, detail) in found {
        case.find(code, &place, detail);
    }
}

/// A checkpoint counts if it was cosigned or time-stamped before its ledger's key was compromised.
fn judge_ledger_key(case: &mut Case<'_>, at: usize) {
    let Some(shown) = case.statements.get(at).filter(|shown| shown.included.is_some()) else { return };
    let (place, issuer) = (shown.place(), shown.chain);
    let Some(text) = shown.tlog_proof.as_ref().map(|proof| proof.checkpoint.text.clone()) else { return };
    let origin = Checkpoint::parse_text(&text).ok().and_then(|checkpoint| LedgerName::parse(&checkpoint.origin).ok());
    let chain = issuer.and_then(|chain| case.chains.get(chain));
    let revoked = origin.zip(chain).and_then(|(origin, chain)| {
        let key = chain.ledger(&origin)?.key().key_id();
        chain.revoked(&key)
    });
    let Some(revoked) = revoked else { return };
    if earliest(case, &text, issuer).is_none_or(|bound| bound.time >= revoked) {
        case.find(FindingCode::KeyTime, place, format!("its ledger's key was compromised since {revoked}"));
    }
}

/// One finding for each authority whose word is needed and that the reader does not believe, or not for that time.
fn judge_trust(case: &mut Case<'_>) {
    let Some(package) = case.package else { return };
    let mut doubted = BTreeSet::new();
    for (at, chain) in case.chains.iter().enumerate() {
        let issued =
            case.statements.iter().filter(|shown| shown.chain == Some(at) && shown.is_signed() && !shown.excluded);
        let on_package = issued.clone().any(|shown| shown.is_on(&package));
        let Some(line) = chain.trusted else {
            if on_package || chain.used_untrusted {
                doubted.insert((chain.shown_name(), format!("root key {}", chain.root.key_id())));
            }
            continue;
        };
        let outside = issued.filter_map(|shown| {
            let issued_at = shown.statement.as_ref()?.head.issued_at;
            let upper = shown.interval.upper.as_ref().filter(|upper| upper.source != BoundSource::Word);
            let time = upper.map_or(issued_at, |upper| upper.time);
            (!line.holds(time)).then(|| format!("{} at {time} lies outside its dates", shown.place()))
        });
        if let Some(detail) = outside.min() {
            doubted.insert((chain.shown_name(), detail));
        } else if chain.used_untrusted {
            doubted.insert((chain.shown_name(), "a cosignature lies outside its dates".to_owned()));
        }
    }
    for (name, detail) in doubted {
        case.find(FindingCode::UntrustedAuthority, name, detail);
    }
}

/// The newest card says how many revocations there are; one that is not shown could end any key. The number comes from a
/// hostile file: it is compared, never counted up to.
fn count_revocations(case: &mut Case<'_>) {
    let mut hidden = Vec::new();
    for chain in &case.chains {
        let Some((_, newest)) = chain.cards.last() else { continue };
        let said = newest.get().revocations;
        let shown: BTreeSet<u64> = chain
            .revocations
            .iter()
            .map(|(revocation, _)| revocation.number)
            .filter(|number| *number <= said)
            .collect();
        if (shown.len() as u64) < said {
            hidden.push((chain.shown_name(), format!("{} of {said} revocations are shown", shown.len())));
        }
    }
    for (name, detail) in hidden {
        case.find(FindingCode::KeyTime, name, detail);
    }
}
