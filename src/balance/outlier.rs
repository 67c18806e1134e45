//! Endpoints that fail requests are ejected: left out for a while, longer each time, and probed by one request before they
//! are back (`outlier` of an agency).
//!
//! Workers tell how each request went ([`AgencyLive::note`]). Where all goes well that costs two relaxed reads; what is
//! written is written on a failure. `pick` asks who is out; what a failure is, `forward` knows.

use std::sync::TryLockError;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
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
    /// Ever.
    total: AtomicU64,
}

impl Ejection {
    /// Until a request has gone well, half open included.
    pub fn is_ejected(&self) -> bool {
        self.until.load(Relaxed) != 0
    }

    pub fn total(&self) -> u64 {
        self.total.load(Relaxed)
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

    fn eject(&self, now: u64, rules: &Outlier) -> Duration {
        let behaved = now.saturating_sub(self.returned.load(Relaxed)) > moment::millis(rules.max);
        let times = if behaved && !self.is_ejected() { 1 } else { self.times.load(Relaxed).saturating_add(1) };
        self.times.store(times, Relaxed);
        self.total.fetch_add(1, Relaxed);
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
        // Somebody else decides just now: the next failure is told of what came of it.
        let _deciding = match self.ejecting.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let now = moment::now();
        match ejection.until.load(Relaxed) {
            // One that was sent before, or while all are tried.
            until if until > now => {}
            0 if self.may_eject(endpoint, rules) => {
                let time = ejection.eject(now, rules);
                self.say("warn", endpoint, &format!("ejected for {time:?} ({failures} failures in a row)"));
            }
            0 => {}
            // It is the same illness: that is no news.
            _ => drop(ejection.eject(now, rules)),
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
