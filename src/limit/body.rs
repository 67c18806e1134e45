//! The size of a request's body: counted as it passes, and cut where it is over the limit.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::{Body, BodyError};
use crate::fields;
use crate::intake::spoof;

/// How many bytes a body has brought, for the record of its request.
pub type Counter = Rc<Cell<u64>>;

/// A body of at most `limit` bytes. Errors: it is known already to be longer.
pub fn limited(body: Body, limit: u64, counter: &Counter) -> Result<Body, BodyError> {
    if body.size_hint().lower() > limit {
        return Err(BodyError::TooLarge);
    }
    Ok(match body {
        Body::Empty => Body::Empty,
        Body::Full(bytes) => {
            counter.set(bytes.len() as u64);
            Body::Full(bytes)
        }
        stream @ Body::Stream(_) => Body::stream(Limited { body: stream, left: limit, counter: counter.clone() }),
    })
}

struct Limited {
    body: Body,
    left: u64,
    counter: Counter,
}

impl HttpBody for Limited {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)?) else { return Poll::Ready(None) };
        let frame = match frame.into_data() {
            Ok(data) => {
                let length = data.len() as u64;
                self.counter.set(self.counter.get() + length);
                let Some(left) = self.left.checked_sub(length) else {
                    return Poll::Ready(Some(Err(BodyError::TooLarge)));
                };
                self.left = left;
                Frame::data(data)
            }
            // HP-7: a trailer must not say what a header may not.
            Err(frame) => match frame.into_trailers() {
                Ok(mut trailers) => {
                    fields::in_map(&mut trailers, spoof::clean_trailers);
                    Frame::trailers(trailers)
                }
                Err(other) => other,
            },
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    /// A body in pieces, its length not known beforehand.
    struct Pieces(std::slice::Iter<'static, &'static str>);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Ready(self.0.next().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes())))))
        }
    }

    fn stream(pieces: &'static [&'static str]) -> Body {
        Body::stream(Pieces(pieces.iter()))
    }

    #[tokio::test(flavor = "local")]
    async fn a_body_within_the_limit_passes_and_is_counted() {
        let counter = Counter::default();
        let body = limited(stream(&["abc", "de"]), 5, &counter).unwrap();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abcde");
        assert_eq!(counter.get(), 5);
    }

    #[tokio::test(flavor = "local")]
    async fn a_stream_is_cut_at_the_limit() {
        let body = limited(stream(&["abc", "def"]), 5, &Counter::default()).unwrap();
        assert_eq!(body.collect().await.unwrap_err(), BodyError::TooLarge);
    }

    #[test]
    fn a_body_known_to_be_longer_is_refused_at_once() {
        let refused = limited(Body::full("abcdef"), 5, &Counter::default());
        assert_eq!(refused.unwrap_err(), BodyError::TooLarge);
    }
}
