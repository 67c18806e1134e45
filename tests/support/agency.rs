//! An agency on a raw socket: it keeps the exact bytes of what it was asked, and answers by the hand of the test.
//!
//! [`Agency::start`] serves by a closure and records; [`ByHand`] hands each connection to the test, which may then
//! close, stall, reset, answer early or answer nonsense at any moment it likes.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::certs::{self, Authority};
use super::wire::{Message, Wire};
use super::within;

type Reply = dyn Fn(&Message) -> Vec<u8> + Send + Sync;

/// An agency that behaves, and remembers.
pub struct Agency {
    pub address: SocketAddr,
    scheme: &'static str,
    seen: watch::Receiver<Vec<Message>>,
    task: JoinHandle<()>,
}

/// `200` with this body.
pub fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// `200`, `hello`, with no body for HEAD.
fn hello(request: &Message) -> Vec<u8> {
    match request.head.method() {
        "HEAD" => b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n".to_vec(),
        _ => ok("hello"),
    }
}

impl Agency {
    /// Says `hello` to everything.
    pub async fn hello() -> Agency {
        Agency::start(hello).await
    }

    pub async fn start(reply: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static) -> Agency {
        Agency::serve(reply, None).await
    }

    /// Over TLS, with the dev CA's certificate for `localhost`; `client_ca` makes it ask for the gateway's own.
    pub async fn tls(pair: &certs::Pair, client_ca: Option<&Authority>) -> Agency {
        Agency::serve(hello, Some(TlsAcceptor::from(certs::server_config(pair, &["http/1.1"], client_ca)))).await
    }

    async fn serve(reply: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static, tls: Option<TlsAcceptor>) -> Agency {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (record, seen) = watch::channel(Vec::new());
        let scheme = if tls.is_some() { "https" } else { "http" };
        let reply: Arc<Reply> = Arc::new(reply);
        let record = Arc::new(record);
        let task = tokio::spawn(async move {
            // Dropped with this task, and every connection with it.
            let mut connections = JoinSet::new();
            loop {
                let Ok((tcp, _)) = listener.accept().await else { return };
                let (reply, record, tls) = (reply.clone(), record.clone(), tls.clone());
                connections.spawn(async move {
                    let Some(mut wire) = wrap(tcp, tls).await else { return };
                    while let Some(request) = wire.request().await {
                        let answer = reply(&request);
                        record.send_modify(|seen| seen.push(request));
                        if wire.send(answer).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Agency { address, scheme, seen, task }
    }

    pub fn url(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.address.port())
    }

    pub fn seen(&self) -> Vec<Message> {
        self.seen.borrow().clone()
    }

    /// The one request that came.
    pub fn only(&self) -> Message {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "exactly one request was to reach the agency: {seen:?}");
        seen.into_iter().next().expect("there is one")
    }

    pub fn last(&self) -> Message {
        self.seen().pop().expect("a request was to reach the agency")
    }

    pub fn assert_untouched(&self) {
        assert!(self.seen().is_empty(), "nothing was to reach the agency: {:?}", self.seen());
    }
}

impl Drop for Agency {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn wrap(tcp: tokio::net::TcpStream, tls: Option<TlsAcceptor>) -> Option<Wire> {
    let _ = tcp.set_nodelay(true);
    let Some(acceptor) = tls else { return Some(Wire::plain(tcp)) };
    let socket = socket2::SockRef::from(&tcp).try_clone().expect("the socket can be duplicated");
    let stream = acceptor.accept(tcp).await.ok()?;
    Some(Wire::over(stream, socket))
}

/// An agency whose every move the test makes.
pub struct ByHand {
    listener: TcpListener,
}

impl ByHand {
    pub async fn start() -> ByHand {
        ByHand { listener: TcpListener::bind("127.0.0.1:0").await.expect("a free port") }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.listener.local_addr().expect("it is bound").port())
    }

    pub async fn accept(&self) -> Wire {
        let (tcp, _) = within("the gateway to connect", self.listener.accept()).await.expect("accept works");
        let _ = tcp.set_nodelay(true);
        Wire::plain(tcp)
    }

    /// Connects and the whole first request.
    pub async fn request(&self) -> (Wire, Message) {
        let mut wire = self.accept().await;
        let request = wire.request().await.expect("a request on the new connection");
        (wire, request)
    }

    /// True when no connection waits to be accepted.
    pub async fn is_untouched(&self) -> bool {
        tokio::time::timeout(std::time::Duration::from_millis(50), self.listener.accept()).await.is_err()
    }
}
