//! Progress in words: what is verified, how fast, how long still, how the link is. Nothing is reckoned here.

use custodia_node::api::{Direction, Ended, LinkState, Outcome, Progress, TimeLeft};
use indicatif::HumanBytes;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// What it is about: the package, whom it goes to or comes from, the phase.
pub(super) fn heading(progress: &Progress) -> String {
    let phase = progress.phase.words();
    match &progress.package {
        None => phase.to_owned(),
        Some(package) => format!("{}  {phase}", route(package, progress)),
    }
}

fn route(package: &str, progress: &Progress) -> String {
    let way = if progress.direction == Some(Direction::In) { "<" } else { ">" };
    let peer = progress.peer.as_deref().unwrap_or("?");
    format!("{} {way} {peer}", package.get(..8).unwrap_or(package))
}

/// How far it is.
pub(super) fn state(progress: &Progress) -> String {
    let mut parts = Vec::new();
    if progress.items_total > 0 {
        parts.push(format!("{} of {}", progress.items, progress.items_total));
    }
    let done = HumanBytes(progress.counts());
    let proven = if progress.proven.is_some() { " proven" } else { "" };
    match progress.bytes_total {
        0 if progress.bytes == 0 => {}
        0 => parts.push(format!("{done}{proven}")),
        total => parts.push(format!("{done} of {}{proven}", HumanBytes(total))),
    }
    if let Some(rate) = progress.rate {
        parts.push(format!("{}/s", HumanBytes(rate)));
    }
    if let Some(range) = &progress.left {
        parts.push(format!("{} left", left(range)));
    }
    if let Some(state) = &progress.link {
        parts.extend(link(state));
    }
    parts.join("  ")
}

/// How a transfer ended.
pub(super) fn ended(progress: &Progress, ended: &Ended) -> String {
    let what = match (ended.outcome, progress.direction) {
        (Outcome::Received, Some(Direction::In)) => "received whole, and the sender keeps our receipt".to_owned(),
        (Outcome::Received, _) => "received whole: the signed receipt is in this ledger".to_owned(),
        (Outcome::Declined, _) => "declined, by a signed refusal".to_owned(),
        (Outcome::Stopped, _) => {
            let code = ended.code.as_ref().map_or_else(String::new, |code| format!(" ({code})"));
            format!("stopped{code}; what is proven stays proven, and it is tried again")
        }
    };
    match &progress.package {
        Some(package) => format!("{}  {what}", route(package, progress)),
        None => what,
    }
}

/// A range in the unit that its end asks for.
fn left(left: &TimeLeft) -> String {
    let from = left.at_least_seconds.max(1);
    match left.at_most_seconds.map(|to| to.max(from)) {
        None => format!("{} or more", one(from, from)),
        Some(to) if one(from, to) == one(to, to) => format!("about {}", one(to, to)),
        Some(to) if to < 90 * MINUTE => format!("{} to {}", number(from, to), one(to, to)),
        Some(to) => format!("{} to {}", one(from, to), one(to, to)),
    }
}

/// A time, as exact as a time of this scale is known.
fn one(seconds: u64, scale: u64) -> String {
    match scale {
        0..90 => format!("{seconds} s"),
        90..5400 => format!("{} min", number(seconds, scale)),
        _ if scale < 2 * DAY => {
            let minutes = (seconds + 5 * MINUTE) / (10 * MINUTE) * 10;
            match (minutes / 60, minutes % 60) {
                (0, minutes) => format!("{minutes} min"),
                (hours, 0) => format!("{hours} h"),
                (hours, minutes) => format!("{hours} h {minutes:02}"),
            }
        }
        _ => format!("{} days", (seconds as f64 / DAY as f64 * 2.0).round() / 2.0),
    }
}

fn number(seconds: u64, scale: u64) -> u64 {
    if scale < 90 { seconds } else { ((seconds + MINUTE / 2) / MINUTE).max(1) }
}

/// How the link is; nothing where nothing is known.
fn link(link: &LinkState) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(link.via.as_ref().map(|via| via.to_uppercase()));
    parts.extend(link.round_trip_ms.map(|ms| format!("{ms} ms")));
    // Nobody has to look at a loss that is none.
    let lost = link.lost_per_million.filter(|lost| *lost >= 1000);
    parts.extend(lost.map(|lost| format!("{:.1} % lost", f64::from(lost) / 10_000.0)));
    parts.extend(link.stalled_seconds.map(|seconds| format!("nothing moves for {}", one(seconds, seconds))));
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
mod tests {
    use custodia_node::api::Phase;

    use super::*;

    fn range(from: u64, to: Option<u64>) -> String {
        left(&TimeLeft { at_least_seconds: from, at_most_seconds: to })
    }

    #[test]
    fn time_is_told_as_a_range_in_one_unit() {
        assert_eq!(range(12 * MINUTE, Some(19 * MINUTE)), "12 to 19 min");
        assert_eq!(range(7, Some(20)), "7 to 20 s");
        assert_eq!(range(0, Some(0)), "about 1 s");
        assert_eq!(range(700, Some(715)), "about 12 min");
        assert_eq!(range(40, Some(600)), "1 to 10 min");
        assert_eq!(range(2 * HOUR, Some(2 * HOUR + 20 * MINUTE)), "2 h to 2 h 20");
        assert_eq!(range(50 * MINUTE, Some(3 * HOUR)), "50 min to 3 h");
        assert_eq!(range(2 * DAY, Some(3 * DAY + DAY / 2)), "2 days to 3.5 days");
        assert_eq!(range(12 * MINUTE, None), "12 min or more");
    }

    #[test]
    fn a_package_that_travels_is_one_line() {
        let mut progress = Progress::of(Phase::Send).bytes(1 << 30, 3 << 30);
        assert_eq!((heading(&progress), state(&progress)), ("send".to_owned(), "1.00 GiB of 3.00 GiB".to_owned()));
        progress.package = Some("0123456789abcdef".to_owned());
        progress.peer = Some("prosecutor.example".to_owned());
        progress.direction = Some(Direction::Out);
        progress.proven = Some(1 << 29);
        progress.rate = Some(210 << 10);
        progress.left = Some(TimeLeft { at_least_seconds: 12 * MINUTE, at_most_seconds: Some(19 * MINUTE) });
        progress.link = Some(LinkState {
            via: Some("udp".to_owned()),
            round_trip_ms: Some(620),
            lost_per_million: Some(21_000),
            stalled_seconds: Some(7),
        });
        assert_eq!(heading(&progress), "01234567 > prosecutor.example  send");
        assert_eq!(
            state(&progress),
            "512.00 MiB of 3.00 GiB proven  210.00 KiB/s  12 to 19 min left  UDP, 620 ms, 2.1 % lost, nothing moves for 7 s"
        );
    }

    #[test]
    fn nothing_is_called_received_without_a_receipt() {
        for phase in Phase::ALL {
            let mut progress = Progress::of(*phase).bytes(10, 10);
            progress.proven = Some(10);
            let said = format!("{}  {}", heading(&progress), state(&progress));
            assert!(!said.contains("received") && !said.contains("delivered"), "{said}");
        }
        let stopped = Ended { outcome: Outcome::Stopped, statement: None, code: Some("Busy".to_owned()) };
        assert!(!ended(&Progress::of(Phase::Receipt), &stopped).contains("received"));
    }
}
