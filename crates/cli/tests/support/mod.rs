//! What the tests of the program share: authorities with homes of their own, the program run as a person runs it at no
//! terminal, and all that it leaves on the disk.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(unreachable_pub, reason = "included as a module")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../../../tests/noise.rs"]
mod noise;
pub use noise::noise;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use custodia_format::Hash;
use custodia_format::key::SigningKey;
use custodia_format::text::from_b64;
use custodia_ledger::{Document, Folder, Ledger};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before the test says that it hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// A file above so many bytes is compared by its length.
const COMPARED_BYTES: u64 = 16 << 20;

/// The program, with nothing of the person who runs the tests.
pub fn custodia() -> Command {
    quiet(env!("CARGO_BIN_EXE_custodia"))
}

/// The program started by another one, such as `unshare -n`.
pub fn custodia_under(starter: &[&str]) -> Command {
    let mut command = quiet(starter[0]);
    command.args(&starter[1..]).arg(env!("CARGO_BIN_EXE_custodia"));
    command
}

fn quiet(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_remove("CUSTODIA_HOME").env_remove("CUSTODIA_TRACE");
    command
}

/// Waits until something is there; fails with a word about it when it does not come.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a tool of the system that the test cannot do without.
pub fn tool(program: &str, arguments: &[&OsStr], why: &str) {
    let output = Command::new(program).args(arguments).output();
    let failed = match output {
        Ok(output) if output.status.success() => return,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    panic!("`{program}` did not do it ({}); this test {why}", failed.trim());
}

/// A process that a test started. It is killed and reaped when it is dropped.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    err: Option<JoinHandle<String>>,
}

