//! One question to one address of an endpoint: connect, TLS as for requests, GET, and what came back: status and body.
//!
//! Called by `health` on the control plane. A connection of its own each time: that new ones can be made is half of what is
//! asked.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::agency::{AgencyLive, EndpointLive};
use crate::config::model::{EndpointProtocol, Health};

/// Says who asks, for the log of the agency.
const USER_AGENT: &str = concat!("darvazeh/", env!("CARGO_PKG_VERSION"), " (health check)");

/// How much of an answer is looked at for the text that a good one has: whoever answers more has no end.
const READ: usize = 64 * 1024;

/// What is asked of every address of an endpoint.
#[derive(Debug)]
pub struct Check {
    health: Health,
    protocol: EndpointProtocol,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// For `Host`.
    authority: String,
}

/// Why an answer is not a good one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ill {
    /// The name has no address.
    Unresolved,
    Connect(io::ErrorKind),
    Tls(String),
    /// Closed before an answer, or no HTTP.
    Broke,
    TimedOut,
    Status(StatusCode),
    /// The text that a good answer has is not in its body, as far as that is read.
    Body,
}

impl fmt::Display for Ill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ill::Unresolved => f.write_str("its name has no address"),
            Ill::Connect(kind) => write!(f, "{kind}"),
            Ill::Tls(why) => write!(f, "TLS: {why}"),
            Ill::Broke => f.write_str("no HTTP answer"),
            Ill::TimedOut => f.write_str("no answer in time"),
            Ill::Status(status) => write!(f, "status {}", status.as_u16()),
            Ill::Body => f.write_str("its answer lacks the text"),
        }
    }
}

impl Check {
    pub fn new(agency: &AgencyLive, live: &EndpointLive, health: Health) -> Check {
        let endpoint = &live.endpoint;
        let host = match &live.server_name {
            Some(ServerName::DnsName(name)) => name.as_ref().to_owned(),
            _ if endpoint.host.contains(':') => format!("[{}]", endpoint.host),
            _ => endpoint.host.to_string(),
        };
        let tls = agency.tls.as_ref().map(|tls| tls.any.clone()).zip(live.server_name.clone());
        Check { health, protocol: endpoint.protocol, tls, authority: format!("{host}:{}", endpoint.port) }
    }

    /// Asks, within the time that the configuration gives.
    pub async fn ask(&self, address: SocketAddr) -> Result<(), Ill> {
        let answer = tokio::time::timeout(self.health.timeout, self.exchange(address));
        answer.await.unwrap_or(Err(Ill::TimedOut))
    }

    async fn exchange(&self, address: SocketAddr) -> Result<(), Ill> {
        let tcp = TcpStream::connect(address).await.map_err(|error| Ill::Connect(error.kind()))?;
        match (self.protocol, &self.tls) {
            (EndpointProtocol::Http, _) => self.over_http1(tcp).await,
            (EndpointProtocol::H2c, _) => self.over_http2(tcp, "http").await,
            (EndpointProtocol::Https, Some((config, name))) => {
                let connecting = TlsConnector::from(config.clone()).connect(name.clone(), tcp).await;
                let stream = connecting.map_err(|error| Ill::Tls(error.to_string()))?;
                match stream.get_ref().1.alpn_protocol() {
                    Some(b"h2") => self.over_http2(stream, "https").await,
                    _ => self.over_http1(stream).await,
                }
            }
            (EndpointProtocol::Https, None) => Err(Ill::Tls("not set up".to_owned())),
        }
    }

    async fn over_http1(&self, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<(), Ill> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(|_| Ill::Broke)?;
        let request = Request::get(&self.health.path).header(header::HOST, &self.authority);
        let request = request.header(header::CONNECTION, "close");
        drive(connection, self.judge(sender.send_request(self.asking(request)?))).await
    }

    async fn over_http2(
        &self,
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        scheme: &str,
    ) -> Result<(), Ill> {
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(io));
        let (mut sender, connection) = handshake.await.map_err(|_| Ill::Broke)?;
        let request = Request::get(format!("{scheme}://{}{}", self.authority, self.health.path));
        drive(connection, self.judge(sender.send_request(self.asking(request)?))).await
    }

    fn asking(&self, request: http::request::Builder) -> Result<Request<Empty<Bytes>>, Ill> {
        let request = request.header(header::USER_AGENT, USER_AGENT);
        let request = match &self.health.body {
            // What is compressed cannot be looked at.
            Some(_) => request.header(header::ACCEPT_ENCODING, "identity"),
            None => request,
        };
        request.body(Empty::new()).map_err(|_| Ill::Broke)
    }

    /// Whether the answer is a good one.
    async fn judge(&self, answer: impl Future<Output = hyper::Result<Response<Incoming>>>) -> Result<(), Ill> {
        let answer = answer.await.map_err(|_| Ill::Broke)?;
        let status = answer.status();
        let is_good = match &self.health.status[..] {
            [] => status.is_success() || status.is_redirection(),
            wanted => wanted.contains(&status.as_u16()),
        };
        match &self.health.body {
            _ if !is_good => Err(Ill::Status(status)),
            None => Ok(()),
            Some(text) => contains(answer.into_body(), text.as_bytes()).await,
        }
    }
}

/// Reads no further than to the text, nor than [`READ`].
async fn contains(mut body: Incoming, text: &[u8]) -> Result<(), Ill> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Ill::Broke)?.into_data() else { continue };
        // It may begin in what came before.
        let from = read.len().saturating_sub(text.len());
        read.extend_from_slice(&data[..data.len().min(READ - read.len())]);
        if read[from..].windows(text.len().max(1)).any(|part| part == text) {
            return Ok(());
        }
        if read.len() == READ {
            break;
        }
    }
    Err(Ill::Body)
}

/// Runs the connection only as long as its answer is awaited: a check that ends leaves nothing behind.
async fn drive(
    connection: impl Future<Output = hyper::Result<()>>,
    answer: impl Future<Output = Result<(), Ill>>,
) -> Result<(), Ill> {
    tokio::pin!(connection, answer);
    tokio::select! {
        biased;
        answered = &mut answer => answered,
        _ = &mut connection => answer.await,
    }
}
