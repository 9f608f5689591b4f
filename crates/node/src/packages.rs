//! Manifests and annexes on the disk, by their roots, and what their records say.
//!
//! A manifest is read and written as a stream: a million records need no more memory than one. This file refuses to know
//! statements; it knows where a manifest lies and how it closes.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use custodia_format::manifest::{Header, Manifest, ManifestBuilder, ManifestKey, ManifestReader, Ready};
use custodia_format::ranges::Items;
use custodia_format::record::{DETAIL, FileItem, PACKAGE, PERSON, Record, Value};
use custodia_format::statement::{Annex, Package};
use custodia_format::{Hash, Malformed, limits};
use custodia_merkle::Frontier;

use crate::Node;
use crate::edge;
use crate::failure::{Code, Failure};
use crate::home::{self, Home};

/// The fewest characters by which a package or a statement may be named.
pub(crate) const PREFIX_CHARS: usize = 8;
/// Bytes of a record's line: what a manifest's reader takes at a time.
const LINE_BYTES: u64 = (limits::RECORD_FIELDS * (limits::VALUE_BYTES + 1) + 3) as u64;

/// Records that are made ready together.
const READY_AT_ONCE: usize = 4096;

/// What a package's records say of it as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Summary {
    /// The case that its first record names.
    pub(crate) case: Option<String>,
    /// Its title.
    pub(crate) title: Option<String>,
    /// Its files.
    pub(crate) files: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

/// Summaries that were read once: a manifest never changes.
#[derive(Debug, Default)]
pub(crate) struct Summaries(Mutex<HashMap<Hash, Arc<Summary>>>);

/// Finds the package that these characters name.
pub(crate) fn find(node: &Node, prefix: &str) -> Result<Hash, Failure> {
    let is_hex = prefix.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
    if prefix.len() < PREFIX_CHARS || prefix.len() > 64 || !is_hex {
        return Err(Failure::new(Code::Usage, "This does not name a package.")
            .instead_of("the first 8 or more characters of its id, in lowercase hex", prefix)
            .next("custodia inbox")
            .next("custodia ledger list"));
    }
    let found: Vec<Hash> =
        node.index().packages()?.into_iter().filter(|root| root.to_string().starts_with(prefix)).collect();
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(Failure::new(Code::UnknownPackage, "No package here begins with these characters.")
            .instead_of("a package of this node", prefix)
            .next("custodia inbox")
            .next("custodia ledger list")),
        several => {
            let names = several.iter().map(Hash::to_string).collect::<Vec<_>>().join(", ");
            Err(Failure::new(Code::AmbiguousPackage, "Several packages begin with these characters.")
                .instead_of("one package", names)
                .next("give more characters"))
        }
    }
}

/// Writes the manifest of a new package, durably, and gives the package.
///
/// The records come twice, so that the header can be written first: once for their types, once for their lines.
pub(crate) fn store<'a, I: Iterator<Item = Record>>(
    home: &Home,
    types: impl IntoIterator<Item = &'a str>,
    count: u64,
    records: I,
) -> Result<Package, Failure> {
    let header = Header::standard(ManifestKey(*edge::random::<32>()?), count, types);
    let root = write(home, header, records)?;
    Ok(Package { records: count, root })
}

/// Writes an annex, durably.
pub(crate) fn store_annex(home: &Home, records: Vec<Record>) -> Result<Annex, Failure> {
    let key = ManifestKey(*edge::random::<32>()?);
    let types: Vec<&str> = records.iter().filter_map(Record::type_name).collect();
    let header = Header::standard(key, records.len() as u64, types);
    let count = header.records;
    let root = write(home, header, records.into_iter())?;
    Ok(Annex { records: count, root })
}

fn write(home: &Home, header: Header, records: impl Iterator<Item = Record>) -> Result<Hash, Failure> {
    let mut new = home::NewFile::create(&home.manifests())?;
    let path = new.path().to_owned();
    let mut out = BufWriter::with_capacity(1 << 16, new.file());
    let failed = |error: std::io::Error| Failure::io(&error, &path);
    out.write_all(header.print().as_bytes()).map_err(failed)?;
    let mut builder = ManifestBuilder::new(header, Frontier::new());
    for record in records {
        record.check()?;
        out.write_all(builder.push(&record)?.as_bytes()).map_err(failed)?;
    }
    out.flush().map_err(failed)?;
    drop(out);
    let root = builder.finish()?;
    new.keep_as(&home.manifest(&root))?;
    Ok(root)
}

/// A person, for an annex.
pub(crate) fn person(pseudonym: &str, name: &str) -> Record {
    Record::of(&PERSON, pseudonym, [("name", Value::Text(name.to_owned()))])
}

