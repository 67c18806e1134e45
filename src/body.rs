//! The one body type of the data path: what a request or an answer carries, on either side, over either version of HTTP.
//!
//! Floor 0. Small bodies are held by value, streams are boxed once. Bodies stay on the worker that made them (not `Send`).

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// A stream of [`Bytes`] and, at its end, trailers.
pub type Stream = Pin<Box<dyn HttpBody<Data = Bytes, Error = BodyError>>>;

#[derive(Default)]
pub enum Body {
    #[default]
    Empty,
    Full(Bytes),
    Stream(Stream),
}

/// Why a body ended before its end. It is never passed off as complete (RFC 9112 §8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyError {
    /// The client closed, reset, or broke off its upload.
    ClientGone,
    /// The client's framing is broken (RFC 9112 §7.1).
    ClientMalformed,
    /// More than the route's body limit.
    TooLarge,
    /// The client sent nothing for the idle limit.
    ClientTimeout,
    /// The agency closed or reset before the end.
    UpstreamTruncated,
    /// The agency sent nothing for the idle limit.
    UpstreamTimeout,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BodyError::ClientGone => "the client broke off",
            BodyError::ClientMalformed => "the client's body is malformed",
            BodyError::TooLarge => "the body is over the limit",
            BodyError::ClientTimeout => "the client's body stalled",
            BodyError::UpstreamTruncated => "the agency broke off",
            BodyError::UpstreamTimeout => "the agency's body stalled",
        })
    }
}

impl std::error::Error for BodyError {}

impl Body {
    pub fn full(bytes: impl Into<Bytes>) -> Body {
        let bytes = bytes.into();
        if bytes.is_empty() { Body::Empty } else { Body::Full(bytes) }
    }

    pub fn stream(stream: impl HttpBody<Data = Bytes, Error = BodyError> + 'static) -> Body {
        Body::Stream(Box::pin(stream))
    }

    /// True when it is known that nothing will come: no bytes, no trailers.
    pub fn is_empty(&self) -> bool {
        self.is_end_stream()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Body::Empty => "Body::Empty",
            Body::Full(_) => "Body::Full",
            Body::Stream(_) => "Body::Stream",
        })
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Body::Empty => Poll::Ready(None),
            Body::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Body::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Body::Stream(stream) => stream.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Full(bytes) => bytes.is_empty(),
            Body::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Stream(stream) => stream.size_hint(),
        }
    }
}
