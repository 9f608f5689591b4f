//! CASE 1.4 over UCO, as JSON-LD: files with their digests and exhibit numbers, and custody as investigative actions. What these
//! ontologies have no class for, sites, graves, remains, samples and the like, stands in a namespace of its own.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};

use custodia_format::Hash;
use custodia_format::disclosure::ShownRecord;
use custodia_format::record::Value as FieldValue;
use custodia_verify::chain::Entry;
use serde_json::{Value, json};

use crate::{Exported, text};

const CONTEXT: &str = r#"{
  "case-investigation": "https://ontology.caseontology.org/case/investigation/",
  "uco-action": "https://ontology.unifiedcyberontology.org/uco/action/",
  "uco-core": "https://ontology.unifiedcyberontology.org/uco/core/",
  "uco-identity": "https://ontology.unifiedcyberontology.org/uco/identity/",
  "uco-observable": "https://ontology.unifiedcyberontology.org/uco/observable/",
  "uco-types": "https://ontology.unifiedcyberontology.org/uco/types/",
  "xsd": "http://www.w3.org/2001/XMLSchema#",
  "record": "urn:custodia:record:1:"
}"#;
/// Files that one action names; an action on more names the package.
const OBJECTS_MOST: usize = 1000;

/// A graph that is being written, object by object.
#[derive(Debug)]
pub struct Graph<W> {
    out: W,
    package: Hash,
    has_objects: bool,
    /// The records that are files: what an action may name.
    files: BTreeSet<u64>,
    /// The last action of each custodian.
    last: HashMap<String, String>,
    custodians: HashMap<String, String>,
}

impl<W: Write> Graph<W> {
    /// Begins the graph of a package.
    ///
    /// # Errors
    /// The writer's.
    pub fn new(mut out: W, package: &Hash, case: &str, title: &str) -> io::Result<Self> {
        write!(out, "{{\n\"@context\": {CONTEXT},\n\"@graph\": [\n")?;
        let mut graph = Self {
            out,
            package: *package,
            has_objects: false,
            files: BTreeSet::new(),
            last: HashMap::new(),
            custodians: HashMap::new(),
        };
        let name = if title.is_empty() { case } else { title };
        graph.object(&json!({
            "@id": graph.id("investigation"),
            "@type": "case-investigation:Investigation",
            "uco-core:name": name,
            "uco-core:description": format!("Case {case}; package {package}"),
        }))?;
        Ok(graph)
    }

    /// A file, with its digest and its exhibit number.
    ///
    /// # Errors
    /// The writer's.
    pub fn file(&mut self, file: &Exported<'_>) -> io::Result<()> {
        let number = file.record.number;
        let path = String::from_utf8_lossy(file.path).into_owned();
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let id = self.id(&format!("file {number}"));
        let size = json!({ "@type": "xsd:integer", "@value": file.size.to_string() });
        self.object(&json!({
            "@id": id,
            "@type": "uco-observable:File",
            "uco-core:hasFacet": [
                {
                    "@id": self.id(&format!("file facet {number}")),
                    "@type": "uco-observable:FileFacet",
                    "uco-observable:fileName": name,
                    "uco-observable:filePath": path,
                    "uco-observable:sizeInBytes": size,
                },
                {
                    "@id": self.id(&format!("content facet {number}")),
                    "@type": "uco-observable:ContentDataFacet",
                    "uco-observable:sizeInBytes": size,
                    "uco-observable:hash": [{
                        "@id": self.id(&format!("hash {number}")),
                        "@type": "uco-types:Hash",
                        "uco-types:hashMethod": "SHA256",
                        "uco-types:hashValue": { "@type": "xsd:hexBinary", "@value": file.sha256.to_string() },
                    }],
                },
            ],
        }))?;
        let code = text(file.record, "code");
        let mut record = json!({
            "@id": self.id(&format!("provenance {number}")),
            "@type": "case-investigation:ProvenanceRecord",
            "uco-core:object": { "@id": id },
        });
        if let (false, Some(members)) = (code.is_empty(), record.as_object_mut()) {
            members.insert("case-investigation:exhibitNumber".to_owned(), json!(code));
            members.insert("case-investigation:rootExhibitNumber".to_owned(), json!(code));
        }
        self.object(&record)?;
        self.files.insert(number);
        Ok(())
    }

    /// A record of another type, under its own namespace.
    ///
    /// # Errors
    /// The writer's.
    pub fn record(&mut self, record: &ShownRecord) -> io::Result<()> {
        let Some(name) = record.type_name().and_then(|name| name.split('/').next()) else { return Ok(()) };
        let mut object = json!({
            "@id": self.id(&format!("record {}", record.number)),
            "@type": ["uco-core:UcoObject", format!("record:{name}")],
        });
        if let Some(members) = object.as_object_mut() {
            for (field, value) in record.fields.iter().flatten().skip(1) {
                let told = match value {
                    FieldValue::Null => continue,
                    FieldValue::Text(text) => json!(text),
                    // A list has an order: a moment, a device, a place.
                    FieldValue::List(texts) => json!({ "@list": texts }),
                };
                members.insert(format!("record:{field}"), told);
            }
        }
        self.object(&object)
    }

