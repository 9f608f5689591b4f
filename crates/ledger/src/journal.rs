//! The journal: the commits that were not written out yet, and the newest one in any case. What it holds is what counts
//! (docs/spec/commit.md, "Journal").

use custodia_format::checkpoint::SignedCheckpoint;
use custodia_format::note::{Note, Vkey};
use custodia_format::text::decimal;
use custodia_format::{Hash, Malformed, limits};

use crate::stage::Stage;

/// What every record begins with.
const VERSION: &str = "custodia/commit/v1 ";
/// Bytes of a record's first line, at most.
const LINE_BYTES: usize = 160;

/// One commit: what it does, and the checkpoint that was signed over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) stage: Stage,
    /// Signed by the ledger alone.
    pub(crate) signed: SignedCheckpoint,
}

/// The bytes of a record, of a stage that was printed before.
pub(crate) fn print_record(stage: &[u8], signed: &SignedCheckpoint) -> Vec<u8> {
    let note = signed.note().print();
    let rest = [stage, note.as_bytes()].concat();
    let line = format!("{VERSION}{} {} {}\n", stage.len(), note.len(), Hash::of(&rest));
    [line.as_bytes(), &rest].concat()
}

impl Record {
    /// A record that changes nothing: what a copy of tiles that are whole begins its journal with.
    pub(crate) fn of_copy(signed: SignedCheckpoint) -> Vec<u8> {
        let checkpoint = signed.checkpoint();
        let stage = Stage {
            origin: checkpoint.origin.clone(),
            before: checkpoint.size,
            size: checkpoint.size,
            root: checkpoint.root,
            documents: Vec::new(),
            files: Vec::new(),
        };
        print_record(&stage.print(), &signed)
    }

    /// Reads the record that begins these bytes; gives its length too.
    fn parse(bytes: &[u8], vkey: &Vkey) -> Result<(Self, usize), Malformed> {
        let wrong = |expected: &str| Malformed::new("journal", "", expected, format!("{} bytes", bytes.len()));
        let read_line = || {
            let begin = bytes.get(..bytes.len().min(LINE_BYTES))?;
            let end = begin.iter().position(|byte| *byte == b'\n')?;
            let line = std::str::from_utf8(begin.get(..end)?).ok()?.strip_prefix(VERSION)?;
            let mut words = line.split(' ');
            let mut length = || decimal(words.next()?).and_then(|length| usize::try_from(length).ok());
            let (stage, note) = (length()?, length()?);
            let digest = Hash::from_hex(words.next()?)?;
            words.next().is_none().then_some((end + 1, stage, note, digest))
        };
        let (line, stage, note, digest) = read_line().ok_or_else(|| wrong("a commit with its lengths and digest"))?;
        let within = |length: usize, limit: usize| (length <= limit).then_some(length);
        let length = within(note, limits::NOTE_BYTES).and_then(|note| stage.checked_add(note));
        let rest = length.and_then(|length| bytes.get(line..line.checked_add(length)?));
        let rest = rest.ok_or_else(|| wrong("a whole commit"))?;
        if Hash::of(rest) != digest {
            return Err(wrong("a commit with its own digest"));
        }
        let (stage, note) = rest.split_at(stage);
        let stage = Stage::parse(stage)?;
        let signed = SignedCheckpoint::check(Note::parse(note)?, vkey).map_err(|error| {
            Malformed::new("journal", "checkpoint", "one that this ledger signed", error.to_string())
        })?;
        let checkpoint = signed.checkpoint();
        if (&stage.origin, stage.size, stage.root) != (&checkpoint.origin, checkpoint.size, checkpoint.root) {
            return Err(wrong("a checkpoint of its stage"));
        }
        Ok((Self { stage, signed }, line + rest.len()))
    }
}

/// What `state/journal` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Journal {
    /// All but the newest, ascending, each from the size on to which the one before it leads.
    pub(crate) earlier: Vec<Record>,
    /// The newest commit.
    pub(crate) newest: Record,
    /// How many bytes all of these are.
    pub(crate) bytes: usize,
    /// Of these, the newest record.
    pub(crate) newest_bytes: Vec<u8>,
    /// Whether what follows them is a record that was not written to its end: it never counted.
    pub(crate) torn: bool,
}

impl Journal {
    /// Reads the file.
    ///
    /// # Errors
    /// [`Malformed`] when it does not begin with a whole record, when they do not follow each other, or when a record that
    /// is not whole is followed by one that is: then it was whole once, and counted.
    pub(crate) fn parse(bytes: &[u8], vkey: &Vkey) -> Result<Self, Malformed> {
        let (newest, length) = Record::parse(bytes, vkey)?;
        let mut journal = Self { earlier: Vec::new(), newest, bytes: length, newest_bytes: Vec::new(), torn: false };
        let mut begin = 0;
        loop {
            let rest = bytes.get(journal.bytes..).unwrap_or_default();
            match Record::parse(rest, vkey) {
                Ok((next, length)) if next.stage.before == journal.newest.stage.size => {
                    journal.earlier.push(std::mem::replace(&mut journal.newest, next));
                    begin = journal.bytes;
                    journal.bytes += length;
                }
                Ok((next, _)) => {
                    let (size, found) = (journal.newest.stage.size.to_string(), next.stage.before.to_string());
                    return Err(Malformed::new("journal", "before", size, found));
                }
                Err(_) => {
                    journal.torn = rest.iter().any(|byte| *byte != 0);
                    let later = if journal.torn { whole_records(rest, vkey).next() } else { None };
                    let Some(later) = later else {
                        journal.newest_bytes = bytes.get(begin..journal.bytes).unwrap_or_default().to_vec();
                        return Ok(journal);
                    };
                    let found = format!("damage, and after it the commit of size {}", later.stage.size);
                    let expected = format!("a commit after that of size {}", journal.newest.stage.size);
                    return Err(Malformed::new("journal", "", expected, found));
                }
            }
        }
    }

