//! A time-stamping authority of this machine: its certificates and tokens are openssl's, and a thread answers HTTP for it, as it
//! should or in one of the ways in which services fail.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(unreachable_pub, reason = "included as a module")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::Authority;

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Good,
    OtherImprint,
    OtherNonce,
    NotGranted,
    OtherCertificate,
    CertificateBySha1,
    HtmlPage,
    HtmlUnderAnotherName,
    TenMegabytes,
    Redirect,
    Unavailable,
    CutShort,
    Silent,
}

pub struct Tsa {
    folder: PathBuf,
    address: String,
    manner: Arc<Mutex<Manner>>,
    asked: Arc<Mutex<u32>>,
}

impl Tsa {
    /// Makes its keys and certificates, and listens.
    pub fn open(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let at = |name: &str| folder.join(name);
        for (name, usage) in
            [("tsa", "critical,timeStamping"), ("other", "critical,timeStamping"), ("web", "serverAuth")]
        {
            fs::write(at(&format!("{name}.ext")), format!("extendedKeyUsage={usage}\n")).unwrap();
        }
        openssl(&folder, "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=Test-CA -days 30");
        for name in ["tsa", "other", "web"] {
            openssl(
                &folder,
                &format!("req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /O=Test/CN=Test-{name}"),
            );
            let sign = format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile {name}.ext -out {name}.pem"
            );
            openssl(&folder, &sign);
        }
        for (file, signer, digests, ess) in [
            ("good.cnf", "tsa", "sha256", "sha256"),
            ("none.cnf", "tsa", "sha512", "sha256"),
            ("other.cnf", "other", "sha256", "sha256"),
            ("sha1.cnf", "tsa", "sha256", "sha1"),
        ] {
            let text = format!(
                "[tsa]\ndefault_tsa = t\n[t]\nserial = serial\nsigner_cert = {signer}.pem\ncerts = ca.pem\nsigner_key = {signer}.key\n\
                 signer_digest = sha256\ndefault_policy = 1.2.3.4.1\nother_policies = 1.2.3.4.2\ndigests = {digests}\n\
                 accuracy = secs:1\nordering = no\ntsa_name = yes\ness_cert_id_chain = no\ness_cert_id_alg = {ess}\n"
            );
            fs::write(at(file), text).unwrap();
        }
        fs::write(at("serial"), "01\n").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let tsa = Self { folder, address, manner: Arc::new(Mutex::new(Manner::Good)), asked: Arc::default() };
        let (folder, manner, asked) = (tsa.folder.clone(), tsa.manner.clone(), tsa.asked.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (folder, manner) = (folder.clone(), *manner.lock().unwrap());
                *asked.lock().unwrap() += 1;
                // One question at a time: `openssl ts` counts in a file.
                if manner == Manner::Silent {
                    thread::spawn(move || answer(&folder, manner, stream));
                } else {
                    answer(&folder, manner, stream);
                }
            }
        });
        tsa
    }

    pub fn url(&self) -> String {
        format!("http://{}/tsr", self.address)
    }

    /// From now on it answers like this.
    pub fn answers(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// How often it was asked.
    pub fn was_asked(&self) -> u32 {
        *self.asked.lock().unwrap()
    }

    pub fn certificate(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.pem"))
    }

    /// The fingerprint as openssl prints it: `sha256 Fingerprint=AB:CD…`.
    pub fn fingerprint(&self, name: &str) -> String {
        let printed = openssl(&self.folder, &format!("x509 -in {name}.pem -noout -fingerprint -sha256"));
        String::from_utf8(printed).unwrap().trim().to_owned()
    }

    /// The same as bare hex.
    pub fn sha256(&self, name: &str) -> String {
        self.fingerprint(name).split_once('=').unwrap().1.replace(':', "").to_lowercase()
    }

    /// The node asks it so often, and believes it.
    pub fn serves(&self, authority: &Authority, hours: &str) {
        authority.asks(&[&"trust", &"tsa", &self.certificate("tsa"), &"--fingerprint", &self.fingerprint("tsa")]);
        self.is_named_by(authority, hours);
    }

    /// The node asks it so often.
    pub fn is_named_by(&self, authority: &Authority, hours: &str) {
        let config = authority.home.join("custodia.toml");
        let text = fs::read_to_string(&config).unwrap();
        let text = text.split("\n[time-stamps]\n").next().unwrap();
        let section = format!("[time-stamps]\nhours = {hours}\nservices = [{{ url = \"{}\" }}]\n", self.url());
        fs::write(&config, format!("{text}\n{section}")).unwrap();
    }

    /// openssl's own word on a token over a text.
    pub fn openssl_accepts(&self, token: &[u8], text: &str) -> bool {
        fs::write(self.folder.join("token"), token).unwrap();
        fs::write(self.folder.join("text"), text).unwrap();
        let arguments = "ts -verify -token_in -in token -data text -CAfile ca.pem -untrusted tsa.pem";
        command(&self.folder, arguments).output().unwrap().status.success()
    }
}

fn command(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new("openssl");
    command.current_dir(folder).args(arguments.split(' ')).stdin(Stdio::null());
    command
}

/// Runs openssl to its end, and gives what it prints.
fn openssl(folder: &Path, arguments: &str) -> Vec<u8> {
    let output = command(folder, arguments).output().expect("these tests need the command openssl");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Reads a question and answers it.
fn answer(folder: &Path, manner: Manner, mut stream: TcpStream) {
    let mut query = question(&mut stream);
    let imprint = query.windows(2).position(|two| two == [4, 32]).map(|at| at + 2);
    let nonce = query.len().checked_sub(4);
    match (manner, imprint, nonce) {
        (Manner::OtherImprint, Some(at), _) | (Manner::OtherNonce, _, Some(at)) => query[at] ^= 1,
        _ => {}
    }
    fs::write(folder.join("query"), &query).unwrap();
    let config = match manner {
        Manner::NotGranted => "none.cnf",
        Manner::OtherCertificate => "other.cnf",
        Manner::CertificateBySha1 => "sha1.cnf",
        _ => "good.cnf",
    };
    let reply = openssl(folder, &format!("ts -reply -config {config} -queryfile query"));
    let html = b"<!DOCTYPE html><title>Please sign in</title>".to_vec();
    let reply_type = "application/timestamp-reply";
    let (status, kind, more, body) = match manner {
        Manner::HtmlPage => ("200 OK", "text/html; charset=utf-8", "", html),
        Manner::HtmlUnderAnotherName => ("200 OK", reply_type, "", html),
        Manner::TenMegabytes => ("200 OK", reply_type, "", [reply, vec![0; 10 << 20]].concat()),
        Manner::Redirect => ("302 Found", reply_type, "location: /elsewhere\r\n", reply),
        Manner::Unavailable => ("503 Service Unavailable", reply_type, "", Vec::new()),
        _ => ("200 OK", reply_type, "", reply),
    };
    if manner == Manner::Silent {
        // Longer than anybody waits.
        thread::sleep(Duration::from_secs(30));
        return;
    }
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{more}content-length: {}\r\n\r\n", body.len());
    let end = if manner == Manner::CutShort { body.len() / 2 } else { body.len() };
    // Whoever asked may have heard enough.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[..end]));
}

/// The body of a request.
fn question(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse::<usize>().unwrap();
            assert!(head.contains("content-type: application/timestamp-query"), "{head}");
            if bytes.len() >= end + 4 + length {
                return bytes[end + 4..].to_vec();
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return bytes,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}
