//! What `server` must know of, and put into, the bytes that `h2` writes: how long the caller has taken none of them, an early
//! GOAWAY, and that what many streams have to say at once leaves in one write.
//!
//! RFC 9113 §6.8 wants "open no more streams" some time before the GOAWAY that says which stream was the last, and at least a
//! round trip between them, so that a stream that is on its way is served. `h2` sends both, and takes the answer to its PING
//! for that round trip; but a client answers a PING before it sends the requests it has ready, and those would be turned
//! away. So the first GOAWAY is written here, between two frames of `h2`, and `h2` says its own later.
//!
//! `h2` flushes after each DATA frame of some size, which would be a TLS record and a system call for each answer. Here bytes
//! are gathered, and leave when the server says so: once `h2` has nothing more to do for now. Used by `server` alone.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::http1::lent::Lent;

/// The last stream is the greatest there can be; NO_ERROR.
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];
const FRAME_HEAD: usize = 9;
const HEADERS: u8 = 1;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
/// What is gathered before it leaves in any case: nearly what a TLS record holds (RFC 8446 §5.1). The record, with what is its own,
/// is allocated in 16 KiB, and not in the next size.
const GATHERED: usize = 16 * 1024 - 64;

/// The server's hold on the transport below `h2`.
pub struct Hold<T>(Rc<RefCell<Inner<T>>>);

impl<T: AsyncWrite + Unpin> Hold<T> {
    /// From now on bytes leave by [`poll_flush`](Hold::poll_flush), or when there are many. Before, whenever `h2` says.
    pub fn gather(&self) {
        self.0.borrow_mut().gathers = true;
    }

    /// Has the GOAWAY written with the next flush.
    pub fn announce(&self) {
        self.0.borrow_mut().wanted = true;
    }

    /// Sends what was gathered.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_flush(cx)
    }

    /// Since when there is something to write and the caller takes none of it.
    pub fn blocked_since(&self) -> Option<Instant> {
        self.0.borrow().blocked
    }
}

/// The transport below `h2`.
pub struct Outlet<T>(Rc<RefCell<Inner<T>>>);

struct Inner<T> {
    io: T,
    gathers: bool,
    /// Of this turn: nothing is gathered while what was handed on has not left.
    gathered: Lent,
    /// There are bytes in `io` that have not left.
    unsent: bool,
    wanted: bool,
    blocked: Option<Instant>,
    frames: Frames,
}

impl<T> Outlet<T> {
    pub fn new(io: T) -> (Outlet<T>, Hold<T>) {
        let outlet = Rc::new(RefCell::new(Inner {
            io,
            gathers: false,
            gathered: Lent::default(),
            unsent: false,
            wanted: false,
            blocked: None,
            frames: Frames::default(),
        }));
        (Outlet(outlet.clone()), Hold(outlet))
    }
}

impl<T: AsyncWrite + Unpin> Inner<T> {
    fn announce(&mut self) {
        if self.wanted && self.frames.is_between() {
            self.wanted = false;
            self.gathered.extend_from_slice(&GOAWAY);
        }
    }

    fn note<R>(&mut self, written: &Poll<R>) {
        self.blocked = if written.is_pending() { self.blocked.or_else(|| Some(Instant::now())) } else { None };
    }

    /// Hands what was gathered on.
    fn poll_hand_on(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.poll_hand_all(cx);
        self.gathered.settle();
        polled
    }

    fn poll_hand_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let written = Pin::new(&mut self.io).poll_write(cx, &self.gathered);
            self.note(&written);
            let n = ready!(written)?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gathered.advance(n);
            self.unsent = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_begin(cx))?;
            self.announce();
            if self.gathered.len() < GATHERED {
                break;
            }
            ready!(self.poll_hand_on(cx))?;
        }
        let n = bytes.len().min(GATHERED - self.gathered.len());
        self.gathered.extend_from_slice(&bytes[..n]);
        self.frames.pass(&bytes[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.wanted {
            ready!(self.poll_begin(cx))?;
            self.announce();
        }
        ready!(self.poll_hand_on(cx))?;
        self.poll_sent(cx)
    }

    /// Before the first of what is gathered, all that was handed on must have left: TLS would take four times as much, and
    /// hold it for as long as the caller does not read.
    fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.gathered.is_empty() {
            ready!(self.poll_sent(cx))?;
            self.gathered.ready();
        }
        Poll::Ready(Ok(()))
    }

    /// Ready once all that was handed on has left.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unsent {
            let flushed = Pin::new(&mut self.io).poll_flush(cx);
            self.note(&flushed);
            ready!(flushed)?;
            self.unsent = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Outlet<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Outlet<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut outlet = self.0.borrow_mut();
        if outlet.gathers { Poll::Ready(Ok(())) } else { outlet.poll_flush(cx) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut outlet = self.0.borrow_mut();
        ready!(outlet.poll_flush(cx))?;
        Pin::new(&mut outlet.io).poll_shutdown(cx)
    }
}

/// Where in the stream of frames the bytes written so far end (RFC 9113 §4.1).
#[derive(Default)]
struct Frames {
    head: [u8; FRAME_HEAD],
    /// Of `head`, how much is there.
    read: usize,
    payload: usize,
    /// A field block goes on: nothing may come between its frames (RFC 9113 §6.10).
    in_block: bool,
}

