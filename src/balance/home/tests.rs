use std::sync::Arc;

use super::super::agency::{AgencyLive, EndpointLive, Vitals};
use super::super::pool::{Lease, Pools};
use super::*;
use crate::config::model::{Balance, Endpoint, EndpointProtocol};

fn pools(weights: &[u32], max_load: Option<u32>) -> AgencyPools {
    let endpoint = |(at, weight): (usize, &u32)| {
        let endpoint = Endpoint {
            url: format!("http://10.0.0.{at}:80").into(),
            protocol: EndpointProtocol::Http,
            host: format!("10.0.0.{at}").into(),
            port: 80,
            weight: *weight,
            zone: None,
        };
        let vitals = Arc::new(Vitals::of(&endpoint));
        Arc::new(EndpointLive::new(endpoint, None, vitals))
    };
    let mut agency = AgencyLive::plain("a".into(), weights.iter().enumerate().map(endpoint).collect());
    agency.balance = Balance::HashSubject { max_load };
    Pools::default().of_agency(&Arc::new(agency))
}

fn subject(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn home(pools: &AgencyPools, number: u64) -> u64 {
    pools.pick(Some(subject(number)), 0).unwrap().bit()
}

#[test]
fn a_new_endpoint_takes_its_share_of_callers_and_moves_no_other() {
    let (four, five) = (pools(&[1; 4], Some(125)), pools(&[1; 5], Some(125)));
    let moved = (0..10_000).filter(|caller| home(&four, *caller) != home(&five, *caller));
    let moved: Vec<u64> = moved.collect();
    assert!((1800..2200).contains(&moved.len()), "{} of 10 000 move to the fifth", moved.len());
    assert!(moved.iter().all(|caller| home(&five, *caller) == 1 << 4));
}

#[test]
fn callers_live_where_the_weights_say() {
    let pools = pools(&[1, 3], Some(125));
    let heavy = (0..10_000).filter(|caller| home(&pools, *caller) == 0b10).count();
    assert!((7300..7700).contains(&heavy), "{heavy}");
}

/// Requests in flight at each endpoint once every caller of `callers` has one.
fn held(pools: &AgencyPools, callers: impl Iterator<Item = u64>) -> Vec<u64> {
    let leases: Vec<Lease> = callers.map(|c| pools.pick(Some(subject(c)), 0).unwrap().pool.lease()).collect();
    let held = (0..pools.endpoints.len()).map(|at| pools.held(at)).collect();
    drop(leases);
    held
}

#[test]
fn nobody_gets_more_than_a_quarter_over_the_mean() {
    let pools = pools(&[1, 1, 1, 1], Some(125));
    // One caller alone, in a great hurry: the worst there is.
    let held = held(&pools, (0..1000).map(|_| 7));
    assert!(held.iter().all(|held| *held <= 313), "{held:?}");
    assert_eq!(held.iter().sum::<u64>(), 1000);
}

#[test]
fn the_bound_follows_the_weights() {
    let pools = pools(&[1, 3], Some(110));
    let held = held(&pools, (0..1000).map(|_| 7));
    assert!(held[0] <= 276 && held[1] <= 826, "{held:?}");
}

#[test]
fn without_a_bound_a_caller_stays_whatever_the_load() {
    let pools = pools(&[1, 1, 1, 1], None);
    assert!(held(&pools, (0..1000).map(|_| 7)).contains(&1000));
}

#[test]
fn a_few_requests_of_one_caller_stay_together() {
    let pools = pools(&[1, 1, 1, 1], Some(125));
    assert!(held(&pools, (0..ROOM).map(|_| 7)).contains(&ROOM));
}

#[test]
fn who_was_passed_on_comes_home_when_there_is_room() {
    let pools = pools(&[1, 1], Some(125));
    let at_home = home(&pools, 7);
    let busy: Vec<Lease> = (0..ROOM).map(|_| pools.pick(Some(subject(7)), 0).unwrap().pool.lease()).collect();
    assert_ne!(home(&pools, 7), at_home);
    drop(busy);
    assert_eq!(home(&pools, 7), at_home);
}
