//! The generations of this node's ledger: the ones that ended lie in `past/`, one that is being made in `next/`.
//!
//! A ledger that is behind what others saw of it is never signed again. The next generation is made beside it, whole and
//! durable; `next/ready` is the commit point, and from there on every opening of the node moves it into place, as often
//! as that takes (docs/spec/home.md, "Generations").

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use custodia_format::body::Body;
use custodia_format::note::Vkey;
use custodia_format::text::LedgerName;
use custodia_format::{Hash, limits};
use custodia_ledger::{Folder, Ledger};

use crate::Node;
use crate::config::Config;
use crate::failure::{Code, Failure};
use crate::home::{self, Home};
use crate::keys;
use crate::operations::own_card;

/// The ledgers that ended, opened when somebody asks for one.
#[derive(Debug, Default)]
pub(crate) struct Past(Mutex<BTreeMap<u32, Arc<Ledger>>>);

impl Past {
    /// Opens a generation that our newest card names.
    pub(crate) fn open(&self, node: &Node, name: &LedgerName) -> Result<Arc<Ledger>, Failure> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ledger) = open.get(&name.generation) {
            return Ok(ledger.clone());
        }
        let (_, statement) = own_card(node)?;
        let vkey = match &statement.body {
            Body::Card(card) => card.ledger(name).map(|ledger| ledger.vkey.clone()),
            _ => None,
        };
        let folder = node.home().past(name.generation);
        let vkey =
            vkey.ok_or_else(|| Failure::new(Code::UnknownStatement, "This ledger is not one of this node.").at(name))?;
        let ledger = Arc::new(Ledger::open_ended(Folder::open(folder)?, vkey)?);
        open.insert(name.generation, ledger.clone());
        Ok(ledger)
    }
}

/// The key of one of our ledgers.
pub(crate) fn vkey(node: &Node, ledger: &LedgerName) -> Result<Vkey, Failure> {
    if *ledger == node.config().ledger {
        return Ok(node.ledger_vkey().clone());
    }
    let (_, statement) = own_card(node)?;
    let vkey = match &statement.body {
        Body::Card(card) => card.ledger(ledger).map(|ledger| ledger.vkey.clone()),
        _ => None,
    };
    vkey.ok_or_else(|| Failure::new(Code::UnknownStatement, "This ledger is not one of this node.").at(ledger))
}

/// Where the proof of a statement lies that a peer gave back after this home had lost it.
pub(crate) fn given_back(home: &Home, generation: u32, digest: &Hash) -> PathBuf {
    home.past(generation).join("proofs").join(digest.to_string())
}

/// The generation after this one.
pub(crate) fn after(ledger: &LedgerName) -> LedgerName {
    LedgerName { generation: ledger.generation + 1, ..ledger.clone() }
}

/// Begins an empty `next/`. What an attempt left that never became ready was seen by nobody.
pub(crate) fn begin(home: &Home) -> Result<PathBuf, Failure> {
    let next = home.next();
    remove(&next)?;
    home::make_folder(&next)?;
    Ok(next)
}

/// The generation in `next/` is whole and durable, and this is the card that names it. **The mark is the commit point of a
/// succession.** Until then the card lies where nobody takes it for one.
pub(crate) fn commit(home: &Home, ledger: &LedgerName, card: &str) -> Result<(), Failure> {
    home::write_durably(&home.next().join(CARD), card.as_bytes())?;
    home::write_durably(&ready(home), format!("{READY}{ledger}\n").as_bytes())
}

/// What stands in `next/ready` before the name of the ledger.
const READY: &str = "custodia/next/v1 ";
/// Bytes of it.
const READY_BYTES: u64 = 512;
/// The card in `next/`.
const CARD: &str = "card.json";

fn ready(home: &Home) -> PathBuf {
    home.next().join("ready")
}

/// Moves a generation that is ready into place; says whether there was one. Each step is done once, whatever was done of
/// it before. The caller holds the home's lock and has nothing of it open.
pub(crate) fn finish(home: &Home) -> Result<bool, Failure> {
    let Some(bytes) = home::read_file(&ready(home), READY_BYTES)? else { return Ok(false) };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let name = text.strip_prefix(READY).and_then(|rest| LedgerName::parse(rest.strip_suffix('\n')?).ok());
    let name = name.filter(|name| name.generation > 1).ok_or_else(|| {
        Failure::new(Code::Malformed, "The mark of a new generation does not parse.")
            .at(ready(home).display())
            .instead_of(format!("{READY}AUTHORITY/NODE/GENERATION"), &text)
            .safe("Nothing was moved, and nothing was signed.")
    })?;
    let (next, past) = (home.next(), home.past(name.generation - 1));
    home::make_folder(&past)?;
    for folder in ["ledger", "state"] {
        let place = home.path().join(folder);
        // As long as the new one is still in next/, what stands in its place is the old one.
        if next.join(folder).is_dir() {
            if place.is_dir() {
                rename(&place, &past.join(folder))?;
            }
            rename(&next.join(folder), &place)?;
        }
    }
    if let Some(card) = home::read_file(&next.join(CARD), limits::ENVELOPE_BYTES as u64)? {
        home::write_durably(&home.statement(&Hash::of(&card)), &card)?;
    }
    // The old key goes with this: nothing can be signed by it any more.
    let key = keys::next(home, keys::LEDGER);
    if key.is_file() {
        rename(&key, &home.key(keys::LEDGER))?;
    }
    Config::set_ledger(home, &name)?;
    remove(&home.index())?;
    remove(&next)?;
    tracing::info!(ledger = %name, "a new generation of the ledger is in place");
    Ok(true)
}

