use std::collections::HashMap;
use std::sync::Arc;

use super::super::agency::{AgencyLive, EndpointLive, Vitals};
use super::super::pool::{Lease, Pools};
use super::*;
use crate::config::defaults;
use crate::config::model::{Endpoint, EndpointProtocol};

fn agency(balance: Balance, weights: &[u32]) -> AgencyLive {
    let endpoint = |(i, weight): (usize, &u32)| {
        let url = format!("http://10.0.0.{i}:80").into();
        let protocol = EndpointProtocol::Http;
        let endpoint = Endpoint { url, protocol, host: format!("10.0.0.{i}").into(), port: 80, weight: *weight };
        let vitals = Arc::new(Vitals::of(&endpoint));
        Arc::new(EndpointLive::new(endpoint, None, vitals))
    };
    let mut agency = AgencyLive::plain("a".into(), weights.iter().enumerate().map(endpoint).collect());
    agency.balance = balance;
    agency.outlier = Some(defaults::OUTLIER);
    agency
}

fn pools(balance: Balance, weights: &[u32]) -> AgencyPools {
    Pools::default().of_agency(&Arc::new(agency(balance, weights)))
}

fn picked(pools: &AgencyPools, subject: Option<u64>, tried: u64) -> Option<usize> {
    pools.pick(subject, tried).map(|picked| picked.at)
}

fn shares(pools: &AgencyPools, subjects: impl Iterator<Item = Option<u64>>) -> HashMap<usize, usize> {
    let mut shares = HashMap::new();
    for subject in subjects {
        *shares.entry(picked(pools, subject, 0).unwrap()).or_default() += 1;
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
        held.push(pools.pick(None, 0).unwrap().pool.lease());
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
        let home = picked(&pools, Some(subject), 0).unwrap();
        per_endpoint[home] += 1;
        assert_eq!(picked(&pools, Some(subject), 0).unwrap(), home);
        let lost = (home + 1) % 3;
        assert_eq!(picked(&pools, Some(subject), 1 << lost).unwrap(), home);
    }
    assert!(per_endpoint.iter().all(|n| (800..1200).contains(n)), "{per_endpoint:?}");
}

#[test]
fn tried_endpoints_are_not_picked_again() {
    for balance in [Balance::LeastRequest, Balance::RoundRobin, Balance::HashSubject] {
        let pools = pools(balance, &[1, 1]);
        assert_eq!(picked(&pools, Some(1), 0b01).unwrap(), 1);
        assert!(pools.pick(Some(1), 0b11).is_none());
    }
}

/// Of 9000 requests: two draws by weight, and the less loaded of the two.
#[test]
fn among_many_the_better_of_two_is_chosen() {
    for balance in [Balance::LeastRequest, Balance::PeakEwma] {
        let pools = pools(balance, &[1, 1, 1, 1, 2, 3]);
        let mut held: Vec<Lease> = Vec::new();
        for _ in 0..9000 {
            held.push(pools.pick(None, 0).unwrap().pool.lease());
        }
        for (pool, weight) in pools.endpoints.iter().zip([1, 1, 1, 1, 2, 3]) {
            let share = pool.in_flight() / weight;
            assert!((950..1050).contains(&share), "{share} for each unit of weight");
        }
    }
}

#[test]
fn the_quicker_is_preferred_by_peak_ewma() {
    let pools = pools(Balance::PeakEwma, &[1, 1]);
    let now = Instant::now();
    pools.endpoints[0].ewma.record(std::time::Duration::from_millis(200), now);
    pools.endpoints[1].ewma.record(std::time::Duration::from_millis(20), now);
    assert_eq!(shares(&pools, (0..10).map(|_| None)), HashMap::from([(1, 10)]));
    let busy: Vec<Lease> = (0..20).map(|_| pools.endpoints[1].lease()).collect();
    assert_eq!(picked(&pools, None, 0), Some(0), "until too many wait for it");
    drop(busy);
}

#[test]
fn one_that_comes_back_is_given_little_at_first() {
    for balance in [Balance::LeastRequest, Balance::RoundRobin, Balance::PeakEwma] {
        let pools = pools(balance, &[1, 1]);
        pools.endpoints[0].live.vitals.ramp.begin();
        let share = shares(&pools, (0..1000).map(|_| None))[&0];
        assert!((10..150).contains(&share), "{balance:?}: {share}");
        assert_eq!(picked(&pools, None, 0b10), Some(0), "alone it is given all");
    }
}

/// However they are balanced, and only while somebody else is awake.
#[test]
fn an_endpoint_at_rest_is_left_alone_while_others_are_awake() {
    for balance in [Balance::RoundRobin, Balance::LeastRequest, Balance::PeakEwma, Balance::HashSubject] {
        let pools = pools(balance, &[1, 1]);
        pools.endpoints[0].live.vitals.rest.begin(true, Duration::from_secs(60));
        assert_eq!(shares(&pools, (0..40).map(Some)), HashMap::from([(1, 40)]), "{balance:?}");
        pools.endpoints[1].live.vitals.rest.begin(true, Duration::from_secs(60));
        assert_eq!(shares(&pools, (0..40).map(Some)).len(), 2, "{balance:?}");
        assert_eq!(pools.shy_of_retries(), 3);
    }
}
