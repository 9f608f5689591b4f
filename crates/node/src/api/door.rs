//! The side of the API that asks: over the Unix socket of a running node, or in-process.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tower::ServiceExt;

use super::server::path;
use super::{Line, Operation, Progress, router};
use crate::Node;
use crate::failure::{Code, Failure};
use crate::home::Home;

/// Bytes of one line of an answer; a longer one is no answer of ours.
const LINE_BYTES: usize = 256 * 1024 * 1024;

/// A way into a node.
#[derive(Debug)]
pub enum Door {
    /// The node was opened by this process.
    InProcess(Arc<Node>, Router),
    /// A running node listens here.
    Socket(PathBuf),
}

impl Door {
    /// Finds the running node of a home, or opens the node here.
    ///
    /// # Errors
    /// As [`Node::open`].
    pub async fn of(home: &Home) -> Result<Self, Failure> {
        home.check()?;
        let socket = home.socket();
        if UnixStream::connect(&socket).await.is_ok() {
            return Ok(Self::Socket(socket));
        }
        let home = home.clone();
        let node = tokio::task::spawn_blocking(move || Node::open(&home)).await.map_err(ended)??;
        Ok(Self::to(Arc::new(node)))
    }

    /// Asks a node that this process has opened.
    pub fn to(node: Arc<Node>) -> Self {
        Self::InProcess(node.clone(), router(node))
    }

    /// Whether another process is the node.
    pub const fn is_socket(&self) -> bool {
        matches!(self, Self::Socket(_))
    }

    /// Asks for an operation, and hands on its progress until the answer is here.
    ///
    /// # Errors
    /// The operation's [`Failure`], or [`Code::Interrupted`] when the node went away meanwhile.
    pub async fn call<O: Operation>(
        &self,
        operation: &O,
        on_progress: impl FnMut(Progress),
    ) -> Result<O::Answer, Failure> {
        let answer = self.ask(operation, on_progress).await;
        if let Self::InProcess(node, _) = self {
            let node = Arc::clone(node);
            tokio::task::spawn_blocking(move || node.settle()).await.map_err(ended)?;
        }
        answer
    }

    async fn ask<O: Operation>(
        &self,
        operation: &O,
        mut on_progress: impl FnMut(Progress),
    ) -> Result<O::Answer, Failure> {
        let body = serde_json::to_vec(operation).map_err(ended)?;
        let request = Request::post(path::<O>()).header("host", "node").body(Body::from(body)).map_err(ended)?;
        let mut response = match self {
            Self::InProcess(_, router) => {
                let Ok(response) = router.clone().oneshot(request).await;
                response.into_body()
            }
            Self::Socket(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(|error| Failure::io(&error, socket))?;
                let (mut sender, connection) =
                    hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(ended)?;
                tokio::spawn(connection);
                Body::new(sender.send_request(request).await.map_err(ended)?.into_body())
            }
        };
        let mut rest: Vec<u8> = Vec::new();
        while let Some(frame) = response.frame().await {
            rest.extend_from_slice(frame.map_err(ended)?.data_ref().map_or(&[], |data| &data[..]));
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                match serde_json::from_slice(&line).map_err(ended)? {
                    Line::Progress(progress) => on_progress(*progress),
                    Line::Failure(failure) => return Err(failure),
                    Line::Answer { answer } => return serde_json::from_value(answer).map_err(ended),
                }
            }
            if rest.len() > LINE_BYTES {
                return Err(ended("its answer has no end"));
            }
        }
        Err(ended("its answer broke off"))
    }
}

/// The node did not answer to the end.
fn ended(error: impl std::fmt::Display) -> Failure {
    Failure::new(Code::Interrupted, format!("The node went away before it answered: {error}."))
        .safe("What it acknowledged before is safe; whether this was done is in its ledger.")
        .next("run the same command again")
}
