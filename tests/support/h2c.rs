//! An agency that speaks HTTP/2: in the clear by prior knowledge, or over TLS by ALPN. It records, echoes bodies and
//! trailers, and can be told to break off.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, Response};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::certs;
use super::wire::Stream;

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
    /// 200 with the request's body, and its trailers.
    Echo,
    /// 200 with half a body, then RST_STREAM.
    BreakOff,
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
        let address = listener.local_addr().expect("it is bound");
        let scheme = if tls.is_some() { "https" } else { "h2c" };
        let (record, seen) = watch::channel(Vec::new());
        let record = Arc::new(record);
        let task = tokio::spawn(async move {
            loop {
                let Ok((tcp, _)) = listener.accept().await else { return };
                let (record, tls) = (record.clone(), tls.clone());
                tokio::spawn(async move {
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

    pub fn only(&self) -> Seen {
        let seen = self.seen.borrow();
        assert_eq!(seen.len(), 1, "exactly one request was to reach the agency: {seen:?}");
        seen[0].clone()
    }
}

impl Drop for H2Agency {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(stream: impl Stream + 'static, manner: Manner, record: Arc<watch::Sender<Vec<Seen>>>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
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
    let (mut body, mut complete) = (Vec::new(), true);
    while let Some(chunk) = stream.data().await {
        let Ok(chunk) = chunk else {
            complete = false;
            break;
        };
        let _ = stream.flow_control().release_capacity(chunk.len());
        body.extend_from_slice(&chunk);
    }
    let trailers = if complete { stream.trailers().await.ok().flatten() } else { None };
    let seen = Seen {
        method: parts.method,
        uri: parts.uri,
        headers: parts.headers,
        body: body.clone(),
        trailers: trailers.clone(),
        complete,
    };
    record.send_modify(|all| all.push(seen));
    let head = Response::builder().header("content-type", "text/plain");
    let head = if manner == Manner::BreakOff { head.header("content-length", "1000") } else { head };
    let Ok(mut send) = respond.send_response(head.body(()).expect("good parts"), false) else { return };
    match manner {
        Manner::Echo => {
            let _ = send.send_data(body.into(), trailers.is_none());
            if let Some(trailers) = trailers {
                let _ = send.send_trailers(trailers);
            }
        }
        Manner::BreakOff => {
            let _ = send.send_data(Bytes::from_static(b"half"), false);
            // Once the data is on its way: a reset would otherwise overtake it in the queue.
            send.reserve_capacity(1);
            let _ = std::future::poll_fn(|cx| send.poll_capacity(cx)).await;
            tokio::task::yield_now().await;
            send.send_reset(h2::Reason::INTERNAL_ERROR);
        }
    }
}
