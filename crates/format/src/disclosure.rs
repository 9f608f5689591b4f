//! Disclosures: a manifest or annex with some of it withheld, that still closes to its root
//! (docs/spec/manifest.md, "Disclosure").
//!
//! `shown` says which records are disclosed; from it and the number of records alone follows where the hashes stand, so
//! there is one way to read the nodes. Wholly withheld subtrees are one hash, never split.

mod redaction;

use std::collections::BTreeMap;

use custodia_merkle::{Hash, node_hash};

pub use redaction::{Redaction, Withheld};

use crate::body::WithholdingHead;
use crate::error::Malformed;
use crate::json::{Json, Members, parse_exact, print_exact};
use crate::limits;
use crate::manifest::{Disc, Header, Manifest, field_leaf, record_leaf};
use crate::ranges::Ranges;
use crate::record::{Record, RecordType, Value, schema};
use crate::statement::{Annex, Package};

/// The `type` of this version.
pub const DISCLOSURE_TYPE: &str = "custodia/disclosure/v1";
const WHAT: &str = "disclosure";

/// What is disclosed in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A package's manifest.
    Package(Package),
    /// A statement's annex.
    Annex(Annex),
}

impl Subject {
    /// How many records it has.
    pub const fn records(&self) -> u64 {
        match self {
            Self::Package(package) => package.records,
            Self::Annex(annex) => annex.records,
        }
    }

    /// Its root.
    pub const fn root(&self) -> &Hash {
        match self {
            Self::Package(package) => &package.root,
            Self::Annex(annex) => &annex.root,
        }
    }
}

/// A field of a disclosed record, as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaf {
    /// The disclosed field's text, `["salt","name",value]`.
    Shown(String),
    /// The leaf hash of a withheld field.
    Withheld(Hash),
}

/// An element of `nodes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A disclosed record.
    Record(Vec<Leaf>),
    /// A wholly withheld subtree.
    Withheld(Hash),
}

/// A disclosure as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disclosure {
    /// What is disclosed.
    pub subject: Subject,
    /// The numbers of the disclosed records.
    pub shown: Ranges,
    /// Disclosed records and withheld subtrees, in the order of the tree.
    pub nodes: Vec<Node>,
    /// Under which head what is withheld.
    pub heads: Vec<WithholdingHead>,
}

/// A record as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownRecord {
    /// Its number.
    pub number: u64,
    /// Its fields in order: name and value, or none where it is withheld.
    pub fields: Vec<Option<(String, Value)>>,
    /// Whether its type is one of the standard's.
    pub known: bool,
}

impl ShownRecord {
    /// A record of a manifest, with nothing withheld.
    pub fn of(header: &Header, number: u64, record: Record) -> Self {
        let known = record.type_name().and_then(schema).is_some();
        let names = header.fields(&record).unwrap_or_default().to_vec();
        Self { number, fields: names.into_iter().zip(record.0).map(Some).collect(), known }
    }

    /// The record, where nothing of it is withheld.
    pub fn whole(&self) -> Option<Record> {
        let values = self.fields.iter().map(|field| field.as_ref().map(|(_, value)| value.clone()));
        values.collect::<Option<Vec<_>>>().map(Record)
    }

    /// The type's name.
    pub fn type_name(&self) -> Option<&str> {
        self.fields.first()?.as_ref()?.1.as_str()
    }

    /// A field's value; none when it is withheld or there is no such field.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.iter().flatten().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// How many of its fields are withheld.
    pub fn withheld(&self) -> usize {
        self.fields.iter().filter(|field| field.is_none()).count()
    }
}

/// Why a disclosure does not close. The fault is that of whoever made it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DisclosureError {
    /// A text in it does not parse.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It leads to another root.
    #[error("it leads to the root {got}, not to {expected}")]
    Root {
        /// The root that was sealed.
        expected: Hash,
        /// The root that it leads to.
        got: Hash,
    },
    /// A hash or record is missing, or there is one too many, or a withheld subtree is split.
    #[error("the nodes at record {record} are not those of the canonical cover")]
    Cover {
        /// The first record of the span.
        record: u64,
    },
    /// A record's fields are not those of its type, or its type is withheld while other fields are not.
    #[error("the fields of record {record} are not those of its type")]
    Fields {
        /// The record.
        record: u64,
    },
    /// The heads do not cover what is withheld, once and nothing else.
    #[error("the heads at record {record} do not cover what is withheld, once and nothing else")]
    Heads {
        /// The record.
        record: u64,
    },
}

