//! One worker's account of an agency: what it may spend on retries, how long answers take, and what came of it.
//!
//! A sick agency must not see more load because it is sick: every request pays in its percentage (`retry.budget_percent`),
//! every retry and hedge takes out a whole one. Paying in touches this worker's memory alone. Where little is asked, a few
//! retries a second are free; they are counted for all workers together, when one is wanted.

use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::adaptive::Window;
use super::agency::AgencyLive;
use super::latency::Latency;
use super::moment;
use crate::config::model::Hedge;

/// What one retry costs; a request pays in its percentage.
const RETRY: u32 = 100;
/// What can be saved up: the good hour before must not pay for a storm of retries.
const SAVINGS: u32 = 100 * RETRY;
/// Retries a second that need no budget.
const SPARE_PER_SECOND: u64 = 3;
/// So many of them may come at once: callers of a quiet agency notice nothing until an endpoint that is gone is ejected.
const SPARE_AT_ONCE: u64 = 10;
const SECOND: u64 = 1000;

#[derive(Debug, Default)]
pub struct Ledger {
    savings: Cell<u32>,
    pub(super) latency: Latency,
    window: Window,
    counts: Counts,
}

/// What became of retries and hedges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// The retry was answered.
    Answered,
    /// The retry failed as well.
    Failed,
    /// A retry was in order, and there was no budget for it.
    NoBudget,
    /// The hedge's answer was passed on.
    HedgeWon,
    /// The first endpoint answered after all.
    HedgeLost,
    /// A hedge was in order, and there was no budget for it.
    HedgeNoBudget,
}

impl Spent {
    pub const RETRIES: [Spent; 3] = [Spent::Answered, Spent::Failed, Spent::NoBudget];
    pub const HEDGES: [Spent; 3] = [Spent::HedgeWon, Spent::HedgeLost, Spent::HedgeNoBudget];

    pub const fn as_str(self) -> &'static str {
        match self {
            Spent::Answered => "answered",
            Spent::Failed => "failed",
            Spent::NoBudget | Spent::HedgeNoBudget => "budget_exhausted",
            Spent::HedgeWon => "won",
            Spent::HedgeLost => "lost",
        }
    }
}

type Counts = [Cell<u64>; 6];

/// A copy of what a worker counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerReport([u64; 6]);

impl LedgerReport {
    pub fn of(&self, spent: Spent) -> u64 {
        self.0[spent as usize]
    }

    pub fn add(&mut self, other: &LedgerReport) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine += theirs);
    }
}

impl Ledger {
    /// A request pays in.
    pub fn deposit(&self, agency: &AgencyLive) {
        self.savings.set((self.savings.get() + agency.retry.budget_percent).min(SAVINGS));
    }

    /// Takes out one retry. False when there is nothing to spend.
    pub fn withdraw(&self, agency: &AgencyLive) -> bool {
        if let Some(left) = self.savings.get().checked_sub(RETRY) {
            self.savings.set(left);
            return true;
        }
        agency.retry.budget_percent > 0 && agency.take_spare_retry(moment::now())
    }

    /// What was taken out is not needed after all.
    pub fn refund(&self) {
        self.savings.set((self.savings.get() + RETRY).min(SAVINGS));
    }

    pub fn count(&self, spent: Spent) {
        let count = &self.counts[spent as usize];
        count.set(count.get() + 1);
    }

    /// Takes note of how long an answer took, or (`is_late`) of one that did not come in time.
    pub fn took(&self, agency: &AgencyLive, took: Duration, is_late: bool) {
        if agency.hedge == Some(Hedge::P95) {
            self.latency.record(took);
        }
        if agency.limits.adaptive {
            let bulkhead = &agency.bulkhead;
            self.window.add(took, is_late, bulkhead.under_way(), agency.limits.concurrent, &bulkhead.adaptive);
        }
    }

    /// How long a read waits until it is hedged. `None`: not at all, or too little is known.
    pub fn hedge_after(&self, agency: &AgencyLive) -> Option<Duration> {
        match agency.hedge? {
            Hedge::After(time) => Some(time),
            Hedge::P95 => self.latency.p95(),
        }
    }

    pub fn report(&self) -> LedgerReport {
        LedgerReport(self.counts.each_ref().map(Cell::get))
    }
}

impl AgencyLive {
    /// Whether its answers are timed by [`Ledger::took`].
    pub fn is_timed(&self) -> bool {
        self.limits.adaptive || self.hedge == Some(Hedge::P95)
    }

    /// One of the few retries that need no budget (GCRA).
    fn take_spare_retry(&self, now: u64) -> bool {
        let next = |at: u64| {
            let next = at.max(now) + SECOND / SPARE_PER_SECOND;
            (next <= now + SPARE_AT_ONCE * SECOND / SPARE_PER_SECOND).then_some(next)
        };
        self.bulkhead.spare_retry_at.fetch_update(Relaxed, Relaxed, next).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Retry;

    fn agency(budget_percent: u32) -> AgencyLive {
        let mut agency = AgencyLive::plain("a".into(), Vec::new());
        agency.retry = Retry { attempts: 2, budget_percent };
        agency
    }

    #[test]
    fn retries_are_a_share_of_the_requests_and_a_few_beside() {
        let (agency, ledger) = (agency(20), Ledger::default());
        let mut sent = 0;
        for _ in 0..1000 {
            ledger.deposit(&agency);
            sent += usize::from(ledger.withdraw(&agency));
        }
        // A slow machine may take some seconds over it, and earns a few more.
        assert!((200..300).contains(&sent), "{sent}");
    }

    #[test]
    fn a_good_hour_does_not_pay_for_a_storm() {
        let (agency, ledger) = (agency(100), Ledger::default());
        (0..100_000).for_each(|_| ledger.deposit(&agency));
        let storm = (0..100_000).filter(|_| ledger.withdraw(&agency)).count();
        assert!(storm <= 200, "{storm}");
    }

    #[test]
    fn without_traffic_a_few_a_second_are_free_for_all_workers_together() {
        let (agency, one, two) = (agency(20), Ledger::default(), Ledger::default());
        let now = moment::now() + 10_000;
        assert_eq!((0..30).filter(|_| agency.take_spare_retry(now)).count(), 10);
        assert_eq!((0..30).filter(|_| agency.take_spare_retry(now + 1000)).count(), 3);
        assert!(!one.withdraw(&agency) && !two.withdraw(&agency), "the spare ones are spent");
    }

    #[test]
    fn a_budget_of_nothing_is_none() {
        let (agency, ledger) = (agency(0), Ledger::default());
        ledger.deposit(&agency);
        assert!(!ledger.withdraw(&agency));
    }
}
