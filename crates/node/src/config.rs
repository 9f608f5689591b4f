//! `custodia.toml`: what the owner decided. Unknown lines are refused, so that a typing error is not a silent default.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use custodia_format::text::LedgerName;
use serde::Deserialize;

use crate::allowance::Limits;
use crate::auditors::Auditors;
use crate::failure::{Code, Failure};
use crate::home::{self, Home};
use crate::sending::Sending;
use crate::time_stamps::TimeStamps;

/// The configuration of a node. Everything else about it follows from its card and its ledger.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The ledger that this node writes, `authority/node/generation`.
    #[serde(deserialize_with = "ledger_name")]
    pub ledger: LedgerName,
    /// Where the node listens for peers, UDP and, if `tcp`, TCP.
    #[serde(default = "listen_default")]
    pub listen: SocketAddr,
    /// Whether peers whose network lets no UDP through may call by TCP, at the same address.
    #[serde(default = "tcp_default")]
    pub tcp: bool,
    /// Threads for hashing; all cores when absent.
    #[serde(default)]
    pub cores: Option<std::num::NonZeroUsize>,
    /// Within how long a running node reads everything back that lies at rest, `scrub_days`; none when it does not.
    #[serde(default = "scrub_default", rename = "scrub_days", deserialize_with = "scrub_days")]
    pub scrub: Option<Duration>,
    /// How long after the ledger has grown the peers are called to cosign it, `witness_seconds`; none when they are not.
    #[serde(default = "witness_default", rename = "witness_seconds", deserialize_with = "witness_seconds")]
    pub witness: Option<Duration>,
    /// Outside readers of the ledger; when absent nothing is served to them.
    #[serde(default)]
    pub auditors: Option<Auditors>,
    /// How fast content may leave; as fast as the link takes it when absent.
    #[serde(default)]
    pub sending: Option<Sending>,
    /// What one peer may make this node keep.
    #[serde(default)]
    pub peers: Limits,
    /// Services that stamp this ledger's checkpoints; when absent none is asked.
    #[serde(default, rename = "time-stamps")]
    pub time_stamps: Option<TimeStamps>,
}

/// All addresses of this machine, at the port of the protocol.
fn listen_default() -> SocketAddr {
    crate::default_listen()
}

/// Peers behind a strict firewall have no other way to call.
pub(crate) const fn tcp_default() -> bool {
    true
}

/// Thirty days: what rots is found while those who hold a copy still have it.
pub(crate) const fn scrub_default() -> Option<Duration> {
    Some(Duration::from_secs(30 * DAY_SECONDS))
}

const DAY_SECONDS: u64 = 86_400;
/// Bytes of a configuration: a page or two.
const CONFIG_BYTES: u64 = 1024 * 1024;
/// The longest round: what is read less often than once in ten years is not read.
const SCRUB_DAYS_MOST: f64 = 3660.0;

fn scrub_days<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let days = f64::deserialize(deserializer)?;
    if !(0.0..=SCRUB_DAYS_MOST).contains(&days) {
        return Err(serde::de::Error::custom(format!("scrub_days is {days}; it is 0 to {SCRUB_DAYS_MOST}")));
    }
    Ok((days > 0.0).then(|| Duration::from_secs_f64(days * DAY_SECONDS as f64)))
}

/// A minute: a hand-over is mostly over by then, and one checkpoint carries everybody's cosignature.
pub(crate) const fn witness_default() -> Option<Duration> {
    Some(Duration::from_secs(60))
}

fn witness_seconds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let seconds = u64::deserialize(deserializer)?;
    if seconds > DAY_SECONDS {
        return Err(serde::de::Error::custom(format!("witness_seconds is {seconds}; it is 0 to {DAY_SECONDS}")));
    }
    Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
}

fn ledger_name<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<LedgerName, D::Error> {
    let text = String::deserialize(deserializer)?;
    LedgerName::parse(&text).map_err(serde::de::Error::custom)
}

