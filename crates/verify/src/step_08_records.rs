//! Step 8: the records close to the sealed root, and what is withheld is declared.

use std::collections::{HashMap, HashSet};

use custodia_format::Hash;
use custodia_format::body::Body;
use custodia_format::disclosure::{Disclosure, DisclosureError, ShownRecord, Subject};
use custodia_format::limits;
use custodia_format::manifest::Manifest;
use custodia_format::proof::Proof;
use custodia_format::record::{FILE, PACKAGE, check_path};
use custodia_format::statement::Annex;
use custodia_format::text::{decimal, from_b64};

use crate::case::Case;
use crate::finding::FindingCode;

/// A file as its record tells of it; what is withheld is none.
#[derive(Debug, Clone)]
pub(crate) struct FileRecord {
    pub(crate) number: u64,
    /// Where it lies: by its path or, where that is withheld, by its digest.
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) sha256: Option<Hash>,
    pub(crate) midstates: Option<Hash>,
    pub(crate) has_gaps: bool,
}

impl FileRecord {
    /// How findings name it.
    pub(crate) fn place(&self) -> String {
        match &self.path {
            Some(path) => String::from_utf8_lossy(path).into_owned(),
            None => format!("record {}", self.number),
        }
    }
}

/// Closes the records; gives the files, or none when they are not the sealed ones or not here.
pub(crate) fn step_8_records(case: &mut Case<'_>, proof: &Proof, manifest: Option<&[u8]>) -> Option<Vec<FileRecord>> {
    check_annexes(case, proof);
    let subject = Subject::Package(proof.package);
    let from_file;
    let disclosure = match (&proof.disclosure, manifest) {
        (Some(disclosure), _) => disclosure,
        (None, Some(bytes)) => {
            let read = Manifest::parse(bytes).and_then(|manifest| Disclosure::full(subject, &manifest));
            match read {
                Ok(full) => from_file = full,
                Err(error) => {
                    case.find(FindingCode::Manifest, "manifest file", error.to_string());
                    return None;
                }
            }
            &from_file
        }
        (None, None) => {
            let erased = case.signed_bodies().any(
                |(_, _, body)| matches!(body, Body::Erasure(erasure) if erasure.manifest == Some(proof.package.root)),
            );
            let code = if erased { FindingCode::ErasedByOrder } else { FindingCode::Missing };
            case.find(code, "records", "neither a disclosure nor the manifest file is here");
            return None;
        }
    };
    if disclosure.subject != subject {
        case.find(FindingCode::Manifest, "disclosure", "it is of another package");
        return None;
    }
    let records = close(case, disclosure, "records")?;
    declare(case, disclosure, "records");
    let files = read_files(case, &records)?;
    case.items.records = proof.package.records;
    case.items.withheld_records = proof.package.records - records.len() as u64;
    case.items.withheld_fields = records.iter().map(|record| record.withheld() as u64).sum();
    case.items.files = files.len() as u64;
    check_receipts(case, proof, &files, records.len() as u64);
    Some(files)
}

/// Closes a disclosure, or says why it does not.
fn close(case: &mut Case<'_>, disclosure: &Disclosure, place: &str) -> Option<Vec<ShownRecord>> {
    match disclosure.close() {
        Ok(records) => {
            for record in records.iter().filter(|record| !record.known) {
                let name = record.type_name().unwrap_or_default().to_owned();
                case.find(FindingCode::UnknownRecordType, format!("{place} {}", record.number), name);
            }
            Some(records)
        }
        Err(DisclosureError::Malformed(error)) => {
            case.find(FindingCode::Malformed, place, error.to_string());
            None
        }
        Err(error) => {
            case.find(FindingCode::Manifest, place, error.to_string());
            None
        }
    }
}

/// What is withheld needs a signed word: a disclosure statement with this file's digest and these heads.
fn declare(case: &mut Case<'_>, disclosure: &Disclosure, place: &str) {
    if disclosure.is_full() {
        return;
    }
    let digest = disclosure.digest();
    let declared = case.signed_bodies().any(|(_, _, body)| {
        matches!(body, Body::Disclosure(said) if said.sha256 == digest && said.heads == disclosure.heads)
    });
    if !declared {
        let detail = "no signed statement declares it: ask whoever redacted it";
        case.find(FindingCode::UndeclaredWithholding, place, detail);
    }
}

