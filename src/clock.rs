//! The time of day in whole seconds, as tokens and certificates count it; scripted in tests.
//!
//! Durations on the data path use `std::time::Instant` directly: only the wall clock needs a script.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scripted_clock_stands_until_it_is_set() {
        let clock = Clock::scripted(100);
        assert_eq!(clock.now(), 100);
        clock.clone().set(200);
        assert_eq!(clock.now(), 200);
    }
}
