//! How long 95 of 100 answers take, of late: what a hedge waits for.

use std::cell::RefCell;
use std::time::Duration;

/// Each a quarter longer than the one before, from a quarter of a millisecond on: up to some minutes.
const BUCKETS: usize = 64;
const FIRST: f64 = 0.000_25;
const GROWTH: f64 = 1.25;
/// Fewer answers tell nothing of the slowest twentieth.
const ENOUGH: u32 = 100;
/// After so many, what is old counts half.
const MANY: u32 = 2000;

/// One worker's answers, in buckets.
#[derive(Debug)]
pub struct Latency(RefCell<Counts>);

#[derive(Debug)]
struct Counts {
    buckets: [u32; BUCKETS],
    sum: u32,
}

impl Default for Latency {
    fn default() -> Latency {
        Latency(RefCell::new(Counts { buckets: [0; BUCKETS], sum: 0 }))
    }
}

impl Latency {
    pub fn record(&self, took: Duration) {
        let mut counts = self.0.borrow_mut();
        counts.buckets[bucket(took)] += 1;
        counts.sum += 1;
        if counts.sum >= MANY {
            counts.buckets.iter_mut().for_each(|count| *count /= 2);
            counts.sum = counts.buckets.iter().sum();
        }
    }

    /// `None` until enough was seen. A quarter too long at most.
    pub fn p95(&self) -> Option<Duration> {
        let counts = self.0.borrow();
        if counts.sum < ENOUGH {
            return None;
        }
        let mut slower = counts.sum / 20;
        let at = counts.buckets.iter().rposition(|count| match slower.checked_sub(*count) {
            Some(left) => {
                slower = left;
                false
            }
            None => true,
        });
        Some(Duration::from_secs_f64(FIRST * GROWTH.powi(at.unwrap_or(0) as i32)))
    }
}

/// The first bucket whose bound holds it.
fn bucket(took: Duration) -> usize {
    let steps = (took.as_secs_f64() / FIRST).max(1.0).log(GROWTH).ceil();
    (steps as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twentieth_is_slower() {
        let latency = Latency::default();
        for n in 0..1000u64 {
            assert_eq!(latency.p95().is_some(), n >= 100);
            latency.record(Duration::from_millis(if n % 100 < 96 { 10 } else { 900 }));
        }
        let p95 = latency.p95().unwrap();
        assert!(p95 >= Duration::from_millis(10) && p95 < Duration::from_millis(13), "{p95:?}");
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let latency = Latency::default();
        (0..10_000).for_each(|_| latency.record(Duration::from_secs(5)));
        (0..50_000).for_each(|_| latency.record(Duration::from_millis(1)));
        assert!(latency.p95().unwrap() < Duration::from_millis(2));
    }

    #[test]
    fn any_length_has_a_bucket() {
        assert_eq!(bucket(Duration::ZERO), 0);
        assert_eq!(bucket(Duration::from_secs(1 << 40)), BUCKETS - 1);
    }
}
