//! A link that can be slowed, cut and mended: a small UDP relay in front of one node, on loopback.
//!
//! It forwards datagrams both ways, and counts those towards the node. It refuses to look into them: QUIC must survive on its own what this
//! link does. Every caller gets a socket of its own towards the node, so that the node can tell callers apart.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use custodia_node::failure::Failure;

/// Callers that are served at a time; datagrams of more are dropped.
const CALLERS: usize = 64;
/// The largest datagram that a slow line carries: Ethernet's 1,500 bytes without the headers of IPv4 and UDP.
const SLOW_DATAGRAM: usize = 1472;
/// Bytes that wait for a slow line before it drops what comes: some, as in any modem.
const WAITING_BYTES: u64 = 24 * 1024;
/// How much of the time a faster line may hold back what it carries.
const WAITING: Duration = Duration::from_millis(100);
/// How often a relay looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

/// A relay; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    node: SocketAddr,
    ends: AtomicBool,
    is_cut: AtomicBool,
    /// Bytes a second towards the node; 0: as fast as it goes.
    rate: AtomicU64,
    /// Bytes that were carried towards the node.
    forward: AtomicU64,
}

/// A datagram that waits for its turn on a slow line.
struct Waiting {
    due: Instant,
    to: Arc<UdpSocket>,
    bytes: Vec<u8>,
}

impl Relay {
    /// Opens the link to a node.
    pub(crate) fn open(node: SocketAddr) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::io(&error, "a socket on loopback");
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        front.set_read_timeout(Some(LOOK)).map_err(failed)?;
        let address = front.local_addr().map_err(failed)?;
        let state = Arc::new(State {
            node,
            ends: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
            rate: AtomicU64::new(0),
            forward: AtomicU64::new(0),
        });
        let (waiting, to_pace) = sync_channel(4096);
        let (front, shared) = (Arc::new(front), state.clone());
        thread::spawn(move || there(&shared, &front, &waiting));
        let shared = state.clone();
        thread::spawn(move || pace(&shared, &to_pace));
        Ok(Self { address, state })
    }

    /// Where callers reach the node.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets so many bytes a second through towards the node; none: as fast as it goes.
    pub(crate) fn limit(&self, rate: Option<u64>) {
        self.state.rate.store(rate.unwrap_or(0), Ordering::Relaxed);
    }

    /// Drops everything from now on.
    pub(crate) fn cut(&self) {
        self.state.is_cut.store(true, Ordering::Relaxed);
    }

    /// Carries again.
    pub(crate) fn mend(&self) {
        self.state.is_cut.store(false, Ordering::Relaxed);
    }

    /// Bytes of datagrams that were carried towards the node.
    pub(crate) fn forward(&self) -> u64 {
        self.state.forward.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.ends.store(true, Ordering::Relaxed);
    }
}

impl State {
    fn ends(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }

    /// Sends, unless the link is cut, and says how much. What a socket refuses is lost, as on any link.
    fn carry(&self, send: impl FnOnce() -> std::io::Result<usize>) -> u64 {
        if self.is_cut.load(Ordering::Relaxed) { 0 } else { send().map_or(0, |bytes| bytes as u64) }
    }

    /// The same, towards the node, and counted.
    fn carry_there(&self, to: &UdpSocket, bytes: &[u8]) {
        self.forward.fetch_add(self.carry(|| to.send(bytes)), Ordering::Relaxed);
    }

    /// When a datagram may leave on a line of this rate; none: it is dropped.
    fn due(&self, rate: u64, free: &mut Instant, bytes: usize) -> Option<Instant> {
        let now = Instant::now();
        let start = (*free).max(now);
        let longest = Duration::from_secs_f64(WAITING_BYTES as f64 / rate as f64).max(WAITING);
        if bytes > SLOW_DATAGRAM || start - now > longest {
            return None;
        }
        *free = start + Duration::from_secs_f64(bytes as f64 / rate as f64);
        Some(*free)
    }
}

/// From the callers to the node.
fn there(state: &Arc<State>, front: &Arc<UdpSocket>, waiting: &SyncSender<Waiting>) {
    let mut callers: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut free = Instant::now();
    while !state.ends() {
        let Ok((length, caller)) = front.recv_from(&mut buffer) else { continue };
        let to = match callers.get(&caller) {
            Some(to) => to.clone(),
            None if callers.len() >= CALLERS => continue,
            None => match towards(state, front, caller) {
                Ok(to) => callers.entry(caller).or_insert(to).clone(),
                Err(error) => {
                    tracing::warn!(%error, "the link cannot take a caller");
                    continue;
                }
            },
        };
        let bytes = buffer.get(..length).unwrap_or_default();
        match state.rate.load(Ordering::Relaxed) {
            0 => state.carry_there(&to, bytes),
            rate => {
                if let Some(due) = state.due(rate, &mut free, length) {
                    // A line that is full drops.
                    let _ = waiting.try_send(Waiting { due, to, bytes: bytes.to_vec() });
                }
            }
        }
    }
}

/// Sends what waits, each at its time. It ends when nothing can come any more.
fn pace(state: &State, to_pace: &Receiver<Waiting>) {
    while let Ok(Waiting { due, to, bytes }) = to_pace.recv() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        state.carry_there(&to, &bytes);
    }
}

/// A socket towards the node for one caller, and a thread for the way back.
fn towards(state: &Arc<State>, front: &Arc<UdpSocket>, caller: SocketAddr) -> std::io::Result<Arc<UdpSocket>> {
    let to = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    to.connect(state.node)?;
    to.set_read_timeout(Some(LOOK))?;
    let to = Arc::new(to);
    let (from, state, front) = (to.clone(), state.clone(), front.clone());
    thread::Builder::new().spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while !state.ends() {
            // While the node is down its socket refuses at once; wait a little then, as for an answer.
            match from.recv(&mut buffer) {
                Ok(length) => {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    state.carry(|| front.send_to(bytes, caller));
                }
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(_) => {}
            }
        }
    })?;
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_carries_both_ways_and_nothing_while_it_is_cut() {
        let node = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let caller = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        for socket in [&node, &caller] {
            socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        }
        let relay = Relay::open(node.local_addr().unwrap()).unwrap();
        let mut buffer = [0; 64];
        caller.send_to(b"there", relay.address()).unwrap();
        let (length, from) = node.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"there");
        node.send_to(b"and back", from).unwrap();
        assert_eq!(caller.recv(&mut buffer).unwrap(), 8);
        assert_eq!(relay.forward(), 5);

        relay.cut();
        caller.send_to(b"lost", relay.address()).unwrap();
        assert!(node.recv(&mut buffer).is_err());
        relay.mend();
        caller.send_to(b"again", relay.address()).unwrap();
        assert_eq!(node.recv(&mut buffer).unwrap(), 5);
    }

    #[test]
    fn a_slow_line_is_slow() {
        let node = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        node.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let caller = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let relay = Relay::open(node.local_addr().unwrap()).unwrap();
        relay.limit(Some(20_000));
        let began = Instant::now();
        for _ in 0..5 {
            caller.send_to(&[0; 1000], relay.address()).unwrap();
        }
        let mut buffer = [0; 2000];
        for _ in 0..5 {
            assert_eq!(node.recv(&mut buffer).unwrap(), 1000);
        }
        assert!(began.elapsed() >= Duration::from_millis(240));
    }
}