    /// Something that was done.
    ///
    /// # Errors
    /// The writer's.
    pub fn action(&mut self, entry: &Entry) -> io::Result<()> {
        let custodian = match self.custodians.get(&entry.custodian) {
            Some(id) => id.clone(),
            None => {
                let id = self.id(&format!("custodian {}", entry.custodian));
                self.object(&json!({
                    "@id": id,
                    "@type": "uco-identity:Organization",
                    "uco-core:name": entry.custodian,
                }))?;
                self.custodians.insert(entry.custodian.clone(), id.clone());
                id
            }
        };
        let what = entry.action.as_deref().unwrap_or(&entry.kind);
        let id = self.id(&format!("action {}", entry.digest));
        let mut action = json!({
            "@id": id,
            "@type": "case-investigation:InvestigativeAction",
            "uco-core:name": what,
            "uco-core:description": description(entry),
            "uco-action:performer": { "@id": custodian },
        });
        if let Some(members) = action.as_object_mut() {
            if let Some(time) = date_time(entry) {
                members.insert("uco-action:startTime".to_owned(), json!({ "@type": "xsd:dateTime", "@value": time }));
            }
            let objects: Vec<Value> = self.objects_of(entry).into_iter().map(|id| json!({ "@id": id })).collect();
            members.insert("uco-action:object".to_owned(), json!(objects));
            if let Some(before) = self.last.get(&entry.custodian) {
                members.insert("case-investigation:wasInformedBy".to_owned(), json!({ "@id": before }));
            }
        }
        self.last.insert(entry.custodian.clone(), id);
        self.object(&action)
    }

    /// Ends the graph; gives the writer back.
    ///
    /// # Errors
    /// The writer's.
    pub fn end(mut self) -> io::Result<W> {
        self.out.write_all(b"\n]\n}\n")?;
        Ok(self.out)
    }

    /// The files that an action is about; the package as a whole where it is about all of it, or about too many.
    fn objects_of(&self, entry: &Entry) -> Vec<String> {
        let mut objects = Vec::new();
        for range in &entry.items {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (Ok(first), Ok(last)) = (first.parse::<u64>(), last.parse::<u64>()) else { continue };
            let files = self.files.range(first..=last).take(OBJECTS_MOST + 1 - objects.len().min(OBJECTS_MOST));
            objects.extend(files.map(|number| self.id(&format!("file {number}"))));
        }
        if objects.is_empty() || objects.len() > OBJECTS_MOST { vec![self.id("investigation")] } else { objects }
    }

    fn object(&mut self, value: &Value) -> io::Result<()> {
        if self.has_objects {
            self.out.write_all(b",\n")?;
        }
        self.has_objects = true;
        write!(self.out, "{value}")
    }

    /// A name that is the same in every export of a package: 122 bits of a SHA-256 in the form of a UUID. The ontologies' advice is one of
    /// versions 1 to 5, so that it has the form of version 4.
    fn id(&self, what: &str) -> String {
        let digest = Hash::of(format!("custodia/case/v1\n{}\n{what}", self.package).as_bytes()).to_string();
        let part = |from: usize, to: usize| digest.get(from..to).unwrap_or_default();
        format!("urn:uuid:{}-{}-4{}-a{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
    }
}

/// A time that is exact enough to be one: to the minute at least, in a known zone.
fn date_time(entry: &Entry) -> Option<String> {
    let Some(told) = &entry.told else { return Some(entry.recorded_at.clone()) };
    let time = custodia_format::moment::read(&format!("{}{}", told.value, told.zone)).ok()?;
    let is_exact = matches!(told.precision.as_str(), "minute" | "second") && told.zone != "none";
    is_exact.then(|| format!("{}{}", time.value, told.zone))
}

fn description(entry: &Entry) -> String {
    let mut parts = vec![format!("statement {}", entry.digest)];
    parts.extend(entry.told.as_ref().map(|told| format!("told: {told}, {}", told.source)));
    parts.push(format!("written down: {}", entry.recorded_at));
    parts.extend(entry.persons.iter().map(|person| format!("{}: {}", person.role, person.name)));
    parts.extend(entry.bag_seals.iter().map(|seal| format!("bag seal {} {}", seal.number, seal.state)));
    parts.extend(entry.details.iter().chain(&entry.codes).map(|(name, value)| format!("{name}: {value}")));
    if !entry.officers.is_empty() {
        parts.push(format!("signed by {}", entry.officers.join(", ")));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_is_one_document_and_its_names_stay() {
        let record = ShownRecord {
            number: 3,
            known: true,
            fields: [("type", "file/1"), ("code", "KV-3"), ("path", "day 1/a.jpg")]
                .map(|(name, value)| Some((name.to_owned(), FieldValue::Text(value.to_owned()))))
                .to_vec(),
        };
        let written = || {
            let mut graph = Graph::new(Vec::new(), &Hash::ZERO, "KV", "").unwrap();
            let file = Exported { path: b"items/day 1/a.jpg", size: 7, sha256: &Hash::ZERO, record: &record };
            graph.file(&file).unwrap();
            graph.record(&record).unwrap();
            String::from_utf8(graph.end().unwrap()).unwrap()
        };
        let value: Value = serde_json::from_str(&written()).unwrap();
        let graph = value["@graph"].as_array().unwrap();
        assert_eq!(graph.len(), 4);
        assert_eq!(graph[2]["case-investigation:exhibitNumber"], "KV-3");
        assert_eq!(graph[3]["record:path"], "day 1/a.jpg");
        let id = graph[1]["@id"].as_str().unwrap();
        assert!(id.len() == 45 && id.as_bytes()[23] == b'4', "{id}");
        assert_eq!(written(), written());
    }
}
