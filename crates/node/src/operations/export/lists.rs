//! What an export says in other people's formats, beside the files and the proof.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use custodia_format::Hash;
use custodia_format::disclosure::ShownRecord;
use custodia_interop::{Exported, FtkLog, Graph, HASHDEEP_HEAD, LoadFile, custody_table, hashdeep_line};
use custodia_verify::chain::Chain;

use super::listing::Listing;
use crate::failure::Failure;
use crate::packages::Summary;

/// Their names.
const HASHDEEP: &str = "hashdeep.txt";
const LOG: &str = "LOG.txt";
const LOAD: &str = "load-file.csv";
const CASE: &str = "case.jsonld";
const CUSTODY: &str = "custody.csv";

/// The lists in the making.
pub(super) struct Lists {
    hashdeep: Listing,
    log: FtkLog<Listing>,
    load: LoadFile<Listing>,
    graph: Graph<Listing>,
    custody: Listing,
}

impl Lists {
    /// Begins all of them in a folder.
    pub(super) fn begin(folder: &Path, root: &Hash, told: &Summary, is_redacted: bool) -> Result<Self, Failure> {
        let listing = |name: &str| Listing::create(folder.join(name));
        // What a redacted copy is called stands in its records, as far as they are shown.
        let shown = |text: &Option<String>| text.clone().filter(|_| !is_redacted).unwrap_or_default();
        let (case, title) = (shown(&told.case), shown(&told.title));
        let program = format!("custodia {}", env!("CARGO_PKG_VERSION"));
        let failed = |error: io::Error| Failure::io(&error, folder);
        let mut hashdeep = listing(HASHDEEP)?;
        hashdeep.write_all(HASHDEEP_HEAD.as_bytes()).map_err(failed)?;
        Ok(Self {
            hashdeep,
            log: FtkLog::new(listing(LOG)?, &program, &case, root, &title).map_err(failed)?,
            load: LoadFile::new(listing(LOAD)?, &case, is_redacted).map_err(failed)?,
            graph: Graph::new(listing(CASE)?, root, &case, &title).map_err(failed)?,
            custody: listing(CUSTODY)?,
        })
    }

    /// A file that went along.
    pub(super) fn file(&mut self, file: &Exported<'_>) -> io::Result<()> {
        hashdeep_line(&mut self.hashdeep, file)?;
        self.log.file(file)?;
        self.load.file(file)?;
        self.graph.file(file)
    }

    /// Any other record that is shown.
    pub(super) fn record(&mut self, record: &ShownRecord) -> io::Result<()> {
        self.graph.record(record)
    }

    /// Adds what was done, and ends them; gives each with its digest.
    pub(super) fn end(mut self, chain: &Chain) -> Result<Vec<(PathBuf, Hash)>, Failure> {
        let failed = |error: io::Error| Failure::io(&error, CUSTODY);
        custody_table(&mut self.custody, chain).map_err(failed)?;
        for entry in &chain.entries {
            self.graph.action(entry).map_err(failed)?;
        }
        let all = [
            self.hashdeep,
            self.log.end(),
            self.load.end().map_err(failed)?,
            self.graph.end().map_err(failed)?,
            self.custody,
        ];
        let end = |listing: Listing| {
            let below = PathBuf::from(listing.path().file_name().unwrap_or_default());
            Ok((below, listing.end()?))
        };
        all.into_iter().map(end).collect()
    }
}
