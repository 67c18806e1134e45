//! HTTP/1.1 on a socket, byte by byte: what was sent is known exactly, what is received is parsed strictly.
//!
//! The same type serves clients (reading answers) and agencies (reading requests). A message that breaks the grammar
//! of RFC 9112 fails the test that met it: the gateway must never write one.

use std::io;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::within;

pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One connection, with what was read but not yet consumed.
pub struct Wire {
    stream: Box<dyn Stream>,
    read: Vec<u8>,
    /// The same socket again, to be able to reset it below TLS.
    socket: socket2::Socket,
}

/// The start line and fields of a message.
#[derive(Clone, Debug)]
pub struct Head {
    /// As on the wire, the empty line included.
    pub raw: Vec<u8>,
    pub start: String,
    pub fields: Vec<(String, String)>,
}

/// How the end of a body is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Empty,
    Length(usize),
    Chunked,
    UntilClose,
}

#[derive(Clone, Debug, Default)]
pub struct Payload {
    pub bytes: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// False when the connection ended before the framing said so.
    pub complete: bool,
}

#[derive(Clone, Debug)]
pub struct Message {
    pub head: Head,
    pub payload: Payload,
}

impl Head {
    fn parse(raw: Vec<u8>) -> Head {
        let text = String::from_utf8(raw.clone()).unwrap_or_else(|_| String::from_utf8_lossy(&raw).into_owned());
        let mut lines = text.strip_suffix("\r\n\r\n").expect("a head ends with an empty line").split("\r\n");
        let start = lines.next().expect("split gives at least one").to_owned();
        Head { start, fields: lines.map(field).collect(), raw }
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        all(&self.fields, name)
    }

    /// The only value of a field; a repeated one fails the test.
    pub fn get(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() <= 1, "{name} came {} times: {self:?}", values.len());
        values.first().copied()
    }

    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    pub fn status(&self) -> u16 {
        let status = self.start.strip_prefix("HTTP/1.1 ").and_then(|s| s.get(..3)).and_then(|s| s.parse().ok());
        status.unwrap_or_else(|| panic!("not a status line: {:?}", self.start))
    }

    pub fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    pub fn request_framing(&self) -> Framing {
        self.declared().unwrap_or(Framing::Empty)
    }

    pub fn answer_framing(&self, method: &str) -> Framing {
        match self.status() {
            100..=199 | 204 | 304 => Framing::Empty,
            _ if method == "HEAD" => Framing::Empty,
            _ => self.declared().unwrap_or(Framing::UntilClose),
        }
    }

    fn declared(&self) -> Option<Framing> {
        let length = self.get("content-length").map(|v| v.parse().expect("Content-Length is a number"));
        match (self.get("transfer-encoding"), length) {
            (Some(_), Some(_)) => panic!("both Content-Length and Transfer-Encoding: {self:?}"),
            (Some("chunked"), None) => Some(Framing::Chunked),
            (Some(other), None) => panic!("Transfer-Encoding: {other}"),
            (None, length) => length.map(Framing::Length),
        }
    }
}

impl Message {
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload.bytes).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.payload.bytes).unwrap_or_else(|e| panic!("not JSON ({e}): {}", self.text()))
    }
}

/// `Name: value`, no space before the colon, no folded line, no control characters (RFC 9112 §5).
fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("a field without a colon: {line:?}"));
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    assert!(!name.is_empty() && name.bytes().all(token), "a field name that is no token: {line:?}");
    assert!(!value.contains(['\r', '\n', '\0']), "a control character in {line:?}");
    (name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned())
}

pub fn all<'a>(fields: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    fields.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
}

impl Wire {
    pub fn plain(tcp: TcpStream) -> Wire {
        let socket = SockRef::from(&tcp).try_clone().expect("the socket can be duplicated");
        Wire { stream: Box::new(tcp), read: Vec::new(), socket }
    }

    pub fn over(stream: impl Stream + 'static, socket: socket2::Socket) -> Wire {
        Wire { stream: Box::new(stream), read: Vec::new(), socket }
    }

