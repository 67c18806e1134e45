//! Slow start: an endpoint that comes back gets its share of the requests little by little, so that cold caches and a fresh
//! process are not met by full load at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::moment;

/// A JVM or a database pool is warm after about as long.
const TIME: Duration = Duration::from_secs(30);
/// Of its share, at first: enough to warm it up, and to be seen in its metrics.
const FIRST: f64 = 0.1;

/// When an endpoint came back; 0: it has its whole share.
#[derive(Debug, Default)]
pub struct Ramp(AtomicU64);

impl Ramp {
    pub fn begin(&self) {
        self.0.store(moment::now(), Ordering::Relaxed);
    }

    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// The part of its share that it may have by now, below 1; `None`: all of it.
    pub fn part(&self, now: u64) -> Option<f64> {
        let begun = self.0.load(Ordering::Relaxed);
        if begun == 0 {
            return None;
        }
        let (since, time) = (now.saturating_sub(begun), moment::millis(TIME));
        if since >= time {
            self.0.store(0, Ordering::Relaxed);
            return None;
        }
        Some(FIRST + (1.0 - FIRST) * since as f64 / time as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_grows_to_the_whole() {
        let ramp = Ramp::default();
        assert!(ramp.is_over() && ramp.part(moment::now()).is_none());
        ramp.begin();
        let begun = moment::now();
        let parts: Vec<f64> = [0, 10_000, 20_000].map(|after| ramp.part(begun + after).unwrap()).into();
        assert!(parts[0] < 0.11 && parts[0] < parts[1] && parts[1] < parts[2] && parts[2] < 0.75, "{parts:?}");
        assert_eq!(ramp.part(begun + 30_000), None);
        assert!(ramp.is_over());
    }
}
