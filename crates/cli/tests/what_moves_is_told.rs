//! Progress as programs read it: phases in order, verified bytes that grow, the receipt last; each line by the published schema.
//! And the metrics, which count what really went over the link.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../src/demo/relay.rs"]
mod relay;
#[path = "support/schema.rs"]
mod schema;
mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use relay::Relay;
use schema::Schema;
use serde_json::Value;
use support::{Authority, Place, Running, address, run, until};

/// The events of a run, each held against the schema. Nothing else may stand on its stdout.
fn events(out: &str) -> Vec<Value> {
    let schema = Schema::of_events();
    let events: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for event in &events {
        assert_eq!(schema.faults(event), Vec::<String>::new(), "{event}");
    }
    events
}

/// What a command tells that ends with this exit code.
fn told(of: &Authority, exit: i32, words: &support::Words) -> Vec<Value> {
    let mut command = of.command(words);
    command.arg("--jsonl");
    let ended = run(command);
    assert_eq!((ended.exit, ended.err.as_str()), (Some(exit), ""), "{ended:?}");
    let events = events(&ended.out);
    let is_last = |event: &Value| ["answer", "failure"].contains(&event["type"].as_str().unwrap());
    assert_eq!(events.iter().position(is_last), Some(events.len() - 1), "the answer is the last line, and only that");
    events
}

#[test]
fn a_hand_over_over_a_slow_link_is_told_by_phase_until_the_receipt_is_here() {
    const BYTES: usize = 5 << 20;
    let place = Place::new();
    let lab = place.found("lab.example");
    // The card leads to the link; the node itself listens elsewhere.
    let (name, home) = ("prosecutor.example".to_owned(), place.path("homes/prosecutor.example"));
    let prosecutor = Authority { name, home, address: address() };
    let link = Relay::open(prosecutor.address.parse().unwrap()).unwrap();
    prosecutor.init(&["--no-passphrase", "--address", &link.address().to_string()]).answer();
    place.meet(&lab, &prosecutor);
    let sealing = told(&lab, 0, &[&"seal", &place.source(1, BYTES), &"--case", &"C-1"]);
    let phases: Vec<&str> = sealing.iter().filter_map(|event| event["phase"].as_str()).collect();
    assert_eq!((phases.first(), phases.last()), (Some(&"hash"), Some(&"store")), "{phases:?}");
    let package = sealing.last().unwrap()["answer"]["package"].as_str().unwrap().to_owned();

    let serving = prosecutor.serves();
    link.limit(Some(1 << 20));
    let sending = told(&lab, 0, &Authority::sends(&package, &prosecutor));
    let whole = BYTES as u64 + sealing.last().unwrap()["answer"]["bytes"].as_u64().unwrap() - BYTES as u64;
    let progress: Vec<&Value> = sending.iter().filter(|event| event["type"] == "progress").collect();
    for event in &progress {
        assert_eq!(
            (&event["package"], &event["peer"]),
            (&Value::from(package.as_str()), &Value::from(prosecutor.name.as_str()))
        );
        assert!(event["proven"].as_u64() <= event["bytes"].as_u64(), "{event}");
    }
    let order = ["announce", "send", "prove", "receipt"];
    let places: Vec<usize> =
        progress.iter().map(|event| order.iter().position(|phase| event["phase"] == *phase).unwrap()).collect();
    assert!(places.is_sorted() && [0, 1, 3].iter().all(|phase| places.contains(phase)), "{places:?}");
    let proven: Vec<u64> = progress.iter().map(|event| event["proven"].as_u64().unwrap()).collect();
    assert!(proven.is_sorted(), "{proven:?}");
    let between: std::collections::BTreeSet<&u64> = proven.iter().filter(|done| (1..whole).contains(*done)).collect();
    assert!(between.len() >= 2, "it grows while content travels: {proven:?}");
    assert!(
        progress.iter().any(|event| event["rate"].as_u64().is_some_and(|rate| (100 << 10..2 << 20).contains(&rate)))
    );
    assert!(progress.iter().any(|event| event["link"]["via"] == "udp" && event["link"]["round_trip_ms"].is_u64()));
    for event in progress.iter().filter(|event| event["left"].is_object()) {
        let at_most = event["left"]["at_most_seconds"].as_u64();
        assert!(at_most.is_none_or(|most| event["left"]["at_least_seconds"].as_u64().unwrap() <= most), "{event}");
    }
    // Nothing says that it was received before its receipt is here, and then nothing follows but the answer.
    let [ended, answer] = &sending[sending.len() - 2..] else { panic!("{sending:?}") };
    assert_eq!(
        (&ended["type"], &ended["outcome"], &ended["proven"]),
        (&"ended".into(), &"received".into(), &whole.into())
    );
    assert_eq!((&answer["type"], &ended["statement"]), (&"answer".into(), &answer["answer"]["transfer"]["receipt"]));
    assert!(sending.iter().rev().skip(2).all(|event| event["type"] != "ended"));
    serving.stop();
    // The last line says what `--json` says.
    let again = lab.asks(&[&"queue", &"why", &package]);
    assert_eq!(told(&lab, 0, &[&"queue", &"why", &package])[0]["answer"], again);
    let failed = told(&lab, 2, &[&"show", &"0123456789abcdef"]);
    assert_eq!((failed.len(), &failed[0]["failure"]["code"]), (1, &"E-UNKNOWN-PACKAGE".into()));
}

