//! The socket under a connection, plain or TLS, with the bytes that were read and not yet used.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{client, server};

use super::socket::Socket;

/// What `recv` is offered when a connection is idle; also the largest TLS record.
const SCRATCH: usize = 16 * 1024;
/// What is reserved for a body's next read: four TLS records. Half of it costs 15 % more CPU time a byte, a quarter 60 %.
const BODY_READ: usize = 64 * 1024;
/// The same where very many bodies are under way: a TLS record of it is allocated in 16 KiB, and not in the next size.
const BODY_READ_LEAST: usize = 16 * 1024 - 64;
/// What the bodies of one worker share: as much as was read of a body waits with it while its reader is slow.
const BODY_ROOM: usize = 2 * 1024 * 1024;
/// An allocation up to this size is kept for the next head; a larger one is given back.
const KEPT: usize = 4 * 1024;

thread_local! {
    /// Idle connections read into this, so that they hold no buffer of their own.
    static SCRATCH_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
    /// How many [`Passing`] there are on this worker.
    static BODIES: Cell<usize> = const { Cell::new(0) };
}

/// A body under way, counted as long as this lives. Stays on the worker that made it.
#[derive(Debug)]
struct Passing(PhantomData<*const ()>);

impl Passing {
    fn begin() -> Passing {
        BODIES.set(BODIES.get() + 1);
        Passing(PhantomData)
    }

    /// What may be read of each body at a time.
    fn share() -> usize {
        (BODY_ROOM / BODIES.get().max(1)).clamp(BODY_READ_LEAST, BODY_READ)
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        BODIES.set(BODIES.get() - 1);
    }
}

/// An enum, not a trait object: the call is direct on the hot path.
#[derive(Debug)]
pub enum Transport {
    Tcp(TcpStream),
    ServerTls(Box<server::TlsStream<Socket>>),
    ClientTls(Box<client::TlsStream<Socket>>),
}

impl Transport {
    fn tcp(&self) -> &TcpStream {
        match self {
            Transport::Tcp(io) => io,
            Transport::ServerTls(io) => &io.get_ref().0.0,
            Transport::ClientTls(io) => &io.get_ref().0.0,
        }
    }

    fn tcp_mut(&mut self) -> &mut TcpStream {
        match self {
            Transport::Tcp(io) => io,
            Transport::ServerTls(io) => &mut io.get_mut().0.0,
            Transport::ClientTls(io) => &mut io.get_mut().0.0,
        }
    }

    /// Moves a quiet socket from the runtime it was opened on to the one this is called on: the same socket by another
    /// descriptor, so that the old registration ends by itself. What TLS knows goes along. Errors: it is not quiet, closed
    /// included; or there are no more descriptors.
    pub fn move_here(&mut self) -> io::Result<()> {
        let tcp = self.tcp_mut();
        let socket = std::net::TcpStream::from(tcp.as_fd().try_clone_to_owned()?);
        match socket.peek(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
            Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        *tcp = TcpStream::from_std(socket)?;
        Ok(())
    }

    /// Dropping the socket then sends RST instead of FIN.
    pub fn reset_on_drop(&self) {
        let _ = self.tcp().set_zero_linger();
    }
}

macro_rules! each {
    ($self:ident, $io:ident => $call:expr) => {
        match $self.get_mut() {
            Transport::Tcp(io) => {
                let $io = Pin::new(io);
                $call
            }
            Transport::ServerTls(io) => {
                let $io = Pin::new(&mut **io);
                $call
            }
            Transport::ClientTls(io) => {
                let $io = Pin::new(&mut **io);
                $call
            }
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, io => io.poll_read(cx, buf))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, io => io.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => io.poll_shutdown(cx))
    }
}

/// A socket and its unread bytes.
#[derive(Debug)]
pub struct Wire {
    pub io: Transport,
    pub unread: BytesMut,
    /// The other side has closed its half.
    pub eof: bool,
    /// No byte that was opened lies outside `unread`: nothing comes before the socket is readable again.
    is_dry: bool,
    /// `unread` lies in an allocation larger than [`KEPT`], also where nothing is left in it.
    roomy: bool,
    passing: Option<Passing>,
}

