//! A body on its way into a stream, no faster than the other side reads (RFC 9113 §5.2).

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body as _;

use crate::body::{Body, BodyError};

/// How sending ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The other side reset the stream or closed the connection.
    Peer,
    /// The body itself failed; the stream was reset, so that it is not taken for whole.
    Body(BodyError),
}

pub struct Sending {
    stream: SendStream<Bytes>,
    body: Body,
    pending: Bytes,
    done: bool,
    progress: bool,
}

impl Sending {
    pub fn new(stream: SendStream<Bytes>, body: Body) -> Sending {
        Sending { stream, body, pending: Bytes::new(), done: false, progress: false }
    }

    /// Nothing to send: the stream was ended with its head.
    pub fn ended(stream: SendStream<Bytes>) -> Sending {
        Sending { done: true, ..Sending::new(stream, Body::Empty) }
    }

    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Bytes were taken by the other side's window since this was last asked.
    pub fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.progress)
    }

    pub fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }

    /// True while bytes wait for the other side's window.
    pub fn is_blocked(&self) -> bool {
        !self.pending.is_empty()
    }

    /// All that the body has brought has left, and there is more to come.
    pub fn awaits_body(&self) -> bool {
        !self.done && !self.is_blocked()
    }

    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        loop {
            if self.done {
                return Poll::Ready(Ok(()));
            }
            if !self.pending.is_empty() {
                ready!(self.poll_pending(cx))?;
                continue;
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.pending = data,
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        self.done = true;
                        return Poll::Ready(self.stream.send_trailers(trailers).map_err(|_| SendError::Peer));
                    }
                },
                Poll::Ready(None) => {
                    self.done = true;
                    return Poll::Ready(self.stream.send_data(Bytes::new(), true).map_err(|_| SendError::Peer));
                }
                Poll::Ready(Some(Err(error))) => {
                    self.stream.send_reset(reason(error));
                    return Poll::Ready(Err(SendError::Body(error)));
                }
                Poll::Pending => {
                    return match self.stream.poll_reset(cx) {
                        Poll::Ready(_) => Poll::Ready(Err(SendError::Peer)),
                        Poll::Pending => Poll::Pending,
                    };
                }
            }
        }
    }

    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.stream.reserve_capacity(self.pending.len());
        while self.stream.capacity() == 0 {
            if self.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(Err(SendError::Peer));
            }
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(SendError::Peer)),
            }
        }
        let window = self.stream.capacity().min(self.pending.len());
        // Whole, nothing of it is kept here: what is left of a split still holds the buffer it lies in.
        let whole = window == self.pending.len();
        let piece = if whole { std::mem::take(&mut self.pending) } else { self.pending.split_to(window) };
        self.progress = true;
        // The last piece of a body that knows its end carries END_STREAM: one frame fewer.
        let end = self.pending.is_empty() && self.body.is_end_stream();
        self.done = end;
        Poll::Ready(self.stream.send_data(piece, end).map_err(|_| SendError::Peer))
    }
}

fn reason(error: BodyError) -> Reason {
    match error {
        BodyError::ClientGone | BodyError::ClientMalformed => Reason::CANCEL,
        BodyError::TooLarge => Reason::REFUSED_STREAM,
        _ => Reason::INTERNAL_ERROR,
    }
}
