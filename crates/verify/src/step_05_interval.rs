//! Step 5: between which two times each statement came to be.

use custodia_format::Hash;
use custodia_format::text::Time;

use crate::case::Case;
use crate::finding::FindingCode;
use crate::interval::{Bound, BoundSource, Interval};
use crate::step_04_inclusion::{believed_of_note, earliest};

/// How far two honest clocks may differ before a lower bound above an upper one convicts.
const SKEW_SECONDS: i64 = 3600;

/// Bounds every statement that steps 3 and 4 have verified.
pub(crate) fn step_5_interval(case: &mut Case<'_>) {
    for at in 0..case.statements.len() {
        let Some(shown) = case.statements.get(at) else { continue };
        if !shown.is_signed() || shown.excluded {
            continue;
        }
        let Some(statement) = shown.statement.clone() else { continue };
        let (place, chain, digest) = (shown.place(), shown.chain, shown.digest);
        let text =
            shown.included.is_some().then(|| shown.tlog_proof.as_ref().map(|proof| proof.checkpoint.text.clone()));
        let named = statement.head.not_before;

        // Only an anchor counts: a note that stands elsewhere in the proof was not put there to bound this.
        let anchored = named.filter(|note| case.anchors.iter().any(|anchor| anchor.digest() == *note));
        let lower = anchored.map(|note| believed_of_note(case, &note, chain)).unwrap_or_default();
        let lower = lower.into_iter().map(Bound::from).max_by_key(|bound| bound.time);
        let upper = text.flatten().and_then(|text| earliest(case, &text, chain));
        let upper = upper.or_else(|| word(case, &digest, chain));

        if upper.is_none() {
            case.find(FindingCode::TimeUnbounded, &place, "nothing says that it existed by any time");
        }
        if named.is_some() && lower.is_none() {
            let detail = "the checkpoint that it names as earlier is not shown with a cosignature of another";
            case.find(FindingCode::TimeUnbounded, &place, detail);
        }
        if let (Some(lower), Some(upper)) = (&lower, &upper) {
            let above = lower.time.unix() - upper.time.unix();
            if above > 0 && upper.source == BoundSource::Word {
                case.find(FindingCode::ClockClaim, &place, format!("{} claims {}", upper.by, upper.time));
            } else if above > SKEW_SECONDS {
                let detail =
                    format!("not before {} by {}, not after {} by {}", lower.time, lower.by, upper.time, upper.by);
                case.find(FindingCode::IntervalInverted, &place, detail);
            } else if above > 0 {
                case.find(FindingCode::ClockSkew, &place, format!("{} and {} differ by {above} s", lower.by, upper.by));
            }
        }
        let interval = Interval { lower, upper };
        let issued = statement.head.issued_at;
        if outside(&interval, issued) {
            case.find(FindingCode::ClockClaim, &place, format!("its clock said {issued}"));
        }
        if let Some(shown) = case.statements.get_mut(at) {
            shown.interval = interval;
        }
    }
}

fn outside(interval: &Interval, time: Time) -> bool {
    interval.lower.as_ref().is_some_and(|lower| time < lower.time)
        || interval.upper.as_ref().is_some_and(|upper| time > upper.time)
}

/// The earliest word of another authority that names the statement: a claim, and all there is.
fn word(case: &Case<'_>, digest: &Hash, issuer: Option<usize>) -> Option<Bound> {
    let hex = digest.to_string();
    let names = |payload: &[u8]| payload.windows(hex.len()).any(|window| window == hex.as_bytes());
    let words = case.statements.iter().filter(|shown| shown.is_signed() && shown.chain != issuer).filter_map(|shown| {
        let (envelope, statement) = (shown.envelope.as_ref()?, shown.statement.as_ref()?);
        let chain = case.chains.get(shown.chain?)?;
        names(envelope.payload()).then(|| (chain.trusted.is_none(), statement.head.issued_at, chain.shown_name()))
    });
    words.min().map(|(_, time, by)| Bound { time, by, source: BoundSource::Word })
}
