//! Outbound HTTPS of the control plane, bounded in time and size: discovery, JWKS, later the token endpoint and probes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Uri};
use rustls::RootCertStore;

/// Fetches with a deadline and a size cap. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    _private: (),
}

#[derive(Debug)]
pub struct Fetched {
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why nothing was fetched. Says who is guilty, never what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// Neither `https://`, nor `http://` on a loopback address.
    Insecure,
    Connect(String),
    Timeout,
    Status(u16),
    TooLarge,
    Broken(String),
}

impl fmt::Display for FetchError {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}

impl Fetcher {
    /// `roots`: `None` means the system's.
    pub fn new(_roots: Option<Arc<RootCertStore>>) -> Fetcher {
        todo!()
    }

    /// GET; only a 200 counts, redirects are not followed (JB-10).
    pub async fn get(&self, _uri: &Uri, _limit: Duration, _max: usize) -> Result<Fetched, FetchError> {
        todo!()
    }
}
