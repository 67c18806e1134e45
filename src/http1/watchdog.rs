//! One timer for all the limits of a connection, armed lazily.
//!
//! Limits move forward with every request; arming a timer each time is dear. The deadline is only stored, and the timer,
//! when it rings early, is set to the deadline of that moment. A connection that is busy arms it about once per limit.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::clock::last_tick;

/// Far enough to mean "never", near enough for the timer wheel.
const NEVER: Duration = Duration::from_secs(86_400 * 365);

#[derive(Debug)]
pub struct Watchdog {
    sleep: Pin<Box<Sleep>>,
    deadline: Instant,
    /// What the timer is set to: it lies elsewhere in memory, and is looked at only where it must be.
    set_to: Instant,
}

impl Watchdog {
    pub fn new(after: Duration) -> Watchdog {
        let deadline = Instant::now() + after;
        Watchdog { sleep: Box::pin(sleep_until(deadline)), deadline, set_to: deadline }
    }

    /// Rings `after` from now unless it is set again before.
    pub fn set(&mut self, after: Duration) {
        self.set_at(Instant::now() + after);
    }

    /// The same, where a second may be some milliseconds less: the clock's last tick is cheaper than its time.
    pub fn set_roughly(&mut self, after: Duration) {
        if after < Duration::from_secs(1) {
            return self.set(after);
        }
        self.set_at(Instant::from_std(last_tick()) + after);
    }

    /// Rings then unless it is set again before.
    pub fn set_at(&mut self, deadline: Instant) {
        self.deadline = deadline;
        if self.deadline < self.set_to {
            self.set_timer();
        }
    }

    /// Does not ring before then.
    pub fn stay_until(&mut self, deadline: Instant) {
        if deadline > self.deadline {
            self.set_at(deadline);
        }
    }

    pub fn off(&mut self) {
        self.deadline = Instant::now() + NEVER;
    }

    /// Ready once the deadline has passed.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= self.deadline {
                return Poll::Ready(());
            }
            self.set_timer();
        }
        Poll::Pending
    }

    fn set_timer(&mut self) {
        self.set_to = self.deadline;
        self.sleep.as_mut().reset(self.deadline);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test]
    async fn it_rings_at_the_last_deadline_not_the_first() {
        let begun = Instant::now();
        let mut dog = Watchdog::new(Duration::from_millis(10));
        dog.set(Duration::from_millis(60));
        poll_fn(|cx| dog.poll(cx)).await;
        assert!(begun.elapsed() >= Duration::from_millis(60));
    }

    #[tokio::test]
    async fn a_nearer_deadline_rings_first() {
        let mut dog = Watchdog::new(Duration::from_secs(3600));
        dog.set(Duration::from_millis(5));
        tokio::time::timeout(Duration::from_secs(10), poll_fn(|cx| dog.poll(cx))).await.expect("it rang");
    }

    #[tokio::test]
    async fn switched_off_it_is_silent() {
        let mut dog = Watchdog::new(Duration::from_millis(1));
        dog.off();
        let rang = tokio::time::timeout(Duration::from_millis(30), poll_fn(|cx| dog.poll(cx))).await;
        assert!(rang.is_err());
    }
}
