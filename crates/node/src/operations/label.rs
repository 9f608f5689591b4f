//! Labels for what is in a package, and blank ones with numbers that nobody else has, for days without a link.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use custodia_format::record::{ARTEFACT, CONTAINER, Grammar, REMAINS, Record, SAMPLE, schema};
use custodia_interop::{Label as Printed, Sheet, pages};
use serde::{Deserialize, Serialize};

use super::prove::{refuse_existing, write_new};
use super::which::Which;
use crate::api::{Operation, Reporter};
use crate::desk::{load, save};
use crate::failure::{Code, Failure};
use crate::{Node, home, packages};

/// What bears a label unless somebody names other records.
const LABELLED: [&str; 4] = [CONTAINER.name, REMAINS.name, ARTEFACT.name, SAMPLE.name];
/// Blank labels at once.
const BLANK_MOST: u32 = 10_000;
/// Characters of a device's prefix.
const PREFIX_CHARS: usize = 8;

/// Print labels.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Label {
    /// The package, by a prefix of its id; none for blank labels.
    pub package: Option<String>,
    /// Of which records; none: of all containers, remains, artefacts and samples.
    pub items: Vec<String>,
    /// What they are printed on.
    pub sheet: String,
    /// How many blank ones.
    pub blank: Option<u32>,
    /// Which device allocates their numbers.
    pub prefix: Option<String>,
    /// The folder for the pages, by an absolute path; it does not exist.
    pub dir: PathBuf,
}

/// What was printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labelled {
    /// The folder.
    pub dir: String,
    /// Its pages.
    pub pages: u64,
    /// Labels, each of which is there twice.
    pub labels: u64,
    /// The first number and the last.
    pub numbers: Option<(String, String)>,
}

impl Operation for Label {
    const NAME: &'static str = "label";
    type Answer = Labelled;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Labelled, Failure> {
        let sheet = Sheet::named(&self.sheet).ok_or_else(|| {
            let names = Sheet::ALL.map(|(name, _)| name).join(", ");
            usage("Nothing is known of this sheet.", "--sheet", &format!("one of {names}"), &self.sheet)
        })?;
        refuse_existing(&self.dir)?;
        let labels = match (&self.package, self.blank) {
            (Some(package), None) => self.of_package(node, package)?,
            (None, Some(count)) => self.blank(node, count)?,
            _ => return Err(usage("A package or blank ones?", "PACKAGE, --blank", "one of them", "both or neither")),
        };
        home::make_folder(&self.dir)?;
        let pages = pages(sheet, &labels);
        for (number, page) in (1..).zip(&pages) {
            write_new(&self.dir.join(format!("labels-{number:04}.svg")), page.as_bytes())?;
        }
        let numbers = labels.first().zip(labels.last()).map(|(first, last)| (first.checked(), last.checked()));
        let (pages, labels) = (pages.len() as u64, labels.len() as u64);
        Ok(Labelled { dir: self.dir.display().to_string(), pages, labels, numbers })
    }
}

impl Label {
    fn of_package(&self, node: &Node, package: &str) -> Result<Vec<Printed>, Failure> {
        let root = packages::find(node, package)?;
        let mut meant: Vec<(Which, bool)> = self.items.iter().map(|item| (Which::parse(item), false)).collect();
        let mut labels = Vec::new();
        packages::records_of(node.home(), &root, |number, record| {
            let mut is_meant = self.items.is_empty() && record.type_name().is_some_and(|name| LABELLED.contains(&name));
            for (_, is_met) in meant.iter_mut().filter(|(which, _)| which.is(number, &record)) {
                (is_meant, *is_met) = (true, true);
            }
            let code = record.code().unwrap_or_default().to_owned();
            labels.extend(is_meant.then(|| Printed { number: code, of: Some((root, number)), lines: lines(&record) }));
            Ok(())
        })?;
        let unmet = meant.iter().position(|(_, is_met)| !is_met).and_then(|at| self.items.get(at));
        if let Some(item) = unmet {
            return Err(Failure::new(Code::UnknownRecord, "This package has no such record.")
                .at("--item")
                .instead_of("a code, a sealed path, a type or record numbers", item)
                .next("custodia records list PACKAGE"));
        }
        if labels.is_empty() {
            return Err(Failure::new(Code::UnknownRecord, "Nothing in this package bears a label.")
                .instead_of("containers, remains, artefacts or samples", "none")
                .next("custodia label PACKAGE --item ITEM"));
        }
        Ok(labels)
    }

    /// Numbers that this device has not given before; they are taken before they are printed.
    fn blank(&self, node: &Node, count: u32) -> Result<Vec<Printed>, Failure> {
        if !(1..=BLANK_MOST).contains(&count) {
            return Err(usage(
                "So many cannot be printed.",
                "--blank",
                &format!("1 to {BLANK_MOST}"),
                &count.to_string(),
            ));
        }
        let prefix = self.prefix.as_deref().unwrap_or_default();
        let is_prefix = (1..=PREFIX_CHARS).contains(&prefix.len())
            && prefix.bytes().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
        if !is_prefix {
            let expected = format!("1 to {PREFIX_CHARS} capital letters and digits that no other device has");
            return Err(usage("This is no prefix of a device.", "--prefix", &expected, prefix));
        }
        let _desk = node.desk();
        let path = node.home().desk().join("labels.json");
        // What cannot be read is not begun anew: numbers that are on bags would be given again.
        let known: Option<BTreeMap<String, u64>> = load(&path);
        if known.is_none() && path.exists() {
            return Err(Failure::new(Code::Io, "The list of numbers that were given cannot be read.")
                .at(path.display())
                .safe("Nothing was printed, and no number was given.")
                .next("bring it back from a backup, or take a prefix that no device had and move the file away"));
        }
        let mut given = known.unwrap_or_default();
        let next = given.entry(prefix.to_owned()).or_insert(1);
        let first = *next;
        *next += u64::from(count);
        save(&path, &given)?;
        let numbers = first..first + u64::from(count);
        Ok(numbers
            .map(|number| Printed { number: format!("{prefix}-{number:05}"), of: None, lines: Vec::new() })
            .collect())
    }
}

/// What stands on a label besides its number: what it is, which of how many, from what, and when. Nothing that people wrote freely.
fn lines(record: &Record) -> Vec<String> {
    let Some(known) = record.type_name().and_then(schema) else { return Vec::new() };
    let mut what = known.name.split('/').next().unwrap_or_default().to_owned();
    let mut lines = Vec::new();
    for (field, value) in known.fields.iter().zip(&record.0) {
        match (field.grammar, value.texts()) {
            (Grammar::Part, [number, of]) => what += &format!("  {number} of {of}"),
            (Grammar::Code | Grammar::Codes, codes) if field.name.starts_with("parent") && !codes.is_empty() => {
                lines.push(format!("from {}", codes.join(", ")));
            }
            (Grammar::Moment, [value, precision, ..]) => {
                let chars = match precision.as_str() {
                    "year" => 4,
                    "month" => 7,
                    _ => 10,
                };
                lines.push(format!("{} {}", field.name, value.get(..chars).unwrap_or(value)));
            }
            _ => {}
        }
    }
    lines.insert(0, what);
    lines
}

fn usage(what: &str, option: &str, expected: &str, found: &str) -> Failure {
    Failure::new(Code::Usage, what)
        .at(option)
        .instead_of(expected, found)
        .safe("Nothing was printed, and no number was given.")
        .next("custodia label --help")
}
