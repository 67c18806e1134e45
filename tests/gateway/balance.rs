//! Several endpoints of one agency: how requests spread, and what happens when one is not there.

use crate::support::agency::{Agency, ByHand, ok};
use crate::support::client::{H2, connect, get, get_with, h2_get, post, send};
use crate::support::gateway::Gateway;
use crate::support::token::token;
use crate::support::verdict::{assert_passed, assert_refused};
use crate::support::within;
use crate::support::world::Config;

async fn over(urls: &[&str], keys: &str) -> Gateway {
    Config::new()
        .agency_at("registry", urls, keys)
        .simple("open", "registry", 0)
        .simple("l1", "registry", 1)
        .start()
        .await
}

#[tokio::test]
async fn round_robin_spreads_evenly() {
    let (a, b) = (Agency::hello().await, Agency::hello().await);
    let gateway = over(&[&a.url(), &b.url()], "balance: round_robin").await;
    let mut wire = connect(&gateway).await;
    for _ in 0..20 {
        wire.send(get("/open", &[])).await.expect("open");
        assert_passed(&wire.answer().await);
    }
    assert_eq!((a.seen().len(), b.seen().len()), (10, 10));
}

/// What counts is what the worker itself has under way: both requests come over one connection.
#[tokio::test]
async fn least_request_avoids_the_busy_endpoint() {
    let (a, b) = (ByHand::start().await, ByHand::start().await);
    let gateway = over(&[&a.url(), &b.url()], "balance: least_request").await;
    let h2 = H2::connect(&gateway).await;
    #[expect(clippy::async_yields_async, reason = "the answer is awaited later, while both are under way")]
    let ask = async |path: &str| {
        let mut sender = h2.send.clone().ready().await.expect("open");
        let (answer, _) = sender.send_request(h2_get(path).body(()).expect("good parts"), true).expect("open");
        answer
    };
    let first = ask("/open/1").await;
    // Whichever it was sent to is the busy one now.
    let (mut inside, free) = tokio::select! {
        (wire, _) = a.request() => (wire, &b),
        (wire, _) = b.request() => (wire, &a),
    };
    let second = ask("/open/2").await;
    let (mut other, request) = free.request().await;
    assert_eq!(request.head.target(), "/open/2");
    other.send(ok("2")).await.expect("open");
    inside.send(ok("1")).await.expect("open");
    assert_eq!(within("the second answer", second).await.expect("an answer").status(), 200);
    assert_eq!(within("the first answer", first).await.expect("an answer").status(), 200);
}

/// An endpoint that takes its time with a handshake is busy meanwhile: it does not draw all requests to it.
#[tokio::test]
async fn least_request_counts_those_that_wait_for_a_connection() {
    let here = ByHand::start().await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}", silent.local_addr().expect("an address"));
    let gateway = over(&[&here.url(), &url], "balance: least_request, health: off, timeouts: { connect: 5m }").await;
    let h2 = H2::connect(&gateway).await;
    let mut asked = Vec::new();
    for n in 1..=8 {
        let mut sender = h2.send.clone().ready().await.expect("open");
        asked.push(sender.send_request(h2_get("/open").body(()).expect("good parts"), true).expect("open").0);
        gateway
            .metrics_when("it is under way", |all| all.sum("darvazeh_in_flight", &["route=\"open\""]) == f64::from(n))
            .await;
    }
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(within("its half", here.request()).await);
    }
    assert!(here.is_untouched().await, "and no more than that");
}

#[tokio::test]
async fn hash_subject_sends_a_person_to_one_endpoint() {
    let (a, b) = (Agency::hello().await, Agency::hello().await);
    let gateway = over(&[&a.url(), &b.url()], "balance: hash_subject").await;
    for person in 0..12 {
        let before = (a.seen().len(), b.seen().len());
        for _ in 0..3 {
            assert_passed(
                &get_with(&gateway, "/l1", &token(1).subject(&format!("citizen-{person}")).sign(), &[]).await,
            );
        }
        let spread = (a.seen().len() - before.0, b.seen().len() - before.1);
        assert!(spread == (3, 0) || spread == (0, 3), "citizen-{person}: {spread:?}");
    }
    assert!(!a.seen().is_empty() && !b.seen().is_empty(), "people spread over both");
}

/// Nothing of a request reached the endpoint that refused the connection: any request may go to the other, a POST too.
#[tokio::test]
async fn a_refused_connection_is_tried_elsewhere() {
    let gone = ByHand::start().await;
    let gone_url = gone.url();
    drop(gone);
    let there = Agency::hello().await;
    let gateway =
        over(&[&gone_url, &there.url()], "balance: round_robin, retry: { attempts: 2, budget_percent: 100 }").await;
    for n in 0..6 {
        let body = format!("body {n}");
        assert_passed(&send(&gateway, post("/open", &[], &body)).await);
        assert_eq!(there.last().payload.bytes, body.as_bytes());
    }
    assert_eq!(there.seen().len(), 6);
}

#[tokio::test]
async fn when_no_endpoint_is_there_it_is_said() {
    let mut urls = Vec::new();
    for _ in 0..2 {
        urls.push(ByHand::start().await.url());
    }
    let gateway = over(&[&urls[0], &urls[1]], "balance: round_robin").await;
    assert_refused(&send(&gateway, get("/open", &[])).await, 502, "connect_failed");
}
