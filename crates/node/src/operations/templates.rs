//! Empty sheets, for people to fill.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use custodia_format::record::STANDARD;
use custodia_sheets::{is_sheet, template};
use serde::{Deserialize, Serialize};

use crate::failure::{Code, Failure};

/// Sheets that were written empty, to be filled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Templates {
    /// The folder.
    pub folder: String,
    /// The sheets' file names.
    pub sheets: Vec<String>,
}

/// Writes an empty sheet for each record type into a folder. Needs no node, and touches nothing that is there.
///
/// # Errors
/// [`Code::Exists`] when one of them is there already: nothing is written then; [`Code::Io`].
pub fn records_templates(folder: &Path) -> Result<Templates, Failure> {
    let sheets: Vec<(String, String)> = STANDARD.iter().filter(|known| is_sheet(known)).map(template).collect();
    if let Some((name, _)) = sheets.iter().find(|(name, _)| folder.join(name).exists()) {
        return Err(Failure::new(Code::Exists, "A sheet of this name is there already.")
            .at(folder.join(name).display())
            .instead_of("a folder without sheets", name)
            .safe("Nothing was written.")
            .next("name another folder"));
    }
    fs::create_dir_all(folder).map_err(|error| Failure::io(&error, folder))?;
    for (name, text) in &sheets {
        let path = folder.join(name);
        let written = File::create_new(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| Failure::io(&error, &path))?;
    }
    let names = sheets.into_iter().map(|(name, _)| name).collect();
    Ok(Templates { folder: folder.display().to_string(), sheets: names })
}
