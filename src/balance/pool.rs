//! One worker's connections to endpoints. Not shared: taking one costs neither a lock nor an atomic.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::agency::{AgencyLive, EndpointLive};
use super::bulkhead::{Entrance, Slot};
use super::ewma::Ewma;
use super::ledger::{Ledger, LedgerReport};
use super::moment;
use crate::http1::client::{Home, Upstream};
use crate::http2;
use crate::message::Guard;

/// Idle connections kept per endpoint and worker; more are closed as they come home.
const IDLE_CONNECTIONS: usize = 256;
/// Shorter than what servers usually keep (60 s and more): closing first avoids the race for the last request (SM-12).
const IDLE_TIME: Duration = Duration::from_secs(30);

/// An address that did not take a connection is tried last for so long.
const SHUN_TIME: Duration = Duration::from_secs(10);

/// All endpoints this worker knows.
#[derive(Default)]
pub struct Pools {
    endpoints: RefCell<HashMap<u64, Rc<EndpointPool>>>,
    /// By the agency's name, and never forgotten: a counter that vanishes would look like a restart.
    ledgers: RefCell<HashMap<Arc<str>, Rc<Ledger>>>,
}

pub struct EndpointPool {
    pub live: Arc<EndpointLive>,
    #[expect(clippy::vec_box, reason = "a connection is boxed once and moves through the exchange by pointer")]
    idle: RefCell<Vec<Box<Upstream>>>,
    h2: RefCell<Option<http2::client::Handle>>,
    in_flight: Cell<u32>,
    /// Of the addresses, when the connections here were opened.
    generation: Cell<u32>,
    /// Where the next connection goes, among several addresses.
    turn: Cell<usize>,
    shunned: RefCell<Vec<(SocketAddr, Instant)>>,
    pub(super) ewma: Ewma,
    pub opened: Cell<u64>,
    pub reused: Cell<u64>,
    pub failed: Cell<u64>,
}

/// An agency's endpoints as one worker sees them; resolved once per snapshot, so that a request looks nothing up.
pub struct AgencyPools {
    pub agency: Arc<AgencyLive>,
    pub endpoints: Vec<Rc<EndpointPool>>,
    pub entrance: Rc<Entrance>,
    pub(super) turn: Cell<usize>,
    /// The weights summed up to each endpoint, for draws by weight.
    pub(super) weights: Vec<u32>,
    pub(super) dice: Cell<u64>,
}

/// A request's place at an endpoint, given up on drop.
pub struct Lease {
    pool: Rc<EndpointPool>,
    /// Of the addresses, when it was taken.
    generation: u32,
    /// Gone once the exchange has become a stream that lasts.
    slot: Option<Slot>,
    /// A tunnel's connection is counted as long as the lease lives.
    connection: Option<Guard>,
}

impl Pools {
    pub fn of_agency(&self, agency: &Arc<AgencyLive>) -> AgencyPools {
        let mut known = self.endpoints.borrow_mut();
        let endpoints = agency
            .endpoints
            .iter()
            .map(|live| known.entry(live.uid).or_insert_with(|| Rc::new(EndpointPool::new(live.clone()))).clone());
        let sum = agency.endpoints.iter().scan(0, |sum: &mut u32, live| {
            *sum += live.endpoint.weight.max(1);
            Some(*sum)
        });
        let ledger = self.ledgers.borrow_mut().entry(agency.name.clone()).or_default().clone();
        AgencyPools {
            agency: agency.clone(),
            endpoints: endpoints.collect(),
            entrance: Rc::new(Entrance { agency: agency.clone(), ledger }),
            turn: Cell::new(0),
            weights: sum.collect(),
            dice: Cell::new(crate::chance::bits() as u64 | 1),
        }
    }

    /// Closes what has been idle too long or may lead to an address that is gone, and forgets endpoints that no snapshot has.
    pub fn tidy(&self) {
        let now = tokio::time::Instant::now();
        self.endpoints.borrow_mut().retain(|_, pool| {
            pool.leave_lost_addresses();
            pool.idle.borrow_mut().retain(|connection| now - connection.idle_since < IDLE_TIME);
            Rc::strong_count(pool) > 1
        });
    }

    /// A copy of what is counted, for `/agencies` and `/metrics`.
    pub fn report(&self) -> Vec<EndpointReport> {
        self.endpoints.borrow().values().map(|pool| pool.report()).collect()
    }

