//! Readers who take what they can: the gate itself, in this process, with addresses of this machine.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use custodia_ledger::{NewFile, Storage};
use tokio::net::TcpSocket;

use super::*;

/// What no test waits longer for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gate over a home with one full bundle, two of its tiles and no keys.
async fn gate(allow: &str) -> (tempfile::TempDir, SocketAddr) {
    let home = tempfile::tempdir().unwrap();
    let entry = custodia_format::entry::Entry::of(b"x").text();
    let mut bundle = Vec::new();
    for _ in 0..256 {
        custodia_format::tile::push_entry(&mut bundle, entry.as_bytes()).unwrap();
    }
    let files = [
        NewFile { path: "ledger/checkpoint", bytes: b"note\n" },
        NewFile { path: "ledger/tile/entries/000", bytes: &bundle },
        NewFile { path: "ledger/tile/0/000", bytes: &[7; 8192] },
        NewFile { path: "ledger/tile/0/001.p/2", bytes: &[8; 64] },
        NewFile { path: "ledger/tile/1/000", bytes: &[9; 9000] },
    ];
    Folder::open(home.path()).unwrap().put(&files).unwrap();
    let auditors = Auditors { listen: "127.0.0.1:0".parse().unwrap(), allow: vec![Network::parse(allow).unwrap()] };
    let gate = Gate::open(&auditors, &Home::new(home.path())).unwrap();
    let address = gate.address().unwrap();
    tokio::spawn(gate.serve());
    (home, address)
}

/// A connection from this address of this machine.
async fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((IpAddr::from(from), 0).into()).unwrap();
    let stream = socket.connect(to).await.unwrap().into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends bytes, and reads until the other side closes; a reset is a close.
async fn say(mut stream: TcpStream, bytes: Vec<u8>) -> Vec<u8> {
    let read = tokio::task::spawn_blocking(move || {
        let mut answer = Vec::new();
        let _ = stream.write_all(&bytes);
        let _ = stream.read_to_end(&mut answer);
        answer
    });
    read.await.unwrap()
}

async fn ask(from: [u8; 4], to: SocketAddr, line: &str) -> (String, Vec<u8>) {
    let request = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let answer = say(connect(from, to).await, request.into_bytes()).await;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    let (head, body) = answer.split_at(end);
    (String::from_utf8(head.to_vec()).unwrap(), body.to_vec())
}

const ONE: [u8; 4] = [127, 0, 0, 1];
const OTHER: [u8; 4] = [127, 0, 0, 2];

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_tile_is_cut_from_a_wider_one_and_damage_is_not_served() {
    let (_home, to) = gate("127.0.0.0/8").await;
    for (path, length) in [
        ("/tile/0/000", 8192),
        ("/tile/0/000.p/255", 32 * 255),
        ("/tile/0/001.p/2", 64),
        ("/tile/0/001.p/1", 32),
        ("/tile/entries/000", 256 * 228),
        ("/tile/entries/000.p/3", 3 * 228),
    ] {
        let (head, body) = ask(ONE, to, &format!("GET {path}")).await;
        assert!(head.starts_with("HTTP/1.1 200 ") && body.len() == length, "{path}: {head}");
        let (head, body) = ask(ONE, to, &format!("HEAD {path}")).await;
        assert!(head.contains(&format!("content-length: {length}\r\n")) && body.is_empty(), "{path}: {head}");
    }
    for path in ["/tile/0/001", "/tile/0/001.p/3", "/tile/0/002", "/tile/entries/001.p/2"] {
        assert!(ask(ONE, to, &format!("GET {path}")).await.0.starts_with("HTTP/1.1 404 "), "{path}");
    }
    // Longer than a tile can be: the reader gets a code and not a word.
    let (head, body) = ask(ONE, to, "GET /tile/1/000").await;
    assert!(head.starts_with("HTTP/1.1 500 ") && body.is_empty(), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_allowed_is_told_so_and_takes_no_place() {
    let (_home, to) = gate("127.0.0.1").await;
    assert!(ask(ONE, to, "GET /checkpoint").await.0.starts_with("HTTP/1.1 200 "));
    for path in ["/checkpoint", "/tile/0/000", "/", "/keys/ledger"] {
        let (head, body) = ask(OTHER, to, &format!("GET {path}")).await;
        assert!(head.starts_with("HTTP/1.1 403 ") && body.is_empty(), "{path}: {head}");
    }
    let mut held = Vec::new();
    for _ in 0..2 * CONNECTIONS {
        held.push(connect(OTHER, to).await);
    }
    assert!(ask(ONE, to, "GET /checkpoint").await.0.starts_with("HTTP/1.1 200 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_holds_on_is_bounded_and_keeps_nobody_out() {
    let (_home, to) = gate("127.0.0.0/8").await;
    // Half a request on each; two of them ask, and do not read.
    let mut held = Vec::new();
    for number in 0..CONNECTIONS_OF_ONE {
        let mut stream = connect(ONE, to).await;
        let begun: &[u8] =
            if number < 2 { b"GET /tile/entries/000 HTTP/1.1\r\nhost: x\r\n\r\n" } else { b"GET /tile/0/0" };
        stream.write_all(begun).unwrap();
        held.push(stream);
    }
    let began = Instant::now();
    let refused = say(connect(ONE, to).await, b"GET /checkpoint HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()).await;
    assert!(refused.is_empty(), "{}", String::from_utf8_lossy(&refused));
    assert!(ask(OTHER, to, "GET /checkpoint").await.0.starts_with("HTTP/1.1 200 "));
    // Those who say nothing more are let go in time, and their places with them.
    for stream in held.drain(2..) {
        say(stream, Vec::new()).await;
    }
    assert!(began.elapsed() < HEADER + Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(ask(ONE, to, "GET /checkpoint").await.0.starts_with("HTTP/1.1 200 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_limits() {
    let (_home, to) = gate("127.0.0.0/8").await;
    let long = "a".repeat(HEADER_BYTES);
    for bad in [
        format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"),
        format!("GET /checkpoint HTTP/1.1\r\nhost: x\r\nx: {long}\r\n\r\n"),
        format!("GET /checkpoint HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(HEADERS + 1)),
        "GET checkpoint\r\n\r\n".to_owned(),
        "\u{0}\r\n\r\n".to_owned(),
    ] {
        let answer = say(connect(ONE, to).await, bad.into_bytes()).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert!(ask(ONE, to, "GET /checkpoint").await.0.starts_with("HTTP/1.1 200 "));
}

#[test]
fn the_page_of_operators_says_these_numbers() {
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operate/running.md"));
    let said = format!(
        "{CONNECTIONS} connections at once, {CONNECTIONS_OF_ONE} of one address, a request of {} KiB within {} s, a minute and a half",
        HEADER_BYTES / 1024,
        HEADER.as_secs()
    );
    assert!(page.contains(&said), "{said}");
    assert_eq!((CONNECTION + LAST_ANSWER).as_secs(), 90);
}
