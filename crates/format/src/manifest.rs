//! The manifest: an ordered list of records under one root, each field a salted leaf (docs/spec/manifest.md).
//!
//! Read and written as a stream, one line a record, so that a million records need no more memory than one. An annex is
//! the same thing for a statement's own values. Whoever holds the key can compute every salt; whoever does not learns
//! nothing of a withheld value.

use custodia_merkle::{Frontier, Hash, leaf_hash, root};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::error::Malformed;
use crate::json::{Json, Members, parse_compact, print_compact, quote};
use crate::limits;
use crate::record::{FileItem, Record, Value, schema};
use crate::statement::MANIFEST_SCHEME;
use crate::text::{decimal, from_b64url, to_b64url};

/// The 32 random bytes from which a manifest's salts come. Erasing them is erasing the package.
#[derive(Clone, PartialEq, Eq)]
pub struct ManifestKey(pub [u8; 32]);

impl std::fmt::Debug for ManifestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ManifestKey(hidden)")
    }
}

impl ManifestKey {
    /// The salt of a field: HMAC-SHA256 over its place.
    pub fn salt(&self, record: u64, field: u16) -> [u8; 32] {
        self.salter().salt(record, field)
    }

    /// What makes the salts of many fields.
    fn salter(&self) -> Salter {
        let mac = Hmac::<Sha256>::new_from_slice(&self.0);
        Salter(mac.expect("HMAC takes a key of any length"))
    }
}

/// A key that has been taken in: half of the work of each salt.
struct Salter(Hmac<Sha256>);

impl Salter {
    fn salt(&self, record: u64, field: u16) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(b"custodia/salt/v1\n");
        mac.update(&record.to_be_bytes());
        mac.update(&field.to_be_bytes());
        mac.finalize().into_bytes().into()
    }
}

/// One field as it is disclosed: `["<salt>","<name>",<value>]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disc {
    /// The salt, 32 bytes.
    pub salt: [u8; 32],
    /// The field's name.
    pub name: String,
    /// Its value.
    pub value: Value,
}

impl Disc {
    /// Prints it.
    pub fn print(&self) -> String {
        print_disc(&self.salt, &self.name, &self.value)
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`Malformed`] when it is not of the form, or another spelling.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let wrong = || Malformed::new("disclosed field", "", "[salt, name, value]", text);
        let Json::Array(elements) = parse_compact("disclosed field", text.as_bytes())? else { return Err(wrong()) };
        let [Json::String(salt), Json::String(name), value] = <[Json; 3]>::try_from(elements).map_err(|_| wrong())?
        else {
            return Err(wrong());
        };
        let salt = from_b64url::<32>(&salt).ok_or_else(wrong)?;
        Ok(Self { salt, name, value: Value::from_json(value)? })
    }

    /// Its leaf.
    pub fn leaf(&self) -> Hash {
        field_leaf(&self.print())
    }
}

fn print_disc(salt: &[u8; 32], name: &str, value: &Value) -> String {
    // Base64url has nothing that is escaped.
    let mut text = String::with_capacity(64 + name.len());
    text.push_str("[\"");
    text.push_str(&to_b64url(salt));
    text.push_str("\",");
    quote(name, &mut text);
    text.push(',');
    value.print(&mut text);
    text.push(']');
    text
}

/// The leaf of a printed field.
pub fn field_leaf(disc: &str) -> Hash {
    leaf_hash(&[b"custodia/field/v1\n", disc.as_bytes()].concat())
}

/// A record that was made ready for a disclosure: of each field its salt, its print and its leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// The salts.
    pub salts: Vec<[u8; 32]>,
    /// Each field as it is disclosed.
    pub texts: Vec<String>,
    /// The leaves.
    pub leaves: Vec<Hash>,
}

/// The leaf of a record, from those of its fields.
pub fn record_leaf(record: u64, field_leaves: &[Hash]) -> Hash {
    let count = u16::try_from(field_leaves.len()).unwrap_or(u16::MAX);
    let mut bytes = b"custodia/record/v1\n".to_vec();
    bytes.extend_from_slice(&record.to_be_bytes());
    bytes.extend_from_slice(&count.to_be_bytes());
    bytes.extend_from_slice(root(field_leaves).as_bytes());
    leaf_hash(&bytes)
}

