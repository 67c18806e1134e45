//! More than a worker can bear: what share of it is turned away, and whose.
//!
//! The signal is how long a worker's queue is: the delay of a timer that has to wait for its turn like everything else, or for
//! how long an accepted connection has been waiting for its turn. As in CoDel (RFC 8289), the least delay of an interval counts,
//! so that a burst is no overload; while it stays above the target, the share that is turned away grows, and shrinks again below
//! it. The lowest priority bears it first. One of these belongs to each worker: nothing is shared. It reads no clock and answers
//! nothing; `listen` feeds it, the pipeline asks it.

use std::cell::Cell;
use std::time::Duration;

use crate::config::model::{Overload as Limits, Priority};

/// How often the delay is measured, and how often the share is set anew: some ten measurements.
pub const SAMPLE: Duration = Duration::from_millis(10);
pub const INTERVAL: Duration = Duration::from_millis(100);
/// How long a queue stays, over how many intervals at least (a worker that is behind makes them long), before anything is turned
/// away: a burst that is served within it is no overload, nor is a machine that stood still for a moment.
const LASTING: Duration = Duration::from_millis(300);
const LASTING_INTERVALS: u32 = 2;
/// For how long a connection may wait for its turn before that is a queue: many come at once when a network is back, and are better
/// served late than turned away. Well below what callers wait: those that left cost nothing, so that no line gets longer than that.
const BURST: Duration = Duration::from_millis(300);
/// Fewer arrivals in an interval are no overload: what delays them is the machine, and turning them away would not help.
const FEW: u32 = 32;
/// Of all arrivals; the rest shows whether it is over, and keeps every caller's retries from being in vain.
const MOST: f64 = 0.95;
/// Change of the share in one interval, up as many times as the queue is longer than its target: quickly when a crowd comes,
/// and in small steps where it is about right, or it would swing.
const UP: f64 = 0.015;
const UP_TIMES: f64 = 8.0;
const DOWN: f64 = 0.01;
/// Quicker where the queue is shorter than this part of its target: the crowd has gone.
const SHORT: f64 = 0.2;
const DOWN_TIMES: f64 = 4.0;
/// From this share on, connections are turned away too: then handshakes are what is too much.
const CONNECTIONS: f64 = 0.25;

const CLASSES: usize = 3;

/// What becomes of a connection that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// No connection is turned away now.
    None,
    /// To be closed before its handshake.
    Lost,
    /// Served, and its first request with it: to turn that away would waste the handshake, the dearest part of it.
    Won,
}

#[derive(Debug)]
pub struct Overload {
    share: Cell<f64>,
    /// The same, as it falls on each priority, lowest first.
    shares: Cell<[f64; CLASSES]>,
    arrived: Cell<[u32; CLASSES]>,
    connections: Cell<u32>,
    least: Cell<Duration>,
    /// For how long the first in line has waited for its turn, beyond what a burst may; since the last measurement.
    backlog: Cell<Duration>,
    /// Intervals in a row in which the queue stayed, and how long they were.
    late: Cell<(u32, Duration)>,
    /// How long a connection may have waited for its turn.
    patience: Cell<Option<Duration>>,
    /// Whether one has waited longer in this interval.
    too_late: Cell<bool>,
    random: Cell<u64>,
}

impl Default for Overload {
    fn default() -> Overload {
        let (share, shares, arrived, connections, backlog, late, patience, too_late) = Default::default();
        Overload {
            share,
            shares,
            arrived,
            connections,
            backlog,
            late,
            patience,
            too_late,
            least: Cell::new(Duration::MAX),
            random: Cell::new(1),
        }
    }
}

impl Overload {
    /// A request has arrived: true when it is to be turned away. `won`: its connection won the draw for it.
    pub fn refuses(&self, priority: Priority, won: bool) -> bool {
        let class = priority as usize;
        let mut arrived = self.arrived.get();
        arrived[class] = arrived[class].saturating_add(1);
        self.arrived.set(arrived);
        !won && self.chance(self.shares.get()[class])
    }

    /// A connection was accepted.
    pub fn draw(&self) -> Draw {
        self.connections.set(self.connections.get().saturating_add(1));
        let probability = (self.share.get() - CONNECTIONS) / (MOST - CONNECTIONS);
        match probability > 0.0 {
            false => Draw::None,
            true if self.chance(probability) => Draw::Lost,
            true => Draw::Won,
        }
    }

    /// The first of the accepted connections that wait for their turn has waited for this long.
    pub fn backlog(&self, delay: Duration) {
        self.backlog.set(self.backlog.get().max(delay.saturating_sub(BURST)));
    }

    /// One measurement: how late a timer was.
    pub fn sample(&self, delay: Duration) {
        self.least.set(self.least.get().min(delay.max(self.backlog.take())));
    }

