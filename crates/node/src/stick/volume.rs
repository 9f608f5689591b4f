//! Volumes: files on a medium, each of which can be read by itself (docs/spec/stick.md).
//!
//! A writer counts what it writes, and compares it with what the medium gives back; a reader hands out one block after the
//! other and holds no more than one of them.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use custodia_exchange::message::{Follows, Message, Want, WantRange, Wish};
use custodia_exchange::{FRAME_BYTES, FrameReader};
use custodia_format::Hash;
use custodia_format::key::KeyId;
use custodia_format::midstate::ItemHasher;

use crate::failure::{Code, Failure};
use crate::home;
use crate::keys::Passphrase;

/// What every volume begins with.
const VERSION: &[u8] = b"custodia/stick/v1\n";
/// Names of volumes end so.
pub(super) const PLAIN: &str = "part";
/// Names of volumes under a passphrase end so.
pub(super) const SEALED: &str = "age";
/// Chunks of one block, at most.
pub(super) const BLOCK_CHUNKS: u32 = 16;
/// Bytes of midstates of the largest item.
const MIDSTATES_BYTES: u64 = 32 * (custodia_format::limits::ITEM_BYTES >> 20);

/// From whom a volume is, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) from: KeyId,
    pub(super) to: KeyId,
}

/// A part of a volume.
#[derive(Debug)]
pub(super) enum Block {
    /// As on the wire.
    Message(Box<Message>),
    /// Chunks of an item, perhaps after its midstates.
    Chunks { release: Hash, range: WantRange, midstates: Vec<u8>, bytes: Vec<u8> },
}

/// Counts and hashes what goes through it.
struct Counted<W> {
    inner: W,
    bytes: u64,
    hash: ItemHasher,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

type Medium = Counted<BufWriter<File>>;

/// The way from blocks to the medium.
enum Way {
    Plain(Medium),
    Sealed(age::stream::StreamWriter<Medium>),
}

/// A volume that is being written.
pub(super) struct Writer {
    way: Way,
    /// Of the blocks.
    hash: ItemHasher,
    /// Bytes of blocks so far: a little less than the medium holds.
    pub(super) bytes: u64,
    unfinished: PathBuf,
    path: PathBuf,
}

impl Writer {
    /// Begins a volume at this place, whose name says whether it lies under a passphrase.
    pub(super) fn begin(path: PathBuf, address: Address, passphrase: &Passphrase) -> Result<Self, Failure> {
        let unfinished = path.with_extension("unfinished");
        let failed = |error: io::Error| Failure::io(&error, &unfinished);
        let file = File::create(&unfinished).map_err(failed)?;
        let medium = Counted { inner: BufWriter::with_capacity(1 << 20, file), bytes: 0, hash: ItemHasher::new() };
        let way = match passphrase.recipient() {
            None => Way::Plain(medium),
            Some(recipient) => {
                let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient))
                    .map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
                Way::Sealed(encryptor.wrap_output(medium).map_err(failed)?)
            }
        };
        let mut volume = Self { way, hash: ItemHasher::new(), bytes: 0, unfinished, path };
        volume.write(VERSION)?;
        volume.write(address.from.0.as_bytes())?;
        volume.write(address.to.0.as_bytes())?;
        Ok(volume)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = match &mut self.way {
            Way::Plain(way) => way.write_all(bytes),
            Way::Sealed(way) => way.write_all(bytes),
        };
        written.map_err(|error| Failure::io(&error, &self.path))?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn message(&mut self, message: &Message) -> Result<(), Failure> {
        let frame = message.to_frame().to_bytes();
        self.write(&frame.map_err(|error| Failure::new(Code::Internal, error.to_string()))?)
    }

    /// A document of a release, from its first byte.
    pub(super) fn document(&mut self, follows: Follows, from: &mut dyn Read) -> Result<(), Failure> {
        self.message(&Message::Follows(follows.clone()))?;
        let mut rest = follows.bytes;
        let mut buffer = vec![0; 1 << 20];
        while rest > 0 {
            let part = usize::try_from(rest).unwrap_or(usize::MAX).min(buffer.len());
            let part = buffer.get_mut(..part).unwrap_or_default();
            from.read_exact(part).map_err(|error| Failure::io(&error, "a document of the package"))?;
            self.write(part)?;
            rest -= part.len() as u64;
        }
        Ok(())
    }

    pub(super) fn chunks(
        &mut self,
        release: Hash,
        range: WantRange,
        midstates: &[u8],
        bytes: &[u8],
    ) -> Result<(), Failure> {
        self.message(&Message::Want(Want { release, what: Wish::Ranges(vec![range]) }))?;
        for part in [midstates, bytes] {
            self.write(&(part.len() as u64).to_be_bytes())?;
            self.write(part)?;
        }
        Ok(())
    }

