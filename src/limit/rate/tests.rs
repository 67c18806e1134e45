use super::*;

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use crate::config::model::RateBy;

fn limiter(requests: u32, per: Duration) -> RateLimiter {
    RateLimiter::new(Rate { requests, per, by: RateBy::Address }, MAX_KEYS)
}

const SECOND: Duration = Duration::from_secs(1);
const NANOSECOND: Duration = Duration::from_nanos(1);

fn left(checked: Result<Allowed, Limited>) -> Result<u32, Limited> {
    checked.map(|allowed| allowed.remaining)
}

#[test]
fn a_burst_of_requests_passes_and_then_one_at_each_interval() {
    let limiter = limiter(5, Duration::from_secs(60));
    let start = limiter.epoch + SECOND;
    let key = limiter.key(("https://sso.example.ir", "user"));
    for remaining in (0..5).rev() {
        assert_eq!(left(limiter.check(key, start)), Ok(remaining));
    }
    let interval = Duration::from_secs(12);
    assert_eq!(limiter.check(key, start), Err(Limited { retry_after: interval }));
    assert_eq!(limiter.check(key, start + interval - NANOSECOND), Err(Limited { retry_after: NANOSECOND }));
    assert_eq!(left(limiter.check(key, start + interval)), Ok(0));
    assert!(limiter.check(key, start + interval).is_err());
    let full = limiter.check(key, start + interval + 60 * SECOND);
    assert_eq!(full, Ok(Allowed { remaining: 4, whole_after: interval }));
}

#[test]
fn callers_do_not_share_a_budget_but_a_network_of_one_household_does() {
    let limiter = limiter(1, SECOND);
    let v4 = |last| IpAddr::from([192, 0, 2, last]);
    let v6 = |network, host| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, network, 0, 0, 0, host));
    let key = |address| limiter.key_for_address(address);
    assert_ne!(key(v4(1)), key(v4(2)));
    assert_eq!(key(v6(1, 1)), key(v6(1, 2)));
    assert_ne!(key(v6(1, 1)), key(v6(2, 1)));
    assert_eq!(key(v4(1)), key(IpAddr::V6(Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped())));

    let now = limiter.epoch;
    assert!(limiter.check(key(v4(1)), now).is_ok());
    assert!(limiter.check(key(v4(2)), now).is_ok());
    assert!(limiter.check(key(v4(1)), now).is_err());
    assert_ne!(limiter.key(("ab", "c")), limiter.key(("a", "bc")));
}

#[test]
fn extreme_rates_neither_panic_nor_open() {
    for (requests, per) in [(0, Duration::ZERO), (u32::MAX, NANOSECOND), (1, Duration::MAX), (u32::MAX, Duration::MAX)]
    {
        let limiter = limiter(requests, per);
        let now = limiter.epoch + SECOND;
        assert!(limiter.check(1, now).is_ok());
        let _ = limiter.check(1, now);
    }
    let limiter = limiter(1, Duration::MAX);
    assert!(limiter.check(1, limiter.epoch).is_ok());
    assert!(limiter.check(1, limiter.epoch + 1_000_000 * SECOND).is_err());
}

fn remembered(limiter: &RateLimiter) -> usize {
    limiter.shards.iter().map(|shard| shard.lock().unwrap().places.len() * WAYS).sum()
}

#[test]
fn memory_is_bounded_and_an_unknown_caller_is_never_refused_for_it() {
    let keys = 1024;
    let limiter = RateLimiter::new(Rate { requests: 1, per: SECOND, by: RateBy::Address }, keys);
    assert_eq!(remembered(&limiter), 0);
    for caller in 0..100_000 {
        assert!(limiter.check(limiter.key(caller), limiter.epoch).is_ok());
    }
    assert!(remembered(&limiter) <= keys);
}

#[test]
fn places_of_callers_whose_budget_is_back_are_used_again() {
    let limiter = limiter(1, SECOND);
    for round in 1..100 {
        for caller in 0..50 {
            assert!(limiter.check(limiter.key((round, caller)), limiter.epoch + round * SECOND).is_ok());
        }
    }
    assert!(remembered(&limiter) <= 1024, "{}", remembered(&limiter));
}

#[test]
fn growth_forgets_nobody() {
    let limiter = limiter(1, SECOND);
    let keys: Vec<_> = (0..20_000).map(|caller| limiter.key(caller)).collect();
    assert!(keys.iter().all(|key| limiter.check(*key, limiter.epoch).is_ok()));
    assert!(keys.iter().all(|key| limiter.check(*key, limiter.epoch).is_err()));
}

#[test]
fn workers_share_one_budget() {
    let limiter = limiter(100, Duration::from_secs(3600));
    let allowed = || (0..200).filter(|_| limiter.check(7, limiter.epoch).is_ok()).count();
    let total: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(allowed)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert_eq!(total, 100);
}

proptest! {
    /// In any window: never more than `requests` and what the window gives back.
    #[test]
    fn no_window_has_more_than_the_burst_and_the_refill(
        requests in 1u32..20,
        per in 1u64..5_000,
        gaps in prop::collection::vec(prop_oneof![0u64..10, 0u64..2_000], 1..200),
    ) {
        let limiter = limiter(requests, Duration::from_nanos(per));
        let mut now = 1;
        let mut allowed = Vec::new();
        for gap in gaps {
            now += gap;
            let at = |nanoseconds| limiter.epoch + Duration::from_nanos(nanoseconds);
            match limiter.check(1, at(now)) {
                Ok(_) => allowed.push(now),
                Err(Limited { retry_after }) => {
                    // Waiting as told is enough, and waiting less is not.
                    let wait = retry_after.as_nanos() as u64;
                    prop_assert!(wait > 0 && wait <= per.div_ceil(u64::from(requests)));
                    prop_assert!(limiter.check(1, at(now + wait - 1)).is_err());
                    now += wait;
                    prop_assert!(limiter.check(1, at(now)).is_ok());
                    allowed.push(now);
                }
            }
        }
        for (first, from) in allowed.iter().enumerate() {
            for (last, to) in allowed.iter().enumerate().skip(first) {
                let refill = (to - from) * u64::from(requests) / per;
                prop_assert!((last - first + 1) as u64 <= u64::from(requests) + refill);
            }
        }
    }
}
