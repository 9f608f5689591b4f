//! Plain HTTP as one who asks: where something lies, and a connection there.
//!
//! What is read this way is signed, so whoever carries it can withhold it and cannot change it unseen. There is no TLS here,
//! and nothing is followed elsewhere: where an answer points to is not asked.

use std::fmt;

use axum::body::Body;
use axum::http::Uri;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Bytes of the header of an answer.
const HEADER_BYTES: usize = 16 * 1024;

/// Where something lies: `http://HOST[:PORT][/PATH]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// `HOST[:PORT]` as it was written.
    pub(crate) host: String,
    /// HOST:PORT, to be resolved.
    address: String,
    /// The path, and the query if there is one; `/` where none is written.
    pub(crate) path: String,
}

/// Why a text is no such place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// It is `https://…`.
    Https,
    /// It is an address of another kind.
    Other,
}

impl Place {
    /// Reads an address.
    pub(crate) fn parse(url: &str) -> Result<Self, NoPlace> {
        if url.starts_with("https://") {
            return Err(NoPlace::Https);
        }
        let uri: Uri = url.parse().map_err(|_| NoPlace::Other)?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let (Some("http"), Some(authority)) = (uri.scheme_str(), authority) else { return Err(NoPlace::Other) };
        Ok(Self {
            host: authority.to_string(),
            address: format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80)),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }

    /// Connects to it. The caller limits the time.
    pub(crate) async fn connect(&self) -> Result<SendRequest<Body>, String> {
        let stream = TcpStream::connect(&self.address).await.map_err(|error| error.to_string())?;
        let _ = stream.set_nodelay(true);
        let connection = http1::Builder::new().max_buf_size(HEADER_BYTES).handshake(TokioIo::new(stream)).await;
        let (sender, connection) = connection.map_err(|error| error.to_string())?;
        // It ends when its sender is dropped; what went wrong on it is told to who asked.
        tokio::spawn(connection);
        Ok(sender)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.host, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_plain_http_and_names_nobody() {
        let place = Place::parse("http://tsa.example:8080/tsr?x=1").unwrap();
        assert_eq!((place.host.as_str(), place.address.as_str()), ("tsa.example:8080", "tsa.example:8080"));
        assert_eq!((place.path.as_str(), place.to_string().as_str()), ("/tsr?x=1", "http://tsa.example:8080/tsr?x=1"));
        assert_eq!(Place::parse("http://tsa.example").unwrap().address, "tsa.example:80");
        assert_eq!(Place::parse("http://[::1]:81/").unwrap().address, "[::1]:81");
        assert_eq!(Place::parse("https://tsa.example"), Err(NoPlace::Https));
        for other in [
            "",
            "tsa.example",
            "ftp://tsa.example",
            "http://",
            "http://me:secret@tsa.example/",
            "file:///etc/passwd",
            "http://a b/",
        ] {
            assert_eq!(Place::parse(other), Err(NoPlace::Other), "{other}");
        }
    }
}
