//! What auditors can ask for, and the answers. A request becomes a checkpoint or a [`Tile`] or nothing: no text of it
//! is ever part of a path on the disk.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{Method, Response, StatusCode, Uri};
use custodia_format::entry::ENTRY_TEXT_BYTES;
use custodia_format::limits;
use custodia_format::text::decimal;
use custodia_format::tile::{TILE_WIDTH, Tile, TileKind};
use custodia_ledger::{Storage, StorageError, cut};

/// A file of the ledger that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// `/checkpoint`.
    Checkpoint,
    /// `/tile/…`.
    Tile(Tile),
}

/// What a full tile may be kept for: it never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// A partial tile of one width never changes either, and is of no use once a wider one is there.
const FOR_A_DAY: &str = "public, max-age=86400, immutable";
/// Whoever asks for a checkpoint wants the newest.
const NEVER: &str = "no-store";

/// Reads a request: GET or HEAD of exactly one of the paths that C2SP names, in their one spelling.
pub(super) fn asked(method: &Method, uri: &Uri) -> Option<Asked> {
    if !matches!(*method, Method::GET | Method::HEAD) || uri.query().is_some() {
        return None;
    }
    match uri.path().strip_prefix('/')? {
        "checkpoint" => Some(Asked::Checkpoint),
        path => Tile::parse(path).ok().map(Asked::Tile),
    }
}

/// Reads what was asked for, and answers. Blocks.
pub(super) fn answer(ledger: &dyn Storage, asked: Asked) -> Response<Body> {
    match read(ledger, asked) {
        Ok(Some(bytes)) => {
            let (content, cache) = match asked {
                Asked::Checkpoint => ("text/plain; charset=utf-8", NEVER),
                Asked::Tile(tile) if tile.is_full() => ("application/octet-stream", FOR_EVER),
                Asked::Tile(_) => ("application/octet-stream", FOR_A_DAY),
            };
            let response = Response::builder()
                .header(CONTENT_TYPE, content)
                .header(CACHE_CONTROL, cache)
                .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
                .body(Body::from(bytes));
            response.unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR))
        }
        Ok(None) => plain(StatusCode::NOT_FOUND),
        Err(why) => {
            tracing::error!(%why, "a file of the ledger cannot be served");
            plain(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// An answer without content: outside readers get a code, our trace has the reason.
pub(super) fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, axum::http::HeaderValue::from_static(NEVER));
    response
}

/// The bytes of a file; in place of a partial tile that is not there, the beginning of a wider one. The node signs more sizes
/// than it writes out, and whoever cosigned one may hold an auditor to it.
fn read(ledger: &dyn Storage, asked: Asked) -> Result<Option<Vec<u8>>, String> {
    let file = |name: String, limit: usize| match ledger.read(&format!("ledger/{name}"), limit as u64) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(StorageError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.to_string()),
    };
    let tile = match asked {
        Asked::Checkpoint => return file("checkpoint".to_owned(), limits::NOTE_BYTES),
        Asked::Tile(tile) => tile,
    };
    let found = file(tile.path(), bytes_of(tile))?;
    if found.is_some() || tile.is_full() {
        return Ok(found);
    }
    let full = Tile { width: TILE_WIDTH as u16, ..tile };
    let cut_of = |wider: Tile, bytes: &[u8]| cut(tile, bytes, wider.width).map_err(|error| error.to_string());
    if let Some(bytes) = file(full.path(), bytes_of(full))? {
        return cut_of(full, &bytes).map(Some);
    }
    let widths = ledger.names(&format!("ledger/{full}.p")).map_err(|error| error.to_string())?;
    let widest = widths.iter().filter_map(|width| decimal(width)?.try_into().ok()).max();
    let Some(width) = widest.filter(|width| (tile.width..full.width).contains(width)) else { return Ok(None) };
    let wider = Tile { width, ..tile };
    let bytes = file(wider.path(), bytes_of(wider))?;
    bytes.map(|bytes| cut_of(wider, &bytes)).transpose()
}

/// Bytes that a tile of a node's ledger has at most: all its entries are of one length.
fn bytes_of(tile: Tile) -> usize {
    usize::from(tile.width)
        * match tile.kind {
            TileKind::Hashes(_) => 32,
            TileKind::Entries => 2 + ENTRY_TEXT_BYTES,
        }
}
