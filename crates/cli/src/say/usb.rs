//! The words about media.

use std::fmt::Write as _;

use custodia_format::text::escape_untrusted;
use custodia_node::operations::answers::{UsbRead, UsbReceived, UsbWritten};
use indicatif::HumanBytes;

/// What was written onto a medium.
pub(crate) fn usb_written(done: &UsbWritten) -> String {
    let mark = if done.bytes_left == 0 { "[OK]" } else { "[..]" };
    let mut text = format!(
        "{mark} Written to {} for {}.\n     Files          {}, {}; each was read back from the medium\n     Statements     {}\n",
        done.dir,
        escape_untrusted(&done.to),
        done.volumes,
        HumanBytes(done.bytes),
        done.statements,
    );
    text += match done.sealed {
        true => "     Passphrase     tell it to the recipient by another way than the medium's\n",
        false => "     Passphrase     none: whoever finds the medium can read it\n",
    };
    let next = match done.bytes_left {
        0 => "it is safe to remove; the recipient runs: custodia usb read DIR".to_owned(),
        left => {
            let (dir, to) = (&done.dir, escape_untrusted(&done.to));
            let _ = writeln!(text, "     Not on it      {}: the medium is full", HumanBytes(left));
            format!("it is safe to remove; put in another one and run: custodia usb write {dir} --for {to}")
        }
    };
    let _ = writeln!(text, "     Next: {next}");
    text
}

/// What was read from a medium.
pub(crate) fn usb_read(done: &UsbRead) -> String {
    let whole = done.packages.iter().all(|package| package.receipt.is_some());
    let mark = match (done.problems.is_empty(), whole) {
        (false, _) => "[XX]",
        (true, false) => "[..]",
        (true, true) => "[OK]",
    };
    let from = if done.senders.is_empty() { "nobody to this node".to_owned() } else { done.senders.join(", ") };
    let mut text = format!(
        "{mark} Read what lies there from {}.\n     Files          {}, {} of content\n     Statements     {} new\n",
        escape_untrusted(&from),
        done.volumes,
        HumanBytes(done.bytes),
        done.statements,
    );
    for UsbReceived { package, from, receipt, is_new } in &done.packages {
        let short = package.get(..16).unwrap_or(package);
        let how = match (receipt, is_new) {
            (Some(_), true) => "received, and receipted",
            (Some(_), false) => "was received before",
            (None, _) => "not whole yet: the rest is on another medium, or comes by the link",
        };
        let _ = writeln!(text, "     Package        {short} from {}: {how}", escape_untrusted(from));
    }
    if done.for_others > 0 {
        let _ = writeln!(text, "     For others     {} files, left as they are", done.for_others);
    }
    for problem in &done.problems {
        let (place, what) = (escape_untrusted(&problem.place), escape_untrusted(&problem.what));
        let _ = writeln!(text, "     Not taken      {place}: {what}");
    }
    let next = match &done.not_written_back {
        None if done.senders.is_empty() => "nothing on it is for this node".to_owned(),
        None if done.statements_back == 0 => "nothing is owed to the sender; the medium can be emptied".to_owned(),
        None => format!(
            "{} statements were written back; take the medium to the sender, who runs: custodia usb read DIR",
            done.statements_back
        ),
        Some(why) => format!(
            "nothing could be written back ({}); the answers go by the link, or onto another medium: custodia usb write DIR --for NAME",
            escape_untrusted(why)
        ),
    };
    let _ = writeln!(text, "     Next: {next}");
    text
}
