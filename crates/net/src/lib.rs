//! The wire: quinn and rustls, a second road over TCP, and the driver that moves a session's frames, answers and data.
//!
//! The only crate that names quinn or rustls. It decides nothing: what may be said when is `custodia-exchange`'s, what
//! is believed and stored is the host's ([`Host`]).

mod ask;
mod driver;
mod end;
mod endpoint;
mod fetch;
mod gate;
mod health;
pub mod host;
mod link;
mod pace;
mod places;
mod progress;
mod receive;
mod road;
mod roam;
mod serve;
mod throttle;
mod tls;
pub mod transport;
mod turns;

pub use ask::answer;
pub use end::End;
pub use endpoint::{BindError, ConnectError, Endpoint};
pub use health::{LinkNews, LinkState, Packets, Refusal};
pub use host::{DocumentSink, Host, Incoming, ItemBytes, Outgoing, Peer};
pub use link::{Delivered, Link, LinkError};
pub use road::{Detour, NoAnswer, Tried, Via};
pub use throttle::Throttle;
pub use tls::{ALPN, ALPN_TCP, TlsSetup};
