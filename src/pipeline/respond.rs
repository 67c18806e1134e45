//! From an agency's reply, or a refusal, to what the caller gets.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderValue};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::refusal::Refusal;
use super::session::End;
use crate::answer::cors::CompiledCors;
use crate::answer::{Notice, X_GATEWAY_ERROR, manner, render, say_id};
use crate::auth::Requirement;
use crate::balance::Lease;
use crate::body::{Body, BodyError};
use crate::closing::Ear;
use crate::config::model::Contact;
use crate::fields::{self, Fields};
use crate::forward::headers::is_event_stream;
use crate::forward::{self, Reply};
use crate::limit::body::Counter;
use crate::live::snapshot::Fate;
use crate::login;
use crate::message::{Outbound, Response, Tunnel, TunnelGuard};
use crate::observe::Record;
use crate::observe::tally::count;
use crate::words::{Code, RequestId, Scheme};

/// What an answer needs to know of its request.
pub struct Asked<'a> {
    pub method: &'a Method,
    pub headers: &'a Fields,
    pub scheme: Scheme,
    /// The listener's name: the `realm` of challenges.
    pub realm: &'a str,
    pub requirement: Option<&'a Requirement>,
    pub cors: Option<&'a CompiledCors>,
    pub contact: &'a Contact,
}