fn check_annexes(case: &mut Case<'_>, proof: &Proof) {
    for annex in &proof.annexes {
        let place = format!("annex {}", annex.subject.root());
        let named = |annex: &Annex| {
            case.statements.iter().any(|shown| {
                shown.statement.as_ref().is_some_and(|statement| statement.head.annex.as_ref() == Some(annex))
            })
        };
        match &annex.subject {
            Subject::Annex(subject) if named(subject) => {
                if close(case, annex, &place).is_some() {
                    declare(case, annex, &place);
                }
            }
            _ => case.find(FindingCode::Manifest, place, "no shown statement has this annex"),
        }
    }
}

/// Reads the file records; a path that leaves the package, or stands twice, spoils the records.
fn read_files(case: &mut Case<'_>, records: &[ShownRecord]) -> Option<Vec<FileRecord>> {
    let refuse = |case: &mut Case<'_>, number: u64, detail: &str| {
        case.find(FindingCode::Manifest, format!("record {number}"), detail);
    };
    let mut files = Vec::new();
    let mut paths: HashSet<Vec<u8>> = HashSet::new();
    let mut sound = true;
    for record in records {
        let is_package = record.type_name() == Some(PACKAGE.name);
        if is_package != (record.number == 0) {
            refuse(case, record.number, "the package's own record is the first, and no other");
            sound = false;
        }
        if record.type_name() != Some(FILE.name) {
            continue;
        }
        match read_file(record) {
            Ok(file) => {
                if file.path.as_ref().is_some_and(|path| !paths.insert(path.clone())) {
                    refuse(case, record.number, "two files have one path");
                    sound = false;
                }
                if file.has_gaps {
                    case.find(FindingCode::RecordedGap, file.place(), "the sealer said so");
                }
                files.push(file);
            }
            Err(detail) => {
                refuse(case, record.number, detail);
                sound = false;
            }
        }
    }
    sound.then_some(files)
}

fn read_file(record: &ShownRecord) -> Result<FileRecord, &'static str> {
    let text = |name: &str| record.field(name).and_then(|value| value.as_str());
    let hash = |name: &str| match record.field(name) {
        None => Ok(None),
        Some(value) => value.as_str().and_then(Hash::from_hex).map(Some).ok_or("a digest is not 64 lowercase hex"),
    };
    let sha256 = hash("sha256")?;
    let size = match record.field("size") {
        None => None,
        Some(value) => {
            let size = value.as_str().and_then(decimal).filter(|size| *size <= limits::ITEM_BYTES);
            Some(size.ok_or("its size is no decimal")?)
        }
    };
    let path = match (text("path"), text("path_b64")) {
        (Some(path), _) => Some(path.as_bytes().to_vec()),
        (None, Some(path)) => Some(from_b64(path).ok_or("path_b64 is not base64")?),
        (None, None) if record.field("path").is_some() && record.field("path_b64").is_some() => {
            return Err("it has no path");
        }
        (None, None) => sha256.map(|digest| digest.to_string().into_bytes()),
    };
    if path.as_ref().is_some_and(|path| check_path(path).is_err()) {
        return Err("its path leaves the package");
    }
    let has_gaps = record.field("gaps").and_then(|value| value.as_list()).is_some_and(|gaps| !gaps.is_empty());
    Ok(FileRecord { number: record.number, path, size, sha256, midstates: hash("midstates")?, has_gaps })
}

/// A receipt says how many bytes were received; where all sizes are shown, they must add up.
fn check_receipts(case: &mut Case<'_>, proof: &Proof, files: &[FileRecord], shown: u64) {
    let sizes: HashMap<u64, Option<u64>> = files.iter().map(|file| (file.number, file.size)).collect();
    let mut wrong = Vec::new();
    for (statement, _, body) in case.signed_bodies() {
        let Body::Receipt(receipt) = body else { continue };
        // Where a record is withheld whole it may be a file of unknown size.
        let all_known = shown == proof.package.records;
        let sum = sizes
            .iter()
            .filter(|(number, _)| receipt.items.contains(**number))
            .try_fold(0_u64, |sum, (_, size)| sum.checked_add((*size)?));
        if let (true, Some(sum)) = (all_known, sum)
            && sum != receipt.bytes
        {
            wrong.push((statement.place(), format!("it says {} bytes, its files have {sum}", receipt.bytes)));
        }
    }
    for (place, detail) in wrong {
        case.find(FindingCode::Bytes, place, detail);
    }
}
