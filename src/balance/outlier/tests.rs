use std::sync::Arc;

use super::super::agency::Vitals;
use super::super::pool::{AgencyPools, Pools};
use super::*;
use crate::config::defaults;
use crate::config::model::{Balance, Endpoint, EndpointProtocol};

fn pools(balance: Balance, count: usize, rules: Outlier) -> AgencyPools {
    let endpoint = |i| {
        let (url, host) = (format!("http://10.0.0.{i}:80").into(), format!("10.0.0.{i}").into());
        let endpoint = Endpoint { url, protocol: EndpointProtocol::Http, host, port: 80, weight: 1, zone: None };
        let vitals = Arc::new(Vitals::of(&endpoint));
        Arc::new(EndpointLive::new(endpoint, None, vitals))
    };
    let mut agency = AgencyLive::plain("a".into(), (0..count).map(endpoint).collect());
    agency.balance = balance;
    agency.outlier = Some(rules);
    Pools::default().of_agency(&Arc::new(agency))
}

fn two() -> AgencyPools {
    pools(Balance::RoundRobin, 2, defaults::OUTLIER)
}

fn note(pools: &AgencyPools, at: usize, outcomes: &[Outcome]) {
    for outcome in outcomes {
        pools.agency.note(&pools.agency.endpoints[at], *outcome);
    }
}

fn is_ejected(pools: &AgencyPools, at: usize) -> bool {
    pools.agency.endpoints[at].vitals.ejection.is_ejected()
}

/// Of the first endpoint's ejection.
fn its_time_is_over(pools: &AgencyPools) {
    pools.agency.endpoints[0].vitals.ejection.until.store(1, Relaxed);
}

/// Which endpoints ten requests go to, none of which tells how it went.
fn used(pools: &AgencyPools) -> Vec<u64> {
    let mut bits: Vec<u64> = (0..10).map(|_| pools.pick(None, 0).unwrap().bit()).collect();
    bits.sort_unstable();
    bits.dedup();
    bits
}

use Outcome::{Bad, Good, Unknown};

#[test]
fn five_failures_in_a_row_eject_and_four_do_not() {
    let pools = two();
    note(&pools, 0, &[Bad, Bad, Bad, Bad, Good, Bad, Bad, Bad, Bad, Unknown]);
    assert!(!is_ejected(&pools, 0));
    assert_eq!(used(&pools), [0b01, 0b10]);
    note(&pools, 0, &[Bad]);
    assert!(is_ejected(&pools, 0));
    assert_eq!(used(&pools), [0b10]);
    assert!(pools.pick(None, 0b10).is_none(), "not even when the other was tried");
}

#[test]
fn the_last_one_is_never_ejected() {
    let pools = two();
    note(&pools, 0, &[Bad; 5]);
    note(&pools, 1, &[Bad; 50]);
    assert!(is_ejected(&pools, 0) && !is_ejected(&pools, 1));
    let alone = self::pools(Balance::LeastRequest, 1, defaults::OUTLIER);
    note(&alone, 0, &[Bad; 50]);
    assert!(!is_ejected(&alone, 0));
}

#[test]
fn one_request_probes_and_a_good_answer_brings_it_back() {
    let pools = two();
    note(&pools, 0, &[Bad; 5]);
    its_time_is_over(&pools);
    let probe = pools.pick(None, 0).unwrap();
    assert_eq!(probe.bit(), 0b01);
    assert_eq!(used(&pools), [0b10], "one at a time");
    drop(probe);
    let probe = pools.pick(None, 0).unwrap();
    assert_eq!(probe.bit(), 0b01, "the caller of the first one left");
    probe.note(Good);
    assert!(!is_ejected(&pools, 0));
}

#[test]
fn what_is_tried_again_is_no_probe() {
    let pools = two();
    note(&pools, 0, &[Bad; 5]);
    its_time_is_over(&pools);
    assert!(pools.pick(None, 0b10).is_none());
}

#[test]
fn a_bad_probe_ejects_for_longer() {
    let pools = two();
    note(&pools, 0, &[Bad; 5]);
    its_time_is_over(&pools);
    pools.pick(None, 0).unwrap().note(Bad);
    let ejection = &pools.agency.endpoints[0].vitals.ejection;
    let left = ejection.until.load(Relaxed) - moment::now();
    assert!(left > moment::millis(defaults::OUTLIER.base), "{left} ms left of twice the base");
    assert_eq!(ejection.total(Reason::Failures), 2);
}

#[test]
fn no_ejection_is_longer_than_the_longest() {
    let (ejection, rules) = (Ejection::default(), defaults::OUTLIER);
    let times: Vec<u64> = (0..40).map(|_| ejection.eject(1, &rules, Reason::Slow).as_secs()).collect();
    assert_eq!((times[0], times[1], times[29], times[39]), (10, 20, 300, 300));
}

/// Requests that were under way when the endpoint was ejected end when they end.
#[test]
fn an_answer_from_before_the_ejection_does_not_end_it() {
    let pools = two();
    note(&pools, 0, &[Bad, Bad, Bad, Bad, Bad, Good, Bad]);
    assert!(is_ejected(&pools, 0));
    assert_eq!(pools.agency.endpoints[0].vitals.ejection.total(Reason::Failures), 1);
}

#[test]
fn when_too_few_are_left_the_ejected_are_tried_too() {
    let pools = pools(Balance::RoundRobin, 4, defaults::OUTLIER);
    note(&pools, 0, &[Bad; 5]);
    note(&pools, 1, &[Bad; 5]);
    note(&pools, 2, &[Bad; 5]);
    assert_eq!([0, 1, 2, 3].map(|at| is_ejected(&pools, at)), [true, true, false, false], "at most half");
    assert_eq!(used(&pools), [0b0100, 0b1000]);
    pools.agency.endpoints[3].vitals.health.condemn();
    assert_eq!(used(&pools), [0b0001, 0b0010, 0b0100], "but never one that its checks call ill");
}

#[test]
fn a_caller_who_belongs_elsewhere_is_no_probe() {
    let pools = pools(Balance::HashSubject { max_load: None }, 2, defaults::OUTLIER);
    let lives_at = |at: u64| (0..).find(|s| pools.pick(Some(*s), 0).unwrap().bit() == at).unwrap();
    let (first, second) = (lives_at(0b01), lives_at(0b10));
    note(&pools, 0, &[Bad; 5]);
    assert_eq!(pools.pick(Some(first), 0).unwrap().bit(), 0b10);
    its_time_is_over(&pools);
    assert_eq!(pools.pick(Some(second), 0).unwrap().bit(), 0b10);
    pools.pick(Some(first), 0).unwrap().note(Good);
    assert!(!is_ejected(&pools, 0));
}
