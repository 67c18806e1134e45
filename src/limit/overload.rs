//! More than a worker can bear: what share of it is turned away, and whose.
//!
//! The signal is how long a worker's queue is: the delay of a timer that has to wait for its turn like everything else. As in
//! CoDel (RFC 8289), the least delay of an interval counts, so that a burst is no overload; while it stays above the target,
//! the share that is turned away grows, and shrinks again below it. The lowest priority bears it first. One of these belongs to
//! each worker: nothing is shared. It reads no clock and answers nothing; `listen` feeds it, the pipeline asks it.

use std::cell::Cell;
use std::time::Duration;

use crate::config::model::{Overload as Limits, Priority};

/// How often the delay is measured, and how often the share is set anew: some ten measurements.
pub const SAMPLE: Duration = Duration::from_millis(10);
pub const INTERVAL: Duration = Duration::from_millis(100);
/// Intervals that a queue stays before anything is turned away: a burst that takes one or two to be served is no overload.
const LASTING: u32 = 3;
/// Fewer arrivals in an interval are no overload: what delays them is the machine, and turning them away would not help.
const FEW: u32 = 32;
/// Of all arrivals; the rest shows whether it is over, and keeps every caller's retries from being in vain.
const MOST: f64 = 0.95;
/// Change of the share in one interval: up quickly, as queues grow at once; down slowly, or it would swing.
const UP: f64 = 0.1;
const DOWN: f64 = 0.02;
/// From this share on, connections are turned away too: then handshakes are what is too much.
const CONNECTIONS: f64 = 0.5;

const CLASSES: usize = 3;

#[derive(Debug)]
pub struct Overload {
    share: Cell<f64>,
    /// The same, as it falls on each priority, lowest first.
    shares: Cell<[f64; CLASSES]>,
    arrived: Cell<[u32; CLASSES]>,
    connections: Cell<u32>,
    least: Cell<Duration>,
    /// Intervals in a row in which the queue stayed.
    late: Cell<u32>,
    random: Cell<u64>,
}

impl Default for Overload {
    fn default() -> Overload {
        let (share, shares, arrived, connections, late) = Default::default();
        Overload { share, shares, arrived, connections, late, least: Cell::new(Duration::MAX), random: Cell::new(1) }
    }
}

impl Overload {
    /// A request has arrived: true when it is to be turned away.
    pub fn refuses(&self, priority: Priority) -> bool {
        let class = priority as usize;
        let mut arrived = self.arrived.get();
        arrived[class] = arrived[class].saturating_add(1);
        self.arrived.set(arrived);
        self.chance(self.shares.get()[class])
    }

    /// A connection was accepted: true when it is to be closed before its handshake.
    pub fn refuses_connection(&self) -> bool {
        self.connections.set(self.connections.get().saturating_add(1));
        self.chance((self.share.get() - CONNECTIONS) / (MOST - CONNECTIONS))
    }

    /// One measurement: how late a timer was.
    pub fn sample(&self, delay: Duration) {
        self.least.set(self.least.get().min(delay));
    }

    /// The end of an interval. `resident`: bytes of the process's memory, where there is a ceiling. Gives the share that is
    /// turned away, and the delay it follows.
    pub fn adjust(&self, limits: &Limits, resident: Option<u64>) -> (f64, Duration) {
        let least = Some(self.least.replace(Duration::MAX)).filter(|least| *least != Duration::MAX).unwrap_or_default();
        let arrived = self.arrived.take();
        let all: u32 = arrived.iter().fold(0, |sum, n| sum.saturating_add(*n));
        let busy = all.saturating_add(self.connections.take()) >= FEW;
        let late = limits.queue_delay.is_some_and(|target| least > target) && busy;
        self.late.set(if late { self.late.get().saturating_add(1) } else { 0 });
        let late = self.late.get() >= LASTING;
        let full = limits.memory.zip(resident).is_some_and(|(ceiling, resident)| resident > ceiling);
        let step = if late || full { UP } else { -DOWN };
        let share = (self.share.get() + step).clamp(0.0, MOST);
        self.share.set(share);
        self.shares.set(spread(share, arrived));
        (share, least)
    }

