//! The time-stamp tokens of a proof: ours over the checkpoints that it shows, and those of others that we believe.

use std::collections::{BTreeSet, HashMap};

use custodia_format::Hash;
use custodia_format::note::Note;
use custodia_format::proof::{ProofStatement, Token as Shown};
use custodia_ledger::Shelf;
use custodia_verify::time_stamp::{Token, TsaCertificate};

use super::pool::Pool;
use crate::Node;
use crate::failure::Failure;

/// All tokens over the texts that the proof shows, in its order.
pub(super) fn over(
    node: &Node,
    pool: &Pool,
    statements: &[ProofStatement],
    anchors: &[Note],
) -> Result<Vec<Shown>, Failure> {
    let checkpoints = statements.iter().filter_map(|statement| Some(&statement.tlog_proof.as_ref()?.checkpoint));
    let texts: BTreeSet<Hash> = checkpoints.chain(anchors).map(Note::text_digest).collect();
    let mut tokens = BTreeSet::new();
    for note in &texts {
        // Checked in full before it was logged.
        for digest in node.index().tokens_over(note)? {
            if let Some(token) = node.ledger().document(Shelf::Anchor, &digest)? {
                tokens.insert(Shown { note: *note, token });
            }
        }
    }
    if !pool.tokens.is_empty() {
        let trust = node.trust()?;
        let parsed = trust.tsas.iter().filter_map(|der| TsaCertificate::parse(der).ok());
        let trusted: HashMap<Hash, TsaCertificate> = parsed.map(|one| (one.fingerprint, one)).collect();
        // One that somebody made up would make a changed proof of this one, for whoever believes the authority in its name.
        let counts = |shown: &&Shown| {
            Token::read(&shown.token).is_ok_and(|token| {
                let certificate = token.certificate().and_then(|named| trusted.get(&named));
                certificate.is_some_and(|certificate| token.check(certificate, &shown.note).is_ok())
            })
        };
        tokens.extend(pool.tokens.iter().filter(|shown| texts.contains(&shown.note)).filter(counts).cloned());
    }
    Ok(tokens.into_iter().collect())
}