    /// Whether anybody is turned away now.
    pub fn is_on(&self) -> bool {
        self.share.get() > 0.0
    }

    /// Whether a connection that waited so long for its turn is to be turned away. In overload, serving who waited longest
    /// would have all served too late.
    pub fn is_too_late_for(&self, waited: Duration) -> bool {
        let too_late = self.patience.get().is_some_and(|patience| waited > patience);
        if too_late {
            self.too_late.set(true);
        }
        too_late
    }

    /// The end of an interval that took `passed`. `resident`: bytes of the process's memory, where there is a ceiling. Gives
    /// the share that is turned away, and the delay it follows.
    pub fn adjust(&self, limits: &Limits, passed: Duration, resident: Option<u64>) -> (f64, Duration) {
        let least = Some(self.least.replace(Duration::MAX)).filter(|least| *least != Duration::MAX).unwrap_or_default();
        let arrived = self.arrived.take();
        let all: u32 = arrived.iter().fold(0, |sum, n| sum.saturating_add(*n));
        let busy = all.saturating_add(self.connections.take()) >= FEW;
        let times = limits.queue_delay.map_or(0.0, |target| least.as_secs_f64() / target.as_secs_f64());
        let late = times > 1.0 && busy;
        let (intervals, lasted) = self.late.get();
        self.late.set(if late {
            (intervals.saturating_add(1), lasted.saturating_add(passed))
        } else {
            Default::default()
        });
        let (intervals, lasted) = self.late.get();
        let late = late && (self.is_on() || intervals >= LASTING_INTERVALS && lasted >= LASTING);
        let full = limits.memory.zip(resident).is_some_and(|(ceiling, resident)| resident > ceiling);
        let step = match (late, full) {
            (true, _) => UP * times.min(UP_TIMES),
            (false, true) => UP * UP_TIMES,
            // The queue is short because connections are turned away at its end, instead of before they join it.
            (false, false) if self.too_late.get() => UP,
            (false, false) if times < SHORT => -DOWN * DOWN_TIMES,
            (false, false) => -DOWN,
        };
        let share = (self.share.get() + step).clamp(0.0, MOST);
        self.share.set(share);
        self.too_late.set(false);
        self.patience.set(limits.queue_delay.filter(|_| share > 0.0));
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
            refused[class] = (0..arrivals[class]).filter(|_| overload.refuses(priority, false)).count() as u32;
        }
        overload.sample(Duration::from_millis(delay));
        overload.adjust(&LIMITS, INTERVAL, Some(resident));
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
            for _ in 0..2 {
                assert_eq!(interval(&overload, [1000, 1000, 1000], 200, 0), [0; 3]);
            }
            assert_eq!(interval(&overload, [1000, 1000, 1000], 1, 0), [0; 3]);
        }
    }

    #[test]
    fn connections_that_wait_for_their_turn_are_a_queue() {
        let overload = Overload::default();
        for n in 0..20 {
            assert!(n > 4 || !overload.is_on(), "many at once are no overload");
            (0..100).for_each(|_| _ = overload.draw());
            overload.backlog(Duration::from_millis(100 * n));
            interval(&overload, [0, 0, 0], 1, 0);
        }
        assert!(overload.is_on(), "though each turn is short");
        overload.backlog(Duration::from_millis(2000));
        overload.sample(Duration::ZERO);
        for _ in 0..100 {
            interval(&overload, [100, 100, 100], 1, 0);
        }
        assert!(!overload.is_on(), "and none are left: it is over");
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
        for _ in 0..6 {
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
        let draws: Vec<Draw> = (0..100).map(|_| overload.draw()).collect();
        assert!(
            draws.contains(&Draw::Lost) && !draws.contains(&Draw::None),
            "handshakes are spared as well: {draws:?}"
        );
        assert!((0..100).all(|_| !overload.refuses(Priority::Low, true)), "and not wasted");
        assert!(
            overload.is_too_late_for(Duration::from_millis(11)) && !overload.is_too_late_for(Duration::from_millis(9))
        );
        for _ in 0..25 {
            interval(&overload, [1000, 1000, 1000], 1, 0);
        }
        assert_eq!(interval(&overload, [1000, 1000, 1000], 1, 0), [0; 3], "two seconds and a half, and it is over");
        assert_eq!(overload.draw(), Draw::None);
        assert!(!overload.is_too_late_for(Duration::from_secs(1)));
    }

    #[test]
    fn memory_over_its_ceiling_sheds_even_while_the_queue_is_short() {
        let overload = Overload::default();
        interval(&overload, [100, 100, 0], 0, 1001);
        let [low, normal, _] = interval(&overload, [100, 100, 0], 0, 1001);
        assert!(low > 0 && normal == 0, "{low} {normal}");
    }
}
