//! From a socket to a connection that is served: per-address cap, handshake, and which HTTP is spoken.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::listener::{BACKLOG, ListenerLive, Settings};
use crate::apart::apart;
use crate::closing::{Closing, Ear, Word};
use crate::http1::socket::Socket;
use crate::http1::transport::{Prefixed, Transport, Wire};
use crate::http1::watchdog::Watchdog;
use crate::limit::addresses::{Full, Place};
use crate::limit::overload::Draw;
use crate::observe::tally::count;
use crate::pipeline::gate::Shared;
use crate::pipeline::{Gate, Worker};
use crate::words::{ConnInfo, ListenerId, Scheme};
use crate::{http1, http2};

/// RFC 9113 §3.4: what an HTTP/2 client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Connections that get their turn before what came with the last ones is looked at: some 20 to 60 ms of handshakes.
const AT_ONCE: usize = 128;
/// Connections accepted in one go, and those that wait here: more stay in the system's backlog.
const FILL: usize = 1024;
const IN_LINE: usize = BACKLOG as usize;
/// What TLS holds of HTTP/2 for a caller who does not read: a record, which `http2::outlet` gathers, so that a caller who does is
/// not slowed; HTTP/1.1 holds no more than one piece of a body by itself.
const HTTP2_BUFFER: usize = 20 * 1024;
/// After an error of `accept` itself (no descriptors left, usually): time for some to come back.
const BREATH: Duration = Duration::from_millis(50);

/// Accepts until closing is said. Connections that wait in the backlog then are still taken: they were let in.
///
/// What is accepted waits in a line of our own, where it is seen for how long, and [`AT_ONCE`] get their turn before what came
/// with the last ones is looked at. In overload all of them do, so that who is turned away is so at once. The runtime's budget of
/// a turn does not count here: those that stay in the backlog make no queue that `limit::overload` can see.
pub async fn accept(socket: TcpListener, listener: Arc<ListenerLive>, worker: Rc<Worker>, closing: Closing) {
    tokio::task::unconstrained(accept_all(socket, listener, worker, closing)).await;
}

async fn accept_all(socket: TcpListener, listener: Arc<ListenerLive>, worker: Rc<Worker>, closing: Closing) {
    let ear = closing.listen();
    // The same socket without the runtime: a connection that is turned away at once need not be made known to that.
    let bare = socket.as_fd().try_clone_to_owned().map(std::net::TcpListener::from).ok();
    let mut line = VecDeque::new();
    loop {
        let bare = bare.as_ref().filter(|_| worker.overload.is_on());
        let filled = poll_fn(|cx| {
            if ear.poll(cx) >= Word::Last {
                return Poll::Ready(None);
            }
            match fill(&mut line, &socket, bare, cx) {
                Ok(()) if line.is_empty() => Poll::Pending,
                filled => Poll::Ready(Some(filled)),
            }
        })
        .await;
        let Some(filled) = filled else { break };
        let turns = if worker.overload.is_on() { line.len() } else { AT_ONCE.min(line.len()) };
        line.drain(..turns).for_each(|accepted| admit(accepted, &listener, &worker, &closing));
        if let Some(first) = line.front() {
            worker.overload.backlog(first.at.elapsed());
        }
        match filled {
            Ok(()) => tokio::task::yield_now().await,
            Err(_) => tokio::time::sleep(BREATH).await,
        }
    }
    line.into_iter().for_each(|accepted| admit(accepted, &listener, &worker, &closing));
    // Asked of the system, not of the runtime: that may not have heard yet of the last that came. Bounded, since under
    // load there is always one more.
    let Ok(socket) = socket.into_std() else { return };
    for _ in 0..BACKLOG {
        let Ok((stream, peer)) = socket.accept() else { return };
        admit(Accepted::new(Stream::Bare(stream), peer), &listener, &worker, &closing);
    }
}

