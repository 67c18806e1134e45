//! Limits of an agency: one that hangs fills its own places, and the others go on as if nothing was.

use crate::support::agency::{Agency, ByHand, ok};
use crate::support::client::{H2, connect, get, h2_get, post, send};
use crate::support::gateway::Gateway;
use crate::support::verdict::{assert_passed, assert_refused};
use crate::support::wire::Wire;
use crate::support::world::Config;
use crate::support::{websocket, within};

async fn gateway(hanging: &ByHand, well: &Agency, limits: &str) -> Gateway {
    Config::new()
        .agency_with("hanging", &hanging.url(), limits)
        .agency("well", &well.url())
        .simple("hang", "hanging", 0)
        .simple("well", "well", 0)
        .start()
        .await
}

/// A request that the agency has, and does not answer.
async fn hang(gateway: &Gateway, agency: &ByHand) -> (Wire, Wire) {
    let mut caller = connect(gateway).await;
    caller.send(get("/hang", &[])).await.expect("open");
    let (inside, _) = agency.request().await;
    (caller, inside)
}

#[tokio::test]
async fn one_agency_that_hangs_takes_nothing_from_the_others() {
    let (hanging, well) = (ByHand::start().await, Agency::hello().await);
    let gateway = gateway(&hanging, &well, "limits: { concurrent: 4, queue: 2, queue_time: 1h }").await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(hang(&gateway, &hanging).await);
    }
    let mut waiting = Vec::new();
    for n in 1..=2 {
        let mut caller = connect(&gateway).await;
        caller.send(post("/hang/wait", &[], "once")).await.expect("open");
        gateway.metrics_when("it waits", |all| all.sum("darvazeh_upstream_queued", &[]) == f64::from(n)).await;
        waiting.push(caller);
    }
    let h2 = H2::connect(&gateway).await;
    for _ in 0..50 {
        let refused = send(&gateway, get("/hang", &[])).await;
        assert_refused(&refused, 503, "overloaded");
        assert_eq!(refused.head.get("retry-after"), Some("1"));
        assert_passed(&send(&gateway, post("/well", &[], "x")).await);
        assert_eq!(h2.request(h2_get("/well").body(()).expect("good parts"), b"").await.status, 200);
    }
    assert_eq!(well.seen().len(), 100);
    assert!(hanging.is_untouched().await, "nothing beyond its places reached it");

    let metrics = gateway.metrics().await;
    let of = |name: &str, more: &str| metrics.sum(name, &["agency=\"hanging\"", more]);
    let just = "agency=\"hanging\"";
    assert_eq!(of("darvazeh_upstream_in_flight", just), 4.0);
    assert_eq!(of("darvazeh_upstream_limit", just), 4.0);
    assert_eq!(of("darvazeh_upstream_connections_open", just), 4.0);
    assert_eq!(of("darvazeh_upstream_saturated", just), 1.0);
    assert_eq!(of("darvazeh_upstream_overloaded_total", "reason=\"queue\""), 50.0);
    assert_eq!(metrics.sum("darvazeh_upstream_saturated", &["agency=\"well\""]), 0.0);
    let seen: serde_json::Value = serde_json::from_str(&gateway.admin("GET", "/agencies").await.text()).expect("JSON");
    let agency = &seen["agencies"][0];
    assert_eq!((&agency["in_flight"], &agency["queued"], &agency["limit"]), (&4.into(), &2.into(), &4.into()));

    // Places that come free go to those who wait. Each on a connection of its own: which worker waits is not known.
    let last = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 7\r\n\r\nat last";
    for (mut caller, mut inside) in held.drain(..2) {
        inside.send(last).await.expect("open");
        assert_eq!(caller.answer().await.text(), "at last");
        let (mut next, request) = hanging.request().await;
        assert_eq!(request.payload.bytes, b"once");
        next.send(last).await.expect("open");
    }
    for mut caller in waiting {
        assert_eq!(caller.answer_to("POST").await.text(), "at last");
    }
    drop(held);
    gateway.metrics_when("it recovers", |all| all.sum("darvazeh_upstream_saturated", &[]) == 0.0).await;
    let line = gateway.stderr.find(|line| line.contains("info: agency hanging: no longer saturated").then_some(()));
    within("the line", line).await;
    let told = |what: &str| gateway.stderr.all().iter().filter(|line| line.contains(what)).count();
    assert_eq!(told("warn: agency hanging: saturated: 4 requests are under way"), 1, "once, not for each request");
}

#[tokio::test]
async fn who_waits_too_long_is_told_to_come_back() {
    let (hanging, well) = (ByHand::start().await, Agency::hello().await);
    let gateway = gateway(&hanging, &well, "limits: { concurrent: 1, queue: 8, queue_time: 100ms }").await;
    let (_caller, _inside) = hang(&gateway, &hanging).await;
    let refused = send(&gateway, post("/hang", &[], "x")).await;
    assert_refused(&refused, 503, "overloaded");
    assert!(refused.head.get("retry-after").is_some());
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("darvazeh_upstream_overloaded_total", &["reason=\"queue_time\""]), 1.0);
    assert!(hanging.is_untouched().await);
}