/// The first line of a manifest: its key, how many records follow, and the fields of every type among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Where the salts come from.
    pub key: ManifestKey,
    /// Records.
    pub records: u64,
    /// Every record type used, in order of first appearance, with its fields.
    pub types: Vec<(String, Vec<String>)>,
}

impl Header {
    /// The header of a manifest whose records are all of the standard's types.
    pub fn standard<'a>(key: ManifestKey, records: u64, types: impl IntoIterator<Item = &'a str>) -> Self {
        let mut used: Vec<(String, Vec<String>)> = Vec::new();
        for known in types.into_iter().filter_map(schema) {
            if !used.iter().any(|(name, _)| name == known.name) {
                used.push((known.name.to_owned(), known.names().map(ToOwned::to_owned).collect()));
            }
        }
        Self { key, records, types: used }
    }

    /// Prints the line, LF included.
    pub fn print(&self) -> String {
        let types = self.types.iter().map(|(name, fields)| (name.clone(), Json::strings(fields))).collect();
        let line = Json::object([
            ("scheme", Json::string(MANIFEST_SCHEME)),
            ("key", Json::string(to_b64url(&self.key.0))),
            ("records", Json::string(self.records)),
            ("types", Json::Object(types)),
        ]);
        print_compact(&line) + "\n"
    }

    /// Reads the line without its LF.
    ///
    /// # Errors
    /// [`Malformed`] when it is not of the form, too long, or names a standard type with other fields.
    pub fn parse(line: &str) -> Result<Self, Malformed> {
        const WHAT: &str = "manifest header";
        if line.len() > limits::MANIFEST_HEADER_BYTES {
            return Err(Malformed::new(WHAT, "", "at most 1 MiB", line.len().to_string()));
        }
        let mut members = Members::of(parse_compact(WHAT, line.as_bytes())?, WHAT, "")?;
        members.read("scheme", MANIFEST_SCHEME, |text| (text == MANIFEST_SCHEME).then_some(()))?;
        let key = ManifestKey(members.read("key", "43 characters of base64url", from_b64url::<32>)?);
        let count = |text: &str| decimal(text).filter(|n| (1..=limits::RECORDS).contains(n));
        let records = members.read("records", "1 to 1000000", count)?;
        let Json::Object(listed) = members.take("types")? else {
            return Err(members.wrong("types", "an object", "another value"));
        };
        members.end()?;
        let mut types = Vec::new();
        for (name, fields) in listed {
            let Value::List(fields) = Value::from_json(fields)? else {
                return Err(Malformed::new(WHAT, format!("types.{name}"), "an array of names", "another value"));
            };
            let fits = (2..=limits::RECORD_FIELDS).contains(&fields.len())
                && schema(&name).is_none_or(|known| known.names().eq(fields.iter().map(String::as_str)));
            if !fits {
                let found = fields.len().to_string();
                return Err(Malformed::new(WHAT, format!("types.{name}"), "the fields of this type", found));
            }
            types.push((name, fields));
        }
        Ok(Self { key, records, types })
    }

    /// The fields of a record's type.
    pub fn fields(&self, record: &Record) -> Option<&[String]> {
        let name = record.type_name()?;
        self.types.iter().find(|(known, _)| known == name).map(|(_, fields)| fields.as_slice())
    }

    /// The fields of a record whose values are as many.
    fn fields_of(&self, number: u64, record: &Record) -> Result<&[String], Malformed> {
        self.fields(record).filter(|fields| fields.len() == record.0.len()).ok_or_else(|| {
            let found = record.type_name().unwrap_or("no type").to_owned();
            Malformed::new("manifest", format!("record {number}"), "the values of a type in the header", found)
        })
    }

    /// A record's fields as they would be disclosed.
    ///
    /// # Errors
    /// [`Malformed`] when the header does not list its type, or its values are not as many as the fields.
    pub fn discs(&self, number: u64, record: &Record) -> Result<Vec<Disc>, Malformed> {
        let fields = self.fields_of(number, record)?;
        let salter = self.key.salter();
        let disc = |(place, (name, value)): (usize, (&String, &Value))| Disc {
            salt: salter.salt(number, place as u16),
            name: name.clone(),
            value: value.clone(),
        };
        Ok(fields.iter().zip(&record.0).enumerate().map(disc).collect())
    }

    /// Makes a record ready: whatever is expensive in disclosing or closing it, and needs no other record.
    ///
    /// # Errors
    /// As [`Header::discs`].
    pub fn ready(&self, number: u64, record: &Record) -> Result<Ready, Malformed> {
        let fields = self.fields_of(number, record)?;
        let salter = self.key.salter();
        let salts: Vec<[u8; 32]> = (0..record.0.len()).map(|place| salter.salt(number, place as u16)).collect();
        let parts = salts.iter().zip(fields.iter().zip(&record.0));
        let texts: Vec<String> = parts.map(|(salt, (name, value))| print_disc(salt, name, value)).collect();
        let leaves = texts.iter().map(|text| field_leaf(text)).collect();
        Ok(Ready { salts, texts, leaves })
    }
}