/// A connection that waits for its turn.
struct Accepted {
    stream: Stream,
    peer: SocketAddr,
    at: Instant,
}

enum Stream {
    Known(TcpStream),
    /// Not known to the runtime.
    Bare(std::net::TcpStream),
}

impl Accepted {
    fn new(stream: Stream, peer: SocketAddr) -> Accepted {
        Accepted { stream, peer, at: Instant::now() }
    }
}

impl Stream {
    fn known(self) -> io::Result<TcpStream> {
        match self {
            Stream::Known(stream) => Ok(stream),
            Stream::Bare(stream) => {
                stream.set_nonblocking(true)?;
                TcpStream::from_std(stream)
            }
        }
    }
}

/// Takes what is there, up to [`FILL`] and [`IN_LINE`]; wakes the task of `cx` when there is more. Errors: those of `accept`.
fn fill(
    line: &mut VecDeque<Accepted>,
    socket: &TcpListener,
    bare: Option<&std::net::TcpListener>,
    cx: &mut Context<'_>,
) -> io::Result<()> {
    for _ in 0..FILL.min(IN_LINE.saturating_sub(line.len())) {
        if let Some(Ok((stream, peer))) = bare.map(std::net::TcpListener::accept) {
            line.push_back(Accepted::new(Stream::Bare(stream), peer));
            continue;
        }
        match socket.poll_accept(cx)? {
            Poll::Ready((stream, peer)) => line.push_back(Accepted::new(Stream::Known(stream), peer)),
            Poll::Pending => break,
        }
    }
    Ok(())
}

fn admit(accepted: Accepted, listener: &Arc<ListenerLive>, worker: &Rc<Worker>, closing: &Closing) {
    let Accepted { stream, peer, at } = accepted;
    let settings = listener.settings.load_full();
    let refused = &worker.books.tally.refused;
    let draw = worker.overload.draw();
    if draw == Draw::Lost || worker.overload.is_too_late_for(at.elapsed()) {
        return count(&refused.overload);
    }
    let place = match listener.addresses.enter(peer.ip(), settings.connections_per_address, settings.connections) {
        Ok(place) => place,
        Err(Full::Address) => return count(&refused.address),
        Err(Full::Listener) => return count(&refused.listener),
    };
    let Ok(stream) = stream.known() else { return };
    // An answer must not wait for the acknowledgement of the one before (Nagle).
    let _ = stream.set_nodelay(true);
    let (id, name) = (listener.id, listener.name());
    let connection = Connection {
        peer,
        id,
        listener: name,
        settings,
        worker: worker.clone(),
        ear: closing.listen(),
        draw,
        accepted: at,
    };
    let closing = closing.clone();
    tokio::task::spawn_local(async move {
        let mut serving = pin!(connection.serve(stream, place));
        // The ear's waker is this task's: a cut is noticed whatever the connection waits for.
        poll_fn(|cx| if closing.word() == Word::Cut { Poll::Ready(()) } else { serving.as_mut().poll(cx) }).await;
    });
}

/// `None` when it fails, or takes longer than `time`.
async fn shake_hands(config: Arc<ServerConfig>, stream: TcpStream, time: Duration) -> Option<Box<TlsStream<Socket>>> {
    tokio::time::timeout(time, TlsAcceptor::from(config).accept(Socket(stream))).await.ok()?.ok().map(Box::new)
}

struct Connection {
    peer: SocketAddr,
    id: ListenerId,
    /// What the listener was called when this was accepted.
    listener: Arc<str>,
    settings: Arc<Settings>,
    worker: Rc<Worker>,
    ear: Ear,
    draw: Draw,
    accepted: Instant,
}

