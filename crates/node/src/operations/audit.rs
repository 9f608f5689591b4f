//! The audit of a ledger from outside: by a peer, or on a laptop that has no node.
//!
//! It reads what any auditor can read, a checkpoint and tiles, over HTTP or from a copied folder, and lets the ledger's
//! own `fsck` rebuild everything from the entries up. This file adds what only an outsider can see: whether the ledger
//! continues what it showed last time, who cosigned, and whether documents at hand are in it. It believes one verifier
//! key and nothing that it reads; it writes nothing but the file that holds the last checkpoint, and the contradiction.

mod held;
mod source;
mod statements;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

use custodia_format::checkpoint::{NoteError, SignedCheckpoint, cosignature_time};
use custodia_format::limits;
use custodia_format::note::{KeyType, Note, Vkey};
use custodia_format::text::{Time, to_hex};
use custodia_ledger::{Depth, Storage, fsck};

use super::answers::{Audited, Cosigner};
use super::rebuilding::{errors_and_remarks, told_in_time};
use crate::api::Progress;
use crate::failure::{Code, Failure};
use held::{Continued, Held};
use source::{CHECKPOINT, Source};
use statements::Statements;

/// Entries of a ledger that is audited in one run: a statement every second for eight years. Whoever signs a checkpoint
/// chooses its size, and with it how long an audit reads.
const ENTRIES: u64 = 1 << 28;

/// What is audited, and against what.
#[derive(Debug, Clone)]
pub struct Audit {
    /// `http://HOST[:PORT][/PATH]`, or a folder: a node's home or a copy of its `ledger/`.
    pub source: OsString,
    /// The verifier key of the ledger.
    pub vkey: String,
    /// Verifier keys of witnesses that are known.
    pub witnesses: Vec<String>,
    /// The file of the checkpoint that was held last time; made at the first use.
    pub held: Option<PathBuf>,
    /// A folder of envelopes that the auditor is entitled to see: a copy of `statements/`, or a part of one.
    pub statements: Option<PathBuf>,
}

/// Audits a ledger, on this thread, which blocks. A thread that reads over HTTP belongs to a runtime.
///
/// # Errors
/// [`Code::Fork`] and [`Code::RolledBack`] when the checkpoint does not continue the one that was held; both notes are
/// kept then. Otherwise what keeps it from being audited at all: nothing is judged and nothing written. Damage is no
/// error: it is in the answer.
pub fn audit(audit: &Audit, tell: &mut dyn FnMut(Progress)) -> Result<Audited, Failure> {
    let began = Instant::now();
    let vkey = verifier_key("--vkey", &audit.vkey, KeyType::Ed25519)?;
    let witnesses = audit.witnesses.iter().map(|text| verifier_key("--witness", text, KeyType::Cosignature));
    let witnesses = witnesses.collect::<Result<Vec<_>, _>>()?;
    let mut held = audit.held.as_deref().map(|path| Held::read(path, &vkey)).transpose()?;
    let statements = audit.statements.as_deref().map(Statements::read).transpose()?;
    let mut source = Source::open(&audit.source)?;
    let signed = checkpoint(&source, &vkey)?;
    let cosigned = cosigners(signed.note(), &vkey, &witnesses)?;
    if let Some(held) = &held {
        held.refuse_contradiction(&signed, &source)?;
    }
    // What is rebuilt is this checkpoint, whatever is published meanwhile.
    source.pin(&signed, statements);

    let report = fsck(&source, &vkey, Depth::Published, &mut told_in_time(tell));
    source.unbroken()?;
    let (mut errors, mut remarks) = errors_and_remarks(&report);
    let continued = match &mut held {
        None => None,
        // Where the tree is damaged nothing is known of its past, and what was held stays held.
        Some(_) if !errors.is_empty() => Some(Continued::Unknown),
        Some(held) => match held.follow(&source, &signed)? {
            Ok(continued) => Some(continued),
            Err(damage) => {
                errors.push(damage);
                Some(Continued::Unknown)
            }
        },
    };
    source.unbroken()?;
    let checkpoint = signed.checkpoint();
    let statements = source.into_statements().map(|statements| {
        let judged = statements.judge(checkpoint.size);
        errors.extend(judged.errors);
        remarks.extend(judged.remarks);
        judged.compared
    });
    Ok(Audited {
        source: audit.source.to_string_lossy().into_owned(),
        ledger: checkpoint.origin.clone(),
        entries: checkpoint.size,
        root: checkpoint.root.to_string(),
        note: signed.note().print(),
        files: report.files,
        bytes: report.bytes,
        took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        cosigned,
        held: held.zip(continued).map(|(held, continued)| held.told(continued)),
        statements,
        errors,
        remarks,
    })
}

