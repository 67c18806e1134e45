//! One worker's connections to endpoints. Not shared: taking one costs neither a lock nor an atomic.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::agency::{AgencyLive, EndpointLive};
use crate::http1::client::{Home, Upstream};
use crate::http2;

/// Idle connections kept per endpoint and worker; more are closed as they come home.
const IDLE_CONNECTIONS: usize = 256;
/// Shorter than what servers usually keep (60 s and more): closing first avoids the race for the last request (SM-12).
const IDLE_TIME: Duration = Duration::from_secs(30);

/// All endpoints this worker knows.
#[derive(Default)]
pub struct Pools {
    endpoints: RefCell<HashMap<u64, Rc<EndpointPool>>>,
}

pub struct EndpointPool {
    pub live: Arc<EndpointLive>,
    #[expect(clippy::vec_box, reason = "a connection is boxed once and moves through the exchange by pointer")]
    idle: RefCell<Vec<Box<Upstream>>>,
    h2: RefCell<Option<http2::client::Handle>>,
    in_flight: Cell<u32>,
    pub opened: Cell<u64>,
    pub reused: Cell<u64>,
    pub failed: Cell<u64>,
}

/// An agency's endpoints as one worker sees them; resolved once per snapshot, so that a request looks nothing up.
pub struct AgencyPools {
    pub agency: Arc<AgencyLive>,
    pub endpoints: Vec<Rc<EndpointPool>>,
    pub(super) turn: Cell<usize>,
}

/// A request's place at an endpoint, given up on drop.
pub struct Lease(Rc<EndpointPool>);

impl Pools {
    pub fn of_agency(&self, agency: &Arc<AgencyLive>) -> AgencyPools {
        let mut known = self.endpoints.borrow_mut();
        let endpoints = agency
            .endpoints
            .iter()
            .map(|live| known.entry(live.uid).or_insert_with(|| Rc::new(EndpointPool::new(live.clone()))).clone());
        AgencyPools { agency: agency.clone(), endpoints: endpoints.collect(), turn: Cell::new(0) }
    }

    /// Closes what has been idle too long, and forgets endpoints that no snapshot has.
    pub fn tidy(&self) {
        let now = tokio::time::Instant::now();
        self.endpoints.borrow_mut().retain(|_, pool| {
            pool.idle.borrow_mut().retain(|connection| now - connection.idle_since < IDLE_TIME);
            Rc::strong_count(pool) > 1
        });
    }

    /// A copy of what is counted, for `/agencies` and `/metrics`.
    pub fn report(&self) -> Vec<EndpointReport> {
        self.endpoints.borrow().values().map(|pool| pool.report()).collect()
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

    pub fn lease(self: &Rc<Self>) -> Lease {
        self.in_flight.set(self.in_flight.get() + 1);
        Lease(self.clone())
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

impl Lease {
    pub fn pool(&self) -> &Rc<EndpointPool> {
        &self.0
    }
}

impl Home for Lease {
    fn take_back(self, connection: Box<Upstream>) {
        let mut idle = self.0.idle.borrow_mut();
        if idle.len() < IDLE_CONNECTIONS {
            idle.push(connection);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}
