//! Streams that would go on for hours: they outlive a reload, unless their route is gone or asks more than it did.

use crate::apply;
use crate::support::agency::ByHand;
use crate::support::client::{H2, bearer, connect, get, h2_get};
use crate::support::gateway::{Gateway, Metrics};
use crate::support::token::token;
use crate::support::websocket::{ACCEPTANCE, masked, opening, text};
use crate::support::wire::Wire;
use crate::support::world::{Config, standard};

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

fn ended(m: &Metrics) -> f64 {
    m.sum("darvazeh_streams_ended_total", &[])
}

fn with_feed(agency: &ByHand, require: &str) -> Config {
    let feed = format!("name: feed, agency: registry, match: {{ prefix: /feed }}, require: {{ {require} }}");
    standard(&agency.url()).route(&feed)
}

async fn listen(gateway: &Gateway, agency: &ByHand) -> (Wire, Wire) {
    let mut caller = connect(gateway).await;
    caller.send(get("/feed", &[&bearer(&token(2).sign())])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    inside.send(STREAM).await.expect("open");
    assert_eq!(caller.head().await.expect("a head").status(), 200);
    event(&mut caller, &mut inside).await;
    (caller, inside)
}

async fn event(caller: &mut Wire, inside: &mut Wire) {
    inside.send("9\r\ndata: 1\n\n\r\n").await.expect("open");
    assert_eq!(caller.chunk().await.as_deref(), Some(&b"data: 1\n\n"[..]));
}

#[tokio::test]
async fn events_go_on_over_a_reload_that_leaves_their_route_alone() {
    let agency = ByHand::start().await;
    let gateway = with_feed(&agency, "level: 1").start().await;
    let (mut caller, mut inside) = listen(&gateway, &agency).await;
    apply(&gateway, &with_feed(&agency, "level: 1").simple("other", "registry", 0)).await;
    // Easier than it was is no reason either.
    apply(&gateway, &with_feed(&agency, "level: 0")).await;
    event(&mut caller, &mut inside).await;
    assert_eq!(ended(&gateway.metrics().await), 0.0);
}

#[tokio::test]
async fn events_end_when_their_route_asks_more() {
    for tighter in ["level: 3", "level: 1, scopes: [news.read]", "level: 1, max_age: 5m"] {
        let agency = ByHand::start().await;
        let gateway = with_feed(&agency, "level: 1").start().await;
        let (mut caller, mut inside) = listen(&gateway, &agency).await;
        apply(&gateway, &with_feed(&agency, tighter)).await;
        assert_eq!(caller.chunk().await.as_deref(), Some(&b""[..]), "the end of the stream: {tighter}");
        assert!(inside.rest().await.is_empty(), "the agency learns of it");
        gateway.metrics_when("an ended stream", |m| ended(m) == 1.0).await;
    }
}

#[tokio::test]
async fn events_over_http2_end_when_their_route_is_gone() {
    let agency = ByHand::start().await;
    let gateway = with_feed(&agency, "level: 1").start().await;
    let h2 = H2::connect(&gateway).await;
    let request = h2_get("/feed").header("authorization", format!("Bearer {}", token(2).sign())).body(()).unwrap();
    let asked = tokio::spawn(async move { (h2.request(request, b"").await, h2) });
    let (mut inside, _) = agency.request().await;
    inside.send(STREAM).await.expect("open");
    inside.send("9\r\ndata: 1\n\n\r\n").await.expect("open");
    apply(&gateway, &standard(&agency.url())).await;
    let (answer, h2) = asked.await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(inside.rest().await.is_empty(), "the agency learns of it");
    gateway.metrics_when("an ended stream", |m| ended(m) == 1.0).await;
    // Only the stream has ended: the connection serves on.
    assert_eq!(h2.request(h2_get("/feed").body(()).unwrap(), b"").await.status, 404);
}

/// The change may come two reloads after the stream began.
#[tokio::test]
async fn a_websocket_ends_when_its_route_is_gone() {
    let agency = ByHand::start().await;
    let gateway = with_feed(&agency, "level: 1").start().await;
    let mut caller = connect(&gateway).await;
    caller.send(opening("/feed", &[&bearer(&token(2).sign())])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    inside.send(ACCEPTANCE).await.expect("open");
    assert_eq!(caller.head().await.expect("101").status(), 101);
    apply(&gateway, &with_feed(&agency, "level: 1").simple("other", "registry", 0)).await;
    caller.send(masked("salam")).await.expect("open");
    assert_eq!(inside.exactly(masked("salam").len()).await, Some(masked("salam")));
    inside.send(text("hello")).await.expect("open");
    assert_eq!(caller.exactly(text("hello").len()).await, Some(text("hello")));
    apply(&gateway, &standard(&agency.url())).await;
    assert_eq!(caller.rest().await, [0x88, 0x02, 0x03, 0xf0], "Close, 1008");
    assert!(inside.rest().await.is_empty());
    gateway.metrics_when("an ended stream", |m| ended(m) == 1.0).await;
}