impl Disclosure {
    /// Discloses a whole manifest.
    ///
    /// # Errors
    /// [`Malformed`] when the manifest's header does not list the type of one of its records.
    pub fn full(subject: Subject, manifest: &Manifest) -> Result<Self, Malformed> {
        let record = |(number, record): (u64, &Record)| {
            let discs = manifest.header.discs(number, record)?;
            Ok(Node::Record(discs.iter().map(|disc| Leaf::Shown(disc.print())).collect()))
        };
        let nodes = (0..).zip(&manifest.records).map(record).collect::<Result<_, Malformed>>()?;
        Ok(Self { subject, shown: Ranges::gather(0..subject.records()), nodes, heads: Vec::new() })
    }

    /// Whether nothing is withheld.
    pub fn is_full(&self) -> bool {
        let all_leaves = |leaves: &Vec<Leaf>| leaves.iter().all(|leaf| matches!(leaf, Leaf::Shown(_)));
        self.nodes.iter().all(|node| matches!(node, Node::Record(leaves) if all_leaves(leaves)))
    }

    /// Reads a disclosure file: the object alone, in exact print.
    ///
    /// # Errors
    /// [`Malformed`], by what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::from_json(parse_exact(WHAT, bytes)?, "")
    }

    /// Prints the disclosure file.
    pub fn print(&self) -> String {
        print_exact(&self.to_json())
    }

    /// SHA-256 of the disclosure file: what a `disclosure` statement names.
    pub fn digest(&self) -> Hash {
        Hash::of(self.print().as_bytes())
    }

    /// Reads the object.
    ///
    /// # Errors
    /// [`Malformed`], by what is wrong.
    pub fn from_json(json: Json, place: &str) -> Result<Self, Malformed> {
        let is_annex =
            matches!(&json, Json::Object(members) if members.get(1).is_some_and(|(name, _)| name == "annex"));
        let mut members = Members::of(json, WHAT, place)?;
        members.read("type", DISCLOSURE_TYPE, |text| (text == DISCLOSURE_TYPE).then_some(()))?;
        let subject = if is_annex {
            Subject::Annex(Annex::read(members.object("annex")?)?)
        } else {
            Subject::Package(Package::read(members.object("package")?)?)
        };
        let shown = members.array("shown", 0, usize::MAX)?;
        let texts = shown.iter().map(|range| range.as_str().unwrap_or_default());
        let shown = Ranges::parse(texts).map_err(|error| error.within(members.path("shown")))?;
        if shown.last().is_some_and(|last| last >= subject.records()) {
            return Err(members.wrong("shown", "numbers of records", "a number beyond them"));
        }
        let nodes = members.array("nodes", 1, usize::MAX)?;
        let nodes = nodes.into_iter().map(node).collect::<Result<Vec<_>, _>>()?;
        let path = members.path("heads");
        let heads = members
            .array("heads", 0, usize::MAX)?
            .into_iter()
            .map(|head| WithholdingHead::read(Members::of(head, WHAT, path.clone())?))
            .collect::<Result<Vec<_>, _>>()?;
        members.end()?;
        Ok(Self { subject, shown, nodes, heads })
    }

    /// Prints the object.
    pub fn to_json(&self) -> Json {
        let subject = match &self.subject {
            Subject::Package(package) => ("package", package.json()),
            Subject::Annex(annex) => ("annex", annex.json()),
        };
        let leaf = |leaf: &Leaf| match leaf {
            Leaf::Shown(text) => Json::string(text),
            Leaf::Withheld(hash) => Json::string(hash),
        };
        let nodes = self.nodes.iter().map(|node| match node {
            Node::Record(leaves) => Json::Array(leaves.iter().map(leaf).collect()),
            Node::Withheld(hash) => Json::string(hash),
        });
        Json::object([
            ("type", Json::string(DISCLOSURE_TYPE)),
            subject,
            ("shown", Json::strings(self.shown.as_slice())),
            ("nodes", Json::Array(nodes.collect())),
            ("heads", Json::Array(self.heads.iter().map(WithholdingHead::json).collect())),
        ])
    }

    /// Closes it: reads every disclosed field, and leads all of it to the sealed root.
    ///
    /// # Errors
    /// [`DisclosureError`], by what is wrong.
    pub fn close(&self) -> Result<Vec<ShownRecord>, DisclosureError> {
        let mut walk = Walk { shown: &self.shown, nodes: self.nodes.iter(), records: Vec::new() };
        let got = walk.span(0, self.subject.records())?;
        if walk.nodes.next().is_some() {
            return Err(DisclosureError::Cover { record: self.subject.records() });
        }
        if got != *self.subject.root() {
            return Err(DisclosureError::Root { expected: *self.subject.root(), got });
        }
        let records = walk.records;
        self.check_heads(&records)?;
        Ok(records)
    }

    /// Every withheld position under one head, nothing else under any, the list ascending.
    fn check_heads(&self, records: &[ShownRecord]) -> Result<(), DisclosureError> {
        let refuse = |record| Err(DisclosureError::Heads { record });
        let order = |head: &WithholdingHead| (head.records.first, head.fields.as_str().to_owned());
        if let Some(pair) = self.heads.windows(2).find(|pair| matches!(pair, [one, next] if order(one) >= order(next)))
        {
            return refuse(pair.first().map_or(0, |head| head.records.first));
        }
        let mut open: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
        for record in records.iter().filter(|record| record.withheld() > 0) {
            let known = record.type_name().and_then(schema);
            let names = known.into_iter().flat_map(RecordType::names);
            let withheld = names.zip(&record.fields).filter(|(_, field)| field.is_none()).map(|(name, _)| name);
            open.insert(record.number, withheld.collect());
        }
        let mut hidden = self.subject.records() - self.shown.count();
        let mut hidden_from = 0;
        for head in &self.heads {
            let range = head.records;
            if head.fields.as_str() == "*" {
                if range.first < hidden_from || self.shown.meets(range.first, range.last) || range.count() > hidden {
                    return refuse(range.first);
                }
                hidden_from = range.last + 1;
                hidden -= range.count();
                continue;
            }
            for number in range.first..=range.last {
                let Some(names) = open.get_mut(&number) else { return refuse(number) };
                // Each name is taken once; what the head names must stand in the order of the schema.
                let mut rest = names.as_slice();
                for name in head.fields.as_str().split(',') {
                    match rest.iter().position(|open| *open == name) {
                        Some(at) => rest = rest.get(at + 1..).unwrap_or_default(),
                        None => return refuse(number),
                    }
                }
                names.retain(|open| !head.fields.as_str().split(',').any(|name| name == *open));
            }
        }
        match open.iter().find(|(_, names)| !names.is_empty()) {
            Some((number, _)) => refuse(*number),
            None if hidden > 0 => refuse(hidden_from),
            // A record of an unknown type has no names by which its withheld fields could be covered.
            None => match records.iter().find(|record| record.withheld() > 0 && !record.known) {
                Some(record) => refuse(record.number),
                None => Ok(()),
            },
        }
    }
}

