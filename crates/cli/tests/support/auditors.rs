//! What the tests of auditors share: ledgers with many entries, nodes that serve them, and a reader of HTTP by hand.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(unreachable_pub, reason = "included as a module")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use custodia_ledger::{Document, Shelf};

use crate::support::{Authority, Running};

/// Logs so many files that are no envelopes, past the node.
pub fn logs(authority: &Authority, tag: &str, count: usize) {
    let note = |number| format!("note {tag} {number}\n").into_bytes();
    authority.logs((0..count).map(|number| Document { shelf: Shelf::Anchor, bytes: note(number) }).collect());
}

/// Runs a node that answers auditors, those of `allow` or of this machine; gives its address for them.
pub fn served(authority: &Authority, allow: Option<&str>) -> (Running, String) {
    let config = authority.home.join("custodia.toml");
    let text = fs::read_to_string(&config).unwrap();
    if !text.contains("\n[auditors]\n") {
        let host = authority.address.split(':').next().unwrap();
        let allow = allow.map_or_else(String::new, |allow| format!("allow = {allow}\n"));
        fs::write(&config, format!("{text}\n[auditors]\nlisten = \"{host}:0\"\n{allow}")).unwrap();
    }
    let mut running = Running::start(authority.command(&[&"--json", &"serve"]));
    let told: serde_json::Value = serde_json::from_str(&running.line()).unwrap();
    let address = told["listening"]["auditors"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned();
    (running, address)
}

/// What came back.
pub struct Got {
    pub status: u16,
    pub body: Vec<u8>,
    headers: String,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        let line = self.headers.lines().find_map(|line| line.split_once(": ").filter(|(key, _)| *key == name));
        line.map_or("", |(_, value)| value)
    }
}

/// Sends a request as it stands, which no well-meaning client would; status 0 when nothing comes back.
pub fn asks(address: &str, line: &str) -> Got {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let _ = stream.write_all(format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    let headers = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = headers.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Got { status, body: answer[end..].to_vec(), headers }
}
