//! The configuration once it is checked: nothing in it is left to parse, to look up or to doubt.
//!
//! Made by `config::load` alone; read by `live::compile`, the command line and tests. It knows nothing that runs: no
//! socket, no cache, no counter. Names are resolved to ids, files are read, durations and sizes are numbers.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::written::Written;
use crate::secret::Secret;
use crate::tls::certs::{Identity, LoadedCertificate};
use crate::words::{AgencyId, IssuerId, Level};

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
    pub access_log: AccessLog,
    /// `None`: one per core.
    pub workers: Option<usize>,
    /// Absolute. Holds the last good keys, the assertion key and the pairwise key.
    pub state_dir: PathBuf,
    pub drain: Duration,
    pub contact: Contact,
    /// `iss` of the assertions; what agencies must expect.
    pub assertion: AssertionSettings,
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
}

#[derive(Debug)]
pub struct Issuer {
    pub at: Position,
    pub name: Arc<str>,
    /// Compared with `iss` byte for byte.
    pub issuer: String,
    pub audiences: Vec<String>,
    pub jwks: JwksSource,
    /// Extra trust for fetching keys; `None`: the system's roots.
    pub fetch_roots: Option<Arc<rustls::RootCertStore>>,
    pub algorithms: Vec<Algorithm>,
    /// Lower case, without a leading `application/`.
    pub token_types: Vec<String>,
    pub clock_skew: Duration,
    pub max_level: Level,
    pub level_claim: String,
    /// In the order of the file; every value once.
    pub levels: Vec<(String, Level)>,
    /// How often keys are fetched anew, before jitter.
    pub refresh: Duration,
    /// How long the last good keys are used while none can be fetched.
    pub keep_keys: Duration,
}

impl Issuer {
    /// The level this exact claim value stands for, capped; unknown values are level 0 (AS-1, AS-2, AS-6).
    pub fn level_of(&self, value: &str) -> Level {
        let found = self.levels.iter().find(|(v, _)| v == value);
        found.map_or(Level::NONE, |(_, level)| (*level).min(self.max_level))
    }

    /// The claim values that reach `level`, lowest sufficient first (AS-10).
    pub fn values_reaching(&self, level: Level) -> Vec<&str> {
        let mut fit: Vec<_> = self.levels.iter().filter(|(_, l)| *l >= level && *l <= self.max_level).collect();
        fit.sort_by_key(|(_, l)| *l);
        fit.into_iter().map(|(v, _)| v.as_str()).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksSource {
    File(PathBuf),
    Uri(http::Uri),
    /// `<issuer>/.well-known/openid-configuration`
    Discovery(http::Uri),
}

/// The signatures that may ever be allowed: no `none`, no HMAC (JB-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl Algorithm {
    pub const ALL: [Algorithm; 9] = {
        use Algorithm::*;
        [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA]
    };

    pub const fn as_str(self) -> &'static str {
        match self {
            Algorithm::RS256 => "RS256",
            Algorithm::RS384 => "RS384",
            Algorithm::RS512 => "RS512",
            Algorithm::PS256 => "PS256",
            Algorithm::PS384 => "PS384",
            Algorithm::PS512 => "PS512",
            Algorithm::ES256 => "ES256",
            Algorithm::ES384 => "ES384",
            Algorithm::EdDSA => "EdDSA",
        }
    }
}

