//! The report in words: findings first, then the four questions, then what no program can say.

use std::fmt::Write;

use crate::finding::{Class, Finding};
use crate::interval::{Bound, BoundSource};
use crate::report::{Report, StatementLine, Verdict};

/// Findings of one code that are listed one by one.
const LISTED: usize = 20;

impl Report {
    /// The report for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{}  {}\n", self.verdict.words(), self.sentence());
        self.findings_text(&mut text);
        if self.package.is_some() && self.statements.iter().any(|statement| statement.signed) {
            self.questions(&mut text);
            self.events(&mut text);
        }
        self.limits_text(&mut text);
        text
    }

    fn sentence(&self) -> String {
        let items = &self.items;
        let count = |class: Class| self.findings.iter().filter(|finding| finding.class == class).count();
        match self.verdict {
            _ if self.fork => "A ledger shows two histories; they cannot both be true.".to_owned(),
            Verdict::Changed => match count(Class::Changed) {
                1 => "One thing is not what was signed.".to_owned(),
                many => format!("{many} things are not what was signed."),
            },
            Verdict::CannotTell if self.only_trust => {
                "All that is shown is in order; your trust file does not name everybody who signed.".to_owned()
            }
            Verdict::CannotTell => match count(Class::CannotTell) {
                1 => "One thing is missing that would decide.".to_owned(),
                many => format!("{many} things are missing that would decide."),
            },
            _ if items.unchanged > 0 => {
                format!("{} of {} files are the bytes that were sealed.", items.unchanged, items.files)
            }
            _ => "The statements and records are as they were signed; no files were checked.".to_owned(),
        }
    }

    fn findings_text(&self, text: &mut String) {
        let mut shown = 0;
        let mut last = None;
        for finding in &self.findings {
            shown = if last == Some(finding.code) { shown + 1 } else { 0 };
            last = Some(finding.code);
            if shown < LISTED {
                finding_text(finding, text);
            } else if shown == LISTED {
                let all = self.findings.iter().filter(|other| other.code == finding.code).count();
                let _ = writeln!(text, "       … and {} more of {}", all - LISTED, finding.code.as_str());
            }
        }
    }

    fn questions(&self, text: &mut String) {
        let items = &self.items;
        let _ = writeln!(
            text,
            "\n  Same bytes?  {} of {} files checked and unchanged, {} bytes",
            items.unchanged, items.files, items.bytes
        );
        if items.withheld_records + items.withheld_fields > 0 {
            let _ = writeln!(
                text,
                "               withheld: {} records, {} fields",
                items.withheld_records, items.withheld_fields
            );
        }
        for (place, authority) in self.authorities.iter().enumerate() {
            let met = authority.met.as_ref().map_or_else(|| "not met".to_owned(), |met| format!("met {met}"));
            let _ = writeln!(
                text,
                "  {}  {}: {met}, root key {}; revocations known up to card number {}",
                if place == 0 { "Who signed?" } else { "           " },
                authority.name,
                authority.root,
                authority.newest_card
            );
        }
        let seal = self.statements.iter().find(|statement| statement.kind.as_deref() == Some("seal"));
        if let Some(seal) = seal {
            let _ = writeln!(text, "  When?        sealed {}", interval_text(seal));
        }
        let gaps = self.findings.iter().filter(|finding| {
            matches!(
                finding.code.as_str(),
                "undeclared-gap" | "chain-fork" | "one-sided-handover" | "declared-withheld" | "erased-by-order"
            )
        });
        let _ = match gaps.count() {
            0 => writeln!(text, "  Any gap?     none in what is shown"),
            count => writeln!(text, "  Any gap?     {count}, named above"),
        };
    }

    fn events(&self, text: &mut String) {
        text.push_str("\n  Custody, as signed:\n");
        for statement in
            self.statements.iter().filter(|statement| statement.sequence.is_some() || statement.kind.is_none())
        {
            let kind = statement.kind.as_deref().unwrap_or("(withheld)");
            let officer = statement.officer.as_ref().map(|officer| format!(", officer {officer}")).unwrap_or_default();
            let _ = writeln!(
                text,
                "    {kind:<12} {}{officer}\n                 {}",
                statement.issuer,
                interval_text(statement)
            );
        }
    }

    fn limits_text(&self, text: &mut String) {
        text.push('\n');
        for ledger in &self.ledgers {
            let number =
                ledger.shown_up_to.map_or_else(|| "no statement of it".to_owned(), |n| format!("up to number {n}"));
            let _ = writeln!(
                text,
                "  {}: shown {number}, as of checkpoint size {}.",
                ledger.origin, ledger.checkpoint_size
            );
        }
        text.push_str(
            "  What this cannot show: whether what was sealed was so in the world; whether newer statements exist;\n  \
             offline, the absence of a fork that nobody has seen. That checkpoints of different sizes belong to one\n  \
             ledger rests on those who cosigned them.\n",
        );
    }
}

fn finding_text(finding: &Finding, text: &mut String) {
    let mark = match finding.class {
        Class::Changed => "[XX]",
        Class::CannotTell => "[??]",
        Class::Remark => "[ *]",
    };
    let _ = writeln!(
        text,
        "  {mark} {}: {}\n       {}: {}",
        finding.code.as_str(),
        finding.code.words(),
        finding.place,
        finding.detail
    );
}

fn interval_text(statement: &StatementLine) -> String {
    let bound = |bound: &Option<Bound>, none: &str| match bound {
        None => none.to_owned(),
        Some(bound) if bound.source == BoundSource::TimeStamp => {
            format!("{} by the clock of {}", bound.time, bound.by)
        }
        Some(bound) => format!("{} by {}", bound.time, bound.by),
    };
    let claimed = statement.issued_at.as_deref().unwrap_or("not shown");
    format!(
        "after {}, before {} (its own clock said {claimed})",
        bound(&statement.interval.lower, "(nothing bounds it)"),
        bound(&statement.interval.upper, "(nothing bounds it)"),
    )
}
