//! What a person is told when something does not work: code, what, where, what is safe, what to do next.
//!
//! Every error of every crate below ends here. The table of codes is spec: each has one meaning and one exit code
//! (docs/operate/errors.md), and a test holds the two together.

use custodia_format::text::escape_untrusted;
use serde::{Deserialize, Serialize};

/// Declares the codes with their exit codes and meanings, in one place.
macro_rules! codes {
    ($($name:ident $text:literal $exit:literal $meaning:literal;)*) => {
        /// The stable name of a failure.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Code {
            $(#[doc = $meaning] #[serde(rename = $text)] $name,)*
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its text, such as `E-LOCKED`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// The exit code of a program that ends with it.
            pub const fn exit(self) -> u8 {
                match self { $(Self::$name => $exit),* }
            }

            /// What it means, in one sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning),* }
            }
        }
    };
}

codes! {
    Usage "E-USAGE" 2 "The command does not say what it must.";
    NoHome "E-NO-HOME" 1 "There is no node in this folder.";
    Exists "E-EXISTS" 1 "There is something already where something new was to be written.";
    Locked "E-LOCKED" 34 "Another process works on this home.";
    Perm "E-PERM" 1 "A private file or folder can be read by others.";
    Config "E-CONFIG" 1 "The configuration does not parse.";
    Keystore "E-KEYSTORE" 1 "A key cannot be opened: wrong passphrase, or a damaged file.";
    Passphrase "E-PASSPHRASE" 2 "A passphrase is needed and none was given.";
    InputUnreadable "E-INPUT-UNREADABLE" 33 "Something in the source cannot be sealed; nothing was.";
    SourceChanged "E-SRC-CHANGED" 33 "A file changed while it was read; nothing was sealed.";
    Records "E-RECORDS" 33 "The sheets that describe the material are not right; nothing was sealed.";
    Review "E-REVIEW" 2 "What was to be signed is not what was reviewed; nothing was signed.";
    Echo "E-ECHO" 33 "What is withheld stands elsewhere in what would be shown; nothing was signed.";
    Empty "E-EMPTY" 33 "There is no file to seal.";
    DiskFull "E-DISK-FULL" 32 "The disk is full.";
    Io "E-IO" 1 "The system refused to read or write.";
    Poisoned "E-POISONED" 1 "A write failed in a way that leaves doubt: the node reads, and signs nothing.";
    RolledBack "E-ROLLBACK" 40 "The ledger is behind what was seen of it before: the node reads, and signs nothing.";
    UnknownPackage "E-UNKNOWN-PACKAGE" 2 "No package here begins with these characters.";
    AmbiguousPackage "E-AMBIGUOUS-PACKAGE" 2 "Several packages begin with these characters.";
    UnknownStatement "E-UNKNOWN-STATEMENT" 2 "No such statement, or entry of the ledger.";
    UnknownRecord "E-UNKNOWN-RECORD" 2 "No record of this case has this code, or names it.";
    UnknownOfficer "E-UNKNOWN-OFFICER" 2 "No officer of this node has that pseudonym.";
    UnknownPeer "E-UNKNOWN-PEER" 22 "No authority of that name is trusted here.";
    IdentityChanged "E-IDENTITY-CHANGED" 22 "The peer shows a key that its card does not hold.";
    PeerUnreachable "E-PEER-UNREACHABLE" 20 "The peer does not answer; the work is queued.";
    UdpBlocked "E-UDP-BLOCKED" 20 "Nothing comes back from the peer by UDP, while its address answers by TCP; the work is queued.";
    LinkLost "E-LINK-LOST" 20 "The link to the peer was lost; the work is queued, and what is proven there stays.";
    PeerRefused "E-PEER-REFUSED" 21 "The peer refused.";
    Quota "E-QUOTA" 21 "One authority asks for more than it may make a node keep.";
    PeerMisbehaved "E-PEER-MISBEHAVED" 21 "The peer sent what its protocol or its manifest does not allow.";
    Handling "E-HANDLING" 35 "The limits under which something was given forbid this; nothing was signed or sent.";
    Gate "E-GATE" 35 "Consent, a bag seal or a file is not as it must be before a release; nothing was released.";
    Fork "E-EQUIV" 40 "A peer showed two histories of one ledger.";
    NotYet "E-STATE" 1 "The package is not in the state that this needs.";
    Malformed "E-MALFORMED" 1 "A file or message is not what its format prescribes.";
    Signature "E-SIG" 1 "A signature is missing, or does not verify.";
    Fingerprint "E-FINGERPRINT" 22 "The card's root key, or the certificate, is not the one of the fingerprint given.";
    SelfCheck "E-SELF-CHECK" 1 "A proof that this node made did not pass its own verifier; it was not written.";
    Tsa "E-TSA" 21 "A time-stamping service gave no token that counts; none was stored.";
    TsaNet "E-TSA-NET" 20 "A time-stamping service does not answer as it must; nothing waits for it, and it is asked again.";
    Clock "E-CLOCK" 1 "This machine's clock is not set: no time is vouched for.";
    Busy "E-BUSY" 31 "The node is busy; try again later.";
    Interrupted "E-INTERRUPTED" 130 "Interrupted; it is safe to run the same command again.";
    Internal "E-INTERNAL" 1 "A defect of this program.";
}

