//! A body coming out of a stream. The window is given back as the body is read: whoever reads slowly slows the sender.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use crate::body::BodyError;
use crate::http1::watchdog::Watchdog;

pub struct Receiving {
    stream: RecvStream,
    length: Option<u64>,
    /// What a break means: the client's, or the agency's.
    broken: BodyError,
    stalled: BodyError,
    dog: Option<Watchdog>,
    idle: Duration,
    trailers_due: bool,
}

impl Receiving {
    /// A caller's body. `idle`: the longest silence while it is asked for.
    pub fn from_client(stream: RecvStream, length: Option<u64>, idle: Duration) -> Receiving {
        Receiving::new(stream, length, idle, (BodyError::ClientGone, BodyError::ClientTimeout))
    }

    /// An agency's body.
    pub fn from_agency(stream: RecvStream, length: Option<u64>, idle: Duration) -> Receiving {
        Receiving::new(stream, length, idle, (BodyError::UpstreamTruncated, BodyError::UpstreamTimeout))
    }

    fn new(
        stream: RecvStream,
        length: Option<u64>,
        idle: Duration,
        (broken, stalled): (BodyError, BodyError),
    ) -> Receiving {
        Receiving { stream, length, broken, stalled, dog: None, idle, trailers_due: false }
    }

    /// Progress elsewhere in the exchange (the upload goes on) keeps the silence before it from counting.
    pub fn stay_from(&mut self, at: Instant) {
        if let Some(dog) = &mut self.dog {
            dog.stay_until(at + self.idle);
        }
    }

    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let dog = self.dog.get_or_insert_with(|| Watchdog::new(self.idle));
        ready!(dog.poll(cx));
        Poll::Ready(Some(Err(self.stalled)))
    }
}

impl HttpBody for Receiving {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if !this.trailers_due {
            match this.stream.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => {
                    if let Some(dog) = &mut this.dog {
                        dog.set(this.idle);
                    }
                    if this.stream.flow_control().release_capacity(data.len()).is_err() {
                        return Poll::Ready(Some(Err(this.broken)));
                    }
                    if let Some(length) = &mut this.length {
                        *length = length.saturating_sub(data.len() as u64);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Some(Err(this.broken))),
                Poll::Ready(None) => this.trailers_due = true,
                Poll::Pending => return this.poll_stall(cx),
            }
        }
        match this.stream.poll_trailers(cx) {
            Poll::Ready(Ok(Some(trailers))) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Poll::Ready(Ok(None)) => Poll::Ready(None),
            Poll::Ready(Err(_)) => Poll::Ready(Some(Err(this.broken))),
            Poll::Pending => this.poll_stall(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.length {
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}
