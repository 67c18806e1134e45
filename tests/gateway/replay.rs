//! Sent once means once: a kept connection that dies is replayed on a fresh one only where that can do no harm (HP-9).

use crate::support::agency::{ByHand, ok};
use crate::support::client::{connect, get, post, request};
use crate::support::gateway::Gateway;
use crate::support::verdict::{assert_passed, assert_refused};
use crate::support::wire::Wire;
use crate::support::world::{self, Config};

/// A caller and an upstream connection that has served one request and is kept for the next.
async fn warmed(agency: &ByHand, gateway: &Gateway, path: &str) -> (Wire, Wire) {
    let mut caller = connect(gateway).await;
    caller.send(get(path, &[])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    inside.send(ok("warm")).await.expect("open");
    assert_eq!(caller.answer().await.text(), "warm");
    (caller, inside)
}

async fn place() -> (ByHand, Gateway) {
    let agency = ByHand::start().await;
    let gateway = world::standard(&agency.url())
        .route("name: once, agency: registry, match: { prefix: /once }, require: { level: 0 }, retry: off")
        .start()
        .await;
    (agency, gateway)
}

#[tokio::test]
async fn a_kept_connection_is_used_again() {
    let (agency, gateway) = place().await;
    let (mut caller, mut inside) = warmed(&agency, &gateway, "/open").await;
    caller.send(post("/open", &[], "second")).await.expect("open");
    assert_eq!(inside.request().await.expect("on the same connection").payload.bytes, b"second");
    inside.send(ok("again")).await.expect("open");
    assert_eq!(caller.answer().await.text(), "again");
}

#[tokio::test]
async fn hp9_a_get_on_a_dead_kept_connection_is_replayed_once() {
    let (agency, gateway) = place().await;
    let (mut caller, mut inside) = warmed(&agency, &gateway, "/open").await;
    caller.send(get("/open/again", &[])).await.expect("open");
    inside.request().await.expect("on the kept connection");
    inside.reset();
    let (mut fresh, replayed) = agency.request().await;
    assert_eq!(replayed.head.target(), "/open/again");
    fresh.send(ok("replayed")).await.expect("open");
    let answer = caller.answer().await;
    assert_passed(&answer);
    assert_eq!(answer.text(), "replayed");
    assert!(agency.is_untouched().await);
}

#[tokio::test]
async fn hp9_a_replay_that_fails_is_not_replayed() {
    let (agency, gateway) = place().await;
    let (mut caller, mut inside) = warmed(&agency, &gateway, "/open").await;
    caller.send(get("/open/again", &[])).await.expect("open");
    inside.request().await.expect("on the kept connection");
    inside.reset();
    let (fresh, _) = agency.request().await;
    fresh.reset();
    assert_refused(&caller.answer().await, 502, "upstream_broke");
    assert!(agency.is_untouched().await);
}

/// `attempts` counts every time a request is sent, whichever endpoint it goes to.
#[tokio::test]
async fn hp9_two_endpoints_do_not_make_more_replays() {
    let (sent, mut seen) = tokio::sync::watch::channel(0);
    let sent = std::sync::Arc::new(sent);
    let mut urls = Vec::new();
    for _ in 0..2 {
        let agency = ByHand::start().await;
        urls.push(agency.url());
        let sent = sent.clone();
        tokio::spawn(async move {
            loop {
                let mut inside = agency.accept().await;
                while let Some(request) = inside.request().await {
                    if request.head.target() != "/open/warm" {
                        sent.send_modify(|n| *n += 1);
                        inside.reset();
                        break;
                    }
                    inside.send(ok("warm")).await.expect("open");
                }
            }
        });
    }
    let keys = "balance: round_robin, retry: { attempts: 2, budget_percent: 100 }";
    let gateway =
        Config::new().agency_at("registry", &[&urls[0], &urls[1]], keys).simple("open", "registry", 0).start().await;
    let mut caller = connect(&gateway).await;
    for _ in 0..2 {
        caller.send(get("/open/warm", &[])).await.expect("open");
        assert_eq!(caller.answer().await.text(), "warm");
    }
    caller.send(get("/open/again", &[])).await.expect("open");
    assert_refused(&caller.answer().await, 502, "upstream_broke");
    assert_eq!(*seen.borrow_and_update(), 2);
}

#[tokio::test]
async fn hp9_a_post_is_never_replayed() {
    let (agency, gateway) = place().await;
    for body in ["", "transfer 1000000"] {
        let (mut caller, mut inside) = warmed(&agency, &gateway, "/open").await;
        caller.send(post("/open", &[], body)).await.expect("open");
        inside.request().await.expect("on the kept connection");
        inside.reset();
        assert_refused(&caller.answer().await, 502, "upstream_broke");
        assert!(agency.is_untouched().await, "it was sent once, and once it stays");
    }
}

#[tokio::test]
async fn a_route_may_forbid_replays() {
    let (agency, gateway) = place().await;
    let (mut caller, mut inside) = warmed(&agency, &gateway, "/once").await;
    caller.send(get("/once", &[])).await.expect("open");
    inside.request().await.expect("on the kept connection");
    inside.reset();
    assert_refused(&caller.answer().await, 502, "upstream_broke");
    assert!(agency.is_untouched().await);
}

/// Once a byte of the answer has come, it is too late.
#[tokio::test]
async fn hp9_nothing_is_replayed_after_the_answer_began() {
    let (agency, gateway) = place().await;
    let (mut caller, mut inside) = warmed(&agency, &gateway, "/open").await;
    caller.send(get("/open", &[])).await.expect("open");
    inside.request().await.expect("on the kept connection");
    inside.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await.expect("open");
    let head = caller.head().await.expect("the head");
    inside.close().await;
    assert!(!caller.body(head.answer_framing("GET")).await.complete);
    assert!(agency.is_untouched().await);
}

/// A connection that the agency has closed meanwhile is not used, so that even a POST is not lost to it.
#[tokio::test]
async fn a_connection_that_the_agency_closed_is_not_used() {
    let (agency, gateway) = place().await;
    let (mut caller, inside) = warmed(&agency, &gateway, "/open").await;
    inside.close().await;
    caller.send(post("/open", &[], "second")).await.expect("open");
    let (mut fresh, request) = agency.request().await;
    assert_eq!(request.payload.bytes, b"second");
    fresh.send(ok("fine")).await.expect("open");
    assert_eq!(caller.answer().await.text(), "fine");
}

/// An agency that says `close` is taken at its word.
#[tokio::test]
async fn an_upstream_connection_marked_close_is_not_kept() {
    let (agency, gateway) = place().await;
    let mut caller = connect(&gateway).await;
    caller.send(request("GET", "/open", &[])).await.expect("open");
    let (mut first, _) = agency.request().await;
    first.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\none").await.expect("open");
    let answer = caller.answer().await;
    assert_eq!(answer.text(), "one");
    assert_ne!(answer.head.get("connection"), Some("close"), "that was between the agency and the gateway");
    caller.send(post("/open", &[], "x")).await.expect("the caller's connection lives on");
    let (mut second, _) = agency.request().await;
    second.send(ok("two")).await.expect("open");
    assert_eq!(caller.answer().await.text(), "two");
    drop(first);
}
