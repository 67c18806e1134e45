//! A body on its way into a stream, no faster than the other side reads (RFC 9113 §5.2).

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body as _;
use tokio::time::Instant;

use super::piece::{Piece, Waiting};
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
    stream: SendStream<Piece>,
    body: Body,
    /// Made with the first piece that must be waited for.
    waiting: Option<Rc<Waiting>>,
    /// A piece was sent that is not waited for.
    sent_alone: bool,
    /// The end has been said, or is not wanted any more.
    ended: bool,
}

impl Sending {
    pub fn new(stream: SendStream<Piece>, body: Body) -> Sending {
        Sending { stream, body, waiting: None, sent_alone: false, ended: false }
    }

    /// Nothing to send: the stream was ended with its head.
    pub fn ended(stream: SendStream<Piece>) -> Sending {
        Sending { ended: true, ..Sending::new(stream, Body::Empty) }
    }

    pub fn is_done(&self) -> bool {
        self.ended && !self.is_blocked()
    }

    /// When bytes were last taken by the connection, or began to wait for it, if it was since this was last asked.
    pub fn take_progress(&mut self) -> Option<Instant> {
        if std::mem::take(&mut self.sent_alone) {
            return Some(Instant::now());
        }
        self.waiting.as_ref().and_then(|waiting| waiting.take_progress())
    }

    pub fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }

    /// True while bytes wait for the other side's window, or for the socket.
    pub fn is_blocked(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| !waiting.is_over())
    }

    /// All that the body has brought has left, and there is more to come.
    pub fn awaits_body(&self) -> bool {
        !self.ended && !self.is_blocked()
    }

    /// Ready when all has left, or is not wanted any more. Takes nothing from the body while enough waits.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        while !self.ended && !self.waiting.as_ref().is_some_and(|waiting| waiting.is_enough()) {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.send(data)?,
                    Err(frame) => {
                        self.end();
                        let sent = self.stream.send_trailers(frame.into_trailers().unwrap_or_default());
                        sent.map_err(|_| SendError::Peer)?;
                    }
                },
                Poll::Ready(None) => self.hand_on(Piece::alone(Bytes::new()), true)?,
                Poll::Ready(Some(Err(error))) => {
                    self.stream.send_reset(reason(error));
                    return Poll::Ready(Err(SendError::Body(error)));
                }
                Poll::Pending => break,
            }
        }
        if self.is_done() {
            return Poll::Ready(Ok(()));
        }
        if let Some(waiting) = &self.waiting {
            waiting.notify(cx);
        }
        self.stream.poll_reset(cx).map(|_| Err(SendError::Peer))
    }

    fn send(&mut self, data: Bytes) -> Result<(), SendError> {
        if data.is_empty() {
            return Ok(());
        }
        // The last piece of a body that knows its end carries END_STREAM: one frame fewer.
        let last = self.body.is_end_stream();
        if last {
            // And it is not waited for where the window is open to all of it.
            self.stream.reserve_capacity(data.len());
            if self.stream.capacity() >= data.len() {
                self.sent_alone = true;
                return self.hand_on(Piece::alone(data), true);
            }
        }
        let piece = self.waiting.get_or_insert_default().piece(data);
        self.hand_on(piece, last)
    }

    fn hand_on(&mut self, piece: Piece, last: bool) -> Result<(), SendError> {
        let sent = self.stream.send_data(piece, last);
        // To who does not want it no more of it is brought.
        if last || sent.is_err() {
            self.end();
        }
        sent.map_err(|_| SendError::Peer)
    }

    /// What the body holds, a place at an agency say, is not held until the last of it has left.
    fn end(&mut self) {
        self.ended = true;
        self.body = Body::Empty;
    }
}