#[test]
fn media_and_proofs_are_told_by_the_same_schema() {
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    let package = lab.seals(&place.source(1, 2 << 20));
    lab.asks(&[&"send", &package, &"--to", &prosecutor.name]);
    let stick = place.path("stick");
    fs::create_dir(&stick).unwrap();
    let written = told(&lab, 0, &[&"usb", &"write", &stick, &"--for", &prosecutor.name, &"--plain"]);
    assert!(written.iter().any(|event| event["phase"] == "write" && event["bytes"].as_u64() >= Some(2 << 20)));
    let read = told(&prosecutor, 0, &[&"usb", &"read", &stick]);
    assert!(read.iter().any(|event| event["phase"] == "read"));
    assert_eq!(read.last().unwrap()["answer"]["packages"][0]["package"], package.as_str());
    let (proof, trust) = (place.path("proof.json"), place.file("trust", lab.says(&["trust", "export"]).as_bytes()));
    lab.asks(&[&"prove", &package, &"--out", &proof]);
    // Nobody has cosigned yet: that is an answer, with the exit code of CANNOT TELL.
    let verified = told(&lab, 11, &[&"verify", &proof, &"--trust", &trust]);
    assert!(verified[0]["answer"]["report"].is_object(), "{verified:?}");
}

/// What a collector gets that asks at the node's socket.
fn scrape(of: &Authority) -> String {
    let mut stream = UnixStream::connect(of.home.join("node.sock")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(body.ends_with("# EOF\n"), "{body}");
    body.to_owned()
}

/// The value of one metric, with its labels.
fn value(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' ')));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
}

