//! The command line: what can be said, and nothing of what it means.

mod custody;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
pub(crate) use custody::{Chain, Disclose, Event, Label, Limits};

/// Seal evidence, hand it over with signed receipts, prove its custody.
#[derive(Debug, Parser)]
#[command(version, disable_help_subcommand = true, infer_subcommands = false)]
#[command(
    after_help = "First steps:\n  custodia demo                         three authorities on this machine, in a minute\n  \
custodia init --name lab.example --display \"Laboratory\" --state XX --role lab\n  \
custodia seal PHOTOS/ --case C-2026-031\n  custodia send PACKAGE --to prosecutor.example --wait\n  \
custodia verify proof.json ITEMS/ --trust TRUSTFILE"
)]
pub(crate) struct Line {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// The node's folder.
    #[arg(long, global = true, env = "CUSTODIA_HOME", value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Print the result, or the failure, as one JSON document.
    #[arg(long, global = true)]
    pub json: bool,
    /// Print what happens as it happens, one JSON object a line; the last is the result, or the failure (docs/spec/events.md).
    #[arg(long, global = true, conflicts_with = "json")]
    pub jsonl: bool,
    /// How long work shows how far it is.
    #[arg(long, global = true, value_enum, default_value_t = ProgressStyle::Auto, value_name = "HOW")]
    pub progress: ProgressStyle,
    /// The file whose first line is the passphrase of the keys that the command needs.
    #[arg(long, global = true, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Who decides, by pseudonym; needed where a node has several officers.
    #[arg(long = "as", global = true, value_name = "O-N")]
    pub officer: Option<String>,
}

impl Common {
    /// Whether a program reads what is printed, and no person.
    pub(crate) const fn is_for_programs(&self) -> bool {
        self.json || self.jsonl
    }
}

/// How long work shows how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressStyle {
    /// A bar on a terminal, lines elsewhere.
    Auto,
    /// A bar.
    Bar,
    /// One line every ten seconds.
    Lines,
    /// Nothing.
    None,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a node: its keys, its first officer, its card, its ledger.
    Init(Init),
    /// Print this authority's card, to be given to others.
    Card,
    /// Whom this node believes.
    #[command(subcommand)]
    Trust(Trust),
    /// Who may sign for this authority.
    #[command(subcommand)]
    Officer(Officer),
    /// Copy files into the vault, and sign what they are.
    Seal(Seal),
    /// The sheets that describe what is sealed, and what packages say of what is in them.
    #[command(subcommand)]
    Records(Records),
    /// Run the node: receive, deliver what is queued, take requests on its socket.
    Serve,
    /// Hand a package over to another authority.
    Send(Send),
    /// What was handed over and is not done yet, and why.
    #[command(args_conflicts_with_subcommands = true)]
    Queue {
        #[command(subcommand)]
        what: Option<Waiting>,
        /// Try now to deliver what waits.
        #[arg(long)]
        now: bool,
    },
    /// Hand over by a medium instead of a link: a USB stick, a disk. Receipts go back the same way, or by any other.
    #[command(subcommand)]
    Usb(Usb),
    /// What others handed over to this authority.
    Inbox,
    /// A package, and all that was said of it.
    Show {
        /// Any unique beginning of its id, 8 characters or more.
        package: String,
    },
    /// Sign what was done to what is in a package: opened, examined, sampled, moved, resealed, returned (docs/operate/custody.md).
    Event(Box<Event>),
    /// The chain of custody of a package, or of one item: who had it from when to when, what was done, and what is not whole.
    Chain(Chain),
    /// Print labels: for what is in a package, or blank ones with numbers that no other device gives.
    Label(Label),
    /// Show a reader a package in part: what is withheld, and under which head, is signed, and the rest still verifies
    /// (docs/operate/disclosure.md).
    Disclose(Box<Disclose>),
    /// Take a received package into custody, and sign for it.
    Accept {
        /// Any unique beginning of its id, 8 characters or more.
        package: String,
    },
    /// Refuse a package, and sign why.
    Refuse {
        /// Any unique beginning of its id, 8 characters or more.
        package: String,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Write the proof of a package: one file that verifies offline.
    Prove {
        /// Any unique beginning of its id, 8 characters or more.
        package: String,
        /// Where to.
        #[arg(long, value_name = "FILE", default_value = "proof.json")]
        out: PathBuf,
        /// Of the redacted copy that this disclosure declares: the first 8 or more characters of its statement's digest.
        #[arg(long, value_name = "STATEMENT")]
        disclosure: Option<String>,
        /// Show the annexes of statements too, as far as they are here: persons, places, reasons.
        #[arg(long, conflicts_with = "disclosure")]
        annexes: bool,
    },
    /// Write a package for people without this program: its files, the proof, lists and tables in other people's formats
    /// (docs/spec/interop.md).
    Export {
        /// Any unique beginning of its id, 8 characters or more.
        package: String,
        /// A folder that does not exist, or is empty.
        dir: PathBuf,
        /// The redacted copy that this disclosure declares: the first 8 or more characters of its statement's digest.
        #[arg(long, value_name = "STATEMENT")]
        disclosure: Option<String>,
        /// Show the annexes of statements too, as far as they are here: persons, places, reasons.
        #[arg(long, conflicts_with = "disclosure")]
        annexes: bool,
        /// As a bag (BagIt, RFC 8493).
        #[arg(long)]
        bag: bool,
    },
    /// Check a proof, with its files or without. Needs no node and no network.
    Verify(Verify),
    /// The append-only ledger.
    #[command(subcommand)]
    Ledger(Ledger),
    /// Look after the node's health.
    Doctor,
    /// What the node counts, in the text format of OpenMetrics: of the running node, by whose socket a collector can ask too.
    Metrics,
    /// Copy the whole home to another disk, or bring such a copy up to date. Also while the node runs.
    Backup {
        /// A folder that does not exist, is empty, or holds an earlier backup of this node.
        dir: PathBuf,
        /// Leave the private keys out. Without them a restored node signs nothing until they are brought back.
        #[arg(long)]
        without_keys: bool,
    },
    /// Make a home of a backup: copy it, check every byte, and ask the peers whether they saw more.
    Restore {
        /// The backup.
        backup: PathBuf,
    },
    /// Three authorities on this machine: seal, send, cut the link, resume, receive, verify, catch tampering.
    Demo(Demo),
    /// Two scratch authorities under random work and kills: nothing acknowledged may be lost.
    Hammer(Hammer),
    /// What a code such as E-LOCKED means.
    Explain {
        /// The code.
        code: String,
    },
}

