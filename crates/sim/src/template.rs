//! The worlds that runs begin with: three to five authorities that trust each other, packages of different shapes, and
//! releases in several directions. They are made once for a process and copied for each run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use custodia_exchange::{AddCheckpoint, Cosigned};
use custodia_format::Hash;
use custodia_format::checkpoint::Checkpoint;
use custodia_format::note::Note;
use custodia_net::{Host, Peer};
use custodia_node::api::{Operation, Reporter};
use custodia_node::home::Home;
use custodia_node::init::{Founding, init};
use custodia_node::{Node, operations as op, watched};

use crate::disk::share;
use crate::random::Random;

/// The moment at which the world begins, in seconds since 1970: after the program was made, well inside all keys' windows.
pub const BEGINNING: i64 = 1_800_000_000;

/// The least that a world has.
const LEAST: usize = 3;
/// The authorities, in the order in which worlds take them.
const NAMES: [&str; 5] = ["lab.example", "court.example", "police.example", "archive.example", "tribunal.example"];

/// A word that stands in every case number, and one that stands in every file name: the ledger must hold neither.
pub const CASE_WORD: &str = "CASE-kestrel-7041";
/// See [`CASE_WORD`].
pub const NAME_WORD: &str = "exhumation-osprey";

/// One file of a package.
#[derive(Debug, Clone)]
pub struct Item {
    /// What it is known by.
    pub sha256: Hash,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A package, as it was sealed.
#[derive(Debug, Clone)]
pub struct Package {
    /// The root of its manifest.
    pub root: Hash,
    /// Where its manifest lies in a home, and what it says.
    pub manifest: (PathBuf, Vec<u8>),
    /// Its items.
    pub items: Vec<Item>,
}

/// A release that is to be handed over.
#[derive(Debug, Clone)]
pub struct Release {
    /// Its digest.
    pub digest: Hash,
    /// Who releases, by place in the world.
    pub from: usize,
    /// To whom.
    pub to: usize,
    /// Which package, by place in the world.
    pub package: usize,
}

/// The worlds.
#[derive(Debug)]
pub struct Template {
    folder: tempfile::TempDir,
    settings: Vec<Setting>,
}

/// A world of so many authorities, before anything was handed over.
#[derive(Debug)]
pub struct Setting {
    folder: PathBuf,
    /// All packages.
    pub packages: Vec<Package>,
    /// All releases.
    pub releases: Vec<Release>,
    /// How each authority is named on the wire.
    pub peers: Vec<Peer>,
}

/// An error while the world was made.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

/// A node at work while the world is made.
struct Party {
    node: Arc<Node>,
    host: Arc<dyn Host>,
}

impl Party {
    fn open(home: &Home) -> Result<Self, Failed> {
        let node = Arc::new(Node::open(home)?);
        watched::nobody_answered(&node);
        Ok(Self { host: watched::host(&node), node })
    }

    fn perform<O: Operation>(&self, operation: O) -> Result<O::Answer, Failed> {
        Ok(operation.perform(&self.node, &Reporter::silent())?)
    }

    fn trusts(&self, other: &Self) -> Result<(), Failed> {
        let card = other.perform(op::Card {})?.cards;
        let (fingerprint, officer, passphrase) = (None, None, None);
        self.perform(op::TrustAdd { card, fingerprint, channel: "call".to_owned(), officer, passphrase })?;
        Ok(())
    }

