//! The addresses of an endpoint's name. Looked up in the background, so that no request waits for a name server; one that
//! fails changes nothing.
//!
//! [`Resolver`] runs on the control plane, one task for each endpoint with a name. Workers read [`Addresses`] when they open
//! a connection, and leave connections to addresses that are gone.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::agency::{AgencyLive, EndpointLive};
use super::lookup::{Found, INTERVAL, Lookup};

/// After a failure; doubled up to [`INTERVAL`].
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Of one name. Each is asked by health checks, and tried by requests while others refuse.
const MAX: usize = 32;

#[derive(Debug)]
pub struct Addresses {
    /// `None`: an address was written instead of a name.
    name: Option<(Arc<str>, u16)>,
    known: Mutex<Known>,
    current: watch::Sender<Current>,
    /// The last look-up failed.
    is_failing: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    all: Arc<[SocketAddr]>,
    /// Ill, by their health checks.
    avoided: Vec<SocketAddr>,
}

#[derive(Debug, Default)]
struct Current {
    usable: Arc<[SocketAddr]>,
    /// Grows when an address is no longer usable.
    generation: u32,
    /// A look-up has ended, well or not.
    was_looked_up: bool,
}

impl Addresses {
    pub fn of(host: &Arc<str>, port: u16) -> Addresses {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let literal: Option<SocketAddr> = bare.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, port));
        let all: Arc<[SocketAddr]> = literal.into_iter().collect();
        let current = Current { usable: all.clone(), generation: 0, was_looked_up: literal.is_some() };
        Addresses {
            name: literal.is_none().then(|| (host.clone(), port)),
            known: Mutex::new(Known { all, avoided: Vec::new() }),
            current: watch::Sender::new(current),
            is_failing: AtomicBool::new(false),
        }
    }

    /// What may be connected to, all of it good; empty when the name has no address. Waits for the first look-up to end.
    pub async fn usable(&self) -> Arc<[SocketAddr]> {
        let current = &self.current;
        {
            let now = current.borrow();
            if now.was_looked_up {
                return now.usable.clone();
            }
        }
        let mut reader = current.subscribe();
        // The sender is our own: it cannot be gone.
        reader.wait_for(|current| current.was_looked_up).await.map_or_else(|_| Arc::default(), |c| c.usable.clone())
    }

    /// All addresses, those that are avoided included. Waits like [`usable`](Addresses::usable).
    pub(super) async fn known(&self) -> Arc<[SocketAddr]> {
        self.usable().await;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).all.clone()
    }

    pub fn count(&self) -> usize {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).all.len()
    }

    /// Has grown when a connection that was opened before may lead to an address that is no longer usable.
    pub(super) fn generation(&self) -> u32 {
        self.current.borrow().generation
    }

    pub(super) fn name(&self) -> Option<&(Arc<str>, u16)> {
        self.name.as_ref()
    }

    /// These are ill. While all are, all are usable: whether the endpoint is asked at all is decided elsewhere.
    pub(super) fn avoid(&self, avoided: Vec<SocketAddr>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.avoided = avoided;
        self.publish(&known, false);
    }

    /// The outcome of a look-up. `None`: it failed, and changes nothing.
    fn learn(&self, found: Option<Vec<SocketAddr>>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut found) = found {
            // In an order of their own: name servers turn it at will.
            found.sort_unstable();
            found.dedup();
            found.truncate(MAX);
            known.all = found.into();
        }
        self.publish(&known, true);
    }

    /// `looked_up`: a look-up has just ended.
    fn publish(&self, known: &Known, looked_up: bool) {
        let usable: Arc<[SocketAddr]> = known.all.iter().copied().filter(|a| !known.avoided.contains(a)).collect();
        let usable = if usable.is_empty() { known.all.clone() } else { usable };
        self.current.send_if_modified(|current| {
            let is_first = looked_up && !current.was_looked_up;
            if !is_first && current.usable == usable {
                return false;
            }
            let lost = current.usable.iter().any(|address| !usable.contains(address));
            current.generation = current.generation.wrapping_add(u32::from(lost));
            current.usable = usable;
            current.was_looked_up |= looked_up;
            true
        });
    }
}

/// Keeps the addresses of one name up to date.
pub(super) struct Resolver {
    agency: Arc<AgencyLive>,
    endpoint: Arc<EndpointLive>,
    lookup: Lookup,
}

impl Resolver {
    pub fn new(agency: Arc<AgencyLive>, endpoint: Arc<EndpointLive>) -> Resolver {
        Resolver { agency, endpoint, lookup: Lookup::default() }
    }

    /// Until the task is aborted. Ends at once where there is no name.
    pub async fn run(self) {
        let addresses = &self.endpoint.vitals.addresses;
        let Some((host, port)) = addresses.name() else { return };
        let mut retry = FIRST_RETRY;
        loop {
            let found = self.lookup.ask(host, *port).await;
            let has_failed = found.is_none();
            let wait = match &found {
                // A name server that gives what is left of a TTL has a new one then.
                Some(Found { keep, .. }) => jittered(*keep, 1.0, 1.1),
                None => jittered(retry, 0.5, 1.0),
            };
            retry = if has_failed { (retry * 2).min(INTERVAL) } else { FIRST_RETRY };
            addresses.learn(found.map(|found| found.addresses));
            self.tell(has_failed, addresses.is_failing.swap(has_failed, Ordering::Relaxed));
            sleep(wait).await;
        }
    }