/// The checkpoint that the source shows, signed by this key.
fn checkpoint(source: &Source, vkey: &Vkey) -> Result<SignedCheckpoint, Failure> {
    let bytes = match source.read(CHECKPOINT, limits::NOTE_BYTES as u64) {
        Ok(bytes) => bytes,
        Err(error) => {
            source.unbroken()?;
            return Err(Failure::new(Code::Io, format!("There is no ledger to be read: {error}."))
                .at(source)
                .safe(UNJUDGED)
                .next("name the folder or the address that holds `checkpoint` and `tile/`"));
        }
    };
    let note = Note::parse(&bytes).map_err(|error| Failure::from(error).safe(UNJUDGED))?;
    let signed = SignedCheckpoint::check(note, vkey).map_err(|error| unsigned(&error, source))?;
    let size = signed.checkpoint().size;
    if size > ENTRIES {
        return Err(Failure::new(Code::Malformed, "This ledger is larger than one audit can be.")
            .at(source)
            .instead_of(format!("at most {ENTRIES} entries"), size.to_string())
            .safe(UNJUDGED));
    }
    Ok(signed)
}

/// What is safe when an audit did not come to a judgement.
const UNJUDGED: &str = "Nothing was judged, nothing was written.";

/// A note that does not count under the key that was given.
fn unsigned(error: &NoteError, place: impl std::fmt::Display) -> Failure {
    Failure::new(Code::Signature, format!("This is no checkpoint of that ledger: {error}."))
        .at(place)
        .safe(UNJUDGED)
        .next("compare the verifier key with the authority's card, or with `custodia ledger checkpoint` there")
}

fn verifier_key(option: &str, text: &str, key_type: KeyType) -> Result<Vkey, Failure> {
    let expected = match key_type {
        KeyType::Ed25519 => "NAME+ID+KEY of a ledger, as `custodia ledger checkpoint` prints it",
        KeyType::Cosignature => "NAME+ID+KEY of a witness, as the authority's card has it",
    };
    Vkey::parse(text).ok().filter(|vkey| vkey.key_type() == key_type).ok_or_else(|| {
        Failure::new(Code::Usage, "This is no verifier key of that kind.")
            .at(option)
            .instead_of(expected, text)
            .safe(UNJUDGED)
            .next("copy the whole line, in quotes")
    })
}

/// Who cosigned. C2SP signed-note: a line of a known key that does not verify makes the whole note worth nothing.
fn cosigners(note: &Note, ledger: &Vkey, witnesses: &[Vkey]) -> Result<Vec<Cosigner>, Failure> {
    let others = note.lines.iter().filter(|line| !ledger.is_of(line));
    others
        .map(|line| {
            let known = witnesses.iter().find(|witness| witness.is_of(line));
            let time = match known {
                Some(witness) => cosignature_time(note, witness).map_err(|error| unsigned(&error, CHECKPOINT))?,
                None => None,
            };
            let time = time.and_then(|time| Time::from_unix(i64::try_from(time).ok()?));
            Ok(Cosigner {
                name: line.name.clone(),
                key_id: to_hex(&line.key_id),
                known: known.is_some(),
                time: time.map(|time| time.to_string()),
            })
        })
        .collect()
}
