//! Documents and content that are not what was released.

use std::collections::BTreeMap;
use std::time::Duration;

use custodia_exchange::message::{Message, WantRange, Wish};
use custodia_exchange::{Code, Document, Midstates, Wanted};
use custodia_format::limits;
use custodia_format::manifest::Manifest;

use crate::caller::on_network;
use crate::measure::{MIB, mib, row};
use crate::rogue::{Inside, Rogue};
use crate::support::noise;
use crate::world::{World, releases};

/// A world in which the rogue has one release of two items to the node.
fn world_with(size: usize) -> World {
    World::with("", |place, node, rogue| releases(place, node, rogue, &[size]))
}

/// Releases, and waits for the consignment.
async fn announced(
    rogue: &Rogue,
    world: &World,
) -> (Inside, custodia_format::Hash, custodia_format::statement::Package) {
    let (release, statement) = rogue.released().remove(0);
    let mut inside = rogue.enters(world.address()).await;
    inside.releases(&rogue.signed(&release)).await;
    (inside, release, statement.head.package.unwrap())
}

#[test]
fn documents_longer_than_any_are_refused_before_they_come() {
    let world = world_with(1000);
    let rogue = Rogue::of(&world.rogue);
    on_network(async {
        let (mut inside, release, package) = announced(&rogue, &world).await;
        inside.is_asked_for(Document::History).await;
        inside.gives_nothing(release, package.root, Document::History, (64 << 20) + 1).await;
        assert_eq!(inside.is_ended().await, Code::Quota);
        row("T15", "a history of 64 MiB and a byte", "refused before a byte of it", "code 41");
        for (threats, what, document, bytes) in [
            ("T15", "a manifest of 1 GiB and a byte", Document::Manifest, limits::MANIFEST_BYTES + 1),
            ("T15, T21", "a manifest of 2^63 bytes", Document::Manifest, 1 << 63),
            ("T15, T21", "a history of 2^64 - 1 bytes", Document::History, u64::MAX),
        ] {
            let (mut inside, release, _) = announced(&rogue, &world).await;
            inside.follows(release, document, bytes).await;
            assert_eq!(inside.is_closed().await, Some(11), "{what}");
            row(threats, what, "closed before a byte of it", "code 11");
        }
    });
    // The release and its consignment, and nothing of the documents.
    assert_eq!(world.ledger_grew(), 2);
    assert!(world.disk_grew() < 128 << 10, "{}", world.disk_grew());
    world.ends_well();
}

#[test]
fn a_manifest_at_the_limit_that_never_comes_takes_no_room() {
    let world = world_with(1000);
    let rogue = Rogue::of(&world.rogue);
    on_network(async {
        let (mut inside, release, package) = announced(&rogue, &world).await;
        inside.is_asked_for(Document::Manifest).await;
        inside.gives_nothing(release, package.root, Document::Manifest, limits::MANIFEST_BYTES).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(inside.connection.close_reason().is_none());
        let (memory, disk) = (world.memory_grew(), world.disk_grew());
        assert!(memory < 16 * MIB && disk < MIB, "{}, {}", mib(memory), mib(disk));
        row(
            "T15",
            "a manifest of 1 GiB that is announced and never comes",
            "memory < 16 MiB, disk < 1 MiB",
            &format!("{}, {}", mib(memory), mib(disk)),
        );
    });
    world.ends_well();
}

#[test]
fn documents_that_are_not_the_released_ones_are_not_kept() {
    let world = world_with(1000);
    let rogue = Rogue::of(&world.rogue);
    on_network(async {
        let (_, _, package) = announced(&rogue, &world).await;
        let manifest = rogue.manifest(&package);
        let history = rogue.history(&package);
        let mut shorter = history.clone();
        shorter.statements.retain(|it| it.envelope.as_ref().is_none_or(|text| !text.contains("release")));
        let printed = history.print();
        let forged = printed.replacen("\"officer\"", "\"Officer\"", 1).replacen("tlog-proof", "tlog-prooF", 1);
        let flipped = [&manifest[..manifest.len() - 10], &noise(5, 10)].concat();
        let nested = "[".repeat(8 << 20).into_bytes();
        for (threats, what, document, bytes) in [
            ("T15", "8 MiB of brackets as a history", Document::History, nested),
            ("T15", "64 MiB of noise as a history", Document::History, noise(6, 64 << 20)),
            ("T34", "a history without the release", Document::History, shorter.print().into_bytes()),
            ("T34", "a history with a changed word", Document::History, forged.into_bytes()),
            ("Q7", "a manifest with ten changed bytes", Document::Manifest, flipped),
        ] {
            let (mut inside, release, package) = announced(&rogue, &world).await;
            inside.is_asked_for(document).await;
            inside.gives(release, package.root, document, &bytes).await;
            let code = inside.is_ended().await;
            assert_eq!(code, Code::Manifest, "{what}");
            row(threats, what, "refused, not kept", "code 34");
        }
        let grew = world.memory_grew();
        assert!(grew < 256 * MIB, "{}", mib(grew));
        row("T15", "the same: memory", "< 256 MiB, one at a time", &mib(grew));
    });
    assert_eq!(world.ledger_grew(), 2);
    assert!(world.disk_grew() < 256 << 10, "{}", world.disk_grew());
    world.ends_well();
}

