//! The wire: quinn and rustls, and the driver that moves a session's frames, answers and data.
//!
//! The only crate that names quinn or rustls. It decides nothing: what may be said when is `custodia-exchange`'s, what
//! is believed and stored is the host's ([`Host`]).

pub mod host;

pub use host::{DocumentSink, Host, Incoming, ItemBytes, Outgoing, Peer};
