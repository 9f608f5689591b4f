//! The side of the API that performs operations.

use std::os::unix::fs::PermissionsExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use axum::routing::{get, post};
use hyper::body::Frame;
use tokio::net::UnixListener;
use tokio::sync::mpsc;

use super::{LINES_WAITING, Line, Operation, Reporter};
use crate::failure::{Code, Failure};
use crate::operations as op;
use crate::{Node, ask};

/// The router of a node: every operation at its path.
pub fn router(node: Arc<Node>) -> Router {
    let mut router = Router::new();
    macro_rules! mount {
        ($($operation:ty),* $(,)?) => { $(router = router.route(&path::<$operation>(), post(perform::<$operation>));)* };
    }
    mount!(
        op::Card,
        op::TrustAdd,
        op::TrustList,
        op::TrustExport,
        op::TrustTsa,
        op::OfficerAdd,
        op::Seal,
        op::Send,
        op::Queue,
        op::QueueWhy,
        op::QueueOrder,
        op::QueueCap,
        op::QueueDeadline,
        op::QueueLimit,
        op::QueueVia,
        op::QueueWatch,
        op::Inbox,
        op::Show,
        op::RecordsList,
        op::RecordsAbout,
        op::Event,
        op::Accept,
        op::Refuse,
        op::Prove,
        op::Chain,
        op::Label,
        op::Disclose,
        op::Export,
        op::LedgerCheckpoint,
        op::LedgerList,
        op::LedgerShow,
        op::LedgerProve,
        op::LedgerTimestamp,
        op::LedgerFsck,
        op::LedgerFsckStop,
        op::Doctor,
        op::Metrics,
        op::Backup,
        op::UsbWrite,
        op::UsbRead,
    );
    router.route("/metrics", get(metrics)).with_state(node)
}

/// The same as [`op::Metrics`], as collectors ask for it: on the node's own socket, which is its owner's alone.
async fn metrics(State(node): State<Arc<Node>>) -> Response {
    let text = tokio::task::spawn_blocking(move || op::scrape(&node)).await;
    let text = text.unwrap_or_else(|error| Err(Failure::new(Code::Internal, error.to_string())));
    let (status, kind, body) = match text {
        Ok(text) => (StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text),
        Err(failure) => (StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", format!("{failure}\n")),
    };
    Response::builder().status(status).header(CONTENT_TYPE, kind).body(Body::from(body)).unwrap_or_default()
}

/// The path of an operation.
pub(super) fn path<O: Operation>() -> String {
    format!("/v1/{}", O::NAME)
}

/// Makes the home's Unix socket, its owner's alone.
///
/// # Errors
/// [`Code::Io`] when the socket cannot be made. A socket left by a node that was killed is replaced: the lock on the
/// home, which the caller holds, says that nobody listens on it.
pub(crate) fn listen(node: &Node) -> Result<UnixListener, Failure> {
    let path = node.home().socket();
    let _ = std::fs::remove_file(&path);
    let failed = |error: std::io::Error| Failure::io(&error, &path);
    let listener = UnixListener::bind(&path).map_err(failed)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Takes requests until the socket fails.
pub(crate) async fn serve(node: Arc<Node>, listener: UnixListener) -> Failure {
    match axum::serve(listener, router(node)).await {
        Ok(()) => Failure::new(Code::Internal, "The node's socket closed."),
        Err(error) => Failure::io(&error, "the node's socket"),
    }
}

async fn perform<O: Operation>(State(node): State<Arc<Node>>, body: Bytes) -> Response {
    let (lines, waiting) = mpsc::channel::<Line>(LINES_WAITING);
    tokio::task::spawn_blocking(move || {
        let last = match serde_json::from_slice::<O>(&body) {
            Err(error) => {
                Line::Failure(Failure::new(Code::Malformed, "This is not the request it should be.").at(error))
            }
            Ok(operation) => match answer(operation, &node, &Reporter::to(lines.clone())) {
                Err(failure) => Line::Failure(failure),
                Ok(answer) => match serde_json::to_value(answer) {
                    Ok(answer) => Line::Answer { answer },
                    Err(error) => Line::Failure(Failure::new(Code::Internal, error.to_string())),
                },
            },
        };
        // Whoever asked may have gone; what was done is done, and the ledger knows.
        let _ = lines.blocking_send(last);
    });
    Response::builder().header(CONTENT_TYPE, "application/x-ndjson").body(Body::new(Lines(waiting))).unwrap_or_default()
}

fn answer<O: Operation>(operation: O, node: &Arc<Node>, reporter: &Reporter) -> Result<O::Answer, Failure> {
    if operation.signs() {
        ask::before_signing(node)?;
    }
    operation.perform(node, reporter)
}

/// The lines of an answer as the body of a response, sent as they come.
struct Lines(mpsc::Receiver<Line>);

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = serde_json::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|line| {
            line.map(|line| {
                let mut text = serde_json::to_vec(&line)?;
                text.push(b'\n');
                Ok(Frame::data(text.into()))
            })
        })
    }
}
