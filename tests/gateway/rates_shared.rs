//! Rates that several gateways count together, before a real Redis: one budget, and no harm when that is away.

use std::time::{Duration, Instant};

use crate::support::agency::Agency;
use crate::support::client::{get, get_with, send};
use crate::support::gateway::Gateway;
use crate::support::redis::Redis;
use crate::support::token::token;
use crate::support::verdict::{assert_passed, assert_refused};
use crate::support::world::{Config, standard};

const UP: &str = "darvazeh_redis_up";
const COUNTS: &str = "darvazeh_rate_counts_total";

fn config(agency: &Agency, redis: &Redis, requests: u32, level: u8, by: &str) -> Config {
    standard(&agency.url())
        // A busy machine may keep a healthy Redis waiting for longer than the default allows.
        .top(&format!("rates: {{ shared: '{}', timeout: 1s }}", redis.url()))
        .route(&format!(
            "name: rated, agency: registry, match: {{ prefix: /rated }}, require: {{ level: {level} }}, \
             limits: {{ rate: {{ requests: {requests}, per: 1h, by: {by} }} }}"
        ))
}

/// Two nodes with one pairwise key, connected.
async fn two(config: &Config) -> (Gateway, Gateway) {
    let first = config.start().await;
    let second = crate::support::gateway::directory(&config.yaml());
    std::fs::create_dir_all(second.path().join("var")).unwrap();
    std::fs::copy(first.path().join("var/pairwise.key"), second.path().join("var/pairwise.key")).unwrap();
    let second = Gateway::start_in(second).await;
    connected(&first).await;
    connected(&second).await;
    (first, second)
}

async fn connected(gateway: &Gateway) {
    gateway.metrics_when("redis is up", |metrics| metrics.sum(UP, &[]) == 1.0).await;
}

#[tokio::test]
async fn two_gateways_share_one_budget() {
    let agency = Agency::hello().await;
    let Some(redis) = Redis::start().await else { return };
    let (one, two) = two(&config(&agency, &redis, 4, 1, "subject")).await;
    let citizen = token(1).subject("0012345678").sign();
    for gateway in [&one, &two, &one, &two] {
        assert_passed(&get_with(gateway, "/rated", &citizen, &[]).await);
    }
    for gateway in [&one, &two] {
        let answer = get_with(gateway, "/rated", &citizen, &[]).await;
        assert_refused(&answer, 429, "rate_limited");
        assert_eq!(answer.head.get("ratelimit-policy"), Some("\"gateway\";q=4;w=3600"));
        assert!(answer.head.has("retry-after"));
    }
    assert_passed(&get_with(&two, "/rated", &token(1).subject("other").sign(), &[]).await);
    let metrics = one.metrics().await;
    assert_eq!(metrics.sum(COUNTS, &["by=\"shared\""]), 3.0);
    assert_eq!(metrics.sum(COUNTS, &["by=\"alone\""]), 0.0);

    // What stands there is for nobody else's eyes, and goes away by itself.
    let keys = redis.ask("KEYS *").await;
    assert!(keys.contains("darvazeh:rate:") && !keys.contains("0012345678") && !keys.contains("other"), "{keys}");
    let key = keys.lines().find(|line| line.starts_with("darvazeh:rate:")).unwrap();
    let left: i64 = redis.ask(&format!("PTTL {key}")).await.lines().next().unwrap()[1..].parse().unwrap();
    assert!((1..=3_600_000).contains(&left), "{left}");
    assert!(redis.ask("INFO commandstats").await.contains("evalsha"), "the script is known by its hash");
}

/// Killed, it fails at once; stopped, it does not answer: either way nobody waits longer than the time-out, and it is said.
#[tokio::test]
async fn without_redis_each_node_counts_by_itself_and_says_so() {
    let agency = Agency::hello().await;
    let Some(mut redis) = Redis::start().await else { return };
    let gateway = config(&agency, &redis, 1_000_000, 0, "address").start().await;
    connected(&gateway).await;
    let request = get("/rated", &[]);
    assert_passed(&send(&gateway, &request).await);

    let load = async {
        for _ in 0..200 {
            assert_passed(&send(&gateway, &request).await);
        }
    };
    let kill = async {
        gateway.metrics_when("under load", |metrics| metrics.sum(COUNTS, &["by=\"shared\""]) >= 20.0).await;
        redis.kill();
    };
    tokio::join!(load, kill);
    let metrics = gateway.metrics_when("it is away", |metrics| metrics.sum(UP, &[]) == 0.0).await;
    let before = metrics.sum(COUNTS, &["by=\"alone\""]);
    assert_passed(&send(&gateway, &request).await);
    let told = |lines: &[String], what: &str| lines.iter().filter(|line| line.contains(what)).count();
    let alone = gateway.metrics().await.sum(COUNTS, &["by=\"alone\""]);
    assert!(alone > before, "{alone} after {before}");
    assert_eq!(told(&gateway.stderr.all(), "is away"), 1, "{:?}", gateway.stderr.all());

    redis.restart().await;
    connected(&gateway).await;
    let shared = gateway.metrics().await.sum(COUNTS, &["by=\"shared\""]);
    assert_passed(&send(&gateway, &request).await);
    assert!(gateway.metrics().await.sum(COUNTS, &["by=\"shared\""]) > shared);
    gateway.stderr.find(|line| line.contains("is back").then_some(())).await.unwrap();
}

#[tokio::test]
async fn a_redis_that_hangs_costs_a_few_requests_the_time_out_and_then_nothing() {
    let agency = Agency::hello().await;
    let Some(redis) = Redis::start().await else { return };
    let gateway = config(&agency, &redis, 1_000_000, 0, "address").start().await;
    connected(&gateway).await;
    let request = get("/rated", &[]);
    redis.signal("STOP");
    let mut waits = 0;
    let asked = async {
        loop {
            let begun = Instant::now();
            assert_passed(&send(&gateway, &request).await);
            waits += u32::from(begun.elapsed() >= Duration::from_secs(1));
            if gateway.metrics().await.sum(UP, &[]) == 0.0 {
                break;
            }
        }
    };
    crate::support::within("the connection counts as dead", asked).await;
    assert!(waits >= 1, "the first requests wait for it");
    redis.signal("CONT");
    connected(&gateway).await;
}

/// A clock that was set back, or a replica's that is behind, leaves instants that lie far ahead: they lock nobody out.
#[tokio::test]
async fn an_instant_of_another_clock_locks_nobody_out() {
    let agency = Agency::hello().await;
    let Some(redis) = Redis::start().await else { return };
    let gateway = config(&agency, &redis, 100_000, 0, "address").start().await;
    connected(&gateway).await;
    let request = get("/rated", &[]);
    // A count is kept for as long as it says anything: these 36 ms may be over before it is looked for.
    let count = async {
        loop {
            assert_passed(&send(&gateway, &request).await);
            let keys = redis.ask("KEYS darvazeh:rate:*").await;
            if let Some(key) = keys.lines().find(|line| line.starts_with("darvazeh:rate:")) {
                break key.to_owned();
            }
        }
    };
    let key = crate::support::within("a count", count).await;
    redis.ask(&format!("SET {key} 99999999999999999 PX 86400000")).await;
    assert_refused(&send(&gateway, &request).await, 429, "rate_limited");
    // The budget counts as used up, and comes back from now on: one request each 36 ms.
    let again = async { while send(&gateway, &request).await.status() != 200 {} };
    crate::support::within("a request that is let in", again).await;
}