impl Config {
    /// Reads a configuration from its text.
    ///
    /// # Errors
    /// [`Code::Config`], naming the line.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            Failure::new(Code::Config, "The configuration does not parse.")
                .at(format!("custodia.toml line {line}"))
                .instead_of("the lines that docs/operate/configuration.md describes", error.message())
                .safe("The node did not start; nothing was changed.")
                .next("correct that line, then run the same command")
        })
    }

    /// Reads the configuration of a home.
    ///
    /// # Errors
    /// [`Code::NoHome`] when there is none, [`Code::Config`] when it does not parse.
    pub fn read(home: &Home) -> Result<Self, Failure> {
        home.check()?;
        let bytes = home::read_file(&home.config(), CONFIG_BYTES)?.unwrap_or_default();
        let text = String::from_utf8(bytes).map_err(|_| Failure::new(Code::Config, "custodia.toml is not UTF-8."))?;
        Self::parse(&text)
    }

    /// The configuration in a folder that may be none of a home; none where there is none that parses.
    pub(crate) fn read_of(folder: &Path) -> Option<Self> {
        let bytes = home::read_file(&folder.join("custodia.toml"), CONFIG_BYTES).ok().flatten()?;
        Self::parse(&String::from_utf8(bytes).ok()?).ok()
    }

    /// Names another ledger in the configuration of a home, and leaves every other line as its owner wrote it.
    ///
    /// # Errors
    /// As [`Config::read`] and [`home::write_durably`].
    pub(crate) fn set_ledger(home: &Home, ledger: &LedgerName) -> Result<(), Failure> {
        Self::read(home)?;
        let text =
            String::from_utf8_lossy(&home::read_file(&home.config(), CONFIG_BYTES)?.unwrap_or_default()).into_owned();
        let is_ledger = |line: &str| {
            line.trim_start().strip_prefix("ledger").is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        let lines = text.split_inclusive('\n').map(|line| match is_ledger(line) {
            true => format!("ledger = \"{ledger}\"\n"),
            false => line.to_owned(),
        });
        home::write_durably(&home.config(), lines.collect::<String>().as_bytes())
    }

    /// Writes the first configuration of a new node, each line documented.
    ///
    /// # Errors
    /// As [`home::write_durably`].
    pub fn write_new(&self, home: &Home) -> Result<(), Failure> {
        let text = format!(
            "# The configuration of this node. Unknown lines are refused.\n\n\
             # The ledger that it writes: authority/node/generation.\n\
             ledger = \"{}\"\n\n\
             # Where it listens for peers (QUIC, UDP). \"127.0.0.1:PORT\" for this machine alone.\n\
             listen = \"{}\"\n\n\
             # Whether peers whose network lets no UDP through may call by TLS over TCP, at the same address and port.\n\
             tcp = {}\n\n\
             # Threads for hashing. All cores when this line is absent.\n\
             # cores = 2\n\n\
             # Within how many days the running node reads everything back that it keeps, slowly. 0: it does not.\n\
             scrub_days = {}\n\n\
             # Within how many seconds after the ledger has grown its peers are called to cosign it. 0: they are not.\n\
             witness_seconds = {}\n\n\
             # How fast content may leave, to all peers together, in bytes a second (32k or more), and from when on (UTC).\n\
             # What is signed always goes at once. As fast as the link takes it when this section is absent.\n\
             # [sending]\n\
             # limit = \"08:00,512k 19:00,off\"\n\n\
             # What one peer may make this node keep: statements in a day, hand-overs that have not ended, bytes of content. The\n\
             # disk alone limits bytes when that line is absent.\n\
             # [peers]\n\
             # statements_a_day = {}\n\
             # unfinished = {}\n\
             # bytes = \"500G\"\n\n\
             # Outside readers of the ledger, over HTTP (TCP): its checkpoint and tiles, and nothing else. Nothing is served\n\
             # when this section is absent; without \"allow\" this machine alone is answered.\n\
             # [auditors]\n\
             # listen = \"127.0.0.1:8080\"\n\
             # allow = [\"192.0.2.7\", \"198.51.100.0/24\"]\n\n\
             # Services that stamp the ledger's checkpoints with their clock (RFC 3161 over plain http): how often each is asked,\n\
             # and where. Its signing certificate comes from custodia trust tsa. None is asked when this section is absent.\n\
             # [time-stamps]\n\
             # hours = 1\n\
             # services = [{{ url = \"http://tsa.example/tsr\" }}]\n",
            self.ledger,
            self.listen,
            self.tcp,
            self.scrub.map_or(0.0, |scrub| scrub.as_secs_f64() / DAY_SECONDS as f64),
            self.witness.map_or(0, |witness| witness.as_secs()),
            self.peers.statements_a_day,
            self.peers.unfinished,
        );
        home::write_durably(&home.config(), text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_init_writes_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("node"));
        home.create().unwrap();
        let config = Config {
            ledger: LedgerName::parse("forensics.example/node-1/1").unwrap(),
            listen: "127.0.0.1:4433".parse().unwrap(),
            tcp: false,
            cores: None,
            scrub: scrub_default(),
            witness: witness_default(),
            auditors: None,
            sending: None,
            peers: Limits::default(),
            time_stamps: None,
        };
        config.write_new(&home).unwrap();
        assert_eq!(Config::read(&home).unwrap(), config);
    }

    #[test]
    fn another_ledger_is_named_and_every_other_line_stays() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("node"));
        home.create().unwrap();
        let text =
            "# ledger = of the lab\n\n ledger=\"lab.example/node-1/1\" # ours\nlisten = \"127.0.0.1:4433\"\ncores = 2";
        home::write_durably(&home.config(), text.as_bytes()).unwrap();
        Config::set_ledger(&home, &LedgerName::parse("lab.example/node-1/2").unwrap()).unwrap();
        let told = String::from_utf8(home::read_file(&home.config(), CONFIG_BYTES).unwrap().unwrap()).unwrap();
        assert_eq!(told, text.replace(" ledger=\"lab.example/node-1/1\" # ours", "ledger = \"lab.example/node-1/2\""));
        assert_eq!(Config::read(&home).unwrap().ledger.generation, 2);
    }

    #[test]
    fn the_sample_parses_and_is_what_init_writes() {
        let sample = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/custodia.toml"));
        let config = Config::parse(sample).unwrap();
        assert_eq!((config.listen, config.cores, config.scrub), (listen_default(), None, scrub_default()));
        assert_eq!((config.witness, config.tcp), (witness_default(), tcp_default()));
        for line in ["tcp", "scrub_days", "witness_seconds"] {
            assert!(sample.contains(&format!("\n{line} = ")), "a line of the sample, not a default");
        }
        assert_eq!(config.auditors, None, "nothing is served to anybody where nothing is said");
        let mut told = sample.to_owned();
        for line in ["cores", "[auditors]", "listen", "allow", "[time-stamps]", "hours", "services"] {
            told = told.replace(&format!("\n# {line}"), &format!("\n{line}"));
        }
        assert_eq!(config.time_stamps, None, "nobody is asked where nothing is said");
        let told = Config::parse(&told).unwrap();
        let time_stamps = told.time_stamps.unwrap();
        assert_eq!((time_stamps.every, time_stamps.services.len()), (Duration::from_secs(3600), 1));
        assert_eq!(told.cores.map(std::num::NonZeroUsize::get), Some(2));
        let auditors = told.auditors.unwrap();
        assert!(auditors.listen.ip().is_loopback());
        let allowed: Vec<String> = auditors.allow.iter().map(ToString::to_string).collect();
        assert_eq!(allowed, ["192.0.2.7", "198.51.100.0/24"]);
    }

    #[test]
    fn days_of_the_scrub_are_bounded_and_the_page_names_the_default() {
        let of = |days: &str| Config::parse(&format!("ledger = \"a/b/1\"\nscrub_days = {days}\n"));
        assert_eq!(of("0").unwrap().scrub, None);
        assert_eq!(of("7").unwrap().scrub, Some(Duration::from_secs(7 * DAY_SECONDS)));
        assert_eq!(of("0.5").unwrap().scrub, Some(Duration::from_secs(DAY_SECONDS / 2)));
        assert_eq!(Config::parse("ledger = \"a/b/1\"\n").unwrap().scrub, scrub_default());
        for bad in ["-1", "nan", "inf", "3661", "\"30\""] {
            assert_eq!(of(bad).unwrap_err().code, Code::Config, "{bad}");
        }
        let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operate/configuration.md"));
        let row = page.lines().find(|line| line.starts_with("| `scrub_days` |")).unwrap();
        assert_eq!(of(row.trim_end_matches(" |").rsplit("| ").next().unwrap()).unwrap().scrub, scrub_default());
    }

    #[test]
    fn seconds_to_the_witness_round_are_bounded_and_the_page_names_the_default() {
        let of = |seconds: &str| Config::parse(&format!("ledger = \"a/b/1\"\nwitness_seconds = {seconds}\n"));
        assert_eq!(of("0").unwrap().witness, None);
        assert_eq!(of("86400").unwrap().witness, Some(Duration::from_secs(DAY_SECONDS)));
        assert_eq!(Config::parse("ledger = \"a/b/1\"\n").unwrap().witness, witness_default());
        for bad in ["-1", "0.5", "86401", "\"60\""] {
            assert_eq!(of(bad).unwrap_err().code, Code::Config, "{bad}");
        }
        let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operate/configuration.md"));
        let row = page.lines().find(|line| line.starts_with("| `witness_seconds` |")).unwrap();
        assert_eq!(of(row.trim_end_matches(" |").rsplit("| ").next().unwrap()).unwrap().witness, witness_default());
    }

    #[test]
    fn what_a_peer_may_make_us_keep_is_as_sample_and_page_say() {
        let of = |lines: &str| Config::parse(&format!("ledger = \"a/b/1\"\n[peers]\n{lines}\n"));
        assert_eq!(of("").unwrap().peers, Limits::default());
        assert_eq!(of("bytes = \"2T\"").unwrap().peers.bytes.map(std::num::NonZeroU64::get), Some(2 << 40));
        for bad in ["bytes = 5", "bytes = \"5X\"", "unfinished = 0", "statements_a_day = -1", "statement = 1"] {
            assert_eq!(of(bad).unwrap_err().code, Code::Config, "{bad}");
        }
        let sample = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/custodia.toml"));
        let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operate/configuration.md"));
        let defaults = Limits::default();
        for (name, value) in [("statements_a_day", defaults.statements_a_day), ("unfinished", defaults.unfinished)] {
            assert!(sample.contains(&format!("\n# {name} = {value}\n")), "{name}");
            let row = page.lines().find(|line| line.starts_with(&format!("| `{name}` |"))).unwrap();
            assert!(row.ends_with(&format!(" | {value} |")), "{row}");
        }
    }

    #[test]
    fn a_typing_error_names_its_line() {
        let failure = Config::parse("ledger = \"a/b/1\"\nlisten = \"127.0.0.1:1\"\ncoers = 2\n").unwrap_err();
        assert_eq!(failure.code, Code::Config);
        assert_eq!(failure.place.as_deref(), Some("custodia.toml line 3"));
        assert!(Config::parse("ledger = \"a/b\"\n").is_err());
        assert!(Config::parse("ledger = \"a/b/1\"\nlisten = \"here\"\n").is_err());
        for section in ["", "listen = \"127.0.0.1\"", "listen = \"127.0.0.1:1\"\nallow = [\"here\"]", "allow = []"] {
            let text = format!("ledger = \"a/b/1\"\n[auditors]\n{section}\n");
            assert!(Config::parse(&text).is_err(), "{section}");
        }
        let text = "ledger = \"a/b/1\"\n[auditors]\nlisten = \"127.0.0.1:1\"\nalow = []\n";
        assert_eq!(Config::parse(text).unwrap_err().place.as_deref(), Some("custodia.toml line 4"));
    }
}
