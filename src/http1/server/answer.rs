//! Writing an answer: the head and whatever of the body is there in one write, then the rest as it comes.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header;
use http::{Method, StatusCode, Version};
use http_body::{Body as _, Frame};

use super::body::{Connection, Rest};
use crate::body::Body;
use crate::closing::{Ear, Word};
use crate::date;
use crate::fields::Fields;
use crate::http1::chunked;
use crate::http1::head::{RequestHead, write_decimal, write_field, write_fields, write_status_line};
use crate::http1::lent::Lent;
use crate::http1::watchdog::Watchdog;
use crate::message::{Outbound, Response, Tunnel};

/// Pieces up to this size are copied behind the head, so that they leave in its write and its TLS record.
const COALESCE: usize = 8 * 1024;

/// What of the request decides how its answer is framed.
#[derive(Clone, Copy)]
pub(super) struct Request {
    head_only: bool,
    http10: bool,
    keep_alive: bool,
    trailers: bool,
}

impl Request {
    pub(super) fn of(head: &RequestHead) -> Request {
        Request {
            head_only: head.method == Method::HEAD,
            http10: head.version == Version::HTTP_10,
            keep_alive: head.keep_alive,
            trailers: head.trailers,
        }
    }

    /// The request that could not be read.
    pub(super) fn unknown() -> Request {
        Request { head_only: false, http10: false, keep_alive: false, trailers: false }
    }
}