    /// Ends the volume, makes it durable and reads it back from the medium. Says how many bytes it is.
    pub(super) fn end(mut self) -> Result<u64, Failure> {
        self.write(&[0; 4])?;
        let digest = std::mem::take(&mut self.hash).finish().sha256;
        self.write(digest.as_bytes())?;
        let failed = |error: io::Error| Failure::io(&error, &self.path);
        let medium = match self.way {
            Way::Plain(medium) => medium,
            Way::Sealed(way) => way.finish().map_err(failed)?,
        };
        let (bytes, digest) = (medium.bytes, medium.hash.finish().sha256);
        let file = medium.inner.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        if read_back(&self.unfinished).map_err(failed)? != (bytes, digest) {
            return Err(Failure::new(Code::Io, "The medium gives back other bytes than were written.")
                .at(self.path.display())
                .safe("Nothing on it counts as handed over.")
                .next("use another medium"));
        }
        std::fs::rename(&self.unfinished, &self.path).map_err(failed)?;
        if let Some(folder) = self.path.parent() {
            home::sync_folder(folder)?;
        }
        Ok(bytes)
    }

    /// Leaves nothing of a volume that does not fit.
    pub(super) fn abandon(self) {
        let _ = std::fs::remove_file(&self.unfinished);
    }
}

/// Length and digest of what the medium holds, and not what the system remembers of it.
fn read_back(path: &Path) -> io::Result<(u64, Hash)> {
    let mut file = File::open(path)?;
    #[cfg(target_os = "linux")]
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    let (mut hash, mut bytes, mut buffer) = (ItemHasher::new(), 0, vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((bytes, hash.finish().sha256)),
            read => {
                hash.update(buffer.get(..read).unwrap_or_default());
                bytes += read as u64;
            }
        }
    }
}

/// A volume that is being read.
pub(super) struct Reader {
    from: Box<dyn Read>,
    hash: ItemHasher,
    pub(super) address: Address,
    path: PathBuf,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Reader {
    /// Opens a volume, and reads from whom it is and for whom.
    ///
    /// # Errors
    /// [`Code::Passphrase`] when it lies under one and none was given, [`Code::Keystore`] when it is another one,
    /// [`Code::Malformed`].
    pub(super) fn open(path: &Path, passphrase: &Passphrase) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::io(&error, path);
        let file = BufReader::with_capacity(1 << 20, File::open(path).map_err(failed)?);
        let from: Box<dyn Read> = if path.extension().is_some_and(|ending| ending == SEALED) {
            let identity = passphrase.identity().ok_or_else(|| {
                Failure::new(Code::Passphrase, "What lies on this medium lies under a passphrase.")
                    .at(path.display())
                    .safe("Nothing was read.")
                    .next("give it with --passphrase-file FILE, or run the command at a terminal to be asked")
            })?;
            Box::new(unseal(file, &identity, path)?)
        } else {
            Box::new(file)
        };
        let nobody = KeyId(Hash::ZERO);
        let address = Address { from: nobody, to: nobody };
        let mut reader = Self { from, hash: ItemHasher::new(), address, path: path.to_owned() };
        let mut version = [0; VERSION.len()];
        reader.fill(&mut version)?;
        if version != *VERSION {
            return Err(reader.damaged("a volume", "something else"));
        }
        let (mut from, mut to) = ([0; 32], [0; 32]);
        reader.fill(&mut from)?;
        reader.fill(&mut to)?;
        reader.address = Address { from: KeyId(Hash::new(from)), to: KeyId(Hash::new(to)) };
        Ok(reader)
    }

    fn damaged(&self, expected: &str, found: impl Into<String>) -> Failure {
        Failure::new(Code::Malformed, "A file on this medium is damaged or was not written to its end.")
            .at(self.path.display())
            .instead_of(expected, found.into())
            .safe("What came before in it was taken, and every piece of it was proven; nothing else counts.")
            .next("ask the sender to write it again: custodia usb write DIR --for NAME --again")
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Failure> {
        self.from.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => self.damaged("more bytes", error.to_string()),
            _ => Failure::io(&error, &self.path),
        })?;
        self.hash.update(buffer);
        Ok(())
    }

    fn number(&mut self) -> Result<u64, Failure> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    /// Bytes after their length, of which there may be so many.
    fn bytes(&mut self, limit: u64) -> Result<Vec<u8>, Failure> {
        let length = self.number()?;
        let length = usize::try_from(length).ok().filter(|_| length <= limit);
        let mut bytes = vec![0; length.ok_or_else(|| self.damaged("a length that can be", "a larger one"))?];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// The next block; none at the end, where the digest must be that of all before.
    pub(super) fn next(&mut self) -> Result<Option<Block>, Failure> {
        let mut length = [0; 4];
        self.fill(&mut length)?;
        let bytes = u32::from_be_bytes(length) as usize;
        if bytes == 0 {
            let digest = std::mem::take(&mut self.hash).finish().sha256;
            let mut told = [0; 32];
            self.fill(&mut told)?;
            return if Hash::new(told) == digest {
                Ok(None)
            } else {
                Err(self.damaged("its own digest at the end", "another one"))
            };
        }
        if bytes > FRAME_BYTES {
            return Err(self.damaged("a frame", format!("one of {bytes} bytes")));
        }
        let mut frame = length.to_vec();
        frame.resize(4 + bytes, 0);
        self.fill(frame.get_mut(4..).unwrap_or_default())?;
        let mut frames = FrameReader::new();
        frames.push(&frame);
        let frame = frames.next_frame().map_err(|fault| self.damaged("a frame", fault.to_string()))?;
        let frame = frame.ok_or_else(|| self.damaged("a whole frame", "a part"))?;
        let message = Message::parse(&frame).map_err(|fault| self.damaged("a frame", fault.to_string()))?;
        let Message::Want(Want { release, what: Wish::Ranges(ranges) }) = &message else {
            return Ok(Some(Block::Message(Box::new(message))));
        };
        let [range] = ranges.as_slice() else { return Err(self.damaged("one range", ranges.len().to_string())) };
        let (release, range) = (*release, *range);
        if range.count > BLOCK_CHUNKS {
            return Err(self.damaged("a block of few chunks", range.count.to_string()));
        }
        let midstates = self.bytes(MIDSTATES_BYTES)?;
        let bytes = self.bytes(u64::from(range.count) << 20)?;
        Ok(Some(Block::Chunks { release, range, midstates, bytes }))
    }

    /// Hands out the bytes of a document that was announced.
    pub(super) fn document(
        &mut self,
        bytes: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut buffer = vec![0; 1 << 20];
        let mut rest = bytes;
        while rest > 0 {
            let part = usize::try_from(rest).unwrap_or(usize::MAX).min(buffer.len());
            let part = buffer.get_mut(..part).unwrap_or_default();
            self.fill(part)?;
            take(part)?;
            rest -= part.len() as u64;
        }
        Ok(())
    }
}

