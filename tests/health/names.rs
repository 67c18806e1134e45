//! Endpoints by name.

use crate::moody::{endpoint, metric, over, said_once, until};
use crate::support::agency::Agency;
use crate::support::client::{get, send};
use crate::support::verdict::{assert_passed, assert_refused};

#[tokio::test]
async fn a_name_is_looked_up_in_the_background() {
    let agency = Agency::hello().await;
    assert!(agency.url().contains("localhost"));
    let gateway = over(&[&agency.url()], "health: off").start().await;
    assert_passed(&send(&gateway, get("/open", &[])).await);
    assert!(endpoint(&gateway, 0).await["addresses"].as_u64().is_some_and(|n| n >= 1));
    assert!(metric(&gateway, "darvazeh_upstream_addresses", &agency.url()).await >= 1.0);
}

/// The gateway starts all the same, and serves what it can.
#[tokio::test]
async fn a_name_that_does_not_resolve_is_said_once() {
    let agency = Agency::hello().await;
    let nowhere = "http://agency.invalid:80";
    let config = over(&[nowhere], "timeouts: { connect: 5s }")
        .agency_at("other", &[&agency.url()], "health: off")
        .simple("other", "other", 0);
    let gateway = config.start().await;
    assert_passed(&send(&gateway, get("/other", &[])).await);
    let line = ["warn: agency registry endpoint", nowhere, "does not resolve"];
    said_once(&gateway, &line).await;
    let answer = send(&gateway, get("/open", &[])).await;
    assert_refused(&answer, 502, "connect_failed");
    assert!(answer.head.get("proxy-status").is_some_and(|status| status.contains("dns_error")));
    assert_eq!(endpoint(&gateway, 0).await["addresses"], 0);
    said_once(&gateway, &line).await;
}

/// What has several addresses is asked at each, and ill when all of them are.
#[tokio::test]
async fn an_address_that_does_not_answer_does_not_condemn_the_name() {
    let agency = Agency::hello().await;
    let addresses: Vec<_> = std::net::ToSocketAddrs::to_socket_addrs("localhost:1").unwrap().collect();
    let gateway = over(&[&agency.url()], crate::moody::QUICK).start().await;
    until("some checks", async || agency.seen().len() > 8).await;
    let seen = endpoint(&gateway, 0).await;
    assert_eq!((&seen["healthy"], &seen["addresses"]), (&true.into(), &addresses.len().into()));
    for _ in 0..6 {
        assert_passed(&send(&gateway, get("/open", &[])).await);
    }
}
