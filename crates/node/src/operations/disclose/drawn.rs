//! A redacted copy that was drawn up: what it withholds, counted, and whether that can be found in it all the same.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use custodia_format::disclosure::{Disclosure, Leaf, Node as TreeNode, Withheld};
use custodia_format::envelope::Envelope;
use custodia_format::manifest::Disc;
use custodia_format::proof::Proof;
use custodia_format::record::{By, Grammar, Value, schema};
use custodia_format::statement::Package;
use memchr::memmem;

use super::hidden::{Found, Hidden};
use super::rules::Rules;
use super::{Echo, WithheldLine, heads};
use crate::failure::{Code, Failure};
use crate::redacted::{self, Leaving, Open};
use crate::{Node, packages};

/// Values that are told to stand elsewhere: whoever has more begins anew.
const ECHOES_MOST: usize = 200;
/// Bytes of an item that are looked at together.
const PIECE_BYTES: usize = 1 << 20;

/// What is withheld under one head of the records of one type: all of them, or these fields.
type Counted = (String, String, Vec<String>);

/// A copy that was drawn up.
pub(super) struct Drawn {
    package: Package,
    pub(super) disclosure: Disclosure,
    rules: Rules,
    counts: BTreeMap<Counted, u64>,
    hidden: Hidden,
}

impl Drawn {
    /// Draws up what the rules leave of a package.
    pub(super) fn of(node: &Node, package: Package, mut rules: Rules) -> Result<Self, Failure> {
        let mut hidden = Hidden::default();
        let mut counts = BTreeMap::new();
        let disclosure = redacted::make(node, package, |header, open, salts| {
            if open.number == 0 {
                hidden.key(&header.key);
            }
            let (withheld, is_rest) = rules.decide(open);
            for (place, salt) in salts.iter().enumerate().filter(|(place, _)| withheld.covers(*place)) {
                hidden.salt(salt);
                if !is_rest && is_telling(open, place) {
                    let value = open.record.0.get(place).into_iter().flat_map(Value::texts);
                    value.for_each(|value| hidden.value(value));
                }
            }
            for counted in by_head(open, &withheld) {
                *counts.entry(counted).or_default() += 1;
            }
            Ok(withheld)
        })?;
        rules.refuse_unmet(package.records)?;
        hidden.complete();
        Ok(Self { package, disclosure, rules, counts, hidden })
    }

    /// The key, or the salt of something withheld, in a proof is a defect: nothing leaves.
    pub(super) fn refuse_secrets(&self, proof: &Proof) -> Result<(), Failure> {
        let whole = ("the proof".to_owned(), proof.print().into_bytes());
        for (what, text) in [whole].into_iter().chain(payloads(proof)?) {
            if self.hidden.secret_in(&text) {
                let told = "A secret by which withheld values could be guessed stands in the copy.";
                return Err(Failure::new(Code::SelfCheck, told)
                    .at(what)
                    .safe("Nothing was written.")
                    .next("report this: a node must not make such a copy"));
            }
        }
        Ok(())
    }

    /// The withheld values that stand in what a proof shows, or in the bytes of the items that go along.
    pub(super) fn echoes(
        &mut self,
        node: &Node,
        proof: &Proof,
        items: &[Leaving],
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Vec<Echo>, Failure> {
        let texts: Vec<(String, Vec<u8>)> = payloads(proof)?.chain(shown(&self.disclosure)?).collect();
        let mut found = Found::default();
        for (_, text) in &texts {
            self.hidden.look(&mut found).values(text);
        }
        let (mut done, mut suspects) = (0, Vec::new());
        for (number, item) in (1..).zip(items) {
            let mut in_item = Found::default();
            let mut look = self.hidden.look(&mut in_item);
            pieces(node, item, 0, |piece| {
                look.values(piece);
                ControlFlow::Continue(())
            })?;
            if !in_item.is_clear() {
                suspects.push(item);
            }
            found.join(in_item);
            done += item.size;
            progress(done, number);
        }
        if found.is_clear() {
            return Ok(Vec::new());
        }
        let sought = self.sought(node, &found)?;
        let mut echoes = Vec::new();
        for (what, text) in &texts {
            echoes.extend(sought.iter().filter(|it| it.is_in(text)).map(|it| it.echo(what.clone())));
        }
        for item in suspects {
            let what = format!("the bytes of {}", String::from_utf8_lossy(&item.path));
            for it in &sought {
                let mut is_in = false;
                pieces(node, item, it.value.len(), |piece| {
                    is_in = it.is_in(piece);
                    if is_in { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })?;
                echoes.extend(is_in.then(|| it.echo(what.clone())));
            }
        }
        echoes.truncate(ECHOES_MOST);
        Ok(echoes)
    }

    /// The withheld values that begin as something that was found.
    fn sought(&mut self, node: &Node, found: &Found) -> Result<Vec<Sought>, Failure> {
        let mut sought = Vec::new();
        packages::unclosed_records(&node.home().manifest(&self.package.root), |header, number, record| {
            let open = Open { number, record: &record, names: header.fields(&record).unwrap_or_default() };
            let (withheld, is_rest) = self.rules.decide(&open);
            if is_rest {
                return Ok(());
            }
            for (place, value) in record.0.iter().enumerate() {
                if !withheld.covers(place) || !is_telling(&open, place) {
                    continue;
                }
                for value in value.texts().iter().filter(|value| found.may_be(value)) {
                    let field = open.names.get(place).cloned().unwrap_or_default();
                    let code = record.code().unwrap_or_default().to_owned();
                    sought.push(Sought { record: number, code, field, value: value.clone() });
                }
            }
            sought.truncate(ECHOES_MOST);
            Ok(())
        })?;
        Ok(sought)
    }

    /// What is withheld, counted.
    pub(super) fn told(&self) -> Vec<WithheldLine> {
        let line = |((head, record_type, fields), records): (&Counted, &u64)| WithheldLine {
            head: head.clone(),
            meaning: heads::meaning(head).map(str::to_owned),
            record_type: record_type.clone(),
            fields: fields.clone(),
            records: *records,
        };
        self.counts.iter().map(line).collect()
    }

    /// What is worth knowing of it.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if let Some((head, ..)) = self.counts.keys().find(|(head, ..)| heads::meaning(head).is_none()) {
            remarks.push(format!("the head {head} is not in the table of heads: whoever reads the copy must know it"));
        }
        let of_file = |(_, name, fields): &Counted| {
            name == "file/1" && fields.iter().any(|field| field == "sha256" || field == "size")
        };
        if self.counts.keys().any(of_file) {
            remarks.push("files whose SHA-256 or size is withheld do not go along, and cannot be checked".to_owned());
        }
        if self.counts.keys().any(|(_, _, fields)| fields.is_empty()) {
            remarks.push("shown records may name withheld ones by their codes".to_owned());
        }
        remarks
    }
}