/// A detail, for an annex.
pub(crate) fn detail(about: &str, value: &str) -> Record {
    let text = |text: &str| Value::Text(text.to_owned());
    Record::of(&DETAIL, about, [("about", text(about)), ("value", text(value))])
}

/// Goes through a manifest that lies in a file, record by record, without hashing anything: whoever calls closes it.
pub(crate) fn unclosed_records(
    path: &Path,
    mut each: impl FnMut(&Header, u64, Record) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (header, mut lines) = open(path)?;
    let mut number = 0;
    while let Some(line) = lines.next(LINE_BYTES)? {
        let record = Record::parse(&line).map_err(|error| error.within(format!("record {number}")))?;
        each(&header, number, record)?;
        number += 1;
    }
    Ok(())
}

/// As [`unclosed_records`], each record made ready for a disclosure, on so many threads.
pub(crate) fn ready_records(
    path: &Path,
    threads: NonZeroUsize,
    mut each: impl FnMut(&Header, u64, Record, Ready) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (header, mut lines) = open(path)?;
    let make = |(number, line): &(u64, String)| {
        let record = Record::parse(line).map_err(|error| error.within(format!("record {number}")))?;
        let ready = header.ready(*number, &record)?;
        Ok((record, ready))
    };
    let mut number = 0;
    loop {
        let mut batch = Vec::with_capacity(READY_AT_ONCE);
        while batch.len() < READY_AT_ONCE {
            let Some(line) = lines.next(LINE_BYTES)? else { break };
            batch.push((number + batch.len() as u64, line));
        }
        if batch.is_empty() {
            return Ok(());
        }
        let part = batch.len().div_ceil(threads.get());
        let made: Vec<Result<(Record, Ready), Malformed>> = std::thread::scope(|scope| {
            let parts = batch.chunks(part);
            let making: Vec<_> =
                parts.map(|part| scope.spawn(move || part.iter().map(make).collect::<Vec<_>>())).collect();
            making.into_iter().flat_map(|one| one.join().unwrap_or_default()).collect()
        });
        if made.len() != batch.len() {
            return Err(Failure::new(Code::Internal, "A thread that makes records ready ended early."));
        }
        for one in made {
            let (record, ready) = one?;
            each(&header, number, record, ready)?;
            number += 1;
        }
    }
}

/// Opens a manifest: its header, and the lines of its records.
fn open(path: &Path) -> Result<(Header, Lines<'_>), Failure> {
    let file = File::open(path).map_err(|error| Failure::io(&error, path))?;
    let mut lines = Lines { reader: BufReader::with_capacity(1 << 16, file), path };
    let first = lines.next(limits::MANIFEST_HEADER_BYTES as u64 + 1)?;
    Ok((Header::parse(&first.ok_or_else(|| cut_short(path))?)?, lines))
}

/// Goes through a manifest that lies in a file, record by record, and gives the root that it closes to.
pub(crate) fn read_records(
    path: &Path,
    mut each: impl FnMut(u64, Record) -> Result<(), Failure>,
) -> Result<Hash, Failure> {
    let file = File::open(path).map_err(|error| Failure::io(&error, path))?;
    let mut lines = Lines { reader: BufReader::with_capacity(1 << 16, file), path };
    let first = lines.next(limits::MANIFEST_HEADER_BYTES as u64 + 1)?;
    let mut reader = ManifestReader::new(&first.ok_or_else(|| cut_short(path))?)?;
    let mut number = 0;
    while let Some(line) = lines.next(LINE_BYTES)? {
        each(number, reader.push(&line)?)?;
        number += 1;
    }
    Ok(reader.finish()?)
}

/// Goes through the manifest of a package that is here; it must close to its root.
pub(crate) fn records_of(
    home: &Home,
    root: &Hash,
    each: impl FnMut(u64, Record) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let path = home.manifest(root);
    let found = read_records(&path, each)?;
    if found == *root {
        return Ok(());
    }
    Err(Failure::new(Code::Malformed, "This manifest does not close to the root that it is named by.")
        .at(path.display())
        .instead_of(root.to_string(), found.to_string())
        .next("bring the file back from a backup, or receive the package again"))
}

/// The packages of a case whose manifests are here.
pub(crate) fn of_case(node: &Node, case: &str) -> Result<Vec<Hash>, Failure> {
    let mut roots = Vec::new();
    for root in node.index().packages()? {
        if node.summaries().of(node.home(), &root)?.is_some_and(|summary| summary.case.as_deref() == Some(case)) {
            roots.push(root);
        }
    }
    Ok(roots)
}

