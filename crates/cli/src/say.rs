//! The words on screen: results, and failures with what happened, what is safe and what to do.

use std::fmt::Write as _;
use std::io::Write as _;

use custodia_format::text::escape_untrusted;
use custodia_node::Listening;
use custodia_node::failure::{Code, Failure};
use custodia_node::init::Made;
use custodia_node::operations::answers::{
    Audited, BackedUp, Bounded, CameToBe, Checked, CheckedContent, Damaged, Delivery, Diagnosis, HeldState, LedgerHead,
    Officer, OwnCard, Received, Restored, Sealed, Shown, Stamp, StampedBy, Standing, StatementLine, Succeeded,
    Transfer, TransferState, Trusted, TrustedTsa, Written,
};
use indicatif::HumanBytes;

use crate::ask::Asked;
use crate::print;

/// Tells a failure: on stderr in words, on stdout as one JSON document.
pub(crate) fn failure(failure: &Failure, json: bool) {
    let mut failure = failure.clone();
    if failure.next.is_empty() {
        // Nobody is left without a next step.
        failure.next.push(format!("custodia explain {}", failure.code.as_str()));
    }
    if json {
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

/// The fingerprint of a card, on stderr: stdout has the card alone.
pub(crate) fn fingerprint(card: &OwnCard) {
    let _ = writeln!(std::io::stderr(), "Fingerprint of {}: {}", card.name, grouped(&card.fingerprint));
}

/// A node that listens.
pub(crate) fn listening(listening: &Listening, json: bool) {
    let text = if json {
        format!(
            "{}\n",
            serde_json::json!({ "schema": "custodia.event/1", "type": "listening", "listening": listening })
        )
    } else {
        let auditors = match listening.auditors {
            Some(address) => format!("     Auditors read its ledger on http://{address}\n"),
            None => String::new(),
        };
        format!("[OK] {} listens on {} (UDP). Stop with Ctrl-C.\n{auditors}", listening.ledger, listening.address)
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
    let are = if sealed.files == 1 { "is" } else { "are" };
    match (&sealed.package, &sealed.seal, sealed.leaf_index) {
        (Some(package), Some(seal), Some(leaf_index)) => format!(
            "[OK] Sealed. {counted} {are} safe. You can close the lid.\n     Package      {package}\n     \
             Seal         {seal}\n     Ledger       entry {leaf_index}\n{remarks}     Next: custodia send {} --to NAME\n",
            short(package)
        ),
        _ => format!("[OK] Would seal {counted}. Nothing was done.\n{remarks}"),
    }
}

/// An attempt to deliver.
pub(crate) fn delivery(delivery: &Delivery) -> String {
    let transfer = &delivery.transfer;
    match (&transfer.state, &transfer.receipt) {
        (TransferState::Received, Some(receipt)) => format!(
            "[OK] Received whole. {} signed the receipt, and it is in this ledger.\n     Receipt      {receipt}\n     \
             Sent         {}\n",
            transfer.to,
            HumanBytes(delivery.bytes_sent),
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
    if let Some(failure) = &transfer.last_failure {
        let _ = writeln!(text, "     Last  {failure}");
    }
    text
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
                "{} {}  from {}  {}  {} records, {bytes}\n     For   {}\n     Next  {}\n",
                if one.receipt.is_some() { "[OK]" } else { "[..]" },
                short(&one.package),
                one.from,
                one.state,
                one.records,
                escape_untrusted(&one.purpose),
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
