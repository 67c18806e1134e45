//! One look-up of a name: its addresses, and how long they may be kept.
//!
//! The system's resolver tells no TTL, so DNS is asked by ourselves, with what the system says: `/etc/hosts` first, then the
//! servers, search domains and options of `/etc/resolv.conf`. Both are read anew each time, so that an edit of them counts.
//! What DNS does not know the system is asked for last: it may have other sources (`nsswitch.conf`). Called by `resolve`.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

#[cfg(test)]
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, Record, RecordType};
use hickory_resolver::{Hosts, ResolverBuilder, TokioResolver};
use tokio::net::lookup_host;

/// Where no TTL is told. Operators who move a service keep the old address for a minute or more.
pub const INTERVAL: Duration = Duration::from_secs(30);
/// A TTL of 0 means "do not keep it", and not "ask all the time".
const SHORTEST: Duration = Duration::from_secs(1);
/// A day is written by mistake more often than it is meant; a recursive server answers from its cache anyway.
const LONGEST: Duration = Duration::from_secs(5 * 60);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Never empty.
    pub addresses: Vec<SocketAddr>,
    /// Until it is to be asked again.
    pub keep: Duration,
}

/// Who is asked.
#[derive(Clone, Debug, Default)]
pub enum Lookup {
    #[default]
    System,
    /// Certain servers and nobody else.
    #[cfg(test)]
    Servers(ResolverConfig),
}

impl Lookup {
    /// `None`: nobody knows an address. Takes as long as `resolv.conf` says, twice at the most.
    pub async fn ask(&self, host: &str, port: u16) -> Option<Found> {
        let found = |addresses: Vec<IpAddr>, keep: Duration| {
            let addresses: Vec<_> = addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
            (!addresses.is_empty()).then_some(Found { addresses, keep })
        };
        match self {
            Lookup::System => {
                if let Some(written) = found(in_hosts(host).await, INTERVAL) {
                    return Some(written);
                }
                let (addresses, keep) = match TokioResolver::builder_tokio() {
                    Ok(builder) => in_dns(builder, host).await,
                    Err(_) => Default::default(),
                };
                if let Some(known) = found(addresses, keep) {
                    return Some(known);
                }
                let told = lookup_host((host, port)).await.ok()?;
                found(told.map(|address| address.ip()).collect(), INTERVAL)
            }
            #[cfg(test)]
            Lookup::Servers(config) => {
                let provider = TokioRuntimeProvider::default();
                let (addresses, keep) =
                    in_dns(TokioResolver::builder_with_config(config.clone(), provider), host).await;
                found(addresses, keep)
            }
        }
    }
}

async fn in_hosts(host: &str) -> Vec<IpAddr> {
    let Ok(mut name) = Name::from_str(host) else { return Vec::new() };
    name.set_fqdn(true);
    // Some have a hundred thousand lines.
    let read = tokio::task::spawn_blocking(move || {
        let hosts = Hosts::from_system().unwrap_or_default();
        let kinds = [RecordType::A, RecordType::AAAA];
        let written = kinds.map(|kind| hosts.lookup_static_host(&Query::query(name.clone(), kind)));
        written.iter().flatten().flat_map(|lookup| addresses(lookup.answers())).collect()
    });
    read.await.unwrap_or_default()
}

/// The addresses, and the shortest TTL on the way to them.
async fn in_dns(mut builder: ResolverBuilder<TokioRuntimeProvider>, host: &str) -> (Vec<IpAddr>, Duration) {
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Never;
    let Ok(resolver) = builder.build() else { return Default::default() };
    let Ok(answer) = resolver.lookup_ip(host).await else { return Default::default() };
    let records = answer.as_lookup().answers();
    let ttl = records.iter().map(|record| u64::from(record.ttl)).min().unwrap_or(0);
    (addresses(records), Duration::from_secs(ttl).clamp(SHORTEST, LONGEST))
}

fn addresses(records: &[Record]) -> Vec<IpAddr> {
    records.iter().filter_map(|record| record.data.ip_addr()).collect()
}

#[cfg(test)]
pub mod tests;