fn rename(from: &Path, to: &Path) -> Result<(), Failure> {
    custodia_disk::rename(from, to).map_err(|error| Failure::io(&error, from))?;
    [from, to].iter().filter_map(|path| path.parent()).try_for_each(home::sync_folder)
}

/// Removes a folder with all that is in it, its mark first, so that no half of it counts.
fn remove(folder: &Path) -> Result<(), Failure> {
    let gone = |error: std::io::Error, path: &Path| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(Failure::io(&error, path)),
    };
    let mark = folder.join("ready");
    if mark.is_file() {
        custodia_disk::remove_file(&mark).or_else(|error| gone(error, &mark))?;
        home::sync_folder(folder)?;
    }
    custodia_disk::remove_folder(folder).or_else(|error| gone(error, folder))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::init::{Founding, init};
    use custodia_format::entry::Entry;
    use custodia_ledger::found_next;

    fn founded(folder: &Path) -> Home {
        let home = Home::new(folder.join("home"));
        let founding = Founding {
            name: "lab.example".to_owned(),
            display: "Laboratory".to_owned(),
            state: None,
            role: "lab".to_owned(),
            listen: "127.0.0.1:1".parse().unwrap(),
            addresses: vec!["127.0.0.1:1".to_owned()],
            officer: None,
            passphrase: None,
        };
        init(&home, &founding).unwrap();
        home
    }

    fn copied(home: &Home, to: PathBuf) -> Home {
        let status = std::process::Command::new("cp").arg("-a").arg(home.path()).arg(&to).status().unwrap();
        assert!(status.success());
        Home::new(to)
    }

    /// A second generation of the same documents in `next/`, ready. The card is the first one: nothing here reads it.
    fn made(home: &Home) -> (LedgerName, u64) {
        let node = Node::open(home).unwrap();
        let next = after(&node.config().ledger);
        let key = keys::create_next(home, keys::LEDGER).unwrap();
        let folder = Folder::open(begin(home).unwrap()).unwrap();
        let (card, _) = own_card(&node).unwrap();
        let entries = (0..node.ledger().size()).map(|index| node.ledger().entry(index));
        let entries = entries.chain([Ok(Entry::of(b"another"))]);
        let made = found_next(folder, &next.to_string(), key, entries).unwrap();
        commit(home, &next, &card).unwrap();
        (next, made.checkpoint().size)
    }

    #[test]
    fn a_succession_that_was_cut_off_anywhere_is_finished_by_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let home = founded(folder.path());
        let old = fs::read(home.path().join("ledger/checkpoint")).unwrap();
        let (next, size) = made(&home);
        let path = |home: &Home, name: &str| home.path().join(name);
        let moved = |home: &Home, from: &str, to: &str| fs::rename(path(home, from), path(home, to)).unwrap();
        let steps: [&dyn Fn(&Home); 9] = [
            &|home| fs::create_dir_all(home.past(1)).unwrap(),
            &|home| moved(home, "ledger", "past/1/ledger"),
            &|home| moved(home, "next/ledger", "ledger"),
            &|home| moved(home, "state", "past/1/state"),
            &|home| moved(home, "next/state", "state"),
            &|home| moved(home, "keys/ledger.next", "keys/ledger"),
            &|home| Config::set_ledger(home, &next).unwrap(),
            &|home| fs::remove_dir_all(home.index()).unwrap(),
            &|home| fs::remove_file(home.next().join("ready")).unwrap(),
        ];
        for done in 0..=steps.len() {
            let cut = copied(&home, folder.path().join(format!("cut-{done}")));
            steps.iter().take(done).for_each(|step| step(&cut));
            let node = Node::open(&cut).unwrap();
            assert_eq!((&node.config().ledger, node.ledger().size()), (&next, size), "after {done} steps");
            node.may_sign().unwrap();
            assert_eq!(fs::read(cut.past(1).join("ledger/checkpoint")).unwrap(), old, "after {done} steps");
            assert!(!keys::next(&cut, keys::LEDGER).exists(), "after {done} steps");
            drop(node);
            assert!(!finish(&cut).unwrap(), "it is over");
        }
    }

    #[test]
    fn what_never_became_ready_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let home = founded(folder.path());
        made(&home);
        fs::remove_file(ready(&home)).unwrap();
        let node = Node::open(&home).unwrap();
        assert_eq!(node.config().ledger.generation, 1);
        node.may_sign().unwrap();
        drop(node);
        // The next attempt begins anew, and its key is another.
        let key = fs::read(keys::next(&home, keys::LEDGER)).unwrap();
        let (next, size) = made(&home);
        assert_ne!(fs::read(keys::next(&home, keys::LEDGER)).unwrap(), key);
        let node = Node::open(&home).unwrap();
        assert_eq!((&node.config().ledger, node.ledger().size()), (&next, size));
    }

    #[test]
    fn a_mark_that_does_not_parse_moves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let home = founded(folder.path());
        made(&home);
        for bad in ["", "custodia/next/v1 lab.example/node-1/2", "custodia/next/v1 lab.example/node-1/1\n", "\0"] {
            fs::write(ready(&home), bad).unwrap();
            assert_eq!(finish(&home).unwrap_err().code, Code::Malformed, "{bad:?}");
            assert!(home.next().join("ledger").is_dir() && home.path().join("ledger").is_dir());
        }
    }
}