#[test]
fn a_scrape_counts_the_bytes_of_a_hand_over_and_its_one_receipt() {
    const LARGE: u64 = (3 << 20) + 17;
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    let mut serve = lab.command(&[&"serve", &"--jsonl"]);
    serve.env("CUSTODIA_TRACE", "error");
    let mut ours = Running::start(serve);
    let mut lines = vec![ours.line()];
    let theirs = prosecutor.serves();
    // Whoever looks on sees it too; it takes some seconds, so that he has begun by then.
    lab.asks(&[&"queue", &"limit", &"1M"]);
    let mut watching = Running::start(lab.command(&[&"queue", &"watch", &"--jsonl"]));
    let package = lab.seals(&place.source(1, LARGE as usize));
    lab.asks(&Authority::sends(&package, &prosecutor));
    // Beside the large file there is a note of eight bytes.
    let content = LARGE + 8;
    let sender = until("the end of the hand-over is counted", || {
        let text = scrape(&lab);
        text.contains(r#"custodia_transfers_ended_total{direction="out",outcome="received",code=""} 1"#).then_some(text)
    });
    // Three whole MiB have a midstate each.
    assert_eq!(value(&sender, "custodia_content_sent_bytes_total"), (content + 3 * 32) as f64);
    assert_eq!(value(&sender, "custodia_content_sent_again_bytes_total"), 0.0);
    assert_eq!(value(&sender, "custodia_content_proven_by_peers_bytes_total"), content as f64);
    assert_eq!(value(&sender, "custodia_receipts_stored_total"), 1.0);
    assert_eq!(value(&sender, "custodia_receipts_issued_total"), 0.0);
    assert_eq!(value(&sender, "custodia_queue_packages"), 0.0);
    assert_eq!(value(&sender, "custodia_ledger_entries"), lab.ledger_size() as f64);
    assert!(value(&sender, "custodia_commit_seconds_count") >= 3.0);
    assert!(value(&sender, "custodia_disk_free_bytes") > value(&sender, "custodia_disk_reserve_bytes"));
    let receiver = scrape(&prosecutor);
    assert_eq!(value(&receiver, "custodia_content_received_bytes_total"), content as f64);
    assert_eq!(value(&receiver, "custodia_content_received_again_bytes_total"), 0.0);
    assert_eq!(value(&receiver, "custodia_receipts_issued_total"), 1.0);
    assert_eq!(value(&receiver, "custodia_callers_refused_total{reason=\"unknown-peer\"}"), 0.0);
    // The command says the same, and neither says what is nobody's business.
    let said = lab.says(&["metrics"]);
    assert_eq!(value(&said, "custodia_content_sent_bytes_total"), (content + 3 * 32) as f64);
    for secret in [&package[..8], "C-2026", "note.txt", "1.raw"] {
        assert!(!said.contains(secret) && !receiver.contains(secret), "{secret} stands in the metrics");
    }
    documented(&said);

    // The node itself has told of the same hand-over.
    lines.extend(until_the_end(&mut ours));
    let told = events(&lines.concat());
    assert_eq!(told[0]["type"], "listening");
    let seen = events(&until_the_end(&mut watching).concat());
    for (op, told) in [("serve", &told), ("queue/watch", &seen)] {
        let ended = told.last().unwrap();
        assert_eq!(
            (&ended["op"], &ended["direction"], &ended["outcome"], &ended["package"]),
            (&op.into(), &"out".into(), &"received".into(), &package.as_str().into())
        );
        let moved = told.iter().filter(|event| event["phase"] == "send" && event["proven"].as_u64() > Some(0));
        assert!(moved.count() > 0, "{told:?}");
    }
    ours.stop();
    theirs.stop();
}

/// What a process tells until a hand-over has ended.
fn until_the_end(of: &mut Running) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = of.line();
        let is_end = serde_json::from_str::<Value>(&line).unwrap()["type"] == "ended";
        lines.push(line);
        if is_end {
            return lines;
        }
    }
}

/// Every metric stands in the page for operators, and the page has none that the node does not know.
fn documented(text: &str) {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| fs::read_to_string(tree.join(path)).unwrap();
    let page = read("docs/operate/metrics.md");
    let names = page.lines().filter_map(|line| line.strip_prefix("| `custodia_")?.split('`').next());
    let written: Vec<&str> = names.collect();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE custodia_")?.split(' ').next());
    let told: Vec<&str> = types.collect();
    assert!(told.len() > 20, "{told:?}");
    for name in &told {
        assert!(written.contains(name), "docs/operate/metrics.md lacks custodia_{name}");
    }
    // Where there is no link now, what is told of links is not there either.
    let sources = read("crates/node/src/meters.rs") + &read("crates/node/src/operations/metrics.rs");
    for name in written {
        let mut bare = ["_bytes", "_seconds", "_ratios"].iter().filter_map(|unit| name.strip_suffix(unit));
        let is_known = |name: &str| sources.contains(&format!("\"{name}\""));
        assert!(is_known(name) || bare.any(is_known), "no source has custodia_{name}");
    }
}

#[test]
fn every_example_of_the_page_of_events_fits_the_schema_and_no_type_lacks_one() {
    let schema = Schema::of_events();
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec/events.md")).unwrap();
    let examples: Vec<Value> = page
        .lines()
        .filter(|line| line.starts_with("{\"schema\""))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for example in &examples {
        assert_eq!(schema.faults(example), Vec::<String>::new(), "{example}");
    }
    for name in schema.types() {
        assert!(examples.iter().any(|example| example["type"] == name.as_str()), "there is no example of `{name}`");
        assert!(page.contains(&format!("| `{name}` |")), "the table lacks `{name}`");
    }
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec/events.schema.json")).unwrap();
    for phase in custodia_node::api::Phase::ALL {
        assert!(text.contains(&format!("\"{}\"", phase.as_str())), "the schema lacks the phase {}", phase.as_str());
        assert!(page.contains(&format!("`{}`", phase.as_str())), "the page lacks the phase {}", phase.as_str());
    }
}
