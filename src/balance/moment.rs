//! Time as an atomic can hold it: milliseconds since the process began to count, never 0.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

pub fn now() -> u64 {
    millis(START.elapsed()) + 1
}

pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2)
}
