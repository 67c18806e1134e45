//! The configuration once it is checked: nothing in it is left to parse, to look up or to doubt.
//!
//! Made by `config::load` alone; read by `live::compile`, the command line and tests. It knows nothing that runs: no
//! socket, no cache, no counter. Names are resolved to ids, files are read, durations and sizes are numbers.

mod same;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
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

/// How callers who logged in through the gateway are remembered (STANDARDS AS-8, BF-2, BF-4).
#[derive(Clone, Debug, PartialEq)]
pub struct Sessions {
    pub store: SessionStore,
    /// The first seals, all open. Empty: one is made at first start and kept in `state_dir`.
    pub keys: Vec<SessionKey>,
    /// Begins with `__Host-`.
    pub cookie: Arc<str>,
    /// Of levels 1, 2 and 3.
    pub levels: [SessionLimit; 3],
    /// Sessions that one subject may have at once; one more ends the oldest.
    pub per_subject: u32,
    /// How long a stream may go on when its session has ended.
    pub grace: Duration,
    /// Logins that one address may begin.
    pub logins: Rate,
}

/// What seals sessions that leave the process, and the login's own state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionKey(Secret<[u8; 32]>);

impl SessionKey {
    /// The base64 of 32 bytes, as `openssl rand -base64 32` writes it.
    pub fn parse(text: &[u8]) -> Option<SessionKey> {
        let mut key = [0; 32];
        let decoded = STANDARD.decode_slice(text.trim_ascii(), &mut key);
        (decoded == Ok(32)).then(|| SessionKey(Secret::new(key)))
    }

    pub const fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum SessionStore {
    /// In this process; at most so many, the longest idle goes.
    Memory { max: u32 },
    /// Sealed, in the browser's cookies. `shared`: where the nodes tell each other what ended.
    Cookie { shared: Option<RedisServer> },
    /// Sealed, in a Redis that all nodes share.
    Redis(RedisServer),
}

/// How long one level of a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimit {
    /// Since it was reached.
    pub absolute: Duration,
    /// Since the session was used last; `None`: however long.
    pub idle: Option<Duration>,
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
    /// The gateway as its client; `None`: it only believes tokens that others bring.
    pub client: Option<Arc<Client>>,
}

/// The gateway as a client of an SSO: an OpenID relying party.
#[derive(Debug, PartialEq)]
pub struct Client {
    pub id: String,
    pub auth: ClientProof,
    /// `openid` first.
    pub scopes: Vec<String>,
    pub par: Par,
    /// The claim that pages call the citizen by.
    pub display_claim: Option<String>,
    /// Claims of the ID token that agencies are told.
    pub claims: Vec<String>,
    /// The SSO answers at an address that no other is given (RFC 9700 section 4.4.2.2).
    pub own_callback: bool,
    pub provider: Provider,
}

/// How the gateway proves to the token endpoint who it is (OpenID Connect Core 1.0 section 9; RFC 8705).
#[derive(Debug)]
pub enum ClientProof {
    /// A public client: PKCE alone.
    None,
    Basic(SecretSource),
    Post(SecretSource),
    PrivateKeyJwt {
        /// PKCS#8 PEM of a P-256 or RSA key.
        key: SecretSource,
        key_id: Option<String>,
    },
    /// The certificate is shown in the handshake.
    Tls(Arc<Identity>),
}

impl ClientProof {
    /// As `auth` has it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            ClientProof::None => "none",
            ClientProof::Basic(_) => "client_secret_basic",
            ClientProof::Post(_) => "client_secret_post",
            ClientProof::PrivateKeyJwt { .. } => "private_key_jwt",
            ClientProof::Tls(_) => "tls",
        }
    }
}

impl PartialEq for ClientProof {
    fn eq(&self, other: &ClientProof) -> bool {
        match (self, other) {
            (ClientProof::None, ClientProof::None) => true,
            (ClientProof::Basic(one), ClientProof::Basic(two)) | (ClientProof::Post(one), ClientProof::Post(two)) => {
                one == two
            }
            (
                ClientProof::PrivateKeyJwt { key: one, key_id: first },
                ClientProof::PrivateKeyJwt { key: two, key_id: second },
            ) => one == two && first == second,
            (ClientProof::Tls(one), ClientProof::Tls(two)) => same::same_identity(one, two),
            _ => false,
        }
    }
}

/// Pushed authorization requests (RFC 9126).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Par {
    /// Where the SSO offers them.
    Auto,
    /// No login without.
    Required,
    Off,
}

/// Where an SSO's endpoints are learnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// `<issuer>/.well-known/openid-configuration`
    Discovery(http::Uri),
    Written(Box<ProviderEndpoints>),
}

