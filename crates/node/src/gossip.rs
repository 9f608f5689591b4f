//! What nodes tell each other of ledgers, so that a split view is found by the first two who both saw it, and who forgot
//! what he said or witnessed is reminded (docs/spec/wire.md).
//!
//! A note counts only when the ledger's own key signed it; its lines count when they verify under keys of authorities that
//! we trust. Nobody can be made to look forked by others, and what is kept of talk is bounded ([`crate::claims`]).

use custodia_exchange::{Code as WireCode, Refused};
use custodia_format::checkpoint::{Checkpoint, check_ledger_signature, cosignature_time};
use custodia_format::key::KeyId;
use custodia_format::note::{Note, Vkey};
use custodia_format::text::LedgerName;
use custodia_ledger::{Health, Relearned};
use custodia_net::Peer;

use crate::claims::{Claims, IsShown};
use crate::failure::{Code, Failure};
use crate::host::refused;
use crate::peers::Authority;
use crate::witness::{self, At, Filed, Whose};
use crate::{Node, evidence};

/// What this peer may need of what we know, the most useful first: of its own ledgers, of ours, of others'.
pub(crate) fn tell(node: &Node, reader: &KeyId) -> Result<Vec<Vec<u8>>, Failure> {
    let (mut notes, mut others) = (Vec::new(), Vec::new());
    for peer in node.peers().all() {
        for ledger in peer.ledgers() {
            let known = of_ledger(node, &peer, ledger).unwrap_or_else(|failure| {
                // What does not read is not passed on; that much is told everywhere else.
                tracing::error!(%failure, "what is known of a ledger cannot be read");
                Vec::new()
            });
            if peer.root == *reader { notes.extend(known) } else { others.push(known) }
        }
    }
    notes.extend(of_ours(node, reader)?);
    // The first of each ledger before the second of any.
    let longest = others.iter().map(Vec::len).max().unwrap_or_default();
    for place in 0..longest {
        notes.extend(others.iter().filter_map(|known| known.get(place)).cloned());
    }
    Ok(notes.iter().map(|note| note.print().into_bytes()).collect())
}

/// Of our ledger: the newest note that this reader cosigned, then the newest of everybody else, each text once.
fn of_ours(node: &Node, reader: &KeyId) -> Result<Vec<Note>, Failure> {
    let ours = node.notes().ours();
    let of_this_ledger = |filed: &&Filed| filed.at.generation == node.config().ledger.generation;
    let all: Vec<&Filed> = ours.iter().filter(of_this_ledger).collect();
    let mut chosen: Vec<At> = Vec::new();
    let readers = all.iter().rev().find(|filed| filed.by == *reader);
    for filed in readers.into_iter().chain(all.iter().rev()) {
        let is_newest_of = all.iter().rev().find(|other| other.by == filed.by) == Some(filed);
        if is_newest_of && !chosen.contains(&filed.at) {
            chosen.push(filed.at);
        }
    }
    chosen.into_iter().filter_map(|at| witness::joined(&ours, at, node.ledger_vkey()).transpose()).collect()
}

/// Of a peer's ledger: what we witnessed last, then what others told of it, newest first, each text once.
fn of_ledger(node: &Node, peer: &Authority, ledger: &Vkey) -> Result<Vec<Note>, Failure> {
    let claims = Claims::of(node.home(), peer.root, ledger);
    let mut notes: Vec<Note> = Vec::new();
    if let Some(last) = witness::last(node, &peer.root, ledger)? {
        let size = last.checkpoint().size;
        notes.push(last.note().clone());
        notes.extend(filed_at(node, peer, size)?.into_iter().filter(|note| note.text == last.note().text));
    }
    let mut told = [claims.told()?, claims.open()?].concat();
    told.sort_by_key(|told| std::cmp::Reverse(told.checkpoint.size));
    notes.extend(told.into_iter().map(|told| told.note));
    let mut joined: Vec<Note> = Vec::new();
    for note in notes {
        match joined.iter_mut().find(|known| known.text == note.text) {
            Some(known) => witness::join(known, [&note], ledger),
            None => joined.push(note),
        }
    }
    Ok(joined)
}