impl Wire {
    pub fn new(io: Transport) -> Wire {
        Wire { io, unread: BytesMut::new(), eof: false, is_dry: false, roomy: false, passing: None }
    }

    /// The body is over, and the connection may be idle for long.
    pub fn end_body(&mut self) {
        self.passing = None;
        self.give_back();
    }

    /// Gives a large buffer back once all in it was taken: what was taken may last for long, and so may the silence.
    pub fn give_back(&mut self) {
        if self.roomy && self.unread.is_empty() {
            self.unread = BytesMut::new();
            self.roomy = false;
        }
    }

    /// Reads more bytes behind `unread`. Ready(0) is the end. Holds no memory while nothing comes.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.eof {
            return Poll::Ready(Ok(0));
        }
        // A short way past TLS for what is asked after every request: whether there is another.
        let has_tls = !matches!(self.io, Transport::Tcp(_));
        if self.is_dry && has_tls && self.io.tcp().poll_read_ready(cx).is_pending() {
            self.give_back();
            return Poll::Pending;
        }
        let polled = match &mut self.io {
            Transport::Tcp(io) => poll_read(io, &mut self.unread, cx),
            Transport::ServerTls(io) => poll_opened(&mut **io, &mut self.unread, cx),
            Transport::ClientTls(io) => poll_opened(&mut **io, &mut self.unread, cx),
        };
        self.is_dry = polled.is_pending();
        if self.is_dry {
            self.end_body();
        }
        let read = ready!(polled)?;
        self.roomy |= self.unread.len() > KEPT;
        self.eof = read == 0;
        Poll::Ready(Ok(read))
    }

    /// Whether nothing came, and nothing was closed, while nobody looked. No system call while it is quiet. Nobody waits by this
    /// for what comes later; who waited last may still be woken.
    pub fn is_quiet(&mut self) -> bool {
        let holds_nothing = self.is_dry || matches!(self.io, Transport::Tcp(_));
        // What is asked of a socket that is not ready is not done.
        let is_ready = || self.io.tcp().try_io(Interest::READABLE, || Ok(())).is_ok();
        if !self.eof && holds_nothing && !is_ready() {
            return true;
        }
        self.let_go()
    }

    /// The same for a connection that is to lie: nobody is woken any more, and whoever waited last is not kept.
    pub fn let_go(&mut self) -> bool {
        self.poll_fill(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Like [`poll_fill`](Wire::poll_fill) for bodies: straight into a large buffer, no copy.
    pub fn poll_fill_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.eof {
            return Poll::Ready(Ok(0));
        }
        self.passing.get_or_insert_with(Passing::begin);
        self.unread.reserve(Passing::share());
        self.roomy = true;
        self.is_dry = false;
        let polled = pin!(self.io.read_buf(&mut self.unread)).poll(cx);
        if polled.is_pending() {
            self.give_back();
        }
        let read = ready!(polled)?;
        self.eof = read == 0;
        Poll::Ready(Ok(read))
    }

    /// Writes `buffer` empty and, with TLS, out to the socket.
    pub fn poll_write_all(&mut self, cx: &mut Context<'_>, buffer: &mut impl bytes::Buf) -> Poll<io::Result<()>> {
        while buffer.has_remaining() {
            let n = ready!(Pin::new(&mut self.io).poll_write(cx, buffer.chunk()))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            buffer.advance(n);
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }
}

fn poll_read(io: &mut TcpStream, unread: &mut BytesMut, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    SCRATCH_BUFFER.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
        unread.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
}

/// What TLS has opened lies in a buffer of its own, and is taken from there.
fn poll_opened(
    io: &mut (impl AsyncBufRead + Unpin),
    unread: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut io = Pin::new(io);
    let opened = ready!(io.as_mut().poll_fill_buf(cx))?;
    let read = opened.len();
    unread.extend_from_slice(opened);
    io.consume(read);
    Poll::Ready(Ok(read))
}

/// A stream whose first bytes were read already.
#[derive(Debug)]
pub struct Prefixed<T> {
    prefix: Bytes,
    io: T,
}

impl<T> Prefixed<T> {
    pub fn new(prefix: Bytes, io: T) -> Prefixed<T> {
        Prefixed { prefix, io }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Prefixed<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let take = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix.split_to(take));
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Prefixed<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
