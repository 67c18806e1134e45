//! Whom requests are passed on to, and how.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::{Position, Title};
use crate::tls::certs::Identity;

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