#[derive(Debug)]
pub struct Agency {
    pub at: Position,
    pub name: Arc<str>,
    pub title: Title,
    /// Who answers for it.
    pub team: Option<Arc<str>>,
    pub scope: AgencyScope,
    pub province: Option<String>,
    /// Never empty.
    pub endpoints: Vec<Endpoint>,
    pub tls: ClientTls,
    pub health: Option<Health>,
    /// `None` for `outlier: off`.
    pub outlier: Option<Outlier>,
    pub balance: Balance,
    pub timeouts: Timeouts,
    pub retry: Retry,
    pub identity: IdentityKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgencyScope {
    National,
    Province,
    Dedicated,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// As written, for `/agencies` and metrics: `scheme://host:port`.
    pub url: Arc<str>,
    pub protocol: EndpointProtocol,
    pub host: Arc<str>,
    pub port: u16,
    pub weight: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointProtocol {
    /// `http://`: HTTP/1.1 in the clear.
    Http,
    /// `https://`: HTTP/2 or HTTP/1.1 by ALPN.
    Https,
    /// `h2c://`: HTTP/2 in the clear by prior knowledge.
    H2c,
}

/// Two issuers are the same when what they mean is: where they stand in the file is left aside.
impl PartialEq for Issuer {
    fn eq(&self, other: &Issuer) -> bool {
        let Issuer {
            at: _,
            name,
            issuer,
            audiences,
            jwks,
            fetch_roots,
            algorithms,
            token_types,
            clock_skew,
            max_level,
            level_claim,
            levels,
            refresh,
            keep_keys,
        } = self;
        *name == other.name
            && *issuer == other.issuer
            && *audiences == other.audiences
            && *jwks == other.jwks
            && same_roots(fetch_roots.as_ref(), other.fetch_roots.as_ref())
            && *algorithms == other.algorithms
            && *token_types == other.token_types
            && *clock_skew == other.clock_skew
            && *max_level == other.max_level
            && *level_claim == other.level_claim
            && *levels == other.levels
            && *refresh == other.refresh
            && *keep_keys == other.keep_keys
    }
}

/// As for [`Issuer`].
impl PartialEq for Agency {
    fn eq(&self, other: &Agency) -> bool {
        let Agency {
            at: _,
            name,
            title,
            scope,
            province,
            endpoints,
            tls,
            health,
            outlier,
            balance,
            timeouts,
            retry,
            identity,
            team,
        } = self;
        *name == other.name
            && *title == other.title
            && *scope == other.scope
            && *province == other.province
            && *endpoints == other.endpoints
            && *tls == other.tls
            && *health == other.health
            && *outlier == other.outlier
            && *balance == other.balance
            && *timeouts == other.timeouts
            && *retry == other.retry
            && *identity == other.identity
            && *team == other.team
    }
}

impl PartialEq for ClientTls {
    fn eq(&self, other: &ClientTls) -> bool {
        let same_client = match (&self.client, &other.client) {
            (Some(one), Some(two)) => one.chain == two.chain && one.key.secret_der() == two.key.secret_der(),
            (None, None) => true,
            _ => false,
        };
        same_client && self.server_name == other.server_name && same_roots(self.roots.as_ref(), other.roots.as_ref())
    }
}

fn same_roots(one: Option<&Arc<rustls::RootCertStore>>, two: Option<&Arc<rustls::RootCertStore>>) -> bool {
    match (one, two) {
        (Some(one), Some(two)) => one.roots == two.roots,
        (None, None) => true,
        _ => false,
    }
}

/// How an `https://` endpoint is met.
#[derive(Clone, Debug, Default)]
pub struct ClientTls {
    /// `None`: the system's roots.
    pub roots: Option<Arc<rustls::RootCertStore>>,
    /// The certificate the gateway shows to the agency.
    pub client: Option<Arc<Identity>>,
    /// The name that is asked for and verified instead of the endpoint's host.
    pub server_name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub path: String,
    /// The statuses of a good answer; empty: 200 to 399.
    pub status: Vec<u16>,
    pub interval: Duration,
    pub timeout: Duration,
    pub healthy_after: u32,
    pub unhealthy_after: u32,
}

/// When requests themselves show that an endpoint is ill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlier {
    /// Failures in a row until an endpoint is ejected.
    pub consecutive: u32,
    /// How long the first time; the nth time, n times as long.
    pub base: Duration,
    /// The longest.
    pub max: Duration,
    /// Percent of the agency's endpoints that may be out when one is ejected, itself included.
    pub max_share: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    LeastRequest,
    PeakEwma,
    RoundRobin,
    HashSubject,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP and TLS together.
    pub connect: Duration,
    /// From the request's last byte of the head to the head of the answer.
    pub response: Duration,
    /// The longest silence in a body, a tunnel or a stream.
    pub idle: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all, the first included. 1 means never again.
    pub attempts: u32,
    pub budget_percent: u32,
}

/// What an agency is told of the caller (contract section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityKind {
    Assertion,
    Headers,
    Token,
    None,
}

/// Hosts, methods, requirement, rewriting and CORS are shared by the routes that have them alike: a hundred thousand routes
/// must stay small.
#[derive(Debug)]
pub struct Route {
    pub at: Position,
    pub name: Arc<str>,
    pub agency: AgencyId,
    /// Names of listeners; `None`: all.
    pub listeners: Option<Vec<Arc<str>>>,
    /// Empty: any host.
    pub hosts: Arc<[HostPattern]>,
    pub path: PathPattern,
    /// Upper case; empty: any method. `GET` implies `HEAD`.
    pub methods: Arc<[http::Method]>,
    pub require: Arc<Require>,
    pub rewrite: Arc<Rewrite>,
    /// `None`: the listener's.
    pub body_limit: Option<u64>,
    pub rate: Option<Rate>,
    pub priority: Priority,
    /// The agency's, with what the route changes.
    pub timeouts: Timeouts,
    /// `false` for `retry: off`.
    pub retry: bool,
    pub cors: Option<Arc<Cors>>,
}

