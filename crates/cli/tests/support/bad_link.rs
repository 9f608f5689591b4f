//! A link that loses, repeats, reorders, delays and changes datagrams, and whose port changes: a UDP relay in front of a node.
//! What it does to which datagram a seed decides.

#![allow(unreachable_pub, reason = "included as a module")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often each thing is done, in a thousand datagrams.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    pub drop: u64,
    pub duplicate: u64,
    pub delay: u64,
    pub corrupt: u64,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Done {
    pub carried: AtomicU64,
    pub dropped: AtomicU64,
    pub duplicated: AtomicU64,
    pub delayed: AtomicU64,
    pub corrupted: AtomicU64,
    pub rebound: AtomicU64,
}

/// The relay of one caller at a time; it ends when it is dropped.
pub struct BadLink {
    pub done: Arc<Done>,
    rebind: Arc<AtomicBool>,
    ends: Arc<AtomicBool>,
    task: Option<JoinHandle<()>>,
}

impl BadLink {
    /// Answers at an address in place of the node, which is at another.
    pub fn open(at: &str, node: &str, faults: Faults, seed: u64) -> Self {
        let front = socket(at);
        let node: SocketAddr = node.parse().unwrap();
        let (done, rebind, ends): (Arc<Done>, Arc<AtomicBool>, Arc<AtomicBool>) = Default::default();
        let relay = Relay {
            front,
            back: socket("127.0.0.1:0"),
            node,
            caller: None,
            faults,
            random: seed,
            late: Vec::new(),
            done: done.clone(),
        };
        let (asked, over) = (rebind.clone(), ends.clone());
        let task = Some(std::thread::spawn(move || relay.run(&asked, &over)));
        Self { done, rebind, ends, task }
    }

    /// The node sees the caller come from another port from now on.
    pub fn rebinds(&self) {
        self.rebind.store(true, Ordering::Relaxed);
    }
}

impl Drop for BadLink {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(task) = self.task.take() {
            task.join().unwrap();
        }
    }
}

struct Relay {
    front: UdpSocket,
    back: UdpSocket,
    node: SocketAddr,
    caller: Option<SocketAddr>,
    faults: Faults,
    random: u64,
    late: Vec<(Instant, Towards, Vec<u8>)>,
    done: Arc<Done>,
}

#[derive(Debug, Clone, Copy)]
enum Towards {
    Node,
    Caller,
}

fn socket(at: &str) -> UdpSocket {
    let socket = UdpSocket::bind(at).unwrap();
    socket.set_read_timeout(Some(Duration::from_micros(200))).unwrap();
    socket
}

impl Relay {
    fn run(mut self, rebind: &AtomicBool, ends: &AtomicBool) {
        let mut buffer = vec![0; 65_536];
        while !ends.load(Ordering::Relaxed) {
            if rebind.swap(false, Ordering::Relaxed) {
                self.back = socket("127.0.0.1:0");
                self.done.rebound.fetch_add(1, Ordering::Relaxed);
            }
            // What waits on one side goes before the other side is looked at.
            while let Ok((length, caller)) = self.front.recv_from(&mut buffer) {
                self.caller = Some(caller);
                self.takes(Towards::Node, &buffer[..length]);
            }
            while let Ok((length, _)) = self.back.recv_from(&mut buffer) {
                self.takes(Towards::Caller, &buffer[..length]);
            }
            let now = Instant::now();
            let (due, late) = std::mem::take(&mut self.late).into_iter().partition(|(at, ..)| *at <= now);
            self.late = late;
            for (_, towards, bytes) in due {
                self.carries(towards, &bytes);
            }
        }
    }

    /// SplitMix64.
    fn draw(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn happens(&mut self, in_a_thousand: u64, counter: fn(&Done) -> &AtomicU64) -> bool {
        let happens = self.draw(1000) < in_a_thousand;
        counter(&self.done).fetch_add(u64::from(happens), Ordering::Relaxed);
        happens
    }

    fn takes(&mut self, towards: Towards, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        if self.happens(self.faults.drop, |done| &done.dropped) {
            return;
        }
        if self.happens(self.faults.corrupt, |done| &done.corrupted) {
            let at = usize::try_from(self.draw(bytes.len() as u64)).unwrap();
            bytes[at] ^= 1 << self.draw(8);
        }
        if self.happens(self.faults.duplicate, |done| &done.duplicated) {
            self.carries(towards, &bytes);
        }
        if self.happens(self.faults.delay, |done| &done.delayed) {
            // Others overtake it meanwhile.
            let at = Instant::now() + Duration::from_millis(1 + self.draw(40));
            return self.late.push((at, towards, bytes));
        }
        self.carries(towards, &bytes);
    }

    fn carries(&self, towards: Towards, bytes: &[u8]) {
        self.done.carried.fetch_add(1, Ordering::Relaxed);
        // What a socket does not take is lost, as on any link.
        let _ = match (towards, self.caller) {
            (Towards::Node, _) => self.back.send_to(bytes, self.node),
            (Towards::Caller, Some(caller)) => self.front.send_to(bytes, caller),
            (Towards::Caller, None) => Ok(0),
        };
    }
}
