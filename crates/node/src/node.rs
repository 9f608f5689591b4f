//! The node: what it holds open, and how it is opened.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use custodia_format::note::Vkey;
use custodia_format::text::LedgerName;
use custodia_format::trust::TrustFile;
use custodia_format::{Hash, limits};
use custodia_index::Index;
use custodia_ledger::{Folder, Ledger, Pace, Shelf, WitnessMemory};
use custodia_vault::{HomeLock, Vault};

use crate::allowance::Allowances;
use crate::config::Config;
use crate::failure::Failure;
use crate::generations::{self, Past};
use crate::heard::Heard;
use crate::home::{self, Home};
use crate::meters::Meters;
use crate::outbox::Online;
use crate::packages::Summaries;
use crate::peers::Peers;
use crate::scrub::Rest;
use crate::time_stamps::Stamping;
use crate::witness::{self, Notes};
use crate::{keys, receive, views};

/// An open node. One process at a time holds one.
#[derive(Debug)]
pub struct Node {
    home: Home,
    config: Config,
    ledger: Arc<Ledger>,
    /// The generations of the ledger before this one, as far as they were asked for.
    past: Past,
    vault: Vault,
    index: Index,
    peers: Peers,
    /// The cosigned checkpoints on file.
    notes: Notes,
    /// Its home, where several files are made to last at once. One writes at a time: two that wrote the same file would
    /// take each other's unfinished one.
    files: Mutex<Folder>,
    witnessed: WitnessMemory,
    /// Held while a checkpoint of another ledger is judged against all that is known of it.
    judging: Mutex<()>,
    heard: Heard,
    summaries: Summaries,
    /// Its place on the network, while it has one.
    online: Mutex<Option<Arc<Online>>>,
    /// Who reads back what lies at rest.
    rest: Rest,
    /// Whether the peers were asked what they saw of our ledger, by this process or before it.
    asked: Mutex<bool>,
    /// Who asks time-stamping services.
    stamping: Stamping,
    /// What peers have used up of what they may make it keep.
    allowances: Allowances,
    /// What this process has done.
    meters: Meters,
    /// Held over read-last, sign and append, so that one chain has one next number.
    desk: Mutex<()>,
    /// Kept until the node is dropped.
    _lock: HomeLock,
}

impl Node {
    /// Opens the node of a home: takes its lock, finishes what a crash interrupted, brings the views up to date.
    ///
    /// # Errors
    /// E-NO-HOME, E-PERM, E-CONFIG, E-LOCKED, E-KEYSTORE, or what the ledger says
    /// of itself.
    pub fn open(home: &Home) -> Result<Self, Failure> {
        let mut config = Config::read(home)?;
        let lock = HomeLock::take(home.path())?;
        if generations::finish(home)? {
            config = Config::read(home)?;
        }
        let key = keys::read(home, keys::LEDGER)?;
        let ledger = Arc::new(Ledger::open_paced(Folder::open(home.path())?, &config.ledger.to_string(), key, pace())?);
        let vault = Vault::open(home.path())?;
        let (notes, files) = (Notes::of(home), Folder::open(home.path())?);
        witness::confront(&notes, &ledger);
        let index = views::open(home, &ledger)?;
        let peers = Peers::open(home, &read_trust(home)?)?;
        let node = Self {
            home: home.clone(),
            config,
            ledger,
            past: Past::default(),
            vault,
            index,
            peers,
            notes,
            witnessed: WitnessMemory::new(files.clone()),
            files: Mutex::new(files),
            judging: Mutex::new(()),
            heard: Heard::default(),
            summaries: Summaries::default(),
            online: Mutex::default(),
            rest: Rest::default(),
            asked: Mutex::new(false),
            stamping: Stamping::default(),
            allowances: Allowances::default(),
            meters: Meters::default(),
            desk: Mutex::new(()),
            _lock: lock,
        };
        views::catch_up(&node)?;
        receive::sweep(&node)?;
        Ok(node)
    }

    /// Writes out what the ledger has committed, before a process ends. It is durable without that; others read it then. Blocks.
    pub(crate) fn settle(&self) {
        if let Err(error) = self.ledger.settle() {
            tracing::warn!(%error, "what is committed is not written out; the next start does it");
        }
    }

