use super::super::outlier::Outcome;
use super::super::seen::SeenByAll;
use super::*;
use crate::config::defaults::OUTLIER;

/// So many good answers that took so long, and so many failures.
fn seen(good: u32, millis: u64, bad: u32) -> Sum {
    let all = SeenByAll::default();
    let worker = all.join();
    (0..good).for_each(|_| worker.count(Outcome::Good, Some(Duration::from_millis(millis))));
    (0..bad).for_each(|_| worker.count(Outcome::Bad, Some(Duration::from_millis(millis))));
    all.sum()
}

fn judged(interval: &[Sum]) -> Vec<(usize, Reason)> {
    judge(interval, &OUTLIER).into_iter().map(|(at, fault)| (at, fault.reason())).collect()
}

#[test]
fn one_that_fails_more_than_its_siblings_stands_out() {
    assert_eq!(judged(&[seen(70, 5, 30), seen(99, 5, 1), seen(100, 5, 0)]), [(0, Reason::ErrorRate)]);
    assert_eq!(judged(&[seen(100, 5, 0), seen(50, 5, 50)]), [(1, Reason::ErrorRate)], "one sibling will do");
    assert_eq!(judged(&[seen(85, 5, 15), seen(100, 5, 0), seen(100, 5, 0)]), [], "15 points are within 20");
}

#[test]
fn what_all_suffer_ejects_nobody() {
    assert_eq!(judged(&[seen(50, 5, 50), seen(52, 5, 48), seen(55, 5, 45)]), []);
    assert_eq!(judged(&[seen(0, 5, 100), seen(0, 5, 100)]), []);
    assert_eq!(judged(&[seen(100, 900, 0), seen(100, 1100, 0)]), [], "nor what slows all down");
}

/// Where half of all fail, 21 points among 40 requests are chance; among 400 they are not.
#[test]
fn what_may_be_chance_ejects_nobody() {
    assert_eq!(judged(&[seen(11, 5, 29), seen(20, 5, 20), seen(20, 5, 20)]), []);
    assert_eq!(judged(&[seen(110, 5, 290), seen(200, 5, 200), seen(200, 5, 200)]), [(0, Reason::ErrorRate)]);
}

#[test]
fn one_that_is_slower_than_its_siblings_stands_out() {
    assert_eq!(judged(&[seen(100, 50, 0), seen(100, 60, 0), seen(100, 400, 0)]), [(2, Reason::Slow)]);
    assert_eq!(judged(&[seen(100, 50, 0), seen(100, 60, 0), seen(100, 170, 0)]), [], "three times is within four");
    assert_eq!(judged(&[seen(100, 1, 0), seen(100, 1, 0), seen(100, 80, 0)]), [], "nobody minds 80 ms");
}

#[test]
fn a_second_bad_one_does_not_hide_the_first() {
    let bad = || seen(20, 5, 80);
    let good = || seen(100, 5, 0);
    assert_eq!(judged(&[bad(), bad(), good(), good(), good()]), [(0, Reason::ErrorRate), (1, Reason::ErrorRate)]);
}

#[test]
fn few_requests_tell_nothing_of_it_or_of_its_siblings() {
    assert_eq!(judged(&[seen(0, 5, 29), seen(100, 5, 0)]), []);
    assert_eq!(judged(&[seen(50, 5, 50), seen(29, 5, 0)]), []);
    assert_eq!(judged(&[seen(50, 5, 50)]), [], "nor is there anything to compare one alone with");
    assert_eq!(judged(&[]), []);
}

#[test]
fn each_can_be_switched_off() {
    let interval = [seen(50, 5, 50), seen(100, 900, 0), seen(100, 5, 0), seen(100, 5, 0)];
    let of = |error_rate, slow| {
        let rules = Outlier { error_rate, slow, ..OUTLIER };
        judge(&interval, &rules).into_iter().map(|(at, _)| at).collect::<Vec<_>>()
    };
    assert_eq!((of(Some(20), Some(4)), of(Some(20), None), of(None, Some(4))), (vec![0, 1], vec![0], vec![1]));
    assert_eq!(of(None, None), [0usize; 0]);
}

#[test]
fn the_log_can_be_understood() {
    let fault = judge(&[seen(60, 5, 40), seen(100, 5, 0)], &OUTLIER)[0].1;
    assert_eq!(fault.to_string(), "40 % of its requests fail, of its siblings' 0 %");
    let fault = Fault::IsSlow { own: Duration::from_micros(1_310_720), siblings: Duration::from_micros(80_200) };
    assert_eq!(fault.to_string(), "its answers take 1.31s, its siblings' 80ms");
}
