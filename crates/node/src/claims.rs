//! What others told of a ledger, under the signature of that ledger's key (docs/spec/home.md).
//!
//! Two folders of its authority: `told/` holds the newest note for each ledger and each authority that cosigned it, to be
//! passed on; `claimed/` the notes of which nobody has shown yet that they belong to the history that we witness. Until
//! the ledger's owner has proven that they do, nothing of it is cosigned. There is at most one note of each kind for a
//! ledger and a signer, so that no talk fills the disk; an open claim is not replaced, so that none is washed away.

use std::path::PathBuf;

use custodia_format::checkpoint::Checkpoint;
use custodia_format::key::KeyId;
use custodia_format::note::{Note, Vkey};
use custodia_format::{Hash, limits};

use crate::failure::Failure;
use crate::home::{self, Home};
use crate::witness;

/// Which of the two folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Told,
    Claimed,
}

/// One note of the two folders.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// The note, lines in order.
    pub(crate) note: Note,
    /// What it says.
    pub(crate) checkpoint: Checkpoint,
    /// Who cosigned it; the ledger's owner where nobody did.
    signer: KeyId,
    path: PathBuf,
}

/// What others told of one ledger.
#[derive(Debug)]
pub(crate) struct Claims<'a> {
    home: &'a Home,
    owner: KeyId,
    ledger: &'a Vkey,
}

impl<'a> Claims<'a> {
    /// Of the ledger with this key, which an authority's card names.
    pub(crate) const fn of(home: &'a Home, owner: KeyId, ledger: &'a Vkey) -> Self {
        Self { home, owner, ledger }
    }

    /// The newest notes, one for each signer.
    pub(crate) fn told(&self) -> Result<Vec<Told>, Failure> {
        self.read(Kind::Told)
    }

    /// The open claims, each text once, the smaller sizes first.
    pub(crate) fn open(&self) -> Result<Vec<Told>, Failure> {
        let mut open = self.read(Kind::Claimed)?;
        open.dedup_by(|later, earlier| later.note.text == earlier.note.text);
        Ok(open)
    }

    /// All that is kept of what was told, before a note is added to it.
    pub(crate) fn kept(&self) -> Result<Kept, Failure> {
        Ok(Kept { told: self.read(Kind::Told)?, claimed: self.read(Kind::Claimed)? })
    }

    /// Keeps a note that these authorities cosigned, whose lines all verify. `is_shown` says whether it is known to belong to
    /// the history that we witness; otherwise it is a claim. `kept` is what is kept until now: the caller judges meanwhile, and
    /// nobody else writes.
    pub(crate) fn keep(
        &self,
        kept: &Kept,
        note: &Note,
        size: u64,
        signers: &[KeyId],
        is_shown: IsShown,
    ) -> Result<(), Failure> {
        let Kept { told, claimed: open } = kept;
        // What was told before is claimed, or waits behind a claim of the same signer, or is proven.
        let is_proven = open.is_empty() && told.iter().any(|told| told.note.text == note.text);
        for signer in signers {
            // The claim first: what is told and not claimed would count as proven.
            if is_shown == IsShown::No && !is_proven && open.iter().all(|claim| claim.signer != *signer) {
                self.write(Kind::Claimed, signer, note)?;
            }
            let known = told.iter().find(|told| told.signer == *signer);
            let mut newest = note.clone();
            if let Some(known) = known.filter(|known| known.note.text == note.text) {
                // More lines under the same text.
                witness::join(&mut newest, [&known.note], self.ledger);
            }
            if known.is_none_or(|known| known.checkpoint.size <= size && known.note != newest) {
                self.write(Kind::Told, signer, &newest)?;
            }
        }
        Ok(())
    }

    /// A claim was proven. What its signers told since, and was kept waiting behind it, is the next claim.
    pub(crate) fn settle(&self, proven: &Told, newest: &Checkpoint) -> Result<(), Failure> {
        let told = self.read(Kind::Told)?;
        for claim in self.read(Kind::Claimed)?.into_iter().filter(|claim| claim.note.text == proven.note.text) {
            let behind = told.iter().find(|told| told.signer == claim.signer);
            let behind =
                behind.filter(|told| told.checkpoint.size > claim.checkpoint.size && told.checkpoint != *newest);
            match behind {
                Some(next) => self.write(Kind::Claimed, &claim.signer, &next.note)?,
                None => custodia_disk::remove_file(&claim.path).map_err(|error| Failure::io(&error, &claim.path))?,
            }
        }
        Ok(())
    }

    /// By size, then text. What cannot be read is an error: a claim that is not seen would not be asked about.
    fn read(&self, kind: Kind) -> Result<Vec<Told>, Failure> {
        let ledger = Hash::of(self.ledger.name().as_bytes()).to_string();
        let mut found = Vec::new();
        for path in home::list(&self.folder(kind))? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let signer = name.strip_prefix(&ledger).and_then(|rest| rest.strip_prefix('-')).and_then(Hash::from_hex);
            let Some(signer) = signer.map(KeyId) else { continue };
            let bytes = home::read_file(&path, limits::NOTE_BYTES as u64)?.unwrap_or_default();
            let read = Note::parse(&bytes).and_then(|note| Checkpoint::parse_text(&note.text).map(|read| (note, read)));
            let (note, checkpoint) = read.map_err(|error| Failure::from(error).at(path.display()))?;
            found.push(Told { note, checkpoint, signer, path });
        }
        found.sort_by(|one, other| {
            (one.checkpoint.size, &one.note.text).cmp(&(other.checkpoint.size, &other.note.text))
        });
        Ok(found)
    }

    fn write(&self, kind: Kind, signer: &KeyId, note: &Note) -> Result<(), Failure> {
        let name = format!("{}-{signer}", Hash::of(self.ledger.name().as_bytes()));
        home::write_durably(&self.folder(kind).join(name), note.print().as_bytes())
    }

    fn folder(&self, kind: Kind) -> PathBuf {
        self.home.peer(&self.owner).join(match kind {
            Kind::Told => "told",
            Kind::Claimed => "claimed",
        })
    }
}

/// What is kept of what was told of a ledger.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The newest notes, one for each signer.
    pub(crate) told: Vec<Told>,
    /// The open claims, one for each signer.
    pub(crate) claimed: Vec<Told>,
}

/// Whether a note is known to belong to the history that we witness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IsShown {
    /// We cosigned its very text, or its owner has proven it.
    Yes,
    /// Its owner has to prove it.
    No,
}
