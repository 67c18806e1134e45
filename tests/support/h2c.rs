//! An agency that speaks HTTP/2: in the clear by prior knowledge, or over TLS by ALPN. It records, echoes bodies and
//! trailers, and can be told to break off.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, Response};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::wire::Stream;
use super::{certs, within};

/// A request as an HTTP/2 agency sees it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: http::Method,
    pub uri: http::Uri,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
    /// False when the caller broke off.
    pub complete: bool,
}

/// How the agency answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// 200 with the request's body as it comes, and its trailers.
    Echo,
    /// 200 with half a body, then RST_STREAM.
    BreakOff,
    /// As [`Manner::Echo`], and no WebSocket is taken.
    Plain,
    /// 200, `whole` by its length, and the end in a frame of its own, a moment later.
    Whole,
}

pub struct H2Agency {
    pub address: SocketAddr,
    scheme: &'static str,
    seen: watch::Receiver<Vec<Seen>>,
    task: JoinHandle<()>,
}

impl H2Agency {
    pub async fn clear(manner: Manner) -> H2Agency {
        H2Agency::serve(manner, None).await
    }

    pub async fn tls(manner: Manner) -> H2Agency {
        let config = certs::server_config(certs::server(), &["h2", "http/1.1"], None);
        H2Agency::serve(manner, Some(TlsAcceptor::from(config))).await
    }

    async fn serve(manner: Manner, tls: Option<TlsAcceptor>) -> H2Agency {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        H2Agency::serve_on(listener, manner, tls)
    }

    /// Ends with all its connections, and serves again at the same address with nothing remembered.
    pub async fn restart(self, manner: Manner) -> H2Agency {
        let address = self.address;
        assert_eq!(self.scheme, "h2c");
        self.task.abort();
        drop(self);
        H2Agency::serve_on(rebind(address).await, manner, None)
    }

    fn serve_on(listener: TcpListener, manner: Manner, tls: Option<TlsAcceptor>) -> H2Agency {
        let address = listener.local_addr().expect("it is bound");
        let scheme = if tls.is_some() { "https" } else { "h2c" };
        let (record, seen) = watch::channel(Vec::new());
        let record = Arc::new(record);
        let task = tokio::spawn(async move {
            // Dropped with this task, and every connection with it.
            let mut connections = JoinSet::new();
            loop {
                let Ok((tcp, _)) = listener.accept().await else { return };
                let (record, tls) = (record.clone(), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => connection(tcp, manner, record).await,
                        Some(acceptor) => {
                            let Ok(stream) = acceptor.accept(tcp).await else { return };
                            connection(stream, manner, record).await;
                        }
                    }
                });
            }
        });
        H2Agency { address, scheme, seen, task }
    }

    pub fn url(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.address.port())
    }

    /// The request with this number, once it has ended.
    pub async fn nth(&self, n: usize) -> Seen {
        let mut seen = self.seen.clone();
        let seen = within("a request at the agency", seen.wait_for(|seen| seen.len() > n)).await;
        seen.expect("the agency lives")[n].clone()
    }

    pub fn only(&self) -> Seen {
        let seen = self.seen.borrow();
        assert_eq!(seen.len(), 1, "exactly one request was to reach the agency: {seen:?}");
        seen[0].clone()
    }
}

/// The port is free once the aborted task has let go of it.
async fn rebind(address: SocketAddr) -> TcpListener {
    within("the port to be free again", async {
        loop {
            match TcpListener::bind(address).await {
                Ok(listener) => return listener,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await
}

impl Drop for H2Agency {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(stream: impl Stream + 'static, manner: Manner, record: Arc<watch::Sender<Vec<Seen>>>) {
    let mut settings = h2::server::Builder::new();
    if manner != Manner::Plain {
        settings.enable_connect_protocol();
    }
    let Ok(mut connection) = settings.handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(exchange(request, respond, manner, record.clone()));
    }
}

async fn exchange(
    request: http::Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    manner: Manner,
    record: Arc<watch::Sender<Vec<Seen>>>,
) {
    let (parts, mut stream) = request.into_parts();
    let head = Response::builder().header("content-type", "text/plain");
    let head = if manner == Manner::Whole { head.header("content-length", "5") } else { head };
    let head = if manner == Manner::BreakOff { head.header("content-length", "1000") } else { head };
    let Ok(mut send) = respond.send_response(head.body(()).expect("good parts"), false) else { return };
    let (mut body, mut complete) = (Vec::new(), true);
    while let Some(chunk) = stream.data().await {
        let Ok(chunk) = chunk else {
            complete = false;
            break;
        };
        let _ = stream.flow_control().release_capacity(chunk.len());
        body.extend_from_slice(&chunk);
        if matches!(manner, Manner::Echo | Manner::Plain) {
            let _ = send.send_data(chunk, false);
        }
    }
    let trailers = if complete { stream.trailers().await.ok().flatten() } else { None };
    let (method, uri, headers) = (parts.method, parts.uri, parts.headers);
    record.send_modify(|all| all.push(Seen { method, uri, headers, body, trailers: trailers.clone(), complete }));
    match (manner, trailers) {
        (Manner::Echo | Manner::Plain, Some(trailers)) => {
            let _ = send.send_trailers(trailers);
        }
        (Manner::Echo | Manner::Plain, None) => {
            let _ = send.send_data(Bytes::new(), true);
        }
        (Manner::Whole, _) => {
            let _ = send.send_data(Bytes::from_static(b"whole"), false);
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            let _ = send.send_data(Bytes::new(), true);
        }
        (Manner::BreakOff, _) => {
            let _ = send.send_data(Bytes::from_static(b"half"), false);
            // Once the data is on its way: a reset would otherwise overtake it in the queue.
            send.reserve_capacity(1);
            let _ = std::future::poll_fn(|cx| send.poll_capacity(cx)).await;
            tokio::task::yield_now().await;
            send.send_reset(h2::Reason::INTERNAL_ERROR);
        }
    }
}
