//! The request's side of a connection: its body is read by whoever polls it, from the socket that the answer is written to.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::BodyError;
use crate::http1::chunked::{Decoder, Piece};
use crate::http1::head::Framing;
use crate::http1::transport::Wire;
use crate::http1::watchdog::Watchdog;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// The most of a body that is read past for the sake of the connection: a handshake costs both sides more.
const PASSED_OVER: u64 = 64 * 1024;

/// What the connection's loop and the request's body share, both within one task.
pub(super) struct Connection {
    pub(super) wire: Wire,
    body: BodyState,
    /// The caller waits for `100 Continue` before it sends its body.
    continue_due: bool,
    /// It waited for that, and nobody asked for the body before the answer began: it may send it yet, or not (RFC 9110 §10.1.1).
    held_back: bool,
    /// The body was polled and had nothing.
    waiting: bool,
    /// Bytes of the body came since the time limit was set.
    progress: bool,
    /// 1xx heads on their way out.
    pub(super) interim: BytesMut,
}

#[derive(Debug)]
pub(super) enum BodyState {
    Done,
    Length(u64),
    Chunked(Decoder),
    Failed(BodyError),
}

impl BodyState {
    pub(super) fn of(framing: Framing) -> BodyState {
        match framing {
            Framing::Length(length) => BodyState::Length(length),
            Framing::Chunked => BodyState::Chunked(Decoder::default()),
            Framing::Empty | Framing::UntilClose => BodyState::Done,
        }
    }
}

/// What of the body has not been read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// It came whole: the next request may follow it.
    None,
    /// It comes for certain, and is little enough to be [read past](Connection::poll_rest) once the answer is sent.
    Little,
    Much,
    Failed,
}

impl Connection {
    pub(super) fn new(wire: Wire) -> Connection {
        Connection {
            wire,
            body: BodyState::Done,
            continue_due: false,
            held_back: false,
            waiting: false,
            progress: false,
            interim: BytesMut::new(),
        }
    }

    pub(super) fn begin(&mut self, body: BodyState, continue_due: bool) {
        self.body = body;
        self.continue_due = continue_due;
        self.held_back = continue_due;
        self.waiting = false;
        self.progress = true;
    }

    pub(super) fn body_is_done(&self) -> bool {
        matches!(self.body, BodyState::Done | BodyState::Failed(_))
    }

    pub(super) fn rest(&self) -> Rest {
        match self.body {
            BodyState::Done => Rest::None,
            BodyState::Length(left) if left <= PASSED_OVER && !self.held_back => Rest::Little,
            BodyState::Length(_) | BodyState::Chunked(_) => Rest::Much,
            BodyState::Failed(_) => Rest::Failed,
        }
    }

    /// Reads past what is left of the body. True when it came whole.
    pub(super) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        while let Some(piece) = ready!(self.poll_body(cx)) {
            if piece.is_err() {
                return Poll::Ready(false);
            }
        }
        Poll::Ready(true)
    }

    pub(super) fn fail(&mut self, error: BodyError) {
        self.body = BodyState::Failed(error);
    }

    /// The final answer begins: nothing may come into it. Gives what of 1xx heads has not left yet and must go before it.
    pub(super) fn begin_answer(&mut self) -> BytesMut {
        self.continue_due = false;
        std::mem::take(&mut self.interim)
    }

    /// Writes what 1xx heads are waiting; an error means that the caller is gone.
    pub(super) fn poll_interim(&mut self, cx: &mut Context<'_>) -> std::io::Result<()> {
        if self.interim.is_empty() {
            return Ok(());
        }
        match self.wire.poll_write_all(cx, &mut self.interim) {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        }
    }

    /// Ready when the caller has closed. Reads ahead at most `bound` bytes of later requests.
    pub(super) fn poll_hangup(&mut self, cx: &mut Context<'_>, bound: usize) -> Poll<()> {
        while self.wire.unread.len() < bound {
            if let Ok(1..) = ready!(self.wire.poll_fill(cx)) {
                continue;
            }
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// True when the body was waited for longer than `limit`.
    pub(super) fn poll_stall(&mut self, cx: &mut Context<'_>, dog: &mut Watchdog, limit: Duration) -> bool {
        if std::mem::take(&mut self.progress) {
            dog.set(limit);
        }
        self.waiting && dog.poll(cx).is_ready()
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // The limit is on the caller's silence, not on an agency that takes its time between two reads.
        self.waiting = false;
        if self.continue_due {
            (self.continue_due, self.held_back) = (false, false);
            if self.wire.unread.is_empty() {
                self.interim.extend_from_slice(CONTINUE);
            }
        }
        if self.poll_interim(cx).is_err() {
            self.fail(BodyError::ClientGone);
        }
        loop {
            match self.take_piece() {
                Ok(Some(frame)) => {
                    self.wire.give_back();
                    return Poll::Ready(frame.map(Ok));
                }
                Ok(None) => {}
                Err(error) => {
                    self.fail(error);
                    return Poll::Ready(Some(Err(error)));
                }
            }
            match self.wire.poll_fill_body(cx) {
                Poll::Ready(Ok(1..)) => self.progress = true,
                Poll::Ready(Ok(0) | Err(_)) => self.fail(BodyError::ClientGone),
                Poll::Pending => {
                    self.waiting = true;
                    return Poll::Pending;
                }
            }
        }
    }

    /// A frame (or the end) from what is read already; `None` when more must be read.
    fn take_piece(&mut self) -> Result<Option<Option<Frame<Bytes>>>, BodyError> {
        let unread = &mut self.wire.unread;
        match &mut self.body {
            BodyState::Done => Ok(Some(None)),
            BodyState::Failed(error) => Err(*error),
            BodyState::Length(_) if unread.is_empty() => Ok(None),
            BodyState::Length(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(unread.remaining());
                *left -= take as u64;
                if *left == 0 {
                    self.body = BodyState::Done;
                }
                Ok(Some(Some(Frame::data(unread.split_to(take).freeze()))))
            }
            BodyState::Chunked(decoder) => match decoder.next(unread) {
                Ok(Piece::Data(data)) => Ok(Some(Some(Frame::data(data)))),
                Ok(Piece::Starved) => Ok(None),
                Ok(Piece::End(trailers)) => {
                    self.body = BodyState::Done;
                    Ok(Some((!trailers.is_empty()).then(|| Frame::trailers(trailers))))
                }
                Err(_) => Err(BodyError::ClientMalformed),
            },
        }
    }
}

/// The handle that the service holds. Dropping it leaves the rest unread; the connection then closes after its answer, but
/// for a [little](Rest::Little) rest.
pub(super) struct RequestBody(Rc<RefCell<Connection>>);

impl RequestBody {
    pub(super) fn new(connection: Rc<RefCell<Connection>>) -> RequestBody {
        RequestBody(connection)
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.borrow_mut().poll_body(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.borrow().rest() == Rest::None
    }

    fn size_hint(&self) -> SizeHint {
        match self.0.borrow().body {
            BodyState::Length(left) => SizeHint::with_exact(left),
            BodyState::Done => SizeHint::with_exact(0),
            BodyState::Chunked(_) | BodyState::Failed(_) => SizeHint::default(),
        }
    }
}
