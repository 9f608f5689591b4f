//! The sheets that describe what is sealed, held against the source and against what was sealed before in the same case.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::path::Path;

use custodia_dossier::{Dossier, Problems, Surroundings};
use custodia_format::record::{RecordType, Value, schema};
use custodia_format::text::Code as CodeText;
use custodia_vault::Plan;

use crate::failure::{Code, Failure};
use crate::{Node, packages};

/// Problems that a refusal names; a dry run names them all.
const NAMED: usize = 20;

/// Sheets that were read, and what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Sheets {
    pub(super) dossier: Dossier,
    problems: Problems,
}

impl Sheets {
    /// Reads the sheets of a folder, whatever is wrong with them.
    pub(super) fn read(node: &Node, folder: &Path, case: &CodeText, plan: &Plan) -> Result<Self, Failure> {
        let mut problems = Problems::default();
        let dossier = Dossier::read(folder, &mut problems).map_err(|error| {
            Failure::new(Code::InputUnreadable, "The sheets cannot be read.")
                .at(error)
                .instead_of("a folder of sheets that can be read", folder.display().to_string())
                .safe("Nothing was sealed.")
        })?;
        let files: HashSet<&[u8]> = plan.files.iter().map(|file| file.path.as_slice()).collect();
        let before = OnceCell::new();
        let failed = OnceCell::new();
        let sealed = |code: &str| {
            let before = before.get_or_init(|| {
                sealed_before(node, case).unwrap_or_else(|failure| {
                    let _ = failed.set(failure);
                    HashMap::new()
                })
            });
            before.get(code).copied()
        };
        let around = Surroundings {
            has_file: &|path| files.contains(path.as_bytes()),
            sealed: &sealed,
            is_given: &|code| is_given(case, code),
        };
        dossier.check(&around, &mut problems);
        match failed.into_inner() {
            Some(failure) => Err(failure),
            None => Ok(Self { dossier, problems }),
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
        Err(failure.safe("Nothing was sealed. The sheets and the source were only read.").next("mend the sheets and run the same command"))
    }
}

/// The code of a file to which no sheet gives one.
pub(super) fn given_code(case: &CodeText, number: u64) -> String {
    format!("{case}-{number}")
}

fn is_given(case: &CodeText, code: &str) -> bool {
    let number = code.strip_prefix(case.as_str()).and_then(|rest| rest.strip_prefix('-'));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit()))
}

/// The codes of all records of this case that are here, whoever sealed them.
fn sealed_before(node: &Node, case: &CodeText) -> Result<HashMap<String, &'static RecordType>, Failure> {
    let mut codes = HashMap::new();
    for root in node.index().packages()? {
        let summary = node.summaries().of(node.home(), &root)?;
        if summary.is_none_or(|summary| summary.case.as_deref() != Some(case.as_str())) {
            continue;
        }
        packages::records_of(node.home(), &root, |_, record| {
            let code = record.0.get(1).and_then(Value::as_str);
            if let (Some(known), Some(code)) = (record.type_name().and_then(schema), code) {
                codes.insert(code.to_owned(), known);
            }
            Ok(())
        })?;
    }
    Ok(codes)
}
