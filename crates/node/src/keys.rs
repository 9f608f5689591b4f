//! Private keys at rest: one file per purpose under `keys/`, for the owner alone.
//!
//! Root and officers' keys lie under a passphrase (age, scrypt); the keys that an unattended node needs lie in files
//! of mode 0600, as the trust table of docs/ARCHITECTURE.md says. A key is read for the act that needs it and wiped.

use std::io::Read;
use std::path::{Path, PathBuf};

use age::secrecy::{ExposeSecret, SecretString};
use custodia_format::key::SigningKey;
use custodia_format::text::{from_b64, to_b64};
use zeroize::Zeroizing;

use crate::edge;
use crate::failure::{Code, Failure};
use crate::home::{self, Home};

/// What opens the keys of people, or a medium: a passphrase, or nothing where it was said that there is none.
#[derive(Clone, Default)]
pub struct Passphrase(Option<SecretString>);

impl Passphrase {
    /// A passphrase as typed or as the first line of a file; an empty one is none.
    pub fn new(text: &str) -> Self {
        Self((!text.is_empty()).then(|| SecretString::from(text.to_owned())))
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// What encrypts under it; none where there is none.
    pub(crate) fn recipient(&self) -> Option<age::scrypt::Recipient> {
        let mut recipient = age::scrypt::Recipient::new(self.0.clone()?);
        recipient.set_work_factor(WORK_FACTOR);
        Some(recipient)
    }

    /// What decrypts; none where there is none.
    pub(crate) fn identity(&self) -> Option<age::scrypt::Identity> {
        self.0.clone().map(age::scrypt::Identity::new)
    }

    /// The passphrase, to be handed to a program of the same user over the node's own socket.
    pub fn expose(&self) -> Option<&str> {
        self.0.as_ref().map(ExposeSecret::expose_secret)
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Passphrase(hidden)" } else { "Passphrase(none)" })
    }
}

/// The authority's root: signs cards, delegations, revocations and meetings, nothing daily.
pub const ROOT: &str = "root";
/// Signs the node's statements.
pub const STATEMENT: &str = "statement";
/// Signs the ledger's checkpoints.
pub const LEDGER: &str = "ledger";
/// Cosigns the checkpoints of peers.
pub const WITNESS: &str = "witness";
/// Shows who we are on the wire.
pub const TRANSPORT: &str = "transport";

/// The name of an officer's key.
pub fn officer(pseudonym: &str) -> String {
    format!("officer-{pseudonym}")
}

const HEADER: &str = "custodia/key/v1";
/// Bytes of a key file: a header, a purpose and a seed, with age's own header around it.
const KEY_FILE_BYTES: u64 = 4096;
/// age's memory cost, as a power of two: 2^15 is about a third of a second on a small laptop.
const WORK_FACTOR: u8 = 15;

/// Draws a new key and stores it. With a passphrase the file is `NAME.age`, else `NAME`.
///
/// # Errors
/// As [`home::write_durably`].
pub fn create(home: &Home, name: &str, passphrase: &Passphrase) -> Result<SigningKey, Failure> {
    let (text, key) = draw(name)?;
    match passphrase.recipient() {
        None => home::write_durably(&home.key(name), text.as_bytes())?,
        Some(recipient) => {
            let sealed = age::encrypt(&recipient, text.as_bytes())
                .map_err(|error| Failure::new(Code::Internal, format!("The key could not be encrypted: {error}.")))?;
            home::write_durably(&home.key(&format!("{name}.age")), &sealed)?;
        }
    }
    Ok(key)
}

/// Draws the key that is to follow one of an unattended node, and stores it beside that one, as `NAME.next`.
///
/// # Errors
/// As [`home::write_durably`].
pub(crate) fn create_next(home: &Home, name: &str) -> Result<SigningKey, Failure> {
    let (text, key) = draw(name)?;
    home::write_durably(&next(home, name), text.as_bytes())?;
    Ok(key)
}

/// Where the key lies that is to follow.
pub(crate) fn next(home: &Home, name: &str) -> PathBuf {
    home.key(&format!("{name}.next"))
}

/// A new key, and the text of its file.
fn draw(name: &str) -> Result<(Zeroizing<String>, SigningKey), Failure> {
    let seed = edge::random::<32>()?;
    let text = Zeroizing::new(format!("{HEADER}\n{name}\n{}\n", to_b64(seed.as_slice())));
    Ok((text, SigningKey::from_seed(&seed)))
}

/// Reads a key that an unattended node may use.
///
/// # Errors
/// [`Code::Keystore`] when the file is missing or damaged.
pub fn read(home: &Home, name: &str) -> Result<SigningKey, Failure> {
    open(home, name, &Passphrase::default())
}

/// Opens a person's key for one act.
///
/// # Errors
/// [`Code::Passphrase`] when one is needed and none was given, [`Code::Keystore`] when it is the wrong one or the file
/// is missing or damaged.
pub fn open(home: &Home, name: &str, passphrase: &Passphrase) -> Result<SigningKey, Failure> {
    let plain = home.key(name);
    if let Some(text) = home::read_file(&plain, KEY_FILE_BYTES)? {
        return parse(&Zeroizing::new(text), name, &plain);
    }
    let sealed = home.key(&format!("{name}.age"));
    let Some(bytes) = home::read_file(&sealed, KEY_FILE_BYTES)? else {
        return Err(Failure::new(Code::Keystore, format!("The key \"{name}\" is not in this home."))
            .at(plain.display())
            .safe("Nothing was signed.")
            .next("bring the key's file back from where it is kept, such as the stick with the root key"));
    };
    let Some(identity) = passphrase.identity() else {
        return Err(Failure::new(Code::Passphrase, format!("The key \"{name}\" lies under a passphrase."))
            .at(sealed.display())
            .safe("Nothing was signed.")
            .next("give it with --passphrase-file FILE, or run the command at a terminal to be asked"));
    };
    let text = decrypt(&identity, &bytes).ok_or_else(|| {
        Failure::new(Code::Keystore, format!("This passphrase does not open the key \"{name}\"."))
            .at(sealed.display())
            .instead_of("the passphrase chosen when the key was made", "another one, or a damaged file")
            .safe("Nothing was signed, and nothing is locked: try as often as you like.")
            .next("run the same command with the right passphrase")
    })?;
    parse(&text, name, &sealed)
}

fn decrypt(identity: &age::scrypt::Identity, bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let decryptor = age::Decryptor::new_buffered(bytes).ok()?;
    let mut reader = decryptor.decrypt(std::iter::once(identity as &dyn age::Identity)).ok()?;
    let mut text = Zeroizing::new(Vec::new());
    reader.read_to_end(&mut text).ok()?;
    Some(text)
}

fn parse(text: &[u8], name: &str, path: &Path) -> Result<SigningKey, Failure> {
    let seed = || {
        let text = std::str::from_utf8(text).ok()?;
        let rest = text.strip_prefix(HEADER)?.strip_prefix('\n')?.strip_prefix(name)?;
        let seed = Zeroizing::new(from_b64(rest.strip_prefix('\n')?.strip_suffix('\n')?)?);
        <[u8; 32]>::try_from(seed.as_slice()).ok().map(Zeroizing::new)
    };
    seed().map(|seed| SigningKey::from_seed(&seed)).ok_or_else(|| {
        Failure::new(Code::Keystore, format!("The file of the key \"{name}\" is damaged."))
            .at(path.display())
            .instead_of(HEADER, "something else")
            .safe("Nothing was signed.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_with_its_passphrase_alone() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        let right = Passphrase::new("correct horse");
        let key = create(&home, "root", &right).unwrap();
        assert_eq!(open(&home, "root", &right).unwrap().public(), key.public());
        assert_eq!(open(&home, "root", &Passphrase::new("wrong")).unwrap_err().code, Code::Keystore);
        assert_eq!(open(&home, "root", &Passphrase::default()).unwrap_err().code, Code::Passphrase);
        assert_eq!(open(&home, "officer-O-1", &right).unwrap_err().code, Code::Keystore);
        assert!(!format!("{right:?}").contains("horse"));
    }

    #[test]
    fn a_damaged_file_is_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        create(&home, "ledger", &Passphrase::default()).unwrap();
        std::fs::write(home.key("ledger"), "custodia/key/v1\nledger\nAAAA\n").unwrap();
        assert_eq!(read(&home, "ledger").unwrap_err().code, Code::Keystore);
        std::fs::rename(home.key("ledger"), home.key("witness")).unwrap();
        assert_eq!(read(&home, "witness").unwrap_err().code, Code::Keystore);
    }
}