    /// The same of each agency.
    pub fn ledgers(&self) -> Vec<(Arc<str>, LedgerReport)> {
        self.ledgers.borrow().iter().map(|(name, ledger)| (name.clone(), ledger.report())).collect()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointReport {
    pub uid: u64,
    pub in_flight: u64,
    pub idle: u64,
    pub opened: u64,
    pub reused: u64,
    pub failed: u64,
}

impl EndpointPool {
    fn new(live: Arc<EndpointLive>) -> EndpointPool {
        EndpointPool {
            generation: Cell::new(live.vitals.addresses.generation()),
            turn: Cell::new(0),
            shunned: RefCell::default(),
            ewma: Ewma::default(),
            live,
            idle: RefCell::default(),
            h2: RefCell::default(),
            in_flight: Cell::new(0),
            opened: Cell::new(0),
            reused: Cell::new(0),
            failed: Cell::new(0),
        }
    }

    pub fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    /// For a request that has its place at the agency.
    pub fn lease_for(self: &Rc<Self>, slot: Slot) -> Lease {
        let mut lease = self.lease();
        lease.slot = Some(slot);
        lease
    }

    pub(super) fn lease(self: &Rc<Self>) -> Lease {
        self.in_flight.set(self.in_flight.get() + 1);
        Lease { pool: self.clone(), generation: self.generation.get(), slot: None, connection: None }
    }

    /// The idle connection used last, if it is still good: the youngest is the least likely to be closed meanwhile.
    pub fn take_idle(&self) -> Option<Box<Upstream>> {
        let mut idle = self.idle.borrow_mut();
        while let Some(mut connection) = idle.pop() {
            if !connection.is_stale() {
                self.reused.set(self.reused.get() + 1);
                return Some(connection);
            }
        }
        None
    }

    /// The HTTP/2 connection, while it lives.
    pub fn h2(&self) -> Option<http2::client::Handle> {
        self.h2.borrow().clone()
    }

    pub fn set_h2(&self, handle: Option<http2::client::Handle>) {
        *self.h2.borrow_mut() = handle;
    }

    /// Where a new connection may go, in the order to try. Empty: the name has no address.
    pub async fn addresses_in_turn(&self) -> Vec<SocketAddr> {
        let usable = self.live.vitals.addresses.usable().await;
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let mut order = usable.to_vec();
        if order.len() > 1 {
            order.rotate_left(turn % usable.len());
            let mut shunned = self.shunned.borrow_mut();
            shunned.retain(|(_, since)| since.elapsed() < SHUN_TIME);
            // Stable: the turn is kept among the good, and among the bad.
            order.sort_by_key(|address| shunned.iter().any(|(shunned, _)| shunned == address));
        }
        order
    }

    /// This address did not take a connection.
    pub fn shun(&self, address: SocketAddr) {
        let mut shunned = self.shunned.borrow_mut();
        shunned.retain(|(known, since)| *known != address && since.elapsed() < SHUN_TIME);
        shunned.push((address, Instant::now()));
    }

    /// New requests open new connections when an address went away: where the old ones lead is not known.
    fn leave_lost_addresses(&self) {
        let generation = self.live.vitals.addresses.generation();
        if self.generation.replace(generation) != generation {
            self.idle.borrow_mut().clear();
            self.set_h2(None);
        }
    }

    fn report(&self) -> EndpointReport {
        EndpointReport {
            uid: self.live.uid,
            in_flight: u64::from(self.in_flight.get()),
            idle: self.idle.borrow().len() as u64,
            opened: self.opened.get(),
            reused: self.reused.get(),
            failed: self.failed.get(),
        }
    }
}

impl AgencyPools {
    /// The endpoints where nothing is to be tried again just now, a bit each.
    pub fn shy_of_retries(&self) -> u64 {
        let now = moment::now();
        let shy = self.endpoints.iter().enumerate().filter(|(_, pool)| pool.live.vitals.rest.forbids_retries(now));
        shy.fold(0, |bits, (at, _)| bits | super::pick::bit(at))
    }

    /// Closes one of this worker's idle connections, so that another may be opened. False when there is none.
    pub fn close_one(&self) -> bool {
        self.endpoints.iter().any(|pool| {
            let mut idle = pool.idle.borrow_mut();
            let any = !idle.is_empty();
            // The one that was idle for longest.
            idle.drain(..usize::from(any));
            any
        })
    }
}

impl Lease {
    pub fn pool(&self) -> &Rc<EndpointPool> {
        &self.pool
    }

    /// What lasts for hours is no request under way: it does not keep one from its place.
    pub fn outlast(&mut self) {
        self.slot = None;
    }

    /// Keeps `connection` counted as long as this lease lives.
    pub fn hold(&mut self, connection: Option<Guard>) {
        self.connection = connection;
    }
}

impl Home for Lease {
    fn take_back(self, connection: Box<Upstream>) {
        let mut idle = self.pool.idle.borrow_mut();
        if idle.len() < IDLE_CONNECTIONS && self.generation == self.pool.generation.get() {
            idle.push(connection);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.in_flight.set(self.pool.in_flight.get() - 1);
    }
}
