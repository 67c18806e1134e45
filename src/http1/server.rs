//! The life of a caller's HTTP/1.1 connection: head, service, answer, and again (RFC 9112 §9).
//!
//! One task does it all: nothing is spawned per request, the request's body is read by whoever polls it, and a caller who
//! hangs up while the answer is awaited ends the exchange with the agency. Called by `listen`; knows no policy: what to
//! answer is the [`Service`]'s.

mod answer;
mod body;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Version};
use http_body::{Frame, SizeHint};
use tokio::io::AsyncWrite;

use self::answer::{Ending, Request, write_answer, write_interim};
use self::body::{BodyState, Connection, RequestBody};
use super::head::{self, Framing, HeadFault, HeadLimits, RequestHead, Scan};
use super::transport::Wire;
use super::tunnel;
use super::watchdog::Watchdog;
use crate::body::{Body, BodyError};
use crate::closing::{Ear, Word};
use crate::message::{Inbound, Interim, Outbound, Target, Upgrade};

/// What a listener allows one connection.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub head: HeadLimits,
    /// From the first byte of a head to its last; also from accept to the first byte.
    pub header_time: Duration,
    /// Between requests, and between two bytes of a body either way.
    pub idle: Duration,
}

/// What answers requests.
pub trait Service {
    fn call(&self, inbound: Inbound) -> impl Future<Output = Outbound> + Unpin;
    /// A head that is refused before there is a request.
    fn refuse(&self, fault: HeadFault) -> Outbound;
    /// A head that did not arrive in time.
    fn timed_out(&self) -> Outbound;
}

/// A caller may send this much of its next requests while an answer is awaited.
const PIPELINE: usize = 64 * 1024;
/// After a refusal, this long and this much is read and thrown away, so that the refusal is not lost to a reset.
const LINGER_TIME: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;

/// Serves one connection to its end. Cancel: the socket closes, an exchange under way is dropped.
pub async fn serve(wire: Wire, settings: &Settings, service: &impl Service, ear: Ear) {
    let connection = Rc::new(RefCell::new(Connection::new(wire)));
    let mut dog = Watchdog::new(settings.header_time);
    loop {
        let head = match read_head(&connection, settings, &mut dog, &ear).await {
            Next::Request(head) => head,
            Next::Fault(fault) => return refuse(&connection, service.refuse(fault), &mut dog, settings).await,
            Next::Late => return refuse(&connection, service.timed_out(), &mut dog, settings).await,
            Next::Gone => return,
            Next::Close => return close(&connection).await,
        };
        let request = Request::of(&head);
        let inbound = match inbound(&connection, *head) {
            Ok(inbound) => inbound,
            Err(fault) => return refuse(&connection, service.refuse(fault), &mut dog, settings).await,
        };
        let interim = inbound.interim.clone();
        let call = service.call(inbound);
        let Some(outbound) = serve_call(&connection, call, &interim, settings, &mut dog).await else { return };
        match write_answer(&connection, request, outbound, &mut dog, settings.idle, &ear).await {
            Ending::KeepAlive if pass_over(&connection, &mut dog, settings.idle, &ear).await => {
                dog.set_roughly(settings.idle)
            }
            Ending::KeepAlive | Ending::Close => return linger(&connection, &mut dog).await,
            Ending::Abort => return,
            Ending::Tunnel(tunnel) => {
                // An upgrade has no body, so nobody else holds the connection.
                let Some(connection) = Rc::into_inner(connection) else { return };
                let Wire { mut io, unread, .. } = connection.into_inner().wire;
                return tunnel::carry(&mut io, unread, tunnel).await;
            }
        }
    }
}

enum Next {
    Request(Box<RequestHead>),
    Fault(HeadFault),
    /// The head began but did not end in time.
    Late,
    Gone,
    /// Idle too long, or asked to close while idle.
    Close,
}