/// A caller who leaves gives its place back, whether it waits or is under way.
#[tokio::test]
async fn a_caller_who_leaves_gives_its_place_back() {
    let (hanging, well) = (ByHand::start().await, Agency::hello().await);
    let gateway = gateway(&hanging, &well, "limits: { concurrent: 1, queue: 1, queue_time: 1h }").await;
    let (caller, mut inside) = hang(&gateway, &hanging).await;
    let mut waiting = connect(&gateway).await;
    waiting.send(get("/hang", &[])).await.expect("open");
    gateway.metrics_when("it waits", |all| all.sum("darvazeh_upstream_queued", &[]) == 1.0).await;
    waiting.reset();
    gateway.metrics_when("it left the line", |all| all.sum("darvazeh_upstream_queued", &[]) == 0.0).await;
    caller.reset();
    inside.rest().await;
    gateway.metrics_when("its place is free", |all| all.sum("darvazeh_upstream_in_flight", &[]) == 0.0).await;
    let (mut next, mut inside) = hang(&gateway, &hanging).await;
    inside.send(ok("fine")).await.expect("open");
    assert_eq!(next.answer().await.text(), "fine");
}

/// Tunnels and event streams last: they leave their places to requests, and only connections bound them.
#[tokio::test]
async fn what_lasts_takes_no_place_but_a_connection() {
    let (hanging, well) = (ByHand::start().await, Agency::hello().await);
    let limits = "limits: { concurrent: 1, queue: 0, connections: 2 }";
    let gateway = gateway(&hanging, &well, limits).await;
    let mut tunnel = connect(&gateway).await;
    tunnel.send(websocket::opening("/hang", &[])).await.expect("open");
    let (mut one, _) = hanging.request().await;
    one.send(websocket::ACCEPTANCE).await.expect("open");
    assert_eq!(tunnel.head().await.expect("101").status(), 101);

    let (mut stream, mut two) = hang(&gateway, &hanging).await;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    two.send(head).await.expect("open");
    assert_eq!(stream.head().await.expect("a head").status(), 200);

    gateway.metrics_when("its places are free", |all| all.sum("darvazeh_upstream_in_flight", &[]) == 0.0).await;
    assert_refused(&send(&gateway, get("/hang", &[])).await, 503, "overloaded");
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("darvazeh_upstream_overloaded_total", &["reason=\"connections\""]), 1.0);
    assert!(hanging.is_untouched().await);
    drop((tunnel, one));
    gateway.metrics_when("one is closed", |all| all.sum("darvazeh_upstream_connections_open", &[]) == 1.0).await;
    let (mut next, mut inside) = hang(&gateway, &hanging).await;
    inside.send(ok("fine")).await.expect("open");
    assert_eq!(next.answer().await.text(), "fine");
}

/// `adaptive`: an agency whose answers do not come in time is given less and less.
#[tokio::test]
async fn the_limit_follows_the_agency() {
    let (hanging, well) = (ByHand::start().await, Agency::hello().await);
    let keys = "limits: { concurrent: 100, queue: 0, adaptive: true }, timeouts: { response: 50ms }, outlier: off";
    let gateway = gateway(&hanging, &well, keys).await;
    let limit =
        |metrics: &crate::support::gateway::Metrics| metrics.sum("darvazeh_upstream_limit", &["agency=\"hanging\""]);
    assert_eq!(limit(&gateway.metrics().await), 64.0, "where it begins");
    let mut open = Vec::new();
    let shrunk = async {
        while limit(&gateway.metrics().await) >= 64.0 {
            let mut caller = connect(&gateway).await;
            caller.send(get("/hang", &[])).await.expect("open");
            open.push(hanging.request().await);
            assert_refused(&caller.answer().await, 504, "upstream_timeout");
        }
    };
    within("the limit to shrink", shrunk).await;
    assert!(gateway.stderr.all().iter().all(|line| !line.contains("saturated")), "nobody was turned away");
}

/// The agency closed a connection just as a request came by it: that request goes out again before those who wait.
#[tokio::test]
async fn who_finds_a_connection_closed_keeps_its_place() {
    let (hanging, well) = (ByHand::start().await, Agency::hello().await);
    let gateway = gateway(&hanging, &well, "limits: { concurrent: 1, queue: 1, queue_time: 1h }").await;
    let (mut first, mut inside) = hang(&gateway, &hanging).await;
    inside.send(ok("one")).await.expect("open");
    assert_eq!(first.answer().await.text(), "one");
    first.send(get("/hang", &[])).await.expect("open");
    within("the second on the same connection", inside.request()).await;
    let mut second = connect(&gateway).await;
    second.send(get("/hang/wait", &[])).await.expect("open");
    gateway.metrics_when("it waits", |all| all.sum("darvazeh_upstream_queued", &[]) == 1.0).await;
    drop(inside);
    for (caller, path) in [(&mut first, "/hang"), (&mut second, "/hang/wait")] {
        let (mut inside, request) = hanging.request().await;
        assert_eq!(request.head.target(), path);
        inside.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nthen").await.expect("open");
        assert_eq!(caller.answer().await.text(), "then");
    }
}