    /// Its folder.
    pub const fn home(&self) -> &Home {
        &self.home
    }

    /// Its home, to write several files at once.
    pub(crate) fn files(&self) -> MutexGuard<'_, Folder> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cosigned checkpoints on file.
    pub(crate) const fn notes(&self) -> &Notes {
        &self.notes
    }

    /// What its owner decided.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Its ledger.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// A generation of its ledger: the one that it writes, or one that ended and is read for ever.
    pub(crate) fn generation(&self, name: &LedgerName) -> Result<Arc<Ledger>, Failure> {
        if *name == self.config.ledger { Ok(self.ledger.clone()) } else { self.past.open(self, name) }
    }

    /// The items it holds.
    pub(crate) const fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Its views.
    pub(crate) const fn index(&self) -> &Index {
        &self.index
    }

    /// The authorities it knows.
    pub(crate) const fn peers(&self) -> &Peers {
        &self.peers
    }

    /// The right to read a chain's end, sign its next statement and append it.
    pub(crate) fn desk(&self) -> MutexGuard<'_, ()> {
        // Whoever panicked at the desk appended its statement or did not; the ledger knows.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the peers were asked; held while they are ([`crate::ask`]).
    pub(crate) fn asked(&self) -> MutexGuard<'_, bool> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it last cosigned of others.
    pub(crate) const fn witnessed(&self) -> &WitnessMemory {
        &self.witnessed
    }

    /// The right to judge a checkpoint of another ledger: what is compared does not change meanwhile.
    pub(crate) fn judging(&self) -> MutexGuard<'_, ()> {
        // Whoever panicked stored a whole file or none.
        self.judging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who told this process what it knows of ledgers.
    pub const fn heard(&self) -> &Heard {
        &self.heard
    }

    /// Who reads back what lies at rest.
    pub(crate) const fn rest(&self) -> &Rest {
        &self.rest
    }

    /// Who asks time-stamping services.
    pub(crate) const fn stamping(&self) -> &Stamping {
        &self.stamping
    }

    /// What peers have used up of what they may make it keep.
    pub(crate) const fn allowances(&self) -> &Allowances {
        &self.allowances
    }

    /// What this process has done.
    pub(crate) const fn meters(&self) -> &Meters {
        &self.meters
    }

    /// What packages say of themselves.
    pub(crate) const fn summaries(&self) -> &Summaries {
        &self.summaries
    }

    /// Its place on the network, if it has one now.
    pub(crate) fn online(&self) -> Option<Arc<Online>> {
        self.online.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes or gives up its place on the network.
    pub(crate) fn set_online(&self, online: Option<Arc<Online>>) {
        *self.online.lock().unwrap_or_else(PoisonError::into_inner) = online;
    }

    /// Threads for hashing.
    pub(crate) fn cores(&self) -> NonZeroUsize {
        self.config.cores.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
    }

    /// The name and key of its ledger.
    pub(crate) fn ledger_vkey(&self) -> &Vkey {
        self.ledger.vkey()
    }

    /// Whom it believes, as of now.
    pub(crate) fn trust(&self) -> Result<TrustFile, Failure> {
        read_trust(&self.home)
    }

    /// Refuses when the node may not sign.
    pub(crate) fn may_sign(&self) -> Result<(), Failure> {
        let health = self.ledger.health();
        if health.may_sign() { Ok(()) } else { Err(health.into()) }
    }

    /// An envelope that this node's ledger commits to.
    pub(crate) fn envelope(&self, digest: &Hash) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.ledger.document(Shelf::Statement, digest)?)
    }
}

/// When the ledger writes out what is committed. Where calls must come in one order it does not do so by itself.
fn pace() -> Pace {
    match custodia_disk::one_at_a_time() {
        true => Pace { idle: Duration::MAX, ..Pace::default() },
        false => Pace::default(),
    }
}

fn read_trust(home: &Home) -> Result<TrustFile, Failure> {
    match home::read_file(&home.trust(), limits::TRUST_BYTES as u64)? {
        None => Ok(TrustFile::default()),
        Some(bytes) => Ok(TrustFile::parse(&bytes)?),
    }
}
