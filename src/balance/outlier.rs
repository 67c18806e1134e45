//! Endpoints that fail requests are ejected: left out for a while, longer each time, and probed by one request before they
//! are back (`outlier` of an agency). Those that do worse than their siblings are found by `siblings`, and ejected here too.
//!
//! Workers tell how each request went ([`AgencyLive::note`]). Where all goes well that costs two relaxed reads; what is
//! written is written on a failure. `pick` asks who is out; what a failure is, `forward` knows.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{MutexGuard, TryLockError};
use std::time::Duration;

use super::agency::{AgencyLive, EndpointLive};
use super::moment;
use crate::config::model::Outlier;

/// How a request went, as far as it tells of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Good,
    Bad,
    /// Somebody else's fault, or nobody's.
    Unknown,
}

/// What an endpoint is ejected for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// So many in a row.
    Failures,
    /// More than of its siblings.
    ErrorRate,
    /// Its answers take longer than its siblings'.
    Slow,
}

impl Reason {
    pub const ALL: [Reason; 3] = [Reason::Failures, Reason::ErrorRate, Reason::Slow];

    /// The word in metrics and in `/agencies`.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Failures => "failures",
            Reason::ErrorRate => "error_rate",
            Reason::Slow => "slow",
        }
    }
}

/// What requests showed of one endpoint.
#[derive(Debug, Default)]
pub struct Ejection {
    /// In a row.
    failures: AtomicU32,
    /// 0: not ejected. Past: half open, until a request has gone well.
    until: AtomicU64,
    /// How often it was ejected without a long good time in between.
    times: AtomicU32,
    /// When it was last readmitted.
    returned: AtomicU64,
    /// A request is on its way to an endpoint that is half open.
    probing: AtomicBool,
    /// Of the last ejection: a place in [`Reason::ALL`].
    reason: AtomicU8,
    /// Ever, by reason.
    totals: [AtomicU64; Reason::ALL.len()],
}

impl Ejection {
    /// Until a request has gone well, half open included.
    pub fn is_ejected(&self) -> bool {
        self.until.load(Relaxed) != 0
    }

    /// Why it is ejected; `None` when it is not.
    pub fn why(&self) -> Option<Reason> {
        self.is_ejected().then(|| self.reason())
    }

    /// How often it was ejected for this.
    pub fn total(&self, reason: Reason) -> u64 {
        self.totals[reason as usize].load(Relaxed)
    }

    fn reason(&self) -> Reason {
        Reason::ALL.get(usize::from(self.reason.load(Relaxed))).copied().unwrap_or(Reason::Failures)
    }

    /// Its time is over, and nobody probes it.
    pub(super) fn is_due(&self, now: u64) -> bool {
        let until = self.until.load(Relaxed);
        until != 0 && until <= now && !self.probing.load(Relaxed)
    }

    /// Takes the place of the one that probes. It must be [given back](Ejection::end_probe).
    pub(super) fn begin_probe(&self) -> bool {
        self.probing.compare_exchange(false, true, Relaxed, Relaxed).is_ok()
    }

    pub(super) fn end_probe(&self) {
        self.probing.store(false, Relaxed);
    }

    /// Nobody is ejected any more. True when it was.
    pub(super) fn clear(&self) -> bool {
        self.failures.store(0, Relaxed);
        self.until.swap(0, Relaxed) != 0
    }

    fn is_quiet(&self) -> bool {
        self.failures.load(Relaxed) == 0 && self.until.load(Relaxed) == 0
    }

    /// A request went well. True when that ended an ejection. One that was sent before the ejection tells nothing.
    fn succeed(&self, now: u64) -> bool {
        let until = self.until.load(Relaxed);
        if until > now {
            return false;
        }
        self.failures.store(0, Relaxed);
        if until == 0 || self.until.compare_exchange(until, 0, Relaxed, Relaxed).is_err() {
            return false;
        }
        self.returned.store(now, Relaxed);
        true
    }

    fn eject(&self, now: u64, rules: &Outlier, reason: Reason) -> Duration {
        let behaved = now.saturating_sub(self.returned.load(Relaxed)) > moment::millis(rules.max);
        let times = if behaved && !self.is_ejected() { 1 } else { self.times.load(Relaxed).saturating_add(1) };
        self.times.store(times, Relaxed);
        self.reason.store(reason as u8, Relaxed);
        self.totals[reason as usize].fetch_add(1, Relaxed);
        let time = rules.base.saturating_mul(times).min(rules.max);
        self.until.store(now.saturating_add(moment::millis(time)), Relaxed);
        time
    }
}

impl AgencyLive {
    /// Takes note of how a request to one of the endpoints went.
    pub fn note(&self, endpoint: &EndpointLive, outcome: Outcome) {
        let Some(rules) = &self.outlier else { return };
        let ejection = &endpoint.vitals.ejection;
        match outcome {
            Outcome::Good if ejection.is_quiet() => {}
            Outcome::Good => {
                if ejection.succeed(moment::now()) {
                    endpoint.vitals.ramp.begin();
                    self.say("info", endpoint, "answers again: no longer ejected");
                    self.tell_zone();
                }
            }
            Outcome::Bad => self.note_failure(endpoint, rules),
            Outcome::Unknown => {}
        }
    }

    fn note_failure(&self, endpoint: &EndpointLive, rules: &Outlier) {
        let ejection = &endpoint.vitals.ejection;
        let failures = ejection.failures.fetch_add(1, Relaxed).saturating_add(1);
        if failures < rules.consecutive && !ejection.is_ejected() {
            return;
        }
        let until = ejection.until.load(Relaxed);
        if until == 0 {
            self.eject(endpoint, rules, Reason::Failures, &format_args!("{failures} failures in a row"));
        } else if until <= moment::now()
            && let Some(_deciding) = self.decide()
        {
            // The probe failed, or one of those sent while all are tried. It is the same illness: that is no news.
            let now = moment::now();
            if (1..=now).contains(&ejection.until.load(Relaxed)) {
                ejection.eject(now, rules, ejection.reason());
            }
        }
    }

    /// Ejects an endpoint where enough others are left. Nothing when it is ejected already.
    pub(super) fn eject(&self, endpoint: &EndpointLive, rules: &Outlier, reason: Reason, because: &dyn Display) {
        let ejection = &endpoint.vitals.ejection;
        {
            let Some(_deciding) = self.decide() else { return };
            if ejection.is_ejected() || !self.may_eject(endpoint, rules) {
                return;
            }
            let time = ejection.eject(moment::now(), rules, reason);
            self.say("warn", endpoint, &format!("ejected for {time:?} ({because})"));
        }
        self.tell_zone();
    }

    /// `None`: somebody else decides just now, and the next failure is told of what came of it.
    fn decide(&self) -> Option<MutexGuard<'_, ()>> {
        match self.ejecting.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Whether no more than `max_share` are out when this one is too.
    fn may_eject(&self, endpoint: &EndpointLive, rules: &Outlier) -> bool {
        let is_out = |other: &EndpointLive| {
            std::ptr::eq(other, endpoint) || !other.vitals.health.is_healthy() || other.vitals.ejection.is_ejected()
        };
        let out = self.endpoints.iter().filter(|other| is_out(other)).count();
        out * 100 <= self.endpoints.len() * rules.max_share as usize
    }
}

#[cfg(test)]
mod tests;
