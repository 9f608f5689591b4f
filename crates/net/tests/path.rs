//! Paths that carry only small datagrams: a tunnel from the start, and one that the route moves into halfway.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../../exchange/tests/support/authority.rs"]
mod authority;
#[path = "support/memory.rs"]
mod memory;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use authority::Authority;
use custodia_net::{Endpoint, Via};
use memory::{Item, Node, noise, peer, transport_key};
use tokio::net::UdpSocket;

const MIB: usize = 1 << 20;
/// What every path of IPv6 carries, less than a datagram of Ethernet.
const NARROW: usize = 1280;
const LAB: (&str, u8) = ("forensics.example", 1);
const DESK: (&str, u8) = ("prosecutor.example", 2);

/// A path to a node that drops what is too large for it, and says nothing.
#[derive(Default)]
struct Path {
    widest: AtomicUsize,
    /// The largest datagram that came through.
    largest: AtomicUsize,
    dropped: AtomicU64,
}

impl Path {
    /// One caller's path to a node; gives where it begins.
    async fn lay(self: &Arc<Self>, node: SocketAddr) -> SocketAddr {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        back.connect(node).await.unwrap();
        let begins = front.local_addr().unwrap();
        let path = self.clone();
        tokio::spawn(async move {
            let (mut there, mut here) = (vec![0; 65_536], vec![0; 65_536]);
            let mut caller = None;
            loop {
                tokio::select! {
                    Ok((bytes, from)) = front.recv_from(&mut there) => {
                        caller = Some(from);
                        if path.carries(bytes) {
                            let _ = back.send(&there[..bytes]).await;
                        }
                    }
                    Ok(bytes) = back.recv(&mut here) => if path.carries(bytes) && let Some(caller) = caller {
                        let _ = front.send_to(&here[..bytes], caller).await;
                    },
                }
            }
        });
        begins
    }

    fn carries(&self, bytes: usize) -> bool {
        if bytes > self.widest.load(Ordering::Relaxed) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        self.largest.fetch_max(bytes, Ordering::Relaxed);
        true
    }
}

/// Delivers through a path; when some of it is there, the path becomes as wide as told.
async fn deliver(bytes: usize, path: &Arc<Path>, then: usize) {
    let (mut a, mut b) = (Authority::new(LAB.0, LAB.1), Authority::new(DESK.0, DESK.1));
    Authority::introduce(&mut a, &mut b);
    let (a, b) = (Node::new(a), Node::new(b));
    a.knows(transport_key(DESK.1).public(), peer(DESK.0, &transport_key(DESK.1)));
    b.knows(transport_key(LAB.1).public(), peer(LAB.0, &transport_key(LAB.1)));
    let bind = |node: &Arc<Node>, seed| {
        Endpoint::bind("127.0.0.1:0".parse().unwrap(), transport_key(seed), node.clone()).unwrap()
    };
    let (ours, theirs) = (bind(&a, LAB.1), bind(&b, DESK.1));
    let begins = path.lay(theirs.local_addr().unwrap()).await;
    tokio::spawn(async move { theirs.serve().await });
    let (release, _) = a.release(DESK.0, &[Item::new(noise(1, bytes))]);
    let keys = [transport_key(DESK.1).public()];
    let link = ours.connect(peer(DESK.0, &transport_key(DESK.1)), &keys, begins, Via::Udp).await.unwrap();
    let delivery = tokio::spawn(async move { link.deliver(release).await });
    loop {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let transfer = b.transfers.lock().unwrap().get(&release).cloned();
        if transfer.is_some_and(|transfer| transfer.received.load(Ordering::Relaxed) > bytes as u64 / 8) {
            break;
        }
    }
    path.widest.store(then, Ordering::Relaxed);
    delivery.await.unwrap().unwrap();
    let transfer = b.transfer(&release);
    assert_eq!((transfer.missing(), transfer.received_again.load(Ordering::Relaxed)), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_carries_1280_bytes_carries_a_package() {
    let path = Arc::new(Path { widest: NARROW.into(), ..Path::default() });
    deliver(8 * MIB, &path, NARROW).await;
    assert!(path.dropped.load(Ordering::Relaxed) > 0, "larger datagrams were tried");
    let largest = path.largest.load(Ordering::Relaxed);
    assert!((1200..=NARROW).contains(&largest), "{largest}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_becomes_narrow_in_the_middle_of_a_transfer_carries_the_rest() {
    let path = Arc::new(Path { widest: 65_536.into(), ..Path::default() });
    deliver(32 * MIB, &path, NARROW).await;
    let largest = path.largest.load(Ordering::Relaxed);
    assert!(largest > NARROW, "the path was wide before: {largest}");
    assert!(path.dropped.load(Ordering::Relaxed) > 0, "it became narrow while it was used");
}
