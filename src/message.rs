//! A request as a listener hands it on, and the answer it gets back: the same for HTTP/1.1 and HTTP/2.
//!
//! Floor 0. `http::Request` is not used for the way in because its `Uri` forgets things that must be judged (a `#`, the
//! exact bytes of the path).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::body::Body;
use crate::fields::Fields;

pub struct Inbound {
    pub method: Method,
    pub target: Target,
    pub version: Version,
    pub headers: Fields,
    pub body: Body,
    /// Where 1xx answers of the agency go while the final one is awaited.
    pub interim: Interim,
    pub upgrade: Upgrade,
}

/// The request target (RFC 9112 §3.2; RFC 9113 §8.3.1), its bytes as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `/path?query`; over HTTP/2 with the `:authority`, when there was one.
    Origin { path_and_query: Bytes, authority: Option<Bytes> },
    /// `http://host/path?query`, which replaces `Host`.
    Absolute { authority: Bytes, path_and_query: Bytes },
    /// `OPTIONS *`
    Asterisk,
    /// `CONNECT host:port`
    Authority,
}

/// What the caller wants to turn this exchange into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upgrade {
    No,
    /// `Connection: upgrade` over HTTP/1.1; the protocol stands in `Upgrade`.
    Http1,
    /// Extended CONNECT over HTTP/2 (RFC 8441) with this `:protocol`.
    ExtendedConnect(Bytes),
}

/// A final answer, an agency's or the gateway's own.
#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    pub headers: Fields,
    pub body: Body,
}

impl Response {
    /// 200 without fields.
    pub const fn new(body: Body) -> Response {
        Response { status: StatusCode::OK, headers: Fields::new(), body }
    }
}

pub struct Outbound {
    pub response: Response,
    /// Set when the answer is a successful upgrade: bytes flow both ways after its head.
    pub tunnel: Option<Tunnel>,
    /// The connection must not be used again (broken framing, a refused body).
    pub close: bool,
}

impl From<Response> for Outbound {
    fn from(response: Response) -> Outbound {
        Outbound { response, tunnel: None, close: false }
    }
}

/// Whatever must live as long as something else; what it does on drop is its owner's affair.
pub type Guard = Box<dyn std::any::Any + Send>;

/// Bytes in order, both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// The agency's side of an upgraded exchange.
pub struct Tunnel {
    pub io: Box<dyn Duplex>,
    /// The tunnel ends after this long without a byte either way.
    pub idle: Duration,
    /// Told how the tunnel ended; dropped with it.
    pub guard: Box<dyn TunnelGuard>,
}

/// Counts what a tunnel carried, and knows when it must end.
pub trait TunnelGuard {
    /// True once the tunnel may not go on; wakes the task of `cx` when that changes.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> bool;
    /// Bytes from the caller, bytes to the caller.
    fn carried(&mut self, up: u64, down: u64);
}

/// A queue of 1xx answers from the exchange to the listener, both within one task or one worker.
#[derive(Clone, Default)]
pub struct Interim {
    queue: Option<Rc<RefCell<InterimQueue>>>,
    /// What makes a head fit for the caller.
    clean: Option<fn(&mut Fields)>,
}

#[derive(Default)]
pub struct InterimQueue {
    heads: VecDeque<(StatusCode, Fields)>,
    waker: Option<Waker>,
}

/// More than this many unsent 1xx answers are dropped: an agency must not fill our memory with them.
const INTERIM_QUEUE: usize = 8;

impl Interim {
    /// For callers that cannot read 1xx (HTTP/1.0): whatever is sent is dropped (RFC 9110 §15.2).
    pub const fn none() -> Interim {
        Interim { queue: None, clean: None }
    }

    pub fn queue() -> Interim {
        Interim { queue: Some(Rc::default()), clean: None }
    }

    /// The same queue, for a sender whose heads must be cleaned first.
    pub fn through(&self, clean: fn(&mut Fields)) -> Interim {
        Interim { queue: self.queue.clone(), clean: Some(clean) }
    }

    pub fn send(&self, status: StatusCode, mut headers: Fields) {
        if let Some(queue) = &self.queue {
            if let Some(clean) = self.clean {
                clean(&mut headers);
            }
            let mut queue = queue.borrow_mut();
            if queue.heads.len() < INTERIM_QUEUE {
                queue.heads.push_back((status, headers));
            }
            if let Some(waker) = queue.waker.take() {
                waker.wake();
            }
        }
    }

    pub fn take(&self) -> Option<(StatusCode, Fields)> {
        self.queue.as_ref()?.borrow_mut().heads.pop_front()
    }

    /// The waker to call at the next [`send`](Interim::send).
    pub fn notify(&self, waker: &Waker) {
        if let Some(queue) = &self.queue {
            queue.borrow_mut().waker = Some(waker.clone());
        }
    }
}

/// The elements of a list of tokens (RFC 9110 §5.6.1).
pub fn list_items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii)
}

/// The pairs of a `Cookie` field (RFC 6265 section 4.2.1), as they are written. Quick where a value is as long as a sealed
/// session.
pub fn cookie_pairs(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let text = rest?;
        let (pair, behind) = match memchr::memchr(b';', text) {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        rest = behind;
        Some(pair)
    })
}
