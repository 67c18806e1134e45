//! An endpoint that says when to come back (`Retry-After`, RFC 9110 §10.2.3) is taken at its word.
//!
//! With a 503 it is ill as a whole: requests go elsewhere until then, if there is anywhere else. With a 429 it may mean one
//! caller: nothing is tried again there, and that is all. `forward` reads the field; `pick` asks who rests.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::moment;

/// However long it asks for: a mistake over there must not be an outage here.
pub const LONGEST: Duration = Duration::from_secs(60);

/// Moments; 0: not asked for, or past.
#[derive(Debug, Default)]
pub struct Rest {
    from_requests: AtomicU64,
    from_retries: AtomicU64,
}

impl Rest {
    /// It asked to be left alone for `after`: by `all` requests, or by retries alone. True when it did not rest before.
    pub fn begin(&self, all: bool, after: Duration) -> bool {
        let now = moment::now();
        let until = now + moment::millis(after.min(LONGEST));
        self.from_retries.fetch_max(until, Relaxed);
        all && self.from_requests.fetch_max(until, Relaxed) <= now
    }

    /// Nobody asked, or nobody looked since that was over.
    pub fn is_over(&self) -> bool {
        self.from_requests.load(Relaxed) == 0
    }

    /// Whether requests should go elsewhere.
    pub fn is_on(&self, now: u64) -> bool {
        let until = self.from_requests.load(Relaxed);
        if until != 0 && until <= now {
            let _ = self.from_requests.compare_exchange(until, 0, Relaxed, Relaxed);
        }
        until > now
    }

    /// The same at this moment.
    pub fn is_on_now(&self) -> bool {
        self.is_on(moment::now())
    }

    /// Whether nothing is to be tried again there.
    pub fn forbids_retries(&self, now: u64) -> bool {
        self.from_retries.load(Relaxed) > now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rests_as_long_as_it_asked_and_no_longer_than_a_minute() {
        let rest = Rest::default();
        assert!(rest.is_over() && !rest.is_on(moment::now()));
        assert!(rest.begin(true, Duration::from_secs(3600)));
        assert!(!rest.begin(true, Duration::from_secs(1)), "that is no news");
        let now = moment::now();
        assert!(rest.is_on(now) && rest.forbids_retries(now));
        assert!(!rest.is_on(now + 61_000) && rest.is_over());
    }

    #[test]
    fn one_callers_limit_keeps_nobody_else_away() {
        let rest = Rest::default();
        assert!(!rest.begin(false, Duration::from_secs(5)));
        assert!(rest.is_over() && rest.forbids_retries(moment::now()));
    }
}