async fn read_head(connection: &RefCell<Connection>, settings: &Settings, dog: &mut Watchdog, ear: &Ear) -> Next {
    let mut scan = Scan::default();
    let mut begun = false;
    poll_fn(|cx| {
        let wire = &mut connection.borrow_mut().wire;
        loop {
            if !wire.unread.is_empty() {
                match head::parse_request(&mut wire.unread, &mut scan, &settings.head) {
                    Ok(Some(head)) => return Poll::Ready(Next::Request(Box::new(head))),
                    Ok(None) => {}
                    Err(fault) => return Poll::Ready(Next::Fault(fault)),
                }
                if !begun && !wire.unread.is_empty() {
                    begun = true;
                    dog.set(settings.header_time);
                }
            }
            match wire.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::Gone),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        if ear.poll(cx) >= Word::Close && !begun {
            return Poll::Ready(Next::Close);
        }
        dog.poll(cx).map(|()| if begun { Next::Late } else { Next::Close })
    })
    .await
}

/// The request as the service sees it. A small body that is here already is handed over whole, and can be sent again.
fn inbound(connection: &Rc<RefCell<Connection>>, mut head: RequestHead) -> Result<Inbound, HeadFault> {
    let target = target(&head.method, std::mem::take(&mut head.target))?;
    let mut guarded = connection.borrow_mut();
    let state = &mut *guarded;
    state.begin(BodyState::of(head.framing), head.expect_continue);
    let body = match head.framing {
        Framing::Empty | Framing::UntilClose => Body::Empty,
        Framing::Length(length) if length <= state.wire.unread.len() as u64 => {
            state.begin(BodyState::Done, false);
            Body::Full(state.wire.unread.split_to(length as usize).freeze())
        }
        Framing::Length(_) | Framing::Chunked => {
            drop(guarded);
            Body::stream(RequestBody::new(connection.clone()))
        }
    };
    Ok(assembled(head, target, body))
}

/// The request of a head that came by no connection: what `explain` judges. Its body has the announced length, and nothing
/// ever comes of it.
pub fn imagined(mut head: RequestHead) -> Result<Inbound, HeadFault> {
    let target = target(&head.method, std::mem::take(&mut head.target))?;
    let body = match head.framing {
        Framing::Empty | Framing::UntilClose => Body::Empty,
        Framing::Length(length) => Body::stream(Imagined(SizeHint::with_exact(length))),
        Framing::Chunked => Body::stream(Imagined(SizeHint::default())),
    };
    Ok(assembled(head, target, body))
}

/// A body that is only announced.
struct Imagined(SizeHint);

impl http_body::Body for Imagined {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(Some(Err(BodyError::ClientGone)))
    }

    fn size_hint(&self) -> SizeHint {
        self.0
    }
}

fn assembled(head: RequestHead, target: Target, body: Body) -> Inbound {
    Inbound {
        method: head.method,
        target,
        version: head.version,
        headers: head.headers,
        body,
        interim: if head.version == Version::HTTP_11 { Interim::queue() } else { Interim::none() },
        upgrade: if head.upgrade { Upgrade::Http1 } else { Upgrade::No },
    }
}

/// RFC 9112 §3.2: the four forms of a request target.
fn target(method: &Method, raw: Bytes) -> Result<Target, HeadFault> {
    if *method == Method::CONNECT {
        return Ok(Target::Authority);
    }
    match raw.first() {
        Some(b'/') => Ok(Target::Origin { path_and_query: raw, authority: None }),
        Some(b'*') if raw.len() == 1 && *method == Method::OPTIONS => Ok(Target::Asterisk),
        _ => absolute_form(&raw).ok_or(HeadFault::Malformed("the request target is malformed")),
    }
}

