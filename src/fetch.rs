//! Outbound HTTPS of the control plane, bounded in time and size: discovery, JWKS, and an SSO's token endpoint.
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
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::model::ClientTls;
use crate::tls::certs::Identity;
use crate::tls::client::client_config;

/// Says who asks, for the log of the SSO.
const USER_AGENT: &str = concat!("darvazeh/", env!("CARGO_PKG_VERSION"));

/// Fetches with a deadline and a size cap. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    inner: Arc<Inner>,
}

struct Inner {
    tls_of: ClientTls,
    /// Made with the first `https://`: who fetches nothing need not read the system's roots.
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
}

#[derive(Debug)]
pub struct Fetched {
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// The answer to a POST.
#[derive(Debug)]
pub struct Posted {
    pub status: StatusCode,
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
        Fetcher::with_identity(roots, None)
    }

    /// Shows `identity` to servers that ask for a certificate (RFC 8705 section 2).
    pub fn with_identity(roots: Option<Arc<RootCertStore>>, identity: Option<Arc<Identity>>) -> Fetcher {
        let tls_of = ClientTls { roots, client: identity, server_name: None };
        Fetcher { inner: Arc::new(Inner { tls_of, tls: OnceLock::new() }) }
    }

    /// POST of a form, as token endpoints take it (RFC 6749 section 3.2). Whatever status it is answered with counts;
    /// redirects are not followed. Bounds as for [`get`](Fetcher::get).
    pub async fn post(
        &self,
        uri: &Uri,
        form: String,
        authorization: Option<&HeaderValue>,
        limit: Duration,
        max: usize,
    ) -> Result<Posted, FetchError> {
        let mut request = Request::post(target(uri))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form)))
            .expect("parts of a valid URI make a valid request");
        if let Some(authorization) = authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        }
        let answered = tokio::time::timeout(limit, self.fetch(uri, request, max)).await;
        let (status, Fetched { body, .. }) = answered.unwrap_or(Err(FetchError::Timeout))?;
        Ok(Posted { status, body })
    }

    /// GET; only a 200 counts, redirects are not followed (JB-10). `limit` covers everything from resolution to the last
    /// byte of the body, `max` is in bytes of the body. Must be called within a tokio runtime.
    pub async fn get(&self, uri: &Uri, limit: Duration, max: usize) -> Result<Fetched, FetchError> {
        let request = Request::get(target(uri))
            .header(header::ACCEPT, "application/json, */*;q=0.1")
            .body(Full::default())
            .expect("parts of a valid URI make a valid request");
        let answered = tokio::time::timeout(limit, self.fetch(uri, request, max)).await;
        match answered.unwrap_or(Err(FetchError::Timeout))? {
            (StatusCode::OK, fetched) => Ok(fetched),
            (status, _) => Err(FetchError::Status(status.as_u16())),
        }
    }

    async fn fetch(
        &self,
        uri: &Uri,
        request: Request<Full<Bytes>>,
        max: usize,
    ) -> Result<(StatusCode, Fetched), FetchError> {
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
            return exchange(tcp, uri, request, max).await;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|e| FetchError::Connect(e.to_string()))?;
        let tls = TlsConnector::from(self.tls()?).connect(name, tcp).await;
        exchange(tls.map_err(|e| FetchError::Connect(e.to_string()))?, uri, request, max).await
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, FetchError> {
        let made = self.inner.tls.get_or_init(|| client_config(&self.inner.tls_of, &[]).map_err(|e| e.to_string()));
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

async fn exchange<S>(
    stream: S,
    uri: &Uri,
    mut request: Request<Full<Bytes>>,
    max: usize,
) -> Result<(StatusCode, Fetched), FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |e: hyper::Error| FetchError::Broken(e.to_string());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.map_err(broken)?;
    let host = uri.authority().map_or("", |a| a.as_str().rsplit('@').next().unwrap_or_default());
    let host = HeaderValue::try_from(host).map_err(|_| FetchError::Insecure)?;
    request.headers_mut().insert(header::HOST, host);
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    let answer = async move {
        let response = sender.send_request(request).await.map_err(broken)?;
        let (head, mut body) = response.into_parts();
        let mut kept = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            if kept.len() + data.len() > max {
                return Err(FetchError::TooLarge);
            }
            kept.extend_from_slice(&data);
        }
        Ok((head.status, Fetched { headers: head.headers, body: kept.freeze() }))
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

fn target(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |p| p.as_str())
}

#[cfg(test)]
mod tests;
