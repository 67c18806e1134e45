//! The time of day in whole seconds, as tokens and certificates count it; scripted in tests.
//!
//! Durations on the data path use `std::time::Instant` directly: only the wall clock needs a script. Where some
//! milliseconds do not matter, the time of the kernel's last tick costs a fifth of the exact one.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Seconds since 1970-01-01T00:00:00Z (RFC 7519 `NumericDate`).
pub type UnixTime = i64;

/// Where "now" comes from. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    script: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The machine's clock.
    pub const fn system() -> Clock {
        Clock { script: None }
    }

    /// A clock that stands at `now` until it is [set](Clock::set).
    pub fn scripted(now: UnixTime) -> Clock {
        Clock { script: Some(Arc::new(AtomicI64::new(now))) }
    }

    /// Moves a scripted clock; the machine's clock is left alone.
    pub fn set(&self, now: UnixTime) {
        if let Some(script) = &self.script {
            script.store(now, Ordering::Relaxed);
        }
    }

    pub fn now(&self) -> UnixTime {
        match &self.script {
            Some(script) => script.load(Ordering::Relaxed),
            None => system_now(),
        }
    }
}

fn system_now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The second of the kernel's last tick: a token is not judged by it, which may have begun to be valid since.
pub fn second_of_last_tick() -> u64 {
    u64::try_from(clock_gettime(ClockId::RealtimeCoarse).tv_sec).unwrap_or_default()
}

/// When the kernel's clock last ticked: 1 to 10 ms ago, more where a virtual machine was kept waiting.
pub fn last_tick() -> Instant {
    static START: LazyLock<(Instant, Duration)> =
        LazyLock::new(|| (Instant::now(), since_boot(clock_gettime(ClockId::Monotonic))));
    let (start, then) = *START;
    start + since_boot(clock_gettime(ClockId::MonotonicCoarse)).saturating_sub(then)
}

fn since_boot(time: Timespec) -> Duration {
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_tick_was_just_now() {
        let (before, tick) = (Instant::now(), last_tick());
        assert!(tick <= Instant::now());
        assert!(before.saturating_duration_since(tick) < Duration::from_secs(10));
        let exact = system_now().unsigned_abs();
        assert!((exact - 10..=exact).contains(&second_of_last_tick()));
    }

    #[test]
    fn a_scripted_clock_stands_until_it_is_set() {
        let clock = Clock::scripted(100);
        assert_eq!(clock.now(), 100);
        clock.clone().set(200);
        assert_eq!(clock.now(), 200);
    }
}