    /// All of its records, ascending.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.earlier.iter().chain([&self.newest])
    }

    /// The size below which everything had been written out when it was begun.
    pub(crate) fn begins_at(&self) -> u64 {
        self.earlier.first().unwrap_or(&self.newest).stage.size
    }
}

/// Every whole record in these bytes, whatever stands between them.
pub(crate) fn whole_records<'a>(bytes: &'a [u8], vkey: &'a Vkey) -> impl Iterator<Item = Record> + 'a {
    let begins = bytes.windows(VERSION.len()).enumerate().filter(|(_, window)| *window == VERSION.as_bytes());
    begins.filter_map(|(at, _)| Record::parse(bytes.get(at..)?, vkey).ok()).map(|(record, _)| record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use custodia_format::checkpoint::Checkpoint;
    use custodia_format::key::SigningKey;
    use custodia_format::note::KeyType;

    use crate::home::Shelf;
    use crate::stage::Shelved;

    fn key() -> SigningKey {
        SigningKey::from_seed(&[1; 32])
    }

    fn vkey() -> Vkey {
        Vkey::new("a/b/1", KeyType::Ed25519, key().public()).unwrap()
    }

    fn record(before: u64, size: u64, root: Hash) -> Vec<u8> {
        let signed = Checkpoint { origin: "a/b/1".to_owned(), size, root }.sign(&key()).unwrap();
        let signed = SignedCheckpoint::check(signed, &vkey()).unwrap();
        let bytes = format!("document {size}").into_bytes();
        let documents = vec![Shelved { shelf: Shelf::Anchor, digest: Hash::of(&bytes), bytes }];
        let stage = Stage { origin: "a/b/1".to_owned(), before, size, root, documents, files: Vec::new() };
        print_record(&stage.print(), &signed)
    }

    #[test]
    fn records_print_back_in_their_order_and_any_deviation_of_the_first_is_refused() {
        let [one, two] = [record(0, 3, Hash::of(b"3")), record(3, 4, Hash::of(b"4"))];
        let bytes = [&one[..], &two, &[0; 100]].concat();
        let journal = Journal::parse(&bytes, &vkey()).unwrap();
        assert_eq!(journal.records().map(|record| record.stage.size).collect::<Vec<_>>(), [3, 4]);
        assert_eq!((journal.bytes, &journal.newest_bytes, journal.torn), (one.len() + two.len(), &two, false));
        assert_eq!(journal.begins_at(), 3);
        let again: Vec<u8> =
            journal.records().flat_map(|record| print_record(&record.stage.print(), &record.signed)).collect();
        assert_eq!(again, bytes[..journal.bytes]);
        for at in 0..one.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(Journal::parse(&bad, &vkey()).is_err(), "{at}");
            assert!(Journal::parse(&one[..at], &vkey()).is_err(), "{at}");
        }
    }

    #[test]
    fn a_checkpoint_of_another_stage_or_by_another_key_makes_no_record() {
        let signed = |size, root, key: &SigningKey| {
            let note = Checkpoint { origin: "a/b/1".to_owned(), size, root }.sign(key).unwrap();
            SignedCheckpoint::check(note, &Vkey::new("a/b/1", KeyType::Ed25519, key.public()).unwrap()).unwrap()
        };
        let root = Hash::of(b"3");
        let (documents, files) = (Vec::new(), Vec::new());
        let stage = Stage { origin: "a/b/1".to_owned(), before: 0, size: 3, root, documents, files }.print();
        let other = SigningKey::from_seed(&[2; 32]);
        assert!(Journal::parse(&print_record(&stage, &signed(3, root, &key())), &vkey()).is_ok());
        for signed in [signed(4, root, &key()), signed(3, Hash::of(b"4"), &key()), signed(3, root, &other)] {
            assert!(Journal::parse(&print_record(&stage, &signed), &vkey()).is_err());
        }
    }

    #[test]
    fn a_copy_begins_with_a_record_that_changes_nothing() {
        let note = Checkpoint { origin: "a/b/1".to_owned(), size: 7, root: Hash::of(b"7") }.sign(&key()).unwrap();
        let signed = SignedCheckpoint::check(note, &vkey()).unwrap();
        let journal = Journal::parse(&Record::of_copy(signed.clone()), &vkey()).unwrap();
        assert_eq!((journal.newest.stage.before, journal.begins_at()), (7, 7));
        assert!(journal.newest.stage.files.is_empty() && journal.newest.stage.documents.is_empty());
        assert_eq!(journal.newest.signed, signed);
    }
}