/// The items of a package, with their record numbers, in order.
pub(crate) fn items_of(
    home: &Home,
    root: &Hash,
    mut each: impl FnMut(u64, FileItem) -> Result<(), Failure>,
) -> Result<(), Failure> {
    records_of(home, root, |number, record| match FileItem::of(&record)? {
        Some(item) => each(number, item),
        None => Ok(()),
    })
}

/// As [`items_of`], of the items among these records alone: those that a release covers.
pub(crate) fn covered_items(
    home: &Home,
    root: &Hash,
    covered: &Items,
    mut each: impl FnMut(u64, FileItem),
) -> Result<(), Failure> {
    items_of(home, root, |record, item| {
        if covered.contains(record) {
            each(record, item);
        }
        Ok(())
    })
}

/// A manifest as a whole, for what must hold all records anyway; none when it is not here.
pub(crate) fn manifest(home: &Home, root: &Hash) -> Result<Option<Manifest>, Failure> {
    let bytes = home::read_file(&home.manifest(root), limits::MANIFEST_BYTES)?;
    Ok(bytes.map(|bytes| Manifest::parse(&bytes)).transpose()?)
}

impl Summaries {
    /// What a package's records say of it; none when its manifest is not here.
    pub(crate) fn of(&self, home: &Home, root: &Hash) -> Result<Option<Arc<Summary>>, Failure> {
        let known = |all: &Mutex<HashMap<Hash, Arc<Summary>>>| {
            all.lock().unwrap_or_else(PoisonError::into_inner).get(root).cloned()
        };
        if let Some(summary) = known(&self.0) {
            return Ok(Some(summary));
        }
        if !home.manifest(root).is_file() {
            return Ok(None);
        }
        let mut summary = Summary::default();
        records_of(home, root, |number, record| {
            if number == 0 {
                let text = |field| record.field(&PACKAGE, field).and_then(Value::as_str).map(str::to_owned);
                summary.case = text("case");
                summary.title = text("title");
            }
            if let Some(item) = FileItem::of(&record)? {
                summary.files += 1;
                summary.bytes = summary.bytes.saturating_add(item.size);
            }
            Ok(())
        })?;
        let summary = Arc::new(summary);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(*root, summary.clone());
        Ok(Some(summary))
    }
}

/// The lines of a manifest, each within its limit.
struct Lines<'a> {
    reader: BufReader<File>,
    path: &'a Path,
}

impl Lines<'_> {
    /// The next line without its LF; none at the end.
    fn next(&mut self, limit: u64) -> Result<Option<String>, Failure> {
        let mut line = Vec::new();
        let read = (&mut self.reader).take(limit).read_until(b'\n', &mut line);
        read.map_err(|error| Failure::io(&error, self.path))?;
        match line.pop() {
            None => Ok(None),
            Some(b'\n') => String::from_utf8(line).map(Some).map_err(|_| {
                Failure::from(Malformed::new("manifest", "a line", "UTF-8", "another byte")).at(self.path.display())
            }),
            Some(_) => Err(cut_short(self.path)),
        }
    }
}

fn cut_short(path: &Path) -> Failure {
    Failure::from(Malformed::new("manifest", "end", "a whole line", "a line that has no end")).at(path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("node"));
        home.create().unwrap();
        (folder, home)
    }

    #[test]
    fn a_manifest_reads_back_and_closes() {
        let (_folder, home) = home();
        let records = vec![Record::of(&PACKAGE, "C-1", [("case", Value::Text("C-1".to_owned()))]), person("O-1", "b")];
        let package = store(&home, ["package/1", "person/1"], 2, records.clone().into_iter()).unwrap();
        let mut read = Vec::new();
        records_of(&home, &package.root, |_, record| {
            read.push(record);
            Ok(())
        })
        .unwrap();
        assert_eq!(read, records);
        let summary = Summaries::default().of(&home, &package.root).unwrap().unwrap();
        assert_eq!((summary.case.as_deref(), summary.files), (Some("C-1"), 0));
        assert_eq!(manifest(&home, &package.root).unwrap().unwrap().root, package.root);
        assert!(Summaries::default().of(&home, &Hash::ZERO).unwrap().is_none());
    }

    #[test]
    fn a_manifest_that_was_changed_or_cut_is_refused() {
        let (_folder, home) = home();
        let package = store(&home, ["person/1"], 1, [person("O-1", "b")].into_iter()).unwrap();
        let path = home.manifest(&package.root);
        let good = std::fs::read(&path).unwrap();
        for bad in [
            &good[..good.len() - 1],
            &good[..10],
            b"",
            String::from_utf8_lossy(&good).replace("\"b\"", "\"c\"").as_bytes(),
        ] {
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, bad).unwrap();
            assert_eq!(records_of(&home, &package.root, |_, _| Ok(())).unwrap_err().code, Code::Malformed);
        }
    }
}