/// Make a node.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The authority's name: lowercase letters, digits, dots and hyphens.
    #[arg(long)]
    pub name: String,
    /// The authority's name as people write it.
    #[arg(long, value_name = "TEXT")]
    pub display: String,
    /// The State, two letters; leave it out for an international body.
    #[arg(long, value_name = "XX")]
    pub state: Option<String>,
    /// What it is: lab, prosecutor, central, tribunal, …
    #[arg(long)]
    pub role: String,
    /// Where to listen for peers.
    #[arg(long, value_name = "ADDR", default_value_t = custodia_node::default_listen())]
    pub listen: SocketAddr,
    /// Where peers reach this node, HOST:PORT; the listening address when left out.
    #[arg(long = "address", value_name = "HOST:PORT")]
    pub addresses: Vec<String>,
    /// The first officer's name; it is kept in an annex, statements show the pseudonym O-1.
    #[arg(long, value_name = "NAME")]
    pub officer: Option<String>,
    /// Keep the root key and the officers' keys without a passphrase.
    #[arg(long, conflicts_with = "passphrase_file")]
    pub no_passphrase: bool,
}

/// Whom this node believes.
#[derive(Debug, Subcommand)]
pub(crate) enum Trust {
    /// Believe the authority of this card from now on.
    Add {
        /// The card's file.
        card: PathBuf,
        /// The fingerprint that the authority told over another channel.
        #[arg(long, value_name = "F")]
        fingerprint: Option<String>,
        /// How you met the key.
        #[arg(long, value_enum, default_value_t = Channel::InPerson)]
        channel: Channel,
    },
    /// Believe the time-stamping authority of this certificate from now on.
    Tsa {
        /// The certificate that signs its tokens, PEM or DER.
        certificate: PathBuf,
        /// The fingerprint that the authority published or told: `openssl x509 -noout -fingerprint -sha256` prints it.
        #[arg(long, value_name = "F")]
        fingerprint: Option<String>,
    },
    /// Who is believed.
    List,
    /// Print the trust file, for `custodia verify --trust`.
    Export,
}