#[test]
fn a_document_longer_or_shorter_than_it_was_announced_is_not_kept() {
    let world = world_with(1000);
    let rogue = Rogue::of(&world.rogue);
    on_network(async {
        for (what, more) in [("longer", 1_i64), ("shorter", -1)] {
            let (mut inside, release, package) = announced(&rogue, &world).await;
            let bytes = rogue.manifest(&package);
            let announced = (bytes.len() as i64 - more) as u64;
            inside.is_asked_for(Document::Manifest).await;
            inside.follows(release, Document::Manifest, announced).await;
            inside.sends_document(package.root, Document::Manifest, &bytes).await;
            assert_eq!(inside.is_closed().await, Some(14), "{what}");
            row("Q7", &format!("a manifest one byte {what} than announced"), "closed; nothing kept", "code 14");
        }
    });
    assert_eq!(world.ledger_grew(), 2);
    world.ends_well();
}

#[test]
fn content_that_does_not_prove_is_never_acknowledged() {
    let world = world_with(5 << 20);
    let rogue = Rogue::of(&world.rogue);
    on_network(async {
        let (mut inside, release, package) = announced(&rogue, &world).await;
        let manifest = Manifest::parse(&rogue.manifest(&package)).unwrap();
        let mut want = inside.gives_documents(&rogue, release, &package).await;
        let mut asked = 0;
        let code = loop {
            // Of the right length, whatever is asked for, and nothing of it true.
            let Wish::Ranges(ranges) = &want.what else { panic!("{want:?}") };
            let bytes = bytes_of(&manifest, ranges);
            let mut stream = inside.answers(package.root, &want).await;
            let _ = stream.write_all(&noise(asked, usize::try_from(bytes).unwrap())).await;
            let _ = stream.finish();
            asked += 1;
            match inside.hears().await {
                Ok(Message::Want(next)) => want = next,
                Ok(Message::Error(error)) => break error.refused().code,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(code, Code::Chunk);
        assert!(asked <= 16, "{asked}");
        row(
            "Q6",
            "content of the right length that is noise",
            "asked for a few times, then refused; no receipt",
            &format!("{asked} wants, code 33"),
        );
    });
    assert_eq!(world.ledger_grew(), 2, "the release and its consignment");
    assert!(world.disk_grew() < MIB, "{}", world.disk_grew());
    world.ends_well();
}

/// Bytes on the stream for these ranges.
fn bytes_of(manifest: &Manifest, ranges: &[WantRange]) -> u64 {
    let sizes: BTreeMap<u64, u64> = manifest.items().map(|(record, item)| (record, item.unwrap().size)).collect();
    let of = |range: &WantRange| {
        let midstates = if range.midstates { Midstates::Wanted } else { Midstates::Held };
        let (record, first_chunk, count) = (range.record, range.first_chunk, u64::from(range.count));
        let wanted = Wanted { record, size: sizes[&record], first_chunk, count, midstates };
        wanted.bytes() + wanted.midstates_bytes()
    };
    ranges.iter().map(of).sum()
}

#[test]
fn streams_that_are_reset_are_asked_for_again_and_then_given_up() {
    let mut world = world_with(5 << 20);
    let rogue = Rogue::of(&world.rogue);
    on_network(async {
        let (mut inside, release, package) = announced(&rogue, &world).await;
        let mut want = inside.gives_documents(&rogue, release, &package).await;
        let mut asked = 0;
        let code = loop {
            let mut stream = inside.answers(package.root, &want).await;
            let _ = stream.write_all(&noise(1, 100)).await;
            // What is reset at once never reaches the node.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let _ = stream.reset(7_u32.into());
            asked += 1;
            match inside.hears().await {
                Ok(Message::Want(next)) => want = next,
                Ok(Message::Error(error)) => break error.refused().code,
                other => panic!("{other:?}"),
            }
        };
        assert!(asked <= 16, "{asked}");
        world.good_peer_gets_through(1 << 20);
        row(
            "Q8",
            "a stream that is reset within a chunk, again and again",
            "asked for a few times, then given up; resumable",
            &format!("{asked} wants, {code:?}"),
        );
    });
    drop(rogue);
    // The honest node that takes over in its place ends what was begun.
    resumes(world);
}

/// The rogue's own node, as it is, delivers what the test left.
fn resumes(world: World) {
    let rogue_runs = world.rogue.serves();
    crate::support::until("the release is delivered in the end", || {
        let queue = world.rogue.asks(&[&"queue"]);
        (queue[0]["state"] == "received").then_some(())
    });
    rogue_runs.stop();
    world.ends_well();
}

#[test]
fn content_that_goes_on_beyond_what_was_wanted_ends_the_session() {
    let world = world_with(1000);
    let rogue = Rogue::of(&world.rogue);
    on_network(async {
        let (mut inside, release, package) = announced(&rogue, &world).await;
        let want = inside.gives_documents(&rogue, release, &package).await;
        let mut stream = inside.answers(package.root, &want).await;
        let _ = stream.write_all(&noise(2, 100_000)).await;
        let code = inside.is_closed().await;
        assert_eq!(code, Some(14));
        row("Q7", "more bytes than were wanted", "closed; nothing of them kept", "code 14");
    });
    assert_eq!(world.ledger_grew(), 2);
    world.ends_well();
}
