//! The end of a gateway is orderly: what is in flight is finished, what is new goes elsewhere.

use std::time::Instant;

use tokio::net::TcpStream;

use crate::support::agency::{Agency, ByHand, ok};
use crate::support::client::{H2, connect, get, h2_get, send};
use crate::support::gateway::{Gateway, directory};
use crate::support::verdict::assert_passed;
use crate::support::websocket::{ACCEPTANCE, opening};
use crate::support::{PATIENCE, frames, within, world};

/// Waits until the listener takes no more connections.
async fn closed(gateway: &Gateway) {
    let asked = async {
        while TcpStream::connect(gateway.address()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within("new connections to be refused", asked).await;
}

#[tokio::test]
async fn a_request_in_flight_is_finished_and_the_exit_is_clean() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    gateway.signal("TERM");
    closed(&gateway).await;
    assert_eq!(gateway.admin("GET", "/readyz").await.status(), 503, "draining is not ready");
    assert_eq!(gateway.admin("GET", "/livez").await.status(), 200);
    inside.send(ok("finished")).await.expect("open");
    let answer = caller.answer().await;
    assert_passed(&answer);
    assert_eq!(answer.text(), "finished");
    assert_eq!(answer.head.get("connection"), Some("close"));
    assert!(caller.rest().await.is_empty());
    assert_eq!(gateway.exit().await.code(), Some(0));
}

/// A drain lasts as long as its slowest request, and what is answered meanwhile is logged meanwhile.
#[tokio::test]
async fn the_log_goes_on_during_a_drain() {
    let agency = ByHand::start().await;
    // Of two workers, one would be done with the quick request, and end.
    let dir = std::sync::Arc::new(directory(&world::standard(&agency.url()).yaml()));
    let gateway = Gateway::try_start_with(dir, &[("DARVAZEH_WORKERS", "1")]).await;
    let gateway = gateway.unwrap_or_else(|failed| panic!("the gateway did not start: {}", failed.stderr));
    let (mut quick, mut slow) = (connect(&gateway).await, connect(&gateway).await);
    quick.send(get("/open", &[])).await.expect("open");
    let (mut first, _) = agency.request().await;
    slow.send(get("/open", &[])).await.expect("open");
    let (mut second, _) = agency.request().await;
    gateway.signal("TERM");
    closed(&gateway).await;
    first.send(ok("quick")).await.expect("open");
    let answer = quick.answer().await;
    assert_passed(&answer);
    gateway.log_of(answer.head.get("x-request-id").expect("every answer has one")).await;
    second.send(ok("slow")).await.expect("open");
    assert_passed(&slow.answer().await);
    assert_eq!(gateway.exit().await.code(), Some(0));
}

#[tokio::test]
async fn http2_connections_are_told_to_go_away() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let busy = H2::connect(&gateway).await;
    let mut idle = frames::connect(&gateway).await;
    assert_eq!(frames::next(&mut idle).await.expect("the preface").kind, frames::SETTINGS);
    let asked = tokio::spawn(async move {
        let answer = busy.request(h2_get("/open").body(()).expect("good parts"), b"").await;
        let _ = within("the end of the busy connection", busy.driver).await;
        answer
    });
    let (mut inside, _) = agency.request().await;
    gateway.signal("TERM");
    let goaway = loop {
        let frame = frames::next(&mut idle).await.expect("GOAWAY before the end");
        if frame.kind == frames::GOAWAY {
            break frame;
        }
    };
    assert_eq!(goaway.payload[4..8], [0; 4], "NO_ERROR");
    while frames::next(&mut idle).await.is_some() {}
    inside.send(ok("finished")).await.expect("open");
    let answer = asked.await.expect("no panic");
    assert_eq!((answer.status, answer.body.as_slice(), answer.complete), (200, &b"finished"[..], true));
    assert_eq!(gateway.exit().await.code(), Some(0));
}

/// Connections that are kept alive for nothing do not keep the gateway alive.
#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    let mut idle = connect(&gateway).await;
    idle.send(get("/open", &[])).await.expect("open");
    assert_passed(&idle.answer().await);
    let fresh = connect(&gateway).await;
    let begun = Instant::now();
    assert_eq!(gateway.stop().await.code(), Some(0));
    assert!(begun.elapsed() < PATIENCE / 2, "it took {:?}", begun.elapsed());
    assert!(idle.rest().await.is_empty());
    drop(fresh);
}

/// `drain` is a bound: what does not end is ended.
#[tokio::test]
async fn what_does_not_end_within_drain_is_cut() {
    let agency = ByHand::start().await;
    let gateway = world::standard(&agency.url()).top("drain: 500ms").start().await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    let (mut inside, request) = agency.request().await;
    inside.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndata\r\n").await.expect("open");
    let head = caller.head().await.expect("the head");
    let begun = Instant::now();
    gateway.stop().await;
    assert!(begun.elapsed() < PATIENCE / 2, "it took {:?}", begun.elapsed());
    assert!(!caller.body(head.answer_framing("GET")).await.complete);
    let id = request.head.get("x-request-id").expect("X-Request-Id");
    assert!(gateway.stdout.all().join("\n").contains(id), "what was cut is logged all the same");
}

/// A tunnel has no end of its own: `drain` is its end.
#[tokio::test]
async fn a_tunnel_does_not_outlive_drain() {
    let agency = ByHand::start().await;
    let gateway = world::standard(&agency.url()).top("drain: 500ms").start().await;
    let mut caller = connect(&gateway).await;
    caller.send(opening("/open", &[])).await.expect("open");
    let (mut inside, request) = agency.request().await;
    inside.send(ACCEPTANCE).await.expect("open");
    assert_eq!(caller.head().await.expect("101").status(), 101);
    let begun = Instant::now();
    gateway.stop().await;
    assert!(begun.elapsed() < PATIENCE / 2, "it took {:?}", begun.elapsed());
    assert!(caller.rest().await.is_empty() && inside.rest().await.is_empty());
    let id = request.head.get("x-request-id").expect("X-Request-Id");
    assert!(gateway.stdout.all().join("\n").contains(id), "a tunnel is logged when it ends");
}

/// SIGINT is the same.
#[tokio::test]
async fn sigint_drains_too() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    assert_passed(&send(&gateway, get("/open", &[])).await);
    gateway.signal("INT");
    assert_eq!(gateway.exit().await.code(), Some(0));
}

/// Every request that was served is in the log when the process has ended.
#[tokio::test]
async fn no_access_log_line_is_lost_at_the_end() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    let mut wire = connect(&gateway).await;
    let mut ids = Vec::new();
    for _ in 0..50 {
        wire.send(get("/open", &[])).await.expect("open");
        ids.push(wire.answer().await.head.get("x-request-id").expect("X-Request-Id").to_owned());
    }
    assert_eq!(gateway.stop().await.code(), Some(0));
    let log = gateway.stdout.all().join("\n");
    for id in ids {
        assert!(log.contains(&id), "{id}");
    }
}
