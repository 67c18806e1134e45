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
use super::seen::Seen;
use super::siblings::Judge;
use crate::config::model::Balance;
use crate::http1::client::{Home, Upstream};
use crate::http2;
use crate::message::Guard;

/// Idle connections kept per endpoint and worker; more are closed as they come home.
pub(super) const IDLE_CONNECTIONS: usize = 256;
/// Shorter than what servers usually keep (60 s and more): closing first avoids the race for the last request (SM-12).
pub(super) const IDLE_TIME: Duration = Duration::from_secs(30);
/// What is idle for so long is offered to other workers: less, and a busy worker would have to look for its own connections.
const SHARE_AFTER: Duration = Duration::from_secs(1);

/// An address that did not take a connection is tried last for so long.
const SHUN_TIME: Duration = Duration::from_secs(10);

/// All endpoints this worker knows.
#[derive(Default)]
pub struct Pools {
    endpoints: RefCell<HashMap<u64, Rc<EndpointPool>>>,
    /// By the agency's name, for as long as a snapshot has one of that name.
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
    pub(super) seen: Arc<Seen>,
    /// Requests that came from another zone, where endpoints were out.
    pub(super) spilled: Cell<u64>,
    pub opened: Cell<u64>,
    pub reused: Cell<u64>,
    pub failed: Cell<u64>,
}

/// An agency's endpoints as one worker sees them; resolved once per snapshot, so that a request looks nothing up.
pub struct AgencyPools {
    pub agency: Arc<AgencyLive>,
    pub endpoints: Vec<Rc<EndpointPool>>,
    pub entrance: Rc<Entrance>,
    /// How long answers take is of interest: `balance` goes by it, or endpoints are compared.
    pub(super) is_timed: bool,
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
    /// Held here while an answer streams; before, by who sends the request. What lasts for hours has none.
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
            is_timed: agency.balance == Balance::PeakEwma || Judge::compares_times(agency),
            turn: Cell::new(0),
            weights: sum.collect(),
            dice: Cell::new(crate::chance::bits() as u64 | 1),
        }
    }

    /// Closes what has been idle too long or may lead to an address that is gone, and forgets endpoints and agencies that no snapshot has.
    pub fn tidy(&self) {
        let now = tokio::time::Instant::now();
        self.endpoints.borrow_mut().retain(|_, pool| {
            pool.leave_lost_addresses();
            pool.idle.borrow_mut().retain(|connection| now - connection.idle_since < IDLE_TIME);
            pool.share(now);
            Rc::strong_count(pool) > 1
        });
        self.ledgers.borrow_mut().retain(|_, ledger| Rc::strong_count(ledger) > 1);
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
    pub spilled: u64,
}

impl EndpointReport {
    /// Adds what another worker counted.
    pub fn add(&mut self, other: &EndpointReport) {
        self.uid = other.uid;
        self.in_flight += other.in_flight;
        self.idle += other.idle;
        self.opened += other.opened;
        self.reused += other.reused;
        self.failed += other.failed;
        self.spilled += other.spilled;
    }
}

impl EndpointPool {
    fn new(live: Arc<EndpointLive>) -> EndpointPool {
        live.shelf.join();
        EndpointPool {
            generation: Cell::new(live.vitals.addresses.generation()),
            turn: Cell::new(0),
            shunned: RefCell::default(),
            ewma: Ewma::default(),
            seen: live.vitals.seen.join(),
            spilled: Cell::new(0),
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
    pub fn lease(self: &Rc<Self>) -> Lease {
        self.in_flight.set(self.in_flight.get() + 1);
        Lease { pool: self.clone(), generation: self.generation.get(), slot: None, connection: None }
    }

    /// The idle connection used last, if it is still good: the youngest is the least likely to be closed meanwhile.
    pub fn take_idle(&self) -> Option<Box<Upstream>> {
        let mut idle = self.idle.borrow_mut();
        let own = loop {
            let Some(mut connection) = idle.pop() else { break None };
            if !connection.is_stale() {
                break Some(connection);
            }
        };
        let found = own.or_else(|| self.live.shelf.take(self.generation.get()).map(Box::new))?;
        self.reused.set(self.reused.get() + 1);
        Some(found)
    }

    /// Offers what lies idle here to other workers.
    fn share(&self, now: tokio::time::Instant) {
        let (shelf, generation) = (&self.live.shelf, self.generation.get());
        shelf.tidy(generation, now);
        if shelf.is_shared() {
            let mut idle = self.idle.borrow_mut();
            let lies = |connection: &mut Box<Upstream>| now - connection.idle_since >= SHARE_AFTER;
            let lying: Vec<_> = idle.extract_if(.., lies).filter_map(|connection| connection.park()).collect();
            if !lying.is_empty() {
                shelf.put(lying.into_iter(), generation);
            }
        }
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
            spilled: self.spilled.get(),
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

    /// Closes one of this worker's idle connections, or one that no worker has for itself, so that another may be opened. False when there is none.
    pub fn close_one(&self) -> bool {
        self.endpoints.iter().any(|pool| {
            let mut idle = pool.idle.borrow_mut();
            let any = !idle.is_empty();
            // The one that was idle for longest.
            idle.drain(..usize::from(any));
            any || pool.live.shelf.close_one()
        })
    }
}

impl Lease {
    pub fn pool(&self) -> &Rc<EndpointPool> {
        &self.pool
    }

    /// Keeps the request's place as long as this lease lives. What lasts for hours is no request under way, and needs none.
    pub fn take(&mut self, place: &mut Option<Slot>) {
        self.slot = place.take();
    }

    /// Keeps `connection` counted as long as this lease lives.
    pub fn hold(&mut self, connection: Option<Guard>) {
        self.connection = connection;
    }
}

impl Drop for EndpointPool {
    fn drop(&mut self) {
        self.live.shelf.leave();
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
