//! What is said of chains of custody and of redacted copies.

use std::fmt::Write as _;

use custodia_format::text::escape_untrusted;
use custodia_node::operations::{ChainShown, Disclosed, Echo, Labelled, WithheldLine};
use indicatif::HumanBytes;

use super::{count_of, short, written};

/// Labels.
pub(crate) fn labelled(labelled: &Labelled) -> String {
    let (labels, pages) = (count_of(labelled.labels, "label"), count_of(labelled.pages, "page"));
    let numbers = labelled.numbers.as_ref().map_or_else(String::new, |(first, last)| {
        format!("     Numbers      {} to {}\n", escape_untrusted(first), escape_untrusted(last))
    });
    format!(
        "[OK] {labels}, each twice, for the outside and the inside: {pages} in {}\n{numbers}",
        escape_untrusted(&labelled.dir)
    )
}

/// A chain of custody. The verifier's text has foreign words escaped already.
pub(crate) fn chain(shown: &ChainShown) -> String {
    let drawn = shown.svg.as_ref().map_or_else(String::new, |svg| format!("Drawn: {}\n", escape_untrusted(svg)));
    format!("{}\nThe statements: {}\n{drawn}", shown.text, shown.verdict)
}

/// A redacted copy, reviewed or signed.
pub(crate) fn disclosed(disclosed: &Disclosed) -> String {
    let mut text = match &disclosed.statement {
        None => "[OK] Review: nothing is signed or written yet.\n".to_owned(),
        Some(statement) => format!("[OK] Signed.\n     Statement    {statement}\n"),
    };
    let (files, bytes) = disclosed.files;
    let _ = write!(
        text,
        "     For          {}\n     Shown        {} of {}, {} ({})\n     Disclosure   {}\n",
        escape_untrusted(&disclosed.to),
        disclosed.shown,
        count_of(disclosed.records, "record"),
        count_of(files, "file"),
        HumanBytes(bytes),
        disclosed.disclosure
    );
    for line in &disclosed.withheld {
        let _ = writeln!(text, "     Withheld     {}", withheld(line));
    }
    for statement in &disclosed.statements {
        let _ = writeln!(text, "     Withheld     statement {}", short(statement));
    }
    for echo in &disclosed.echoes {
        let _ = writeln!(text, "[!!] Stands elsewhere: {}", self::echo(echo));
    }
    for remark in &disclosed.remarks {
        let _ = writeln!(text, "     Remark       {}", escape_untrusted(remark));
    }
    match (&disclosed.written, &disclosed.statement) {
        (Some(it), _) => text += &written(it),
        (None, Some(statement)) => {
            let (package, statement) = (short(&disclosed.package), short(statement));
            let _ = writeln!(text, "     Next: custodia export {package} DIR --disclosure {statement}");
        }
        (None, None) if disclosed.echoes.is_empty() => {
            let _ = writeln!(text, "     Next: the same command with --reviewed {}", short(&disclosed.disclosure));
        }
        (None, None) => {
            text += "     Next: withhold that too; or --despite-echoes, where it tells the reader nothing\n"
        }
    }
    text
}

fn withheld(line: &WithheldLine) -> String {
    let what = if line.fields.is_empty() { "whole".to_owned() } else { line.fields.join(", ") };
    let meaning = line.meaning.as_deref().unwrap_or("not in the table of heads");
    format!(
        "{}  {} {}: {}  ({meaning})",
        escape_untrusted(&line.head),
        line.records,
        escape_untrusted(&line.record_type),
        escape_untrusted(&what)
    )
}

fn echo(echo: &Echo) -> String {
    let (code, field, stands_in) =
        (escape_untrusted(&echo.code), escape_untrusted(&echo.field), escape_untrusted(&echo.stands_in));
    format!("record {} {code}, {field}: in {stands_in}", echo.record)
}