    fn tell(&self, fails: bool, failed: bool) {
        match (failed, fails) {
            (false, true) => {
                let meanwhile = match self.endpoint.vitals.addresses.count() {
                    0 => "requests to it fail until it does",
                    _ => "its last addresses stay in use",
                };
                self.agency.say("warn", &self.endpoint, &format!("its name does not resolve; {meanwhile}"));
            }
            (true, false) => self.agency.say("info", &self.endpoint, "its name resolves again"),
            _ => {}
        }
    }
}

/// A random part between `least` and `most` of it, so that a thousand tasks do not act at once.
pub(super) fn jittered(wait: Duration, least: f64, most: f64) -> Duration {
    let part = (crate::chance::bits() >> 96) as f64 / f64::from(u32::MAX);
    wait.mul_f64(least + (most - least) * part)
}

#[cfg(test)]
mod tests {
    use super::super::agency::Vitals;
    use super::super::lookup::tests::Server;
    use super::*;
    use crate::config::model::{Endpoint, EndpointProtocol};

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 80))
    }

    async fn usable(addresses: &Addresses) -> Vec<SocketAddr> {
        addresses.usable().await.to_vec()
    }

    #[tokio::test]
    async fn an_address_is_its_own_only_address() {
        let ip = Addresses::of(&"::1".into(), 443);
        assert_eq!(usable(&ip).await, ["[::1]:443".parse().unwrap()]);
        assert!(ip.name().is_none());
    }

    #[tokio::test]
    async fn a_failed_look_up_keeps_the_last_good_set() {
        let name = Addresses::of(&"agency.example".into(), 80);
        name.avoid(vec![]);
        assert!(!name.current.borrow().was_looked_up, "who needs it before the first look-up waits for that");
        name.learn(None);
        assert!(usable(&name).await.is_empty(), "the first look-up has ended, without an address");
        name.learn(Some(vec![address(2), address(1), address(2)]));
        assert_eq!(usable(&name).await, [address(1), address(2)]);
        name.learn(None);
        assert_eq!(usable(&name).await, [address(1), address(2)]);
    }

    /// Against a name server on loopback, whose answers may be kept for a second.
    #[tokio::test]
    async fn a_name_is_looked_up_again_when_its_ttl_is_over() {
        let server = Server::start(&[[127, 0, 0, 1]], 1).await;
        let endpoint = Endpoint {
            url: "http://agency.example:80".into(),
            protocol: EndpointProtocol::Http,
            host: "agency.example".into(),
            port: 80,
            weight: 1,
            zone: None,
        };
        let vitals = Arc::new(Vitals::of(&endpoint));
        let endpoint = Arc::new(EndpointLive::new(endpoint, None, vitals.clone()));
        let agency = Arc::new(AgencyLive::plain("a".into(), vec![endpoint.clone()]));
        let resolver = Resolver { agency, endpoint, lookup: server.lookup.clone() };
        let task = tokio::spawn(resolver.run());
        let is = |last: u8| vec![SocketAddr::from(([127, 0, 0, last], 80))];
        assert_eq!(usable(&vitals.addresses).await, is(1));

        server.says(&[[127, 0, 0, 2]], 1);
        let mut current = vitals.addresses.current.subscribe();
        current.wait_for(|current| *current.usable == *is(2)).await.unwrap();
        assert_eq!(vitals.addresses.generation(), 1);

        server.fails();
        server.asked_again(2).await;
        assert_eq!(usable(&vitals.addresses).await, is(2), "the last good set is kept");
        server.says(&[[127, 0, 0, 3]], 3600);
        current.wait_for(|current| *current.usable == *is(3)).await.unwrap();
        task.abort();
    }

    #[tokio::test]
    async fn connections_are_left_when_an_address_goes_and_only_then() {
        let name = Addresses::of(&"agency.example".into(), 80);
        name.learn(Some(vec![address(1)]));
        name.learn(Some(vec![address(1), address(2)]));
        assert_eq!(name.generation(), 0);
        name.learn(Some(vec![address(2)]));
        assert_eq!((name.generation(), usable(&name).await), (1, vec![address(2)]));
    }

    #[tokio::test]
    async fn ill_addresses_are_avoided_while_others_are_well() {
        let name = Addresses::of(&"agency.example".into(), 80);
        name.learn(Some(vec![address(1), address(2)]));
        name.avoid(vec![address(1)]);
        assert_eq!((name.generation(), usable(&name).await), (1, vec![address(2)]));
        name.avoid(vec![address(1), address(2)]);
        assert_eq!(usable(&name).await.len(), 2);
        name.avoid(vec![]);
        assert_eq!(usable(&name).await.len(), 2);
    }
}
