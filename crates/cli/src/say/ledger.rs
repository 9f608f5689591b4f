//! The words about the ledger and what lies at rest: checks, audits, time-stamps, generations, backups.

use std::fmt::Write as _;

use custodia_format::text::escape_untrusted;
use custodia_node::operations::answers::{
    Audited, BackedUp, Checked, CheckedContent, Damaged, HeldState, LedgerHead, Restored, Stamp, StampedBy, Standing,
    Succeeded,
};
use indicatif::HumanBytes;

use super::failure_text;

/// The newest checkpoint.
pub(crate) fn ledger_head(head: &LedgerHead) -> String {
    let mut text = format!("{}\n{}\n", head.note.trim_end(), head.vkey);
    for (peer, size) in &head.witnessed {
        let _ = writeln!(text, "{peer} cosigned size {size}");
    }
    for stamp in &head.stamped {
        let _ = writeln!(text, "{}", stamp_text(stamp));
    }
    text
}

fn stamp_text(stamp: &Stamp) -> String {
    format!("{} stamped size {} at {}", escape_untrusted(&stamp.by), stamp.size, stamp.time)
}

/// What the time-stamping services gave.
pub(crate) fn stamped(services: &[StampedBy]) -> String {
    let mut text = String::new();
    for one in services {
        let mark = if one.failure.is_some() { "[!!]" } else { "[OK]" };
        let nothing = if one.tokens.is_empty() && one.failure.is_none() { ": nothing new to stamp" } else { "" };
        let _ = writeln!(text, "{mark} {}{nothing}", escape_untrusted(&one.service));
        for stamp in &one.tokens {
            let _ = writeln!(text, "     {}, entry {} of the ledger", stamp_text(stamp), stamp.leaf_index);
            if let Some(remark) = &stamp.remark {
                let _ = writeln!(text, "     Remark  {remark}");
            }
        }
        if let Some(failure) = &one.failure {
            text.push_str(&failure_text(failure));
        }
    }
    text
}

/// What a check of the ledger found, and of all bytes.
pub(crate) fn checked(checked: &Checked) -> String {
    let mut text = format!(
        "{} {} entries, {} files, {} read in {} s\n",
        if checked.errors.is_empty() { "[OK]" } else { "[XX]" },
        checked.entries,
        checked.files,
        HumanBytes(checked.bytes),
        seconds(checked.took_ms)
    );
    let content = checked.content.as_ref();
    let damage = content.map(|content| content.damage.as_slice()).unwrap_or_default();
    if let Some(content) = content {
        text.push_str(&content_line(content));
    }
    // What is told in full below is not told twice.
    let errors = checked.errors.iter().filter(|error| !damage.iter().any(|one| error.starts_with(&one.path)));
    for error in errors {
        let _ = writeln!(text, "     Error   {}", escape_untrusted(error));
    }
    for one in damage {
        text.push_str(&damaged(one));
    }
    for remark in checked.remarks.iter().chain(content.iter().flat_map(|content| &content.remarks)) {
        let _ = writeln!(text, "     Remark  {}", escape_untrusted(remark));
    }
    text
}

fn content_line(content: &CheckedContent) -> String {
    let rate = content.bytes_read as f64 / (1 << 20) as f64 / (content.took_ms.max(1) as f64 / 1000.0);
    let mut text = format!(
        "     {} objects, {}, {} midstates files, {} manifests: every byte read and hashed, in {} s, {rate:.0} MiB/s\n",
        content.objects,
        HumanBytes(content.bytes),
        content.midstates,
        content.manifests,
        seconds(content.took_ms)
    );
    if let Some(before) = &content.resumed {
        let _ = writeln!(
            text,
            "     Went on with the check that began {}: {} objects, {}, were read by it",
            before.began,
            before.objects,
            HumanBytes(before.bytes)
        );
    }
    text
}