/// The walk over the tree: nodes are taken in order, one for each span that is withheld, one for each disclosed record.
struct Walk<'a> {
    shown: &'a Ranges,
    nodes: std::slice::Iter<'a, Node>,
    records: Vec<ShownRecord>,
}

impl Walk<'_> {
    fn span(&mut self, first: u64, end: u64) -> Result<Hash, DisclosureError> {
        let cover = DisclosureError::Cover { record: first };
        if !self.shown.meets(first, end - 1) {
            return match self.nodes.next() {
                Some(Node::Withheld(hash)) => Ok(*hash),
                _ => Err(cover),
            };
        }
        if end - first == 1 {
            return match self.nodes.next() {
                Some(Node::Record(leaves)) => self.record(first, leaves),
                _ => Err(cover),
            };
        }
        let split = first + (1 << (63 - (end - first - 1).leading_zeros()));
        let left = self.span(first, split)?;
        let right = self.span(split, end)?;
        Ok(node_hash(&left, &right))
    }

    fn record(&mut self, number: u64, leaves: &[Leaf]) -> Result<Hash, DisclosureError> {
        let wrong = DisclosureError::Fields { record: number };
        let mut fields = Vec::with_capacity(leaves.len());
        let mut hashes = Vec::with_capacity(leaves.len());
        for leaf in leaves {
            match leaf {
                Leaf::Withheld(hash) => {
                    hashes.push(*hash);
                    fields.push(None);
                }
                Leaf::Shown(text) => {
                    let disc = Disc::parse(text).map_err(|error| error.within(format!("record {number}")))?;
                    hashes.push(field_leaf(text));
                    fields.push(Some((disc.name, disc.value)));
                }
            }
        }
        let record = ShownRecord { number, known: false, fields };
        let standard = record.type_name().ok_or(wrong.clone()).map(schema)?;
        let names = record.fields.iter().map(|field| field.as_ref().map(|(name, _)| name.as_str()));
        let first_two = matches!(record.fields.first(), Some(Some((name, _))) if name == "type");
        let fits = match standard {
            None => first_two,
            Some(known) => {
                known.fields.len() == record.fields.len()
                    && names.zip(known.names()).all(|(name, expected)| name.is_none_or(|name| name == expected))
            }
        };
        if !fits {
            return Err(wrong);
        }
        self.records.push(ShownRecord { known: standard.is_some(), ..record });
        Ok(record_leaf(number, &hashes))
    }
}