/// Adds records one after the other; gives their lines, and the root at the end.
#[derive(Debug, Clone)]
pub struct ManifestBuilder {
    header: Header,
    frontier: Frontier,
}

impl ManifestBuilder {
    /// One for the records that this header announces.
    pub const fn new(header: Header, frontier: Frontier) -> Self {
        Self { header, frontier }
    }

    /// Adds the next record; gives its line, LF included.
    ///
    /// # Errors
    /// [`Malformed`] when the header does not list its type, or there are more records than it says.
    pub fn push(&mut self, record: &Record) -> Result<String, Malformed> {
        let number = self.frontier.size();
        if number >= self.header.records {
            let expected = format!("{} records", self.header.records);
            return Err(Malformed::new("manifest", format!("record {number}"), expected, "more"));
        }
        let leaves = self.header.ready(number, record)?.leaves;
        self.frontier.push(record_leaf(number, &leaves));
        Ok(record.print() + "\n")
    }

    /// The root over all records.
    ///
    /// # Errors
    /// [`Malformed`] when there were fewer records than the header says.
    pub fn finish(self) -> Result<Hash, Malformed> {
        if self.frontier.size() == self.header.records {
            return Ok(self.frontier.root());
        }
        let expected = format!("{} records", self.header.records);
        Err(Malformed::new("manifest", "end", expected, self.frontier.size().to_string()))
    }
}

/// Reads a manifest line by line.
#[derive(Debug, Clone)]
pub struct ManifestReader {
    builder: ManifestBuilder,
}

impl ManifestReader {
    /// Begins with the first line, without its LF.
    ///
    /// # Errors
    /// As [`Header::parse`].
    pub fn new(first_line: &str) -> Result<Self, Malformed> {
        let header = Header::parse(first_line)?;
        Ok(Self { builder: ManifestBuilder::new(header, Frontier::new()) })
    }

    /// The header.
    pub const fn header(&self) -> &Header {
        &self.builder.header
    }

    /// Takes the next line, without its LF.
    ///
    /// # Errors
    /// [`Malformed`] when it is no record of the header's types, or the package's record stands elsewhere than first.
    pub fn push(&mut self, line: &str) -> Result<Record, Malformed> {
        let number = self.builder.frontier.size();
        let record = Record::parse(line).map_err(|error| error.within(format!("record {number}")))?;
        self.builder.push(&record)?;
        Ok(record)
    }

    /// Ends the manifest: its root.
    ///
    /// # Errors
    /// As [`ManifestBuilder::finish`].
    pub fn finish(self) -> Result<Hash, Malformed> {
        self.builder.finish()
    }
}

/// Goes through a manifest file that is in memory, record by record; gives its header and the root over its records.
///
/// # Errors
/// [`Malformed`], by what is wrong.
pub fn read_manifest(bytes: &[u8], mut each: impl FnMut(&Header, u64, Record)) -> Result<(Header, Hash), Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Malformed::new("manifest", format!("byte {}", error.valid_up_to()), "UTF-8", "another byte")
    })?;
    let body = text.strip_suffix('\n');
    let body = body.ok_or_else(|| Malformed::new("manifest", "end", "an LF", "none"))?;
    let mut lines = body.split('\n');
    let mut reader = ManifestReader::new(lines.next().unwrap_or_default())?;
    for (number, line) in (0..).zip(lines) {
        let record = reader.push(line)?;
        each(reader.header(), number, record);
    }
    let header = reader.header().clone();
    Ok((header, reader.finish()?))
}

