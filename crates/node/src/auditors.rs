//! Outside readers of the ledger: its checkpoint and tiles over HTTP, to the addresses that the owner named and to
//! nobody else (docs/operate/running.md, "Auditors").
//!
//! This file owns the TCP port and how much its readers may take of this machine; `allow` owns whom it answers,
//! `paths` what can be asked for. They refuse everything but reading `ledger/checkpoint` and `ledger/tile/…`: there is
//! no other way from a request to a file. The ledger holds commitments only, so nothing of a case can pass here. TLS
//! and names are left to a reverse proxy; what is served is signed, and worth the same whoever carried it.
//!
//! Whatever its readers do, they hold at most [`CONNECTIONS`] connections, each with a header of [`HEADER_BYTES`], one
//! tile in memory and `SEND_BYTES` of the system's, and none for longer than `CONNECTION` and `LAST_ANSWER`.
//!
//! # Standard
//! C2SP tlog-tiles (docs/spec/tiles.md, "Over HTTP").

mod allow;
mod paths;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use custodia_ledger::Folder;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

pub use allow::{Auditors, Network};
use paths::{answer, plain};

use crate::failure::{Code, Failure};
use crate::home::Home;

/// Connections at once: a few megabytes, and a tenth of the files that a process may open by default.
pub const CONNECTIONS: usize = 128;
/// Of those, by one address, so that one reader who holds on does not keep the others out.
pub const CONNECTIONS_OF_ONE: usize = 32;
/// Connections at once of addresses that are not allowed. They are told so, and take no place of one that is.
const REFUSALS: usize = 8;
/// Bytes of a request's line and headers; what a browser or a proxy sends is a quarter of it.
pub const HEADER_BYTES: usize = 8 * 1024;
/// Headers of a request.
const HEADERS: usize = 64;
/// How long a request's header may take to arrive, and a connection may be idle before it.
pub const HEADER: Duration = Duration::from_secs(5);
/// How long a connection takes requests.
const CONNECTION: Duration = Duration::from_secs(60);
/// How long its last answer may take after that: a tile of 8 KiB over 3 kbit/s.
const LAST_ANSWER: Duration = Duration::from_secs(30);
/// Bytes that the system keeps for a reader who does not read: one tile. It grows to megabytes where nothing is said.
const SEND_BYTES: u32 = 64 * 1024;
/// Connections that wait to be taken.
const BACKLOG: u32 = 64;
/// Files read at once, so that readers leave the disk and the node's threads to its own work.
const READS: usize = 4;
/// How long no connection is taken after the system refused one, as when it has no file left.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// A port that takes requests of auditors.
#[derive(Debug)]
pub(crate) struct Gate {
    listener: TcpListener,
    shared: Arc<Shared>,
}

/// What all connections have in common.
#[derive(Debug)]
struct Shared {
    allow: Vec<Network>,
    ledger: Arc<Folder>,
    connections: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    reads: Semaphore,
    /// How many connections each address holds; an address that holds none is not in it.
    of_one: Mutex<HashMap<IpAddr, usize>>,
}

impl Gate {
    /// Takes the port.
    ///
    /// # Errors
    /// [`Code::Io`] when the system does not give it.
    pub(crate) fn open(auditors: &Auditors, home: &Home) -> Result<Self, Failure> {
        let listener = listen(auditors.listen).map_err(|error| {
            Failure::new(Code::Io, format!("The system gives no port for auditors: {error}."))
                .at(auditors.listen)
                .safe("The node did not start; nothing was changed.")
                .next("choose another address in the section [auditors] of custodia.toml, or end who has it")
        })?;
        let shared = Shared {
            allow: auditors.allow.clone(),
            ledger: Arc::new(Folder::open(home.path())?),
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            reads: Semaphore::new(READS),
            of_one: Mutex::default(),
        };
        Ok(Self { listener, shared: Arc::new(shared) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> Result<SocketAddr, Failure> {
        self.listener.local_addr().map_err(|error| Failure::io(&error, "the auditors' port"))
    }

    /// Answers until it is dropped; its connections end with it.
    pub(crate) async fn serve(self) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, from)) => {
                        // Who finds no place is not answered: the connection closes.
                        if let Some(place) = Place::of(&self.shared, from.ip().to_canonical()) {
                            connections.spawn(connection(Arc::clone(&self.shared), stream, place));
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "no connection of an auditor could be taken");
                        tokio::time::sleep(AFTER_FAILURE).await;
                    }
                },
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
            }
        }
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // Every connection inherits it.
    socket.set_send_buffer_size(SEND_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The right to one connection, given back when it is dropped.
#[derive(Debug)]
struct Place {
    shared: Arc<Shared>,
    /// Whose it is; none when the address is not allowed, and is told so.
    address: Option<IpAddr>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// A place for this address, while there is one.
    fn of(shared: &Arc<Shared>, address: IpAddr) -> Option<Self> {
        let allowed = shared.allow.iter().any(|network| network.contains(address));
        let places = if allowed { &shared.connections } else { &shared.refusals };
        let permit = Arc::clone(places).try_acquire_owned().ok()?;
        if allowed {
            let mut of_one = shared.of_one.lock().unwrap_or_else(PoisonError::into_inner);
            let held = of_one.entry(address).or_default();
            if *held == CONNECTIONS_OF_ONE {
                return None;
            }
            *held += 1;
        }
        Some(Self { shared: Arc::clone(shared), address: allowed.then_some(address), _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut of_one = self.shared.of_one.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = of_one.get_mut(&address) {
            *held -= 1;
            if *held == 0 {
                of_one.remove(&address);
            }
        }
    }
}

/// Serves one connection to its end, which comes in any case.
async fn connection(shared: Arc<Shared>, stream: TcpStream, place: Place) {
    // An answer is written at once; waiting for more of it would only delay it.
    let _ = stream.set_nodelay(true);
    let allowed = place.address.is_some();
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, std::convert::Infallible>(respond(&shared, allowed, &request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_headers(HEADERS)
        .max_header_size(HEADER_BYTES)
        .max_buf_size(HEADER_BYTES)
        // One who may not read gets one answer.
        .keep_alive(allowed)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(served);
    let patience = if allowed { CONNECTION } else { HEADER };
    // What a reader does wrong, or that it went away, is its own business.
    if tokio::time::timeout(patience, served.as_mut()).await.is_err() {
        served.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(if allowed { LAST_ANSWER } else { HEADER }, served).await;
    }
    drop(place);
}

async fn respond(shared: &Shared, allowed: bool, request: &Request<Incoming>) -> Response<Body> {
    if !allowed {
        return plain(StatusCode::FORBIDDEN);
    }
    let Some(asked) = paths::asked(request.method(), request.uri()) else { return plain(StatusCode::NOT_FOUND) };
    // The semaphore is never closed.
    let Ok(_reads) = shared.reads.acquire().await else { return plain(StatusCode::SERVICE_UNAVAILABLE) };
    let ledger = Arc::clone(&shared.ledger);
    let answered = tokio::task::spawn_blocking(move || answer(ledger.as_ref(), asked)).await;
    answered.unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR))
}
