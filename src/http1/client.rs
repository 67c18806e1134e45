//! One exchange with an agency over HTTP/1.1: the request out, its answer in, the connection ready for the next.
//!
//! The connection is driven by the task that needs it: no task of its own, no channel, no wake-up between the two. While
//! the answer's body is read, what is left of the request's body is still sent. Called by `forward`; what is safe to send
//! again is decided there, from what a [`Failure`] says of how far the exchange came.

mod answer;
mod upload;

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header;
use http::{Method, StatusCode};
use http_body::Body as _;

pub use self::answer::{AnswerBody, Home};
use self::upload::Upload;
use super::head::{self, Framing, HeadLimits, ResponseHead, Scan, write_decimal, write_field};
use super::lent::Lent;
use super::lines;
use super::transport::{Transport, Wire};
use super::watchdog::Watchdog;
use crate::body::{Body, BodyError};
use crate::fields::Fields;
use crate::message::{Guard, Interim};

/// Bounds of an agency's head: more generous than a caller's, agencies set long cookies and policies.
const ANSWER_LIMITS: HeadLimits = HeadLimits { block: 64 * 1024, count: 200, uri: usize::MAX };
/// More 1xx answers than this before the final one is a fault of the agency.
const INTERIM_ANSWERS: u32 = 32;

/// Long enough not to ring before an exchange sets the limit that counts.
const UNSET: Duration = Duration::from_secs(3600);

/// A connection to an endpoint.
pub struct Upstream {
    wire: Wire,
    dog: Watchdog,
    /// Exchanges it has carried.
    pub used: u64,
    /// When it became idle.
    pub idle_since: tokio::time::Instant,
    /// Counted as open until this is dropped.
    counted: Option<Guard>,
}

/// An idle connection on its way from one worker to another.
#[derive(Debug)]
pub struct Parked {
    io: Transport,
    used: u64,
    pub idle_since: tokio::time::Instant,
    counted: Option<Guard>,
}

/// What is asked of the agency. Fields of framing and of the hop are written here, and must not be in `headers`.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    pub method: Method,
    /// Path and query.
    pub target: Bytes,
    pub headers: Fields,
    /// More of them, as [`lines`].
    pub added: Vec<u8>,
    /// `Connection: upgrade` is to be said.
    pub upgrade: bool,
}