/// How a key was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Channel {
    /// Face to face.
    InPerson,
    /// On a call with somebody you know.
    Call,
    /// By letter.
    Letter,
    /// As published.
    Published,
}

/// Who may sign for this authority.
#[derive(Debug, Subcommand)]
pub(crate) enum Officer {
    /// Delegate an officer: a key of their own, and the next pseudonym.
    Add {
        /// The officer's name; it is kept in an annex.
        name: String,
    },
}

/// Describe what is sealed, and read what was described.
#[derive(Debug, Subcommand)]
pub(crate) enum Records {
    /// Write an empty sheet for each record type, to be filled and given to `custodia seal --records`.
    Template {
        /// The folder to write them into.
        dir: PathBuf,
    },
    /// What a package says of what is in it.
    List {
        /// Any unique beginning of its id, 8 characters or more.
        package: String,
        /// Records of this type alone.
        #[arg(long = "type", value_name = "TYPE")]
        of_type: Option<String>,
        /// From the record of this number on: an answer has at most a thousand.
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        from: u64,
    },
    /// Everything that is said of a code in a case: who has it, and all that name it, in every package that is here.
    About {
        /// The case.
        case: String,
        /// The code.
        code: String,
    },
}

/// Seal a package.
#[derive(Debug, Args)]
pub(crate) struct Seal {
    /// Files and folders.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The case it belongs to.
    #[arg(long, value_name = "CODE")]
    pub case: String,
    /// What it is, in a sentence.
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// A folder of sheets that describe it: one CSV file for each record type (`custodia records template`).
    #[arg(long, value_name = "DIR")]
    pub records: Option<PathBuf>,
    /// Say what would be sealed, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Hand a package over.
#[derive(Debug, Args)]
pub(crate) struct Send {
    /// Any unique beginning of its id, 8 characters or more.
    pub package: String,
    /// To whom, by the name in this node's trust file.
    #[arg(long, value_name = "NAME")]
    pub to: String,
    /// What it is for.
    #[arg(long, value_name = "TEXT", default_value = "investigation and prosecution")]
    pub purpose: String,
    /// The request or order that it answers.
    #[arg(long, value_name = "TEXT", default_value = "not stated")]
    pub legal_basis: String,
    /// Wait until the signed receipt is on this disk.
    #[arg(long)]
    pub wait: bool,
    /// By which road this hand-over goes: QUIC over UDP, or TLS over TCP where a network lets no UDP through; `auto` takes TCP
    /// when nothing comes back by UDP. When left out, as `queue via` says.
    #[arg(long, value_name = "auto|udp|tcp")]
    pub via: Option<String>,
    /// Until when the receipt is to be here: a moment in UTC. When it passes without one, the node signs that it was not
    /// received; the delivery goes on.
    #[arg(long, value_name = "2026-12-24T12:00Z", conflicts_with = "within")]
    pub deadline: Option<String>,
    /// The same as a time from now on: 90m, 72h, 14d.
    #[arg(long, value_name = "72h")]
    pub within: Option<String>,
    /// Under which limits it goes.
    #[command(flatten)]
    pub limits: Limits,
}

/// Which hand-over is meant.
#[derive(Debug, Args)]
pub(crate) struct HandOver {
    /// Any unique beginning of the package's id, 8 characters or more.
    pub package: String,
    /// To this authority alone, by its name in the trust file.
    #[arg(long, value_name = "NAME")]
    pub to: Option<String>,
}

/// What can be said about the queue.
#[derive(Debug, Subcommand)]
pub(crate) enum Waiting {
    /// Why a package is not delivered yet: what is awaited, from whom, what comes next.
    Why {
        /// Any unique beginning of its id, 8 characters or more.
        package: String,
    },
    /// Let a hand-over wait. What is proven at the recipient stays proven; statements go all the same.
    Pause(HandOver),
    /// Let it go on, in its turn.
    Resume(HandOver),
    /// Let it go before the others to the same recipient, which wait until it is there. `resume` takes that back.
    First(HandOver),
    /// Until when the receipt for a hand-over is to be here. When that passes without one, the node signs and logs that it was not
    /// received, and what was tried; the delivery goes on. Without a moment it is shown.
    #[command(
        after_help = "Examples:\n  custodia queue deadline 0123abcd 2026-12-24T12:00Z --to prosecutor.example\n  \
custodia queue deadline 0123abcd --within 72h\n  custodia queue deadline 0123abcd off"
    )]
    Deadline {
        #[command(flatten)]
        which: HandOver,
        /// The moment, in UTC; `off` for none. What was signed stays.
        #[arg(value_name = "2026-12-24T12:00Z|off", conflicts_with = "within")]
        deadline: Option<String>,
        /// The same as a time from now on: 90m, 72h, 14d.
        #[arg(long, value_name = "72h")]
        within: Option<String>,
    },
    /// Show all that travels now, both ways, until Ctrl-C: one line a package, with its phase, what the recipient has proven, the
    /// rate, the time left, and the link. The node must run.
    #[command(after_help = "Examples:\n  custodia queue watch\n  custodia queue watch --jsonl")]
    Watch,
    /// By which road an authority is called: until something else is said. Without a road it is shown.
    #[command(
        after_help = "Examples:\n  custodia queue via prosecutor.example tcp\n  custodia queue via prosecutor.example auto"
    )]
    Via {
        /// Whom, by its name in the trust file.
        to: String,
        /// `udp`: QUIC over UDP alone; `tcp`: TLS over TCP alone; `auto`: UDP, and TCP when nothing at all comes back.
        #[arg(value_name = "auto|udp|tcp")]
        via: Option<String>,
    },
    /// How fast content may leave, to all peers together: at once, and until something else is said. Without a rate it is shown.
    #[command(
        after_help = "Examples:\n  custodia queue limit 256k\n  custodia queue limit off\n  custodia queue limit config"
    )]
    Limit {
        /// Bytes a second from 32k on, as 256k or 2M; `off` for no limit; `config` for what custodia.toml says.
        rate: Option<String>,
    },
    /// How much content may leave in one day, in UTC, to all peers together: at once, and until something else is said. When it is
    /// used up packages wait for the next day, and what is signed goes all the same. Without a cap it is shown, with what left today.
    #[command(after_help = "Examples:\n  custodia queue cap 500M\n  custodia queue cap off")]
    Cap {
        /// Bytes a day from 1M on, as 500M or 2G; `off` for as many as there are.
        cap: Option<String>,
    },
}