/// A file that is not what it must be.
fn damaged(damaged: &Damaged) -> String {
    let mut text = format!("     Damaged {}\n", escape_untrusted(&damaged.path));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "             {name:<10} {}", escape_untrusted(value));
    };
    line("Expected", &damaged.expected);
    line("Found", &damaged.found);
    if let Some(last_whole) = &damaged.last_whole {
        line("Was whole", last_whole);
    }
    if !damaged.needed_by.is_empty() {
        line("Needed by", &damaged.needed_by.join(", "));
    }
    if !damaged.held_by.is_empty() {
        line("Held by", &damaged.held_by.join("; "));
    }
    line("Safe", &damaged.safe);
    for (place, next) in damaged.next.iter().enumerate() {
        line(if place == 0 { "You can" } else { "" }, next);
    }
    text
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// What an audit from outside found.
pub(crate) fn audited(audited: &Audited) -> String {
    let mark = match (audited.errors.is_empty(), audited.entries) {
        (false, _) => "[XX]",
        (true, 0) => "[!!]",
        (true, _) => "[OK]",
    };
    let mut text = format!(
        "{mark} {}: {} entries, {} files, {} read in {} s\n     Root        {}\n",
        audited.ledger,
        audited.entries,
        audited.files,
        HumanBytes(audited.bytes),
        seconds(audited.took_ms),
        audited.root
    );
    if audited.entries == 0 {
        text.push_str("     Nothing     the ledger has no entries: nothing was checked but its signature\n");
    }
    if audited.cosigned.is_empty() {
        text.push_str("     Cosigned    by nobody\n");
    }
    for cosigner in &audited.cosigned {
        let how = match (&cosigner.time, cosigner.known) {
            (Some(time), true) => format!("at {time}, verified"),
            _ => format!("key {} is not known here: not verified", cosigner.key_id),
        };
        let _ = writeln!(text, "     Cosigned    {}  {how}", cosigner.name);
    }
    if let Some(held) = &audited.held {
        let how = match (held.state, held.before) {
            (HeldState::First, _) => "none was held before; this one is from now on".to_owned(),
            (HeldState::Same, _) => "the same as before".to_owned(),
            (HeldState::Continued, before) => {
                format!("continues the one of size {}, and is held from now on", before.unwrap_or_default())
            }
            (HeldState::Unknown, Some(size)) => format!("cannot be told; the one of size {size} is still held"),
            (HeldState::Unknown, None) => "a damaged ledger is not held".to_owned(),
        };
        let _ = writeln!(text, "     Held        {how}: {}", escape_untrusted(&held.path));
    }
    if let Some(compared) = &audited.statements {
        let _ = writeln!(
            text,
            "     Statements  {} entries have their document here; of {} it was not to be seen",
            compared.seen, compared.unseen
        );
    }
    for (name, lines) in [("Error ", &audited.errors), ("Remark", &audited.remarks)] {
        for line in lines {
            let _ = writeln!(text, "     {name}      {}", escape_untrusted(line));
        }
    }
    text
}

/// The next generation of a ledger.
pub(crate) fn succeeded(succeeded: &Succeeded) -> String {
    let list = |names: &[String]| if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
    format!(
        "[OK] {} goes on. {} ended after {} entries.\n     Logged again   {} documents of it\n     Found beside   {} \
         statements without an entry here\n     Follow now     {}\n     Follow later   {}\n     Next: custodia serve\n",
        succeeded.ledger,
        succeeded.ended,
        succeeded.covered,
        succeeded.logged_again,
        succeeded.found_beside,
        list(&succeeded.peers),
        list(&succeeded.peers_later),
    )
}

/// A backup.
pub(crate) fn backed_up(done: &BackedUp) -> String {
    let keys = if done.keys {
        "in it: whoever holds this copy can sign as this node; lock it away"
    } else {
        "not in it: without them a restored node signs nothing"
    };
    format!(
        "[OK] Backed up to {}.\n     Ledger         {}, {} entries\n     Copied         {} files, {}, in {:.1} s; {} were there \
         already\n     Private keys   {keys}\n     Next: custodia --home NEW restore {}      to see that it can be read; delete NEW afterwards, for two homes \
         of one node must never run\n",
        done.dir,
        done.ledger,
        done.entries,
        done.files,
        HumanBytes(done.bytes),
        done.took_ms as f64 / 1000.0,
        done.there,
        done.dir,
    )
}

/// A home made of a backup.
pub(crate) fn restored(done: &Restored) -> String {
    let (mark, mut text) = if done.errors.is_empty() { ("[OK]", String::new()) } else { ("[XX]", String::new()) };
    let _ = write!(
        text,
        "{mark} Restored to {}.\n     Ledger         {}, {} entries\n     Copied         {} files, {}; with all checks in {:.1} s\n",
        done.home,
        done.ledger,
        done.entries,
        done.files,
        HumanBytes(done.bytes),
        done.took_ms as f64 / 1000.0
    );
    for error in &done.errors {
        let _ = writeln!(text, "     Damaged        {}", escape_untrusted(error));
    }
    let (standing, next) = match &done.standing {
        Standing::Confirmed => ("no peer saw more than this; it signs".to_owned(), "custodia serve"),
        Standing::Unconfirmed { heard, peers } => (
            format!("{heard} of {peers} peers told what they saw; it signs, unconfirmed until the others cosign"),
            "custodia serve",
        ),
        Standing::Behind { why } => (format!("it is behind, and signs nothing: {why}"), "custodia ledger succeed"),
    };
    let _ = write!(
        text,
        "     Peers          {}\n     Only one home of this node may ever run: where another still does, delete this one.\n     Next: {next}\n",
        escape_untrusted(&standing)
    );
    text
}
