//! The life of a caller's HTTP/2 connection: streams in, answers out, and the floods that RFC 9113 allows held off (H2-1).

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::header;
use http::{Method, Request, StatusCode, Version};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};

use super::duplex::StreamIo;
use super::outlet::Outlet;
use super::piece::Piece;
use super::receive::Receiving;
use super::send::{SendError, Sending};
use crate::body::Body;
use crate::closing::{Ear, Word};
use crate::date;
use crate::fields::Fields;
use crate::http1::head::HeadFault;
use crate::http1::server::Service;
use crate::http1::tunnel;
use crate::http1::watchdog::Watchdog;
use crate::message::{Inbound, Interim, Outbound, Response, Target, Upgrade};

/// What a listener allows one connection.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub streams: u32,
    /// RFC 9113 §6.5.2: counted with 32 bytes of overhead a field.
    pub header_list: u32,
    pub header_count: usize,
    /// From accept to the first stream, and for the preface.
    pub header_time: Duration,
    pub idle: Duration,
}

/// Resets that we have not yet forgotten; beyond, the connection ends (CVE-2023-44487, CVE-2025-8671).
const RESETS: usize = 50;
/// A window that keeps one 100 ms line of 40 Mbit/s busy, and bounds what a stream may make us hold.
const STREAM_WINDOW: u32 = 512 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Of a tunnel, and of a last piece that is not waited for, on its way to the socket. Bodies have a bound of their own (`piece`).
const SEND_BUFFER: usize = 16 * 1024;
const FRAME: u32 = 16 * 1024;
/// From the last GOAWAY and the last stream to the end of a connection that does not end by itself.
const FAREWELL: Duration = Duration::from_secs(5);
/// Between the two GOAWAYs of an orderly end: requests that cross the first are served.
const CROSSING: Duration = Duration::from_secs(1);

/// How far the end of a connection has come.
#[derive(PartialEq, Eq)]
enum Leave {
    No,
    /// The caller was told to open no more streams; those that it opened before it heard are served.
    Announced,
    /// Streams that come now are turned away.
    Final,
}

/// Serves one connection to its end. Must run on a runtime that can spawn local tasks: each stream is one.
pub async fn serve<S: Service + 'static>(
    io: impl AsyncRead + AsyncWrite + Unpin,
    settings: Settings,
    service: Rc<S>,
    ear: Ear,
) {
    let (io, hold) = Outlet::new(io);
    let handshake = Builder::new()
        .max_concurrent_streams(settings.streams)
        .max_header_list_size(settings.header_list)
        .max_concurrent_reset_streams(RESETS)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(Some(RESETS))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_frame_size(FRAME)
        .enable_connect_protocol()
        .handshake::<_, Piece>(io);
    let Ok(Ok(mut connection)) = tokio::time::timeout(settings.header_time, handshake).await else { return };
    hold.gather();
    let mut dog = Watchdog::new(settings.header_time);
    // Armed only once the caller does not read.
    let mut stuck = None;
    let mut leave = Leave::No;
    let mut quiet = false;
    // A client told to go away before its first request would have come for nothing: that one it may ask first.
    let mut enough = Word::Close;
    loop {
        let accepted = poll_fn(|cx| {
            let word = ear.poll(cx);
            if leave == Leave::No && word >= enough {
                hold.announce();
                dog.set(CROSSING);
                leave = Leave::Announced;
            }
            if leave == Leave::Announced && (word >= Word::Close || dog.poll(cx).is_ready()) {
                connection.graceful_shutdown();
                leave = Leave::Final;
                quiet = false;
            }
            if let Poll::Ready(accepted) = connection.poll_accept(cx) {
                return Poll::Ready(Some(accepted));
            }
            // What all streams had to say in this turn leaves at once.
            if let Poll::Ready(Err(_)) = hold.poll_flush(cx) {
                return Poll::Ready(Some(None));
            }
            if let Some(since) = hold.blocked_since() {
                let stuck = stuck.get_or_insert_with(|| Watchdog::new(settings.idle));
                stuck.set_at(since + settings.idle);
                if stuck.poll(cx).is_ready() {
                    return Poll::Ready(Some(None));
                }
            }
            if connection.has_streams() {
                quiet = false;
            } else if leave != Leave::Announced {
                if !std::mem::replace(&mut quiet, true) {
                    dog.set(if leave == Leave::No { settings.idle } else { FAREWELL });
                }
                if dog.poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
            }
            Poll::Pending
        })
        .await;
        match accepted {
            Some(Some(Ok((request, respond)))) => {
                enough = Word::Last;
                // Boxed: the runtime moves what it runs several times.
                tokio::task::spawn_local(Box::pin(stream(request, respond, service.clone(), settings)));
            }
            Some(Some(Err(_)) | None) => return,
            // `h2` waits for the answer to a PING for as long as it takes, and some never give it.
            None if leave == Leave::Final => return,
            None => {
                leave = Leave::Final;
                quiet = false;
                connection.graceful_shutdown();
            }
        }
    }
}

async fn stream<S: Service>(
    request: Request<RecvStream>,
    mut respond: SendResponse<Piece>,
    service: Rc<S>,
    settings: Settings,
) {
    let head_only = request.method() == Method::HEAD;
    let (inbound, receive) = match inbound(request, settings) {
        Ok(inbound) => inbound,
        Err(fault) => {
            answer(respond, service.refuse(fault), head_only, None, settings).await;
            return;
        }
    };
    let interim = inbound.interim.clone();
    let mut call = service.call(inbound);
    let outbound = poll_fn(|cx| {
        let polled = Pin::new(&mut call).poll(cx);
        while let Some((status, headers)) = interim.take() {
            let _ = respond.send_informational(head(status, headers));
        }
        if let Poll::Ready(outbound) = polled {
            return Poll::Ready(Some(outbound));
        }
        interim.notify(cx.waker());
        respond.poll_reset(cx).map(|_| None)
    })
    .await;
    // A caller who reset the stream: this cancels the exchange with the agency. And an answer may take long.
    drop(call);
    if let Some(outbound) = outbound {
        answer(respond, outbound, head_only, receive, settings).await;
    }
}