/// A withheld value that may stand elsewhere.
struct Sought {
    record: u64,
    code: String,
    field: String,
    value: String,
}

impl Sought {
    fn is_in(&self, text: &[u8]) -> bool {
        memmem::find(text, self.value.as_bytes()).is_some()
    }

    fn echo(&self, stands_in: String) -> Echo {
        Echo { record: self.record, code: self.code.clone(), field: self.field.clone(), stands_in }
    }
}

/// Whether the value of a field says something by itself: codes, words and numbers stand in many places and mean nothing there, and
/// neither does what a seal fills in.
fn is_telling(open: &Open<'_>, place: usize) -> bool {
    let known = open.record.type_name().and_then(schema);
    let Some(field) = known.and_then(|known| known.fields.get(place)) else { return place > 1 };
    let says_nothing = matches!(
        field.grammar,
        Grammar::Word
            | Grammar::Code
            | Grammar::Codes
            | Grammar::Decimal
            | Grammar::Number
            | Grammar::Offset
            | Grammar::Part
            | Grammar::Range
            | Grammar::MediaType
    );
    place > 1 && field.by != By::Seal && !says_nothing
}

/// What is withheld of a record, under which head.
fn by_head(open: &Open<'_>, withheld: &Withheld) -> Vec<Counted> {
    let name = open.record.type_name().unwrap_or_default().to_owned();
    let mut counted: Vec<Counted> = Vec::new();
    match withheld {
        Withheld::Nothing => {}
        Withheld::Record(head) => counted.push((head.to_string(), name, Vec::new())),
        Withheld::Fields(places) => {
            for (place, head) in places {
                let field = open.names.get(*place).cloned();
                match counted.iter_mut().find(|(known, ..)| *known == head.to_string()) {
                    Some((_, _, fields)) => fields.extend(field),
                    None => counted.push((head.to_string(), name.clone(), field.into_iter().collect())),
                }
            }
        }
    }
    counted
}

/// What the shown statements of a proof say.
fn payloads(proof: &Proof) -> Result<impl Iterator<Item = (String, Vec<u8>)>, Failure> {
    let mut payloads = Vec::new();
    for statement in &proof.statements {
        if let Some(envelope) = &statement.envelope {
            let payload = Envelope::parse(envelope.as_bytes())?.payload().to_vec();
            let digest = statement.digest.to_string();
            payloads.push((format!("statement {}", digest.get(..16).unwrap_or(&digest)), payload));
        }
    }
    Ok(payloads.into_iter())
}

/// What a disclosure shows: each value as it is, not as it is printed.
fn shown(disclosure: &Disclosure) -> Result<impl Iterator<Item = (String, Vec<u8>)>, Failure> {
    let mut values = Vec::new();
    let records = disclosure.nodes.iter().filter_map(|node| match node {
        TreeNode::Record(leaves) => Some(leaves),
        TreeNode::Withheld(_) => None,
    });
    for (number, leaves) in disclosure.shown.numbers().zip(records) {
        let mut code = String::new();
        for leaf in leaves {
            let Leaf::Shown(text) = leaf else { continue };
            let disc = Disc::parse(text)?;
            if disc.name == "code" {
                code = disc.value.as_str().unwrap_or_default().to_owned();
            }
            let what = format!("record {number} {code}, {}", disc.name);
            values.extend(disc.value.texts().iter().map(|value| (what.clone(), value.clone().into_bytes())));
        }
    }
    Ok(values.into_iter())
}

/// Goes through the bytes of an item in pieces, of which each begins with the last `again` bytes of the one before.
fn pieces(
    node: &Node,
    item: &Leaving,
    again: usize,
    mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<(), Failure> {
    let open = node.vault().item(&item.sha256)?;
    let mut buffer = vec![0; PIECE_BYTES + again];
    let mut offset = 0;
    while offset < item.size {
        let from = offset.saturating_sub(again as u64);
        let read = open
            .read_at(from, &mut buffer)
            .map_err(|error| Failure::new(Code::Io, format!("The system says: {error}.")).at(item.sha256))?;
        if from + read as u64 <= offset || each(buffer.get(..read).unwrap_or_default()).is_break() {
            return Ok(());
        }
        offset = from + read as u64;
    }
    Ok(())
}
