//! The receipt: what is durable before it leaves, and what is left of a transfer when a process is killed in its middle.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::path::Path;

use custodia_format::Hash;
use serde_json::Value;
use support::{Authority, Place, Running, custodia_under, noise, tool, until};

/// One system call of a trace.
#[derive(Debug)]
enum Call {
    /// Made durable: a file, a folder, or with `syncfs` all of a file system.
    Synced(String),
    Renamed {
        to: String,
    },
    /// Handed to the network, so many bytes.
    Sent(u64),
}

/// What strace is told to show: `-yy` names the file or the protocol behind each descriptor.
const STRACE: [&str; 9] = [
    "strace",
    "-D",
    "-f",
    "-q",
    "-yy",
    "-s0",
    "-e",
    "trace=fsync,fdatasync,syncfs,rename,renameat,renameat2,sendmsg,sendto,sendmmsg",
    "-o",
];

/// Reads a trace. A call that another thread interrupted counts where it ended: only then it was done.
fn read_trace(text: &str, home: &Path) -> Vec<Call> {
    let mut begun: Vec<(&str, &str)> = Vec::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let Some((pid, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if let Some(start) = call.strip_suffix(" <unfinished ...>") {
            begun.push((pid, start));
            continue;
        }
        let whole = if call.starts_with("<... ") {
            let place = begun.iter().position(|(of, _)| *of == pid).expect("what is resumed was begun");
            format!("{}{}", begun.remove(place).1, call.split_once("resumed>").unwrap().1)
        } else {
            call.to_owned()
        };
        calls.extend(parse_call(&whole, home));
    }
    calls
}

fn parse_call(call: &str, home: &Path) -> Option<Call> {
    let (name, rest) = call.split_once('(')?;
    let result = rest.rsplit_once(" = ")?.1;
    let below = |path: &str| path.strip_prefix(home.to_str()?).map(|path| path.trim_start_matches('/').to_owned());
    match name {
        "fsync" | "fdatasync" if result == "0" => {
            Some(Call::Synced(below(rest.split_once('<')?.1.split_once('>')?.0)?))
        }
        "syncfs" if result == "0" => Some(Call::Synced("everything".to_owned())),
        // The paths are the quoted arguments; the last one is where it went.
        "rename" | "renameat" | "renameat2" if result == "0" => {
            Some(Call::Renamed { to: below(rest.rsplit('"').nth(1)?)? })
        }
        "sendmsg" | "sendto" | "sendmmsg" => {
            // The sums of the datagrams' lengths: what sendmsg returns, or what each message of sendmmsg had.
            let sent = if name == "sendmmsg" {
                rest.split("msg_len=")
                    .skip(1)
                    .filter_map(|part| part.split(['}', ',']).next()?.parse::<u64>().ok())
                    .sum()
            } else {
                result.split(' ').next()?.parse().unwrap_or(0)
            };
            call.contains("UDP").then_some(Call::Sent(sent))
        }
        _ => None,
    }
}

/// The receipt leaves in datagrams that are encrypted, so that none of them can be pointed at. But it is longer than all that
/// a receiver sends while it makes things durable: acknowledgements, of some dozen bytes each. So, in the order of the system
/// calls: between the moment at which the first item gets its name, which is before there is a receipt, and the one at which
/// the receipt's commit is done (the last sync of the journal before the receipt goes to its shelf), fewer bytes leave on the
/// UDP socket than the receipt's envelope has. Whatever carried it left after that. And all that the receipt speaks of was
/// synced before that commit.
#[test]
fn all_that_a_receipt_speaks_of_is_durable_before_it_leaves() {
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    let package = lab.seals(&place.source(1, 8 << 20));
    let trace = place.path("trace");
    tool("strace", &["-V".as_ref()], "follows system calls and needs strace");
    let trace_arg = trace.display().to_string();
    let starter: Vec<&str> = STRACE.iter().copied().chain([trace_arg.as_str(), "--"]).collect();
    let serving = prosecutor.serves_under(custodia_under(&starter));
    lab.asks(&Authority::sends(&package, &prosecutor));
    let received = prosecutor.received();
    // strace pads numbers with spaces.
    let pid = serving.pid().to_string();
    let is_its_end = |line: &str| line.strip_prefix(&pid).is_some_and(|rest| rest.trim() == "+++ exited with 0 +++");
    serving.stop();
    let text = until("the trace is written to its end", || {
        fs::read_to_string(&trace).ok().filter(|text| text.lines().any(is_its_end))
    });
    let home = prosecutor.home.canonicalize().unwrap();
    let calls = read_trace(&text, &home);

    let receipt = received["receipt"].as_str().unwrap();
    let envelope = format!("statements/{}/{receipt}.json", &receipt[..2]);
    let envelope_bytes = fs::metadata(home.join(&envelope)).unwrap().len();
    let renamed = |path: &str, from: usize| {
        let found = calls.iter().skip(from).position(|call| matches!(call, Call::Renamed { to } if to == path));
        from + found.unwrap_or_else(|| panic!("{path} was not renamed into its place"))
    };
    let shelved = renamed(&envelope, 0);
    // A commit after the receipt's would be taken for it, which fails this test and lets nothing pass.
    let is_commit = |call: &Call| matches!(call, Call::Synced(path) if path == "state/journal");
    let committed = calls[..shelved].iter().rposition(is_commit).expect("it is committed before it is written out");
    let published = renamed("ledger/checkpoint", shelved);
    let synced_between = |what: &dyn Fn(&str) -> bool, from: usize, to: usize| {
        calls[from..to].iter().any(|call| matches!(call, Call::Synced(path) if path == "everything" || what(path)))
    };

    // The items and the folders that name them: before the receipt is committed.
    let mut first_named = committed;
    for bytes in [noise(1, 8 << 20), b"grave 1\n".to_vec()] {
        let sha256 = Hash::of(&bytes).to_string();
        let folder = format!("objects/{}", &sha256[..2]);
        let named = renamed(&format!("{folder}/{sha256}"), 0);
        first_named = first_named.min(named);
        assert!(named < committed, "the item {sha256} is named before the receipt is committed");
        assert!(synced_between(&|path| path.contains(&sha256), 0, named), "its bytes are synced before it is named");
        assert!(synced_between(&|path| path == folder, named, committed), "its folder is synced after");
    }
    // What is recorded as proven never travels again, so it is synced before. What came in at once is recorded by its names.
    let is_record =
        |call: &Call| matches!(call, Call::Renamed { to } if to.starts_with("incoming/") && to.ends_with("/have"));
    let recorded = calls[..first_named].iter().rposition(is_record).unwrap_or(first_named);
    let arrived = Hash::of(&noise(1, 8 << 20)).to_string();
    let is_arrived = |path: &str| path.starts_with("incoming/") && path.contains(&arrived);
    assert!(synced_between(&is_arrived, 0, recorded), "its bytes are synced before they are recorded as proven");
    // What others read: the statement and the tile, their bytes before their names; then the checkpoint.
    assert!(synced_between(&|path| path.contains(receipt), committed, shelved), "the receipt's bytes are synced");
    let is_tile = |call: &Call| matches!(call, Call::Renamed { to } if to.starts_with("ledger/tile/entries/"));
    let tile = committed
        + calls[committed..published]
            .iter()
            .position(is_tile)
            .expect("the entry's tile is in its place before the checkpoint");
    let is_of_tile = |path: &str| path.starts_with("ledger/tile/entries/");
    assert!(synced_between(&is_of_tile, committed, tile) && synced_between(&is_of_tile, tile, published));
    assert!(synced_between(&|path| path.starts_with("ledger/") && path.contains("checkpoint"), tile, published));

    let sent =
        |calls: &[Call]| calls.iter().map(|call| if let Call::Sent(bytes) = call { *bytes } else { 0 }).sum::<u64>();
    let (meanwhile, after) = (sent(&calls[first_named..committed]), sent(&calls[committed..]));
    assert!(
        meanwhile < envelope_bytes,
        "{meanwhile} bytes left while the receipt of {envelope_bytes} was made durable"
    );
    assert!(after > envelope_bytes, "{after} bytes left after; the receipt has {envelope_bytes}");
}

/// How much of what it was sent an authority has taken, as its running node says.
fn carried(of: &Authority) -> Value {
    of.received()["carried"].clone()
}

/// What is recorded of the one transfer that is under way.
fn recorded(at: &Authority) -> Option<Vec<u8>> {
    let transfer = fs::read_dir(at.home.join("incoming")).ok()?.flatten().next()?;
    fs::read(transfer.path().join("have")).ok()
}

#[test]
fn what_is_proven_is_not_sent_again_when_both_ends_are_killed() {
    const BYTES: u64 = 200 << 20;
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    let package = {
        let source = place.file("source/video.raw", &noise(1, usize::try_from(BYTES).unwrap()));
        lab.seals(source.parent().unwrap())
    };
    let send = || {
        Running::start({
            let mut command = lab.command(&Authority::sends(&package, &prosecutor));
            command.arg("--json");
            command
        })
    };

    // The receiver is killed in the middle, and comes back.
    let (theirs, sending) = (prosecutor.serves(), send());
    until("something is recorded", || recorded(&prosecutor));
    theirs.kill();
    let theirs = prosecutor.serves();
    let kept = carried(&prosecutor);
    assert!((1..BYTES).contains(&kept["proven"].as_u64().unwrap()), "{kept}");
    assert_eq!(prosecutor.received()["receipt"], Value::Null);

    // Then the sender, while it sends the rest.
    let before = recorded(&prosecutor);
    until("more is recorded", || recorded(&prosecutor).filter(|now| before.as_ref() != Some(now)));
    sending.kill();
    assert!(!lab.said_of(&package).contains(&"receipt".to_owned()));

    // The same command ends it.
    let delivered = send().end().answer();
    assert_eq!(delivered["transfer"]["state"], "received");
    let told = carried(&prosecutor);
    let travelled = told["travelled"].as_u64().unwrap();
    println!("{BYTES} bytes; at the first kill {kept}; {travelled} travelled in all: {told}");
    assert_eq!((told["again"].as_u64(), told["proven"].as_u64()), (Some(0), Some(BYTES)), "{told}");
    // What had been written when its process was killed is proven anew. A chunk that was written and not yet counted then is
    // missing in the figure, one for each thread that proves.
    assert!((BYTES - (16 << 20)..=BYTES).contains(&travelled), "{told}");
    assert_eq!(lab.said_of(&package), ["seal", "release", "consignment", "receipt"]);
    assert_eq!(prosecutor.said_of(&package), ["release", "consignment", "receipt"]);
    theirs.stop();
    for authority in [&lab, &prosecutor] {
        authority.is_sound();
    }
    let left: Vec<_> = fs::read_dir(prosecutor.home.join("incoming")).unwrap().flatten().collect();
    assert!(left.is_empty(), "nothing is left of the transfer: {left:?}");
}

#[test]
fn a_receipt_that_the_sender_never_saw_is_the_same_receipt_when_it_asks_again() {
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    let package = lab.seals(&place.source(1, 1 << 20));
    let theirs = prosecutor.serves();
    let copy = place.path("copy");
    lab.asks(&[&"send", &package, &"--to", &prosecutor.name]);
    tool("cp", &["-a".as_ref(), lab.home.as_os_str(), copy.as_os_str()], "copies a home");
    let receipt = lab.asks(&Authority::sends(&package, &prosecutor))["transfer"]["receipt"].clone();
    assert_eq!(prosecutor.received()["receipt"], receipt);
    let size = prosecutor.ledger_size();
    // Asked again, both say the same and sign nothing more.
    let again = lab.keeps(|| lab.asks(&Authority::sends(&package, &prosecutor)));
    assert_eq!((&again["transfer"]["receipt"], again["bytes_sent"].as_u64()), (&receipt, Some(0)));
    assert_eq!(prosecutor.ledger_size(), size);
    theirs.stop();
}