/// A whole manifest in memory. For annexes and for what must hold all records anyway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its first line.
    pub header: Header,
    /// Its records, in order.
    pub records: Vec<Record>,
    /// The root over them.
    pub root: Hash,
}

impl Manifest {
    /// Reads a manifest or annex file.
    ///
    /// # Errors
    /// [`Malformed`], by what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() as u64 > limits::MANIFEST_BYTES {
            return Err(Malformed::new("manifest", "", "at most 1 GiB", bytes.len().to_string()));
        }
        let mut records = Vec::new();
        let (header, root) = read_manifest(bytes, |_, _, record| records.push(record))?;
        Ok(Self { header, records, root })
    }

    /// Makes a manifest of the standard's record types; gives its file too.
    ///
    /// # Errors
    /// [`Malformed`] when a record is of no standard type.
    pub fn make(key: ManifestKey, records: Vec<Record>) -> Result<(Self, String), Malformed> {
        let types = records.iter().filter_map(Record::type_name);
        let header = Header::standard(key, records.len() as u64, types);
        let mut file = header.print();
        let mut builder = ManifestBuilder::new(header.clone(), Frontier::new());
        for record in &records {
            file += &builder.push(record)?;
        }
        let root = builder.finish()?;
        Ok((Self { header, records, root }, file))
    }

    /// The items of its file records, with their numbers.
    pub fn items(&self) -> impl Iterator<Item = (u64, Result<FileItem, Malformed>)> + '_ {
        (0..).zip(&self.records).filter_map(|(number, record)| Some((number, FileItem::of(record).transpose()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_manifest_of_the_vectors() {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/custodia-v1.json"));
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        let vectors = &vectors["manifest"];
        let file = vectors["file"].as_str().unwrap();
        let manifest = Manifest::parse(file.as_bytes()).unwrap();
        assert_eq!(manifest.root.to_string(), vectors["root"].as_str().unwrap());
        for (number, record) in (0..).zip(&manifest.records) {
            let discs = manifest.header.discs(number, record).unwrap();
            let printed: Vec<String> = discs.iter().map(Disc::print).collect();
            assert_eq!(serde_json::json!(printed), vectors["discs"][number as usize]);
            let leaves: Vec<Hash> = discs.iter().map(Disc::leaf).collect();
            assert_eq!(root(&leaves).to_string(), vectors["field_roots"][number as usize].as_str().unwrap());
            assert_eq!(
                record_leaf(number, &leaves).to_string(),
                vectors["record_leaves"][number as usize].as_str().unwrap()
            );
            assert!(printed.iter().zip(&discs).all(|(text, disc)| Disc::parse(text).unwrap() == *disc));
        }
        let (made, printed) = Manifest::make(manifest.header.key.clone(), manifest.records.clone()).unwrap();
        assert_eq!(printed, file);
        assert_eq!(made, manifest);
    }

    #[test]
    fn manifests_of_the_world_read_back() {
        let file = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/world/manifest.jsonl"));
        let manifest = Manifest::parse(file.as_bytes()).unwrap();
        assert_eq!(manifest.root.to_string(), "c2d707b9f686a33cd2d94481c6841ae01d93a5831e12c5d00b17135666ca2de0");
        assert_eq!(manifest.items().filter(|(_, item)| item.is_ok()).count(), 2);
        for bad in [
            file.replace("\"records\":\"3\"", "\"records\":\"2\""),
            file.replace("\"records\":\"3\"", "\"records\":\"4\""),
            file.replace("\"title\",", ""),
            file.replace("\"type\",\"code\",\"case\"", "\"type\",\"case\",\"code\""),
            file.replace("[\"file/1\"", "[\"file/9\""),
            file.replace("null,null", "null"),
            file.replace(",null", ", null"),
            file.trim_end().to_owned(),
            format!("{file}\n"),
        ] {
            assert!(Manifest::parse(bad.as_bytes()).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_values_close_and_read_back(texts in prop::collection::vec(any::<String>(), 1..8)) {
            let records = texts.iter().map(|text| Record::of(&crate::record::DETAIL, "D-1", [
                ("about", Value::Text(text.clone())),
                ("value", Value::List(vec![text.clone(), String::new()])),
            ])).collect();
            let (made, file) = Manifest::make(ManifestKey([7; 32]), records).unwrap();
            prop_assert_eq!(Manifest::parse(file.as_bytes()).unwrap(), made);
        }
    }
}
