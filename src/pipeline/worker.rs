//! What one worker thread has for itself: caches, pools, counters, and its view of the snapshot in force.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use super::gate::Request;
use super::seat::Seats;
use crate::auth::TokenCache;
use crate::balance::{AgencyPools, Pools};
use crate::clock::Clock;
use crate::closing::Closing;
use crate::config::model::AccessLog;
use crate::limit::overload::Overload;
use crate::limit::shared::Counting;
use crate::live::{Live, Snapshot};
use crate::message::Outbound;
use crate::observe::Lease;
use crate::observe::record::Books;
use crate::session::Known;
use crate::store::Store;
use crate::words::AgencyId;

/// Sessions that a worker keeps decoded: with the SSO's tokens, some 3 KiB each.
const SESSIONS: usize = 4096;

pub struct Worker {
    pub live: Arc<Live>,
    pub cache: TokenCache,
    pub sessions: Known,
    pub pools: Pools,
    pub books: Books,
    pub clock: Clock,
    pub overload: Overload,
    pub(super) seats: Seats<Request, Outbound>,
    /// Wakes long-lived streams when another snapshot is in force.
    pub streams: Closing,
    view: RefCell<Rc<View>>,
    seen: Cell<u64>,
}

/// A snapshot with this worker's pools beside it. A request holds one to its end: a reload does not touch it.
pub struct View {
    pub snapshot: Arc<Snapshot>,
    agencies: Vec<AgencyPools>,
    /// The numbers of the snapshot's routes, for records that outlive this.
    pub lease: Rc<Lease>,
    /// This worker's connection to where rates are counted for all nodes.
    rates: Option<(Arc<Counting>, Store)>,
}

impl Worker {
    pub fn new(live: Arc<Live>, cache: TokenCache, books: Books, clock: Clock) -> Worker {
        let pools = Pools::default();
        let seen = live.generation();
        let view = View::of(live.load(), &pools, None);
        let (streams, overload, seats) = Default::default();
        let sessions = Known::new(SESSIONS);
        let view = RefCell::new(Rc::new(view));
        Worker { live, cache, sessions, pools, books, clock, overload, seats, streams, view, seen: Cell::new(seen) }
    }

    /// What is in force now. One atomic read, unless it has changed.
    pub fn view(&self) -> Rc<View> {
        let generation = self.live.generation();
        if self.seen.get() != generation {
            self.seen.set(generation);
            let next = View::of(self.live.load(), &self.pools, Some(&self.view.borrow()));
            *self.view.borrow_mut() = Rc::new(next);
        }
        self.view.borrow().clone()
    }
}

impl Worker {
    /// Takes up the snapshot in force, and lets every stream look whether it may go on.
    pub fn adopt(&self) {
        let view = self.view();
        let names: HashSet<&str> = view.snapshot.agencies.iter().map(|agency| &*agency.name).collect();
        self.books.tally.keep_agencies(|name| names.contains(name));
        // The pools that only the snapshot before had: a burst of reloads must not gather them until the next tick.
        self.pools.tidy();
        self.books.log.turn(view.snapshot.config.access_log != AccessLog::Off);
        self.streams.nudge();
    }
}

impl View {
    /// Connections of `old` are kept where they lead to the same server still.
    fn of(snapshot: Arc<Snapshot>, pools: &Pools, old: Option<&View>) -> View {
        let agencies = snapshot.agencies.iter().map(|agency| pools.of_agency(agency)).collect();
        let lease = Rc::new(snapshot.lease.clone());
        let rates = snapshot.shared_rates.as_ref().map(|shared| {
            let kept = old.and_then(|old| old.rates.as_ref()).filter(|(old, _)| Arc::ptr_eq(old, shared));
            let store = kept.map_or_else(|| Store::open(shared.server.clone()), |(_, store)| store.clone());
            (shared.clone(), store)
        });
        View { snapshot, agencies, lease, rates }
    }

    pub fn rates(&self) -> Option<&Store> {
        self.rates.as_ref().map(|(_, store)| store)
    }

    pub fn agency(&self, id: AgencyId) -> &AgencyPools {
        &self.agencies[id.0 as usize]
    }
}
