//! What is said of a package after it was sealed.

use std::path::PathBuf;

use clap::Args;

/// Sign a custody event.
#[derive(Debug, Args)]
pub(crate) struct Event {
    /// What was done: open, examine, sample, copy, convert, redact, translate, move, transport, hand-over, reseal, return, destroy,
    /// lose, find, found-history, withheld-segment, consent, exculpatory-notice, release-refused, release-although, correct, or
    /// another word.
    pub action: String,
    /// Any unique beginning of the package's id, 8 characters or more.
    pub package: String,
    /// To what: a code, a sealed path, or record numbers such as 3-7; once for each. Without it, all of the package.
    #[arg(long = "item", value_name = "ITEM")]
    pub items: Vec<String>,
    /// When, as far as it is known, with its zone where that is known. Without it, now.
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// On whose clock.
    #[arg(long, value_name = "TEXT")]
    pub at_source: Option<String>,
    /// What belongs to it and any later reader may see; once for each.
    #[arg(long = "code", value_name = "NAME=VALUE")]
    pub codes: Vec<String>,
    /// A bag seal: intact, broken, mismatch, absent, or new; once for each.
    #[arg(long = "bag-seal", value_name = "NUMBER=STATE")]
    pub bag_seals: Vec<String>,
    /// Who took part; once for each.
    #[arg(long = "person", value_name = "ROLE=NAME")]
    pub persons: Vec<String>,
    /// Who should have signed and did not, and why; once for each.
    #[arg(long = "unsigned", value_name = "WHO=WHY")]
    pub unsigned: Vec<String>,
    /// Where.
    #[arg(long, value_name = "TEXT")]
    pub place: Option<String>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    pub purpose: Option<String>,
    /// On which order, request or consent.
    #[arg(long, value_name = "TEXT")]
    pub order: Option<String>,
    /// Anything else.
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// The earlier event that this one corrects.
    #[arg(long, value_name = "STATEMENT")]
    pub corrects: Option<String>,
    /// The other side's event that this one answers: both together are a hand-over.
    #[arg(long, value_name = "STATEMENT", conflicts_with = "corrects")]
    pub answers: Option<String>,
    /// A second officer who signs too: the other side of a hand-over within this authority, or a witness.
    #[arg(long, value_name = "O-N")]
    pub also: Option<String>,
    /// The file whose first line is the passphrase of that officer's key.
    #[arg(long, value_name = "FILE", requires = "also")]
    pub also_passphrase_file: Option<PathBuf>,
}

/// The limits of a release (docs/operate/limits.md). What was given under limits goes on under the same or narrower ones.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct Limits {
    /// The use that it is given for; the purpose when left out.
    #[arg(long = "use", value_name = "TEXT")]
    pub use_: Option<String>,
    /// To whom it may go on: none, consent (the default), or names with commas between them.
    #[arg(long, value_name = "none|consent|NAME,NAME")]
    pub onward: Option<String>,
    /// It may lead to evidence and may not be evidence.
    #[arg(long)]
    pub lead_only: bool,
    /// It must be given back.
    #[arg(long = "return")]
    pub return_: bool,
    /// Until when it may be kept: a day, or a moment in UTC.
    #[arg(long, value_name = "2036-12-31")]
    pub retain_until: Option<String>,
    /// Where the originator consented to this hand-over; it is signed before the release.
    #[arg(long, value_name = "TEXT")]
    pub consent: Option<String>,
    /// It may exculpate an accused person: it goes whatever its limits, and that is signed before the release.
    #[arg(long, value_name = "WHY")]
    pub exculpatory: Option<String>,
    /// It goes although a witness does not consent, a bag seal is broken, or a file is missing; that is signed before the release.
    #[arg(long, value_name = "WHY")]
    pub although: Option<String>,
}

/// The chain of custody.
#[derive(Debug, Args)]
pub(crate) struct Chain {
    /// Any unique beginning of the package's id, 8 characters or more.
    pub package: String,
    /// Of this record alone: a code, a sealed path, or a record number.
    #[arg(long, value_name = "ITEM")]
    pub item: Option<String>,
    /// Draw it as a timeline into this file (SVG).
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// Print labels.
#[derive(Debug, Args)]
pub(crate) struct Label {
    /// Any unique beginning of the package's id, 8 characters or more.
    #[arg(required_unless_present = "blank")]
    pub package: Option<String>,
    /// Of these: a code, a sealed path, a record type, or record numbers; once for each. Without it, of all containers, remains,
    /// artefacts and samples.
    #[arg(long = "item", value_name = "ITEM")]
    pub items: Vec<String>,
    /// What they are printed on: a4-24, 62mm or 50x30.
    #[arg(long, value_name = "SHEET", default_value = "a4-24")]
    pub sheet: String,
    /// So many blank ones, with numbers that were not given before.
    #[arg(long, value_name = "N", conflicts_with_all = ["package", "items"], requires = "prefix")]
    pub blank: Option<u32>,
    /// What the numbers of this device begin with: capital letters and digits that no other device of the team has.
    #[arg(long, value_name = "PREFIX", requires = "blank")]
    pub prefix: Option<String>,
    /// Where to write the pages (SVG): a folder that does not exist.
    #[arg(long, value_name = "DIR", default_value = "labels")]
    pub dir: PathBuf,
}

/// Show a reader a package in part.
#[derive(Debug, Args)]
#[command(
    after_help = "Without --reviewed nothing is signed: it says what would be shown and withheld, and where withheld values stand \
all the same. The same command with --reviewed and the digest that it prints signs that, and writes it.\nITEM is a record type \
(testimony), a code (KV-022), a sealed path, or record numbers (3-7).\n\n  custodia disclose 1f4a90c2 --to \"defence of A\" \
--withhold B.2=testimony --withhold A.1=photo#place,device\n  custodia disclose 1f4a90c2 --to \"defence of A\" --only KV-P0042 --rest \
B.5 --dir copy"
)]
pub(crate) struct Disclose {
    /// Any unique beginning of the package's id, 8 characters or more.
    pub package: String,
    /// For whom: it stands in the statement's annex, and in nothing that others are shown.
    #[arg(long, value_name = "NAME")]
    pub to: String,
    /// On which order or decision; in the annex too.
    #[arg(long, value_name = "TEXT")]
    pub order: Option<String>,
    /// What is withheld, and under which head: whole records, or fields of them; once for each.
    #[arg(long = "withhold", value_name = "HEAD=ITEM[#FIELD,FIELD]")]
    pub withhold: Vec<String>,
    /// Show these records and no others; once for each.
    #[arg(long = "only", value_name = "ITEM", requires = "rest")]
    pub only: Vec<String>,
    /// The head under which all others are withheld then.
    #[arg(long, value_name = "HEAD", requires = "only")]
    pub rest: Option<String>,
    /// A statement of this node that is withheld, by the beginning of its digest; once for each.
    #[arg(long = "withhold-statement", value_name = "STATEMENT")]
    pub statements: Vec<String>,
    /// Sign although something that is withheld stands elsewhere in what is shown.
    #[arg(long)]
    pub despite_echoes: bool,
    /// Sign what was reviewed: the first 8 or more characters of the digest that the review printed.
    #[arg(long, value_name = "DIGEST")]
    pub reviewed: Option<String>,
    /// Where to write the copy: a folder that does not exist, or is empty.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Where to write its proof alone.
    #[arg(long, value_name = "FILE")]
    pub proof: Option<PathBuf>,
}