/// Takes in what a peer knows of ledgers now; durable when this returns.
pub(crate) fn hear(node: &Node, peer: &Peer, notes: &[Vec<u8>]) -> Result<(), Refused> {
    take_in(node, peer, notes)?;
    node.heard().mark(peer.root);
    Ok(())
}

/// Takes in what a peer knew of ledgers when it wrote it down; durable when this returns.
pub(crate) fn take_in(node: &Node, peer: &Peer, notes: &[Vec<u8>]) -> Result<(), Refused> {
    let keys = witness::known_keys(node);
    for bytes in notes {
        // What does not parse or count is talk: it says nothing about the ledger, and its bearer may know no better.
        let Ok(note) = Note::parse(bytes) else { continue };
        let origin = note.text.lines().next().unwrap_or_default();
        if origin == node.ledger_vkey().name() {
            hear_of_ours(node, peer, &note, &keys)?;
            continue;
        }
        let Ok(ledger) = LedgerName::parse(origin) else { continue };
        let owner = node.peers().all().into_iter().find_map(|owner| {
            let vkey = owner.ledger(&ledger)?.clone();
            check_ledger_signature(&note, &vkey).is_ok().then_some((owner, vkey))
        });
        if let Some((owner, vkey)) = owner {
            match hear_of_theirs(node, &owner, &vkey, note, &keys) {
                // A file of ours about this ledger does not read: it is not cosigned until a person has looked, and the
                // others need not wait for that.
                Err(failure) if failure.code == Code::Malformed => {
                    tracing::error!(%failure, "what was told of a ledger cannot be compared");
                }
                heard => heard.map_err(refused)?,
            }
        }
    }
    Ok(())
}

