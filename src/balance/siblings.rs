//! Endpoints that do worse than their siblings are ejected: more of their requests fail, or their answers take longer
//! (`outlier.error_rate` and `outlier.slow` of an agency).
//!
//! What all endpoints share, such as a database that is away, ejects nobody: only the difference counts. [`Judge`] runs on
//! the control plane, one task for each agency; [`judge`] is the statistics alone.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::agency::AgencyLive;
use super::outlier::Reason;
use super::resolve::jittered;
use super::seen::Sum;
use crate::config::defaults::SLOW_LEAST;
use crate::config::model::{Balance, Outlier};

/// Standard deviations that chance hardly ever exceeds: with a judgement every ten seconds, once in an hour or two, and then
/// the difference must be as large as the configuration asks, too.
const SIGMAS: f64 = 3.0;

/// What is held against an endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Shares of requests that failed, 0 to 1.
    Fails { own: f64, siblings: f64 },
    /// Medians.
    IsSlow { own: Duration, siblings: Duration },
}

impl Fault {
    pub fn reason(&self) -> Reason {
        match self {
            Fault::Fails { .. } => Reason::ErrorRate,
            Fault::IsSlow { .. } => Reason::Slow,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Fails { own, siblings } => {
                write!(f, "{:.0} % of its requests fail, of its siblings' {:.0} %", own * 100.0, siblings * 100.0)
            }
            Fault::IsSlow { own, siblings } => {
                write!(f, "its answers take {:?}, its siblings' {:?}", rounded(*own), rounded(*siblings))
            }
        }
    }
}

fn rounded(time: Duration) -> Duration {
    Duration::from_millis(time.as_millis().max(1).try_into().unwrap_or(u64::MAX))
}

/// Compares endpoints over one interval. Gives the place of each that stands out, and for what.
pub fn judge(interval: &[Sum], rules: &Outlier) -> Vec<(usize, Fault)> {
    let enough = u64::from(rules.requests);
    let rates: Vec<Option<f64>> =
        interval.iter().map(|seen| (seen.asked() >= enough).then(|| seen.bad as f64 / seen.asked() as f64)).collect();
    let times: Vec<Option<f64>> =
        interval.iter().map(|seen| (seen.timed() >= enough).then(|| seen.median().as_secs_f64())).collect();
    let fails = |at: usize| {
        let (own, siblings) = (rates[at]?, median_besides(&rates, at)?);
        let chance = SIGMAS * (siblings * (1.0 - siblings) / interval[at].asked() as f64).sqrt();
        let margin = f64::from(rules.error_rate?) / 100.0;
        // Of binary fractions: 0.3 is no more than 0.1 and 0.2 together.
        (own - siblings > margin.max(chance) - 1e-9).then_some(Fault::Fails { own, siblings })
    };
    let is_slow = |at: usize| {
        let (own, siblings) = (times[at]?, median_besides(&times, at)?);
        let is_slow = own > siblings * f64::from(rules.slow?) && own - siblings >= SLOW_LEAST.as_secs_f64();
        is_slow
            .then(|| Fault::IsSlow { own: Duration::from_secs_f64(own), siblings: Duration::from_secs_f64(siblings) })
    };
    (0..interval.len()).filter_map(|at| Some((at, fails(at).or_else(|| is_slow(at))?))).collect()
}

/// Of the others that tell enough; `None` when none does. A second bad one among four does not shift it far, as a mean would.
fn median_besides(all: &[Option<f64>], at: usize) -> Option<f64> {
    let mut others: Vec<f64> = all.iter().enumerate().filter(|(i, _)| *i != at).filter_map(|(_, v)| *v).collect();
    others.sort_unstable_by(f64::total_cmp);
    let middle = others.len().checked_sub(1)? / 2;
    Some((others[middle] + others[others.len() / 2]) / 2.0)
}

/// Compares the endpoints of one agency, again and again.
pub(super) struct Judge {
    agency: Arc<AgencyLive>,
    rules: Outlier,
}

impl Judge {
    /// `None` where nobody can be compared: there are no siblings, nothing is asked of them, or by `hash_subject` each has
    /// callers of its own, any of whom could make it look bad.
    pub fn of(agency: &Arc<AgencyLive>) -> Option<Judge> {
        let rules = agency.outlier?;
        let by_hash = matches!(agency.balance, Balance::HashSubject { .. });
        let is_asked = rules.error_rate.is_some() || rules.slow.is_some();
        (agency.endpoints.len() > 1 && is_asked && !by_hash).then(|| Judge { agency: agency.clone(), rules })
    }

    /// Whether workers have to time answers for it.
    pub fn compares_times(agency: &Arc<AgencyLive>) -> bool {
        Judge::of(agency).is_some_and(|judge| judge.rules.slow.is_some())
    }

    /// Until the task is aborted.
    pub async fn run(self) {
        let mut before = self.sums();
        loop {
            sleep(jittered(self.rules.interval, 0.9, 1.1)).await;
            let now = self.sums();
            let interval: Vec<Sum> = now.iter().zip(&before).map(|(now, before)| now.since(before)).collect();
            for (at, fault) in judge(&interval, &self.rules) {
                self.agency.eject(&self.agency.endpoints[at], &self.rules, fault.reason(), &fault);
            }
            before = now;
        }
    }

    fn sums(&self) -> Vec<Sum> {
        self.agency.endpoints.iter().map(|endpoint| endpoint.vitals.seen.sum()).collect()
    }
}

#[cfg(test)]
mod tests;
