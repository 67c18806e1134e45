//! What requests showed of an endpoint: how many went well, how many failed, and how long the answers took.
//!
//! Each worker counts for itself in a [`Seen`] that nobody else writes, so counting is a load and a store; the control plane
//! adds them up now and then (`siblings`).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::outlier::Outcome;

/// Four for each doubling, from 64 µs to more than a minute: a bucket's bounds are 19 % apart.
const BUCKETS: usize = 84;
/// Microseconds, as a power of two.
const FIRST: u32 = 6;

/// One worker's counts.
#[derive(Debug)]
pub struct Seen {
    good: AtomicU64,
    bad: AtomicU64,
    times: [AtomicU32; BUCKETS],
}

impl Default for Seen {
    fn default() -> Seen {
        Seen { good: AtomicU64::new(0), bad: AtomicU64::new(0), times: [const { AtomicU32::new(0) }; BUCKETS] }
    }
}

impl Seen {
    /// For the one worker that owns it. `took`: up to the head of the answer; `None` where that tells nothing.
    pub fn count(&self, outcome: Outcome, took: Option<Duration>) {
        match outcome {
            Outcome::Good => {
                self.good.store(self.good.load(Relaxed).wrapping_add(1), Relaxed);
                if let Some(took) = took {
                    let times = &self.times[bucket(took)];
                    times.store(times.load(Relaxed).wrapping_add(1), Relaxed);
                }
            }
            Outcome::Bad => self.bad.store(self.bad.load(Relaxed).wrapping_add(1), Relaxed),
            Outcome::Unknown => {}
        }
    }
}

/// The counts of all workers.
#[derive(Debug, Default)]
pub struct SeenByAll(Mutex<Vec<Arc<Seen>>>);

impl SeenByAll {
    /// One more worker's.
    pub fn join(&self) -> Arc<Seen> {
        let seen = Arc::new(Seen::default());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Of pools that are gone: nobody counts there any more.
        all.retain(|seen| Arc::strong_count(seen) > 1);
        all.push(seen.clone());
        seen
    }

    pub fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        for seen in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            sum.good += seen.good.load(Relaxed);
            sum.bad += seen.bad.load(Relaxed);
            for (sum, times) in sum.times.iter_mut().zip(&seen.times) {
                *sum += u64::from(times.load(Relaxed));
            }
        }
        sum
    }
}

/// Counts at one moment, or between two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    pub good: u64,
    pub bad: u64,
    times: [u64; BUCKETS],
}

impl Default for Sum {
    fn default() -> Sum {
        Sum { good: 0, bad: 0, times: [0; BUCKETS] }
    }
}

impl Sum {
    /// What came since `before`; nothing where counts were lost meanwhile.
    pub fn since(&self, before: &Sum) -> Sum {
        let mut times = [0; BUCKETS];
        for (at, time) in times.iter_mut().enumerate() {
            *time = self.times[at].saturating_sub(before.times[at]);
        }
        Sum { good: self.good.saturating_sub(before.good), bad: self.bad.saturating_sub(before.bad), times }
    }

    pub fn asked(&self) -> u64 {
        self.good + self.bad
    }

    /// How many answers were timed.
    pub fn timed(&self) -> u64 {
        self.times.iter().sum()
    }

    /// Half of the answers took no longer: up to a fifth too much.
    pub fn median(&self) -> Duration {
        let half = self.timed().div_ceil(2);
        let mut below = 0;
        let at = self.times.iter().position(|count| {
            below += count;
            below >= half
        });
        bound(at.unwrap_or(0))
    }
}

/// The upper bound of a bucket; the last has none.
fn bound(at: usize) -> Duration {
    let (octave, quarter) = (at / 4, at % 4);
    let below = 1u64 << (FIRST as usize + octave);
    Duration::from_micros(below + below / 4 * (quarter as u64 + 1))
}

fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    if micros < 1 << FIRST {
        return 0;
    }
    let octave = micros.ilog2();
    let quarter = (micros >> (octave - 2)) & 3;
    ((octave - FIRST) as usize * 4 + quarter as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_off_by_a_fourth_at_most() {
        for micros in [64u64, 100, 999, 1000, 250_000, 3_000_000, 60_000_000] {
            let seen = Seen::default();
            let all = SeenByAll(Mutex::new(vec![Arc::new(seen)]));
            let worker = all.0.lock().unwrap()[0].clone();
            for took in [1, micros, micros, micros, 90_000_000] {
                worker.count(Outcome::Good, Some(Duration::from_micros(took)));
            }
            let median = all.sum().median().as_micros() as u64;
            assert!((micros..=micros + micros / 4 + 1).contains(&median), "{micros} gives {median}");
        }
    }

    #[test]
    fn workers_are_added_up_and_only_what_is_new_counts() {
        let all = SeenByAll::default();
        let (one, two) = (all.join(), all.join());
        one.count(Outcome::Good, None);
        two.count(Outcome::Bad, None);
        two.count(Outcome::Unknown, None);
        let before = all.sum();
        assert_eq!((before.good, before.bad, before.timed()), (1, 1, 0));
        one.count(Outcome::Good, Some(Duration::from_millis(5)));
        let new = all.sum().since(&before);
        assert_eq!((new.asked(), new.bad, new.timed()), (1, 0, 1));
        drop((one, two));
        assert_eq!(all.sum().since(&before).asked(), 1);
        let _next = all.join();
        assert_eq!(all.sum().since(&before), Sum::default(), "of pools that are gone nothing is left");
    }
}