    /// True with this probability. Good enough to thin out; nobody gains by guessing it.
    fn chance(&self, probability: f64) -> bool {
        if probability <= 0.0 {
            return false;
        }
        let mut x = self.random.get();
        // xorshift64 (Marsaglia 2003)
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.set(x);
        ((x >> 11) as f64) < probability * (1u64 << 53) as f64
    }
}

/// `share` of all arrivals, taken from the lowest priority first.
fn spread(share: f64, arrived: [u32; CLASSES]) -> [f64; CLASSES] {
    let mut left = share * arrived.iter().map(|n| f64::from(*n)).sum::<f64>();
    arrived.map(|count| {
        let taken = left.min(f64::from(count));
        left -= taken;
        // A class that was empty is treated as the one below it would have been: wholly, when that was not enough.
        if count == 0 { if left > 0.0 { 1.0 } else { 0.0 } } else { taken / f64::from(count) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { queue_delay: Some(Duration::from_millis(10)), memory: Some(1000) };

    /// One interval with these arrivals (low, normal, high) and this delay: how many of each are turned away.
    fn interval(overload: &Overload, arrivals: [u32; 3], delay: u64, resident: u64) -> [u32; 3] {
        let mut refused = [0; 3];
        for (class, priority) in [Priority::Low, Priority::Normal, Priority::High].into_iter().enumerate() {
            refused[class] = (0..arrivals[class]).filter(|_| overload.refuses(priority)).count() as u32;
        }
        overload.sample(Duration::from_millis(delay));
        overload.adjust(&LIMITS, Some(resident));
        refused
    }

    #[test]
    fn a_worker_that_keeps_up_turns_nobody_away() {
        let overload = Overload::default();
        for _ in 0..50 {
            assert_eq!(interval(&overload, [100, 100, 100], 10, 1000), [0; 3]);
        }
        overload.sample(Duration::from_secs(1));
        assert_eq!(interval(&overload, [100, 100, 100], 3, 0), [0; 3], "a burst: the least delay counts");
        assert_eq!(interval(&overload, [100, 100, 100], 3, 0), [0; 3]);
    }

    #[test]
    fn a_burst_that_is_served_soon_is_no_overload() {
        let overload = Overload::default();
        for _ in 0..20 {
            for _ in 1..LASTING {
                assert_eq!(interval(&overload, [1000, 1000, 1000], 200, 0), [0; 3]);
            }
            assert_eq!(interval(&overload, [1000, 1000, 1000], 1, 0), [0; 3]);
        }
    }

    #[test]
    fn few_arrivals_are_no_overload_however_slow_the_machine() {
        let overload = Overload::default();
        for _ in 0..50 {
            assert_eq!(interval(&overload, [5, 5, 5], 500, 0), [0; 3]);
        }
    }

    #[test]
    fn the_lowest_priority_bears_it_first_and_all_of_it_while_that_is_enough() {
        let overload = Overload::default();
        for _ in 0..LASTING + 2 {
            interval(&overload, [1000, 1000, 1000], 50, 0);
        }
        // 0.3 of all is 0.9 of the lowest third.
        let [low, normal, high] = interval(&overload, [1000, 1000, 1000], 50, 0);
        assert!((850..950).contains(&low) && normal == 0 && high == 0, "{low} {normal} {high}");
        for _ in 0..20 {
            interval(&overload, [1000, 1000, 1000], 50, 0);
        }
        let [low, normal, high] = interval(&overload, [1000, 1000, 1000], 50, 0);
        assert!(low == 1000 && normal == 1000 && (800..900).contains(&high), "{low} {normal} {high}");
        assert!(overload.refuses_connection(), "handshakes are spared as well");
        for _ in 0..60 {
            interval(&overload, [1000, 1000, 1000], 1, 0);
        }
        assert_eq!(interval(&overload, [1000, 1000, 1000], 1, 0), [0; 3], "and it is over");
        assert!(!overload.refuses_connection());
    }

    #[test]
    fn memory_over_its_ceiling_sheds_even_while_the_queue_is_short() {
        let overload = Overload::default();
        interval(&overload, [100, 100, 0], 0, 1001);
        let [low, normal, _] = interval(&overload, [100, 100, 0], 0, 1001);
        assert!(low > 0 && normal == 0, "{low} {normal}");
    }
}