    /// Writes exactly these bytes. An error means that the peer has closed already.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let written = async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        };
        within("the bytes to be taken", written).await
    }

    /// Writes what the peer takes at once; how much that was.
    pub async fn send_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.stream.write(bytes).await?;
        self.stream.flush().await?;
        Ok(n)
    }

    /// More bytes, or `false` at the end of the connection, however it came.
    async fn more(&mut self) -> bool {
        let read = within("bytes from the peer", self.stream.read_buf(&mut self.read)).await;
        matches!(read, Ok(n) if n > 0)
    }

    /// Waits for bytes, however long it takes: a connection may be kept for long. `false` at its end.
    pub async fn idle(&mut self) -> bool {
        !self.read.is_empty() || matches!(self.stream.read_buf(&mut self.read).await, Ok(1..))
    }

    /// The next head; `None` when the connection ends before its first byte.
    pub async fn head(&mut self) -> Option<Head> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more().await {
                assert!(self.read.is_empty(), "a head cut short: {:?}", String::from_utf8_lossy(&self.read));
                return None;
            }
        };
        Some(Head::parse(self.read.drain(..end).collect()))
    }

    pub async fn body(&mut self, framing: Framing) -> Payload {
        match framing {
            Framing::Empty => Payload { complete: true, ..Payload::default() },
            Framing::Length(n) => {
                let complete = self.fill(n).await;
                let n = n.min(self.read.len());
                Payload { bytes: self.read.drain(..n).collect(), trailers: Vec::new(), complete }
            }
            Framing::Chunked => self.chunked().await,
            Framing::UntilClose => {
                while self.more().await {}
                Payload { bytes: std::mem::take(&mut self.read), trailers: Vec::new(), complete: true }
            }
        }
    }

    async fn chunked(&mut self) -> Payload {
        let mut payload = Payload::default();
        while let Some(chunk) = self.chunk().await {
            if chunk.is_empty() {
                loop {
                    match self.line().await {
                        Some(line) if line.is_empty() => break payload.complete = true,
                        Some(line) => payload.trailers.push(field(&line)),
                        None => break,
                    }
                }
                return payload;
            }
            payload.bytes.extend(chunk);
        }
        payload
    }

    /// The next chunk's data, empty for the last one; `None` when the connection ends first.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.line().await?;
        let size = usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("not a chunk size: {line:?}"));
        if size == 0 {
            return Some(Vec::new());
        }
        if !self.fill(size + 2).await {
            return None;
        }
        let mut data: Vec<u8> = self.read.drain(..size + 2).collect();
        assert!(data.ends_with(b"\r\n"), "a chunk that does not end with CRLF");
        data.truncate(size);
        Some(data)
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.read.windows(2).position(|w| w == b"\r\n") {
                let line = self.read.drain(..at + 2).take(at).collect();
                return Some(String::from_utf8(line).expect("lines are ASCII"));
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn fill(&mut self, n: usize) -> bool {
        while self.read.len() < n {
            if !self.more().await {
                return false;
            }
        }
        true
    }

    /// Exactly `n` bytes, for tunnels.
    pub async fn exactly(&mut self, n: usize) -> Option<Vec<u8>> {
        self.fill(n).await.then(|| self.read.drain(..n).collect())
    }

    /// A whole request, at an agency. `None`: the connection ended.
    pub async fn request(&mut self) -> Option<Message> {
        let head = self.head().await?;
        let payload = self.body(head.request_framing()).await;
        Some(Message { head, payload })
    }

    /// The next answer, interim ones included.
    pub async fn answer_to(&mut self, method: &str) -> Message {
        self.try_answer_to(method).await.expect("the connection ended without an answer")
    }

    pub async fn try_answer_to(&mut self, method: &str) -> Option<Message> {
        let head = self.head().await?;
        let payload = self.body(head.answer_framing(method)).await;
        Some(Message { head, payload })
    }

    pub async fn answer(&mut self) -> Message {
        self.answer_to("GET").await
    }

    /// Waits for the peer to end the connection; what else it still sent.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.read)
    }

    /// Says goodbye in order (close_notify, FIN).
    pub async fn close(mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Says that nothing more will be sent, and stays to listen.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Ends with a reset, as a crashed peer would.
    pub fn reset(self) {
        self.socket.set_linger(Some(std::time::Duration::ZERO)).expect("linger can be set");
    }
}
