//! What `server` must know of, and put into, the bytes that `h2` writes: how long the caller has taken none of them, and an
//! early GOAWAY: "open no more streams", some time before the one that says which stream was the last.
//!
//! RFC 9113 §6.8 wants both, and at least a round trip between them, so that a stream that is on its way is served. `h2` sends
//! both, and takes the answer to its PING for that round trip; but a client answers a PING before it sends the requests it
//! has ready, and those would be turned away. So the first GOAWAY is written here, between two frames of `h2`, and `h2` says
//! its own later. Used by `server` alone.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// The last stream is the greatest there can be; NO_ERROR.
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];
const FRAME_HEAD: usize = 9;
const HEADERS: u8 = 1;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// The server's hold on the transport below `h2`.
#[derive(Clone, Default)]
pub struct Announcer(Rc<State>);

#[derive(Default)]
struct State {
    wanted: Cell<bool>,
    blocked: Cell<Option<Instant>>,
}

impl Announcer {
    /// Has the GOAWAY written with the next flush.
    pub fn announce(&self) {
        self.0.wanted.set(true);
    }

    /// Since when there is something to write and the caller takes none of it.
    pub fn blocked_since(&self) -> Option<Instant> {
        self.0.blocked.get()
    }

    fn note<T>(&self, written: &Poll<T>) {
        let since = if written.is_pending() { self.0.blocked.get().or_else(|| Some(Instant::now())) } else { None };
        self.0.blocked.set(since);
    }
}

/// The transport below `h2`.
pub struct Announcing<T> {
    io: T,
    announcer: Announcer,
    /// Of the GOAWAY, what is still to be written.
    left: &'static [u8],
    frames: Frames,
}

impl<T> Announcing<T> {
    pub fn new(io: T) -> (Announcing<T>, Announcer) {
        let announcer = Announcer::default();
        (Announcing { io, announcer: announcer.clone(), left: &[], frames: Frames::default() }, announcer)
    }
}

impl<T: AsyncWrite + Unpin> Announcing<T> {
    fn poll_announce(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.announcer.0.wanted.get() && self.frames.is_between() {
            self.announcer.0.wanted.set(false);
            self.left = &GOAWAY;
        }
        while !self.left.is_empty() {
            let written = Pin::new(&mut self.io).poll_write(cx, self.left);
            self.announcer.note(&written);
            let n = ready!(written)?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.left = &self.left[n..];
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Announcing<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Announcing<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_announce(cx))?;
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.announcer.note(&written);
        let n = ready!(written)?;
        self.frames.pass(&buf[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_announce(cx))?;
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.announcer.note(&flushed);
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
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
            let (mut io, announcer) = Announcing::new(ours);
            io.write_all(&sent[..at]).await.unwrap();
            announcer.announce();
            io.flush().await.unwrap();
            for byte in &sent[at..] {
                io.write_all(&[*byte]).await.unwrap();
            }
            io.flush().await.unwrap();
            drop(io);
            let mut read = Vec::new();
            theirs.read_to_end(&mut read).await.unwrap();
            let place = read.windows(GOAWAY.len()).position(|some| some == GOAWAY).unwrap();
            let next = [0, 9, 9 + block.len(), sent.len()].into_iter().find(|end| *end >= at).unwrap();
            assert_eq!(place, next, "asked for after {at} bytes");
            read.drain(place..place + GOAWAY.len());
            assert_eq!(read, sent);
        }
    }
}
