//! The trust file: what a court or a node believes before it reads anything (docs/spec/trust.md).
//!
//! Identity is the root key; a name is this file's, never a proof's. Nothing in a proof can add to it. Refuses comments,
//! empty lines, and one key or name in two places.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::body::Channel;
use crate::error::Malformed;
use crate::key::PublicKey;
use crate::limits;
use crate::note::{KeyType, Vkey};
use crate::text::{Label, Time, decimal, from_b64, to_b64};

const WHAT: &str = "trust file";
const FIRST_LINE: &str = "custodia/trust/v1";

/// Whom a reader believes, and how many must have seen a ledger. The default believes nobody and asks for no quorum.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrustFile {
    /// Authorities by their root keys.
    pub authorities: Vec<TrustedAuthority>,
    /// Witnesses that are no authority, or beside one; keys of type 04.
    pub witnesses: Vec<Vkey>,
    /// Signing certificates of time-stamping authorities, DER.
    pub tsas: Vec<Vec<u8>>,
    /// How many other authorities or witnesses must have cosigned a checkpoint.
    pub quorum: u64,
}

/// One authority that is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedAuthority {
    /// What this reader calls it.
    pub name: Label,
    /// Its root key: any root of its chain of cards.
    pub root: PublicKey,
    /// The first day on which it is believed, by its first second.
    pub since: Time,
    /// The last day on which it is believed, by its first second; `None`: no end.
    pub until: Option<Time>,
    /// How its key was learnt.
    pub channel: Channel,
}

impl TrustedAuthority {
    /// Whether it is believed at this time; both days are included.
    pub fn holds(&self, time: Time) -> bool {
        let last_second = |day: Time| day.unix().saturating_add(86_399);
        self.since <= time && self.until.is_none_or(|until| time.unix() <= last_second(until))
    }
}

impl TrustFile {
    /// Reads a trust file of at most [`limits::TRUST_BYTES`].
    ///
    /// # Errors
    /// [`Malformed`], with the number of the line, for anything that [`TrustFile::print`] would not print, and for a
    /// name, key or certificate in two lines.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > limits::TRUST_BYTES {
            let expected = format!("at most {} bytes", limits::TRUST_BYTES);
            return Err(Malformed::new(WHAT, "", expected, bytes.len().to_string()));
        }
        if let Some(at) = bytes.iter().position(|byte| !byte.is_ascii()) {
            return Err(Malformed::new(WHAT, format!("byte {at}"), "ASCII", "another byte"));
        }
        let text = String::from_utf8_lossy(bytes);
        let lines = text.strip_suffix('\n').ok_or_else(|| Malformed::new(WHAT, "end", "a final LF", "none"))?;
        let mut file = Self::default();
        let mut reader = Reader { section: Section::Start, known: BTreeSet::new() };
        for (place, line) in lines.split('\n').enumerate() {
            reader.line(&mut file, line).map_err(|error| error.within(format!("line {}", place + 1)))?;
        }
        if reader.section != Section::Quorum {
            return Err(Malformed::new(WHAT, "end", "a quorum line", "none"));
        }
        if file.print().as_bytes() == bytes {
            return Ok(file);
        }
        Err(Malformed::new(WHAT, "", "the one spelling of this file", "another"))
    }

    /// Prints the file: first line, authorities, witnesses, time-stamping authorities, quorum.
    pub fn print(&self) -> String {
        let mut text = format!("{FIRST_LINE}\n");
        for one in &self.authorities {
            let until = one.until.map_or_else(|| "-".to_owned(), Time::date);
            let (root, since, channel) = (one.root.to_spki_b64(), one.since.date(), one.channel.as_str());
            let _ = writeln!(text, "authority {} {root} {since} {until} {channel}", one.name);
        }
        for vkey in &self.witnesses {
            let _ = writeln!(text, "witness {vkey}");
        }
        for certificate in &self.tsas {
            let _ = writeln!(text, "tsa {}", to_b64(certificate));
        }
        let _ = writeln!(text, "quorum {}", self.quorum);
        text
    }

    /// The authority with this root key.
    pub fn authority(&self, root: &PublicKey) -> Option<&TrustedAuthority> {
        self.authorities.iter().find(|authority| authority.root == *root)
    }
}

/// Which lines have come; they come in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Section {
    Start,
    Authorities,
    Witnesses,
    Tsas,
    Quorum,
}

