//! A new connection to an endpoint: resolve, connect, TLS, and which HTTP it speaks. All within one time limit.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::failure::ConnectFailure;
use crate::balance::agency::AgencyTls;
use crate::balance::{AgencyLive, EndpointPool};
use crate::config::model::EndpointProtocol;
use crate::http1::client::{Patience, Upstream};
use crate::http1::transport::Transport;
use crate::http2;

pub enum Connected {
    Http1(Box<Upstream>),
    Http2(http2::client::Handle),
}

/// Opens a connection. `upgrade`: it is for a WebSocket, so HTTP/2 is spoken only where the endpoint leaves no choice.
pub async fn connect(
    agency: &AgencyLive,
    pool: &EndpointPool,
    upgrade: bool,
    limit: Duration,
    patience: Patience,
) -> Result<Connected, ConnectFailure> {
    let connecting = open(agency, pool, upgrade, patience);
    let connected = match tokio::time::timeout(limit, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(ConnectFailure::TimedOut),
    };
    let counter = if connected.is_ok() { &pool.opened } else { &pool.failed };
    counter.set(counter.get() + 1);
    connected
}

async fn open(
    agency: &AgencyLive,
    pool: &EndpointPool,
    upgrade: bool,
    patience: Patience,
) -> Result<Connected, ConnectFailure> {
    let endpoint = &pool.live.endpoint;
    let tcp = tcp(&endpoint.host, endpoint.port).await?;
    match (endpoint.protocol, &agency.tls) {
        (EndpointProtocol::Http, _) => Ok(speak_http1(Transport::Tcp(tcp), patience)),
        (EndpointProtocol::H2c, _) => speak_http2(Transport::Tcp(tcp), upgrade).await,
        (EndpointProtocol::Https, Some(tls)) => over_tls(tcp, tls, pool, upgrade, patience).await,
        (EndpointProtocol::Https, None) => Err(ConnectFailure::Tls),
    }
}

async fn over_tls(
    tcp: TcpStream,
    tls: &AgencyTls,
    pool: &EndpointPool,
    upgrade: bool,
    patience: Patience,
) -> Result<Connected, ConnectFailure> {
    let config = if upgrade { &tls.http1 } else { &tls.any };
    let name = pool.live.server_name.clone().ok_or(ConnectFailure::Tls)?;
    let stream = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await.map_err(|e| tls_failure(&e))?;
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let transport = Transport::ClientTls(Box::new(stream));
    if h2 { speak_http2(transport, false).await } else { Ok(speak_http1(transport, patience)) }
}

fn speak_http1(transport: Transport, patience: Patience) -> Connected {
    Connected::Http1(Box::new(Upstream::new(transport, patience)))
}

async fn speak_http2(transport: Transport, settled: bool) -> Result<Connected, ConnectFailure> {
    http2::client::handshake(transport, settled).await.map(Connected::Http2).map_err(|_| ConnectFailure::Protocol)
}

/// The first address that answers. Addresses of the host itself are not looked up.
async fn tcp(host: &str, port: u16) -> Result<TcpStream, ConnectFailure> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return tcp_to(SocketAddr::new(address, port)).await;
    }
    let addresses = lookup_host((bare, port)).await.map_err(|_| ConnectFailure::Dns)?;
    let mut last = ConnectFailure::Dns;
    for address in addresses {
        match tcp_to(address).await {
            Ok(stream) => return Ok(stream),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

async fn tcp_to(address: SocketAddr) -> Result<TcpStream, ConnectFailure> {
    let stream = TcpStream::connect(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectFailure::Refused,
        io::ErrorKind::TimedOut => ConnectFailure::TimedOut,
        _ => ConnectFailure::Unreachable,
    })?;
    // A request must not wait for the acknowledgement of the last one (Nagle).
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

fn tls_failure(error: &io::Error) -> ConnectFailure {
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(_)) => ConnectFailure::Certificate,
        _ => ConnectFailure::Tls,
    }
}
