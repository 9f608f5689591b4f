//! Outside readers of a ledger: what a node serves to them, to whom, and what it keeps.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/auditors.rs"]
mod auditors;
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use auditors::{asks, logs, served};
use support::{Place, Running, address, run};

#[test]
fn exactly_what_c2sp_names_is_served() {
    let place = Place::new();
    let lab = place.found("lab.example");
    logs(&lab, "", 300);
    let (node, at) = served(&lab, None);
    for (path, file, kind, cache) in [
        ("/checkpoint", "checkpoint", "text/plain; charset=utf-8", "no-store"),
        ("/tile/0/000", "tile/0/000", "application/octet-stream", "public, max-age=31536000, immutable"),
        ("/tile/entries/000", "tile/entries/000", "application/octet-stream", "public, max-age=31536000, immutable"),
        ("/tile/0/001.p/46", "tile/0/001.p/46", "application/octet-stream", "public, max-age=86400, immutable"),
        (
            "/tile/entries/001.p/46",
            "tile/entries/001.p/46",
            "application/octet-stream",
            "public, max-age=86400, immutable",
        ),
        ("/tile/1/000.p/1", "tile/1/000.p/1", "application/octet-stream", "public, max-age=86400, immutable"),
    ] {
        let bytes = fs::read(lab.home.join("ledger").join(file)).unwrap();
        let got = asks(&at, &format!("GET {path}"));
        assert_eq!((got.status, &got.body), (200, &bytes), "{path}");
        assert_eq!((got.header("content-type"), got.header("cache-control")), (kind, cache), "{path}");
        let head = asks(&at, &format!("HEAD {path}"));
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert_eq!(head.header("content-length"), bytes.len().to_string(), "{path}");
    }
    // A partial tile is the beginning of a wider one; what never was is not made up.
    let cut = asks(&at, "GET /tile/0/000.p/17");
    assert_eq!((cut.status, &cut.body[..]), (200, &fs::read(lab.home.join("ledger/tile/0/000")).unwrap()[..17 * 32]));
    let cut = asks(&at, "GET /tile/0/001.p/45");
    assert_eq!(
        (cut.status, &cut.body[..]),
        (200, &fs::read(lab.home.join("ledger/tile/0/001.p/46")).unwrap()[..45 * 32])
    );
    assert_eq!(asks(&at, "GET /tile/0/001.p/47").status, 404);
    node.stop();
}

