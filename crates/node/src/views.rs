//! From the ledger to the index: every entry whose envelope is here becomes a row.

use custodia_format::envelope::Envelope;
use custodia_format::statement::Statement;
use custodia_index::{Index, Row};
use custodia_ledger::{Ledger, Shelf};

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
    match row(ledger, last)? {
        None => Ok(true),
        Some(expected) => Ok(index.row(&expected.digest)? == Some(expected)),
    }
}

/// Brings the index up to the ledger's size.
pub(crate) fn catch_up(node: &Node) -> Result<(), Failure> {
    let size = node.ledger().size();
    let mut from = node.index().reflects()?;
    while from < size {
        let end = size.min(from + BATCH);
        let rows = (from..end).map(|leaf_index| row(node.ledger(), leaf_index)).collect::<Result<Vec<_>, _>>()?;
        let rows: Vec<Row> = rows.into_iter().flatten().collect();
        node.index().apply(&rows, end)?;
        from = end;
    }
    Ok(())
}

/// The row of an entry; none when it commits to no statement that is here and can be read.
fn row(ledger: &Ledger, leaf_index: u64) -> Result<Option<Row>, Failure> {
    let entry = ledger.entry(leaf_index)?;
    let Some(envelope) = ledger.document(Shelf::Statement, &entry.sha256)? else { return Ok(None) };
    let Ok(statement) = Envelope::parse(&envelope).map_err(|_| ()).and_then(|e| Statement::parse(&e).map_err(|_| ()))
    else {
        return Ok(None);
    };
    let head = statement.head;
    Ok(Some(Row {
        leaf_index,
        digest: entry.sha256,
        kind: head.kind.to_string(),
        ledger: head.ledger.to_string(),
        package: head.package.map(|package| package.root),
        sequence: head.sequence,
        in_reply_to: head.in_reply_to,
        issued_at: head.issued_at,
    }))
}