/// Where a reader of lines stands, and what it has met: names, raw keys and certificates.
struct Reader {
    section: Section,
    known: BTreeSet<Vec<u8>>,
}

impl Reader {
    fn line(&mut self, file: &mut TrustFile, line: &str) -> Result<(), Malformed> {
        if self.section == Section::Start {
            if line != FIRST_LINE {
                return Err(Malformed::new(WHAT, "", FIRST_LINE, line));
            }
            self.section = Section::Authorities;
            return Ok(());
        }
        let words: Vec<&str> = line.split(' ').collect();
        let wrong = |place: &str, expected: &str, found: &str| Malformed::new(WHAT, place, expected, found);
        match words.as_slice() {
            ["authority", name, root, since, until, channel] => {
                self.enter(Section::Authorities, line)?;
                let authority = TrustedAuthority {
                    name: Label::parse(name)?,
                    root: PublicKey::from_spki_b64(root).map_err(|why| wrong("root", &why.to_string(), root))?,
                    since: Time::parse_date(since).ok_or_else(|| wrong("since", "YYYY-MM-DD", since))?,
                    until: parse_until(until)?,
                    channel: Channel::parse(channel)
                        .ok_or_else(|| wrong("channel", "in-person, call, letter or published", channel))?,
                };
                if authority.until.is_some_and(|until| until < authority.since) {
                    return Err(wrong("until", "a day not before since", until));
                }
                self.once(format!("name {name}").into_bytes(), name)?;
                self.once(authority.root.raw().to_vec(), root)?;
                file.authorities.push(authority);
            }
            ["witness", text] => {
                self.enter(Section::Witnesses, line)?;
                let vkey = Vkey::parse(text).map_err(|why| wrong("vkey", &why.to_string(), text))?;
                if vkey.key_type() != KeyType::Cosignature {
                    return Err(wrong("vkey", "a vkey of type 04", text));
                }
                self.once(vkey.key().raw().to_vec(), text)?;
                file.witnesses.push(vkey);
            }
            ["tsa", text] => {
                self.enter(Section::Tsas, line)?;
                let certificate = from_b64(text).filter(|der| !der.is_empty());
                let certificate = certificate.ok_or_else(|| wrong("certificate", "padded base64", text))?;
                self.once([b"certificate ", certificate.as_slice()].concat(), text)?;
                file.tsas.push(certificate);
            }
            ["quorum", text] if self.section != Section::Quorum => {
                self.enter(Section::Quorum, line)?;
                file.quorum = decimal(text).ok_or_else(|| wrong("quorum", "a decimal", text))?;
            }
            _ => return Err(wrong("", "authority, witness, tsa and then one quorum line", line)),
        }
        Ok(())
    }

    fn enter(&mut self, section: Section, line: &str) -> Result<(), Malformed> {
        if section < self.section {
            return Err(Malformed::new(WHAT, "", "authority, witness, tsa and quorum lines in this order", line));
        }
        self.section = section;
        Ok(())
    }

    fn once(&mut self, what: Vec<u8>, shown: &str) -> Result<(), Malformed> {
        if self.known.insert(what) {
            return Ok(());
        }
        Err(Malformed::new(WHAT, "", "each name, key and certificate once", shown))
    }
}

