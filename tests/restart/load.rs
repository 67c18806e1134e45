//! Callers who never stop asking, and count: on kept and on fresh connections, over HTTP/1.1 and HTTP/2, always with TLS.
//!
//! They are patient with what the protocols tell them plainly and with nothing else: an answer with `Connection: close`, and
//! a GOAWAY, which says of a request that crossed it that it was not looked at (RFC 9113 §6.8). A connection that ends under
//! a request otherwise, whenever it does, has lost that request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::certs::{Trust, client_config};
use crate::support::client::HOST;
use crate::support::token::token;
use crate::support::within;

/// One pause in sixty-four lasts this long: idle connections are what a careless end loses.
const LONG: Duration = Duration::from_millis(1500);
/// Milliseconds, at the most, that the others wait.
const SHORT: u64 = 12;

/// What happened.
#[derive(Debug, Default)]
pub struct Tally {
    pub requests: usize,
    pub connections: usize,
    pub refused: usize,
    /// Requests that had no good answer, with what came instead.
    pub failed: Vec<String>,
    /// Connections that were told to end: by `Connection: close`, by GOAWAY.
    pub closed: usize,
    pub went_away: usize,
    /// Requests that crossed a GOAWAY, and were asked again on the next connection.
    pub again: usize,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.requests += other.requests;
        self.connections += other.connections;
        self.refused += other.refused;
        self.failed.extend(other.failed);
        self.closed += other.closed;
        self.went_away += other.went_away;
        self.again += other.again;
    }
}

pub struct Load {
    answered: Arc<AtomicUsize>,
    stop: watch::Sender<bool>,
    callers: JoinSet<Tally>,
}

#[derive(Clone, Copy)]
enum Kind {
    Http1Kept,
    Http1Fresh,
    Http2Kept,
    Http2Fresh,
}

impl Load {
    /// Against `/open` and `/l2`.
    pub fn start(address: SocketAddr) -> Load {
        let (stop, stopped) = watch::channel(false);
        let answered = Arc::new(AtomicUsize::new(0));
        let mut callers = JoinSet::new();
        let kinds = [(Kind::Http1Kept, 16), (Kind::Http1Fresh, 3), (Kind::Http2Kept, 8), (Kind::Http2Fresh, 3)];
        let all = kinds.into_iter().flat_map(|(kind, count)| std::iter::repeat_n(kind, count));
        for (index, kind) in all.enumerate() {
            let caller = Caller {
                address,
                token: token(2).sign(),
                answered: answered.clone(),
                stopped: stopped.clone(),
                chance: index as u64 * 7919 + 1,
                tally: Tally::default(),
            };
            callers.spawn(caller.run(kind));
        }
        Load { answered, stop, callers }
    }

    /// Waits for so many more answers.
    pub async fn more(&self, count: usize) {
        let wanted = self.answered.load(Ordering::Relaxed) + count;
        let reached = async {
            while self.answered.load(Ordering::Relaxed) < wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within("requests to be answered", reached).await;
    }

    pub async fn stop(mut self) -> Tally {
        self.stop.send_replace(true);
        let mut sum = Tally::default();
        while let Some(tally) = within("the callers to end", self.callers.join_next()).await {
            sum.add(tally.expect("a caller does not panic"));
        }
        sum
    }
}

struct Caller {
    address: SocketAddr,
    token: String,
    answered: Arc<AtomicUsize>,
    stopped: watch::Receiver<bool>,
    chance: u64,
    tally: Tally,
}

impl Caller {
    async fn run(mut self, kind: Kind) -> Tally {
        while !*self.stopped.borrow() {
            match kind {
                Kind::Http1Kept => self.http1(usize::MAX).await,
                Kind::Http1Fresh => self.http1(1).await,
                Kind::Http2Kept => self.http2(usize::MAX).await,
                Kind::Http2Fresh => self.http2(1).await,
            }
        }
        self.tally
    }

    async fn connect(&mut self, alpn: &str) -> Option<TlsStream<TcpStream>> {
        self.tally.connections += 1;
        let tcp = match TcpStream::connect(self.address).await {
            Ok(tcp) => tcp,
            Err(_) => {
                self.tally.refused += 1;
                return None;
            }
        };
        let _ = tcp.set_nodelay(true);
        let config = client_config(&Trust { alpn: &[alpn], ..Trust::default() });
        let name = ServerName::try_from(HOST).expect("a good name");
        match TlsConnector::from(config).connect(name, tcp).await {
            Ok(tls) => Some(tls),
            Err(error) => {
                self.tally.failed.push(format!("handshake: {error}"));
                None
            }
        }
    }