/// A failure as it is told to people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}  {what}", code.as_str())]
pub struct Failure {
    /// Its stable name.
    pub code: Code,
    /// What happened, in a sentence.
    pub what: String,
    /// Where: a file, an offset, a field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What was expected there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What was found there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// What is safe: what was and was not stored, sent, acknowledged.
    pub safe: String,
    /// What to do, the best first; the last may be a command.
    pub next: Vec<String>,
}

impl Failure {
    /// A failure of this code; by default nothing was changed.
    pub fn new(code: Code, what: impl Into<String>) -> Self {
        Self {
            code,
            what: what.into(),
            place: None,
            expected: None,
            found: None,
            safe: "Nothing was stored, sent or acknowledged.".to_owned(),
            next: Vec::new(),
        }
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, place: impl std::fmt::Display) -> Self {
        self.place = Some(escape_untrusted(&place.to_string()));
        self
    }

    /// Says what was expected and what was found.
    #[must_use]
    pub fn instead_of(mut self, expected: impl Into<String>, found: impl AsRef<str>) -> Self {
        self.expected = Some(expected.into());
        self.found = Some(escape_untrusted(found.as_ref()));
        self
    }

    /// Says what is safe.
    #[must_use]
    pub fn safe(mut self, safe: impl Into<String>) -> Self {
        self.safe = safe.into();
        self
    }

    /// Adds a thing to do.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next.push(next.into());
        self
    }

    /// Names the place as it will be called once the work is done, where it now lies in an unfinished folder.
    #[must_use]
    pub(crate) fn seen_from(mut self, unfinished: &std::path::Path, finished: &std::path::Path) -> Self {
        let (now, then) = (unfinished.display().to_string(), finished.display().to_string());
        self.place = self.place.map(|place| place.replace(&escape_untrusted(&now), &escape_untrusted(&then)));
        self
    }

    /// A failure of the system at a path.
    pub fn io(error: &std::io::Error, path: impl AsRef<std::path::Path>) -> Self {
        let path = path.as_ref().display();
        if error.kind() == std::io::ErrorKind::StorageFull || error.kind() == std::io::ErrorKind::QuotaExceeded {
            return Self::new(Code::DiskFull, "The disk is full.").at(path).next("free some space, then run it again");
        }
        Self::new(Code::Io, format!("The system says: {error}.")).at(path)
    }
}

impl From<custodia_format::Malformed> for Failure {
    fn from(error: custodia_format::Malformed) -> Self {
        Self::new(Code::Malformed, format!("This is not a well-formed {}.", error.what))
            .at(&error.place)
            .instead_of(error.expected, error.found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_of_one_shape() {
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{}", code.as_str());
            assert!(code.as_str().starts_with("E-"));
            assert!(code.exit() != 0);
            assert!(code.meaning().ends_with('.'));
        }
    }

    #[test]
    fn foreign_text_is_shown_and_not_obeyed() {
        let failure = Failure::new(Code::Malformed, "x").at("a\x1b[2J").instead_of("b", "c\r\n");
        assert_eq!(failure.place.as_deref(), Some("a\\u{1b}[2J"));
        assert_eq!(failure.found.as_deref(), Some("c\\u{d}\\u{a}"));
    }
}