fn parse_until(text: &str) -> Result<Option<Time>, Malformed> {
    if text == "-" {
        return Ok(None);
    }
    let day = Time::parse_date(text).ok_or_else(|| Malformed::new(WHAT, "until", "YYYY-MM-DD or -", text))?;
    Ok(Some(day))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WITNESS: &str = "witness mirror.example.org+3fb148ef+BAAjjch9GyYz0sJsJx7ALhbdAtz2ov0unbzSl1vMp94O\n";

    fn vector() -> String {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/custodia-v1.json"));
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        vectors["trust"].as_str().unwrap().to_owned()
    }

    fn with_more() -> String {
        vector().replace("quorum 1\n", &format!("{WITNESS}tsa AAEC\nquorum 2\n"))
    }

    #[test]
    fn the_trust_file_of_the_vectors_prints_back() {
        let file = TrustFile::parse(vector().as_bytes()).unwrap();
        assert_eq!(file.print(), vector());
        assert_eq!((file.authorities.len(), file.quorum), (2, 1));
        assert_eq!(file.authority(&file.authorities[1].root), Some(&file.authorities[1]));
        let more = TrustFile::parse(with_more().as_bytes()).unwrap();
        assert_eq!(more.print(), with_more());
        assert_eq!((more.witnesses.len(), more.tsas.as_slice()), (1, [vec![0, 1, 2]].as_slice()));
        assert_eq!(TrustFile::parse(TrustFile::default().print().as_bytes()).unwrap(), TrustFile::default());
    }

    #[test]
    fn both_days_are_included() {
        let text = vector().replacen("2026-01-01 -", "2026-01-01 2026-01-02", 1);
        let file = TrustFile::parse(text.as_bytes()).unwrap();
        let at = |text: &str| file.authorities[0].holds(Time::parse(text).unwrap());
        assert!(!at("2025-12-31T23:59:59Z") && at("2026-01-01T00:00:00Z"));
        assert!(at("2026-01-02T23:59:59Z") && !at("2026-01-03T00:00:00Z"));
    }

    #[test]
    fn one_deviation_each_is_refused() {
        let good = with_more();
        let first = good.lines().nth(1).unwrap().to_owned();
        let root = first.split(' ').nth(2).unwrap().to_owned();
        let cases = [
            ("no final LF", good.trim_end().to_owned()),
            ("empty", String::new()),
            ("empty line", good.replace("quorum", "\nquorum")),
            ("line after quorum", format!("{good}{WITNESS}")),
            ("two quorums", format!("{good}quorum 2\n")),
            ("no quorum", good.replace("quorum 2\n", "")),
            ("comment", good.replace("quorum", "# all\nquorum")),
            ("CR", good.replace('\n', "\r\n")),
            ("tab", good.replacen("authority ", "authority\t", 1)),
            ("two spaces", good.replacen("authority ", "authority  ", 1)),
            ("trailing space", good.replace("quorum 2\n", "quorum 2 \n")),
            ("leading zero", good.replace("quorum 2", "quorum 02")),
            ("version", good.replace("trust/v1", "trust/v2")),
            ("name twice", good.replace("prosecutor.example", "forensics.example")),
            ("line twice", good.replacen(&first, &format!("{first}\n{first}"), 1)),
            ("root twice", good.replacen(&first, &format!("{}\n{first}", first.replace("forensics", "other")), 1)),
            ("witness twice", good.replace(WITNESS, &WITNESS.repeat(2))),
            ("tsa twice", good.replace("tsa AAEC\n", "tsa AAEC\ntsa AAEC\n")),
            ("order", good.replace(&format!("{WITNESS}tsa AAEC\n"), &format!("tsa AAEC\n{WITNESS}"))),
            ("date", good.replacen("2026-01-01", "2026-02-30", 1)),
            ("until before since", good.replacen("2026-01-01 -", "2026-01-01 2025-01-01", 1)),
            ("channel", good.replacen("in-person", "in-a-dream", 1)),
            ("label", good.replacen("forensics.example", "forensics/example", 1)),
            ("capital", good.replacen("forensics.example", "Forensics.example", 1)),
            ("not ASCII", good.replacen("forensics.example", "forénsics.example", 1)),
            ("key", good.replacen(&root, "MCowBQYDK2VwAyEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", 1)),
            ("no key", good.replacen(&root, "AAAA", 1)),
            ("key id", good.replace("3fb148ef", "3fb148ee")),
            (
                "ledger key",
                good.replace(WITNESS, "witness PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW\n"),
            ),
            ("base64", good.replace("AAEC", "AAE=\n")),
            ("empty certificate", good.replace("AAEC", "")),
        ];
        for (deviation, text) in cases {
            assert_ne!(text, good, "{deviation} is no deviation");
            assert!(TrustFile::parse(text.as_bytes()).is_err(), "{deviation} is taken");
        }
        let long = format!("{FIRST_LINE}\n{}quorum 0\n", "x".repeat(limits::TRUST_BYTES));
        assert!(TrustFile::parse(long.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(file) = TrustFile::parse(&bytes) {
                prop_assert_eq!(file.print().into_bytes(), bytes);
            }
        }

        #[test]
        fn a_changed_file_is_refused_or_prints_as_it_stands(at in 0_usize..600, put in any::<u8>()) {
            let mut bytes = with_more().into_bytes();
            let at = at % bytes.len();
            bytes[at] = put;
            if let Ok(file) = TrustFile::parse(&bytes) {
                prop_assert_eq!(file.print().into_bytes(), bytes);
            }
        }
    }
}