fn node(json: Json) -> Result<Node, Malformed> {
    let wrong = |expected: &str, found: &str| Malformed::new(WHAT, "nodes", expected, found);
    match json {
        Json::String(text) => Hash::from_hex(&text).map(Node::Withheld).ok_or_else(|| wrong("64 lowercase hex", &text)),
        Json::Array(leaves) if (2..=limits::RECORD_FIELDS).contains(&leaves.len()) => leaves
            .into_iter()
            .map(|leaf| match leaf {
                Json::String(text) if text.starts_with('[') => Ok(Leaf::Shown(text)),
                Json::String(text) => Hash::from_hex(&text)
                    .map(Leaf::Withheld)
                    .ok_or_else(|| wrong("a disclosed field or 64 lowercase hex", &text)),
                other => Err(wrong("a string", other.kind())),
            })
            .collect::<Result<_, _>>()
            .map(Node::Record),
        other => Err(wrong("a hash, or 2 to 64 fields", other.kind())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(name: &str) -> String {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/world/");
        std::fs::read_to_string(format!("{folder}{name}")).unwrap()
    }

    #[test]
    fn disclosures_of_the_vectors_print_back_and_close() {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/custodia-v1.json"));
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        for (name, case) in vectors["disclosure"].as_object().unwrap() {
            let file = case["file"].as_str().unwrap();
            let disclosure = Disclosure::parse(file.as_bytes()).unwrap();
            assert_eq!(disclosure.print(), file);
            assert_eq!(disclosure.digest().to_string(), case["sha256"].as_str().unwrap(), "{name}");
            disclosure.close().unwrap();
            assert_eq!(disclosure.is_full(), name == "full");
        }
        let file = world("disclosure-redacted.json");
        let disclosure = Disclosure::parse(file.as_bytes()).unwrap();
        assert_eq!(disclosure.print(), file);
        disclosure.close().unwrap();
    }

    #[test]
    fn one_deviation_each_does_not_close() {
        let manifest = Manifest::parse(world("manifest.jsonl").as_bytes()).unwrap();
        let subject = Subject::Package(Package { records: 3, root: manifest.root });
        let full = Disclosure::full(subject, &manifest).unwrap();
        full.close().unwrap();
        let change = |change: &dyn Fn(&mut Disclosure)| {
            let mut changed = full.clone();
            change(&mut changed);
            changed.close()
        };
        let leaf = |disclosure: &mut Disclosure, leaf: Leaf| {
            if let Node::Record(leaves) = &mut disclosure.nodes[1] {
                leaves[2] = leaf;
            }
        };
        let first = match &full.nodes[1] {
            Node::Record(leaves) => leaves[2].clone(),
            Node::Withheld(_) => unreachable!(),
        };
        let Leaf::Shown(text) = &first else { unreachable!() };
        let hash = field_leaf(text);
        assert!(matches!(change(&|d| leaf(d, Leaf::Withheld(hash))), Err(DisclosureError::Heads { record: 1 })));
        let renamed = Leaf::Shown(text.replace("\"path\"", "\"size\""));
        assert!(matches!(change(&|d| leaf(d, renamed.clone())), Err(DisclosureError::Fields { record: 1 })));
        let other = Leaf::Shown(text.replace("disk", "disc"));
        assert!(matches!(change(&|d| leaf(d, other.clone())), Err(DisclosureError::Root { .. })));
        assert!(matches!(change(&|d| d.nodes.push(Node::Withheld(hash))), Err(DisclosureError::Cover { .. })));
        assert!(matches!(change(&|d| drop(d.nodes.pop())), Err(DisclosureError::Cover { .. })));
        assert!(matches!(change(&|d| d.nodes.swap(1, 2)), Err(DisclosureError::Root { .. })));
        // A field more than its type has, or one fewer, under a root that its sealer made over just that.
        let sealed = |change: &dyn Fn(&mut Vec<Leaf>)| {
            let mut changed = full.clone();
            if let Node::Record(leaves) = &mut changed.nodes[1] {
                change(leaves);
            }
            let record = |(number, node): (u64, &Node)| match node {
                Node::Record(leaves) => {
                    let leaf = |leaf: &Leaf| if let Leaf::Shown(text) = leaf { field_leaf(text) } else { Hash::ZERO };
                    record_leaf(number, &leaves.iter().map(leaf).collect::<Vec<_>>())
                }
                Node::Withheld(hash) => *hash,
            };
            let root = custodia_merkle::root(&(0..).zip(&changed.nodes).map(record).collect::<Vec<_>>());
            changed.subject = Subject::Package(Package { records: 3, root });
            changed.close().map(drop)
        };
        assert_eq!(sealed(&|_| ()), Ok(()));
        for planted in [sealed(&|leaves| leaves.push(first.clone())), sealed(&|leaves| drop(leaves.pop()))] {
            assert_eq!(planted, Err(DisclosureError::Fields { record: 1 }));
        }
    }
}
