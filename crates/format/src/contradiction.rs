//! A contradiction: two checkpoints of one ledger that cannot both be true, or that nobody showed to belong together, as one
//! file that can be handed to a court (docs/spec/contradiction.md).
//!
//! This file reads and prints it; what it proves is the verifier's business.

use crate::Hash;
use crate::checkpoint::Checkpoint;
use crate::envelope::Envelope;
use crate::error::Malformed;
use crate::json::{Json, Members, parse_exact, print_exact};
use crate::limits;
use crate::note::Note;

/// The `type` of this version.
pub const CONTRADICTION_TYPE: &str = "custodia/contradiction/v1";
const WHAT: &str = "contradiction";

/// Two checkpoints of one ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// The cards of the ledger's authority, from number 1 on, as envelopes.
    pub cards: Vec<Envelope>,
    /// The two notes: of the smaller size first; of one size, by their digests.
    pub notes: [Note; 2],
    /// The consistency proof that was offered from the smaller to the larger; empty at one size.
    pub offered: Vec<Hash>,
}

impl Contradiction {
    /// Joins two notes of one ledger, in whatever order they come.
    ///
    /// # Errors
    /// [`Malformed`] when they are no checkpoints of one ledger, or say the same.
    pub fn new(cards: Vec<Envelope>, one: Note, other: Note, offered: Vec<Hash>) -> Result<Self, Malformed> {
        let mut notes = [one, other];
        notes.sort_by_key(|note| (size_of(note), note.digest()));
        let contradiction = Self { cards, notes, offered };
        contradiction.checkpoints().map(|_| contradiction)
    }

    /// Whether these bytes say that they are one.
    pub fn is_named_by(bytes: &[u8]) -> bool {
        const MARK: &[u8] = b"\"custodia/contradiction/";
        let head = bytes.get(..bytes.len().min(64)).unwrap_or_default();
        head.windows(MARK.len()).any(|window| window == MARK)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`Malformed`], by what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut members = Members::of(parse_exact(WHAT, bytes)?, WHAT, "")?;
        members.read("type", CONTRADICTION_TYPE, |text| (text == CONTRADICTION_TYPE).then_some(()))?;
        let cards = texts(members.array("cards", 1, limits::PROOF_CARDS)?, "cards")?;
        let cards = cards.iter().map(|card| Envelope::parse(card.as_bytes())).collect::<Result<_, _>>()?;
        let notes = texts(members.array("notes", 2, 2)?, "notes")?;
        let notes = notes.iter().map(|note| Note::parse(note.as_bytes())).collect::<Result<Vec<_>, _>>()?;
        let offered = texts(members.array("offered", 0, limits::PROOF_HASHES)?, "offered")?;
        let hash = |hash: &String| Hash::from_hex(hash).ok_or_else(|| wrong("offered", "64 lowercase hex", hash));
        let offered = offered.iter().map(hash).collect::<Result<_, _>>()?;
        members.end()?;
        let [one, other] =
            <[Note; 2]>::try_from(notes).map_err(|notes| wrong("notes", "two notes", &notes.len().to_string()))?;
        let ordered = (size_of(&one), one.digest()) < (size_of(&other), other.digest());
        if !ordered || !one.is_sorted() || !other.is_sorted() {
            return Err(wrong("notes", "the smaller first, lines ascending", "another order"));
        }
        Self::new(cards, one, other, offered)
    }

    /// Prints the file.
    pub fn print(&self) -> String {
        print_exact(&Json::object([
            ("type", Json::string(CONTRADICTION_TYPE)),
            ("cards", Json::strings(self.cards.iter().map(Envelope::print))),
            ("notes", Json::strings(self.notes.iter().map(Note::print))),
            ("offered", Json::strings(&self.offered)),
        ]))
    }

    /// What the two notes say, in their order.
    ///
    /// # Errors
    /// [`Malformed`] when they are no checkpoints of one ledger, or say the same.
    pub fn checkpoints(&self) -> Result<[Checkpoint; 2], Malformed> {
        let [one, other] = &self.notes;
        let (one, other) = (Checkpoint::parse_text(&one.text)?, Checkpoint::parse_text(&other.text)?);
        if one.origin != other.origin {
            return Err(wrong(
                "notes",
                "two checkpoints of one ledger",
                &format!("{} and {}", one.origin, other.origin),
            ));
        }
        if (one.size, one.root) == (other.size, other.root) {
            return Err(wrong("notes", "two checkpoints that differ", "the same twice"));
        }
        Ok([one, other])
    }
}

fn size_of(note: &Note) -> Option<u64> {
    Checkpoint::parse_text(&note.text).ok().map(|checkpoint| checkpoint.size)
}

fn texts(elements: Vec<Json>, name: &str) -> Result<Vec<String>, Malformed> {
    let text = |json: Json| json.as_str().map(str::to_owned).ok_or_else(|| wrong(name, "strings", json.kind()));
    elements.into_iter().map(text).collect()
}

fn wrong(place: &str, expected: &str, found: &str) -> Malformed {
    Malformed::new(WHAT, place, expected, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SigningKey;

    fn note(origin: &str, size: u64, root: Hash) -> Note {
        Checkpoint { origin: origin.to_owned(), size, root }.sign(&SigningKey::from_seed(&[3; 32])).unwrap()
    }

    fn card() -> Envelope {
        let world = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/world/full.proof.json"));
        let proof = crate::proof::Proof::parse(world.as_bytes()).unwrap();
        let envelopes = proof.statements.iter().filter_map(|statement| statement.envelope.as_ref());
        let mut envelopes = envelopes.map(|envelope| Envelope::parse(envelope.as_bytes()).unwrap());
        envelopes.find(|envelope| *envelope.kind() == crate::kind::Kind::Card).unwrap()
    }

    #[test]
    fn it_reads_back_and_takes_no_other_spelling() {
        let (one, other) = (note("a/b/1", 5, Hash::ZERO), note("a/b/1", 5, Hash::of(b"x")));
        let made = Contradiction::new(vec![card()], one.clone(), other.clone(), Vec::new()).unwrap();
        let printed = made.print();
        assert!(Contradiction::is_named_by(printed.as_bytes()));
        assert_eq!(Contradiction::parse(printed.as_bytes()).unwrap(), made);
        assert_eq!(Contradiction::new(vec![card()], other.clone(), one.clone(), Vec::new()).unwrap(), made);
        let [first, second] = &made.notes;
        let swapped = Contradiction { notes: [second.clone(), first.clone()], ..made.clone() };
        let larger = note("a/b/1", 9, Hash::of(b"y"));
        let offered = Contradiction::new(vec![card()], larger.clone(), one.clone(), vec![Hash::ZERO]).unwrap();
        assert_eq!(Contradiction::parse(offered.print().as_bytes()).unwrap(), offered);
        for bad in [
            swapped.print(),
            printed.replace("\"cards\"", "\"card\""),
            printed.replace("  \"offered\": []", "  \"offered\": [\n    \"00\"\n  ]"),
            printed.replace("contradiction/v1", "contradiction/v2"),
            printed.trim_end().to_owned(),
        ] {
            assert!(Contradiction::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Contradiction::new(vec![card()], one.clone(), one.clone(), Vec::new()).is_err());
        assert!(Contradiction::new(vec![card()], one, note("a/c/1", 5, Hash::ZERO), Vec::new()).is_err());
    }
}
