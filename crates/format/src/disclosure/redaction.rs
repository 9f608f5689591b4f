//! Making a disclosure, record by record: what is shown stays in memory, and of what is withheld one hash for each subtree.

use custodia_merkle::{Hash, node_hash};

use super::{Disclosure, Leaf, Node, Subject};
use crate::body::{Text, WithholdingHead};
use crate::error::Malformed;
use crate::manifest::{Ready, record_leaf};
use crate::ranges::{Range, Ranges};
use crate::text::Code;

/// The most heads of one disclosure: more do not fit into the statement that declares them.
const HEADS_MOST: usize = 1000;

/// What is withheld of a record, and under which head.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Withheld {
    /// Nothing.
    #[default]
    Nothing,
    /// All of it.
    Record(Code),
    /// The fields at these positions, ascending, never the first: without its type nothing of a record can be shown.
    Fields(Vec<(usize, Code)>),
}

impl Withheld {
    /// What these heads withhold of a record whose fields have these names.
    pub fn by(heads: &[WithholdingHead], record: u64, names: &[String]) -> Self {
        let mut places = Vec::new();
        for head in heads.iter().filter(|head| (head.records.first..=head.records.last).contains(&record)) {
            if head.fields.as_str() == "*" {
                return Self::Record(head.head.clone());
            }
            for name in head.fields.as_str().split(',') {
                places.extend(names.iter().position(|known| known == name).map(|place| (place, head.head.clone())));
            }
        }
        places.sort_by_key(|(place, _)| *place);
        if places.is_empty() { Self::Nothing } else { Self::Fields(places) }
    }

    /// Whether the field at this position is withheld.
    pub fn covers(&self, place: usize) -> bool {
        match self {
            Self::Nothing => false,
            Self::Record(_) => true,
            Self::Fields(places) => places.iter().any(|(withheld, _)| *withheld == place),
        }
    }
}

/// A disclosure in the making. Records are given in order, each with what is withheld of it.
#[derive(Debug, Clone, Default)]
pub struct Redaction {
    /// Complete subtrees, of falling sizes.
    spans: Vec<Span>,
    records: u64,
    shown: Vec<u64>,
    heads: Vec<WithholdingHead>,
}

#[derive(Debug, Clone)]
struct Span {
    records: u64,
    hash: Hash,
    /// What a disclosure shows of it; none when all of it is withheld.
    nodes: Option<Vec<Node>>,
}

impl Span {
    fn join(self, right: Self) -> Self {
        let nodes = match (self.nodes, right.nodes) {
            (None, None) => None,
            (left, other) => {
                let mut nodes = left.unwrap_or_else(|| vec![Node::Withheld(self.hash)]);
                nodes.append(&mut other.unwrap_or_else(|| vec![Node::Withheld(right.hash)]));
                Some(nodes)
            }
        };
        Self { records: self.records + right.records, hash: node_hash(&self.hash, &right.hash), nodes }
    }
}

impl Redaction {
    /// Adds the next record, whose fields have these names.
    ///
    /// # Errors
    /// [`Malformed`] when what is withheld is not of this record, is its type alone, or needs too many heads.
    pub fn push(&mut self, names: &[String], ready: Ready, withheld: &Withheld) -> Result<(), Malformed> {
        let number = self.records;
        let Ready { texts, leaves: hashes, .. } = ready;
        match withheld {
            Withheld::Nothing => {}
            Withheld::Record(head) => self.declare(number, "*", head)?,
            Withheld::Fields(places) => {
                let ascends = places.windows(2).all(|pair| matches!(pair, [(one, _), (next, _)] if one < next));
                let is_there = |place: &usize| *place > 0 && *place < names.len();
                if places.is_empty() || !ascends || !places.iter().all(|(place, _)| is_there(place)) {
                    let expected = "fields of this record, ascending, not the first";
                    return Err(Malformed::new("disclosure", format!("record {number}"), expected, "others"));
                }
                self.declare_fields(number, names, places)?;
            }
        }
        let nodes = if let Withheld::Record(_) = withheld {
            None
        } else {
            self.shown.push(number);
            let leaf = |(place, (text, hash)): (usize, (String, &Hash))| {
                if withheld.covers(place) { Leaf::Withheld(*hash) } else { Leaf::Shown(text) }
            };
            Some(vec![Node::Record(texts.into_iter().zip(&hashes).enumerate().map(leaf).collect())])
        };
        self.records += 1;
        let mut span = Span { records: 1, hash: record_leaf(number, &hashes), nodes };
        while let Some(left) = self.spans.pop_if(|left| left.records == span.records) {
            span = left.join(span);
        }
        self.spans.push(span);
        Ok(())
    }

    /// The disclosure of what was given.
    ///
    /// # Errors
    /// [`Malformed`] when that is not the subject: other records than were sealed, or not all of them.
    pub fn finish(mut self, subject: Subject) -> Result<Disclosure, Malformed> {
        let wrong = |expected: String, found: String| Malformed::new("manifest", "end", expected, found);
        if self.records != subject.records() {
            return Err(wrong(format!("{} records", subject.records()), self.records.to_string()));
        }
        let Some(mut whole) = self.spans.pop() else { return Err(wrong("a record".to_owned(), "none".to_owned())) };
        while let Some(left) = self.spans.pop() {
            whole = left.join(whole);
        }
        if whole.hash != *subject.root() {
            return Err(wrong(format!("the root {}", subject.root()), whole.hash.to_string()));
        }
        self.heads.sort_by(|one, other| {
            one.records.first.cmp(&other.records.first).then_with(|| one.fields.as_str().cmp(other.fields.as_str()))
        });
        let nodes = whole.nodes.unwrap_or_else(|| vec![Node::Withheld(whole.hash)]);
        Ok(Disclosure { subject, shown: Ranges::gather(self.shown), nodes, heads: self.heads })
    }

