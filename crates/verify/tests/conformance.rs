//! The world of the vectors: three good proofs, and fifty that each deviate in one thing.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use custodia_format::body::Body;
use custodia_format::envelope::Envelope;
use custodia_format::proof::Proof;
use custodia_format::statement::Statement;
use custodia_format::text::Label;
use custodia_format::trust::TrustFile;
use custodia_verify::{Content, ContentError, ContentFile, Given, Report, Strictness, Verdict, verify};

fn world(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/world").join(name)
}

/// A folder in memory.
struct Memory(Vec<(Vec<u8>, Vec<u8>)>);

impl Memory {
    fn of(folder: &Path) -> Self {
        fn walk(folder: &Path, top: &Path, files: &mut Vec<(Vec<u8>, Vec<u8>)>) {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                if entry.path().is_dir() {
                    walk(&entry.path(), top, files);
                } else {
                    let name = entry.path().strip_prefix(top).unwrap().to_str().unwrap().as_bytes().to_vec();
                    files.push((name, std::fs::read(entry.path()).unwrap()));
                }
            }
        }
        let mut files = Vec::new();
        walk(folder, folder, &mut files);
        Self(files)
    }
}

impl Content for Memory {
    fn files(&self) -> Result<Vec<ContentFile>, ContentError> {
        let file = |(path, bytes): &(Vec<u8>, Vec<u8>)| ContentFile { path: path.clone(), size: bytes.len() as u64 };
        Ok(self.0.iter().map(file).collect())
    }