fn reason(error: BodyError) -> Reason {
    match error {
        BodyError::ClientGone | BodyError::ClientMalformed => Reason::CANCEL,
        BodyError::TooLarge => Reason::REFUSED_STREAM,
        _ => Reason::INTERNAL_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::future::poll_fn;

    use h2::RecvStream;
    use http::{HeaderMap, Request, Response};
    use http_body::{Body as HttpBody, Frame};

    /// Brings these, and counts what it was asked for.
    struct Brought {
        frames: Vec<Frame<Bytes>>,
        asked: Rc<Cell<usize>>,
    }

    impl HttpBody for Brought {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            self.asked.set(self.asked.get() + 1);
            Poll::Ready((!self.frames.is_empty()).then(|| Ok(self.frames.remove(0))))
        }
    }

    fn pieces<const N: usize>(lengths: [usize; N]) -> Vec<Frame<Bytes>> {
        lengths.map(|length| Frame::data(Bytes::from(vec![b'x'; length]))).into()
    }

    /// Both ends of a stream whose reader opens so much of a window.
    async fn stream(window: u32) -> (SendStream<Piece>, RecvStream) {
        let (near, far) = tokio::io::duplex(1 << 20);
        let reader = async {
            let client = h2::client::Builder::new().initial_window_size(window).handshake::<_, Bytes>(far);
            let (send, connection) = client.await.unwrap();
            tokio::task::spawn_local(connection);
            let (response, _) = send.ready().await.unwrap().send_request(Request::new(()), true).unwrap();
            response.await.unwrap().into_body()
        };
        let writer = async {
            let mut connection = h2::server::Builder::new().handshake::<_, Piece>(near).await.unwrap();
            let (_, mut respond) = connection.accept().await.unwrap().unwrap();
            tokio::task::spawn_local(async move { while connection.accept().await.is_some() {} });
            respond.send_response(Response::new(()), false).unwrap()
        };
        let (reader, writer) = tokio::join!(reader, writer);
        (writer, reader)
    }

    fn sending(stream: SendStream<Piece>, frames: Vec<Frame<Bytes>>) -> (Sending, Rc<Cell<usize>>) {
        let asked = Rc::new(Cell::new(0));
        (Sending::new(stream, Body::stream(Brought { frames, asked: asked.clone() })), asked)
    }

    async fn is_pending(sending: &mut Sending) -> bool {
        poll_fn(|cx| Poll::Ready(sending.poll(cx).is_pending())).await
    }

    /// What comes without asking for more of it.
    async fn read(reader: &mut RecvStream, mut length: usize) {
        while length > 0 {
            length -= reader.data().await.unwrap().unwrap().len();
        }
    }

    /// RFC 9113 §6.9: an end takes nothing of a window, and the reader of a whole body need not open another.
    #[tokio::test(flavor = "local")]
    async fn a_body_that_just_fills_the_window_ends() {
        let (writer, mut reader) = stream(30).await;
        let (mut sending, _) = sending(writer, pieces([10, 20]));
        let sent = poll_fn(|cx| sending.poll(cx));
        let whole = async {
            read(&mut reader, 30).await;
            while let Some(rest) = reader.data().await {
                assert!(rest.unwrap().is_empty());
            }
        };
        assert_eq!(tokio::join!(sent, whole).0, Ok(()));
    }

    #[tokio::test(flavor = "local")]
    async fn so_do_trailers_come() {
        let (writer, mut reader) = stream(30).await;
        let mut frames = pieces([30]);
        frames.push(Frame::trailers(HeaderMap::from_iter([(http::header::ETAG, "x".parse().unwrap())])));
        let (mut sending, _) = sending(writer, frames);
        let sent = poll_fn(|cx| sending.poll(cx));
        let whole = async {
            read(&mut reader, 30).await;
            assert_eq!(reader.trailers().await.unwrap().unwrap()[http::header::ETAG], "x");
        };
        assert_eq!(tokio::join!(sent, whole).0, Ok(()));
    }

    #[tokio::test(flavor = "local")]
    async fn a_reader_who_takes_nothing_makes_the_body_wait() {
        let (writer, _reader) = stream(0).await;
        let (mut sending, asked) = sending(writer, pieces([16 * 1024, 16 * 1024]));
        for _ in 0..3 {
            assert!(is_pending(&mut sending).await);
            tokio::task::yield_now().await;
        }
        assert_eq!(asked.get(), 1);
        assert!(sending.take_progress().is_some() && sending.is_blocked() && sending.take_progress().is_none());
    }

    /// Also the last of it, which is not done with when `h2` has taken it.
    #[tokio::test(flavor = "local")]
    async fn the_last_piece_is_waited_for() {
        let (writer, mut reader) = stream(30).await;
        let mut sending = Sending::new(writer, Body::full(vec![b'x'; 40]));
        assert!(is_pending(&mut sending).await && !sending.is_done() && !sending.awaits_body());
        read(&mut reader, 30).await;
        assert!(is_pending(&mut sending).await);
        reader.flow_control().release_capacity(30).unwrap();
        let (sent, ()) = tokio::join!(poll_fn(|cx| sending.poll(cx)), read(&mut reader, 10));
        assert_eq!(sent, Ok(()));
        assert!(sending.is_done());
    }

    /// A time limit counts from it, as from one that is.
    #[tokio::test(flavor = "local")]
    async fn a_last_piece_that_is_not_waited_for_is_progress() {
        let (writer, _reader) = stream(30).await;
        let mut sending = Sending::new(writer, Body::full("x"));
        assert!(!is_pending(&mut sending).await && sending.is_done());
        assert!(sending.take_progress().is_some() && sending.take_progress().is_none());
    }

    #[tokio::test(flavor = "local")]
    async fn a_reader_who_leaves_is_noticed() {
        let (writer, reader) = stream(0).await;
        let (mut sending, asked) = sending(writer, pieces([16 * 1024, 10, 10, 10]));
        assert!(is_pending(&mut sending).await);
        drop(reader);
        assert_eq!(poll_fn(|cx| sending.poll(cx)).await, Err(SendError::Peer));
        let taken = asked.get();
        let _ = poll_fn(|cx| Poll::Ready(sending.poll(cx))).await;
        assert_eq!(asked.get(), taken, "nothing more is brought to who is gone");
    }
}