/// A medium in place of a link.
#[derive(Debug, Subcommand)]
pub(crate) enum Usb {
    /// Write all that waits for an authority: packages that were released to it, and statements that it is owed. Everything is
    /// read back from the medium before it is said to be there. What does not fit goes onto the next medium, by the same command.
    #[command(
        after_help = "Example:\n  custodia send 0123abcd --to prosecutor.example\n  custodia usb write /media/stick --for prosecutor.example"
    )]
    Write {
        /// The folder where the medium is mounted.
        dir: PathBuf,
        /// The recipient, by its name in the trust file.
        #[arg(long = "for", value_name = "NAME")]
        to: String,
        /// Without a passphrase: whoever finds the medium can read it.
        #[arg(long, conflicts_with = "passphrase_file")]
        plain: bool,
        /// Write also what a medium before this one has taken: it was lost, or is damaged.
        #[arg(long)]
        again: bool,
    },
    /// Read what lies on a medium for this node, sign receipts for what is whole, and write them back onto it.
    #[command(after_help = "Example:\n  custodia usb read /media/stick")]
    Read {
        /// The folder where the medium is mounted.
        dir: PathBuf,
    },
}

/// Check a proof.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The proof.
    pub proof: PathBuf,
    /// The folder with its files.
    pub dir: Option<PathBuf>,
    /// Whom you believe.
    #[arg(long, value_name = "TRUSTFILE")]
    pub trust: Option<PathBuf>,
    /// End with 13 when there are remarks.
    #[arg(long)]
    pub strict: bool,
    /// Tell the chain of custody too: who had it from when to when, what was done, and what is not whole.
    #[arg(long)]
    pub chain: bool,
    /// Of this record alone.
    #[arg(long, value_name = "NUMBER", requires = "chain")]
    pub item: Option<u64>,
}

