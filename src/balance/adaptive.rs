//! A limit that follows the agency's latency (`limits.adaptive`): a gradient, after TCP Vegas and Netflix's
//! concurrency-limits.
//!
//! While answers take about as long as they do at best, the limit grows by its root; as soon as they take more than twice as
//! long, something queues over there, and it shrinks in proportion. What the best is, is found out anew every minute, with
//! a third of the load for half a second (as BBR does). Workers gather answers for themselves ([`Window`]) and take turns at
//! the limit; nobody waits for it.

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::TryLockError;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// An agency of which nothing is known may have so much at once.
const START: u32 = 64;
/// Fewer would keep one endpoint with a few threads from ever showing that it is well again.
const LEAST: u32 = 8;
/// Answers may take so many times the best before the limit shrinks: what varies by nature is no queue.
const TOLERANCE: f64 = 2.0;
/// Of the way to the new limit, a step.
const STEP: f64 = 0.2;
/// The best is found out anew after this: an agency that has become slower for good is not starved for ever.
const MEMORY: Duration = Duration::from_secs(60);
/// How long that takes, and the part of the limit meanwhile: little enough that what queued over there is gone.
const PROBE: Duration = Duration::from_millis(500);
const PROBE_PART: f64 = 1.0 / 3.0;
/// One answer of so many did not come in time: that says enough.
const LATE: u32 = 10;
/// A window holds at least so many answers, and lasts at least so long.
const ANSWERS: u32 = 10;
const TIME: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub struct Adaptive {
    allowed: AtomicU32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: f64,
    /// Seconds.
    best: f64,
    /// When the best was last found out anew.
    since: Option<Instant>,
    /// It is being found out, and is this so far.
    probed: Option<f64>,
}

impl Default for Adaptive {
    fn default() -> Adaptive {
        let state = State { limit: f64::from(START), best: f64::INFINITY, since: None, probed: None };
        Adaptive { allowed: AtomicU32::new(START), state: Mutex::new(state) }
    }
}

/// What a window held.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Seconds.
    mean: f64,
    /// Too many answers did not come in time.
    is_late: bool,
    /// The most there were.
    under_way: u32,
}

impl Adaptive {
    /// The limit, and at most `most`.
    pub fn allowed(&self, most: u32) -> u32 {
        self.allowed.load(Relaxed).min(most)
    }

    fn learn(&self, seen: Seen, most: u32, now: Instant) {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let (least, most) = (f64::from(LEAST.min(most)), f64::from(most));
        state.limit = state.next(seen, now).clamp(least, most);
        let part = if state.probed.is_some() { PROBE_PART } else { 1.0 };
        self.allowed.store((state.limit * part).max(least) as u32, Relaxed);
    }
}

impl State {
    fn next(&mut self, seen: Seen, now: Instant) -> f64 {
        if seen.is_late {
            return self.limit * (1.0 - STEP / 2.0);
        }
        let since = *self.since.get_or_insert(now);
        let age = now.saturating_duration_since(since);
        match self.probed {
            Some(best) if age < PROBE => {
                self.probed = Some(best.min(seen.mean));
                return self.limit;
            }
            Some(best) => {
                self.probed = None;
                self.best = best.min(seen.mean);
            }
            None if age >= MEMORY => {
                self.since = Some(now);
                self.probed = Some(f64::INFINITY);
                return self.limit;
            }
            None => self.best = self.best.min(seen.mean),
        }
        let gradient = (TOLERANCE * self.best / seen.mean.max(f64::MIN_POSITIVE)).clamp(0.5, 1.0);
        let wanted = self.limit * gradient + self.limit.sqrt();
        // What is not used tells nothing about more.
        if wanted > self.limit && f64::from(seen.under_way) < self.limit / 2.0 {
            return self.limit;
        }
        self.limit + (wanted - self.limit) * STEP
    }
}

/// One worker's answers since it last told of them.
#[derive(Debug, Default)]
pub struct Window {
    count: Cell<u32>,
    late: Cell<u32>,
    /// Seconds.
    sum: Cell<f64>,
    under_way: Cell<u32>,
    since: Cell<Option<Instant>>,
}

impl Window {
    /// Takes note of an answer, or (`is_late`) of one that did not come in time.
    pub fn add(&self, took: Duration, is_late: bool, under_way: u32, most: u32, adaptive: &Adaptive) {
        let now = Instant::now();
        let since = self.since.get().unwrap_or(now);
        self.since.set(Some(since));
        self.count.set(self.count.get() + 1);
        self.late.set(self.late.get() + u32::from(is_late));
        self.sum.set(self.sum.get() + took.as_secs_f64());
        self.under_way.set(self.under_way.get().max(under_way));
        if self.count.get() >= ANSWERS && now - since >= TIME {
            let count = self.count.take();
            let is_late = self.late.take() * LATE >= count;
            let seen = Seen { mean: self.sum.take() / f64::from(count), is_late, under_way: self.under_way.take() };
            adaptive.learn(seen, most, now);
            self.since.set(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An agency that answers in 10 ms while it has up to `capacity` requests, and queues what is more.
    fn settled(adaptive: &Adaptive, capacity: f64, from: Instant, seconds: u32) -> u32 {
        for tick in 0..seconds * 10 {
            let load = adaptive.allowed(4096);
            let mean = 0.010 * (f64::from(load) / capacity).max(1.0);
            let seen = Seen { mean, is_late: false, under_way: load };
            adaptive.learn(seen, 4096, from + Duration::from_millis(u64::from(tick) * 100));
        }
        adaptive.allowed(4096)
    }

    #[test]
    fn it_settles_a_little_above_what_the_agency_can_do() {
        let (adaptive, start) = (Adaptive::default(), Instant::now());
        let found = settled(&adaptive, 200.0, start, 590);
        assert!((200..=600).contains(&found), "{found}");
        // Half of the agency breaks down, and stays so.
        let found = settled(&adaptive, 100.0, start + Duration::from_secs(590), 590);
        assert!((100..=300).contains(&found), "{found}");
    }

    #[test]
    fn an_agency_that_times_out_is_left_the_least() {
        let (adaptive, start) = (Adaptive::default(), Instant::now());
        for tick in 0..2000 {
            let seen = Seen { mean: 30.0, is_late: tick > 10, under_way: 64 };
            adaptive.learn(seen, 4096, start + Duration::from_millis(tick * 100));
        }
        assert_eq!(adaptive.allowed(4096), LEAST);
    }

    #[test]
    fn what_is_not_used_does_not_grow() {
        let (adaptive, start) = (Adaptive::default(), Instant::now());
        for tick in 0..100 {
            let seen = Seen { mean: 0.010, is_late: false, under_way: 3 };
            adaptive.learn(seen, 4096, start + Duration::from_millis(tick * 100));
        }
        assert_eq!(adaptive.allowed(4096), START);
        assert_eq!(adaptive.allowed(10), 10, "never above what is configured");
    }
}