impl Connection {
    async fn serve(self, stream: TcpStream, _place: Place) {
        // From the start: a connection whose first request is there at once would not listen before its second.
        poll_fn(|cx| Poll::Ready(self.ear.poll(cx))).await;
        if self.worker.overload.is_too_late_for(self.accepted.elapsed()) {
            return count(&self.worker.books.tally.refused.overload);
        }
        let Ok(local) = stream.local_addr() else { return };
        match &self.settings.tls {
            None => self.serve_plain(stream, local).await,
            Some(config) => {
                // Boxed, as is HTTP/2 below: what is over, or never comes, takes no room in the task of a connection that
                // may be idle for hours.
                let handshake = apart(shake_hands(config.clone(), stream, self.settings.handshake_time));
                match handshake.await {
                    Some(stream) => self.serve_tls(stream, local).await,
                    None => count(&self.worker.books.tally.handshake_failed),
                }
            }
        }
    }

    async fn serve_tls(self, mut stream: Box<TlsStream<Socket>>, local: SocketAddr) {
        let session = stream.get_ref().1;
        let h2 = session.alpn_protocol() == Some(b"h2");
        let mut conn = self.conn(local, Scheme::Https);
        conn.sni = session.server_name().map(|name| name.to_ascii_lowercase().into());
        conn.client_cert = session.peer_certificates().and_then(|chain| Some(Arc::from(chain.first()?.as_ref())));
        if h2 {
            stream.get_mut().1.set_buffer_limit(Some(HTTP2_BUFFER));
        }
        let transport = Transport::ServerTls(stream);
        let gate = Shared(Rc::new(self.gate(conn)));
        if h2 {
            apart(http2::server::serve(transport, self.settings.http2, Rc::new(gate), self.ear)).await;
        } else {
            http1::server::serve(Wire::new(transport), &self.settings.http1, &gate, self.ear).await;
        }
    }

    /// HTTP/2 by prior knowledge is told from HTTP/1.1 by its first bytes (RFC 9113 §3.3).
    async fn serve_plain(self, stream: TcpStream, local: SocketAddr) {
        let gate = Shared(Rc::new(self.gate(self.conn(local, Scheme::Http))));
        let mut wire = Wire::new(Transport::Tcp(stream));
        match self.speaks_http2(&mut wire).await {
            Some(true) => {
                let io = Prefixed::new(wire.unread.freeze(), wire.io);
                apart(http2::server::serve(io, self.settings.http2, Rc::new(gate), self.ear)).await;
            }
            Some(false) => http1::server::serve(wire, &self.settings.http1, &gate, self.ear).await,
            None => {}
        }
    }

    /// `None` when the caller left, said nothing in time, or we are closing.
    async fn speaks_http2(&self, wire: &mut Wire) -> Option<bool> {
        let mut dog = Watchdog::new(self.settings.http1.header_time);
        poll_fn(|cx| {
            loop {
                let read = wire.unread.len().min(PREFACE.len());
                if wire.unread[..read] != PREFACE[..read] {
                    return Poll::Ready(Some(false));
                }
                if read == PREFACE.len() {
                    return Poll::Ready(Some(true));
                }
                match wire.poll_fill(cx) {
                    Poll::Ready(Ok(1..)) => {}
                    Poll::Ready(_) => return Poll::Ready(None),
                    Poll::Pending if read == 0 && self.ear.poll(cx) >= Word::Close => return Poll::Ready(None),
                    Poll::Pending => return dog.poll(cx).map(|()| None),
                }
            }
        })
        .await
    }

    fn conn(&self, local: SocketAddr, scheme: Scheme) -> ConnInfo {
        let listener = self.listener.clone();
        ConnInfo { listener, peer: self.peer, local, scheme, sni: None, client_cert: None }
    }

    fn gate(&self, conn: ConnInfo) -> Gate {
        Gate {
            worker: self.worker.clone(),
            conn,
            listener: self.id,
            trusted_proxies: self.settings.trusted_proxies.clone(),
            uri_limit: self.settings.uri_limit,
            body_limit: self.settings.body_limit,
            forgeries: self.settings.forgeries.clone(),
            standing: Cell::default(),
            won: Cell::new(self.draw == Draw::Won),
        }
    }
}