    /// What a session begins with, in one direction: cards, and the checkpoint cosigned.
    fn greets(&self, other: &Self) -> Result<(), Failed> {
        let (us, them) = (watched::as_peer(&self.node)?, watched::as_peer(&other.node)?);
        let hello = self.host.hello(&them)?;
        other.host.meet(&us, &hello)?;
        other.host.learn_cards(&us, &hello.card, &self.host.cards(&them, None)?)?;
        let checkpoint = self.host.checkpoint(&them)?;
        let held = Note::parse(&other.host.hello(&us)?.held_checkpoint).ok();
        let held = held.and_then(|note| Checkpoint::parse_text(&note.text).ok());
        let (old, new) = (held.map_or(0, |held| held.size), watched::ledger(&self.node).size());
        let proof = if old == 0 || old == new { Vec::new() } else { self.host.consistency(old, new)? };
        match other.host.witness(&us, &AddCheckpoint { old, proof, checkpoint: checkpoint.clone() }) {
            Cosigned::Lines(lines) => Ok(self.host.keep_cosignatures(&them, &checkpoint, &lines)?),
            refused => Err(format!("not cosigned: {refused:?}").into()),
        }
    }
}

impl Template {
    /// Makes the worlds, in memory where the system has such a place.
    ///
    /// # Errors
    /// What a node says, or the system.
    pub fn make() -> Result<Self, Failed> {
        custodia_format::remembered::remember();
        custodia_index::keep_in_memory();
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new().prefix("custodia-sim-").tempdir_in(place)?;
        let settings = (LEAST..=NAMES.len()).map(|count| Setting::make(&folder.path().join(count.to_string()), count));
        Ok(Self { settings: settings.collect::<Result<_, Failed>>()?, folder })
    }

    /// One of them: a world of few nodes more often than one of many, whose runs take longer.
    pub fn draw(&self, random: &mut Random) -> &Setting {
        let place = [0, 0, 0, 1, 1, 2].get(random.place(6)).copied().unwrap_or(0);
        self.settings.get(place).unwrap_or(&self.settings[0])
    }

    /// A folder for runs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Setting {
    fn make(folder: &Path, count: usize) -> Result<Self, Failed> {
        fs::create_dir(folder)?;
        let homes: Vec<Home> = (0..count).map(|n| Home::new(home_of(folder, n))).collect();
        for (n, (home, name)) in homes.iter().zip(NAMES).enumerate() {
            watched::set_edge(BEGINNING, n as u64);
            init(home, &founding(name))?;
        }
        watched::set_edge(BEGINNING + 60, 100);
        let parties = homes.iter().map(Party::open).collect::<Result<Vec<_>, Failed>>()?;
        for one in &parties {
            for other in parties.iter().filter(|other| !Arc::ptr_eq(&one.node, &other.node)) {
                one.trusts(other)?;
            }
        }
        for one in &parties {
            for other in parties.iter().filter(|other| !Arc::ptr_eq(&one.node, &other.node)) {
                one.greets(other)?;
            }
        }
        let mut made = Self {
            packages: Vec::new(),
            releases: Vec::new(),
            peers: parties.iter().map(|party| Ok(watched::as_peer(&party.node)?)).collect::<Result<_, Failed>>()?,
            folder: folder.to_owned(),
        };
        made.fill(&parties)?;
        Ok(made)
    }

    fn fill(&mut self, parties: &[Party]) -> Result<(), Failed> {
        let noise = |seed: u64, bytes: usize| -> Vec<u8> {
            let mut random = Random::new(seed);
            let mut all: Vec<u8> =
                std::iter::repeat_with(|| random.next().to_le_bytes()).take(bytes / 8 + 1).flatten().collect();
            all.truncate(bytes);
            all
        };
        let long = [noise(1, (2 << 20) + 70_000), vec![0; 1 << 20], noise(2, 300_001)].concat();
        let few: Vec<Vec<u8>> = vec![b"first".to_vec(), noise(3, 5000), Vec::new(), noise(4, 70_001)];
        let shared: Vec<Vec<u8>> = vec![noise(3, 5000), noise(5, 1 << 20), b"note".to_vec()];
        let empty: Vec<Vec<u8>> = vec![Vec::new()];
        let onward: Vec<Vec<u8>> = vec![noise(6, 40_000), noise(7, 4096)];
        for (n, (by, files)) in
            [(0, few), (1, vec![long]), (2, shared), (0, empty), (1, onward)].into_iter().enumerate()
        {
            self.seal(n, parties.get(by).ok_or("no such party")?, &files)?;
        }
        for (from, to, package) in [
            (0, 1, 0),
            (1, 2, 1),
            (2, 0, 2),
            (0, 2, 3),
            (1, 0, 4),
            (0, 3, 0),
            (2, 1, 2),
            (1, 3, 1),
            (1, 4, 4),
            (2, 4, 2),
        ] {
            if to < parties.len() {
                self.release(parties.get(from).ok_or("no such party")?, from, to, package)?;
            }
        }
        Ok(())
    }

