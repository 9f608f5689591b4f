//! Reading what packages say of what is in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use custodia_format::Hash;
use custodia_format::record::{Grammar, Record, Value, schema};
use serde::{Deserialize, Serialize};

use crate::api::{Operation, Reporter};
use crate::failure::{Code, Failure};
use crate::{Node, packages};

/// Records in one answer.
const PAGE: usize = 1000;

/// The records of a package, or those of one type.
#[derive(Debug, Serialize, Deserialize)]
pub struct RecordsList {
    /// The package, by a prefix of its id.
    pub package: String,
    /// A record type, with its version or without.
    pub of_type: Option<String>,
    /// The number of the first record that is wanted.
    #[serde(default)]
    pub from: u64,
}

/// Everything that is said of a code in a case: the record that has it and all that name it, in every package that is here.
#[derive(Debug, Serialize, Deserialize)]
pub struct RecordsAbout {
    /// The case.
    pub case: String,
    /// The code.
    pub code: String,
}

/// Some of the records of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordsPage {
    /// How many records of each type the package has.
    pub counts: BTreeMap<String, u64>,
    /// Those that were asked for, at most a thousand.
    pub records: Vec<RecordShown>,
    /// The number to go on from, where there are more.
    pub more_from: Option<u64>,
}

/// A record as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordShown {
    /// The package that it is in.
    pub package: String,
    /// Its number there.
    pub number: u64,
    /// Its type.
    pub record_type: String,
    /// Its code.
    pub code: String,
    /// What it says, in the order of its type; what it does not say is left out.
    pub fields: Vec<FieldShown>,
}

/// What one field says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldShown {
    /// Its name; its place, from 0, where this program does not know the type.
    pub name: String,
    /// Its values: one, or those of a list.
    pub values: Vec<String>,
}

impl Operation for RecordsList {
    const NAME: &'static str = "records-list";
    type Answer = RecordsPage;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<RecordsPage, Failure> {
        let root = packages::find(node, &self.package)?;
        here(node, &root)?;
        let mut page = RecordsPage { counts: BTreeMap::new(), records: Vec::new(), more_from: None };
        packages::records_of(node.home(), &root, |number, record| {
            let of_type = record.type_name().unwrap_or_default();
            *page.counts.entry(of_type.to_owned()).or_default() += 1;
            let is_wanted = self.of_type.as_deref().is_none_or(|wanted| {
                of_type == wanted || of_type.split_once('/').is_some_and(|(name, _)| name == wanted)
            });
            if is_wanted && number >= self.from {
                match page.records.len() < PAGE {
                    true => page.records.push(shown(&root, number, &record)),
                    false => drop(page.more_from.get_or_insert(number)),
                }
            }
            Ok(())
        })?;
        Ok(page)
    }
}

impl Operation for RecordsAbout {
    const NAME: &'static str = "records-about";
    type Answer = Vec<RecordShown>;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Vec<RecordShown>, Failure> {
        let mut found = Vec::new();
        let mut roots = packages::of_case(node, &self.case)?;
        roots.sort_unstable();
        for root in roots {
            packages::records_of(node.home(), &root, |number, record| {
                if is_about(&record, &self.code) && found.len() < PAGE {
                    found.push(shown(&root, number, &record));
                }
                Ok(())
            })?;
        }
        if found.is_empty() {
            return Err(Failure::new(Code::UnknownRecord, "Nothing here in this case has this code, or names it.")
                .instead_of(format!("a code of the case {}", self.case), &self.code)
                .next("custodia records list PACKAGE"));
        }
        // Whoever has the code, then those that name it.
        found.sort_by_key(|shown| shown.code != self.code);
        Ok(found)
    }
}

/// The manifest of a package must have come.
fn here(node: &Node, root: &Hash) -> Result<(), Failure> {
    if node.home().manifest(root).is_file() {
        return Ok(());
    }
    Err(Failure::new(Code::NotYet, "The manifest of this package is not here yet.")
        .at(root)
        .next("their node sends the manifest; keep custodia serve running"))
}

fn is_about(record: &Record, code: &str) -> bool {
    let names = |value: &Value| value.texts().iter().any(|one| one == code);
    if record.code() == Some(code) {
        return true;
    }
    let Some(known) = record.type_name().and_then(schema) else { return false };
    let fields = known.fields.iter().zip(&record.0);
    fields.into_iter().any(|(field, value)| matches!(field.grammar, Grammar::Code | Grammar::Codes) && names(value))
}

fn shown(root: &Hash, number: u64, record: &Record) -> RecordShown {
    let known = record.type_name().and_then(schema);
    let name = |place: usize| {
        let field = known.and_then(|known| known.fields.get(place));
        field.map_or_else(|| place.to_string(), |field| field.name.to_owned())
    };
    let told = record.0.iter().enumerate().skip(2).filter(|(_, value)| **value != Value::Null);
    let fields = told.map(|(place, value)| FieldShown { name: name(place), values: value.texts().to_vec() });
    RecordShown {
        package: root.to_string(),
        number,
        record_type: record.type_name().unwrap_or_default().to_owned(),
        code: record.code().unwrap_or_default().to_owned(),
        fields: fields.collect(),
    }
}
