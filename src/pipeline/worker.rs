//! What one worker thread has for itself: caches, pools, counters, and its view of the snapshot in force.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use crate::auth::TokenCache;
use crate::balance::{AgencyPools, Pools};
use crate::clock::Clock;
use crate::closing::Closing;
use crate::limit::overload::Overload;
use crate::limit::shared::Counting;
use crate::live::{Live, Snapshot};
use crate::observe::record::Books;
use crate::store::Store;
use crate::words::AgencyId;

pub struct Worker {
    pub live: Arc<Live>,
    pub cache: TokenCache,
    pub pools: Pools,
    pub books: Books,
    pub clock: Clock,
    pub overload: Overload,
    /// Wakes long-lived streams when another snapshot is in force.
    pub streams: Closing,
    view: RefCell<Rc<View>>,
    seen: Cell<u64>,
}

/// A snapshot with this worker's pools beside it. A request holds one to its end: a reload does not touch it.
pub struct View {
    pub snapshot: Arc<Snapshot>,
    agencies: Vec<AgencyPools>,
    /// This worker's connection to where rates are counted for all nodes.
    rates: Option<(Arc<Counting>, Store)>,
}

impl Worker {
    pub fn new(live: Arc<Live>, cache: TokenCache, books: Books, clock: Clock) -> Worker {
        let pools = Pools::default();
        let seen = live.generation();
        let view = View::of(live.load(), &pools, None);
        let (streams, overload) = Default::default();
        Worker {
            live,
            cache,
            pools,
            books,
            clock,
            overload,
            streams,
            view: RefCell::new(Rc::new(view)),
            seen: Cell::new(seen),
        }
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
        self.view();
        self.streams.nudge();
    }
}

impl View {
    /// Connections of `old` are kept where they lead to the same server still.
    fn of(snapshot: Arc<Snapshot>, pools: &Pools, old: Option<&View>) -> View {
        let agencies = snapshot.agencies.iter().map(|agency| pools.of_agency(agency)).collect();
        let rates = snapshot.shared_rates.as_ref().map(|shared| {
            let kept = old.and_then(|old| old.rates.as_ref()).filter(|(old, _)| Arc::ptr_eq(old, shared));
            let store = kept.map_or_else(|| Store::open(shared.server.clone()), |(_, store)| store.clone());
            (shared.clone(), store)
        });
        View { snapshot, agencies, rates }
    }

    pub fn rates(&self) -> Option<&Store> {
        self.rates.as_ref().map(|(_, store)| store)
    }

    pub fn agency(&self, id: AgencyId) -> &AgencyPools {
        &self.agencies[id.0 as usize]
    }
}