    fn read_at(&self, path: &[u8], offset: u64, buffer: &mut [u8]) -> Result<usize, ContentError> {
        let (_, bytes) = self.0.iter().find(|(name, _)| name == path).unwrap();
        let rest = &bytes[offset as usize..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn midstates(&self, sha256: &custodia_format::Hash) -> Option<Vec<u8>> {
        let hex = sha256.to_string();
        std::fs::read(world(&format!("forensics.example/midstates/{}/{hex}", &hex[..2]))).ok()
    }
}

fn judge(proof: &[u8], trust: &str, content: Option<&Path>) -> Report {
    judge_with(proof, trust, content, None)
}

fn judge_with(proof: &[u8], trust: &str, content: Option<&Path>, manifest: Option<&[u8]>) -> Report {
    let trust = TrustFile::parse(&std::fs::read(world(trust)).unwrap()).unwrap();
    let memory = content.map(Memory::of);
    verify(&Given {
        proof,
        trust: &trust,
        manifest,
        content: memory.as_ref().map(|memory| memory as &dyn Content),
        cores: NonZeroUsize::new(2).unwrap(),
    })
}

fn codes(report: &Report) -> Vec<&'static str> {
    report.findings.iter().map(|finding| finding.code.as_str()).collect()
}

#[test]
fn good_proofs_are_unchanged() {
    for name in ["full", "redacted", "sealed-only"] {
        let proof = std::fs::read(world(&format!("{name}.proof.json"))).unwrap();
        let beside = std::fs::read(world("manifest.jsonl")).unwrap();
        let report = judge_with(&proof, "trust", None, (name == "sealed-only").then_some(&beside));
        assert_eq!(report.exit_code(Strictness::Usual), 0, "{name}\n{}", report.to_text());
        assert_eq!(report.exit_code(Strictness::Strict), 13, "{name}: the files were not given, and that is a remark");
    }
    let proof = std::fs::read(world("full.proof.json")).unwrap();
    let report = judge(&proof, "trust", Some(&world("content")));
    assert_eq!(report.verdict, Verdict::Unchanged, "{}", report.to_text());
    assert_eq!((report.items.unchanged, report.items.bytes), (2, 2_621_464));
    assert_eq!(report.exit_code(Strictness::Strict), 0);
}

#[test]
fn each_deviation_is_found_and_named() {
    let index = std::fs::read_to_string(world("tampered/index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    let cases = index.as_array().unwrap();
    assert_eq!(cases.len(), 50);
    let mut wrong = Vec::new();
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let proof = std::fs::read(world(&format!("tampered/{name}.proof.json"))).unwrap();
        let trust = case["trust"].as_str().map_or("trust".to_owned(), |trust| format!("tampered/{trust}"));
        let content = case["content"].as_str().map(|folder| world(&format!("tampered/{folder}")));
        let report = judge(&proof, &trust, content.as_deref());
        let exit = report.exit_code(Strictness::Usual);
        let expected: u8 = case["exit"].as_str().unwrap().parse().unwrap();
        if exit != expected || !codes(&report).contains(&case["finding"].as_str().unwrap()) {
            wrong.push(format!("{name}: expected {} {expected}, got {exit} {:?}", case["finding"], codes(&report)));
        }
        // All that was changed is a contradiction, but for what clocks alone say.
        let by_clocks = codes(&report).contains(&"interval-inverted") && report.contradictions().count() == 0;
        if (report.verdict == Verdict::Changed) != (by_clocks || report.contradictions().count() > 0) {
            wrong.push(format!("{name}: {} contradictions", report.contradictions().count()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn without_trust_nothing_is_unchanged_and_the_doubt_is_about_trust_alone() {
    let proof = std::fs::read(world("full.proof.json")).unwrap();
    let nobody = TrustFile::default();
    let cores = NonZeroUsize::MIN;
    let report = verify(&Given { proof: &proof, trust: &nobody, manifest: None, content: None, cores });
    assert_eq!(report.exit_code(Strictness::Usual), 12, "{}", report.to_text());
}

#[test]
fn one_key_is_one_witness_whatever_the_trust_file_calls_it() {
    let bytes = std::fs::read(world("full.proof.json")).unwrap();
    let proof = Proof::parse(&bytes).unwrap();
    let statements =
        proof.statements.iter().filter_map(|shown| Envelope::parse(shown.envelope.as_ref()?.as_bytes()).ok());
    let cards = statements.filter_map(|envelope| match Statement::parse(&envelope).unwrap().body {
        Body::Card(card) => Some(card.keys.witness.current.key),
        _ => None,
    });
    let mut trust = TrustFile::parse(&std::fs::read(world("trust")).unwrap()).unwrap();
    for (authority, name) in trust.authorities.iter_mut().zip(["one.example", "other.example"]) {
        authority.name = Label::parse(name).unwrap();
    }
    trust.witnesses.extend(cards);
    let judged = |quorum| {
        let trust = TrustFile { quorum, ..trust.clone() };
        let cores = NonZeroUsize::MIN;
        verify(&Given { proof: &bytes, trust: &trust, manifest: None, content: None, cores })
    };
    assert_eq!(judged(1).exit_code(Strictness::Usual), 0, "{}", judged(1).to_text());
    let report = judged(2);
    assert_eq!(report.exit_code(Strictness::Usual), 11, "{}", report.to_text());
    assert!(codes(&report).contains(&"unwitnessed"), "{}", report.to_text());
}

#[test]
fn no_changed_byte_passes_unseen() {
    let good = std::fs::read(world("full.proof.json")).unwrap();
    let unchanged = judge(&good, "trust", None).to_json(None);
    for at in (0..good.len()).step_by(61) {
        for bit in [0, 5] {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            let report = judge(&bad, "trust", None);
            assert_ne!(report.to_json(None), unchanged, "byte {at} bit {bit}");
            // A cosignature's line under another name is a line that this reader does not know, and that is said.
            let seen = report.exit_code(Strictness::Usual) != 0 || codes(&report).contains(&"unknown-line");
            assert!(seen, "byte {at} bit {bit}\n{}", report.to_text());
        }
    }
}

#[test]
fn a_proof_cut_short_is_changed_or_no_proof() {
    let good = std::fs::read(world("full.proof.json")).unwrap();
    for end in (0..good.len()).step_by(499) {
        let exit = judge(&good[..end], "trust", None).exit_code(Strictness::Usual);
        assert!(exit == 10 || exit == 11, "{end} {exit}");
    }
}

#[test]
fn no_report_says_more_than_is_proven() {
    let proof = std::fs::read(world("full.proof.json")).unwrap();
    let text = judge(&proof, "trust", Some(&world("content"))).to_text().to_lowercase();
    for word in ["authentic", "genuine", "true", "admissible", "guarantee"] {
        assert!(!text.contains(word), "{word}\n{text}");
    }
}

#[test]
fn the_manifest_beside_a_proof_is_as_good_as_the_records_in_it() {
    let bytes = std::fs::read(world("full.proof.json")).unwrap();
    let mut proof = custodia_format::proof::Proof::parse(&bytes).unwrap();
    proof.disclosure = None;
    let beside = proof.print().into_bytes();
    let manifest = std::fs::read(world("manifest.jsonl")).unwrap();
    let content = world("content");
    let shown = judge(&bytes, "trust", Some(&content));
    let report = judge_with(&beside, "trust", Some(&content), Some(&manifest));
    assert_eq!((report.verdict, &report.items), (Verdict::Unchanged, &shown.items));
    let text = String::from_utf8(manifest).unwrap();
    for bad in
        [text.replace("disk.raw", "disk.RAW"), text.replace("\"19\"", "\"18\""), text[..text.len() - 1].to_owned()]
    {
        let report = judge_with(&beside, "trust", Some(&content), Some(bad.as_bytes()));
        assert_eq!((report.verdict, codes(&report)), (Verdict::Changed, vec!["manifest"]));
    }
    let none = judge(&beside, "trust", Some(&content));
    assert_eq!((none.verdict, codes(&none)), (Verdict::CannotTell, vec!["missing"]));
}
