//! The request on its way out: its head, then its body as the caller sends it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use http_body::Body as _;

use super::{Outgoing, write_head};
use crate::body::{Body, BodyError};
use crate::http1::chunked;
use crate::http1::lent::Lent;
use crate::http1::transport::Wire;

/// Pieces up to this size leave together with the head.
const COALESCE: usize = 8 * 1024;

#[derive(Debug)]
pub(super) struct Upload {
    out: Lent,
    direct: Bytes,
    chunk_open: bool,
    body: Body,
    chunked: bool,
    upgrade: bool,
    state: State,
    sent: bool,
    progress: bool,
    starved: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Sending,
    /// Everything is in `out`.
    Ending,
    Done,
    /// The agency closed its reading side. Its answer may still be there to read (an early 413, say).
    Refused,
}

impl Upload {
    pub(super) fn new(request: &Outgoing, body: Body) -> Upload {
        let (out, chunked) = write_head(request, &body);
        Upload {
            out,
            direct: Bytes::new(),
            chunk_open: false,
            body,
            chunked,
            upgrade: request.upgrade,
            state: State::Sending,
            sent: false,
            // The limits of an exchange begin with it.
            progress: true,
            starved: false,
        }
    }

    pub(super) fn has_sent(&self) -> bool {
        self.sent
    }

    pub(super) fn asked_upgrade(&self) -> bool {
        self.upgrade
    }

    /// The request was sent whole: the connection may carry another.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// It began, or bytes left, since this was last asked.
    pub(super) fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.progress)
    }

    /// All that the caller has sent has left, and there is more to come: the silence is the caller's.
    pub(super) fn awaits_caller(&self) -> bool {
        self.starved
    }

    /// Sends what can be sent now. Ready(Ok) when there is no more to do; errors are the caller's alone.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, wire: &mut Wire) -> Poll<Result<(), BodyError>> {
        let polled = self.poll_send(cx, wire);
        self.out.settle();
        polled
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, wire: &mut Wire) -> Poll<Result<(), BodyError>> {
        self.starved = false;
        loop {
            match self.state {
                State::Done | State::Refused => return Poll::Ready(Ok(())),
                State::Sending => {
                    // What is left of a large piece goes first, or the next would overtake it.
                    if self.out.len() < COALESCE && self.direct.is_empty() && !self.chunk_open {
                        match Pin::new(&mut self.body).poll_frame(cx) {
                            Poll::Ready(Some(Ok(frame))) => {
                                self.take(frame);
                                continue;
                            }
                            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                            Poll::Ready(None) => {
                                if self.chunked {
                                    chunked::write_end(&mut self.out, None);
                                }
                                self.state = State::Ending;
                                continue;
                            }
                            // What TLS has taken may be on its way still.
                            Poll::Pending if self.out.is_empty() => match self.poll_flush(cx, wire) {
                                Poll::Pending => return Poll::Pending,
                                Poll::Ready(true) => {
                                    self.starved = true;
                                    return Poll::Pending;
                                }
                                Poll::Ready(false) => {
                                    self.state = State::Refused;
                                    continue;
                                }
                            },
                            Poll::Pending => {}
                        }
                    }
                }
                State::Ending => {}
            }
            match self.poll_flush(cx, wire) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(false) => self.state = State::Refused,
                Poll::Ready(true) if self.state == State::Ending => self.state = State::Done,
                Poll::Ready(true) => {}
            }
        }
    }

    fn take(&mut self, frame: http_body::Frame<Bytes>) {
        self.out.ready();
        match frame.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) => {
                if self.chunked {
                    chunked::write_size(&mut self.out, data.len());
                }
                if data.len() <= COALESCE {
                    self.out.extend_from_slice(&data);
                    if self.chunked {
                        self.out.put_slice(b"\r\n");
                    }
                } else {
                    self.direct = data;
                    self.chunk_open = self.chunked;
                }
            }
            Err(frame) => {
                if let (Ok(trailers), true) = (frame.into_trailers(), self.chunked) {
                    chunked::write_end(&mut self.out, Some(&trailers));
                }
                self.state = State::Ending;
            }
        }
    }

    /// Ready(false) when the agency takes no more.
    fn poll_flush(&mut self, cx: &mut Context<'_>, wire: &mut Wire) -> Poll<bool> {
        loop {
            let before = self.out.len() + self.direct.len();
            let polled = match wire.poll_write_all(cx, &mut *self.out) {
                Poll::Ready(Ok(())) if self.direct.has_remaining() => wire.poll_write_all(cx, &mut self.direct),
                other => other,
            };
            if self.out.len() + self.direct.len() < before {
                self.sent = true;
                self.progress = true;
            }
            match polled {
                Poll::Pending => {
                    // What TLS has taken it holds by itself, while the agency does not read.
                    if self.direct.is_empty() {
                        self.direct = Bytes::new();
                    }
                    return Poll::Pending;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Ready(Ok(())) => self.direct = Bytes::new(),
            }
            if !std::mem::take(&mut self.chunk_open) {
                return Poll::Ready(true);
            }
            self.out.put_slice(b"\r\n");
        }
    }
}