/// How a process ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    pub exit: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let (out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (told, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if told.send(line + "\n").is_err() {
                    return;
                }
            }
        });
        let err = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = err.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Self { child, lines, err: Some(err) }
    }

    /// The next line on its stdout.
    pub fn line(&mut self) -> String {
        let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
            let _ = self.child.kill();
            panic!("it said nothing more: {}", self.err.take().unwrap().join().unwrap());
        };
        line
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        let status = until("the program ends", || self.child.try_wait().unwrap());
        let out = self.lines.iter().collect();
        Ended { exit: status.code(), out, err: self.err.take().unwrap().join().unwrap() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        assert!(!self.has_ended(), "it had ended before it was killed");
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells it to stop, and waits until it has, in good order.
    pub fn stop(self) {
        let pid = Pid::from_raw(self.pid().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let ended = self.end();
        assert_eq!(ended.exit, Some(0), "{ended:?}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end.
pub fn run(command: Command) -> Ended {
    Running::start(command).end()
}

impl Ended {
    /// The answer of a command that was asked for JSON and worked.
    pub fn answer(&self) -> Value {
        assert_eq!(self.exit, Some(0), "{self:?}");
        let document = self.document();
        assert_eq!(document["schema"], "custodia.answer/1");
        document["answer"].clone()
    }

    /// The failure of a command that was asked for JSON and did not.
    pub fn failure(&self, code: &str, exit: i32) -> Failure {
        assert_eq!(self.exit, Some(exit), "{self:?}");
        let document = self.document();
        assert_eq!(document["schema"], "custodia.failure/1");
        assert_eq!(document["exit"], exit);
        let failure = Failure(document["failure"].clone());
        assert_eq!(failure.0["code"], code, "{self:?}");
        assert!(!failure.text("what").is_empty() && !failure.text("safe").is_empty(), "{self:?}");
        assert!(!failure.next().is_empty(), "a failure says what to do next: {self:?}");
        failure
    }

    fn document(&self) -> Value {
        assert_eq!(self.out.matches('\n').count(), 1, "one document, one line: {self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// What a person is told of something that did not work.
#[derive(Debug, PartialEq)]
pub struct Failure(pub Value);

impl Failure {
    /// One of `what`, `place`, `expected`, `found`, `safe`; empty when it is not said.
    pub fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_default()
    }

    pub fn next(&self) -> Vec<&str> {
        self.0["next"].as_array().map(|next| next.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
    }

    /// A field says something.
    #[track_caller]
    pub fn says(&self, name: &str, words: &str) -> &Self {
        let said = if name == "next" { self.next().join("\n") } else { self.text(name).to_owned() };
        assert!(said.contains(words), "`{name}` does not say \"{words}\": {self:?}");
        self
    }

    /// The same failure told in words says all of it, each thing under its name.
    fn is_told_in(&self, ended: &Ended) {
        let mut wanted = vec![format!("[XX] {}  {}\n", self.text("code"), self.text("what"))];
        for (title, name) in [("Where", "place"), ("Expected", "expected"), ("Found", "found"), ("Safe", "safe")] {
            let value = self.text(name);
            if !value.is_empty() {
                wanted.push(format!("     {title}: {value}\n"));
            }
        }
        wanted.push(format!("     You can: {}\n", self.next()[0]));
        for words in wanted {
            assert!(ended.err.contains(&words), "the words lack {words:?}:\n{}", ended.err);
        }
        assert!(ended.out.is_empty(), "a failure goes to stderr: {ended:?}");
    }
}

/// A folder for one test.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// An authority whose keys lie under no passphrase.
    pub fn found(&self, name: &str) -> Authority {
        self.found_at(name, self.path(&format!("homes/{name}")), &address())
    }

    pub fn found_at(&self, name: &str, home: PathBuf, address: &str) -> Authority {
        let authority = Authority { name: name.to_owned(), home, address: address.to_owned() };
        authority.init(&["--no-passphrase"]).answer();
        authority
    }

    /// A laboratory and a prosecutor that have met.
    pub fn pair(&self) -> (Authority, Authority) {
        let (lab, prosecutor) = (self.found("lab.example"), self.found("prosecutor.example"));
        self.meet(&lab, &prosecutor);
        (lab, prosecutor)
    }

    /// Both trust the other's card from now on.
    pub fn meet(&self, one: &Authority, other: &Authority) {
        self.trust(one, other);
        self.trust(other, one);
    }

    /// One trusts the other's card, and is not trusted by it.
    pub fn trust(&self, who: &Authority, whom: &Authority) {
        let card = self.file(&format!("{}.card", whom.name), whom.says(&["card"]).as_bytes());
        who.asks(&[&"trust", &"add", &card]);
    }

    /// Writes a file, and the folders above it.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A folder with two files, one of them of so many bytes; `seed` makes it differ from others.
    pub fn source(&self, seed: u64, size: usize) -> PathBuf {
        self.file(&format!("source-{seed}/note.txt"), format!("grave {seed}\n").as_bytes());
        self.file(&format!("source-{seed}/photos/1.raw"), &noise(seed, size));
        self.path(&format!("source-{seed}"))
    }
}

/// An address of this machine that no other test has: each below 127/8 is, and the port is none that the system gives out.
pub fn address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (pid, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    format!("127.{}.{}.{}:4433", 1 + pid / 256 % 250, pid % 256, 1 + number % 250)
}

/// What can stand on a command line.
pub type Words<'a> = [&'a dyn AsRef<OsStr>];

/// An authority and its node's home.
pub struct Authority {
    pub name: String,
    pub home: PathBuf,
    pub address: String,
}

impl Authority {
    /// A command of this node.
    pub fn command(&self, words: &Words) -> Command {
        self.command_of(custodia(), words)
    }

    /// The same, where the program is started by another.
    pub fn command_of(&self, mut program: Command, words: &Words) -> Command {
        program.arg("--home").arg(&self.home).args(["--progress", "none"]).args(words);
        program
    }

    /// A private key of it that stands under no passphrase, as somebody who broke into its machine has it.
    pub fn key(&self, name: &str) -> SigningKey {
        let text = fs::read_to_string(self.home.join("keys").join(name)).unwrap();
        SigningKey::from_seed(&from_b64(text.lines().nth(2).unwrap()).unwrap().try_into().unwrap())
    }

    /// Logs documents past the node, which must not run.
    pub fn logs(&self, documents: Vec<Document>) {
        let public = fs::read_to_string(self.home.join("ledger/checkpoint")).unwrap();
        let folder = Folder::open(&self.home).unwrap();
        let ledger = Ledger::open(folder, public.lines().next().unwrap(), self.key("ledger")).unwrap();
        ledger.append(documents).unwrap();
    }

    /// `custodia init` of it.
    pub fn init(&self, options: &[&str]) -> Ended {
        let mut command = self.command(&[&"--json", &"init", &"--name", &self.name, &"--display", &"An authority"]);
        command.args(["--state", "XX", "--role", "lab", "--listen", &self.address]).args(options);
        run(command)
    }

    /// The answer to a command that works, as JSON.
    pub fn asks(&self, words: &Words) -> Value {
        let mut command = self.command(words);
        command.arg("--json");
        run(command).answer()
    }

    /// What a command that works prints for people.
    pub fn says(&self, words: &[&str]) -> String {
        let mut command = self.command(&[]);
        command.args(words);
        let ended = run(command);
        assert_eq!(ended.exit, Some(0), "{ended:?}");
        ended.out
    }

    /// The failure of a command, which is the same in words and as JSON, and leaves the home as it was.
    #[track_caller]
    pub fn fails(&self, code: &str, exit: i32, words: &Words) -> Failure {
        self.keeps(|| {
            let failure = self.fails_changing(code, exit, words);
            let told = run(self.command(words));
            assert_eq!(told.exit, Some(exit), "{told:?}");
            failure.is_told_in(&told);
            failure
        })
    }

    /// The failure of a command that may leave something behind, such as what it queued.
    #[track_caller]
    pub fn fails_changing(&self, code: &str, exit: i32, words: &Words) -> Failure {
        let mut command = self.command(words);
        command.arg("--json");
        run(command).failure(code, exit)
    }

    /// Does something that must leave the home as it was, to the byte.
    #[track_caller]
    pub fn keeps<T>(&self, act: impl FnOnce() -> T) -> T {
        let before = self.disk_at_rest();
        let done = act();
        let after = self.disk_at_rest();
        let changed: Vec<&PathBuf> =
            before.keys().chain(after.keys()).filter(|path| before.get(*path) != after.get(*path)).collect();
        assert!(changed.is_empty(), "{} was changed: {changed:?}", self.name);
        done
    }

    /// As [`Authority::disk`], once a node that runs has written out what it committed.
    fn disk_at_rest(&self) -> BTreeMap<PathBuf, (u64, Option<Hash>)> {
        let mut found = self.disk();
        loop {
            if !self.home.join("lock").exists() {
                return found;
            }
            thread::sleep(Duration::from_millis(50));
            let again = self.disk();
            if found == again {
                return found;
            }
            found = again;
        }
    }

    /// All that lies in the home, but for what is rebuilt or belongs to a process: `index/`, `lock`, `node.sock`; and what a running
    /// node counts: its attempts, and what left.
    pub fn disk(&self) -> BTreeMap<PathBuf, (u64, Option<Hash>)> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.home.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                let below = path.strip_prefix(&self.home).unwrap().to_owned();
                if ["index", "lock", "node.sock", "desk/tried.json", "desk/sent.json"]
                    .iter()
                    .any(|left_out| below == Path::new(left_out))
                {
                    continue;
                }
                // A running node renames its temporary files away: what is gone by now was not there.
                let Ok(metadata) = path.symlink_metadata() else { continue };
                if metadata.is_dir() {
                    folders.push(path);
                } else if metadata.len() > COMPARED_BYTES {
                    found.insert(below, (metadata.len(), None));
                } else if let Ok(bytes) = fs::read(&path) {
                    found.insert(below, (metadata.len(), Some(Hash::of(&bytes))));
                }
            }
        }
        found
    }

    /// Lets the program believe that the peers were asked what they saw: a copied home then signs as a liar's would.
    pub fn asks_nobody(&self) {
        let path = self.home.join("desk/asked");
        let inode = fs::File::create(&path).and_then(|file| file.metadata()).unwrap().ino();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let text = format!("custodia/asked/v1\nboot {}\ninode {inode}\nat 0\nanswered yes\n", boot.trim());
        fs::write(path, text).unwrap();
    }

    /// Seals a path; gives the package.
    pub fn seals(&self, path: &Path) -> String {
        let sealed = self.asks(&[&"seal", &path, &"--case", &"C-1"]);
        sealed["package"].as_str().unwrap().to_owned()
    }

    /// The words of a hand-over that is waited for.
    pub fn sends<'a>(package: &'a dyn AsRef<OsStr>, to: &'a Authority) -> [&'a dyn AsRef<OsStr>; 5] {
        [&"send", package, &"--to", &to.name, &"--wait"]
    }

    /// Runs its node; it listens when this returns.
    pub fn serves(&self) -> Running {
        self.serves_under(custodia())
    }

    /// The same, where the program is started by another.
    pub fn serves_under(&self, program: Command) -> Running {
        let mut running = Running::start(self.command_of(program, &[&"--json", &"serve"]));
        let told: Value = serde_json::from_str(&running.line()).unwrap();
        assert_eq!(told["type"], "listening", "{told}");
        assert_eq!(told["listening"]["address"], self.address.as_str());
        running
    }

    /// Where a manifest or an annex lies.
    pub fn manifest(&self, root: &str) -> PathBuf {
        self.home.join(format!("manifests/{}/{root}.jsonl", &root[..2]))
    }

    /// How many statements its ledger holds.
    pub fn ledger_size(&self) -> u64 {
        self.asks(&[&"ledger", &"checkpoint"])["size"].as_u64().unwrap()
    }

    /// The kinds of what was said of a package here, in the order of the ledger.
    pub fn said_of(&self, package: &str) -> Vec<String> {
        let shown = self.asks(&[&"show", &package]);
        let kinds = shown["statements"].as_array().unwrap().iter();
        kinds.map(|line| line["kind"].as_str().unwrap().to_owned()).collect()
    }

    /// The one thing in its inbox.
    pub fn received(&self) -> Value {
        let inbox = self.asks(&[&"inbox"]);
        assert_eq!(inbox.as_array().map(Vec::len), Some(1), "{inbox}");
        inbox[0].clone()
    }

    /// Its ledger closes from the entries up.
    pub fn is_sound(&self) {
        let checked = self.asks(&[&"ledger", &"fsck"]);
        assert_eq!(checked["errors"], serde_json::json!([]), "{checked}");
    }
}

/// A small disk of its own, which a test may fill and enlarge.
pub struct Disk(PathBuf);

/// Said where the right to mount is missing.
const MOUNTS: &str = "mounts a small tmpfs and needs root (CAP_SYS_ADMIN)";

impl Disk {
    pub fn new(path: PathBuf, size: &str) -> Self {
        fs::create_dir_all(&path).unwrap();
        let options = format!("size={size},mode=700");
        tool(
            "mount",
            &["-t".as_ref(), "tmpfs".as_ref(), "-o".as_ref(), options.as_ref(), "tmpfs".as_ref(), path.as_ref()],
            MOUNTS,
        );
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        tool("mount", &["-o".as_ref(), options.as_ref(), self.0.as_ref()], MOUNTS);
    }

    /// Leaves so many bytes free, or fewer where there are fewer.
    pub fn fill_but(&self, left: u64) {
        let filler = self.path("filler");
        let _ = fs::remove_file(&filler);
        let stat = rustix::fs::statvfs(&self.0).unwrap();
        let free = stat.f_bavail * stat.f_frsize;
        fs::write(filler, vec![0; usize::try_from(free.saturating_sub(left)).unwrap()]).unwrap();
    }

    pub fn empty(&self) {
        fs::remove_file(self.path("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
