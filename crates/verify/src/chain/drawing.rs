//! A chain as a picture: SVG 1.1, one file, no script, no font and no link of its own.

use std::collections::BTreeMap;
use std::fmt::Write;

use custodia_format::text::Time;

use super::{Chain, ChainCode, Holding};

/// Lanes that are drawn; the rest is counted.
const LANES_MOST: usize = 60;
/// Marks that are drawn on a lane of their own: with more, they would be one bar.
const MARKS_MOST: usize = 400;
const WIDTH: i64 = 1100;
const LEFT: i64 = 300;
const RIGHT: i64 = 1080;
const LANE: i64 = 26;

impl Chain {
    /// The chain as a timeline.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let scale = Scale::of(self);
        let mut lanes: BTreeMap<(Option<&str>, &[String]), Vec<&Holding>> = BTreeMap::new();
        for holding in &self.holdings {
            lanes.entry((holding.custodian.as_deref(), &holding.items)).or_default().push(holding);
        }
        let left_out = lanes.len().saturating_sub(LANES_MOST);
        let drawn = lanes.len().min(LANES_MOST) as i64;
        let marks_at = 70 + drawn * LANE + 20;
        let findings_at = marks_at + 76;
        let height = findings_at + 20 * (self.findings.len().min(LANES_MOST) as i64 + 2) + 20;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
             font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        );
        let of = self.item.map_or_else(|| "all records".to_owned(), |item| format!("record {item}"));
        let title = format!("Chain of custody of package {}, {of}", self.package.get(..16).unwrap_or(&self.package));
        let _ = writeln!(svg, "<title>{}</title>", escape(&title));
        text(&mut svg, 20, 26, "start", "16", &title);
        scale.draw(&mut svg, marks_at);
        for (row, ((custodian, items), holdings)) in (0..).zip(lanes.iter().take(LANES_MOST)) {
            let y = 70 + row * LANE;
            let label = format!("{}  {}", custodian.unwrap_or("before the seal"), records(items));
            text(&mut svg, 20, y + 15, "start", "12", &cut(&label, 46));
            for holding in holdings {
                scale.bar(&mut svg, y, holding);
            }
        }
        if left_out > 0 {
            text(&mut svg, 20, marks_at - 4, "start", "12", &format!("… and {left_out} more lanes"));
        }
        text(&mut svg, 20, marks_at + 20, "start", "12", "what was done");
        for (number, entry) in (1..).zip(self.entries.iter().take(MARKS_MOST)) {
            let x = scale.x(entry.at());
            let what = entry.action.as_deref().unwrap_or(&entry.kind);
            let _ = writeln!(
                svg,
                "<g><title>{}</title><line x1=\"{x}\" y1=\"60\" x2=\"{x}\" y2=\"{}\" stroke=\"#888\" stroke-dasharray=\"2 3\"/>\
                 <circle cx=\"{x}\" cy=\"{}\" r=\"4\" fill=\"#333\"/></g>",
                escape(&format!("{number}. {}  {what}", entry.when())),
                marks_at + 16,
                marks_at + 16
            );
        }
        text(&mut svg, 20, marks_at + 42, "start", "12", "not whole");
        for finding in &self.findings {
            let Some((from, until)) = finding.at else { continue };
            let x = scale.x(from);
            let width = (until.map_or(RIGHT, |until| scale.x(until)) - x).max(6);
            let _ = writeln!(
                svg,
                "<g><title>{}</title><rect x=\"{x}\" y=\"{}\" width=\"{width}\" height=\"10\" fill=\"{}\" fill-opacity=\"0.7\"/></g>",
                escape(&format!("{}: {}", finding.code.as_str(), finding.detail)),
                marks_at + 33,
                colour(finding.code)
            );
        }
        let head = match self.findings.len() {
            0 => "Nothing is found that is not whole.".to_owned(),
            many => format!("Not whole: {many}"),
        };
        text(&mut svg, 20, findings_at, "start", "13", &head);
        for (row, finding) in (1..).zip(self.findings.iter().take(LANES_MOST)) {
            let y = findings_at + row * 20;
            let _ = writeln!(
                svg,
                "<rect x=\"20\" y=\"{}\" width=\"10\" height=\"10\" fill=\"{}\"/>",
                y - 10,
                colour(finding.code)
            );
            let when = finding.from.as_deref().map_or_else(String::new, |from| format!("{from}: "));
            let line = format!("{}  {when}{}: {}", finding.code.as_str(), finding.place, finding.detail);
            text(&mut svg, 38, y, "start", "12", &cut(&line, 165));
        }
        if self.findings.len() > LANES_MOST {
            let y = findings_at + 20 * (LANES_MOST as i64 + 1);
            text(&mut svg, 38, y, "start", "12", &format!("… and {} more", self.findings.len() - LANES_MOST));
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// From seconds to points.
struct Scale {
    first: i64,
    last: i64,
}

impl Scale {
    fn of(chain: &Chain) -> Self {
        let held = chain.holdings.iter().flat_map(|holding| [Some(holding.at.0), holding.at.1]).flatten();
        let times: Vec<i64> = held.chain(chain.entries.iter().map(|entry| entry.at())).collect();
        let first = times.iter().min().copied().unwrap_or_default();
        let last = times.iter().max().copied().unwrap_or_default();
        Self { first, last: last.max(first.saturating_add(1)) }
    }

    fn x(&self, at: i64) -> i64 {
        let span = i128::from(self.last) - i128::from(self.first);
        let part = i128::from(at) - i128::from(self.first);
        let x = i128::from(RIGHT - LEFT) * part / span.max(1);
        LEFT + i64::try_from(x).unwrap_or_default().clamp(0, RIGHT - LEFT)
    }

    fn draw(&self, svg: &mut String, down_to: i64) {
        for step in 0..=4 {
            let at = self.first + (self.last - self.first) / 4 * step;
            let x = self.x(at);
            let _ = writeln!(svg, "<line x1=\"{x}\" y1=\"54\" x2=\"{x}\" y2=\"{down_to}\" stroke=\"#ddd\"/>");
            let time = Time::from_unix(at).map_or_else(String::new, |time| time.to_string());
            let time = if self.last - self.first > 5 * 86_400 { time.get(..10) } else { time.get(..16) };
            let anchor = if step == 4 { "end" } else { "middle" };
            text(svg, x, 48, anchor, "11", time.unwrap_or_default());
        }
    }

    fn bar(&self, svg: &mut String, y: i64, holding: &Holding) {
        let (from, until) = (self.x(holding.at.0), holding.at.1.map_or(RIGHT, |until| self.x(until)));
        let width = (until - from).max(3);
        let told = format!(
            "{}, {} to {}",
            holding.holder,
            holding.from,
            holding.until.as_deref().unwrap_or("as far as it is shown")
        );
        let fill = match (&holding.custodian, holding.holder.as_str()) {
            (None, _) => "#cfe0c3",
            (_, holder) if holder.starts_with("nobody") => "#f4c7c3",
            (_, "withheld") => "#e0e0e0",
            (_, "the authority") => "#bcd3ea",
            _ => "#d9cdea",
        };
        let _ = writeln!(
            svg,
            "<g><title>{}</title><rect x=\"{from}\" y=\"{y}\" width=\"{width}\" height=\"{}\" fill=\"{fill}\" stroke=\"#555\"/></g>",
            escape(&told),
            LANE - 6
        );
        let chars = usize::try_from(width / 7).unwrap_or_default();
        if chars > 3 {
            text(svg, from + 4, y + 14, "start", "11", &cut(&holding.holder, chars));
        }
    }
}

const fn colour(code: ChainCode) -> &'static str {
    match code {
        ChainCode::Gap => "#c0392b",
        ChainCode::Overlap => "#d35400",
        ChainCode::OneSidedHandover => "#b7950b",
        ChainCode::InvertedClock => "#7d3c98",
        ChainCode::BrokenSeal => "#922b21",
        ChainCode::WithheldSegment => "#7f8c8d",
    }
}

fn records(items: &[String]) -> String {
    match items {
        [all] if all == "all" => String::new(),
        [one] => format!("({one})"),
        [first, .., last] => format!("({first} … {last})"),
        [] => String::new(),
    }
}

fn cut(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    let kept: String = text.chars().take(chars.saturating_sub(1)).collect();
    format!("{kept}…")
}

fn text(svg: &mut String, x: i64, y: i64, anchor: &str, size: &str, words: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{}</text>",
        escape(words)
    );
}

/// For element content and attributes (XML 1.0, 2.4). Control characters are made visible before they come here.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
