//! `custodia.toml`: what the owner decided. Unknown lines are refused, so that a typing error is not a silent default.

use std::net::SocketAddr;

use custodia_format::text::LedgerName;
use serde::Deserialize;

use crate::failure::{Code, Failure};
use crate::home::{self, Home};

/// The configuration of a node. Everything else about it follows from its card and its ledger.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The ledger that this node writes, `authority/node/generation`.
    #[serde(deserialize_with = "ledger_name")]
    pub ledger: LedgerName,
    /// Where the node listens for peers, UDP.
    #[serde(default = "listen_default")]
    pub listen: SocketAddr,
    /// Threads for hashing; all cores when absent.
    #[serde(default)]
    pub cores: Option<std::num::NonZeroUsize>,
}

/// All addresses of this machine, at the port of the protocol.
fn listen_default() -> SocketAddr {
    crate::default_listen()
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
        let bytes = home::read_file(&home.config(), 1024 * 1024)?.unwrap_or_default();
        let text = String::from_utf8(bytes).map_err(|_| Failure::new(Code::Config, "custodia.toml is not UTF-8."))?;
        Self::parse(&text)
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
             # Threads for hashing. All cores when this line is absent.\n\
             # cores = 2\n",
            self.ledger, self.listen
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
            cores: None,
        };
        config.write_new(&home).unwrap();
        assert_eq!(Config::read(&home).unwrap(), config);
    }

    #[test]
    fn the_sample_parses_and_is_what_init_writes() {
        let sample = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/custodia.toml"));
        let config = Config::parse(sample).unwrap();
        assert_eq!((config.listen, config.cores), (listen_default(), None));
        let told: Config = Config::parse(&sample.replace("# cores", "cores")).unwrap();
        assert_eq!(told.cores.map(std::num::NonZeroUsize::get), Some(2));
    }

    #[test]
    fn a_typing_error_names_its_line() {
        let failure = Config::parse("ledger = \"a/b/1\"\nlisten = \"127.0.0.1:1\"\ncoers = 2\n").unwrap_err();
        assert_eq!(failure.code, Code::Config);
        assert_eq!(failure.place.as_deref(), Some("custodia.toml line 3"));
        assert!(Config::parse("ledger = \"a/b\"\n").is_err());
        assert!(Config::parse("ledger = \"a/b/1\"\nlisten = \"here\"\n").is_err());
    }
}