    /// The withheld fields of a record, those of one head together.
    fn declare_fields(&mut self, number: u64, names: &[String], places: &[(usize, Code)]) -> Result<(), Malformed> {
        let mut told: Vec<&Code> = Vec::new();
        for (_, head) in places {
            if told.contains(&head) {
                continue;
            }
            told.push(head);
            let of_head = places.iter().filter(|(_, other)| other == head);
            let told = of_head.filter_map(|(place, _)| names.get(*place)).map(String::as_str);
            self.declare(number, &told.collect::<Vec<_>>().join(","), head)?;
        }
        Ok(())
    }

    /// Notes a head; it goes on where the record before has the same.
    fn declare(&mut self, number: u64, fields: &str, head: &Code) -> Result<(), Malformed> {
        let goes_on = |it: &&mut WithholdingHead| {
            it.records.last + 1 == number && it.fields.as_str() == fields && it.head == *head
        };
        if let Some(open) = self.heads.iter_mut().rev().find(goes_on) {
            open.records.last = number;
            return Ok(());
        }
        if self.heads.len() == HEADS_MOST {
            let expected = format!("at most {HEADS_MOST} runs of records with the same fields under the same head");
            return Err(Malformed::new("disclosure", format!("record {number}"), expected, "more"));
        }
        let records = Range { first: number, last: number };
        self.heads.push(WithholdingHead { records, fields: Text::parse(fields)?, head: head.clone() });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::manifest::{Manifest, ManifestKey};
    use crate::record::{DETAIL, Record};
    use crate::statement::Annex;

    fn manifest(records: usize) -> (Manifest, Subject) {
        let records = (0..records).map(|n| Record::of(&DETAIL, &n.to_string(), [])).collect();
        let (manifest, _) = Manifest::make(ManifestKey([1; 32]), records).unwrap();
        let subject = Subject::Annex(Annex { records: manifest.records.len() as u64, root: manifest.root });
        (manifest, subject)
    }

    fn redact(manifest: &Manifest, subject: Subject, withheld: &[Withheld]) -> Result<Disclosure, Malformed> {
        let mut redaction = Redaction::default();
        for (number, (record, withheld)) in (0..).zip(manifest.records.iter().zip(withheld)) {
            let names = manifest.header.fields(record).unwrap();
            redaction.push(names, manifest.header.ready(number, record).unwrap(), withheld)?;
        }
        redaction.finish(subject)
    }

    fn code(text: &str) -> Code {
        Code::parse(text).unwrap()
    }

    #[test]
    fn nothing_withheld_is_the_full_disclosure() {
        let (manifest, subject) = manifest(5);
        let redacted = redact(&manifest, subject, &vec![Withheld::Nothing; 5]).unwrap();
        assert_eq!(redacted, Disclosure::full(subject, &manifest).unwrap());
        assert!(redact(&manifest, subject, &vec![Withheld::Nothing; 4]).is_err());
    }

    #[test]
    fn runs_of_the_same_are_one_head() {
        let (manifest, subject) = manifest(6);
        let fields = |places: &[(usize, &str)]| {
            Withheld::Fields(places.iter().map(|(place, head)| (*place, code(head))).collect())
        };
        let withheld = [
            fields(&[(2, "B.2"), (3, "A.1")]),
            fields(&[(2, "B.2"), (3, "A.1")]),
            fields(&[(2, "B.2")]),
            Withheld::Record(code("B.2")),
            Withheld::Record(code("B.2")),
            Withheld::Record(code("A.1")),
        ];
        let redacted = redact(&manifest, subject, &withheld).unwrap();
        redacted.close().unwrap();
        let told = |it: &WithholdingHead| format!("{} {} {}", it.records, it.fields.as_str(), it.head);
        let heads: Vec<String> = redacted.heads.iter().map(told).collect();
        assert_eq!(heads, ["0-2 about B.2", "0-1 value A.1", "3-4 * B.2", "5 * A.1"]);
    }

    #[test]
    fn what_a_record_does_not_have_cannot_be_withheld() {
        let (manifest, subject) = manifest(1);
        for places in [&[][..], &[0], &[5], &[3, 2], &[2, 2]] {
            let withheld = Withheld::Fields(places.iter().map(|place| (*place, code("B.2"))).collect());
            assert!(redact(&manifest, subject, &[withheld]).is_err(), "{places:?}");
        }
    }

    proptest! {
        #[test]
        fn any_redaction_closes_reads_back_and_follows_from_its_heads(hide in prop::collection::vec(0..6_u8, 1..40)) {
            let (manifest, subject) = manifest(hide.len());
            let how = |how: &u8| match *how {
                0 => Withheld::Nothing,
                1 => Withheld::Record(code("B.2")),
                2 => Withheld::Record(code("A.1")),
                3 => Withheld::Fields(vec![(2, code("B.2")), (4, code("A.1"))]),
                more => Withheld::Fields(vec![(usize::from(more) - 2, code("B.2"))]),
            };
            let withheld: Vec<Withheld> = hide.iter().map(how).collect();
            let redacted = redact(&manifest, subject, &withheld).unwrap();
            let records = redacted.close().unwrap();
            prop_assert_eq!(records.len(), hide.iter().filter(|how| !(1..3).contains(*how)).count());
            prop_assert_eq!(&Disclosure::parse(redacted.print().as_bytes()).unwrap(), &redacted);
            let (_, names) = &manifest.header.types[0];
            let again: Vec<Withheld> =
                (0..hide.len() as u64).map(|number| Withheld::by(&redacted.heads, number, names)).collect();
            prop_assert_eq!(again, withheld);
        }
    }
}
