//! One caller: a connection to the gateway, and requests on it one after another.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Sleep;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub const HOST: &str = "api.example.ir";
/// Callers from one address of the loopback network: well below the ports there are.
const PER_ADDRESS: usize = 4000;

pub type Tls<T> = TlsStream<T>;

/// `number`: which caller this is.
pub async fn tcp(address: SocketAddr, number: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    let host = u8::try_from(number / PER_ADDRESS).unwrap();
    socket.bind((Ipv4Addr::new(127, 1, 0, host + 1), 0).into()).unwrap();
    let stream = socket.connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

pub async fn tls<T: AsyncRead + AsyncWrite + Unpin>(stream: T, config: &Arc<ClientConfig>) -> Tls<T> {
    TlsConnector::from(config.clone()).connect(ServerName::try_from(HOST).unwrap(), stream).await.unwrap()
}

/// A request without a body; `more`: whole field lines.
pub fn get(path: &str, token: &str, more: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n{more}\r\n").into_bytes()
}

/// Sends a request and reads its answer, which says how long its body is. True when it is a 200.
pub async fn call<T: AsyncRead + AsyncWrite + Unpin>(stream: &mut T, request: &[u8], buffer: &mut Vec<u8>) -> bool {
    stream.write_all(request).await.unwrap();
    stream.flush().await.unwrap();
    buffer.clear();
    let mut whole = None;
    while whole.is_none_or(|whole| buffer.len() < whole) {
        if stream.read_buf(buffer).await.unwrap() == 0 {
            return false;
        }
        whole = whole.or_else(|| {
            let end = memchr::memmem::find(buffer, b"\r\n\r\n")? + 4;
            let at = memchr::memmem::find(&buffer[..end], b"content-length: ")? + 16;
            let digits = buffer[at..end].iter().take_while(|b| b.is_ascii_digit());
            Some(end + digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0')))
        });
    }
    buffer.starts_with(b"HTTP/1.1 200")
}

/// A socket that is read slowly: [`Slow::SIP`] bytes at a time, and then not for [`Slow::PAUSE`].
pub struct Slow {
    stream: TcpStream,
    pause: Pin<Box<Sleep>>,
}

impl Slow {
    const SIP: usize = 2048;
    const PAUSE: Duration = Duration::from_millis(200);

    pub fn new(stream: TcpStream) -> Slow {
        Slow { stream, pause: Box::pin(tokio::time::sleep(Duration::ZERO)) }
    }
}

impl AsyncRead for Slow {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        std::task::ready!(self.pause.as_mut().poll(cx));
        let mut sip = [0; Slow::SIP];
        let most = Slow::SIP.min(buf.remaining());
        let mut sip = ReadBuf::new(&mut sip[..most]);
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut sip))?;
        buf.put_slice(sip.filled());
        self.pause.as_mut().reset(tokio::time::Instant::now() + Slow::PAUSE);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Slow {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
