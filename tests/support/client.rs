//! Callers over HTTP/1.1 and HTTP/2, on TLS or in the clear.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certs::{Trust, client_config};
use super::gateway::Gateway;
use super::wire::{Message, Wire};
use super::within;

pub const HOST: &str = "api.example.ir";

/// A handshake with the gateway under this name; the error is the handshake's.
pub async fn handshake(
    address: SocketAddr,
    name: &str,
    config: Arc<rustls::ClientConfig>,
) -> std::io::Result<(TlsStream<TcpStream>, socket2::Socket)> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let socket = socket2::SockRef::from(&tcp).try_clone()?;
    let name = ServerName::try_from(name.to_owned()).expect("a good name");
    let tls = within("the handshake", TlsConnector::from(config).connect(name, tcp)).await?;
    Ok((tls, socket))
}

/// An HTTP/1.1 connection over TLS to the first listener.
pub async fn connect(gateway: &Gateway) -> Wire {
    connect_as(gateway, HOST, &Trust::default()).await
}

pub async fn connect_as(gateway: &Gateway, name: &str, trust: &Trust<'_>) -> Wire {
    let (tls, socket) = handshake(gateway.address(), name, client_config(trust)).await.expect("a TLS handshake");
    Wire::over(tls, socket)
}

/// An HTTP/1.1 connection without TLS.
pub async fn connect_plain(address: SocketAddr) -> Wire {
    let tcp = TcpStream::connect(address).await.expect("the listener accepts");
    tcp.set_nodelay(true).expect("a fresh socket");
    Wire::plain(tcp)
}

/// A request as text: `GET /path`, and fields as lines.
pub fn get(path: &str, fields: &[&str]) -> String {
    request("GET", path, fields)
}

pub fn request(method: &str, path: &str, fields: &[&str]) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n");
    for field in fields {
        text.push_str(field);
        text.push_str("\r\n");
    }
    text + "\r\n"
}

/// With a body of known length.
pub fn post(path: &str, fields: &[&str], body: &str) -> String {
    let length = format!("Content-Length: {}", body.len());
    let fields: Vec<&str> = fields.iter().copied().chain([length.as_str()]).collect();
    request("POST", path, &fields) + body
}

pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// One request on a connection of its own.
pub async fn send(gateway: &Gateway, text: impl AsRef<[u8]>) -> Message {
    let text = text.as_ref();
    let mut wire = connect(gateway).await;
    let _ = wire.send(text).await;
    let head = text.starts_with(b"HEAD ");
    wire.answer_to(if head { "HEAD" } else { "GET" }).await
}

/// `GET path` with this token and these fields.
pub async fn get_with(gateway: &Gateway, path: &str, token: &str, fields: &[&str]) -> Message {
    let bearer = bearer(token);
    let fields: Vec<&str> = fields.iter().copied().chain([bearer.as_str()]).collect();
    send(gateway, get(path, &fields)).await
}

/// An HTTP/2 connection.
pub struct H2 {
    pub send: SendRequest<Bytes>,
    /// Ends with the connection: `Ok` after a graceful end.
    pub driver: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

/// A whole answer over HTTP/2.
#[derive(Debug)]
pub struct H2Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
    /// The stream ended as it should.
    pub complete: bool,
}

impl H2 {
    pub async fn connect(gateway: &Gateway) -> H2 {
        H2::connect_as(gateway, HOST, &Trust { alpn: &["h2"], ..Trust::default() }).await
    }

    pub async fn connect_as(gateway: &Gateway, name: &str, trust: &Trust<'_>) -> H2 {
        let (tls, _) = handshake(gateway.address(), name, client_config(trust)).await.expect("a TLS handshake");
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "ALPN chooses h2");
        H2::over(tls).await
    }

    pub async fn over(stream: impl super::wire::Stream + 'static) -> H2 {
        let (send, connection) = within("the HTTP/2 preface", h2::client::handshake(stream)).await.expect("HTTP/2");
        let driver = tokio::spawn(connection);
        H2 { send, driver }
    }

    pub async fn request(&self, request: Request<()>, body: &[u8]) -> H2Answer {
        within("an answer over HTTP/2", self.try_request(request, body)).await.expect("an answer over HTTP/2")
    }

    pub async fn try_request(&self, request: Request<()>, body: &[u8]) -> Result<H2Answer, h2::Error> {
        let mut send = self.send.clone().ready().await?;
        let (response, mut stream) = send.send_request(request, body.is_empty())?;
        if !body.is_empty() {
            // A refusal may reset the stream before the body is through: the answer tells.
            let _ = stream.send_data(Bytes::copy_from_slice(body), true);
        }
        H2Answer::read(response.await?).await
    }
}

impl H2Answer {
    pub async fn read(response: Response<h2::RecvStream>) -> Result<H2Answer, h2::Error> {
        let (parts, mut stream) = response.into_parts();
        let mut body = Vec::new();
        let mut complete = true;
        while let Some(chunk) = stream.data().await {
            match chunk {
                Ok(chunk) => {
                    let _ = stream.flow_control().release_capacity(chunk.len());
                    body.extend_from_slice(&chunk);
                }
                Err(_) => {
                    complete = false;
                    break;
                }
            }
        }
        let trailers = if complete { stream.trailers().await? } else { None };
        Ok(H2Answer { status: parts.status.as_u16(), headers: parts.headers, body, trailers, complete })
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|v| v.to_str().expect("ASCII"))
    }

    /// As an HTTP/1.1 answer, for the same verdicts.
    pub fn message(self) -> Message {
        let text = |(n, v): (&http::HeaderName, &http::HeaderValue)| {
            (n.as_str().to_owned(), String::from_utf8_lossy(v.as_bytes()).into_owned())
        };
        let head = super::wire::Head {
            raw: Vec::new(),
            start: format!("HTTP/1.1 {} ", self.status),
            fields: self.headers.iter().map(text).collect(),
        };
        let trailers = self.trailers.iter().flatten().map(text).collect();
        Message { head, payload: super::wire::Payload { bytes: self.body, trailers, complete: self.complete } }
    }
}

/// `GET https://api.example.ir{path}`.
pub fn h2_get(path: &str) -> http::request::Builder {
    Request::builder().uri(format!("https://{HOST}{path}"))
}
