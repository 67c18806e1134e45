//! One exchange with an agency over HTTP/2: a stream of a shared connection.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::{self, ResponseFuture, SendRequest};
use h2::{Ping, Reason, RecvStream};
use http::header;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Method, Request, StatusCode, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::duplex::StreamIo;
use super::piece::Piece;
use super::receive::Receiving;
use super::send::{SendError, Sending};
use crate::body::{Body, BodyError};
use crate::fields::Fields;
use crate::http1::client::{Failure, Outgoing, Patience};
use crate::http1::transport::Transport;
use crate::http1::watchdog::Watchdog;
use crate::message::{Guard, Interim};

const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
const HEADER_LIST: u32 = 64 * 1024;
const INTERIM_ANSWERS: u32 = 32;

/// A connection to an agency; cheap to clone, shared by the worker's requests.
pub type Handle = SendRequest<Piece>;

/// Speaks HTTP/2 over `io`; the connection runs as a local task until it closes. `settled`: wait for the agency's settings,
/// which alone say whether it takes extended CONNECT. `counted` is kept as long as the connection is open.
pub async fn handshake(io: Transport, settled: bool, counted: Guard) -> Result<Handle, h2::Error> {
    let (handle, mut connection) = client::Builder::new()
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_LIST)
        .handshake(io)
        .await?;
    let ping = connection.ping_pong();
    tokio::task::spawn_local(async move {
        // How it ended is told to each stream.
        let _ = connection.await;
        drop(counted);
    });
    // RFC 9113 §3.4: SETTINGS come first, so they are here once a ping is answered.
    if let (true, Some(mut ping)) = (settled, ping) {
        ping.ping(Ping::opaque()).await?;
    }
    Ok(handle)
}

/// A head, and the stream behind it.
pub struct Answer {
    pub status: StatusCode,
    pub headers: Fields,
    pub body: AnswerBody,
}

/// Sends the request and waits for the head of its answer. `protocol`: extended CONNECT (RFC 8441).
pub async fn exchange(
    handle: Handle,
    request: &Outgoing,
    body: Body,
    scheme: Scheme,
    patience: Patience,
    interim: &Interim,
) -> Result<Answer, Failure> {
    let mut dog = Watchdog::new(patience.response);
    let mut handle = ready(handle, &mut dog).await?;
    let head = head(request, scheme)?;
    let end = body.is_end_stream();
    let (mut response, send) = handle.send_request(head, end).map_err(|_| refused(false))?;
    let mut sending = if end { Sending::ended(send) } else { Sending::new(send, body) };
    let mut informed = 0;
    let answer = poll_fn(|cx| {
        if let Poll::Ready(Err(SendError::Body(error))) = sending.poll(cx) {
            return Poll::Ready(Err(Failure::RequestBody(error)));
        }
        if let Some(at) = sending.take_progress() {
            dog.stay_until(at + patience.response);
        }
        if let Err(failure) = pass_interim(cx, &mut response, interim, &mut informed) {
            return Poll::Ready(Err(failure));
        }
        match Pin::new(&mut response).poll(cx) {
            Poll::Ready(Ok(answer)) => Poll::Ready(Ok(answer)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(broke(&error))),
            Poll::Pending => dog.poll(cx).map(|()| Err(Failure::of_silence(sending.awaits_body()))),
        }
    })
    .await;
    match answer {
        Ok(answer) => {
            let (parts, stream) = answer.into_parts();
            let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|l| l.to_str().ok()?.parse().ok());
            let length = if request.method == Method::HEAD { Some(0) } else { length };
            let receiving = Receiving::from_agency(stream, length, patience.idle);
            Ok(Answer { status: parts.status, headers: parts.headers.into(), body: AnswerBody { receiving, sending } })
        }
        Err(failure) => {
            sending.reset(Reason::CANCEL);
            Err(failure)
        }
    }
}

use std::future::Future;

async fn ready(mut handle: Handle, dog: &mut Watchdog) -> Result<Handle, Failure> {
    poll_fn(|cx| match handle.poll_ready(cx) {
        Poll::Ready(ready) => Poll::Ready(ready.map_err(|_| refused(false))),
        Poll::Pending => dog.poll(cx).map(|()| Err(Failure::TimedOut)),
    })
    .await?;
    Ok(handle)
}