impl Frames {
    fn is_between(&self) -> bool {
        self.read == 0 && self.payload == 0 && !self.in_block
    }

    fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let n = self.payload.min(bytes.len());
                self.payload -= n;
                bytes = &bytes[n..];
                continue;
            }
            let n = (FRAME_HEAD - self.read).min(bytes.len());
            self.head[self.read..self.read + n].copy_from_slice(&bytes[..n]);
            self.read += n;
            bytes = &bytes[n..];
            if self.read == FRAME_HEAD {
                let [a, b, c, kind, flags, ..] = self.head;
                self.read = 0;
                self.payload = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                if matches!(kind, HEADERS | PUSH_PROMISE | CONTINUATION) {
                    self.in_block = flags & END_HEADERS == 0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::task::Waker;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        [&[0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// Byte by byte: wherever a write may end.
    #[tokio::test]
    async fn goaway_is_written_between_frames_and_never_inside_a_field_block() {
        let block = [frame(HEADERS, 0, b"abc"), frame(CONTINUATION, END_HEADERS, b"de")].concat();
        let frames = [frame(0, 0, b""), block.clone(), frame(0, 1, b"data")];
        let sent = frames.concat();
        for at in 0..sent.len() {
            let (ours, mut theirs) = tokio::io::duplex(1024);
            let (mut io, hold) = Outlet::new(ours);
            io.write_all(&sent[..at]).await.unwrap();
            hold.announce();
            io.flush().await.unwrap();
            for byte in &sent[at..] {
                io.write_all(&[*byte]).await.unwrap();
            }
            io.flush().await.unwrap();
            drop((io, hold));
            let mut read = Vec::new();
            theirs.read_to_end(&mut read).await.unwrap();
            let place = read.windows(GOAWAY.len()).position(|some| some == GOAWAY).unwrap();
            let next = [0, 9, 9 + block.len(), sent.len()].into_iter().find(|end| *end >= at).unwrap();
            assert_eq!(place, next, "asked for after {at} bytes");
            read.drain(place..place + GOAWAY.len());
            assert_eq!(read, sent);
        }
    }

    #[tokio::test]
    async fn what_is_flushed_piece_by_piece_leaves_at_once_and_a_record_full_of_it_at_the_latest() {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let (mut io, hold) = Outlet::new(ours);
        io.write_all(b"settings").await.unwrap();
        io.flush().await.unwrap();
        let mut read = vec![0; 32 * 1024];
        assert_eq!(theirs.read(&mut read).await.unwrap(), 8, "a handshake waits for nothing");
        hold.gather();
        for piece in [&b"one"[..], b"two", b"three"] {
            io.write_all(piece).await.unwrap();
            io.flush().await.unwrap();
        }
        let mut waiting = std::pin::pin!(theirs.read(&mut read));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        std::future::poll_fn(|cx| hold.poll_flush(cx)).await.unwrap();
        let n = waiting.await.unwrap();
        assert_eq!(&read[..n], b"onetwothree");
        let long = vec![7; GATHERED + 1];
        io.write_all(&long).await.unwrap();
        assert_eq!(theirs.read(&mut read).await.unwrap(), GATHERED);
        io.shutdown().await.unwrap();
        assert_eq!(theirs.read(&mut read).await.unwrap(), 1, "nothing is left behind at the end");
    }

    /// However much is gathered already: it is written, and what comes behind it too.
    #[tokio::test]
    async fn goaway_finds_room_in_what_is_gathered() {
        for payload in GATHERED - 30..=GATHERED {
            let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
            let (mut io, hold) = Outlet::new(ours);
            hold.gather();
            let length = (payload as u32).to_be_bytes();
            let data = [&length[1..], &[0, 0, 0, 0, 0, 1], &vec![7; payload]].concat();
            io.write_all(&data).await.unwrap();
            hold.announce();
            let last = frame(0, 1, b"data");
            io.write_all(&last).await.unwrap();
            io.shutdown().await.unwrap();
            drop((io, hold));
            let mut read = Vec::new();
            theirs.read_to_end(&mut read).await.unwrap();
            assert_eq!(read, [&data[..], &GOAWAY, &last].concat(), "behind {payload} bytes");
        }
    }

    /// Of a caller who does not read, TLS holds one record's worth, and this nothing.
    #[tokio::test]
    async fn tls_is_not_filled_for_who_does_not_read() {
        let (ours, mut caller) = crate::http1::testing::narrow_tls().await;
        let (mut io, hold) = Outlet::new(ours);
        hold.gather();
        let mut taken = 0;
        let piece = vec![7; GATHERED];
        std::future::poll_fn(|cx| {
            while let Poll::Ready(n) = Pin::new(&mut io).poll_write(cx, &piece) {
                taken += n.unwrap();
            }
            Poll::Ready(())
        })
        .await;
        assert!((GATHERED..3 * GATHERED).contains(&taken), "{taken} bytes were taken");
        assert_eq!(hold.0.borrow().gathered.capacity(), 0);
        assert!(hold.blocked_since().is_some());
        let mut read = vec![0; taken];
        let all = async { tokio::join!(io.shutdown(), caller.read_exact(&mut read)) };
        let (ended, read_all) =
            tokio::time::timeout(std::time::Duration::from_secs(10), all).await.expect("all of it leaves");
        assert!(ended.is_ok() && read_all.is_ok());
    }
}
