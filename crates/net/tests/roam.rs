//! A caller that comes from another address in the middle of a transfer: the session goes on, and nothing is sent again that was
//! proven.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../../exchange/tests/support/authority.rs"]
mod authority;
#[path = "support/memory.rs"]
mod memory;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use authority::Authority;
use custodia_format::Hash;
use custodia_net::{Endpoint, Link, Via};
use memory::{Item, Node, noise, peer, transport_key};
use tokio::net::UdpSocket;
use tokio::sync::watch;

const BYTES: usize = 32 << 20;
const LAB: (&str, u8) = ("forensics.example", 1);
const DESK: (&str, u8) = ("prosecutor.example", 2);

/// The network that a caller is in: the node sees it come from one address, and after [`Network::changes`] from another. What
/// was on its way then is lost.
struct Network {
    begins: SocketAddr,
    changes: watch::Sender<u64>,
    /// Datagrams that came back from the node by each address.
    answered: Arc<[AtomicU64; 3]>,
}

impl Network {
    async fn before(node: SocketAddr) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let begins = front.local_addr().unwrap();
        let (changes, mut changed) = watch::channel(0);
        let answered: Arc<[AtomicU64; 3]> = Arc::default();
        let counted = answered.clone();
        tokio::spawn(async move {
            let (mut there, mut here) = (vec![0; 65_536], vec![0; 65_536]);
            let mut caller = None;
            loop {
                let at = usize::try_from(*changed.borrow_and_update()).unwrap();
                // Each is another address to QUIC: this machine has many.
                let back = UdpSocket::bind(format!("127.0.0.{}:0", at + 1)).await.unwrap();
                back.connect(node).await.unwrap();
                loop {
                    tokio::select! {
                        Ok((bytes, from)) = front.recv_from(&mut there) => {
                            caller = Some(from);
                            let _ = back.send(&there[..bytes]).await;
                        }
                        Ok(bytes) = back.recv(&mut here) => if let Some(caller) = caller {
                            counted[at].fetch_add(1, Ordering::Relaxed);
                            let _ = front.send_to(&here[..bytes], caller).await;
                        },
                        Ok(()) = changed.changed() => break,
                    }
                }
            }
        });
        Self { begins, changes, answered }
    }

    fn changes(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

/// A package on its way through a network.
struct Underway {
    ours: Endpoint,
    theirs: Arc<Node>,
    link: Link,
    release: Hash,
    network: Network,
}

async fn underway() -> Underway {
    let (mut a, mut b) = (Authority::new(LAB.0, LAB.1), Authority::new(DESK.0, DESK.1));
    Authority::introduce(&mut a, &mut b);
    let (a, b) = (Node::new(a), Node::new(b));
    a.knows(transport_key(DESK.1).public(), peer(DESK.0, &transport_key(DESK.1)));
    b.knows(transport_key(LAB.1).public(), peer(LAB.0, &transport_key(LAB.1)));
    let bind = |node: &Arc<Node>, at: &str, seed| {
        Endpoint::bind(at.parse().unwrap(), transport_key(seed), node.clone()).unwrap()
    };
    let (ours, theirs) = (bind(&a, "127.0.0.1:0", LAB.1), bind(&b, "0.0.0.0:0", DESK.1));
    let port = theirs.local_addr().unwrap().port();
    let network = Network::before(SocketAddr::from(([127, 0, 0, 1], port))).await;
    tokio::spawn(async move { theirs.serve().await });
    let (release, _) = a.release(DESK.0, &[Item::new(noise(1, BYTES))]);
    let keys = [transport_key(DESK.1).public()];
    let link = ours.connect(peer(DESK.0, &transport_key(DESK.1)), &keys, network.begins, Via::Udp).await.unwrap();
    Underway { ours, theirs: b, link, release, network }
}

impl Underway {
    /// Waits until so many parts of eight are there.
    async fn carries(&self, eighths: usize) {
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let transfer = self.theirs.transfers.lock().unwrap().get(&self.release).cloned();
            let received = transfer.map_or(0, |transfer| transfer.received.load(Ordering::Relaxed));
            if received > (BYTES / 8 * eighths) as u64 {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_whose_address_changes_twice_is_followed_in_the_same_session() {
    let underway = underway().await;
    let (link, release) = (underway.link.clone(), underway.release);
    let delivery = tokio::spawn(async move { link.deliver(release).await });
    for eighths in [1, 3] {
        underway.carries(eighths).await;
        underway.network.changes();
        // As the watch over the way to the peer does; then the peer hears from the new address at once.
        underway.ours.renew().unwrap();
    }
    delivery.await.unwrap().unwrap();
    let transfer = underway.theirs.transfer(&release);
    assert_eq!((transfer.missing(), transfer.received_again.load(Ordering::Relaxed)), (0, 0));
    let answered = underway.network.answered.each_ref().map(|count| count.load(Ordering::Relaxed));
    assert!(answered.iter().all(|count| *count > 0), "the peer answered at each address: {answered:?}");
    assert!(underway.link.close().await.is_orderly());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_is_taken_up_anew_loses_nothing_and_keeps_its_port() {
    let underway = underway().await;
    let (link, release) = (underway.link.clone(), underway.release);
    let port = underway.ours.local_addr().unwrap();
    let delivery = tokio::spawn(async move { link.deliver(release).await });
    for eighths in 1..7 {
        underway.carries(eighths).await;
        underway.ours.renew().unwrap();
    }
    delivery.await.unwrap().unwrap();
    assert_eq!((underway.theirs.transfer(&release).missing(), underway.ours.local_addr().unwrap()), (0, port));
}