    fn seal(&mut self, number: usize, party: &Party, files: &[Vec<u8>]) -> Result<(), Failed> {
        let source = self.folder.join(format!("source-{number}"));
        fs::create_dir(&source)?;
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        for (n, bytes) in files.iter().enumerate() {
            let path = source.join(format!("{NAME_WORD}-{n}.bin"));
            fs::write(&path, bytes)?;
            fs::File::options().write(true).open(&path)?.set_modified(long_ago)?;
        }
        let (paths, by) = (vec![source.clone()], op::Decider::default());
        let case = format!("{CASE_WORD}-{number}");
        let sealed = party.perform(op::Seal { paths, case, note: None, records: None, dry_run: false, by })?;
        let root = sealed.package.as_deref().and_then(Hash::from_hex).ok_or("nothing was sealed")?;
        fs::remove_dir_all(&source)?;
        let manifest = party.node.home().manifest(&root);
        let bytes = fs::read(&manifest)?;
        let within = manifest.strip_prefix(party.node.home().path())?.to_owned();
        let items = files.iter().map(|bytes| Item { sha256: Hash::of(bytes), bytes: bytes.clone() }).collect();
        self.packages.push(Package { root, manifest: (within, bytes), items });
        Ok(())
    }

    fn release(&mut self, party: &Party, from: usize, to: usize, package: usize) -> Result<(), Failed> {
        let root = self.packages.get(package).ok_or("no such package")?.root;
        let name = self.peers.get(to).ok_or("no such peer")?.name.to_string();
        let (purpose, legal_basis) = ("trial".to_owned(), "order".to_owned());
        let by = op::Decider::default();
        let send = op::Send {
            package: root.to_string(),
            to: name,
            purpose,
            legal_basis,
            wait: false,
            via: None,
            deadline: None,
            within: None,
            terms: op::Terms { consent: Some("given".to_owned()), ..op::Terms::default() },
            by,
        };
        let release = party.perform(send)?.transfer.release;
        let digest = Hash::from_hex(&release).ok_or("a release without digest")?;
        self.releases.push(Release { digest, from, to, package });
        Ok(())
    }

    /// Copies the home of an authority; what never changes in place shares its bytes.
    ///
    /// # Errors
    /// What the system says.
    pub fn copy(&self, node: usize, to: &Path) -> io::Result<()> {
        copy(&self.home(node), to, Path::new(""))
    }

    /// The home of an authority, which nobody changes any more.
    pub(crate) fn home(&self, node: usize) -> PathBuf {
        home_of(&self.folder, node)
    }
}

fn home_of(folder: &Path, node: usize) -> PathBuf {
    folder.join(format!("home-{node}"))
}

fn founding(name: &str) -> Founding {
    Founding {
        name: name.to_owned(),
        display: name.to_owned(),
        state: Some("XX".to_owned()),
        role: "lab".to_owned(),
        listen: std::net::SocketAddr::from(([127, 0, 0, 1], 1)),
        addresses: vec!["127.0.0.1:1".to_owned()],
        officer: None,
        passphrase: None,
    }
}

/// Copies a folder of a home and what is in it.
pub(crate) fn copy(home: &Path, to: &Path, within: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).recursive(true).create(to.join(within))?;
    for entry in fs::read_dir(home.join(within))? {
        let entry = entry?;
        let path = within.join(entry.file_name());
        if entry.file_type()?.is_dir() { copy(home, to, &path)? } else { share(home, to, &path)? }
    }
    Ok(())
}