fn head(request: &Outgoing, scheme: Scheme) -> Result<Request<()>, Failure> {
    let host = request.headers.get(header::HOST).map_or(&b"localhost"[..], |h| h.as_bytes());
    let unsayable = |_| Failure::Unsayable("the request cannot be said in HTTP/2");
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(scheme);
    uri.authority = Some(Authority::try_from(host).map_err(unsayable)?);
    uri.path_and_query = Some(PathAndQuery::from_maybe_shared(escaped(&request.target)).map_err(unsayable)?);
    let mut head = Request::new(());
    *head.method_mut() = request.method.clone();
    *head.version_mut() = Version::HTTP_2;
    *head.uri_mut() = Uri::from_parts(uri).map_err(|_| Failure::Unsayable("the request cannot be said in HTTP/2"))?;
    *head.headers_mut() = request.fields().into();
    head.headers_mut().remove(header::HOST);
    Ok(head)
}

/// What no URI holds raw (RFC 3986 §3.4) but HTTP/1.1 callers send in queries, escaped: HTTP/2 has no other way to say it.
fn escaped(target: &Bytes) -> Bytes {
    let foreign = |b: &u8| matches!(b, b'"' | b'<' | b'>');
    if !target.iter().any(foreign) {
        return target.clone();
    }
    let mut out = Vec::with_capacity(target.len() + 16);
    for byte in target {
        match byte {
            b'"' => out.extend_from_slice(b"%22"),
            b'<' => out.extend_from_slice(b"%3C"),
            b'>' => out.extend_from_slice(b"%3E"),
            plain => out.push(*plain),
        }
    }
    out.into()
}

fn pass_interim(
    cx: &mut Context<'_>,
    response: &mut ResponseFuture,
    interim: &Interim,
    informed: &mut u32,
) -> Result<(), Failure> {
    while let Poll::Ready(Some(Ok(head))) = response.poll_informational(cx) {
        *informed += 1;
        if *informed > INTERIM_ANSWERS {
            return Err(Failure::Malformed("too many 1xx answers"));
        }
        if head.status() != StatusCode::CONTINUE {
            interim.send(head.status(), head.headers().clone().into());
        }
    }
    Ok(())
}

const fn refused(sent: bool) -> Failure {
    Failure::Broke { sent, answered: false }
}

/// RFC 9113 §8.7: REFUSED_STREAM, and a stream above GOAWAY's last, were not processed: safe to send again.
fn broke(error: &h2::Error) -> Failure {
    let disowned = error.is_go_away() && error.is_remote();
    let unprocessed = disowned || error.reason() == Some(Reason::REFUSED_STREAM);
    if error.is_reset() && error.reason() == Some(Reason::PROTOCOL_ERROR) {
        return Failure::Malformed("the answer is malformed");
    }
    refused(!unprocessed)
}

/// The answer's body, with what is left of the request's.
pub struct AnswerBody {
    receiving: Receiving,
    sending: Sending,
}

impl AnswerBody {
    /// For an extended CONNECT that was accepted: the stream's two directions as bytes.
    pub fn is_end(&self) -> bool {
        self.receiving.is_end_stream()
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Poll::Ready(Err(SendError::Body(error))) = this.sending.poll(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        if let Some(at) = this.sending.take_progress() {
            this.receiving.stay_from(at);
        }
        Pin::new(&mut this.receiving).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.receiving.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.receiving.size_hint()
    }
}

impl Drop for AnswerBody {
    /// A caller who left: the agency learns it by RST_STREAM.
    fn drop(&mut self) {
        if !self.sending.is_done() {
            self.sending.reset(Reason::CANCEL);
        }
    }
}

/// Extended CONNECT towards an agency (RFC 8441): the stream as bytes, or the agency's refusal.
pub async fn connect(
    handle: Handle,
    request: &Outgoing,
    scheme: Scheme,
    protocol: &str,
    patience: Patience,
) -> Result<Result<(Fields, StreamIo), http::Response<RecvStream>>, Failure> {
    let mut dog = Watchdog::new(patience.response);
    let mut handle = ready(handle, &mut dog).await?;
    if !handle.is_extended_connect_protocol_enabled() {
        return Err(Failure::Unsayable("the agency does not take extended CONNECT"));
    }
    let mut head = head(request, scheme)?;
    *head.method_mut() = Method::CONNECT;
    head.extensions_mut().insert(h2::ext::Protocol::from(protocol));
    let (mut response, send) = handle.send_request(head, false).map_err(|_| refused(false))?;
    let answer = poll_fn(|cx| match Pin::new(&mut response).poll(cx) {
        Poll::Ready(answer) => Poll::Ready(answer.map_err(|error| broke(&error))),
        Poll::Pending => dog.poll(cx).map(|()| Err(Failure::TimedOut)),
    })
    .await?;
    if answer.status() != StatusCode::OK {
        return Ok(Err(answer));
    }
    let (parts, receive) = answer.into_parts();
    Ok(Ok((parts.headers.into(), StreamIo::new(send, receive))))
}
