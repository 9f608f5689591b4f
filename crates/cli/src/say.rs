//! The words on screen: results, and failures with what happened, what is safe and what to do.

mod custody;
mod ledger;
mod records;
mod usb;

use std::fmt::Write as _;
use std::io::Write as _;

use custodia_format::text::escape_untrusted;
use custodia_node::Listening;
use custodia_node::failure::{Code, Failure};
use custodia_node::init::Made;
use custodia_node::operations::answers::{
    Bounded, CameToBe, Cap, Delivery, Diagnosis, Officer, OwnCard, Pace, Received, Road, Sealed, Shown, StatementLine,
    Transfer, TransferState, Trusted, TrustedTsa, Written,
};
use indicatif::HumanBytes;

use crate::args::Common;
use crate::ask::Asked;
use crate::{events, print};

pub(crate) use custody::{chain, disclosed, labelled};
pub(crate) use ledger::{audited, backed_up, checked, ledger_head, restored, stamped, succeeded};
pub(crate) use records::{records, records_about, templates};
pub(crate) use usb::{usb_read, usb_written};

/// Tells a failure: on stderr in words, on stdout as one JSON document.
pub(crate) fn failure(failure: &Failure, common: &Common) {
    let mut failure = failure.clone();
    if failure.next.is_empty() {
        // Nobody is left without a next step.
        failure.next.push(format!("custodia explain {}", failure.code.as_str()));
    }
    if common.jsonl {
        return events::failure(&failure);
    }
    if common.json {
        let value = serde_json::json!({
            "schema": "custodia.failure/1", "exit": failure.code.exit(), "failure": failure,
        });
        let _ = print(&format!("{value}\n"));
        return;
    }
    let text = format!("[XX] {}", failure_text(&failure).trim_start());
    // If stderr is closed there is nobody to tell; the exit code still says it.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

fn failure_text(failure: &Failure) -> String {
    let mut text = format!("     {}  {}\n", failure.code.as_str(), escape_untrusted(&failure.what));
    for (name, value) in [("Where", &failure.place), ("Expected", &failure.expected), ("Found", &failure.found)] {
        if let Some(value) = value {
            let _ = writeln!(text, "     {name}: {}", escape_untrusted(value));
        }
    }
    let _ = writeln!(text, "     Safe: {}", escape_untrusted(&failure.safe));
    for (place, next) in failure.next.iter().enumerate() {
        let _ = writeln!(text, "     {} {}", if place == 0 { "You can:" } else { "        " }, escape_untrusted(next));
    }
    text
}

/// Says what a code means.
pub(crate) fn explain(text: &str) -> Asked {
    let code = Code::ALL.iter().find(|code| code.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
        Failure::new(Code::Usage, "There is no such code.")
            .at(text)
            .next(format!("one of {}", Code::ALL.iter().map(|code| code.as_str()).collect::<Vec<_>>().join(" ")))
    })?;
    print(&format!("{}  {}  Exit code {}.\n", code.as_str(), code.meaning(), code.exit()))
}

/// A new node, and what to do with its root key.
pub(crate) fn made(made: &Made) -> String {
    let mut text = format!(
        "[OK] {} is ready: {}\n     Ledger       {}\n     Fingerprint  {}\n",
        made.name,
        made.home,
        made.ledger,
        grouped(&made.fingerprint)
    );
    if let Some(officer) = &made.officer {
        let _ = writeln!(text, "     Officer      {officer} may sign");
    }
    let _ = write!(
        text,
        "     Root key     {}\n                  It signs cards, delegations and trust, nothing daily. Copy it to two sticks, lock them\n\
         \x20                 away apart, and take it off this machine once the peers are met. Lost is lost: nobody can reset it.\n\
         \x20    Next: custodia card > {}.card      give it to the others, and tell them the fingerprint by another channel\n\
         \x20          custodia serve\n",
        made.root_key, made.name
    );
    text
}

/// The fingerprint of a card, on stderr: stdout has the card alone.
pub(crate) fn fingerprint(card: &OwnCard) {
    let _ = writeln!(std::io::stderr(), "Fingerprint of {}: {}", card.name, grouped(&card.fingerprint));
}