fn unseal(file: BufReader<File>, identity: &age::scrypt::Identity, path: &Path) -> Result<impl Read + use<>, Failure> {
    let decryptor = age::Decryptor::new_buffered(file).map_err(|error| {
        Failure::new(Code::Malformed, "A file on this medium is damaged or was not written to its end.")
            .at(path.display())
            .instead_of("an age file", error.to_string())
    })?;
    decryptor.decrypt(std::iter::once(identity as &dyn age::Identity)).map_err(|error| {
        Failure::new(Code::Keystore, "This passphrase does not open what lies on the medium.")
            .at(path.display())
            .instead_of("the passphrase that it was written under", error.to_string())
            .safe("Nothing was read, and nothing is locked: try as often as you like.")
            .next("ask the sender for the passphrase, by another way than the medium's")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn address() -> Address {
        Address { from: KeyId(Hash::of(b"from")), to: KeyId(Hash::of(b"to")) }
    }

    /// A volume with a message, a document and two blocks of chunks.
    fn written(path: &Path, passphrase: &Passphrase) {
        let mut volume = Writer::begin(path.to_owned(), address(), passphrase).unwrap();
        volume.message(&Message::Notes(vec![b"a note".to_vec()])).unwrap();
        let release = Hash::of(b"release");
        let follows = Follows { release, document: custodia_exchange::Document::Manifest, bytes: 300 };
        volume.document(follows, &mut Cursor::new(vec![7; 300])).unwrap();
        for first_chunk in 0..2 {
            let range = WantRange { record: 5, first_chunk, count: 1, midstates: first_chunk == 0 };
            volume.chunks(release, range, &[9; 64][..64 * usize::from(first_chunk == 0)], &[1; 500]).unwrap();
        }
        let bytes = volume.end().unwrap();
        assert_eq!(bytes, std::fs::metadata(path).unwrap().len());
    }

    /// Reads a volume to its end; gives how many blocks it has.
    fn blocks(path: &Path, passphrase: &Passphrase) -> Result<usize, Failure> {
        let mut volume = Reader::open(path, passphrase)?;
        let mut blocks = 0;
        while let Some(block) = volume.next()? {
            if let Block::Message(message) = block
                && let Message::Follows(follows) = *message
            {
                volume.document(follows.bytes, |_| Ok(()))?;
            }
            blocks += 1;
        }
        assert_eq!(volume.address, address());
        Ok(blocks)
    }

    #[test]
    fn a_volume_reads_back_and_none_that_was_changed_or_cut_reads_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        for (name, passphrase) in [("0001.part", Passphrase::default()), ("0001.age", Passphrase::new("words"))] {
            let path = folder.path().join(name);
            written(&path, &passphrase);
            assert_eq!(blocks(&path, &passphrase).unwrap(), 4);
            let whole = std::fs::read(&path).unwrap();
            // Each try under a passphrase costs a third of a second.
            let step = if !passphrase.is_none() { whole.len() / 7 } else { 1 };
            for at in (0..whole.len()).step_by(step) {
                let mut flipped = whole.clone();
                flipped[at] ^= 0x41;
                std::fs::write(&path, &flipped).unwrap();
                assert!(blocks(&path, &passphrase).is_err(), "{name}: byte {at}");
                std::fs::write(&path, &whole[..at]).unwrap();
                assert!(blocks(&path, &passphrase).is_err(), "{name}: cut at {at}");
            }
        }
    }
}
