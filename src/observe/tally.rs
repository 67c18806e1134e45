//! One worker's counters. Plain cells: only the worker writes, and it makes the report itself when asked.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use super::names::StatId;
use crate::words::Code;

/// Upper bounds of the histograms' buckets, in seconds; one more holds the rest.
pub const BUCKETS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
const BUCKET_NANOS: [u64; 15] = {
    let mut nanos = [0; 15];
    let mut i = 0;
    while i < 15 {
        nanos[i] = (BUCKETS[i] * 1e9) as u64;
        i += 1;
    }
    nanos
};

/// In this order: the sum and the usual buckets, up to 50 ms, share a cache line.
#[derive(Clone, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Histogram {
    pub sum_nanos: u64,
    pub counts: [u64; BUCKETS.len() + 1],
}

impl Histogram {
    pub fn observe(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BUCKET_NANOS.partition_point(|bound| *bound < nanos);
        self.counts[bucket] += 1;
        self.sum_nanos = self.sum_nanos.saturating_add(nanos);
    }

    pub fn add(&mut self, other: &Histogram) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        self.sum_nanos = self.sum_nanos.saturating_add(other.sum_nanos);
    }
}

/// What `requests_total` tells apart within a route: all from closed sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Outcome {
    /// Index in [`crate::words::METHODS`].
    pub method: u8,
    pub status: u16,
    /// Set when the gateway answered by itself.
    pub code: Option<Code>,
}

/// What was counted of one route, as it is reported.
#[derive(Clone, Debug, Default)]
pub struct RouteTally {
    pub requests: Vec<(Outcome, u64)>,
    /// What `auth_decisions_total` tells apart; `None` is "admitted".
    pub decisions: Vec<(Option<Code>, u64)>,
    /// What `verdicts_total` tells apart; `None` is "allowed".
    pub verdicts: Vec<(Option<Code>, u64)>,
    pub duration: Histogram,
    pub in_flight: u64,
}

/// What is counted of one route. Where thousands of routes take turns, each cache line of this is fetched anew for every
/// request; so what a request usually counts lies in the first two.
#[repr(C, align(64))]
#[derive(Default)]
struct Counted {
    epoch: u32,
    in_flight: u64,
    /// The first of its kind in place, others in `more`.
    request: Option<(Outcome, u64)>,
    decision: Option<(Option<Code>, u64)>,
    duration: Histogram,
    more: More,
}

const _: () = assert!(std::mem::offset_of!(Counted, duration) <= 64);

/// A route sees a handful of outcomes: a list is found faster than a hash.
#[derive(Default)]
struct More {
    requests: Vec<(Outcome, u64)>,
    decisions: Vec<(Option<Code>, u64)>,
    verdicts: Vec<(Option<Code>, u64)>,
}

impl Counted {
    fn report(&self) -> RouteTally {
        let More { requests, decisions, verdicts } = &self.more;
        RouteTally {
            requests: self.request.iter().chain(requests).copied().collect(),
            decisions: self.decision.iter().chain(decisions).copied().collect(),
            verdicts: verdicts.clone(),
            duration: self.duration.clone(),
            in_flight: self.in_flight,
        }
    }
}

#[derive(Default)]
pub struct Tally {
    /// By slot, each of the route that had it last.
    routes: RefCell<Vec<Option<Box<Counted>>>>,
    /// Hashed, not searched: a country has hundreds.
    agencies: RefCell<HashMap<StatAgency, Histogram, ahash::RandomState>>,
    pub log_dropped: Cell<u64>,
    pub tunnels: Cell<u64>,
    pub streams_ended: Cell<u64>,
    pub refused: Refused,
    pub handshake_failed: Cell<u64>,
    /// Rates of requests that were counted where all nodes count, and by this node because that was away.
    pub rates_shared: Cell<u64>,
    pub rates_alone: Cell<u64>,
    /// What share of all requests is turned away now, and how long the worker's queue is.
    pub shed_share: Cell<f64>,
    pub queue_delay: Cell<Duration>,
}

/// Connections that were closed as they were accepted.
#[derive(Default)]
pub struct Refused {
    pub address: Cell<u64>,
    pub listener: Cell<u64>,
    pub overload: Cell<u64>,
}

/// An agency's name, shared by all snapshots that have it.
type StatAgency = std::sync::Arc<str>;

/// A copy of a worker's counters.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub routes: Vec<(StatId, RouteTally)>,
    pub agencies: Vec<(StatAgency, Histogram)>,
    pub log_dropped: u64,
    pub tunnels: u64,
    pub streams_ended: u64,
    /// Connections, by limit: of their address, of the listener, overload.
    pub refused: [u64; 3],
    pub handshake_failed: u64,
    pub rates_shared: u64,
    pub rates_alone: u64,
    pub shed_share: f64,
    pub queue_delay: Duration,
}

impl Tally {
    fn with_route(&self, id: StatId, count: impl FnOnce(&mut Counted)) {
        let mut routes = self.routes.borrow_mut();
        let at = id.slot as usize;
        if routes.len() <= at {
            routes.resize_with(at + 1, || None);
        }
        match &mut routes[at] {
            Some(counted) if counted.epoch == id.epoch => count(counted),
            // The route is gone and another has its slot: nobody asks for this count any more.
            Some(counted) if counted.epoch > id.epoch => {}
            slot => count(slot.insert(Box::new(Counted { epoch: id.epoch, ..Counted::default() }))),
        }
    }

