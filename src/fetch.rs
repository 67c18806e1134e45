//! Outbound HTTPS of the control plane, bounded in time and size: discovery, JWKS, later the token endpoint and probes.
//!
//! One connection per fetch: fetches are minutes apart, and a kept connection would only be another thing to go stale.
//! Certificates are always verified; clear text goes to loopback alone. Never called on the data path.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::uri::Scheme;
use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Says who asks, for the log of the SSO.
const USER_AGENT: &str = concat!("darvazeh/", env!("CARGO_PKG_VERSION"));

/// Fetches with a deadline and a size cap. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    inner: Arc<Inner>,
}

struct Inner {
    roots: Option<Arc<RootCertStore>>,
    /// Made with the first `https://`: who fetches nothing need not read the system's roots.
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
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
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::Insecure => f.write_str("the address is neither https:// nor http:// on loopback"),
            FetchError::Connect(why) => write!(f, "no connection: {why}"),
            FetchError::Timeout => f.write_str("no answer in time"),
            FetchError::Status(status) => write!(f, "the server answered {status}"),
            FetchError::TooLarge => f.write_str("the answer is over the size limit"),
            FetchError::Broken(why) => write!(f, "the answer broke off: {why}"),
        }
    }
}

impl std::error::Error for FetchError {}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fetcher")
    }
}

impl Fetcher {
    /// `roots`: `None` means the system's.
    pub fn new(roots: Option<Arc<RootCertStore>>) -> Fetcher {
        Fetcher { inner: Arc::new(Inner { roots, tls: OnceLock::new() }) }
    }

    /// GET; only a 200 counts, redirects are not followed (JB-10). `limit` covers everything from resolution to the last
    /// byte of the body, `max` is in bytes of the body. Must be called within a tokio runtime.
    pub async fn get(&self, uri: &Uri, limit: Duration, max: usize) -> Result<Fetched, FetchError> {
        tokio::time::timeout(limit, self.fetch(uri, max)).await.unwrap_or(Err(FetchError::Timeout))
    }

    async fn fetch(&self, uri: &Uri, max: usize) -> Result<Fetched, FetchError> {
        let host = uri.host().ok_or(FetchError::Insecure)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let secure = uri.scheme() == Some(&Scheme::HTTPS);
        let on_loopback = uri.scheme() == Some(&Scheme::HTTP) && names_loopback(host);
        if !secure && !on_loopback {
            return Err(FetchError::Insecure);
        }
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tcp = connect(host, port, !secure).await?;
        if !secure {
            return exchange(tcp, uri, max).await;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|e| FetchError::Connect(e.to_string()))?;
        let tls = TlsConnector::from(self.tls()?).connect(name, tcp).await;
        exchange(tls.map_err(|e| FetchError::Connect(e.to_string()))?, uri, max).await
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, FetchError> {
        let made = self.inner.tls.get_or_init(|| {
            let roots = self.inner.roots.clone().unwrap_or_else(crate::tls::client::system_roots);
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|e| e.to_string())?
                .with_root_certificates(roots)
                .with_no_client_auth();
            Ok(Arc::new(config))
        });
        made.clone().map_err(FetchError::Connect)
    }
}

fn names_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The first address that accepts. `loopback_only` guards against a `localhost` that resolves to somewhere else.
async fn connect(host: &str, port: u16, loopback_only: bool) -> Result<TcpStream, FetchError> {
    let failed = |e: std::io::Error| FetchError::Connect(e.to_string());
    let found = tokio::net::lookup_host((host, port)).await.map_err(failed)?;
    let mut last = FetchError::Connect("the name has no address".into());
    for address in found.filter(|a: &SocketAddr| !loopback_only || a.ip().is_loopback()) {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(e) => last = failed(e),
        }
    }
    Err(last)
}

async fn exchange<S>(stream: S, uri: &Uri, max: usize) -> Result<Fetched, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |e: hyper::Error| FetchError::Broken(e.to_string());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.map_err(broken)?;
    let answer = async move {
        let response = sender.send_request(request(uri)).await.map_err(broken)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let (head, mut body) = response.into_parts();
        let mut kept = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            if kept.len() + data.len() > max {
                return Err(FetchError::TooLarge);
            }
            kept.extend_from_slice(&data);
        }
        Ok(Fetched { headers: head.headers, body: kept.freeze() })
    };
    drive(connection, answer).await
}

/// Runs the connection only as long as its answer is awaited, so that a dropped fetch leaves nothing behind.
async fn drive<T>(
    connection: impl Future<Output = hyper::Result<()>>,
    answer: impl Future<Output = Result<T, FetchError>>,
) -> Result<T, FetchError> {
    tokio::pin!(connection, answer);
    tokio::select! {
        biased;
        done = &mut answer => done,
        // The answer learns of the end by itself: a closed connection still has its last bytes to be read.
        _ = &mut connection => answer.await,
    }
}

fn request(uri: &Uri) -> Request<Empty<Bytes>> {
    let target = uri.path_and_query().map_or("/", |p| p.as_str());
    let host = uri.authority().map_or("", |a| a.as_str().rsplit('@').next().unwrap_or_default());
    Request::get(target)
        .header(header::HOST, host)
        .header(header::ACCEPT, "application/json, */*;q=0.1")
        .header(header::USER_AGENT, USER_AGENT)
        .body(Empty::new())
        .expect("parts of a valid URI make a valid request")
}

#[cfg(test)]
mod tests;