/// A node that listens.
pub(crate) fn listening(listening: &Listening, common: &Common) {
    if common.jsonl {
        return events::listening(listening);
    }
    let text = if common.json {
        format!(
            "{}\n",
            serde_json::json!({ "schema": "custodia.event/1", "type": "listening", "listening": listening })
        )
    } else {
        let auditors = match listening.auditors {
            Some(address) => format!("     Auditors read its ledger on http://{address}\n"),
            None => String::new(),
        };
        let roads = if listening.tcp { "UDP and TCP" } else { "UDP" };
        format!("[OK] {} listens on {} ({roads}). Stop with Ctrl-C.\n{auditors}", listening.ledger, listening.address)
    };
    let _ = print(&text);
}

/// Somebody who is believed from now on.
pub(crate) fn trusted(trusted: &Trusted) -> String {
    format!(
        "[OK] {} is trusted since {}, met {}.\n     Fingerprint  {}\n",
        trusted.name,
        trusted.since,
        trusted.channel,
        grouped(&trusted.fingerprint)
    )
}

/// Who is believed.
pub(crate) fn trust_list(list: &[Trusted]) -> String {
    if list.is_empty() {
        return "Nobody yet. Next: custodia trust add CARD --fingerprint F\n".to_owned();
    }
    list.iter()
        .map(|one| {
            let address = one.addresses.first().map_or("no address", String::as_str);
            format!(
                "{}  since {}  met {}  at {}\n     {}\n",
                one.name,
                one.since,
                one.channel,
                address,
                grouped(&one.fingerprint)
            )
        })
        .collect()
}

/// A time-stamping authority that is believed from now on.
pub(crate) fn trusted_tsa(trusted: &TrustedTsa) -> String {
    format!(
        "[OK] Tokens of {} are believed, of the times {} to {}.\n     Fingerprint  {}\n     Compare it with what the authority \
         published, unless you gave it with --fingerprint.\n",
        escape_untrusted(&trusted.subject),
        trusted.not_before,
        trusted.not_after,
        grouped(&trusted.fingerprint)
    )
}

/// A new officer.
pub(crate) fn officer(officer: &Officer) -> String {
    format!("[OK] {} may sign for this authority.\n", officer.pseudonym)
}

/// A sealed package.
pub(crate) fn sealed(sealed: &Sealed) -> String {
    let remarks: String =
        sealed.remarks.iter().map(|remark| format!("     Remark       {}\n", escape_untrusted(remark))).collect();
    let counted = format!("{}, {}", count_of(sealed.files, "file"), HumanBytes(sealed.bytes));
    let types = sealed.described.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ");
    let described = if types.is_empty() { types } else { format!("     Records      {types}\n") };
    let are = if sealed.files == 1 { "is" } else { "are" };
    match (&sealed.package, &sealed.seal, sealed.leaf_index) {
        (Some(package), Some(seal), Some(leaf_index)) => format!(
            "[OK] Sealed. {counted} {are} safe. You can close the lid.\n     Package      {package}\n     \
             Seal         {seal}\n     Ledger       entry {leaf_index}\n{described}{remarks}     Next: custodia send {} --to NAME\n",
            short(package)
        ),
        _ if !sealed.problems.is_empty() => {
            let problems: String =
                sealed.problems.iter().map(|problem| format!("     {}\n", escape_untrusted(problem))).collect();
            format!(
                "[!!] Would not seal: {}. Nothing was done.\n{problems}{remarks}",
                count_of(sealed.problems.len() as u64, "problem")
            )
        }
        _ => format!("[OK] Would seal {counted}. Nothing was done.\n{described}{remarks}"),
    }
}

/// An attempt to deliver.
pub(crate) fn delivery(delivery: &Delivery) -> String {
    let transfer = &delivery.transfer;
    match (&transfer.state, &transfer.receipt) {
        (TransferState::Received, Some(receipt)) => format!(
            "[OK] Received whole. {} signed the receipt, and it is in this ledger.\n     Receipt      {receipt}\n     \
             Sent         {}\n{}",
            transfer.to,
            HumanBytes(delivery.bytes_sent),
            delivery.detour.as_ref().map_or_else(String::new, |why| format!("     Road         {why}\n"))
        ),
        _ => transfer_text(transfer),
    }
}

