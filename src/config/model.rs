//! The configuration once it is checked: nothing in it is left to parse, to look up or to doubt.
//!
//! Made by `config::load` alone; read by `live::compile`, the command line and tests. It knows nothing that runs: no
//! socket, no cache, no counter. Names are resolved to ids, files are read, durations and sizes are numbers.

mod agency;
mod issuer;
mod redis;
mod route;
mod same;
mod sessions;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

pub use self::agency::{
    Agency, AgencyLimits, AgencyScope, Balance, ClientTls, Endpoint, EndpointProtocol, Health, Hedge, IdentityKind,
    Outlier, Retry, Timeouts, Verify,
};
pub use self::issuer::{Algorithm, Client, ClientProof, Issuer, JwksSource, Par, Provider, ProviderEndpoints};
pub use self::redis::{RedisAddress, RedisServer, SharedRates};
pub use self::route::{
    Cors, Expectation, Expected, HostPattern, PathPattern, Priority, Rate, RateBy, Require, Rewrite, Route, Segment,
    SupposedCaller, Via,
};
pub use self::sessions::{SessionKey, SessionLimit, SessionStore, Sessions};
use crate::secret::Secret;
use crate::tls::certs::LoadedCertificate;

/// A whole `routes.yaml` with what it includes, checked.
#[derive(Debug)]
pub struct Config {
    /// As given to the program.
    pub file: PathBuf,
    /// SHA-256 over the file's bytes, lower-case hex. Included files follow, each as NUL, name, NUL, bytes.
    pub sha256: String,
    /// Every file that was read, absolute: the config file, the included ones, then certificates, keys, CAs and key sets.
    pub sources: Vec<PathBuf>,
    /// Absolute directories in which a file that appears may be an included one.
    pub source_dirs: Vec<PathBuf>,
    /// Whether to reload when one of `sources` changes.
    pub watch: bool,
    pub listeners: Vec<Listener>,
    pub admin: Option<SocketAddr>,
    pub at_start: AtStart,
    pub access_log: AccessLog,
    /// `None`: one per core.
    pub workers: Option<usize>,
    /// Where the gateway stands; the environment may say otherwise.
    pub zone: Option<Arc<str>>,
    /// Absolute. Holds the last good keys, the assertion key and the pairwise key.
    pub state_dir: PathBuf,
    pub drain: Duration,
    pub contact: Contact,
    /// `iss` of the assertions; what agencies must expect.
    pub assertion: AssertionSettings,
    pub sessions: Sessions,
    pub overload: Overload,
    /// `None`: each node counts by itself.
    pub shared_rates: Option<SharedRates>,
    pub issuers: Vec<Issuer>,
    pub agencies: Vec<Agency>,
    pub routes: Vec<Route>,
    /// What the routes must decide; `live::expect` holds them to it.
    pub expectations: Vec<Expectation>,
}

/// Where a thing stands in the file: 1-based, for faults, `/routes` and `diff`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub file: Arc<str>,
    pub line: u32,
    pub column: u32,
}

/// Where the keys stand that are heeded at a start alone: a reload that changes them points there. `None`: not written.
#[derive(Clone, Debug, Default)]
pub struct AtStart {
    pub admin: Option<Position>,
    pub workers: Option<Position>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    Stdout,
    Off,
    File(PathBuf),
}

/// The channels an error page offers for a complaint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// What the organisation is called on pages.
    pub name: Option<Title>,
    pub phone: Option<String>,
    pub email: Option<String>,
    pub url: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Title {
    pub fa: String,
    pub en: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssertionSettings {
    pub issuer: String,
    /// At most 60 s (contract section 3).
    pub lifetime: Duration,
    /// PKCS#8 PEM of a P-256 key; `None`: made at first start and kept in `state_dir`.
    pub key: Option<SecretSource>,
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    File(PathBuf),
    /// Out of the environment.
    Value(Secret<String>),
}

#[derive(Debug)]
pub struct Listener {
    pub at: Position,
    pub name: Arc<str>,
    pub address: SocketAddr,
    pub tls: Option<ServerTls>,
    pub trusted_proxies: Arc<[IpNet]>,
    pub limits: ListenerLimits,
}

#[derive(Debug)]
pub struct ServerTls {
    /// Chosen by SNI; the first is the default. Never empty.
    pub certificates: Vec<Arc<LoadedCertificate>>,
    pub tls13_only: bool,
    pub client_auth: ClientAuth,
}

#[derive(Debug, Clone)]
pub enum ClientAuth {
    None,
    /// A certificate is asked for; one that is sent must verify.
    Optional(Arc<rustls::RootCertStore>),
    Required(Arc<rustls::RootCertStore>),
}

/// What one connection may take. Bytes and counts; see `config/defaults.rs` for the defaults and their reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    pub headers: usize,
    pub header_count: usize,
    pub uri: usize,
    pub header_time: Duration,
    pub handshake_time: Duration,
    pub idle: Duration,
    pub streams: u32,
    pub body: u64,
    pub connections_per_address: u32,
    pub connections: u32,
    /// In a minute.
    pub bad_signatures_per_address: u32,
}

/// When there is more than the gateway can bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overload {
    /// How long a worker's queue may stay; `None` for `queue_delay: off`.
    pub queue_delay: Option<Duration>,
    /// Bytes of memory; `None`: no ceiling but that of the process's control group.
    pub memory: Option<u64>,
}