#[test]
fn everything_else_is_not_there() {
    let place = Place::new();
    let lab = place.found("lab.example");
    lab.seals(&place.source(1, 1000));
    // What lies beside the tiles is no tile, even inside the folder.
    fs::write(lab.home.join("ledger/secret"), "secret").unwrap();
    fs::write(lab.home.join("ledger/tile/0/secret"), "secret").unwrap();
    let (node, at) = served(&lab, None);
    assert_eq!(asks(&at, "GET /checkpoint").status, 200);
    for path in [
        "/",
        "//",
        "/tile",
        "/tile/",
        "/tile/0",
        "/tile/0/",
        "/tile/entries/",
        "/secret",
        "/tile/0/secret",
        "/checkpoint/",
        "//checkpoint",
        "/./checkpoint",
        "/tile/../checkpoint",
        "/%63heckpoint",
        "/checkpoint%00",
        "/checkpoint?x",
        "/checkpoint?",
        "/CHECKPOINT",
        "/ledger/checkpoint",
        "/keys/ledger",
        "/state/head",
        "/custodia.toml",
        "/tile/../../keys/ledger",
        "/tile/%2e%2e/%2e%2e/keys/ledger",
        "/tile/..%2f..%2fkeys/ledger",
        "/tile/0/../../../keys/ledger",
        "/tile//0/000",
        "/tile/0//000",
        "/tile/0/000/",
        "/tile/0/0",
        "/tile/00/000",
        "/tile/0/x000/000",
        "/tile/64/000",
        "/tile/0/000.p/0",
        "/tile/0/000.p/256",
        "/tile/0/000.p/01",
        "/tile/0/000.p/",
        "/tile/0/000.p",
        "/tile/-1/000",
        "/tile/0/%30%30%30",
        "/v1/ledger/checkpoint",
    ] {
        let got = asks(&at, &format!("GET {path}"));
        assert_eq!((got.status, got.body.len()), (404, 0), "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "CONNECT"] {
        let got = asks(&at, &format!("{method} /checkpoint"));
        assert!((400..500).contains(&got.status) && got.body.is_empty(), "{method}: {}", got.status);
    }
    // A body is of no use to anybody here.
    let got = asks(&at, "POST /v1/ledger/checkpoint");
    assert_eq!(got.status, 404);
    node.stop();
}

#[test]
fn who_is_not_named_is_refused_and_without_the_section_nobody_listens() {
    let place = Place::new();
    let lab = place.found("lab.example");
    let (node, at) = served(&lab, Some(r#"["192.0.2.7", "198.51.100.0/24"]"#));
    for path in ["/checkpoint", "/tile/0/000.p/2", "/keys/ledger"] {
        let got = asks(&at, &format!("GET {path}"));
        assert_eq!((got.status, got.body.len()), (403, 0), "{path}");
    }
    let vkey = lab.asks(&[&"ledger", &"checkpoint"])["vkey"].as_str().unwrap().to_owned();
    let url = format!("http://{at}");
    let mut audit = support::custodia();
    audit.args(["--json", "ledger", "audit", &url, "--vkey", &vkey]);
    run(audit)
        .failure("E-PEER-REFUSED", 21)
        .says("next", "`allow` in custodia.toml")
        .says("safe", "Nothing was judged");
    node.stop();

    let other = place.found("other.example");
    let mut running = Running::start(other.command(&[&"--json", &"serve"]));
    assert!(!running.line().contains("auditors"));
    running.stop();

    for (section, line) in [
        ("[auditors]\nlisten = \"everywhere\"\n", "line"),
        ("[auditors]\nlisten = \"127.0.0.1:0\"\nallow = [\"198.51.100.7/24\"]\n", "line"),
        ("[auditors]\nallow = [\"127.0.0.1\"]\n", "line"),
    ] {
        let before = fs::read_to_string(other.home.join("custodia.toml")).unwrap();
        fs::write(other.home.join("custodia.toml"), format!("{before}\n{section}")).unwrap();
        other.fails("E-CONFIG", 1, &[&"serve"]).says("place", line).says("safe", "did not start");
        fs::write(other.home.join("custodia.toml"), before).unwrap();
    }
}

#[test]
fn a_port_that_somebody_has_is_told_before_the_node_listens() {
    let place = Place::new();
    let lab = place.found("lab.example");
    let taken = std::net::TcpListener::bind(address()).unwrap();
    let config = lab.home.join("custodia.toml");
    let section = format!("\n[auditors]\nlisten = \"{}\"\n", taken.local_addr().unwrap());
    fs::write(&config, fs::read_to_string(&config).unwrap() + &section).unwrap();
    lab.fails("E-IO", 1, &[&"serve"]).says("what", "port for auditors").says("next", "[auditors] of custodia.toml");
}

/// Kilobytes of memory that a process holds now, and the files that it has open.
fn held(pid: u32) -> (u64, usize) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib = resident.trim().trim_end_matches(" kB").parse().unwrap();
    (kib, fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count())
}

#[test]
fn slow_and_greedy_readers_are_bounded() {
    let place = Place::new();
    let lab = place.found("lab.example");
    logs(&lab, "", 300);
    let (node, at) = served(&lab, None);
    asks(&at, "GET /tile/entries/000");
    let (memory, files) = held(node.pid());
    // 300 readers: some say half a request, some ask for a hundred bundles and read nothing.
    let readers: Vec<TcpStream> = (0..300)
        .map(|number| {
            let mut stream = TcpStream::connect(&at).unwrap();
            let begun = if number % 2 == 0 {
                "GET /tile/entries/0".to_owned()
            } else {
                "GET /tile/entries/000 HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100)
            };
            // Those who found no place are closed already.
            let _ = stream.write_all(begun.as_bytes());
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_secs(1));
    let (memory_now, files_now) = held(node.pid());
    assert!(files_now <= files + 40, "{files} files were open, {files_now} are");
    assert!(memory_now <= memory + 16 * 1024, "{memory} KiB were held, {memory_now} are");
    // The node's own work goes on beside them.
    assert_eq!(lab.ledger_size(), 302);
    // Those who stay silent are let go, and then others get their turn.
    let began = Instant::now();
    let mut silent = readers.into_iter().next().unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let _ = silent.read_to_end(&mut Vec::new());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    support::until("a place is free again", || {
        let got = asks(&at, "GET /checkpoint");
        (got.status == 200).then_some(())
    });
    node.stop();
}
