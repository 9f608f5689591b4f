//! Where an auditor reads a ledger: over HTTP, or in a copied folder. Both are read-only [`Storage`], so that one
//! `fsck` checks either.
//!
//! What answers is believed in nothing: every length is limited, every wait has an end, nothing is followed elsewhere.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, HOST};
use axum::http::{Request, StatusCode};
use custodia_format::checkpoint::SignedCheckpoint;
use custodia_format::tile::{Tile, TileKind};
use custodia_ledger::{Folder, Listed, NewFile, Storage, StorageError};
use http_body_util::BodyExt;
use hyper::client::conn::http1::SendRequest;
use tokio::runtime::Handle;

use super::UNJUDGED;
use super::statements::Statements;
use crate::failure::{Code, Failure};
use crate::http::{NoPlace, Place};

/// The checkpoint's path, as the ledger's storage names it.
pub(super) const CHECKPOINT: &str = "ledger/checkpoint";
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(15);
/// How long one file may take: a bundle of 57 KiB over 8 kbit/s.
const FILE: Duration = Duration::from_secs(60);

/// A ledger that is audited.
#[derive(Debug)]
pub(super) struct Source {
    reader: Reader,
    /// The note that is audited, once it was chosen, and how many entries it covers.
    pinned: Option<(Vec<u8>, u64)>,
    /// The documents at hand, which are compared with the entries as these are read.
    statements: Mutex<Option<Statements>>,
}

#[derive(Debug)]
enum Reader {
    Web(Web),
    Copy(Copied),
}

impl Source {
    /// Finds it; nothing but the presence of a checkpoint in a folder is looked at yet.
    pub(super) fn open(place: &OsStr) -> Result<Self, Failure> {
        let reader = match place.to_str() {
            Some(url) if url.contains("://") => Reader::Web(Web::of(url)?),
            _ => Reader::Copy(Copied::of(PathBuf::from(place))?),
        };
        Ok(Self { reader, pinned: None, statements: Mutex::default() })
    }

    /// From now on the checkpoint is this one, and the entries that it covers are compared with these documents.
    pub(super) fn pin(&mut self, signed: &SignedCheckpoint, statements: Option<Statements>) {
        self.pinned = Some((signed.note().print().into_bytes(), signed.checkpoint().size));
        self.statements = Mutex::new(statements);
    }

