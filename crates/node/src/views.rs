//! From the ledger to the index: every entry whose envelope is here becomes a row, and so does every time-stamp token and
//! every checkpoint of ours that was logged.

use custodia_format::Hash;
use custodia_format::checkpoint::check_ledger_signature;
use custodia_format::envelope::Envelope;
use custodia_format::note::Note;
use custodia_format::statement::Statement;
use custodia_index::{Anchor, AnchorRow, Index, Row};
use custodia_ledger::{Ledger, Shelf};
use custodia_verify::time_stamp::Token;

use crate::Node;
use crate::failure::Failure;
use crate::home::Home;

/// Entries that are read before the index takes them.
const BATCH: u64 = 1024;

/// Opens the index of a ledger. One that reflects another ledger, or more than this one holds, is begun anew: it holds
/// nothing that the ledger does not.
pub(crate) fn open(home: &Home, ledger: &Ledger) -> Result<Index, Failure> {
    let folder = home.index();
    let index = Index::open(&folder)?;
    if is_of(&index, ledger)? {
        return Ok(index);
    }
    drop(index);
    tracing::info!("the index reflects another ledger, and is begun anew");
    std::fs::remove_dir_all(&folder).map_err(|error| Failure::io(&error, &folder))?;
    Ok(Index::open(&folder)?)
}

/// Whether the last entry that an index reflects is this ledger's.
fn is_of(index: &Index, ledger: &Ledger) -> Result<bool, Failure> {
    let reflects = index.reflects()?;
    let Some(last) = reflects.checked_sub(1) else { return Ok(true) };
    if reflects > ledger.size() {
        return Ok(false);
    }
    match seen(ledger, last)? {
        Seen::Statement(expected) => Ok(index.row(&expected.digest)?.as_ref() == Some(expected.as_ref())),
        Seen::Anchor(_) | Seen::Nothing => Ok(true),
    }
}

/// Brings the index up to the ledger's size.
pub(crate) fn catch_up(node: &Node) -> Result<(), Failure> {
    let size = node.ledger().size();
    let mut from = node.index().reflects()?;
    while from < size {
        let end = size.min(from + BATCH);
        let (mut rows, mut anchors) = (Vec::new(), Vec::new());
        for leaf_index in from..end {
            match seen(node.ledger(), leaf_index)? {
                Seen::Statement(row) => rows.push(*row),
                Seen::Anchor(row) => anchors.push(row),
                Seen::Nothing => {}
            }
        }
        node.index().apply(&rows, &anchors, end)?;
        from = end;
    }
    Ok(())
}

/// What an entry commits to.
enum Seen {
    Statement(Box<Row>),
    Anchor(AnchorRow),
    /// It is not here, or not what anything is made of.
    Nothing,
}

fn seen(ledger: &Ledger, leaf_index: u64) -> Result<Seen, Failure> {
    let digest = ledger.entry(leaf_index)?.sha256;
    if let Some(envelope) = ledger.document(Shelf::Statement, &digest)? {
        return Ok(row(&envelope, leaf_index, digest).map_or(Seen::Nothing, |row| Seen::Statement(Box::new(row))));
    }
    let anchored = ledger.document(Shelf::Anchor, &digest)?.and_then(|bytes| anchor(ledger, &bytes));
    Ok(anchored.map_or(Seen::Nothing, |anchor| Seen::Anchor(AnchorRow { leaf_index, digest, anchor })))
}

/// A token or a checkpoint of ours.
fn anchor(ledger: &Ledger, bytes: &[u8]) -> Option<Anchor> {
    if let Ok(token) = Token::read(bytes) {
        return token.imprint().map(|stamped| Anchor::Token { stamped });
    }
    let note = Note::parse(bytes).ok()?;
    check_ledger_signature(&note, ledger.vkey()).ok().map(|checkpoint| Anchor::Note { size: checkpoint.size })
}

/// The row of a statement; none when it cannot be read.
fn row(envelope: &[u8], leaf_index: u64, digest: Hash) -> Option<Row> {
    let head = Statement::parse(&Envelope::parse(envelope).ok()?).ok()?.head;
    Some(Row {
        leaf_index,
        digest,
        kind: head.kind.to_string(),
        ledger: head.ledger.to_string(),
        package: head.package.map(|package| package.root),
        sequence: head.sequence,
        in_reply_to: head.in_reply_to,
        issued_at: head.issued_at,
    })
}