/// Lower case, no port, no trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    Exact(String),
    /// `*.example.ir` holds `example.ir`: one label, then this.
    Wildcard(String),
}

/// In canonical form (contract section 5), split at `/`: `/a/{id}/b` is `[a, {id}, b]`; `/a/` is `[a, ""]`; `/` is `[""]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// Whole path.
    Exact(Vec<Segment>),
    /// This and whatever lies below. `prefix: /` is the empty list; a written trailing slash is dropped.
    Prefix(Vec<Segment>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    Literal(String),
    /// `{name}`: any one segment that is not empty.
    Any(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Require {
    pub level: Level,
    /// Present exactly when `level` is 1 or more.
    pub issuer: Option<IssuerId>,
    pub scopes: Vec<String>,
    pub max_age: Option<Duration>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rewrite {
    /// Canonical, without trailing slash.
    pub strip_prefix: Option<String>,
    pub add_prefix: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub requests: u32,
    pub per: Duration,
    pub by: RateBy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateBy {
    Subject,
    Client,
    Address,
    Route,
}

/// Whose requests are turned away first when there are more than can be borne.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    Low,
    #[default]
    Normal,
    High,
}

/// When there is more than the gateway can bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overload {
    /// How long a worker's queue may stay; `None` for `queue_delay: off`.
    pub queue_delay: Option<Duration>,
    /// Bytes of memory; `None`: no ceiling but that of the process's control group.
    pub memory: Option<u64>,
}

/// How rates are counted by all nodes together.
#[derive(Clone, Debug, PartialEq)]
pub struct SharedRates {
    pub server: RedisServer,
    /// How long a request waits for the count at most; beyond, this node counts by itself.
    pub timeout: Duration,
}

/// A Redis that the nodes share.
#[derive(Clone, Debug)]
pub struct RedisServer {
    /// As written, for the log and metrics: there is no secret in it.
    pub url: Arc<str>,
    pub address: RedisAddress,
    pub database: i64,
    pub username: Option<String>,
    pub password: Option<Secret<String>>,
    /// `None`: the system's roots.
    pub roots: Option<Arc<rustls::RootCertStore>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisAddress {
    Unix(PathBuf),
    /// `host`: without brackets.
    Tcp {
        host: String,
        port: u16,
        tls: bool,
    },
}

impl PartialEq for RedisServer {
    fn eq(&self, other: &RedisServer) -> bool {
        let RedisServer { url, address, database, username, password, roots } = self;
        *url == other.url
            && *address == other.address
            && *database == other.database
            && *username == other.username
            && *password == other.password
            && same_roots(roots.as_ref(), other.roots.as_ref())
    }
}

/// A case of `expect`: a request, who asks, and what is to happen.
#[derive(Clone, Debug)]
pub struct Expectation {
    pub at: Position,
    /// The YAML path: `expect[3]`.
    pub path: String,
    pub name: Option<String>,
    pub request: Written,
    /// `None`: the listener that fits the URL best.
    pub listener: Option<Arc<str>>,
    /// `None`: nobody, without a token.
    pub caller: Option<SupposedCaller>,
    pub then: Expected,
}

/// Somebody with a valid token of the route's issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupposedCaller {
    pub level: Level,
    pub scopes: Vec<String>,
    /// How long ago they authenticated.
    pub age: Duration,
}

/// Each member with its place; at least one is there.
#[derive(Clone, Debug)]
pub struct Expected {
    /// `None` inside: no route.
    pub route: Option<(Option<String>, Position)>,
    /// The status; 200 means "forwarded".
    pub answer: Option<(u16, Position)>,
    /// `error` of the challenge.
    pub error: Option<(&'static str, Position)>,
    pub code: Option<(&'static str, Position)>,
}

/// Who else's pages may read the answers (Fetch standard, section 3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Exact origins (`https://portal.example.ir`). `*` only as the single entry, and never with credentials.
    pub origins: Vec<String>,
    /// Empty: the route's own methods.
    pub methods: Vec<http::Method>,
    pub headers: Vec<String>,
    pub expose: Vec<String>,
    pub credentials: bool,
    pub max_age: Duration,
}
