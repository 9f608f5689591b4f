//! One scratch authority: its home, its node's process, and all that it has ever acknowledged.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use custodia_node::failure::{Code, Failure};
use custodia_node::operations::answers::{Carried, Checked, LedgerHead, OwnCard, Received, StatementLine, Transfer};
use serde::de::DeserializeOwned;

use super::process::{Process, Program, args};

/// Bytes that the path of a Unix socket may have.
const SOCKET_PATH_BYTES: usize = 107;

/// Who it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name {
    /// The name of its ledger and in trust files.
    pub(crate) label: &'static str,
    /// The name as people write it.
    pub(crate) display: &'static str,
    /// What it is.
    pub(crate) role: &'static str,
}

/// An authority.
#[derive(Debug)]
pub(crate) struct Authority {
    pub(crate) name: Name,
    home: PathBuf,
    listen: SocketAddr,
    program: Program,
    node: Option<Process>,
    acknowledged: Acknowledged,
}

/// What its answers have named: none of it may ever be missing again.
#[derive(Debug, Default)]
struct Acknowledged {
    /// Digests, and their places in the ledger where an answer named them.
    statements: BTreeMap<String, Option<u64>>,
    size: u64,
}

impl Authority {
    /// One that will live in a folder, at a free port of this machine.
    pub(crate) fn new(name: Name, folder: &Path, program: &Program) -> Result<Self, Failure> {
        let home = folder.join(name.label);
        let socket = home.join("node.sock").as_os_str().len();
        if socket > SOCKET_PATH_BYTES {
            return Err(Failure::new(Code::Usage, "The path of this folder is too long for a node's socket.")
                .at(folder.display())
                .instead_of(
                    format!("at most {} bytes", SOCKET_PATH_BYTES + folder.as_os_str().len() - socket),
                    format!("{} bytes", folder.as_os_str().len()),
                )
                .next("name a shorter folder with --keep DIR, or in TMPDIR"));
        }
        // Free now; that somebody takes it in the next moments is told by the node that cannot have it.
        let failed = |error: std::io::Error| Failure::io(&error, "a socket on loopback");
        let listen = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr()).map_err(failed)?;
        Ok(Self { name, home, listen, program: program.clone(), node: None, acknowledged: Acknowledged::default() })
    }

    /// The words of a command of its.
    fn args<A: AsRef<OsStr>>(&self, parts: impl IntoIterator<Item = A>) -> Vec<OsString> {
        let mut all = args(["--json", "--progress", "none", "--home"]);
        all.push(self.home.clone().into_os_string());
        all.extend(args(parts));
        all
    }

    /// Where its node listens.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Its folder.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Makes its node; its card says that it is reached at this address.
    pub(crate) fn init(&self, reached_at: SocketAddr) -> Result<(), Failure> {
        let (listen, address) = (self.listen.to_string(), reached_at.to_string());
        let Name { label, display, role } = self.name;
        self.ask::<serde_json::Value, _>([
            "init",
            "--no-passphrase",
            "--name",
            label,
            "--display",
            display,
            "--state",
            "XX",
            "--role",
            role,
            "--listen",
            &listen,
            "--address",
            &address,
        ])
        .map(drop)
    }

    /// Its card.
    pub(crate) fn card(&self) -> Result<OwnCard, Failure> {
        self.ask(["card"])
    }

    /// Begins to serve.
    pub(crate) fn start(&mut self) -> Result<(), Failure> {
        let mut node = self.program.start(&format!("{}-serve", self.name.label), &self.args(["serve"]))?;
        node.listening(&self.program)?;
        self.node = Some(node);
        Ok(())
    }

    /// Whether its node was started, and not killed since.
    pub(crate) fn is_up(&self) -> bool {
        self.node.is_some()
    }

    /// Loses its power: the node is killed where it stands.
    pub(crate) fn kill(&mut self) {
        // Dropping a process kills and reaps it.
        self.node = None;
    }

    /// Asks for something, and waits for the answer.
    pub(crate) fn ask<T: DeserializeOwned, A: AsRef<OsStr>>(
        &self,
        parts: impl IntoIterator<Item = A>,
    ) -> Result<T, Failure> {
        self.program.run(self.name.label, &self.args(parts))?.answer()
    }

    /// Asks for something without waiting.
    pub(crate) fn begin<A: AsRef<OsStr>>(&self, parts: impl IntoIterator<Item = A>) -> Result<Process, Failure> {
        self.program.start(self.name.label, &self.args(parts))
    }

    /// The statements in its ledger; each of them is acknowledged from now on.
    pub(crate) fn statements(&mut self) -> Result<Vec<StatementLine>, Failure> {
        let lines: Vec<StatementLine> = self.ask(["ledger", "list"])?;
        for line in &lines {
            self.acknowledged.statements.insert(line.digest.clone(), Some(line.leaf_index));
        }
        Ok(lines)
    }

    /// What came in of a package.
    pub(crate) fn received(&self, package: &str) -> Result<Option<Received>, Failure> {
        let inbox: Vec<Received> = self.ask(["inbox"])?;
        Ok(inbox.into_iter().find(|one| one.package == package))
    }

    /// How much of a package has come in, once its manifest is there.
    pub(crate) fn carried(&self, package: &str) -> Result<Option<Carried>, Failure> {
        Ok(self.received(package)?.and_then(|received| received.carried))
    }

    /// What it handed over of a package.
    pub(crate) fn handed_over(&self, package: &str, to: &str) -> Result<Option<Transfer>, Failure> {
        let queue: Vec<Transfer> = self.ask(["queue"])?;
        Ok(queue.into_iter().find(|one| one.package == package && one.to == to))
    }

    /// An answer named this statement.
    pub(crate) fn acknowledge(&mut self, digest: &str) {
        self.acknowledged.statements.entry(digest.to_owned()).or_insert(None);
    }

    /// How many statements its answers have named.
    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.statements.len()
    }

    /// Checks that nothing acknowledged is missing: every statement is in the ledger, at its place, and the ledger is not
    /// smaller than it was.
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        let head: LedgerHead = self.ask(["ledger", "checkpoint"])?;
        let before = std::mem::take(&mut self.acknowledged);
        let lost = |what: String| {
            Failure::new(Code::Internal, what)
                .at(self.name.label)
                .safe("Nothing of yours was touched.")
                .next("report this: what was acknowledged must never be missing")
        };
        if head.size < before.size {
            return Err(lost("The ledger is smaller than it was.".to_owned())
                .instead_of(format!("{} entries or more", before.size), format!("{} entries", head.size)));
        }
        let lines: Vec<StatementLine> = self.ask(["ledger", "list"])?;
        let mut statements: BTreeMap<String, Option<u64>> =
            lines.into_iter().map(|line| (line.digest, Some(line.leaf_index))).collect();
        for (digest, place) in before.statements {
            match statements.get(&digest) {
                Some(now) if place.is_none() || place == *now => {}
                now => {
                    return Err(lost("A statement that was acknowledged is missing.".to_owned())
                        .instead_of(format!("{digest} at {place:?}"), format!("{now:?}")));
                }
            }
            statements.entry(digest).or_insert(place);
        }
        self.acknowledged = Acknowledged { statements, size: head.size };
        Ok(())
    }

    /// Checks the whole ledger; gives how many entries it has.
    pub(crate) fn fsck(&self) -> Result<u64, Failure> {
        let checked: Checked = self.ask(["ledger", "fsck"])?;
        match checked.errors.first() {
            None => Ok(checked.entries),
            Some(error) => Err(Failure::new(Code::Internal, "The ledger is not sound.")
                .at(self.name.label)
                .instead_of("no error", error)
                .next("report this")),
        }
    }
}