/// What becomes of the connection.
pub(super) enum Ending {
    KeepAlive,
    Close,
    /// The answer was cut short: the caller must not take it for whole.
    Abort,
    Tunnel(Tunnel),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

pub(super) async fn write_answer(
    connection: &Rc<RefCell<Connection>>,
    request: Request,
    outbound: Outbound,
    dog: &mut Watchdog,
    idle: Duration,
    ear: &Ear,
) -> Ending {
    let Outbound { response: Response { status, headers, body }, tunnel, close } = outbound;
    let coding = coding(status, &body, request, tunnel.is_some());
    // A body that the caller is still sending into a finished answer will not be read, but for a little: say so.
    let rest = connection.borrow().rest();
    let unread = rest == Rest::Failed || (rest == Rest::Much && !matches!(body, Body::Stream(_)));
    let last = ear.word() >= Word::Last;
    let close = close || !request.keep_alive || last || unread || coding == Coding::UntilClose;

    let mut out = Lent::take();
    out.extend_from_slice(&connection.borrow_mut().begin_answer());
    write_head(&mut out, status, &headers, coding, close && tunnel.is_none(), request);
    // Its fields lie in what was read with the agency's head: not for as long as the body takes.
    drop(headers);
    let mut writer = Writer { out, direct: Bytes::new(), chunk_open: false };
    if let Some(tunnel) = tunnel {
        let flushed = flush(connection, &mut writer, dog, idle).await;
        return if flushed { Ending::Tunnel(tunnel) } else { Ending::Abort };
    }
    let whole = match coding {
        Coding::None => flush(connection, &mut writer, dog, idle).await,
        _ => send_body(connection, &mut writer, body, coding, request.trailers, dog, idle).await,
    };
    match whole {
        false if coding == Coding::UntilClose => {
            // Here the end of the connection would be taken for the end of the body.
            connection.borrow_mut().wire.io.reset_on_drop();
            Ending::Abort
        }
        false => Ending::Abort,
        true if close || matches!(connection.borrow().rest(), Rest::Much | Rest::Failed) => Ending::Close,
        true => Ending::KeepAlive,
    }
}

fn coding(status: StatusCode, body: &Body, request: Request, tunnel: bool) -> Coding {
    let bodiless = tunnel
        || request.head_only
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
        || status.is_informational();
    match body.size_hint().exact() {
        _ if bodiless => Coding::None,
        Some(length) => Coding::Length(length),
        None if request.http10 => Coding::UntilClose,
        None => Coding::Chunked,
    }
}

fn write_head(out: &mut BytesMut, status: StatusCode, headers: &Fields, coding: Coding, close: bool, request: Request) {
    write_status_line(out, status);
    let mut dated = false;
    for (name, value) in headers.iter() {
        dated |= *name == header::DATE;
        // The framing is ours to say; the length of an answer that has no body here (HEAD, 304) is the agency's.
        let ours = *name == header::TRANSFER_ENCODING
            || (*name == header::CONNECTION && status != StatusCode::SWITCHING_PROTOCOLS)
            || (*name == header::CONTENT_LENGTH && coding != Coding::None);
        if !ours {
            write_field(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    match coding {
        Coding::Length(length) => {
            out.put_slice(b"content-length: ");
            write_decimal(out, length);
            out.put_slice(b"\r\n");
        }
        Coding::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
        Coding::None | Coding::UntilClose => {}
    }
    if !dated {
        write_field(out, b"date", date::now().as_bytes());
    }
    if close {
        out.put_slice(b"connection: close\r\n");
    } else if request.http10 && request.keep_alive {
        out.put_slice(b"connection: keep-alive\r\n");
    }
    out.put_slice(b"\r\n");
}

pub(super) fn write_interim(out: &mut BytesMut, status: StatusCode, headers: &Fields) {
    write_status_line(out, status);
    write_fields(out, headers.iter());
    out.put_slice(b"\r\n");
}

/// What is on its way to the socket: `out`, then `direct`, then the line end of a chunk.
struct Writer {
    out: Lent,
    direct: Bytes,
    chunk_open: bool,
}

impl Writer {
    fn poll_flush(&mut self, cx: &mut Context<'_>, connection: &RefCell<Connection>) -> Poll<io::Result<()>> {
        let polled = self.poll_write(cx, connection);
        if polled.is_pending() {
            self.out.settle();
        }
        polled
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, connection: &RefCell<Connection>) -> Poll<io::Result<()>> {
        let wire = &mut connection.borrow_mut().wire;
        loop {
            // Also when it is empty: what TLS took of the last piece must leave too, or the caller waits for it for ever.
            ready!(wire.poll_write_all(cx, &mut *self.out))?;
            if self.direct.has_remaining() {
                let written = wire.poll_write_all(cx, &mut self.direct)?;
                // What TLS has taken it holds by itself, while the caller does not read.
                if self.direct.is_empty() {
                    self.direct = Bytes::new();
                }
                ready!(written);
            }
            if !std::mem::take(&mut self.chunk_open) {
                return Poll::Ready(Ok(()));
            }
            self.out.put_slice(b"\r\n");
        }
    }

    /// Takes a piece of the body. True when it must be flushed before the next.
    fn put(&mut self, data: Bytes, chunked: bool) -> bool {
        if data.is_empty() {
            return false;
        }
        self.out.ready();
        if chunked {
            chunked::write_size(&mut self.out, data.len());
        }
        if data.len() <= COALESCE {
            self.out.extend_from_slice(&data);
            if chunked {
                self.out.put_slice(b"\r\n");
            }
        } else {
            self.direct = data;
            self.chunk_open = chunked;
        }
        self.out.len() + self.direct.len() >= COALESCE
    }
}

/// True when all of it has left.
async fn flush(connection: &RefCell<Connection>, writer: &mut Writer, dog: &mut Watchdog, idle: Duration) -> bool {
    let mut blocked = false;
    poll_fn(|cx| match writer.poll_flush(cx, connection) {
        Poll::Ready(flushed) => Poll::Ready(flushed.is_ok()),
        Poll::Pending => poll_blocked(cx, &mut blocked, dog, idle),
    })
    .await
}

/// True when the body was sent whole.
async fn send_body(
    connection: &RefCell<Connection>,
    writer: &mut Writer,
    mut body: Body,
    coding: Coding,
    trailers: bool,
    dog: &mut Watchdog,
    idle: Duration,
) -> bool {
    let mut left = if let Coding::Length(length) = coding { length } else { 0 };
    let (mut must_flush, mut ended, mut blocked) = (false, false, false);
    poll_fn(|cx| {
        loop {
            if must_flush || ended {
                match writer.poll_flush(cx, connection) {
                    Poll::Ready(Ok(())) if ended => return Poll::Ready(left == 0),
                    Poll::Ready(Ok(())) => (must_flush, blocked) = (false, false),
                    Poll::Ready(Err(_)) => return Poll::Ready(false),
                    Poll::Pending => return poll_blocked(cx, &mut blocked, dog, idle),
                }
            }
            match Pin::new(&mut body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match take(writer, frame, coding, trailers, &mut left) {
                    Some(taken) => (must_flush, ended) = taken,
                    None => return Poll::Ready(false),
                },
                Poll::Ready(None) => {
                    if coding == Coding::Chunked {
                        chunked::write_end(&mut writer.out, None);
                    }
                    ended = true;
                }
                Poll::Ready(Some(Err(_))) => {
                    // What came before the break still goes out; the missing end tells the caller (RFC 9112 §8).
                    let _ = writer.poll_flush(cx, connection);
                    return Poll::Ready(false);
                }
                // Nothing of the body is there: what we hold leaves now, and a caller who hung up is noticed.
                Poll::Pending => match writer.poll_flush(cx, connection) {
                    Poll::Ready(Ok(())) => {
                        blocked = false;
                        writer.out.settle();
                        return poll_hangup(cx, connection);
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(false),
                    Poll::Pending => return poll_blocked(cx, &mut blocked, dog, idle),
                },
            }
        }
    })
    .await
}

/// A caller who does not read: after the limit the answer is cut.
fn poll_blocked(cx: &mut Context<'_>, blocked: &mut bool, dog: &mut Watchdog, idle: Duration) -> Poll<bool> {
    if !std::mem::replace(blocked, true) {
        dog.set(idle);
    }
    dog.poll(cx).map(|()| false)
}

fn poll_hangup(cx: &mut Context<'_>, connection: &RefCell<Connection>) -> Poll<bool> {
    let state = &mut *connection.borrow_mut();
    if state.body_is_done() { state.poll_hangup(cx, super::PIPELINE).map(|()| false) } else { Poll::Pending }
}

/// Takes a frame: (it must be flushed, it was the last). `None` when the body is longer than its length.
fn take(
    writer: &mut Writer,
    frame: Frame<Bytes>,
    coding: Coding,
    trailers: bool,
    left: &mut u64,
) -> Option<(bool, bool)> {
    match frame.into_data() {
        Ok(data) => {
            if let Coding::Length(_) = coding {
                *left = left.checked_sub(data.len() as u64)?;
            }
            let must_flush = writer.put(data, coding == Coding::Chunked);
            Some((must_flush, matches!(coding, Coding::Length(_)) && *left == 0))
        }
        Err(frame) => {
            if coding != Coding::Chunked {
                return Some((false, true));
            }
            let fields = frame.into_trailers().ok().filter(|_| trailers);
            chunked::write_end(&mut writer.out, fields.as_ref());
            Some((true, true))
        }
    }
}
