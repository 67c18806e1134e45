//! The bytes towards a server: a Unix socket, TCP, or TLS over it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Server;
use crate::config::model::RedisAddress;

pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Errors: why not, for the log.
pub(super) async fn open(server: &Server) -> Result<Stream, String> {
    let told = |error: io::Error| error.to_string();
    match &server.model().address {
        RedisAddress::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix).map_err(told),
        RedisAddress::Tcp { host, port, .. } => {
            let tcp = TcpStream::connect((host.as_str(), *port)).await.map_err(told)?;
            // A request must not wait for the acknowledgement of the one before (Nagle).
            let _ = tcp.set_nodelay(true);
            let Some(tls) = &server.tls else { return Ok(Stream::Tcp(tcp)) };
            let name = ServerName::try_from(host.clone()).map_err(|error| error.to_string())?;
            let tls = TlsConnector::from(tls.clone()).connect(name, tcp).await.map_err(told)?;
            Ok(Stream::Tls(Box::new(tls)))
        }
    }
}

macro_rules! each {
    ($stream:expr, $io:ident => $call:expr) => {
        match $stream.get_mut() {
            Stream::Unix($io) => $call,
            Stream::Tcp($io) => $call,
            Stream::Tls($io) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, io => Pin::new(io).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => Pin::new(io).poll_shutdown(cx))
    }
}