    /// A connection with at most `limit` requests on it.
    async fn http1(&mut self, limit: usize) {
        let Some(mut tls) = self.connect("http/1.1").await else { return };
        for _ in 0..limit {
            if !self.think().await {
                return;
            }
            self.tally.requests += 1;
            let (path, body) = self.next();
            let request = format!(
                "{} {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{body}",
                if body.is_empty() { "GET" } else { "POST" },
                self.token,
                body.len(),
            );
            match exchange(&mut tls, &request).await {
                Ok(close) => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                    if close {
                        self.tally.closed += 1;
                        return;
                    }
                }
                Err(error) => return self.tally.failed.push(format!("h1: {error}")),
            }
        }
    }

    async fn http2(&mut self, limit: usize) {
        let Some(tls) = self.connect("h2").await else { return };
        let (send, connection) = match h2::client::handshake(tls).await {
            Ok(both) => both,
            Err(error) => return self.tally.failed.push(format!("h2 preface: {error}")),
        };
        let driver = Aborted(tokio::spawn(connection));
        for _ in 0..limit {
            if !self.think().await {
                return;
            }
            let (path, body) = self.next();
            let Ok(ready) = send.clone().ready().await else {
                self.tally.went_away += 1;
                return;
            };
            self.tally.requests += 1;
            match self.http2_exchange(ready, path, body).await {
                Ok(()) => drop(self.answered.fetch_add(1, Ordering::Relaxed)),
                Err(Failed::Unsent) => {
                    self.tally.requests -= 1;
                    self.tally.went_away += 1;
                    return;
                }
                Err(Failed::Untouched) => {
                    self.tally.requests -= 1;
                    self.tally.again += 1;
                    return;
                }
                Err(Failed::Lost(error)) => return self.tally.failed.push(format!("h2: {error}")),
            }
        }
        drop(driver);
    }

    async fn http2_exchange(&self, mut send: SendRequest<Bytes>, path: &str, body: &str) -> Result<(), Failed> {
        let request = Request::builder().method(if body.is_empty() { "GET" } else { "POST" });
        let request =
            request.uri(format!("https://{HOST}{path}")).header("authorization", format!("Bearer {}", self.token));
        let request = request.body(()).expect("good parts");
        let sent = send.send_request(request, body.is_empty()).map_err(|error| match error.into() {
            Failed::Untouched => Failed::Unsent,
            lost => lost,
        });
        let (answer, mut stream) = sent?;
        if !body.is_empty() {
            stream.send_data(Bytes::copy_from_slice(body.as_bytes()), true)?;
        }
        let (parts, mut body) = answer.await?.into_parts();
        let mut read = Vec::new();
        while let Some(data) = body.data().await {
            read.extend_from_slice(&data?);
        }
        if parts.status == 200 && read == b"hello" {
            Ok(())
        } else {
            Err(Failed::Lost(format!("{} {read:?}", parts.status)))
        }
    }

    /// Where to, and what to say there.
    fn next(&mut self) -> (&'static str, &'static str) {
        match self.roll() % 4 {
            0 => ("/open", ""),
            1 => ("/l2", ""),
            2 => ("/open", "a form"),
            _ => ("/l2", "another form"),
        }
    }

    /// False when it is time to end.
    async fn think(&mut self) -> bool {
        let roll = self.roll();
        let pause = if roll.is_multiple_of(64) { LONG } else { Duration::from_millis(roll / 64 % SHORT) };
        let _ = tokio::time::timeout(pause, self.stopped.wait_for(|stopped| *stopped)).await;
        !*self.stopped.borrow()
    }

    /// The same course for the same caller.
    fn roll(&mut self) -> u64 {
        self.chance = self.chance.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.chance >> 33
    }
}

enum Failed {
    /// GOAWAY came first.
    Unsent,
    /// The server said that it has not looked at the request, and will not.
    Untouched,
    Lost(String),
}

impl From<h2::Error> for Failed {
    fn from(error: h2::Error) -> Failed {
        let told = error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR);
        if told { Failed::Untouched } else { Failed::Lost(error.to_string()) }
    }
}

/// Ends the connection's task with the connection.
struct Aborted(JoinHandle<Result<(), h2::Error>>);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// True when the answer was the connection's last.
async fn exchange(tls: &mut TlsStream<TcpStream>, request: &str) -> Result<bool, String> {
    tls.write_all(request.as_bytes()).await.map_err(|error| format!("sending: {error}"))?;
    let mut read = Vec::new();
    loop {
        if let Some(head) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
            if !text.starts_with("http/1.1 200 ") || !text.contains("content-length: 5") {
                return Err(text);
            }
            if &read[head + 4..] == b"hello" {
                return Ok(text.contains("connection: close"));
            }
        }
        match tls.read_buf(&mut read).await {
            Ok(1..) => {}
            Ok(0) => return Err(format!("the end after {} bytes of an answer", read.len())),
            Err(error) => return Err(format!("reading: {error}")),
        }
    }
}
