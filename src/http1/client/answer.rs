//! The body of an agency's answer, and the way home of its connection.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::upload::Upload;
use super::{AnswerBodyOrUpgrade, Upstream};
use crate::body::BodyError;
use crate::clock::last_tick;
use crate::http1::chunked::{Decoder, Piece};
use crate::http1::head::Framing;

/// Where a connection goes after its exchange; dropped instead when the connection cannot be used again.
pub trait Home: Unpin {
    fn take_back(self, connection: Box<Upstream>);
}

pub struct AnswerBody<H: Home> {
    /// Gone once the body has ended.
    at_work: Option<(Box<Upstream>, H)>,
    upload: Upload,
    state: State,
    reusable: bool,
    idle: Duration,
}

enum State {
    Length(u64),
    Chunked(Decoder),
    UntilClose,
    Ended,
    Failed(BodyError),
}

impl<H: Home> AnswerBody<H> {
    pub(super) fn new(
        connection: Box<Upstream>,
        upload: Upload,
        framing: Framing,
        reusable: bool,
        idle: Duration,
        home: H,
    ) -> AnswerBody<H> {
        let state = match framing {
            Framing::Empty => State::Ended,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Decoder::default()),
            Framing::UntilClose => State::UntilClose,
        };
        AnswerBody { at_work: Some((connection, home)), upload, state, reusable, idle }
    }

    /// A body that was read together with its head is handed over by value.
    pub(super) fn or_whole(mut self) -> AnswerBodyOrUpgrade<H> {
        let Some((connection, _)) = &mut self.at_work else { return AnswerBodyOrUpgrade::Whole(Bytes::new()) };
        let whole = match self.state {
            State::Ended => Bytes::new(),
            State::Length(length) if connection.wire.unread.len() as u64 >= length => {
                connection.wire.unread.split_to(length as usize).freeze()
            }
            _ => {
                connection.dog.set(self.idle);
                return AnswerBodyOrUpgrade::Stream(self);
            }
        };
        self.end();
        AnswerBodyOrUpgrade::Whole(whole)
    }

    /// Where the connection goes, while the body lasts.
    pub fn home(&mut self) -> Option<&mut H> {
        self.at_work.as_mut().map(|(_, home)| home)
    }

    /// SM-9: a connection is used again only when both messages ended exactly where they should.
    fn end(&mut self) {
        self.state = State::Ended;
        let Some((mut connection, home)) = self.at_work.take() else { return };
        let clean = self.reusable && self.upload.is_done() && connection.wire.unread.is_empty();
        if clean && !connection.wire.eof {
            connection.wire.end_body();
            connection.idle_since = last_tick().into();
            home.take_back(connection);
        }
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.state = State::Failed(error);
        self.at_work = None;
        Poll::Ready(Some(Err(error)))
    }

    /// A frame (or the end) from what is read already; `None` when more must be read.
    fn take_piece(&mut self) -> Result<Option<Option<Frame<Bytes>>>, BodyError> {
        if let State::Failed(error) = self.state {
            return Err(error);
        }
        let Some((connection, _)) = &mut self.at_work else { return Ok(Some(None)) };
        let unread = &mut connection.wire.unread;
        match &mut self.state {
            State::Ended => Ok(Some(None)),
            State::Failed(error) => Err(*error),
            State::Chunked(decoder) => match decoder.next(unread) {
                Ok(Piece::Data(data)) => Ok(Some(Some(Frame::data(data)))),
                Ok(Piece::Starved) => Ok(None),
                Ok(Piece::End(trailers)) => {
                    self.end();
                    Ok(Some((!trailers.is_empty()).then(|| Frame::trailers(trailers))))
                }
                Err(_) => Err(BodyError::UpstreamTruncated),
            },
            _ if unread.is_empty() => Ok(None),
            State::UntilClose => Ok(Some(Some(Frame::data(unread.split().freeze())))),
            State::Length(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(unread.len());
                *left -= take as u64;
                let (data, ended) = (unread.split_to(take).freeze(), *left == 0);
                if ended {
                    self.end();
                }
                Ok(Some(Some(Frame::data(data))))
            }
        }
    }
}

impl<H: Home> HttpBody for AnswerBody<H> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some((connection, _)) = &mut this.at_work
            && let Poll::Ready(Err(error)) = this.upload.poll(cx, &mut connection.wire)
        {
            return this.fail(error);
        }
        loop {
            match this.take_piece() {
                Ok(Some(frame)) => {
                    if let Some((connection, _)) = &mut this.at_work {
                        connection.wire.give_back();
                    }
                    return Poll::Ready(frame.map(Ok));
                }
                Ok(None) => {}
                Err(error) => return this.fail(error),
            }
            let Some((connection, _)) = &mut this.at_work else { return Poll::Ready(None) };
            match connection.wire.poll_fill_body(cx) {
                Poll::Ready(Ok(1..)) => connection.dog.set(this.idle),
                Poll::Ready(Ok(0)) if matches!(this.state, State::UntilClose) => {
                    this.state = State::Ended;
                    this.at_work = None;
                }
                Poll::Ready(Ok(0) | Err(_)) => return this.fail(BodyError::UpstreamTruncated),
                Poll::Pending => {
                    if this.upload.take_progress() {
                        connection.dog.set(this.idle);
                    }
                    ready!(connection.dog.poll(cx));
                    return this.fail(BodyError::UpstreamTimeout);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        match self.state {
            State::Length(left) => SizeHint::with_exact(left),
            State::Ended => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}
