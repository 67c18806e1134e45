//! A listener as it runs, shared by the workers that accept on it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::model::Listener;
use crate::http1::head::HeadLimits;
use crate::limit::addresses::Addresses;
use crate::limit::forgeries::Forgeries;
use crate::tls::certs::LoadedCertificate;
use crate::tls::server::server_config;
use crate::words::ListenerId;
use crate::{http1, http2};

/// Connections that may wait to be accepted: room for a burst while a worker is busy.
pub(super) const BACKLOG: i32 = 4096;

static NEXT_ID: AtomicU32 = AtomicU32::new(0);

pub struct ListenerLive {
    pub id: ListenerId,
    /// A reload may give another.
    name: ArcSwap<Arc<str>>,
    /// As bound: a port 0 of the file is the system's choice here.
    pub address: SocketAddr,
    /// As written: what a reload compares.
    pub asked: SocketAddr,
    pub addresses: Arc<Addresses>,
    /// What new connections get; a reload replaces it, the socket stays.
    pub settings: ArcSwap<Settings>,
    /// The sockets themselves, apart from the workers' copies, to be passed on to the process that takes over.
    sockets: Mutex<Vec<TcpListener>>,
}

/// What a connection is given when it is accepted, and keeps.
#[derive(Clone)]
pub struct Settings {
    pub tls: Option<Arc<ServerConfig>>,
    /// What `tls` shows: newer than the configuration in force where they were renewed while an edit of it waits.
    pub certificates: Arc<[Arc<LoadedCertificate>]>,
    pub trusted_proxies: Arc<[IpNet]>,
    pub connections_per_address: u32,
    pub connections: u32,
    pub handshake_time: Duration,
    pub http1: http1::server::Settings,
    pub http2: http2::server::Settings,
    pub uri_limit: usize,
    pub body_limit: u64,
    pub forgeries: Arc<Forgeries>,
}

impl ListenerLive {
    /// Takes the sockets that were `inherited`, or binds one per worker, all on one address, so that the system spreads
    /// connections without a lock. Gives what each worker accepts on.
    /// Errors: the address cannot be had, or TLS settings that cannot be used.
    pub fn open(
        listener: &Listener,
        inherited: Vec<TcpListener>,
        workers: usize,
    ) -> io::Result<(Arc<ListenerLive>, Shares)> {
        let in_use = |error: io::Error| {
            io::Error::new(error.kind(), format!("listener {}: {}: {error}", listener.name, listener.address))
        };
        let sockets =
            if inherited.is_empty() { bind_all(listener.address, workers).map_err(in_use)? } else { inherited };
        let shares = shares(&sockets, workers)?;
        let live = ListenerLive {
            id: ListenerId(NEXT_ID.fetch_add(1, Ordering::Relaxed)),
            name: ArcSwap::from_pointee(listener.name.clone()),
            address: sockets[0].local_addr()?,
            asked: listener.address,
            addresses: Arc::default(),
            settings: ArcSwap::from_pointee(Settings::new(listener, None, None)?),
            sockets: Mutex::new(sockets),
        };
        Ok((Arc::new(live), shares))
    }

    pub fn name(&self) -> Arc<str> {
        Arc::clone(&self.name.load())
    }

    /// It is called `name` from now on; its sockets and connections are not touched.
    pub fn rename(&self, name: Arc<str>) {
        self.name.store(Arc::new(name));
    }

    /// Whether it accepts where a listener of the configuration wants to.
    pub fn is_at(&self, wanted: SocketAddr) -> bool {
        self.asked == wanted || self.address == wanted
    }

    /// Copies of the sockets, for another process. Errors: no descriptors left.
    pub fn sockets(&self) -> io::Result<Vec<TcpListener>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).iter().map(TcpListener::try_clone).collect()
    }

    /// Lets go of the sockets: they close when the workers let go of theirs too.
    pub fn release(&self) {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// For each worker, the sockets that it accepts on.
pub type Shares = Vec<Vec<TcpListener>>;

/// Every socket is accepted from, or the connections that the system puts in its backlog would wait for ever; and every
/// worker has one. With fewer sockets than workers, some are shared.
fn shares(sockets: &[TcpListener], workers: usize) -> io::Result<Shares> {
    let mut shares: Shares = (0..workers).map(|_| Vec::new()).collect();
    for turn in 0..sockets.len().max(workers) {
        let socket = sockets[turn % sockets.len()].try_clone()?;
        socket.set_nonblocking(true)?;
        shares[turn % workers].push(socket);
    }
    Ok(shares)
}

impl Settings {
    /// `same_tls`: the TLS settings in force, when the file's are equal to theirs: tickets given out stay good. `counted`: the
    /// forged tokens counted so far, which count on while their limit stays.
    pub fn new(
        listener: &Listener,
        same_tls: Option<Arc<ServerConfig>>,
        counted: Option<&Arc<Forgeries>>,
    ) -> io::Result<Settings> {
        let tls = match same_tls {
            Some(tls) => Some(tls),
            None => listener
                .tls
                .as_ref()
                .map(server_config)
                .transpose()
                .map_err(|error| io::Error::other(format!("listener {}: {error}", listener.name)))?,
        };
        let limits = &listener.limits;
        let bad_signatures = limits.bad_signatures_per_address;
        let counted = counted.filter(|counted| counted.per_minute() == bad_signatures).cloned();
        Ok(Settings {
            tls,
            certificates: listener.tls.iter().flat_map(|tls| &tls.certificates).cloned().collect(),
            trusted_proxies: listener.trusted_proxies.clone(),
            connections_per_address: limits.connections_per_address,
            connections: limits.connections,
            handshake_time: limits.handshake_time,
            http1: http1::server::Settings {
                head: HeadLimits { block: limits.headers, count: limits.header_count, uri: limits.uri },
                header_time: limits.header_time,
                idle: limits.idle,
            },
            http2: http2::server::Settings {
                streams: limits.streams,
                header_list: u32::try_from(limits.headers).unwrap_or(u32::MAX),
                header_count: limits.header_count,
                header_time: limits.header_time,
                idle: limits.idle,
            },
            uri_limit: limits.uri,
            body_limit: limits.body,
            forgeries: counted.unwrap_or_else(|| Arc::new(Forgeries::new(bad_signatures))),
        })
    }
}

fn bind_all(address: SocketAddr, workers: usize) -> io::Result<Vec<TcpListener>> {
    // SO_REUSEPORT would share the port with a second gateway started by mistake: ask for it alone first.
    drop(bind(address, false)?);
    let first = bind(address, true)?;
    let bound = first.local_addr()?;
    let rest = (1..workers).map(|_| bind(bound, true));
    std::iter::once(Ok(first)).chain(rest).collect()
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if shared {
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_a_port_that_nobody_else_gets() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let sockets = bind_all(any, 3).unwrap();
        let bound = sockets[0].local_addr().unwrap();
        assert!(sockets.iter().all(|s| s.local_addr().unwrap() == bound));
        assert_eq!(bind_all(bound, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    /// Whatever the number of workers was before an upgrade.
    #[test]
    fn no_inherited_socket_is_without_a_worker_and_no_worker_without_a_socket() {
        let sockets = bind_all("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let given = |workers| shares(&sockets, workers).unwrap().iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(given(3), [1, 1, 1]);
        assert_eq!(given(2), [2, 1]);
        assert_eq!(given(5), [1; 5]);
    }
}
