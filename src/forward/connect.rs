//! A new connection to an endpoint: TCP to one of its addresses, TLS, and which HTTP it speaks. All within one time limit.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::failure::ConnectFailure;
use crate::balance::agency::AgencyTls;
use crate::balance::{AgencyPools, EndpointPool};
use crate::config::model::EndpointProtocol;
use crate::http1::client::{Patience, Upstream};
use crate::http1::socket::Socket;
use crate::http1::transport::Transport;
use crate::http2;
use crate::message::Guard;

pub enum Connected {
    Http1(Box<Upstream>),
    Http2(http2::client::Handle),
}

/// Opens a connection. `upgrade`: it is for a WebSocket, so HTTP/2 is spoken only where the endpoint leaves no choice.
pub async fn connect(
    pools: &AgencyPools,
    pool: &EndpointPool,
    upgrade: bool,
    limit: Duration,
    patience: Patience,
) -> Result<Connected, ConnectFailure> {
    let connecting = open(pools, pool, upgrade, limit, patience);
    let connected = match tokio::time::timeout(limit, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(ConnectFailure::TimedOut),
    };
    let counter = if connected.is_ok() { &pool.opened } else { &pool.failed };
    counter.set(counter.get() + 1);
    connected
}

async fn open(
    pools: &AgencyPools,
    pool: &EndpointPool,
    upgrade: bool,
    limit: Duration,
    patience: Patience,
) -> Result<Connected, ConnectFailure> {
    let counted = counted(pools)?;
    let tcp = tcp(pool, limit).await?;
    match (pool.live.endpoint.protocol, &pools.agency.tls) {
        (EndpointProtocol::Http, _) => Ok(speak_http1(Transport::Tcp(tcp), patience, counted)),
        (EndpointProtocol::H2c, _) => speak_http2(Transport::Tcp(tcp), upgrade, counted).await,
        (EndpointProtocol::Https, Some(tls)) => over_tls(tcp, tls, pool, upgrade, patience, counted).await,
        (EndpointProtocol::Https, None) => Err(ConnectFailure::Tls),
    }
}

/// One more connection to the agency, as many as it may have. An idle one that leads elsewhere makes room.
fn counted(pools: &AgencyPools) -> Result<Guard, ConnectFailure> {
    loop {
        if let Some(opened) = pools.entrance.open() {
            return Ok(Box::new(opened));
        }
        if !pools.close_one() {
            pools.agency.note_no_connection();
            return Err(ConnectFailure::Full);
        }
    }
}

async fn over_tls(
    tcp: TcpStream,
    tls: &AgencyTls,
    pool: &EndpointPool,
    upgrade: bool,
    patience: Patience,
    counted: Guard,
) -> Result<Connected, ConnectFailure> {
    let config = if upgrade { &tls.http1 } else { &tls.any };
    let name = pool.live.server_name.clone().ok_or(ConnectFailure::Tls)?;
    let stream =
        TlsConnector::from(Arc::clone(config)).connect(name, Socket(tcp)).await.map_err(|e| tls_failure(&e))?;
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let transport = Transport::ClientTls(Box::new(stream));
    if h2 { speak_http2(transport, false, counted).await } else { Ok(speak_http1(transport, patience, counted)) }
}

fn speak_http1(transport: Transport, patience: Patience, counted: Guard) -> Connected {
    Connected::Http1(Box::new(Upstream::new(transport, patience).counted(counted)))
}

async fn speak_http2(transport: Transport, settled: bool, counted: Guard) -> Result<Connected, ConnectFailure> {
    let handle = http2::client::handshake(transport, settled, counted).await;
    handle.map(Connected::Http2).map_err(|_| ConnectFailure::Protocol)
}

/// The first address that answers; each may take its part of the time that is left, so that one that is black-holed leaves
/// the others some.
async fn tcp(pool: &EndpointPool, limit: Duration) -> Result<TcpStream, ConnectFailure> {
    let deadline = Instant::now() + limit;
    let addresses = pool.addresses_in_turn().await;
    let mut last = ConnectFailure::Dns;
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let part = left / u32::try_from(addresses.len() - tried).unwrap_or(1);
        last = match tokio::time::timeout(part, tcp_to(*address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(failure)) => failure,
            Err(_) => ConnectFailure::TimedOut,
        };
        pool.shun(*address);
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