/// The append-only ledger.
#[derive(Debug, Subcommand)]
pub(crate) enum Ledger {
    /// The newest checkpoint, and who witnessed it.
    Checkpoint,
    /// The statements in it.
    List,
    /// One entry, and the statement it commits to.
    Show {
        /// Its leaf index.
        n: u64,
    },
    /// The tlog-proof of one entry.
    Prove {
        /// Its leaf index.
        n: u64,
    },
    /// Rebuild everything from the entries, and compare.
    Fsck {
        /// Read and hash every object too, its midstates, and every manifest. Ctrl-C stops it; it goes on where it was when
        /// it is asked again within a day.
        #[arg(long)]
        bytes: bool,
        /// Begin with the first object, also where a check was interrupted.
        #[arg(long, requires = "bytes")]
        from_start: bool,
    },
    /// Open the next generation of this node's ledger, when this one is behind what its peers saw or its disk has damaged it.
    /// The node must not run. All peers are asked first how far they saw it.
    Succeed {
        /// A peer that does not answer and is done without, by its name in the trust file; can be given several times. What it
        /// alone saw of the old ledger is cut off.
        #[arg(long, value_name = "NAME")]
        without: Vec<String>,
    },
    /// Ask the configured time-stamping services now, without waiting for the schedule.
    Timestamp,
    /// Check somebody's ledger from outside: over HTTP, or in a copied folder. Needs no node.
    Audit(Audit),
}

/// Check a ledger from outside.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 sound, 1 damaged or not readable, 21 this address is not answered, 40 the ledger went back or shows two histories.\n\n\
Examples:\n  custodia ledger audit http://127.0.0.1:8080 --vkey VKEY --held lab.checkpoint\n  \
custodia ledger audit copy-of-ledger/ --vkey VKEY --statements copy-of-statements/"
)]
pub(crate) struct Audit {
    /// Where it is read: `http://HOST:PORT`, a node's home, or a copy of its `ledger/`.
    #[arg(value_name = "URL|FOLDER")]
    pub source: OsString,
    /// The verifier key of the ledger, as the authority's card has it.
    #[arg(long, value_name = "VKEY")]
    pub vkey: String,
    /// The file that holds the last checkpoint between audits; it is made at the first, and replaced only by one that
    /// continues it.
    #[arg(long, value_name = "FILE")]
    pub held: Option<PathBuf>,
    /// Envelopes that you are entitled to see, to be compared with the entries: a copy of `statements/`, or a part.
    #[arg(long, value_name = "FOLDER")]
    pub statements: Option<PathBuf>,
    /// The verifier key of a witness that you know; can be given several times.
    #[arg(long = "witness", value_name = "VKEY")]
    pub witnesses: Vec<String>,
}

/// Three authorities on this machine.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// The folder to seal; a sample set of an exhumation when left out.
    pub path: Option<PathBuf>,
    /// Where to leave the homes, the export and the proofs; a new folder in the temporary directory when left out.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Kill every process at so many random moments, and show that nothing is lost.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub kills: u32,
    /// Draw those moments as another run did, which printed its seed.
    #[arg(long, value_name = "SEED")]
    pub seed: Option<u64>,
}

/// Two scratch authorities under random work and kills.
#[derive(Debug, Args)]
#[command(
    after_help = "It makes two nodes of its own, in a new folder in the temporary directory or in DIR, and never opens another \
home.\nOne seed draws one plan; how far a run gets in it depends on the machine.\nExit code 1: something that was acknowledged \
is not there. The seed is printed and the folder kept."
)]
pub(crate) struct Hammer {
    /// For how long it draws new work; then everything must arrive, and is checked once more.
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub seconds: u64,
    /// Draw the work and the kills as another run did, which printed its seed.
    #[arg(long, value_name = "SEED")]
    pub seed: Option<u64>,
    /// Where to make the nodes, and to leave them with the list of what was acknowledged.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Do nothing but check what another run left in this folder.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["seconds", "seed", "keep"])]
    pub check: Option<PathBuf>,
}
