//! A redacted copy that somebody altered, in two thousand ways: none of them passes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;

use custodia_format::Hash;
use custodia_format::body::{Text, WithholdingHead};
use custodia_format::disclosure::{Disclosure, Leaf, Node};
use custodia_format::manifest::field_leaf;
use custodia_format::proof::Proof;
use custodia_format::ranges::{Range, Ranges};
use custodia_format::text::Code;
use custodia_format::trust::TrustFile;
use custodia_verify::{Given, Report, Verdict, verify};

const COPIES: usize = 2000;

/// SplitMix64 (Steele, Lea, Flood 2014): the same copies every time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }
}

fn world(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/world").join(name)).unwrap()
}

fn judge(proof: &[u8], trust: &TrustFile) -> Report {
    verify(&Given { proof, trust, manifest: None, content: None, cores: NonZeroUsize::MIN })
}

/// One way of altering what a copy shows; the name of the way, where it could be gone.
fn alter(copy: &mut Disclosure, chance: &mut Chance) -> Option<&'static str> {
    let node = chance.below(copy.nodes.len());
    let way = chance.below(9);
    let head = |records: u64, fields: &str| WithholdingHead {
        records: Range { first: records, last: records },
        fields: Text::parse(fields).unwrap(),
        head: Code::parse("B.5").unwrap(),
    };
    let numbers: Vec<u64> = copy.shown.numbers().collect();
    let shown_before = copy.nodes[..node].iter().filter(|node| matches!(node, Node::Record(_))).count();
    match (way, &mut copy.nodes[node]) {
        // More is withheld than was declared: without a word, or with one that nobody signed.
        (0 | 1, Node::Record(leaves)) => {
            let leaf = 1 + chance.below(leaves.len() - 1);
            let Leaf::Shown(text) = &leaves[leaf] else { return None };
            let name = text.split('"').nth(3).unwrap().to_owned();
            leaves[leaf] = Leaf::Withheld(field_leaf(text));
            if way == 0 {
                return Some("a field is withheld without a word");
            }
            copy.heads.push(head(numbers[shown_before], &name));
            copy.heads.sort_by_key(|it| (it.records.first, it.fields.as_str().to_owned()));
            Some("a field is withheld under a head that nobody signed")
        }
        (2, Node::Record(leaves)) => {
            let leaf = chance.below(leaves.len());
            let Leaf::Shown(text) = &mut leaves[leaf] else { return None };
            let at = text.rfind("null").map_or(text.len() - 2, |at| at);
            text.replace_range(at.., "\"another value\"]");
            Some("another value")
        }
        (3, Node::Record(leaves)) => {
            let (one, other) = (chance.below(leaves.len()), chance.below(leaves.len()));
            (one != other).then(|| leaves.swap(one, other))?;
            Some("two fields change places")
        }
        (4, _) => {
            let other = chance.below(copy.nodes.len());
            (node != other).then(|| copy.nodes.swap(node, other))?;
            Some("two nodes change places")
        }
        (5, _) => {
            copy.nodes.remove(node);
            Some("a node is missing")
        }
        (6, _) => {
            copy.nodes.insert(node, Node::Withheld(Hash::of(&[chance.below(256) as u8])));
            Some("a node too many")
        }
        (7, _) => {
            let number = chance.below(copy.subject.records() as usize) as u64;
            let changed = numbers.iter().copied().filter(|known| *known != number);
            let changed: Vec<u64> = if numbers.contains(&number) {
                changed.collect()
            } else {
                let mut all: Vec<u64> = changed.chain([number]).collect();
                all.sort_unstable();
                all
            };
            copy.shown = Ranges::gather(changed);
            Some("other records are said to be shown")
        }
        (8, _) => {
            let at = chance.below(copy.heads.len());
            match chance.below(3) {
                0 => copy.heads[at].head = Code::parse("A.8").unwrap(),
                1 => drop(copy.heads.remove(at)),
                _ => copy.heads[at].records = Range { first: 0, last: copy.subject.records() - 1 },
            }
            Some("other heads")
        }
        _ => None,
    }
}

#[test]
fn two_thousand_altered_copies_are_refused() {
    let (original, trust) = (world("redacted.proof.json"), TrustFile::parse(&world("trust")).unwrap());
    assert!(matches!(judge(&original, &trust).verdict, Verdict::Unchanged | Verdict::UnchangedWithRemarks));
    let proof = Proof::parse(&original).unwrap();
    let text = String::from_utf8(original.clone()).unwrap();
    let from = text.find("\"disclosure\": {").unwrap();
    let to = text.find("\n  \"annexes\":").unwrap();
    let mut chance = Chance(2026);
    let mut ways: BTreeMap<&str, usize> = BTreeMap::new();
    let mut made = 0;
    while made < COPIES {
        let (way, altered) = if made % 2 == 0 {
            let mut bytes = original.clone();
            let at = from + chance.below(to - from);
            let way = match chance.below(3) {
                0 => {
                    bytes[at] ^= 1 << chance.below(7);
                    "a bit"
                }
                1 => {
                    bytes.remove(at);
                    "a byte less"
                }
                _ => {
                    bytes.insert(at, 32 + chance.below(95) as u8);
                    "a byte more"
                }
            };
            (way, bytes)
        } else {
            let mut altered = proof.clone();
            let Some(way) = alter(altered.disclosure.as_mut().unwrap(), &mut chance) else { continue };
            (way, altered.print().into_bytes())
        };
        if altered == original {
            continue;
        }
        made += 1;
        *ways.entry(way).or_default() += 1;
        let report = judge(&altered, &trust);
        let refused = matches!(report.verdict, Verdict::Changed | Verdict::CannotTell);
        assert!(refused, "copy {made}, {way}: {:?}", report.findings);
    }
    assert!(ways.len() == 12 && ways.values().all(|count| *count > 20), "{ways:?}");
}