impl Outgoing {
    /// All fields.
    pub fn fields(&self) -> Fields {
        let mut fields = self.headers.clone();
        fields.extend(lines::fields(&self.added));
        fields
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub response: Duration,
    pub idle: Duration,
}

/// How an exchange failed, and how far it had come.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// Closed or reset. `sent`: some byte of the request left. `answered`: some byte of an answer came.
    Broke { sent: bool, answered: bool },
    /// No head in time.
    TimedOut,
    /// The caller's body failed: the agency was cut off, and is not to blame.
    RequestBody(BodyError),
    /// The answer is not HTTP/1.1, or doubtful (SM-10).
    Malformed(&'static str),
    /// What the caller wants cannot be said in the agency's HTTP; nothing was sent.
    Unsayable(&'static str),
}

impl Failure {
    /// No head in time. An agency cannot be expected to answer before it has the request: where part of that is still the
    /// caller's to send, it was the caller who took too long.
    pub fn of_silence(awaits_caller: bool) -> Failure {
        if awaits_caller { Failure::RequestBody(BodyError::ClientTimeout) } else { Failure::TimedOut }
    }
}

pub struct Answer<H: Home> {
    pub head: ResponseHead,
    pub body: AnswerBodyOrUpgrade<H>,
}

pub enum AnswerBodyOrUpgrade<H: Home> {
    /// Here already; the connection has gone home.
    Whole(Bytes),
    Stream(AnswerBody<H>),
    /// 101: the bare connection and what was read behind the head.
    Upgraded(Box<Upstream>, H),
}

impl Upstream {
    pub fn new(io: Transport, patience: Patience) -> Upstream {
        let dog = Watchdog::new(patience.response);
        Upstream { wire: Wire::new(io), dog, used: 0, idle_since: tokio::time::Instant::now(), counted: None }
    }

    /// Keeps `guard` as long as the connection is open.
    pub fn counted(mut self, guard: Guard) -> Upstream {
        self.counted = Some(guard);
        self
    }

    /// The bare connection, and what must live as long.
    pub fn into_wire(self) -> (Wire, Option<Guard>) {
        (self.wire, self.counted)
    }

    /// Makes an idle connection ready for another worker. `None` when it cannot carry another request.
    pub fn park(mut self) -> Option<Parked> {
        let is_idle = self.wire.let_go() && self.wire.unread.is_empty();
        let Upstream { wire, used, idle_since, counted, .. } = self;
        is_idle.then_some(Parked { io: wire.io, used, idle_since, counted })
    }

    /// Takes over what another worker parked. Errors: it was closed, or spoke, while it lay; or it cannot be moved.
    pub fn take_over(parked: Parked) -> io::Result<Upstream> {
        let Parked { mut io, used, idle_since, counted } = parked;
        io.move_here()?;
        // The timer is the other worker's: a new one, which each exchange sets.
        Ok(Upstream { wire: Wire::new(io), dog: Watchdog::new(UNSET), used, idle_since, counted })
    }

    /// True when an idle connection was closed, or spoke out of turn, while nobody looked. No system call when quiet.
    pub fn is_stale(&mut self) -> bool {
        !self.wire.is_quiet()
    }

    /// Sends the request and waits for the head of its answer. `home` takes the connection back when it can be used again.
    /// Cancel: the connection closes, which is how an agency learns that the caller has left.
    pub async fn exchange<H: Home>(
        mut self: Box<Self>,
        request: &Outgoing,
        body: Body,
        patience: Patience,
        interim: &Interim,
        home: H,
    ) -> Result<Answer<H>, Failure> {
        let mut upload = Upload::new(request, body);
        self.used += 1;
        let mut scan = Scan::default();
        let mut informed = 0;
        let (head, framing) =
            poll_fn(|cx| self.poll_head(cx, &mut upload, &request.method, &mut scan, patience, interim, &mut informed))
                .await?;
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            if !upload.asked_upgrade() {
                return Err(Failure::Malformed("101 without being asked"));
            }
            return Ok(Answer { head, body: AnswerBodyOrUpgrade::Upgraded(self, home) });
        }
        let reusable = head.keep_alive;
        let body = AnswerBody::new(self, upload, framing, reusable, patience.idle, home);
        Ok(Answer { head, body: body.or_whole() })
    }

    #[expect(clippy::too_many_arguments, reason = "the state of one poll loop, in one place")]
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        upload: &mut Upload,
        method: &Method,
        scan: &mut Scan,
        patience: Patience,
        interim: &Interim,
        informed: &mut u32,
    ) -> Poll<Result<(ResponseHead, Framing), Failure>> {
        if let Poll::Ready(Err(error)) = upload.poll(cx, &mut self.wire) {
            return Poll::Ready(Err(Failure::RequestBody(error)));
        }
        if upload.take_progress() {
            self.dog.set_roughly(patience.response);
        }
        loop {
            let parsed = head::parse_response(&mut self.wire.unread, scan, &ANSWER_LIMITS, method);
            match parsed {
                Ok(Some((head, _))) if is_interim(head.status) => {
                    *informed += 1;
                    if *informed > INTERIM_ANSWERS {
                        return Poll::Ready(Err(Failure::Malformed("too many 1xx answers")));
                    }
                    // Our own 100 was sent when the caller's body was first asked for (HP-6).
                    if head.status != StatusCode::CONTINUE {
                        interim.send(head.status, head.headers);
                    }
                    continue;
                }
                Ok(Some(found)) => return Poll::Ready(Ok(found)),
                Ok(None) => {}
                Err(head::HeadFault::Malformed(why)) => return Poll::Ready(Err(Failure::Malformed(why))),
                Err(_) => return Poll::Ready(Err(Failure::Malformed("the answer's head is too large"))),
            }
            match self.wire.poll_fill(cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => {
                    let answered = !self.wire.unread.is_empty() || *informed > 0;
                    return Poll::Ready(Err(Failure::Broke { sent: upload.has_sent(), answered }));
                }
                Poll::Pending => return self.dog.poll(cx).map(|()| Err(Failure::of_silence(upload.awaits_caller()))),
            }
        }
    }
}

fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

/// The request's head, with the framing that its body needs (RFC 9112 §6).
fn write_head(request: &Outgoing, body: &Body) -> (Lent, bool) {
    let mut out = Lent::take();
    out.put_slice(request.method.as_str().as_bytes());
    out.put_slice(b" ");
    out.extend_from_slice(&request.target);
    out.put_slice(b" HTTP/1.1\r\n");
    let mut te = false;
    for (name, value) in request.headers.iter() {
        te |= *name == header::TE;
        write_field(&mut out, name.as_str().as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(&request.added);
    if request.upgrade {
        out.put_slice(b"connection: upgrade\r\n");
    } else if te {
        // RFC 9110 §10.1.4: it is for this hop, and says so.
        out.put_slice(b"connection: te\r\n");
    }
    let length = body.size_hint().exact();
    match length {
        Some(0) if !anticipates_body(&request.method) => {}
        Some(length) => {
            write_field_start(&mut out, header::CONTENT_LENGTH.as_str());
            write_decimal(&mut out, length);
            out.put_slice(b"\r\n");
        }
        None => out.put_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.put_slice(b"\r\n");
    (out, length.is_none())
}

fn write_field_start(out: &mut BytesMut, name: &str) {
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
}

/// RFC 9110 §8.6: methods whose meaning anticipates a body say `Content-Length: 0` when there is none.
fn anticipates_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

#[cfg(test)]
mod tests;
