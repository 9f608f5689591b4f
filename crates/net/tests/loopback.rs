//! Two nodes on loopback: who gets in, what is delivered, what is sent again after a cut. By QUIC, and by TCP alike.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../../exchange/tests/support/authority.rs"]
mod authority;
#[path = "support/memory.rs"]
mod memory;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use authority::Authority;
use custodia_exchange::{Code, Event, PeerFault, Phase};
use custodia_format::Hash;
use custodia_format::key::SigningKey;
use custodia_net::{ConnectError, End, Endpoint, Link, LinkError, Via};
use memory::{Corrupt, Item, Node, noise, peer, transport_key};

const MIB: usize = 1 << 20;

/// A node with its socket; `serve` runs in the background.
struct Party {
    node: Arc<Node>,
    endpoint: Endpoint,
    address: SocketAddr,
    seed: u8,
    name: &'static str,
    /// The road by which it calls.
    via: Via,
}

impl Party {
    fn start(node: Arc<Node>, name: &'static str, seed: u8, via: Via) -> Self {
        let any = "127.0.0.1:0".parse().unwrap();
        let endpoint = Endpoint::bind_with_tcp(any, transport_key(seed), node.clone()).unwrap();
        let address = endpoint.local_addr().unwrap();
        let server = endpoint.clone();
        tokio::spawn(async move { server.serve().await });
        Self { node, endpoint, address, seed, name, via }
    }

    fn key(&self) -> SigningKey {
        transport_key(self.seed)
    }

    async fn call(&self, other: &Party) -> Result<Link, ConnectError> {
        let peer = peer(other.name, &other.key());
        self.endpoint.connect(peer, &[other.key().public()], other.address, self.via).await
    }
}

const LAB: (&str, u8) = ("forensics.example", 1);
const DESK: (&str, u8) = ("prosecutor.example", 2);

fn pair(via: Via) -> (Party, Party) {
    let (mut a, mut b) = (Authority::new(LAB.0, LAB.1), Authority::new(DESK.0, DESK.1));
    Authority::introduce(&mut a, &mut b);
    let (a, b) = (Node::new(a), Node::new(b));
    a.knows(transport_key(DESK.1).public(), peer(DESK.0, &transport_key(DESK.1)));
    b.knows(transport_key(LAB.1).public(), peer(LAB.0, &transport_key(LAB.1)));
    (Party::start(a, LAB.0, LAB.1, via), Party::start(b, DESK.0, DESK.1, via))
}

/// Runs each test on each road.
macro_rules! on_both_roads {
    ($($name:ident)*) => {
        mod by_quic {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Via::Udp).await;
            })*
        }
        mod by_tcp {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Via::Tcp).await;
            })*
        }
    };
}

on_both_roads! {
    a_package_is_delivered_whole
    the_same_release_again_gives_the_same_receipt_and_moves_nothing
    after_cuts_on_either_side_only_what_is_not_proven_travels
    a_chunk_that_does_not_prove_is_asked_for_again
    content_that_never_proves_ends_the_transfer_without_a_receipt
    a_release_that_is_not_ours_to_send_fails_by_itself
    an_acceptance_goes_back_by_itself_over_the_next_connection
    a_client_that_the_server_does_not_know_is_refused
    a_server_with_another_key_than_its_card_is_refused
    nobody_at_the_address_is_unreachable
    a_peer_has_so_many_places_and_no_more
    a_rolled_back_node_is_stopped_before_anything_is_said
    a_node_that_was_killed_and_started_again_tells_that_connections_are_gone
}

/// Small, empty-less, whole-MiB and large items.
fn mixed() -> Vec<Arc<Item>> {
    let mut sizes = vec![1, MIB - 1, MIB, MIB + 1, 3 * MIB, 70 * MIB + 123];
    sizes.extend((0..300).map(|n| 100 + n * 7));
    sizes.iter().enumerate().map(|(seed, size)| Item::new(noise(seed as u64, *size))).collect()
}