fn absolute_form(raw: &Bytes) -> Option<Target> {
    let colon = memchr::memmem::find(raw, b"://")?;
    let scheme = &raw[..colon];
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return None;
    }
    let rest = raw.slice(colon + 3..);
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let path_and_query = match rest.get(end) {
        Some(b'/') => rest.slice(end..),
        None => Bytes::from_static(b"/"),
        Some(_) => Bytes::from([b"/", &rest[end..]].concat()),
    };
    (end > 0).then(|| Target::Absolute { authority: rest.slice(..end), path_and_query })
}

/// Waits for the service, and meanwhile passes 1xx on, keeps the body's time limit, and watches for a caller who leaves.
async fn serve_call(
    connection: &RefCell<Connection>,
    mut call: impl Future<Output = Outbound> + Unpin,
    interim: &Interim,
    settings: &Settings,
    dog: &mut Watchdog,
) -> Option<Outbound> {
    poll_fn(|cx| {
        loop {
            let polled = Pin::new(&mut call).poll(cx);
            let state = &mut *connection.borrow_mut();
            // Those that came together with the answer as well: they leave in its write.
            while let Some((status, headers)) = interim.take() {
                write_interim(&mut state.interim, status, &headers);
            }
            if let Poll::Ready(outbound) = polled {
                return Poll::Ready(Some(outbound));
            }
            if state.poll_interim(cx).is_err() {
                return Poll::Ready(None);
            }
            if state.body_is_done() {
                return match state.poll_hangup(cx, PIPELINE) {
                    Poll::Ready(()) => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                };
            }
            if !state.poll_stall(cx, dog, settings.idle) {
                return Poll::Pending;
            }
            // The body has just failed of its time limit: the service must hear of it.
            state.fail(BodyError::ClientTimeout);
        }
    })
    .await
}

/// Reads past what is left of a body that nobody wanted. False when it does not come whole: the caller is silent for longer than
/// `idle`, or gone, or connections are to close.
async fn pass_over(connection: &RefCell<Connection>, dog: &mut Watchdog, idle: Duration, ear: &Ear) -> bool {
    if connection.borrow().body_is_done() {
        return true;
    }
    dog.set(idle);
    poll_fn(|cx| {
        let state = &mut *connection.borrow_mut();
        match state.poll_rest(cx) {
            Poll::Pending if ear.poll(cx) >= Word::Close || state.poll_stall(cx, dog, idle) => Poll::Ready(false),
            polled => polled,
        }
    })
    .await
}

async fn refuse(connection: &Rc<RefCell<Connection>>, mut outbound: Outbound, dog: &mut Watchdog, settings: &Settings) {
    outbound.close = true;
    let ear = crate::closing::Closing::default().listen();
    connection.borrow_mut().begin(BodyState::Done, false);
    match write_answer(connection, Request::unknown(), outbound, dog, settings.idle, &ear).await {
        Ending::Abort => {}
        _ => linger(connection, dog).await,
    }
}

/// Closes our half, and reads what the caller still sends for a moment: closing with unread bytes resets the connection,
/// and a reset may overtake the answer (RFC 9112 §9.6).
async fn linger(connection: &RefCell<Connection>, dog: &mut Watchdog) {
    dog.set(LINGER_TIME);
    let mut discarded = 0;
    let mut closed = false;
    poll_fn(|cx| {
        let wire = &mut connection.borrow_mut().wire;
        if !closed {
            closed = Pin::new(&mut wire.io).poll_shutdown(cx).is_ready();
        }
        loop {
            discarded += wire.unread.len();
            wire.unread.clear();
            if discarded > LINGER_BYTES {
                return Poll::Ready(());
            }
            match wire.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return dog.poll(cx),
            }
        }
    })
    .await;
}

async fn close(connection: &RefCell<Connection>) {
    let shutdown = poll_fn(|cx| Pin::new(&mut connection.borrow_mut().wire.io).poll_shutdown(cx));
    let _ = tokio::time::timeout(LINGER_TIME, shutdown).await;
}

#[cfg(test)]
mod tests;
