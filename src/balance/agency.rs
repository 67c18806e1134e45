//! An agency as it runs: its endpoints and how TLS is spoken to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::config::model::{Agency, Balance, Endpoint, EndpointProtocol, IdentityKind, Retry};
use crate::tls::client::client_config;

#[derive(Debug)]
pub struct AgencyLive {
    pub name: Arc<str>,
    pub endpoints: Vec<Arc<EndpointLive>>,
    pub balance: Balance,
    pub identity: IdentityKind,
    pub retry: Retry,
    /// Present when an endpoint is `https://`.
    pub tls: Option<AgencyTls>,
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
}

static NEXT_UID: AtomicU64 = AtomicU64::new(1);

impl AgencyLive {
    /// Endpoints that `old` has too (with the same TLS settings) stay the same, and so do the connections to them.
    /// Errors: TLS settings that cannot be used, with the agency's name.
    pub fn new(agency: &Agency, old: Option<&AgencyLive>) -> Result<AgencyLive, String> {
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
            let known = old.and_then(|old| old.endpoints.iter().find(|live| live.endpoint == *endpoint));
            if let Some(known) = known {
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
            let uid = NEXT_UID.fetch_add(1, Ordering::Relaxed);
            Ok(Arc::new(EndpointLive { uid, endpoint: endpoint.clone(), server_name }))
        });
        Ok(AgencyLive {
            name: agency.name.clone(),
            endpoints: endpoints.collect::<Result<_, String>>()?,
            balance: agency.balance,
            identity: agency.identity,
            retry: agency.retry,
            tls,
        })
    }
}