/// A year (SEC; RFC 6797 §6.1.1).
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Passes the agency's reply on, whose head came at `answered`. The record is closed at the end of the body.
pub fn relay(
    reply: Reply,
    answered: Instant,
    asked: &Asked<'_>,
    mut record: Record,
    bytes_in: Counter,
    lasting: impl FnOnce() -> Lasting,
) -> Outbound {
    let Reply { status, headers, body, tunnel } = reply;
    let mut response = Response { status, headers, body: Body::Empty };
    let headers = &mut response.headers;
    say_id(headers, &record.request_id);
    if asked.scheme == Scheme::Https && !headers.contains_key(header::STRICT_TRANSPORT_SECURITY) {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
    if let Some(cors) = asked.cors {
        cors.mark(asked.headers, headers);
    }
    record.status = status.as_u16();
    record.bytes_in = bytes_in.get();
    if let Some((io, lease)) = tunnel {
        count(&record.books().tally.tunnels);
        let lasting = lasting();
        let idle = lasting.idle;
        let guard = Box::new(Carried { record, _lease: lease, lasting });
        return Outbound { response, tunnel: Some(Tunnel { io, idle, guard }), close: false };
    }
    // Every other answer is finished on the plan it began with.
    let lasting = is_event_stream(&response.headers).then(lasting);
    response.body = match body {
        Body::Stream(_) => Body::stream(Recorded { body, record: Some(record), bytes_in, lasting }),
        whole => {
            record.bytes_out = whole.size_hint().lower();
            record.ended = Some(answered);
            whole
        }
    };
    response.into()
}

/// Answers a refusal in the caller's own dress and language.
pub fn refuse(refusal: &Refusal, asked: &Asked<'_>, mut record: Record) -> Outbound {
    let code = refusal.code();
    let response = dress(refusal, asked, record.request_id);
    record.code = Some(code);
    // What the reason stands for; a gRPC caller is told it inside a 200.
    record.status = if refusal.redirect().is_some() { response.status.as_u16() } else { code.status() };
    record.bytes_out = response.body.size_hint().lower();
    Outbound { response, tunnel: None, close: refusal.closes() }
}

/// A refusal as the caller gets it.
pub fn dress(refusal: &Refusal, asked: &Asked<'_>, request_id: RequestId) -> Response {
    let notice = Notice {
        code: refusal.code(),
        detail: refusal.detail(),
        request_id,
        contact: asked.contact,
        link: refusal.link(),
    };
    let mut response = match refusal.redirect() {
        Some(location) => redirect(location, &notice),
        None => render(&notice, manner(asked.method, asked.headers)),
    };
    let headers = &mut response.headers;
    refusal.add_fields(asked.realm, asked.requirement, headers);
    if asked.scheme == Scheme::Https {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
    if let Some(cors) = asked.cors {
        cors.mark(asked.headers, headers);
    }
    response
}

/// Sends one of the gateway's own pages. HEAD gets its head (RFC 9110 section 9.3.2).
pub fn own(mut response: Response, method: &Method, scheme: Scheme, mut record: Record) -> Outbound {
    let headers = &mut response.headers;
    say_id(headers, &record.request_id);
    if scheme == Scheme::Https {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
    record.status = response.status.as_u16();
    let said = response.headers.get(X_GATEWAY_ERROR).map(HeaderValue::as_bytes);
    record.code = said.and_then(|said| Code::ALL.iter().find(|code| code.as_str().as_bytes() == said)).copied();
    if *method == Method::HEAD {
        let length = response.body.size_hint().lower();
        response.headers.insert(header::CONTENT_LENGTH, length.into());
        response.body = Body::Empty;
    }
    record.bytes_out = response.body.size_hint().lower();
    response.into()
}

/// To where the caller can log in. It says why, for a log or a script that reads it.
fn redirect(location: &str, notice: &Notice<'_>) -> Response {
    let mut response = login::see_other(location);
    let headers = &mut response.headers;
    headers.insert(X_GATEWAY_ERROR, HeaderValue::from_static(notice.code.as_str()));
    say_id(headers, &notice.request_id);
    response
}

/// What ends a stream that would go on for hours: its route is gone, or asks more than it did.
pub struct Lasting {
    pub fate: Fate,
    /// Hears when another snapshot is in force.
    pub ear: Ear,
    pub idle: Duration,
    /// Comes when the session or token that opened it has ended, and its grace is over.
    pub end: Option<End>,
}

impl Lasting {
    /// True once the stream may not go on; wakes the task of `cx` when that changes.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> bool {
        self.ear.poll(cx);
        self.fate.is_ended() || self.end.as_mut().is_some_and(|end| end.as_mut().poll(cx).is_ready())
    }
}

/// An answer's body with the record of its request, closed where the body ends or is dropped.
struct Recorded {
    body: Body,
    record: Option<Record>,
    bytes_in: Counter,
    lasting: Option<Lasting>,
}

impl Recorded {
    fn end(&mut self, failed: Option<BodyError>) {
        if let Some(mut record) = self.record.take() {
            record.bytes_in = self.bytes_in.get();
            record.cut = failed.is_some();
            record.code = failed.and_then(|error| match error {
                BodyError::UpstreamTruncated => Some(Code::UpstreamBroke),
                BodyError::UpstreamTimeout => Some(Code::UpstreamTimeout),
                _ => None,
            });
        }
    }
}

impl HttpBody for Recorded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.lasting.as_mut().is_some_and(|lasting| lasting.poll_end(cx)) {
            self.body = Body::Empty;
            if let Some(record) = &self.record {
                count(&record.books().tally.streams_ended);
            }
            self.lasting = None;
        }
        let mut polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
        {
            fields::in_map(trailers, forward::headers::clean_bodiless);
        }
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(data), Some(record)) = (frame.data_ref(), &mut self.record) {
                    record.bytes_out += data.len() as u64;
                }
                if self.body.is_end_stream() {
                    self.end(None);
                }
            }
            Poll::Ready(Some(Err(error))) => self.end(Some(*error)),
            Poll::Ready(None) => self.end(None),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Recorded {
    /// The caller left before the end.
    fn drop(&mut self) {
        if let Some(mut record) = self.record.take() {
            record.bytes_in = self.bytes_in.get();
            // An HTTP/2 agency may say by a frame of its own that nothing comes behind the last byte.
            record.cut = !self.body.is_end_stream() && self.body.size_hint().exact() != Some(0);
        }
    }
}

/// A tunnel's record and its place at the endpoint.
struct Carried {
    record: Record,
    _lease: Lease,
    lasting: Lasting,
}

impl TunnelGuard for Carried {
    fn poll_end(&mut self, cx: &mut Context<'_>) -> bool {
        let ended = self.lasting.poll_end(cx);
        if ended {
            count(&self.record.books().tally.streams_ended);
        }
        ended
    }

    fn carried(&mut self, up: u64, down: u64) {
        self.record.bytes_in = up;
        self.record.bytes_out = down;
    }
}