/// What was handed over.
pub(crate) fn queue(queue: &[Transfer]) -> String {
    if queue.is_empty() {
        return "Nothing was handed over yet.\n".to_owned();
    }
    queue.iter().map(transfer_text).collect()
}

fn transfer_text(transfer: &Transfer) -> String {
    let (mark, state) = match transfer.state {
        TransferState::Released => ("[..]", "released"),
        TransferState::Consigned => ("[..]", "announced, content awaited"),
        TransferState::Received => ("[OK]", "received"),
        TransferState::Refused => ("[!!]", "refused"),
    };
    let mut text = format!("{mark} {} > {}  {state}", short(&transfer.package), transfer.to);
    if let Some(answer) = &transfer.answer {
        let _ = write!(text, ", {answer}");
    }
    text.push('\n');
    if !transfer.why.is_empty() {
        let _ =
            writeln!(text, "     Why   {}\n     Turn  {}\n     Next  {}", transfer.why, transfer.turn, transfer.next);
    }
    if let Some(deadline) = &transfer.deadline {
        let _ = writeln!(text, "     Due   {deadline}");
    }
    for missed in &transfer.not_received {
        let signed = short(&missed.statement);
        let _ = writeln!(text, "     Late  no receipt was here by {}; signed in statement {signed}", missed.deadline);
    }
    if let Some(why) = &transfer.detour {
        let _ = writeln!(text, "     Road  {why}");
    }
    if let Some(failure) = &transfer.last_failure {
        let _ = writeln!(text, "     Last  {failure}");
    }
    text
}

/// Why a package is not delivered.
pub(crate) fn queue_why(queue: &[Transfer]) -> String {
    let mut text = String::new();
    for one in queue {
        text += &transfer_text(one);
        if let Some(tried) = &one.tried {
            let code = tried.code.as_ref().map_or_else(String::new, |code| format!("; the last failure was {code}"));
            let (first, last) = (&tried.first, &tried.last);
            let _ = writeln!(text, "     Tried {}, from {first} to {last}{code}", count_of(tried.attempts, "time"));
        }
        if let Some(session) = &one.session {
            let _ = writeln!(
                text,
                "     Now   {} (for {} s); turn: {}; then: {}",
                session.why, session.seconds, session.turn, session.next
            );
        }
        if let Some(seconds) = one.next_try_seconds.filter(|_| one.session.is_none()) {
            let _ = writeln!(text, "     Tried again in {seconds} s, or at once: custodia queue --now");
        }
    }
    text
}

/// By which road an authority is called.
pub(crate) fn road(road: &Road) -> String {
    let mut text = match road.via.as_str() {
        "auto" => format!("{} is called by UDP, and by TCP when nothing comes back.\n", road.to),
        via => format!("{} is called by {} alone.\n", road.to, via.to_uppercase()),
    };
    if let Some(why) = &road.detour {
        let _ = writeln!(text, "     Last  {why}");
    }
    text
}

/// How fast content leaves.
pub(crate) fn pace(pace: &Pace) -> String {
    let rate = |rate: &str| if rate == "off" { "no limit".to_owned() } else { format!("{rate} bytes a second") };
    let now = pace.now.as_deref().map_or_else(|| "no node runs here".to_owned(), rate);
    let wished = pace.wished.as_deref().map_or_else(|| "nothing".to_owned(), rate);
    let configured = pace.configured.as_deref().unwrap_or("nothing");
    format!("Content leaves with {now}.\n     Asked for      {wished}\n     custodia.toml  {configured}\n")
}

/// How much content may leave in one day.
pub(crate) fn cap(cap: &Cap) -> String {
    let sent = HumanBytes(cap.sent);
    let left = format!("     {} (UTC)  {sent} left so far\n", cap.day);
    match &cap.cap {
        None => format!("Content leaves without a cap.\n{left}"),
        Some(text) if cap.used_up => format!("Today's {text} of content are used up; it goes on at 00:00 UTC.\n{left}"),
        Some(text) => format!("Content leaves up to {text} a day.\n{left}"),
    }
}

