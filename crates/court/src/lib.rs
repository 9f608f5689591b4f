//! The court's own program, as a library: reads a proof, a trust file and a folder, calls the verifier, prints.
//!
//! It refuses everything else: no network, no node, no writing. `custodia verify` is this same code.

mod folder;

use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use custodia_format::trust::TrustFile;
use custodia_format::{Malformed, limits};
use custodia_verify::{Content, Given, Strictness, verify, verify_custody};

pub use folder::{EXPORT_ITEMS, EXPORT_MANIFEST, EXPORT_MIDSTATES, Folder};

/// What is to be checked.
#[derive(Debug, Clone)]
pub struct Request {
    /// The proof file.
    pub proof: PathBuf,
    /// The folder with its files: an export, or the items themselves.
    pub dir: Option<PathBuf>,
    /// Whom the reader believes; nobody when there is none.
    pub trust: Option<PathBuf>,
    /// Remarks end with 13.
    pub strict: bool,
    /// One JSON document instead of words.
    pub json: bool,
    /// The chain of custody too.
    pub chain: Option<Drawn>,
}

/// How a chain of custody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drawn {
    /// After the report, in words: of all records, or of this one.
    Words(Option<u64>),
    /// Instead of the report, as a picture (SVG).
    Picture(Option<u64>),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// What is to be printed.
    pub text: String,
    /// How the program ends: docs/spec/proof.md, step 10.
    pub exit_code: u8,
}

/// Why nothing was judged. The reader's files, never the proof.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CourtError {
    /// A file or folder cannot be read.
    #[error("E-IO  {path} cannot be read: {error}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A file is larger than what it should be can be.
    #[error("E-MALFORMED  {path} has more than {limit} bytes")]
    Size {
        /// Which.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// The trust file does not parse.
    #[error("E-MALFORMED  {path}: {error}")]
    Trust {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        error: Malformed,
    },
}

impl CourtError {
    /// What to do next.
    pub const fn next_step(&self) -> &'static str {
        match self {
            Self::Read { .. } => "name a file that is there and that you may read",
            Self::Size { .. } => "look whether this is the file that you meant",
            Self::Trust { .. } => {
                "ask whoever gave you the trust file for it again; it is a text with a line for each authority"
            }
        }
    }
}

/// Checks a proof.
///
/// # Errors
/// [`CourtError`] when a file of the reader's cannot be read; nothing was judged then.
pub fn check(request: &Request) -> Result<Checked, CourtError> {
    let proof = read(&request.proof, limits::PROOF_BYTES)?;
    let trust = match &request.trust {
        None => TrustFile::default(),
        Some(path) => TrustFile::parse(&read(path, limits::TRUST_BYTES as u64)?)
            .map_err(|error| CourtError::Trust { path: path.clone(), error })?,
    };
    let folder = request.dir.as_deref().map(Folder::open).transpose()?;
    let manifest = folder.as_ref().and_then(Folder::manifest).map(|path| read(&path, limits::MANIFEST_BYTES));
    let manifest = manifest.transpose()?;
    let given = Given {
        proof: &proof,
        trust: &trust,
        manifest: manifest.as_deref(),
        content: folder.as_ref().map(|folder| folder as &dyn Content),
        cores: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
    };
    let (report, chain) = match request.chain {
        None => (verify(&given), None),
        Some(Drawn::Words(item) | Drawn::Picture(item)) => verify_custody(&given, item),
    };
    let strictness = if request.strict { Strictness::Strict } else { Strictness::Usual };
    let text = match (request.chain, &chain) {
        (Some(Drawn::Picture(_)), Some(chain)) => chain.to_svg(),
        _ if request.json => report.to_json(chain.as_ref()),
        (_, Some(chain)) => format!("{}\n{}", report.to_text(), chain.to_text()),
        (_, None) => report.to_text(),
    };
    Ok(Checked { text, exit_code: report.exit_code(strictness) })
}

/// Reads a whole file of at most so many bytes.
fn read(path: &Path, limit: u64) -> Result<Vec<u8>, CourtError> {
    let failed = |error| CourtError::Read { path: path.to_owned(), error };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(CourtError::Size { path: path.to_owned(), limit });
    }
    Ok(bytes)
}