    /// Gives the documents back, compared.
    pub(super) fn into_statements(self) -> Option<Statements> {
        self.statements.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses to judge a ledger that could not be read to its end: what was not heard is no damage.
    pub(super) fn unbroken(&self) -> Result<(), Failure> {
        match &self.reader {
            Reader::Web(web) => web.unbroken(),
            Reader::Copy(_) => Ok(()),
        }
    }

    fn compare(&self, path: &str, bytes: &[u8], size: u64) {
        let mut statements = self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(statements) = statements.as_mut() else { return };
        if let Some(Ok(tile)) = path.strip_prefix("ledger/").map(Tile::parse)
            && tile.kind == TileKind::Entries
        {
            statements.compare(tile, bytes, size);
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reader {
            Reader::Web(web) => write!(f, "http://{}{}", web.place.host, web.prefix),
            Reader::Copy(copy) => write!(f, "{}", copy.root.display()),
        }
    }
}

impl Storage for Source {
    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, StorageError> {
        if let Some((note, _)) = self.pinned.as_ref().filter(|_| path == CHECKPOINT) {
            return Ok(note.clone());
        }
        let bytes = match &self.reader {
            Reader::Web(web) => web.read(path, limit),
            Reader::Copy(copy) => copy.read(path, limit),
        }?;
        if let Some((_, size)) = self.pinned {
            self.compare(path, &bytes, size);
        }
        Ok(bytes)
    }

    /// Over HTTP there is no listing: an auditor sees the files that the newest size needs.
    fn list(&self, folder: &str) -> Result<Vec<Listed>, StorageError> {
        match &self.reader {
            Reader::Web(_) => Ok(Vec::new()),
            Reader::Copy(copy) => copy.list(folder),
        }
    }

    fn put(&self, files: &[NewFile<'_>]) -> Result<(), StorageError> {
        Err(read_only("write", files.first().map_or("", |file| file.path)))
    }

    fn extend(&self, path: &str, _: u64, _: &[u8], _: &[u8]) -> Result<(), StorageError> {
        Err(read_only("extend", path))
    }

    fn remove(&self, paths: &[String]) -> Result<(), StorageError> {
        Err(read_only("remove", paths.first().map_or("", String::as_str)))
    }
}

fn read_only(operation: &'static str, path: &str) -> StorageError {
    StorageError::Unknown { operation, path: path.to_owned(), why: "an audit changes nothing".to_owned() }
}

/// A node's home, or a copy of its `ledger/` under any name.
#[derive(Debug)]
struct Copied {
    root: PathBuf,
    folder: Folder,
    /// Whether the root is the ledger itself.
    is_ledger: bool,
}

impl Copied {
    fn of(root: PathBuf) -> Result<Self, Failure> {
        let is_home = root.join(CHECKPOINT).is_file();
        let is_ledger = !is_home && root.join("checkpoint").is_file();
        match Folder::open(&root) {
            Ok(folder) if is_home || is_ledger => Ok(Self { root, folder, is_ledger }),
            _ => Err(Failure::new(Code::Io, "There is no ledger in this folder.")
                .at(root.display())
                .instead_of("a node's home, or a copy of its `ledger/`", "no checkpoint")
                .safe(UNJUDGED)
                .next("name the folder that holds `checkpoint` and `tile/`, or an address http://HOST:PORT")),
        }
    }

    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, StorageError> {
        let place = if self.is_ledger { path.strip_prefix("ledger/").unwrap_or(path) } else { path };
        // A copy comes from somebody else: a pipe in it would be waited for without end.
        if std::fs::metadata(self.root.join(place)).is_ok_and(|metadata| !metadata.is_file()) {
            let (path, why) = (path.to_owned(), "it is no file".to_owned());
            return Err(StorageError::Unknown { operation: "read", path, why });
        }
        self.folder.read(place, limit)
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, StorageError> {
        if !self.is_ledger {
            return self.folder.list(folder);
        }
        let listed = self.folder.list(".")?.into_iter().filter_map(|file| {
            let path = format!("ledger/{}", file.path.strip_prefix("./")?);
            Some(Listed { path, ..file })
        });
        Ok(listed.collect())
    }
}

/// A ledger behind a URL. One connection is kept, and a file is asked for when the one before it is here.
#[derive(Debug)]
struct Web {
    runtime: Handle,
    place: Place,
    /// The path before `/checkpoint`, without a slash at its end.
    prefix: String,
    kept: Mutex<Option<SendRequest<Body>>>,
    /// Why nothing more is asked.
    broken: Mutex<Option<Broken>>,
}

/// Why a reading ended before its end.
#[derive(Debug, Clone)]
struct Broken {
    code: Code,
    path: String,
    why: String,
}

/// An answer that says something about the ledger.
enum Answered {
    Bytes(Vec<u8>),
    Missing,
    TooLarge(u64),
}

impl Web {
    fn of(url: &str) -> Result<Self, Failure> {
        let refused = |why: &str| {
            Failure::new(Code::Usage, "This address cannot be audited.")
                .at(url)
                .instead_of("http://HOST[:PORT][/PATH], or a folder", why)
                .safe(UNJUDGED)
        };
        let place = Place::parse(url).map_err(|why| match why {
            NoPlace::Https => refused("https").next(
                "bring it to this machine by any tunnel, such as ssh -L or socat, and audit http://127.0.0.1:PORT; \
                 what is read is signed, whoever carries it",
            ),
            NoPlace::Other => refused("another kind of address"),
        })?;
        if place.path.contains('?') {
            return Err(refused("an address with a query"));
        }
        let runtime = Handle::try_current().map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
        Ok(Self {
            runtime,
            prefix: place.path.trim_end_matches('/').to_owned(),
            place,
            kept: Mutex::default(),
            broken: Mutex::default(),
        })
    }

    fn unbroken(&self) -> Result<(), Failure> {
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(Broken { code, path, why }) = broken else { return Ok(()) };
        let failure = Failure::new(code, format!("The ledger could not be read to its end: {why}."))
            .at(format!("http://{}{}/{path}", self.place.host, self.prefix))
            .safe(UNJUDGED);
        Err(match code {
            Code::PeerRefused => {
                failure.next("ask the node's owner to name your address under `allow` in custodia.toml")
            }
            _ => failure.next("run the same command again").next("or audit a copied folder of that ledger"),
        })
    }

    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, StorageError> {
        let place = path.strip_prefix("ledger/").unwrap_or(path);
        let unknown = |why: String| StorageError::Unknown { operation: "read", path: path.to_owned(), why };
        if let Some(broken) = &*self.broken.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(unknown(broken.why.clone()));
        }
        match self.runtime.block_on(self.file(place, limit)) {
            Ok(Answered::Bytes(bytes)) => Ok(bytes),
            Ok(Answered::Missing) => Err(StorageError::NotFound { path: path.to_owned() }),
            Ok(Answered::TooLarge(bytes)) => Err(StorageError::TooLarge { path: path.to_owned(), bytes, limit }),
            Err((code, why)) => {
                let broken = Broken { code, path: place.to_owned(), why: why.clone() };
                *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(broken);
                Err(unknown(why))
            }
        }
    }

    /// Asks on the connection that is kept; a server may have closed it meanwhile, which says nothing, so a new one is
    /// asked before anything is concluded.
    async fn file(&self, place: &str, limit: u64) -> Result<Answered, (Code, String)> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(kept) = kept
            && let Ok(answered) = self.ask(kept, place, limit).await
        {
            return Ok(answered);
        }
        let fresh = tokio::time::timeout(CONNECT, self.place.connect()).await;
        let fresh = fresh.map_err(|_| (Code::Io, "no connection came about in time".to_owned()))?;
        self.ask(fresh.map_err(|why| (Code::Io, why))?, place, limit).await
    }

    async fn ask(&self, sender: SendRequest<Body>, place: &str, limit: u64) -> Result<Answered, (Code, String)> {
        match tokio::time::timeout(FILE, self.exchange(sender, place, limit)).await {
            Ok(answered) => answered,
            Err(_) => Err((Code::Io, format!("no answer within {} s", FILE.as_secs()))),
        }
    }

    /// One request and its answer; the connection is kept when both are whole.
    async fn exchange(
        &self,
        mut sender: SendRequest<Body>,
        place: &str,
        limit: u64,
    ) -> Result<Answered, (Code, String)> {
        let io = |error: &dyn fmt::Display| (Code::Io, error.to_string());
        let request = Request::get(format!("{}/{place}", self.prefix)).header(HOST, &self.place.host);
        let request = if place == "checkpoint" { request.header(CACHE_CONTROL, "no-cache") } else { request };
        let request = request.body(Body::empty()).map_err(|error| io(&error))?;
        sender.ready().await.map_err(|error| io(&error))?;
        let response = sender.send_request(request).await.map_err(|error| io(&error))?;
        let (status, mut body) = (response.status(), response.into_body());
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| io(&error))?;
            bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..]));
            if bytes.len() as u64 > limit {
                // The rest of it is not waited for, and the connection is given up.
                return if status == StatusCode::OK {
                    Ok(Answered::TooLarge(bytes.len() as u64))
                } else {
                    refused(status)
                };
            }
        }
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        match status {
            StatusCode::OK => Ok(Answered::Bytes(bytes)),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Answered::Missing),
            status => refused(status),
        }
    }
}

/// An answer that says nothing about the ledger.
fn refused(status: StatusCode) -> Result<Answered, (Code, String)> {
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Answered::Missing),
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
            Err((Code::PeerRefused, format!("it does not answer this address ({})", status.as_u16())))
        }
        status => Err((Code::Io, format!("it answered {}", status.as_u16()))),
    }
}
