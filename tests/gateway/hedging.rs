//! `hedge`: a read that one endpoint is slow to answer is asked of another; the first answer wins.

use crate::support::agency::{ByHand, ok};
use crate::support::client::{connect, get, post};
use crate::support::gateway::Gateway;
use crate::support::wire::{Message, Wire};
use crate::support::world::Config;

async fn over(agencies: &[&ByHand], keys: &str) -> Gateway {
    let urls: Vec<String> = agencies.iter().map(|agency| agency.url()).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let keys = format!("balance: round_robin, outlier: off, {keys}");
    Config::new()
        .agency_at("registry", &urls, &keys)
        .simple("open", "registry", 0)
        .route("name: once, agency: registry, match: { prefix: /once }, require: { level: 0 }, retry: off")
        .start()
        .await
}

/// The request at whichever of the two it met, and the other one.
async fn met<'a>(a: &'a ByHand, b: &'a ByHand) -> (Wire, Message, &'a ByHand) {
    tokio::select! {
        (wire, request) = a.request() => (wire, request, b),
        (wire, request) = b.request() => (wire, request, a),
    }
}

async fn hedges(gateway: &Gateway, outcome: &str) -> f64 {
    gateway.metrics().await.sum("darvazeh_hedges_total", &[&format!("outcome=\"{outcome}\"")])
}

#[tokio::test]
async fn the_second_endpoint_may_win_and_the_first_is_let_go() {
    let (a, b) = (ByHand::start().await, ByHand::start().await);
    let gateway = over(&[&a, &b], "hedge: { after: 50ms }").await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open/x", &["Accept-Language: fa"])).await.expect("open");
    let (mut slow, first, other) = met(&a, &b).await;
    let (mut quick, second) = other.request().await;
    assert_eq!(first.head.raw, second.head.raw, "both are asked the same");
    quick.send(ok("quick")).await.expect("open");
    assert_eq!(caller.answer().await.text(), "quick");
    assert!(slow.rest().await.is_empty(), "the other exchange is broken off");
    assert_eq!(hedges(&gateway, "won").await, 1.0);
    assert!(a.is_untouched().await && b.is_untouched().await, "two were asked, no more");
}

#[tokio::test]
async fn the_first_endpoint_may_win_and_errors_lose() {
    let (a, b) = (ByHand::start().await, ByHand::start().await);
    let gateway = over(&[&a, &b], "hedge: { after: 50ms }").await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    let (mut first, _, other) = met(&a, &b).await;
    let (mut second, _) = other.request().await;
    second.send("HTTP/1.1 500 Oh\r\nContent-Length: 4\r\n\r\nsick").await.expect("open");
    // The error is there when the answer comes.
    gateway.metrics_when("the hedge lost", |all| all.sum("darvazeh_hedges_total", &["outcome=\"lost\""]) == 1.0).await;
    first.send(ok("slow but sure")).await.expect("open");
    assert_eq!(caller.answer().await.text(), "slow but sure");
}

/// What may not be sent twice is not: no POST, nothing on a route that forbids it, nothing where no other endpoint is.
#[tokio::test]
async fn only_reads_are_hedged() {
    let (a, b) = (ByHand::start().await, ByHand::start().await);
    let gateway = over(&[&a, &b], "hedge: { after: 20ms }").await;
    for asked in [post("/open", &[], ""), post("/open", &[], "body"), get("/once", &[])] {
        let mut caller = connect(&gateway).await;
        caller.send(asked).await.expect("open");
        let (mut inside, _, other) = met(&a, &b).await;
        assert!(other.is_untouched().await, "it waited longer than the hedge would");
        inside.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nonce").await.expect("open");
        assert_eq!(caller.answer().await.text(), "once");
    }
    let alone = ByHand::start().await;
    let gateway = over(&[&alone], "hedge: { after: 20ms }").await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    let (mut inside, _) = alone.request().await;
    assert!(alone.is_untouched().await, "never twice at one endpoint");
    inside.send(ok("alone")).await.expect("open");
    assert_eq!(caller.answer().await.text(), "alone");
}

/// A hedge costs what a retry costs: a budget of nothing pays for none.
#[tokio::test]
async fn hedges_come_out_of_the_budget() {
    let (a, b) = (ByHand::start().await, ByHand::start().await);
    let gateway = over(&[&a, &b], "hedge: { after: 20ms }, retry: { budget_percent: 0 }").await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    let (mut inside, _, other) = met(&a, &b).await;
    gateway
        .metrics_when("it is told", |all| all.sum("darvazeh_hedges_total", &["outcome=\"budget_exhausted\""]) == 1.0)
        .await;
    assert!(other.is_untouched().await);
    inside.send(ok("unhedged")).await.expect("open");
    assert_eq!(caller.answer().await.text(), "unhedged");
}

/// `on`: after the p95 of what was seen, and not before enough was.
#[tokio::test]
async fn the_p95_is_learnt() {
    let (a, b) = (ByHand::start().await, ByHand::start().await);
    let gateway = over(&[&a, &b], "hedge: on").await;
    let mut caller = connect(&gateway).await;
    let (mut one, mut two) = (None, None);
    for n in 0..120 {
        caller.send(get("/open", &[])).await.expect("open");
        let (wire, agency) = if n % 2 == 0 { (&mut one, &a) } else { (&mut two, &b) };
        if wire.is_none() {
            *wire = Some(agency.accept().await);
        }
        let inside = wire.as_mut().expect("just made");
        inside.request().await.expect("in turn");
        inside.send(ok("quick")).await.expect("open");
        assert_eq!(caller.answer().await.text(), "quick");
        if hedges(&gateway, "won").await + hedges(&gateway, "lost").await > 0.0 {
            // A slow machine: an answer came after the p95 of a hundred, which is what hedges are for.
            return;
        }
    }
    caller.send(get("/open", &[])).await.expect("open");
    let (one, two) = (one.as_mut().expect("used"), two.as_mut().expect("used"));
    // One is silent, the other is asked soon.
    one.request().await.expect("the first");
    two.request().await.expect("the second");
    two.send(ok("hedged")).await.expect("open");
    assert_eq!(caller.answer().await.text(), "hedged");
}
