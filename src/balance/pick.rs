//! Which endpoint comes next (`balance` of an agency).

use std::cell::Cell;
use std::rc::Rc;

use super::pool::{AgencyPools, EndpointPool};
use crate::config::model::Balance;

impl AgencyPools {
    /// The endpoint for a request, but for those in `tried` (a bit each). `subject`: a stable number of the caller, for
    /// `hash_subject`; callers without one are spread evenly. `None` when all were tried.
    pub fn pick(&self, subject: Option<u64>, tried: u64) -> Option<(usize, &Rc<EndpointPool>)> {
        let count = self.endpoints.len();
        if count == 1 {
            return (tried & 1 == 0).then(|| (0, &self.endpoints[0]));
        }
        let free = |at: &usize| *at >= 64 || tried & (1 << at) == 0;
        let chosen = match (self.agency.balance, subject) {
            (Balance::RoundRobin, _) | (Balance::HashSubject, None) => self.by_turn(&free),
            (Balance::HashSubject, Some(subject)) => (0..count).filter(free).max_by(|a, b| {
                let score = |at: usize| rendezvous(subject, &self.endpoints[at]);
                score(*a).total_cmp(&score(*b))
            }),
            (Balance::LeastRequest, _) => self.least_busy(&free),
        };
        chosen.map(|at| (at, &self.endpoints[at]))
    }

    /// Smooth weighted turns: over a cycle of all weights each endpoint comes as often as it weighs.
    fn by_turn(&self, free: &dyn Fn(&usize) -> bool) -> Option<usize> {
        let count = self.endpoints.len();
        let cycle: usize = self.endpoints.iter().map(weight).sum();
        let mut turn = next(&self.turn) % cycle.max(1);
        let at = (0..count).find(|at| {
            let weight = weight(&self.endpoints[*at]);
            let here = turn < weight;
            turn = turn.wrapping_sub(weight);
            here
        });
        let at = at.unwrap_or(0);
        (0..count).map(|step| (at + step) % count).find(free)
    }

    /// The fewest requests in flight for its weight; ties go round, so that an idle agency is not served by one endpoint.
    fn least_busy(&self, free: &dyn Fn(&usize) -> bool) -> Option<usize> {
        let count = self.endpoints.len();
        let start = next(&self.turn) % count;
        (0..count).map(|step| (start + step) % count).filter(free).min_by(|a, b| {
            let load = |at: usize| {
                let pool = &self.endpoints[at];
                f64::from(pool.in_flight() + 1) / f64::from(pool.live.endpoint.weight.max(1))
            };
            load(*a).total_cmp(&load(*b))
        })
    }
}

fn weight(pool: &Rc<EndpointPool>) -> usize {
    pool.live.endpoint.weight.max(1) as usize
}

fn next(turn: &Cell<usize>) -> usize {
    let now = turn.get();
    turn.set(now.wrapping_add(1));
    now
}

/// Weighted rendezvous hashing: a caller stays at its endpoint, and when one goes only its own callers move. The hash is of
/// the endpoint's address, so that workers and nodes agree.
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
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::super::agency::{AgencyLive, EndpointLive};
    use super::super::pool::{Lease, Pools};
    use super::*;
    use crate::config::model::{Endpoint, EndpointProtocol, IdentityKind, Retry};

    fn pools(balance: Balance, weights: &[u32]) -> AgencyPools {
        let endpoint = |(i, weight): (usize, &u32)| {
            let url = format!("http://10.0.0.{i}:80").into();
            let protocol = EndpointProtocol::Http;
            let endpoint = Endpoint { url, protocol, host: format!("10.0.0.{i}").into(), port: 80, weight: *weight };
            Arc::new(EndpointLive { uid: i as u64, endpoint, server_name: None })
        };
        let agency = AgencyLive {
            name: "a".into(),
            endpoints: weights.iter().enumerate().map(endpoint).collect(),
            balance,
            identity: IdentityKind::None,
            retry: Retry { attempts: 1, budget_percent: 0 },
            tls: None,
        };
        Pools::default().of_agency(&Arc::new(agency))
    }

    fn shares(pools: &AgencyPools, subjects: impl Iterator<Item = Option<u64>>) -> HashMap<usize, usize> {
        let mut shares = HashMap::new();
        for subject in subjects {
            *shares.entry(pools.pick(subject, 0).unwrap().0).or_default() += 1;
        }
        shares
    }

    #[test]
    fn turns_follow_the_weights() {
        let pools = pools(Balance::RoundRobin, &[1, 2]);
        assert_eq!(shares(&pools, (0..300).map(|_| None)), HashMap::from([(0, 100), (1, 200)]));
    }

    #[test]
    fn the_least_busy_for_its_weight_is_chosen() {
        let pools = pools(Balance::LeastRequest, &[1, 3]);
        let mut held: Vec<Lease> = Vec::new();
        for _ in 0..40 {
            held.push(pools.pick(None, 0).unwrap().1.lease());
        }
        assert_eq!((pools.endpoints[0].in_flight(), pools.endpoints[1].in_flight()), (10, 30));
        drop(held);
        assert_eq!(pools.endpoints[0].in_flight(), 0);
    }

    #[test]
    fn an_idle_agency_is_served_by_all_its_endpoints() {
        let pools = pools(Balance::LeastRequest, &[1, 1]);
        assert_eq!(shares(&pools, (0..10).map(|_| None)), HashMap::from([(0, 5), (1, 5)]));
    }

    #[test]
    fn a_subject_stays_and_only_a_lost_endpoints_subjects_move() {
        let pools = pools(Balance::HashSubject, &[1, 1, 1]);
        let mut per_endpoint = [0; 3];
        for subject in 0..3000u64 {
            let subject = subject.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let home = pools.pick(Some(subject), 0).unwrap().0;
            per_endpoint[home] += 1;
            assert_eq!(pools.pick(Some(subject), 0).unwrap().0, home);
            let lost = (home + 1) % 3;
            assert_eq!(pools.pick(Some(subject), 1 << lost).unwrap().0, home);
        }
        assert!(per_endpoint.iter().all(|n| (800..1200).contains(n)), "{per_endpoint:?}");
    }

    #[test]
    fn tried_endpoints_are_not_picked_again() {
        for balance in [Balance::LeastRequest, Balance::RoundRobin, Balance::HashSubject] {
            let pools = pools(balance, &[1, 1]);
            assert_eq!(pools.pick(Some(1), 0b01).unwrap().0, 1);
            assert!(pools.pick(Some(1), 0b11).is_none());
        }
    }
}