async fn a_package_is_delivered_whole(via: Via) {
    let (a, b) = pair(via);
    let items = mixed();
    let (release, package) = a.node.release(DESK.0, &items);
    let link = a.call(&b).await.unwrap();
    let delivered = link.deliver(release).await.unwrap();
    let total: u64 = items.iter().map(|item| item.bytes.len() as u64).sum();
    assert_eq!(package.served.load(Ordering::Relaxed), total, "each byte was read once");
    let transfer = b.node.transfer(&release);
    assert_eq!((transfer.missing(), transfer.received_again.load(Ordering::Relaxed)), (0, 0));
    for (record, item) in (1..).zip(&items) {
        assert!(transfer.state.lock().unwrap().bytes[&record] == item.bytes, "record {record}");
    }
    // The receipt is here before the other side hears that it is.
    let is_settled = || b.node.authority.lock().unwrap().settled.contains(&delivered.receipt);
    let settled = async {
        while !is_settled() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), settled).await.unwrap();
    assert_eq!(link.close().await, End::ByUs(Code::Done));
    let phases: Vec<Phase> = a
        .node
        .events
        .lock()
        .unwrap()
        .iter()
        .filter_map(|event| match event {
            Event::Sending { phase, .. } => Some(phase.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(phases.first(), Some(&Phase::Announced));
    assert_eq!(phases.last(), Some(&Phase::Receipted { receipt: delivered.receipt }));
    assert!(phases.iter().any(|phase| matches!(phase, Phase::Content { .. })), "{phases:?}");
}

async fn the_same_release_again_gives_the_same_receipt_and_moves_nothing(via: Via) {
    let (a, b) = pair(via);
    let (release, package) = a.node.release(DESK.0, &[Item::new(noise(1, 5 * MIB))]);
    let first = a.call(&b).await.unwrap().deliver(release).await.unwrap();
    let served = package.served.load(Ordering::Relaxed);
    let link = a.call(&b).await.unwrap();
    let again = link.deliver(release).await.unwrap();
    assert_eq!((first.receipt, served), (again.receipt, package.served.load(Ordering::Relaxed)));
}

/// Delivers until the receiver holds this share of the content, then lets `cut` end it.
async fn deliver_until<F: Future<Output = ()>>(
    a: &Party,
    b: &Party,
    release: Hash,
    bytes: u64,
    cut: impl FnOnce() -> F,
) -> LinkError {
    let link = a.call(b).await.unwrap();
    let delivery = tokio::spawn(async move { link.deliver(release).await });
    loop {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let transfer = b.node.transfers.lock().unwrap().get(&release).cloned();
        let Some(transfer) = transfer else { continue };
        *transfer.delay.lock().unwrap() = Duration::from_millis(4);
        if transfer.received.load(Ordering::Relaxed) > bytes {
            break;
        }
    }
    cut().await;
    let end = delivery.await.unwrap().unwrap_err();
    // What had come in is proven yet: the next session is to begin behind that, and not race with it.
    let transfer = b.node.transfer(&release);
    let mut received = 0;
    while std::mem::replace(&mut received, transfer.received.load(Ordering::Relaxed)) != received {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    end
}

async fn after_cuts_on_either_side_only_what_is_not_proven_travels(via: Via) {
    let (mut a, mut b) = pair(via);
    let items = [Item::new(noise(1, 150 * MIB + 17)), Item::new(noise(2, 90 * MIB)), Item::new(noise(3, 999))];
    let total: u64 = items.iter().map(|item| item.bytes.len() as u64).sum();
    let (release, package) = a.node.release(DESK.0, &items);

    let end = deliver_until(&a, &b, release, total / 3, || a.endpoint.close()).await;
    assert!(matches!(end, LinkError::Ended(_)), "{end}");
    a = Party::start(a.node.clone(), LAB.0, LAB.1, via);

    let end = deliver_until(&a, &b, release, total * 2 / 3, || b.endpoint.close()).await;
    assert!(matches!(end, LinkError::Ended(End::ByPeer(45))), "{end}");
    b = Party::start(b.node.clone(), DESK.0, DESK.1, via);

    let transfer = b.node.transfer(&release);
    *transfer.delay.lock().unwrap() = Duration::ZERO;
    let delivered = a.call(&b).await.unwrap().deliver(release).await.unwrap();
    assert_eq!(transfer.missing(), 0);
    assert!(delivered.bytes < total * 2 / 3, "{} bytes on the last link", delivered.bytes);
    assert_eq!(transfer.received_again.load(Ordering::Relaxed), 0, "nothing proven came twice");
    assert!(transfer.syncs.load(Ordering::Relaxed) >= 2, "what was proven was recorded at each cut");
    let again = package.served.load(Ordering::Relaxed) - total;
    println!("{again} bytes were read again after two cuts");
    // In flight at a cut: what the sender keeps for repeating, and the buffers on both sides.
    assert!(again <= 2 * 48 * MIB as u64, "{again} bytes were read again");
}

async fn a_chunk_that_does_not_prove_is_asked_for_again(via: Via) {
    let (a, b) = pair(via);
    let (release, package) = a.node.release(DESK.0, &[Item::new(noise(1, 9 * MIB)), Item::new(noise(2, 100))]);
    package.corrupt.lock().unwrap().insert(1, Corrupt::Once);
    package.corrupt.lock().unwrap().insert(2, Corrupt::Once);
    let link = a.call(&b).await.unwrap();
    link.deliver(release).await.unwrap();
    assert_eq!(b.node.transfer(&release).missing(), 0);
    assert_eq!(package.served.load(Ordering::Relaxed), (9 * MIB + 100 + MIB + 100) as u64);
}

async fn content_that_never_proves_ends_the_transfer_without_a_receipt(via: Via) {
    let (a, b) = pair(via);
    let (release, package) = a.node.release(DESK.0, &[Item::new(noise(1, 2 * MIB)), Item::new(noise(2, 100))]);
    package.corrupt.lock().unwrap().insert(2, Corrupt::Always);
    let link = a.call(&b).await.unwrap();
    let error = link.deliver(release).await.unwrap_err();
    assert!(matches!(error, LinkError::Refused(refused) if refused.code == Code::Chunk), "{error}");
    assert_eq!(b.node.transfer(&release).missing(), 1);
    // The session goes on: the same connection can deliver it once it is whole again.
    package.corrupt.lock().unwrap().clear();
    link.deliver(release).await.unwrap();
}

async fn a_release_that_is_not_ours_to_send_fails_by_itself(via: Via) {
    let (a, b) = pair(via);
    let link = a.call(&b).await.unwrap();
    let error = link.deliver(Hash::of(b"nothing")).await.unwrap_err();
    assert!(matches!(error, LinkError::Refused(refused) if refused.code == Code::NotHere), "{error}");
    assert_eq!(link.close().await, End::ByUs(Code::Done));
}

async fn an_acceptance_goes_back_by_itself_over_the_next_connection(via: Via) {
    let (a, b) = pair(via);
    let (release, _) = a.node.release(DESK.0, &[Item::new(noise(1, 100))]);
    a.call(&b).await.unwrap().deliver(release).await.unwrap();
    let acceptance = {
        let mut authority = b.node.authority.lock().unwrap();
        let acceptance = authority.accept(release, authority::package(b"p"));
        authority.owed.push(acceptance);
        acceptance
    };
    // The sender calls, the receiver has something to say.
    let link = a.call(&b).await.unwrap();
    for _ in 0..200 {
        if b.node.authority.lock().unwrap().settled.contains(&acceptance) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(b.node.authority.lock().unwrap().settled.contains(&acceptance));
    assert!(a.node.authority.lock().unwrap().kept.iter().any(|(digest, _)| *digest == acceptance));
    link.close().await;
    // The other way round: the receiver calls and pushes.
    let link = b.call(&a).await.unwrap();
    link.push(acceptance).await.unwrap();
}

async fn a_client_that_the_server_does_not_know_is_refused(via: Via) {
    let (_, b) = pair(via);
    let mut stranger = Authority::new("stranger.example", 9);
    Authority::introduce(&mut stranger, &mut Authority::new(DESK.0, DESK.1));
    let stranger = Party::start(Node::new(stranger), "stranger.example", 9, via);
    let error = stranger.call(&b).await.unwrap_err();
    assert!(matches!(error, ConnectError::Ended(End::NotKnownThere)), "{error}");
}

async fn a_server_with_another_key_than_its_card_is_refused(via: Via) {
    let (a, _) = pair(via);
    // Somebody who knows us answers at the address, with a good key that is not the card's.
    let (_, impostor) = pair(via);
    let peer = peer(DESK.0, &transport_key(DESK.1));
    let card = transport_key(77).public();
    let error = a.endpoint.connect(peer, &[card], impostor.address, via).await.unwrap_err();
    let ConnectError::IdentityChanged { shown, .. } = error else { panic!("{error}") };
    assert_eq!(shown, transport_key(DESK.1).public().key_id());
}

async fn nobody_at_the_address_is_unreachable(via: Via) {
    let (a, b) = pair(via);
    b.endpoint.close().await;
    let error = a.call(&b).await.unwrap_err();
    // The system may still take a call by TCP that nobody answers any more: then the caller hears why.
    let is_told = matches!(error, ConnectError::Ended(End::ByPeer(45)));
    assert!(is_told || matches!(error, ConnectError::Unreachable { .. }), "{error}");
}

async fn a_peer_has_so_many_places_and_no_more(via: Via) {
    let (a, b) = pair(via);
    let mut links = Vec::new();
    for _ in 0..custodia_net::transport::CONNECTIONS_PER_PEER {
        links.push(a.call(&b).await.unwrap());
    }
    let error = a.call(&b).await.unwrap_err();
    assert!(matches!(error, ConnectError::Ended(End::ByPeer(40))), "{error}");
    links.pop().unwrap().close().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    a.call(&b).await.unwrap();
}

async fn a_rolled_back_node_is_stopped_before_anything_is_said(via: Via) {
    let (a, b) = pair(via);
    let (release, _) = a.node.release(DESK.0, &[Item::new(noise(1, 100))]);
    a.call(&b).await.unwrap().deliver(release).await.unwrap();
    a.node.authority.lock().unwrap().roll_back(1);
    // The peer's hello says it: either the call ends with it, or whatever is asked next.
    let end = match a.call(&b).await {
        Err(ConnectError::Ended(end)) => end,
        Err(other) => panic!("{other}"),
        Ok(link) => match link.deliver(release).await.unwrap_err() {
            LinkError::Ended(end) => end,
            other => panic!("{other}"),
        },
    };
    assert!(matches!(end, End::ByUs(Code::RolledBack)), "{end}");
}

async fn a_node_that_was_killed_and_started_again_tells_that_connections_are_gone(via: Via) {
    let (a, b) = pair(via);
    let Party { node, endpoint, address, .. } = b;
    endpoint.close().await;
    drop(endpoint);
    // The peer runs on a runtime of its own, which goes away without a word, as a killed process does.
    let bind = move || Endpoint::bind_with_tcp(address, transport_key(DESK.1), node.clone());
    let bound = || async {
        for _ in 0..200 {
            match bind() {
                Ok(endpoint) => return endpoint,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        panic!("the port did not become free");
    };
    let doomed = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    {
        let _inside = doomed.enter();
        let first = tokio::task::block_in_place(|| doomed.block_on(bound()));
        doomed.spawn(async move { first.serve().await });
    }
    let keys = [transport_key(DESK.1).public()];
    let call = || a.endpoint.connect(peer(DESK.0, &transport_key(DESK.1)), &keys, address, via);
    let link = call().await.unwrap();
    doomed.shutdown_background();
    let again = bound().await;
    tokio::spawn(async move { again.serve().await });
    let (release, _) = a.node.release(DESK.0, &[Item::new(noise(1, 5))]);
    let told = tokio::time::timeout(Duration::from_secs(12), link.deliver(release)).await;
    // A runtime that goes away may still get the reset of its stream out, which a killed process cannot.
    let told = told.unwrap();
    let is_over = matches!(told, Err(LinkError::Ended(End::Lost(_) | End::Misbehaved(PeerFault::Stream(_)))));
    assert!(is_over, "{told:?}");
    call().await.unwrap().deliver(release).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_over_leaves_the_same_statements_whichever_road_it_took() {
    let mut left = Vec::new();
    for via in [Via::Udp, Via::Tcp] {
        let (a, b) = pair(via);
        let (release, _) = a.node.release(DESK.0, &[Item::new(noise(1, 3 * MIB + 5))]);
        let delivered = a.call(&b).await.unwrap().deliver(release).await.unwrap();
        let kept = a.node.authority.lock().unwrap().kept.iter().map(|(digest, _)| *digest).collect::<Vec<_>>();
        assert!(kept.contains(&delivered.receipt));
        left.push((delivered, kept));
    }
    assert_eq!(left[0], left[1], "by QUIC, and by TCP");
}
