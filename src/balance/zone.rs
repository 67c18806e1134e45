//! Which endpoints of an agency are near, and how many requests stay with them.
//!
//! Requests go to the gateway's own zone. As endpoints there fall out, a share of the requests as large as theirs was goes to
//! the other zones: those that are left carry what they carried before. `pick` asks here for each request; what changes is
//! told once, by whoever changed it (`outlier`, `health`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::agency::{AgencyLive, EndpointLive};

/// The near endpoints of an agency that has others too.
#[derive(Debug)]
pub struct Near {
    pub zone: Arc<str>,
    /// By place.
    near: Vec<bool>,
    /// Percent that was last told.
    told: AtomicU32,
}

impl Near {
    /// `None` where there is nothing to prefer: the gateway has no zone, no endpoint is in it, or all are.
    pub(super) fn of(zone: Option<&Arc<str>>, endpoints: &[Arc<EndpointLive>]) -> Option<Near> {
        let zone = zone?.clone();
        let near: Vec<bool> = endpoints.iter().map(|live| live.endpoint.zone.as_ref() == Some(&zone)).collect();
        let is_choice = near.contains(&true) && near.contains(&false);
        is_choice.then(|| Near { zone, near, told: AtomicU32::new(100) })
    }

    pub fn has(&self, at: usize) -> bool {
        self.near.get(at).copied().unwrap_or(false)
    }

    /// The part of its weight that `usable` leaves, 0 to 1. All of it when no other endpoint is usable either.
    pub(super) fn share(&self, endpoints: &[Arc<EndpointLive>], usable: impl Fn(usize) -> bool) -> f64 {
        let (mut all, mut here, mut elsewhere) = (0u64, 0u64, false);
        for (at, live) in endpoints.iter().enumerate() {
            let weight = u64::from(live.endpoint.weight.max(1));
            if !self.has(at) {
                elsewhere |= usable(at);
                continue;
            }
            all += weight;
            here += if usable(at) { weight } else { 0 };
        }
        if elsewhere { here as f64 / all.max(1) as f64 } else { 1.0 }
    }
}

impl AgencyLive {
    /// Percent of the requests that stay in the gateway's zone; `None` where none is preferred.
    pub fn near_percent(&self) -> Option<u32> {
        let near = self.near.as_ref()?;
        let is_used = |at: usize| {
            let vitals = &self.endpoints[at].vitals;
            vitals.health.is_healthy() && !(self.outlier.is_some() && vitals.ejection.is_ejected())
        };
        Some((near.share(&self.endpoints, is_used) * 100.0).round() as u32)
    }

    /// Says so when another share of the requests leaves the zone than before. Call it when an endpoint has changed.
    pub(super) fn tell_zone(&self) {
        let (Some(near), Some(percent)) = (&self.near, self.near_percent()) else { return };
        if near.told.swap(percent, Relaxed) == percent {
            return;
        }
        let zone = &near.zone;
        match percent {
            100 => self.say_of_all("info", &format!("all endpoints in zone {zone} are used again")),
            _ => self.say_of_all("warn", &format!("{} % of the requests leave zone {zone}", 100 - percent)),
        }
    }
}