/// What of an SSO's metadata a login needs (OpenID Connect Discovery 1.0 section 3; RFC 8414).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderEndpoints {
    pub authorization: http::Uri,
    pub token: http::Uri,
    pub end_session: Option<http::Uri>,
    pub pushed_requests: Option<http::Uri>,
    /// `authorization_response_iss_parameter_supported`: an answer without `iss` is refused (RFC 9207 section 2.4).
    pub iss_in_answer: bool,
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
    /// Empty only where `verify` is set: then nothing is ever forwarded to it.
    pub endpoints: Vec<Endpoint>,
    /// Who may ask for verdicts about its routes; `None`: nobody.
    pub verify: Option<Verify>,
    pub tls: ClientTls,
    pub health: Option<Health>,
    /// `None` for `outlier: off`.
    pub outlier: Option<Outlier>,
    pub balance: Balance,
    pub timeouts: Timeouts,
    pub retry: Retry,
    /// `None` for `hedge: off`.
    pub hedge: Option<Hedge>,
    pub limits: AgencyLimits,
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
    /// Where it stands; compared with the gateway's own.
    pub zone: Option<Arc<str>>,
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

/// An agency's own proxies, which ask for verdicts and forward by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verify {
    /// Their addresses. Never empty, and never everybody's.
    pub from: Vec<IpNet>,
    /// Names of which their client certificate must have one; lower case. Empty: no certificate is asked for.
    pub client: Vec<String>,
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
    /// What the body of a good answer contains.
    pub body: Option<Arc<str>>,
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
    /// How often endpoints are compared with their siblings.
    pub interval: Duration,
    /// Fewer of an endpoint in an interval tell nothing.
    pub requests: u32,
    /// Ejected when more percent of its requests fail than of its siblings', by so many points. `None`: not for that.
    pub error_rate: Option<u32>,
    /// Ejected when its answers take so many times as long as its siblings'. `None`: not for that.
    pub slow: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    LeastRequest,
    PeakEwma,
    RoundRobin,
    HashSubject {
        /// Percent of the mean in flight that an endpoint is given before callers go on to their next one. `None`: no bound.
        max_load: Option<u32>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timeouts {
    /// TCP and TLS together.
    pub connect: Duration,
    /// From the request's last byte of the head to the head of the answer.
    pub response: Duration,
    /// The longest silence in a body, a tunnel or a stream.
    pub idle: Duration,
    /// The whole of it, with the time in the agency's queue and every retry, to the last byte of the answer. `None`: no limit.
    pub request: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all, the first included. 1 means never again.
    pub attempts: u32,
    /// Retries and hedges as a share of the requests. 0: none at all.
    pub budget_percent: u32,
}

/// How long a read waits for one endpoint until another is asked as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hedge {
    /// As long as 95 of 100 answers took of late.
    P95,
    After(Duration),
}

/// What one agency may take of the gateway, so that the others keep theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgencyLimits {
    /// Requests under way.
    pub concurrent: u32,
    /// Requests that wait for one of those to end.
    pub queue: u32,
    pub queue_time: Duration,
    /// Open connections to all its endpoints, tunnels included.
    pub connections: u32,
    /// `concurrent` is the upper bound of a limit that follows the agency's latency.
    pub adaptive: bool,
}

/// What an agency is told of the caller (contract section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityKind {
    Assertion,
    Headers,
    Token,
    None,
}

/// Hosts, methods, requirement, rewriting, time limits and CORS are shared by the routes that have them alike: a hundred thousand routes
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
    pub timeouts: Arc<Timeouts>,
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

impl HostPattern {
    /// Whether some host is of both.
    pub fn overlaps(&self, other: &HostPattern) -> bool {
        match (self, other) {
            (HostPattern::Exact(host), HostPattern::Wildcard(parent))
            | (HostPattern::Wildcard(parent), HostPattern::Exact(host)) => {
                host.split_once('.').is_some_and(|(_, rest)| rest == parent)
            }
            _ => self == other,
        }
    }
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
    pub via: Via,
}

/// How a caller shows who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Via {
    /// A Bearer token in `Authorization`.
    #[default]
    Token,
    /// The session that the gateway keeps after a login at the SSO.
    Session,
    /// A token where one is sent, else the session.
    Either,
}

impl Via {
    pub const fn takes_sessions(self) -> bool {
        matches!(self, Via::Session | Via::Either)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Via::Token => "token",
            Via::Session => "session",
            Via::Either => "either",
        }
    }
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
            && same::same_roots(roots.as_ref(), other.roots.as_ref())
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