    pub fn decided(&self, id: StatId, decision: Option<Code>) {
        self.with_route(id, |route| bump_first(&mut route.decision, &mut route.more.decisions, decision));
    }

    pub fn judged(&self, id: StatId, verdict: Option<Code>) {
        self.with_route(id, |route| bump(&mut route.more.verdicts, verdict));
    }

    pub fn began(&self, id: StatId) {
        self.with_route(id, |route| route.in_flight += 1);
    }

    pub fn ended(&self, id: StatId, outcome: Outcome, took: Duration) {
        self.with_route(id, |route| {
            route.in_flight = route.in_flight.saturating_sub(1);
            bump_first(&mut route.request, &mut route.more.requests, outcome);
            route.duration.observe(took);
        });
    }

    /// An agency answered, or failed to, after this long.
    pub fn upstream(&self, agency: &StatAgency, took: Duration) {
        let mut agencies = self.agencies.borrow_mut();
        match agencies.get_mut(agency) {
            Some(histogram) => histogram.observe(took),
            None => agencies.entry(agency.clone()).or_default().observe(took),
        }
    }

    /// Forgets agencies that are gone.
    pub fn keep_agencies(&self, is_there: impl Fn(&str) -> bool) {
        self.agencies.borrow_mut().retain(|name, _| is_there(name));
    }

    pub fn report(&self) -> Report {
        let routes = self.routes.borrow();
        let seen = routes.iter().zip(0..).filter_map(|(counted, slot)| Some((slot, counted.as_deref()?)));
        Report {
            routes: seen.map(|(slot, seen)| (StatId { slot, epoch: seen.epoch }, seen.report())).collect(),
            agencies: self.agencies.borrow().iter().map(|(name, seen)| (name.clone(), seen.clone())).collect(),
            log_dropped: self.log_dropped.get(),
            tunnels: self.tunnels.get(),
            streams_ended: self.streams_ended.get(),
            refused: [&self.refused.address, &self.refused.listener, &self.refused.overload].map(Cell::get),
            shed_share: self.shed_share.get(),
            queue_delay: self.queue_delay.get(),
            handshake_failed: self.handshake_failed.get(),
            rates_shared: self.rates_shared.get(),
            rates_alone: self.rates_alone.get(),
        }
    }
}

fn bump_first<K: PartialEq>(first: &mut Option<(K, u64)>, more: &mut Vec<(K, u64)>, key: K) {
    match first {
        Some((k, count)) if *k == key => *count += 1,
        Some(_) => bump(more, key),
        None => *first = Some((key, 1)),
    }
}

fn bump<K: PartialEq>(list: &mut Vec<(K, u64)>, key: K) {
    match list.iter_mut().find(|(k, _)| *k == key) {
        Some((_, count)) => *count += 1,
        None => list.push((key, 1)),
    }
}

/// Adds to a [`Cell`] counter.
pub fn count(cell: &Cell<u64>) {
    cell.set(cell.get() + 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let mut histogram = Histogram::default();
        histogram.observe(Duration::from_micros(500));
        histogram.observe(Duration::from_micros(501));
        histogram.observe(Duration::from_secs(31));
        assert_eq!(histogram.counts[0], 1);
        assert_eq!(histogram.counts[1], 1);
        assert_eq!(histogram.counts[BUCKETS.len()], 1);
        assert_eq!(histogram.sum_nanos, 31_001_001_000);
    }

    #[test]
    fn a_request_is_in_flight_until_it_ended() {
        let tally = Tally::default();
        let outcome = Outcome { method: 0, status: 200, code: None };
        let third = StatId { slot: 3, epoch: 1 };
        tally.began(third);
        tally.began(third);
        tally.ended(third, outcome, Duration::ZERO);
        let report = tally.report();
        let (id, route) = &report.routes[0];
        assert_eq!((*id, route.in_flight, &route.requests), (third, 1, &vec![(outcome, 1)]));
    }

    #[test]
    fn outcomes_and_decisions_are_told_apart() {
        let tally = Tally::default();
        let id = StatId { slot: 1, epoch: 0 };
        let [good, bad] = [200, 401].map(|status| Outcome { method: 0, status, code: None });
        for outcome in [good, bad, good, bad, bad] {
            tally.began(id);
            tally.ended(id, outcome, Duration::ZERO);
        }
        for decision in [Some(Code::TokenMissing), None, None] {
            tally.decided(id, decision);
        }
        let route = &tally.report().routes[0].1;
        assert_eq!(route.requests, [(good, 2), (bad, 3)]);
        assert_eq!(route.decisions, [(Some(Code::TokenMissing), 1), (None, 2)]);
        assert_eq!((route.duration.counts[0], route.in_flight), (5, 0));
    }

    #[test]
    fn a_late_count_is_not_taken_for_the_next_route_of_the_slot() {
        let tally = Tally::default();
        let (gone, next) = (StatId { slot: 3, epoch: 1 }, StatId { slot: 3, epoch: 2 });
        tally.began(gone);
        tally.began(next);
        tally.ended(gone, Outcome { method: 0, status: 200, code: None }, Duration::ZERO);
        let report = tally.report();
        assert_eq!(report.routes.len(), 1);
        assert_eq!((report.routes[0].0, report.routes[0].1.in_flight), (next, 1));
        assert!(report.routes[0].1.requests.is_empty());
    }
}
