//! The sheets that describe what is sealed, held against the source and against what was sealed before in the same case.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::path::Path;

use custodia_format::record::{PACKAGE, RecordType, Value, schema};
use custodia_format::text::Code as CodeText;
use custodia_sheets::{Problems, Sheets, Surroundings};
use custodia_vault::Plan;

use crate::failure::{Code, Failure};
use crate::{Node, packages};

/// Problems that a refusal names; a dry run names them all.
const NAMED: usize = 20;

/// Sheets that were read, and what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Description {
    pub(super) sheets: Sheets,
    problems: Problems,
}

impl Description {
    /// Reads the sheets of a folder, whatever is wrong with them.
    pub(super) fn read(node: &Node, folder: &Path, case: &CodeText, plan: &Plan) -> Result<Self, Failure> {
        let mut problems = Problems::default();
        let sheets = Sheets::read(folder, &mut problems).map_err(|error| {
            Failure::new(Code::InputUnreadable, "The sheets cannot be read.")
                .at(error)
                .instead_of("a folder of sheets that can be read", folder.display().to_string())
                .safe("Nothing was sealed.")
                .next("custodia records template DIR writes empty sheets")
        })?;
        let files: HashSet<&[u8]> = plan.files.iter().map(|file| file.path.as_slice()).collect();
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let by_name = OnceCell::new();
        let alike = |path: &str| {
            let paths = || plan.files.iter().filter_map(|file| std::str::from_utf8(&file.path).ok());
            let by_name: &HashMap<String, &str> =
                by_name.get_or_init(|| paths().map(|path| (name(path), path)).collect());
            by_name.get(&name(path)).map(|path| (*path).to_owned())
        };
        let before = OnceCell::new();
        let sealed = |code: &str| {
            let before = before.get_or_init(|| sealed_before(node, case));
            before.as_ref().ok()?.get(code).copied()
        };
        let around = Surroundings { has_file: &|path| files.contains(path.as_bytes()), alike: &alike, sealed: &sealed };
        sheets.check(&around, &mut problems);
        before.into_inner().transpose()?;
        Ok(Self { sheets, problems })
    }

    /// # Errors
    /// The title stands in a sheet too.
    pub(super) fn refuse_second_title(&self, note: Option<&str>) -> Result<(), Failure> {
        let title = self.sheets.package().map(|described| described.record());
        let title = title.and_then(|record| record.field(&PACKAGE, "title").and_then(Value::as_str).map(str::to_owned));
        match (note, title) {
            (Some(_), Some(title)) => Err(Failure::new(Code::Usage, "The title is told twice.")
                .at("--note and package.csv")
                .instead_of("one of them", title)
                .safe("Nothing was sealed.")
                .next("leave --note out")),
            _ => Ok(()),
        }
    }

    /// Everything that is wrong, a line for each thing.
    pub(super) fn told(&self) -> Vec<String> {
        let mut told: Vec<String> = self.problems.named().iter().map(ToString::to_string).collect();
        let more = self.problems.count() - told.len() as u64;
        if more > 0 {
            told.push(format!("and {more} more"));
        }
        told
    }

    /// # Errors
    /// Anything is wrong.
    pub(super) fn refuse_problems(&self) -> Result<(), Failure> {
        if self.problems.is_empty() {
            return Ok(());
        }
        let what = match self.problems.count() {
            1 => "One thing in the sheets is not right.".to_owned(),
            many => format!("{many} things in the sheets are not right."),
        };
        let named = self.problems.named().iter().take(NAMED).map(ToString::to_string);
        let failure = Failure::new(Code::Records, what).at(named.collect::<Vec<_>>().join("; "));
        let failure = match self.problems.count() > NAMED as u64 {
            true => failure.next("custodia seal with --dry-run names all of them"),
            false => failure,
        };
        Err(failure
            .safe("Nothing was sealed. The sheets and the source were only read.")
            .next("mend the sheets and run the same command"))
    }
}

/// Codes for files to which no sheet gives one: the case and a number that nothing else in the package has.
pub(super) struct FileCodes<'a> {
    case: &'a CodeText,
    sheets: &'a Sheets,
    number: u64,
}

impl<'a> FileCodes<'a> {
    pub(super) const fn new(case: &'a CodeText, sheets: &'a Sheets) -> Self {
        Self { case, sheets, number: 0 }
    }
}

impl Iterator for FileCodes<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        loop {
            self.number += 1;
            let code = format!("{}-{}", self.case, self.number);
            if !self.sheets.has_code(&code) {
                return Some(code);
            }
        }
    }
}

/// The codes of all records of this case that are here, whoever sealed them.
fn sealed_before(node: &Node, case: &CodeText) -> Result<HashMap<String, &'static RecordType>, Failure> {
    let mut codes = HashMap::new();
    for root in packages::of_case(node, case.as_str())? {
        packages::records_of(node.home(), &root, |_, record| {
            if let (Some(known), Some(code)) = (record.type_name().and_then(schema), record.code()) {
                codes.insert(code.to_owned(), known);
            }
            Ok(())
        })?;
    }
    Ok(codes)
}