/// Holds our ledger against a note of it that a peer shows. One that is ahead, or of another past, is kept, so that the
/// next start knows it too.
pub(crate) fn confront(node: &Node, peer: &KeyId, note: &Note) -> Result<(), Refused> {
    // Only our own signature gives it weight: without it, it says something about the peer, not about us.
    match node.ledger().confront(note.clone()) {
        Ok(Health::RolledBack { why }) => {
            tracing::error!(why, "a peer holds a checkpoint of this ledger that is ahead");
            // The next generation begins after it.
            node.notes().keep(peer, Whose::Ours, note).map_err(refused)?;
            Err(WireCode::RolledBack.into())
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Keeps what third authorities cosigned of our ledger, under each one's name.
fn hear_of_ours(node: &Node, peer: &Peer, note: &Note, keys: &[Known]) -> Result<(), Refused> {
    let own = node.ledger_vkey();
    if check_ledger_signature(note, own).is_err() {
        return Ok(());
    }
    confront(node, &peer.root, note)?;
    let at = At::of(note).map_err(refused)?;
    for (whose, key) in keys {
        let (Some(whose), Some(line)) = (whose, note.lines.iter().find(|line| key.is_of(line))) else { continue };
        let known = node.notes().of_peer(whose, Whose::Ours);
        let mut known = known.iter().filter(|filed| filed.at == at);
        // One line of a key on one text is enough: what a peer says twice fills no disk.
        if known.any(|filed| filed.read().is_ok_and(|note| note.lines.iter().any(|line| key.is_of(line)))) {
            continue;
        }
        let lines = note.lines.iter().filter(|line| own.is_of(line)).chain([line]).cloned().collect();
        let mut kept = Note { text: note.text.clone(), lines };
        kept.sort(own);
        if matches!(cosignature_time(&kept, key), Ok(Some(_))) {
            node.notes().keep(whose, Whose::Ours, &kept).map_err(refused)?;
        }
    }
    Ok(())
}

/// A witness key that we know, and whose it is; nobody's is our own.
type Known = (Option<KeyId>, Vkey);

/// Compares a note of another authority's ledger, which its key signed, with what we hold of it.
fn hear_of_theirs(node: &Node, owner: &Authority, ledger: &Vkey, note: Note, keys: &[Known]) -> Result<(), Failure> {
    let checkpoint = Checkpoint::parse_text(&note.text)?;
    let Some((note, signers)) = counting(note, ledger, keys) else { return Ok(()) };
    let _judging = node.judging();
    // Of a ledger that showed two histories nothing more is believed; and nothing follows from an empty one.
    if checkpoint.size == 0 || evidence::is_forked(node, &owner.root, ledger.name())? {
        return Ok(());
    }
    let claims = Claims::of(node.home(), owner.root, ledger);
    let kept = claims.kept()?;
    let told = kept.told.iter().chain(&kept.claimed);
    let told = told.filter(|told| told.checkpoint.size == checkpoint.size).map(|told| told.note.clone());
    let mut held = filed_at(node, owner, checkpoint.size)?;
    let last = witness::last(node, &owner.root, ledger)?;
    held.extend(last.filter(|last| last.checkpoint().size == checkpoint.size).map(|last| last.note().clone()));
    held.retain(|held| held.text.lines().next() == Some(ledger.name()));
    if let Some(other) = held.iter().cloned().chain(told).find(|other| other.text != note.text) {
        return evidence::keep(node, owner, ledger, other, note, Vec::new());
    }
    let is_ours = signers.contains(&None);
    if is_ours {
        relearn(node, owner, ledger, &note, checkpoint.size)?;
    }
    let last = witness::last(node, &owner.root, ledger)?;
    let is_last = last.is_some_and(|last| *last.checkpoint() == checkpoint);
    let is_shown = if is_last || !held.is_empty() { IsShown::Yes } else { IsShown::No };
    let mut signers: Vec<KeyId> = signers.into_iter().flatten().collect();
    if signers.is_empty() {
        if is_ours && is_shown == IsShown::Yes {
            // Nobody's but our own: it lies among what we cosigned.
            return Ok(());
        }
        signers.push(owner.root);
    }
    claims.keep(&kept, &note, checkpoint.size, &signers, is_shown)
}

/// A note that carries our own cosignature and is ahead of what we remember: we vouched for it, and have forgotten it.
fn relearn(node: &Node, owner: &Authority, ledger: &Vkey, note: &Note, size: u64) -> Result<(), Failure> {
    match node.witnessed().relearn(&owner.root, ledger, note.clone()).map_err(witness::unusable)? {
        Relearned::Nothing => return Ok(()),
        Relearned::Ahead { stored } => {
            tracing::warn!(
                size,
                stored,
                "this node had forgotten what it witnessed of a ledger, and has learned it again"
            );
        }
    }
    let own = witness::own_vkey(node)?;
    let lines = note.lines.iter().filter(|line| ledger.is_of(line) || own.is_of(line)).cloned().collect();
    let mut kept = Note { text: note.text.clone(), lines };
    kept.sort(ledger);
    node.notes().keep(&owner.root, Whose::Theirs, &kept)
}

/// The note with the ledger's line and those of authorities that we know, and who these are. None when a line of a known key
/// does not verify: such a note is worth nothing (docs/spec/log-formats.md, "Cosignatures").
fn counting(mut note: Note, ledger: &Vkey, keys: &[Known]) -> Option<(Note, Vec<Option<KeyId>>)> {
    let mut signers = Vec::new();
    for (whose, key) in keys {
        if cosignature_time(&note, key).ok()?.is_some() && !signers.contains(whose) {
            signers.push(*whose);
        }
    }
    note.lines.retain(|line| ledger.is_of(line) || keys.iter().any(|(_, key)| key.is_of(line)));
    note.sort(ledger);
    Some((note, signers))
}

/// The notes of a peer's ledgers of this size that we cosigned.
fn filed_at(node: &Node, peer: &Authority, size: u64) -> Result<Vec<Note>, Failure> {
    let filed = node.notes().of_peer(&peer.root, Whose::Theirs);
    filed.iter().filter(|filed| filed.at.size == size).map(witness::Filed::read).collect()
}
