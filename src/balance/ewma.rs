//! How long an endpoint takes, for `peak_ewma`: a mean that forgets, and that jumps at once when an answer is slow.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// After this long, an old measurement counts a third.
const MEMORY: Duration = Duration::from_secs(10);
/// What is taken for an endpoint that was not measured, or not lately. Low, so that it is tried; its requests in flight then
/// speak against it.
const UNKNOWN: f64 = 0.001;

/// One worker's measurements of one endpoint.
#[derive(Debug, Default)]
pub struct Ewma {
    /// Seconds.
    mean: Cell<f64>,
    at: Cell<Option<Instant>>,
}

impl Ewma {
    pub fn record(&self, took: Duration, now: Instant) {
        let (took, weight) = (took.as_secs_f64(), self.weight(now));
        let mean = self.mean.get();
        self.mean.set(if took > mean { took } else { mean * weight + took * (1.0 - weight) });
        self.at.set(Some(now));
    }

    /// Only what is slower than expected: a failure that comes fast does not make an endpoint look fast.
    pub fn record_slow(&self, took: Duration, now: Instant) {
        if took.as_secs_f64() > self.mean.get() {
            self.record(took, now);
        }
    }

    /// In seconds, never 0. What nobody measured lately fades, so that an endpoint that was slow once is tried again.
    pub fn cost(&self, now: Instant) -> f64 {
        (self.mean.get() * self.weight(now)).max(UNKNOWN)
    }

    fn weight(&self, now: Instant) -> f64 {
        let since = self.at.get().map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        (-since.as_secs_f64() / MEMORY.as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_answer_counts_at_once_and_is_forgotten_slowly() {
        let (ewma, start) = (Ewma::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        ewma.record(Duration::from_millis(10), at(0));
        ewma.record(Duration::from_secs(1), at(1));
        assert!(ewma.cost(at(1)) > 0.99);
        ewma.record(Duration::from_millis(10), at(2));
        assert!(ewma.cost(at(2)) > 0.8, "one quick answer does not make up for it");
        assert!(ewma.cost(at(60)) < 0.01);
        ewma.record_slow(Duration::from_micros(50), at(60));
        assert!(ewma.cost(at(2)) > 0.8, "a refusal is no quick answer");
    }
}