/// What others handed over.
pub(crate) fn inbox(inbox: &[Received]) -> String {
    if inbox.is_empty() {
        return "Nothing was received yet.\n".to_owned();
    }
    inbox
        .iter()
        .map(|one| {
            let bytes = match (&one.carried, one.bytes) {
                (Some(carried), _) if one.receipt.is_none() => {
                    format!("{} of {} proven here", HumanBytes(carried.proven), HumanBytes(carried.bytes))
                }
                (_, Some(bytes)) => HumanBytes(bytes).to_string(),
                (_, None) => "size not known yet".to_owned(),
            };
            format!(
                "{} {}  from {}  {}  {} records, {bytes}\n     For   {}\n     Under {}{}\n     Next  {}\n",
                if one.receipt.is_some() { "[OK]" } else { "[..]" },
                short(&one.package),
                one.from,
                one.state,
                one.records,
                escape_untrusted(&one.purpose),
                escape_untrusted(&one.limits),
                one.originator
                    .as_ref()
                    .map_or_else(String::new, |it| format!("; material of {}", escape_untrusted(it))),
                one.next
            )
        })
        .collect()
}

/// A package.
pub(crate) fn shown(shown: &Shown) -> String {
    let mut text = format!("Package {}\n", shown.package);
    for (name, value) in [("Case ", &shown.case), ("Title", &shown.title)] {
        if let Some(value) = value {
            let _ = writeln!(text, "     {name}  {}", escape_untrusted(value));
        }
    }
    match (shown.files, shown.bytes) {
        (Some(files), Some(bytes)) => {
            let _ = writeln!(text, "     Files  {files}, {}", HumanBytes(bytes));
        }
        _ => text.push_str("     Files  the manifest is not here yet\n"),
    }
    text + &statements(&shown.statements)
}

/// Lines of statements. The time of each is its issuer's word; what others' clocks say of it stands below, where it was asked
/// for.
pub(crate) fn statements(lines: &[StatementLine]) -> String {
    let end = |bound: &Option<Bounded>| match bound {
        Some(bound) => format!("{} by {}", bound.time, escape_untrusted(&bound.by)),
        None => "(nothing bounds it)".to_owned(),
    };
    let mut text = String::new();
    for line in lines {
        let sequence = line.sequence.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let _ = writeln!(
            text,
            "{:>6}  {:<12} {:>3}  claims {}  {}  {}",
            line.leaf_index,
            line.kind,
            sequence,
            line.issued_at,
            short(&line.digest),
            line.ledger
        );
        if let Some(action) = &line.action {
            let _ = writeln!(text, "{:8}says   {action}", "");
        }
        if let Some(CameToBe { after, before }) = &line.came_to_be {
            let _ = writeln!(text, "{:26}after  {}\n{:26}before {}", "", end(after), "", end(before));
        }
    }
    text
}

/// A statement that was just signed.
pub(crate) fn signed(line: &StatementLine) -> String {
    format!("[OK] Signed: {} {}, entry {} of the ledger.\n", line.kind, short(&line.digest), line.leaf_index)
}

/// A proof or an export that was written.
pub(crate) fn written(written: &Written) -> String {
    let mut text = format!(
        "[OK] Written: {}  {} files, {}\n     Checked      {}\n",
        written.path,
        written.files,
        HumanBytes(written.bytes),
        written.verdict
    );
    if let Some(sha256) = &written.sha256 {
        let _ = writeln!(text, "     SHA-256      {sha256}");
    }
    if !written.findings.is_empty() {
        let _ = writeln!(text, "     Findings     {}", written.findings.join(", "));
    }
    text
}

/// The node's health.
pub(crate) fn diagnosis(diagnosis: &Diagnosis) -> String {
    diagnosis
        .checks
        .iter()
        .map(|check| {
            format!("{} {:<10} {}\n", if check.ok { "[OK]" } else { "[!!]" }, check.name, escape_untrusted(&check.seen))
        })
        .collect()
}

/// So many of something, in words.
fn count_of(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// The beginning of a digest, enough to name it.
fn short(hex: &str) -> &str {
    hex.get(..16).unwrap_or(hex)
}

/// A fingerprint in groups of eight, to be read aloud.
fn grouped(hex: &str) -> String {
    let mut text = String::with_capacity(hex.len() + hex.len() / 8);
    for (place, c) in hex.chars().enumerate() {
        if place > 0 && place % 8 == 0 {
            text.push(' ');
        }
        text.push(c);
    }
    text
}
