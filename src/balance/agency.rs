//! An agency as it runs: its endpoints, how TLS is spoken to them, and what is known of their health.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::bulkhead::Bulkhead;
use super::health::Health;
use super::outlier::Ejection;
use super::ramp::Ramp;
use super::resolve::Addresses;
use super::rest::{self, Rest};
use super::watch::Journal;
use crate::config::defaults;
use crate::config::model::{
    self, Agency, AgencyLimits, Balance, Endpoint, EndpointProtocol, Hedge, IdentityKind, Outlier, Retry,
};
use crate::tls::client::client_config;

#[derive(Debug)]
pub struct AgencyLive {
    pub name: Arc<str>,
    pub endpoints: Vec<Arc<EndpointLive>>,
    pub balance: Balance,
    pub identity: IdentityKind,
    pub retry: Retry,
    pub hedge: Option<Hedge>,
    pub limits: AgencyLimits,
    pub bulkhead: Arc<Bulkhead>,
    pub health: Option<model::Health>,
    pub outlier: Option<Outlier>,
    /// Present when an endpoint is `https://`.
    pub tls: Option<AgencyTls>,
    /// Held while it is decided whether one more may be ejected; nobody waits for it.
    pub(super) ejecting: Mutex<()>,
    /// Where changes of its endpoints are told, once it is in force.
    pub(super) journal: OnceLock<Journal>,
}

#[derive(Debug)]
pub struct AgencyTls {
    /// ALPN h2 and http/1.1.
    pub any: Arc<ClientConfig>,
    /// ALPN http/1.1 alone: for upgrades.
    pub http1: Arc<ClientConfig>,
}

#[derive(Debug)]
pub struct EndpointLive {
    /// Never the same for two endpoints of one process: what a worker's pool is found by.
    pub uid: u64,
    pub endpoint: Endpoint,
    /// What its certificate must be for.
    pub server_name: Option<ServerName<'static>>,
    pub vitals: Arc<Vitals>,
}

/// What is known of an endpoint's health. Outlives every change of the config that leaves its URL alone.
#[derive(Debug)]
pub struct Vitals {
    pub health: Health,
    pub ejection: Ejection,
    pub addresses: Addresses,
    pub(super) ramp: Ramp,
    pub rest: Rest,
}

static NEXT_UID: AtomicU64 = AtomicU64::new(1);

impl Vitals {
    /// Well, until the contrary is seen: a start is no outage.
    pub fn of(endpoint: &Endpoint) -> Vitals {
        Vitals {
            health: Health::default(),
            ejection: Ejection::default(),
            addresses: Addresses::of(&endpoint.host, endpoint.port),
            ramp: Ramp::default(),
            rest: Rest::default(),
        }
    }

    /// Nothing speaks against it: most endpoints, most of the time.
    pub(super) fn are_fine(&self) -> bool {
        self.health.is_healthy() && !self.ejection.is_ejected() && self.ramp.is_over() && self.rest.is_over()
    }
}

impl EndpointLive {
    pub fn new(endpoint: Endpoint, server_name: Option<ServerName<'static>>, vitals: Arc<Vitals>) -> EndpointLive {
        EndpointLive { uid: NEXT_UID.fetch_add(1, Ordering::Relaxed), endpoint, server_name, vitals }
    }
}

impl AgencyLive {
    /// Endpoints that `old` has too stay the same, and so do the connections to them, where `same_tls` says that it has the
    /// same TLS settings; what is known of their health stays in any case. Errors: TLS settings that cannot be used, with
    /// the agency's name.
    pub fn new(agency: &Agency, old: Option<&AgencyLive>, same_tls: bool) -> Result<AgencyLive, String> {
        let fault = |what: &dyn std::fmt::Display| format!("agency {}: {what}", agency.name);
        let https = agency.endpoints.iter().any(|e| e.protocol == EndpointProtocol::Https);
        let tls = match https {
            true => Some(AgencyTls {
                any: client_config(&agency.tls, &[b"h2", b"http/1.1"]).map_err(|e| fault(&e))?,
                http1: client_config(&agency.tls, &[b"http/1.1"]).map_err(|e| fault(&e))?,
            }),
            false => None,
        };
        let endpoints = agency.endpoints.iter().map(|endpoint| {
            let known = old.and_then(|old| old.endpoints.iter().find(|live| live.endpoint.url == endpoint.url));
            if let Some(known) = known.filter(|known| same_tls && known.endpoint == *endpoint) {
                return Ok(known.clone());
            }
            let server_name = match endpoint.protocol {
                EndpointProtocol::Https => {
                    let name = agency.tls.server_name.as_deref().unwrap_or(&endpoint.host);
                    let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
                    Some(ServerName::try_from(name).map_err(|e| fault(&e))?)
                }
                _ => None,
            };
            let vitals = known.map_or_else(|| Arc::new(Vitals::of(endpoint)), |known| known.vitals.clone());
            Ok(Arc::new(EndpointLive::new(endpoint.clone(), server_name, vitals)))
        });
        let endpoints = endpoints.collect::<Result<_, String>>()?;
        let mut live = AgencyLive::plain(agency.name.clone(), endpoints);
        live.balance = agency.balance;
        live.identity = agency.identity;
        live.retry = agency.retry;
        live.hedge = agency.hedge;
        live.limits = agency.limits;
        if let Some(old) = old {
            live.bulkhead = old.bulkhead.clone();
        }
        live.health = agency.health.clone();
        live.outlier = agency.outlier;
        live.tls = tls;
        Ok(live)
    }

    /// An agency of which nothing is asked but to be there.
    pub fn plain(name: Arc<str>, endpoints: Vec<Arc<EndpointLive>>) -> AgencyLive {
        AgencyLive {
            name,
            endpoints,
            balance: Balance::LeastRequest,
            identity: IdentityKind::None,
            retry: Retry { attempts: 1, budget_percent: 0 },
            hedge: None,
            limits: defaults::AGENCY_LIMITS,
            bulkhead: Arc::default(),
            health: None,
            outlier: None,
            tls: None,
            ejecting: Mutex::default(),
            journal: OnceLock::new(),
        }
    }

    /// One line of the log. `level`: `warn` or `info`. Never waits: a worker may call it.
    pub(super) fn say(&self, level: &str, endpoint: &EndpointLive, what: &str) {
        if let Some(journal) = self.journal.get() {
            journal.write(format!("{level}: agency {} endpoint {}: {what}", self.name, endpoint.endpoint.url));
        }
    }

    /// The same of the agency as a whole.
    pub(super) fn say_of_all(&self, level: &str, what: &str) {
        if let Some(journal) = self.journal.get() {
            journal.write(format!("{level}: agency {}: {what}", self.name));
        }
    }

    /// An endpoint asked to be left alone for `after`: by `all` requests, or by retries alone.
    pub fn let_rest(&self, endpoint: &EndpointLive, all: bool, after: Duration) {
        if endpoint.vitals.rest.begin(all, after) {
            let after = after.min(rest::LONGEST);
            self.say("warn", endpoint, &format!("left alone for {after:?} where others can answer, as it asked"));
        }
    }
}
