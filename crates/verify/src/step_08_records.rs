//! Step 8: the records close to the sealed root, and what is withheld is declared.

use std::collections::{HashMap, HashSet};

use custodia_format::Hash;
use custodia_format::body::Body;
use custodia_format::disclosure::{Disclosure, DisclosureError, ShownRecord, Subject};
use custodia_format::limits;
use custodia_format::manifest::read_manifest;
use custodia_format::proof::Proof;
use custodia_format::record::{CONTAINER, FILE, PACKAGE, Value, check_path};
use custodia_format::statement::{Annex, Package};
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
    let mut gathered = Gathered::default();
    match (&proof.disclosure, manifest) {
        (Some(disclosure), _) => {
            if disclosure.subject != Subject::Package(proof.package) {
                case.find(FindingCode::Manifest, "disclosure", "it is of another package");
                return None;
            }
            let records = close(case, disclosure, "records")?;
            declare(case, disclosure, "records");
            records.iter().for_each(|record| gathered.take(case, record));
        }
        (None, Some(bytes)) => {
            // One record at a time: a manifest of a million would not fit into memory as a disclosure.
            let read = read_manifest(bytes, |header, number, record| {
                let record = ShownRecord::of(header, number, record);
                note_unknown(case, &record, "records");
                gathered.take(case, &record);
            });
            let found = match read {
                Ok((header, root)) => Package { records: header.records, root },
                Err(error) => {
                    case.find(FindingCode::Manifest, "manifest file", error.to_string());
                    return None;
                }
            };
            if found != proof.package {
                let detail = format!("it leads to the root {}, not to {}", found.root, proof.package.root);
                case.find(FindingCode::Manifest, "manifest file", detail);
                return None;
            }
        }
        (None, None) => {
            let erased = case.signed_bodies().any(
                |(_, _, body)| matches!(body, Body::Erasure(erasure) if erasure.manifest == Some(proof.package.root)),
            );
            let code = if erased { FindingCode::ErasedByOrder } else { FindingCode::Missing };
            case.find(code, "records", "neither a disclosure nor the manifest file is here");
            return None;
        }
    }
    let Gathered { files, shown, withheld_fields, is_spoilt, .. } = gathered;
    if is_spoilt {
        return None;
    }
    case.items.records = proof.package.records;
    case.items.withheld_records = proof.package.records - shown;
    case.items.withheld_fields = withheld_fields;
    case.items.files = files.len() as u64;
    check_receipts(case, proof, &files, shown);
    Some(files)
}

/// A record of a type that this program does not know is shown all the same.
fn note_unknown(case: &mut Case<'_>, record: &ShownRecord, place: &str) {
    if !record.known {
        let name = record.type_name().unwrap_or_default().to_owned();
        case.find(FindingCode::UnknownRecordType, format!("{place} {}", record.number), name);
    }
}

/// Closes a disclosure, or says why it does not.
fn close(case: &mut Case<'_>, disclosure: &Disclosure, place: &str) -> Option<Vec<ShownRecord>> {
    match disclosure.close() {
        Ok(records) => {
            records.iter().for_each(|record| note_unknown(case, record, place));
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
                if let Some(records) = close(case, annex, &place) {
                    declare(case, annex, &place);
                    case.annexes.insert(subject.root, records);
                }
            }
            _ => case.find(FindingCode::Manifest, place, "no shown statement has this annex"),
        }
    }
}

/// What the records tell of files. A path that leaves the package, or stands twice, spoils them all.
#[derive(Default)]
struct Gathered {
    files: Vec<FileRecord>,
    paths: HashSet<Vec<u8>>,
    /// Records that are shown.
    shown: u64,
    /// Fields of them that are withheld.
    withheld_fields: u64,
    is_spoilt: bool,
}

impl Gathered {
    fn take(&mut self, case: &mut Case<'_>, record: &ShownRecord) {
        self.shown += 1;
        self.withheld_fields += record.withheld() as u64;
        if record.number == 0 {
            case.package_record = Some(record.clone());
        }
        if record.type_name() == Some(CONTAINER.name) {
            case.bag_seals.extend(record.field("bag_seals").into_iter().flat_map(Value::texts).cloned());
        }
        let is_package = record.type_name() == Some(PACKAGE.name);
        if is_package != (record.number == 0) {
            self.spoil(case, record.number, "the package's own record is the first, and no other");
        }
        if record.type_name() != Some(FILE.name) {
            return;
        }
        let file = match read_file(record) {
            Ok(file) => file,
            Err(detail) => return self.spoil(case, record.number, detail),
        };
        if file.path.as_ref().is_some_and(|path| !self.paths.insert(path.clone())) {
            self.spoil(case, record.number, "two files have one path");
        }
        if file.has_gaps {
            case.find(FindingCode::RecordedGap, file.place(), "the sealer said so");
        }
        self.files.push(file);
    }

    fn spoil(&mut self, case: &mut Case<'_>, number: u64, detail: &str) {
        case.find(FindingCode::Manifest, format!("record {number}"), detail);
        self.is_spoilt = true;
    }
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