fn head(status: StatusCode, fields: Fields) -> http::Response<()> {
    let mut head = http::Response::new(());
    *head.status_mut() = status;
    *head.headers_mut() = fields.into();
    head
}

type Taken = (Inbound, Option<RecvStream>);

fn inbound(request: Request<RecvStream>, settings: Settings) -> Result<Taken, HeadFault> {
    let (mut parts, stream) = request.into_parts();
    if parts.headers.len() > settings.header_count {
        return Err(HeadFault::TooLarge);
    }
    let protocol = parts.extensions.remove::<h2::ext::Protocol>();
    let mut fields = Fields::from(std::mem::take(&mut parts.headers));
    join_cookies(&mut fields);
    let authority = parts.uri.authority().map(|a| Bytes::copy_from_slice(a.as_str().as_bytes()));
    let target = match parts.uri.path_and_query() {
        Some(path) if path.as_str() == "*" && parts.method == Method::OPTIONS => Target::Asterisk,
        Some(path) if path.as_str().starts_with('/') => {
            Target::Origin { path_and_query: Bytes::copy_from_slice(path.as_str().as_bytes()), authority }
        }
        None if parts.method == Method::CONNECT && protocol.is_none() => Target::Authority,
        _ => return Err(HeadFault::Malformed("the :path is malformed")),
    };
    if parts.method == Method::CONNECT && protocol.is_none() {
        return Ok((taken(parts.method, fields, Target::Authority, Body::Empty, Upgrade::No), None));
    }
    if let Some(protocol) = protocol {
        // RFC 8441 §4: what HTTP/1.1 asks with GET and Upgrade. Routes see it as the GET it is.
        parts.method = Method::GET;
        let upgrade = Upgrade::ExtendedConnect(Bytes::copy_from_slice(protocol.as_str().as_bytes()));
        return Ok((taken(parts.method, fields, target, Body::Empty, upgrade), Some(stream)));
    }
    let length = content_length(&fields)?;
    let body = match stream.is_end_stream() {
        true => Body::Empty,
        false => Body::stream(Receiving::from_client(stream, length, settings.idle)),
    };
    Ok((taken(parts.method, fields, target, body, Upgrade::No), None))
}

fn taken(method: Method, headers: Fields, target: Target, body: Body, upgrade: Upgrade) -> Inbound {
    Inbound { method, target, version: Version::HTTP_2, headers, body, interim: Interim::queue(), upgrade }
}

/// SM-3 over HTTP/2. That DATA adds up to the length is checked by `h2` (RFC 9113 §8.1.1).
fn content_length(headers: &Fields) -> Result<Option<u64>, HeadFault> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH);
    let Some(length) = lengths.next() else { return Ok(None) };
    let digits = length.as_bytes();
    let plain = !digits.is_empty() && digits.len() < 20 && digits.iter().all(u8::is_ascii_digit);
    match (plain, lengths.next(), length.to_str().map(str::parse)) {
        (true, None, Ok(Ok(length))) => Ok(Some(length)),
        _ => Err(HeadFault::Malformed("Content-Length is not one number")),
    }
}

/// RFC 9113 §8.2.3: crumbs are one cookie string again before they go anywhere that is not HTTP/2.
fn join_cookies(headers: &mut Fields) {
    let mut crumbs = headers.get_all(header::COOKIE);
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    if let Ok(cookie) = http::HeaderValue::from_maybe_shared(Bytes::from(joined)) {
        headers.insert(header::COOKIE, cookie);
    }
}

async fn answer(
    mut respond: SendResponse<Piece>,
    outbound: Outbound,
    head_only: bool,
    receive: Option<RecvStream>,
    settings: Settings,
) {
    let Response { status, mut headers, body } = outbound.response;
    clean(&mut headers);
    let bodiless = head_only || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if let (Some(tunnel), Some(receive)) = (outbound.tunnel, receive) {
        headers.remove(header::CONTENT_LENGTH);
        if let Ok(send) = respond.send_response(head(StatusCode::OK, headers), false) {
            tunnel::carry(&mut StreamIo::new(send, receive), bytes::BytesMut::new(), tunnel).await;
        }
        return;
    }
    if !bodiless && let Some(length) = body.size_hint().exact() {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    if !headers.contains_key(header::DATE) {
        headers.insert(header::DATE, date::now());
    }
    let end = bodiless || body.is_end_stream();
    let Ok(send) = respond.send_response(head(status, headers), end) else { return };
    if !end {
        send_body(Sending::new(send, body), settings.idle).await;
    }
}

async fn send_body(mut sending: Sending, idle: Duration) {
    let mut dog = Watchdog::new(idle);
    let ended = poll_fn(|cx: &mut Context<'_>| {
        let polled = sending.poll(cx);
        if polled.is_pending() {
            match sending.take_progress() {
                _ if !sending.is_blocked() => dog.set(idle),
                Some(at) => dog.stay_until(at + idle),
                None => {}
            }
            // A caller who does not read: after the limit the stream is reset.
            return dog.poll(cx).map(|()| Err(SendError::Peer));
        }
        polled
    })
    .await;
    if ended == Err(SendError::Peer) {
        sending.reset(Reason::CANCEL);
    }
}

/// RFC 9113 §8.2.2: fields of the connection have no place here.
fn clean(headers: &mut Fields) {
    headers.retain(|name, _| ![header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE].contains(name));
}
