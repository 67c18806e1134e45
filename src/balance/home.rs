//! Where a caller belongs, by `balance: hash_subject`: consistent hashing with bounded loads.
//!
//! A caller stays at one endpoint, and when one comes or goes only its own callers move. An endpoint that has more in flight
//! than its part of the mean and a margin passes callers on to their next one until it has less.

use super::pick::{Picked, Survey, weight};
use super::pool::{AgencyPools, EndpointPool};

/// Requests in flight, on one worker, up to which an endpoint is not crowded whatever the mean: two requests of one caller at
/// once stay together while there is little to do.
const ROOM: u64 = 4;

type Open<'a> = &'a dyn Fn(usize) -> bool;

impl AgencyPools {
    /// The endpoint of a caller. Only those who belong to an ejected endpoint probe it: the others stay where they are.
    pub(super) fn at_home(
        &self,
        subject: u64,
        max_load: Option<u32>,
        survey: &Survey,
        open: Open<'_>,
    ) -> Option<Picked<'_>> {
        let home = |open: Open<'_>| self.home(subject, max_load, open);
        if let Some(due) = survey.due.filter(|_| !survey.panic)
            && home(&|at| at == due || open(at)) == Some(due)
            && self.endpoints[due].live.vitals.ejection.begin_probe()
        {
            return Some(self.picked(due, true));
        }
        home(open).map(|at| self.picked(at, false))
    }

    /// In the gateway's zone, where one is preferred; those whose endpoint there is out belong elsewhere until it is back.
    fn home(&self, subject: u64, max_load: Option<u32>, open: Open<'_>) -> Option<usize> {
        let Some(near) = &self.agency.near else { return self.settle(subject, max_load, open) };
        let here = |at: usize| near.has(at) && open(at);
        let there = |at: usize| !near.has(at) && open(at);
        if self.best(subject, &|at| near.has(at)).is_some_and(open) {
            return self.settle(subject, max_load, &here);
        }
        self.settle(subject, max_load, &there).or_else(|| self.settle(subject, max_load, &here))
    }

    /// The best of those that are open, but for those that are crowded.
    fn settle(&self, subject: u64, max_load: Option<u32>, open: Open<'_>) -> Option<usize> {
        let best = self.best(subject, open)?;
        let Some(percent) = max_load.filter(|_| self.held(best) >= ROOM) else { return Some(best) };
        let group = || (0..self.endpoints.len()).filter(|at| open(*at));
        let held: u64 = group().map(|at| self.held(at)).sum();
        let weights: u64 = group().map(|at| weight(&self.endpoints[at]) as u64).sum();
        // Rounded up, and with the request that is to come: there is always room somewhere.
        let bound = |at: usize| {
            let part = u64::from(percent) * (held + 1) * weight(&self.endpoints[at]) as u64;
            part.div_ceil(100 * weights.max(1)).max(ROOM)
        };
        self.best(subject, &|at| open(at) && self.held(at) < bound(at)).or(Some(best))
    }

    fn best(&self, subject: u64, open: Open<'_>) -> Option<usize> {
        let open = (0..self.endpoints.len()).filter(|at| open(*at));
        let scored = open.map(|at| (at, rendezvous(subject, &self.endpoints[at])));
        scored.max_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(at, _)| at)
    }

    fn held(&self, at: usize) -> u64 {
        u64::from(self.endpoints[at].in_flight())
    }
}

/// Weighted rendezvous hashing (Thaler and Ravishankar). The hash is of the endpoint's address, so that workers and nodes
/// agree.
fn rendezvous(subject: u64, pool: &EndpointPool) -> f64 {
    let mut mixed = subject ^ 0x9e37_79b9_7f4a_7c15;
    for byte in pool.live.endpoint.url.bytes() {
        mixed = (mixed ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    // The finaliser of splitmix64: the low bits of FNV alone are poor.
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let unit = ((mixed >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -f64::from(pool.live.endpoint.weight.max(1)) / unit.ln()
}

#[cfg(test)]
mod tests;
