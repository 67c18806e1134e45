//! Everything at once, for long: callers over HTTP/1.1 and HTTP/2 who tolerate no loss, callers of an agency most of whose
//! endpoints fail, callers who leave in the middle, reloads good and bad, and upgrades. `tests/soak/run` runs it.
//!
//! In the first third of the time processes follow each other; the one that is left after it must end as large as it was.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[allow(dead_code, reason = "shared with the other black-box tests, which use the rest of it")]
#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code, reason = "shared, as above")]
#[path = "../restart/service.rs"]
mod service;

#[path = "../restart/load.rs"]
mod load;

#[allow(dead_code, reason = "shared, as above")]
#[path = "../faults/script.rs"]
mod script;

mod size;
mod trouble;

use std::time::{Duration, Instant};

use load::Load;
use script::Step::*;
use service::Service;
use size::Sizes;
use support::world;
use trouble::Trouble;

const LENGTH: &str = "SOAK_SECONDS";
const LEAST: u64 = 30;

/// An agency that is well and keeps nothing of what it is asked.
const HELLO: &[script::Step] = &[Head, Body, Say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")];

/// `round`: what changes from one configuration to the next.
fn yaml(well: u16, trouble: &Trouble, round: usize) -> String {
    let config = world::standard(&format!("http://127.0.0.1:{well}")).top("workers: 2\ndrain: 4s");
    let late = format!("late{}", round % 7);
    trouble.agency(config).simple(&late, "registry", 0).yaml()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "as long as SOAK_SECONDS says: tests/soak/run"]
async fn nothing_is_lost_and_nothing_grows() {
    let seconds = std::env::var(LENGTH).ok().and_then(|text| text.parse().ok()).unwrap_or(600).max(LEAST);
    let well = script::Agency::start(HELLO, HELLO).await;
    let mut trouble = Trouble::prepare().await;
    let service = Service::start(&yaml(well.port, &trouble, 0)).await;
    let load = Load::start(service.address);
    trouble.start(service.address);
    let (start, third) = (Instant::now(), Duration::from_secs(seconds / 3));
    let mut round = 0;
    while start.elapsed() < third {
        round += 1;
        reload(&service, &yaml(well.port, &trouble, round)).await;
        service.upgrade().await;
        load.more(200).await;
        service.drained(round).await;
    }
    let upgrades = round;
    let mut sizes = Sizes::of(service.pid());
    while start.elapsed() < 3 * third {
        round += 1;
        let until = Instant::now() + Duration::from_secs(1);
        reload(&service, &yaml(well.port, &trouble, round)).await;
        load.more(100).await;
        tokio::time::sleep_until(until.into()).await;
        sizes.take();
    }
    assert!(service::runs(sizes.pid, service.path()), "the last process has gone");
    let metrics = service.metrics().await;
    let (calls, outcomes) = (load.stop().await, trouble.stop().await);
    println!(
        "{upgrades} upgrades, {round} reloads, {} good requests on {} connections",
        calls.requests, calls.connections
    );
    println!("{} told to close, {} GOAWAY, {} asked again after it", calls.closed, calls.went_away, calls.again);
    println!("to the agency in trouble: {outcomes}");
    println!("{sizes}");
    assert_eq!((calls.failed.len(), calls.refused), (0, 0), "{:#?}", calls.failed);
    outcomes.assert_expected();
    sizes.assert_flat();
    assert_eq!(metrics.sum("darvazeh_requests_total", &["code=\"internal_error\""]), 0.0);
}

/// A configuration that is refused, then one that is taken.
async fn reload(service: &Service, yaml: &str) {
    service.configure(&yaml.replace("version: 1", "version: 1\nno_such_key: 1"));
    assert_eq!(service.admin("POST", "/reload").await.status(), 422);
    service.configure(yaml);
    let answer = service.admin("POST", "/reload").await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
}
