//! How long a caller's connection lives, and that each request on it is a fresh start (RFC 9112 §9).

use crate::support::agency::{Agency, ByHand, ok};
use crate::support::client::{H2, bearer, connect, get, h2_get, post, request};
use crate::support::gateway::Gateway;
use crate::support::token::token;
use crate::support::verdict::{assert_passed, assert_refused};
use crate::support::websocket::opening;
use crate::support::{within, world};

async fn place() -> (Agency, Gateway) {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    (agency, gateway)
}

#[tokio::test]
async fn a_caller_that_says_close_is_taken_at_its_word() {
    let (_agency, gateway) = place().await;
    for path in ["/open", "/l1", "/nowhere"] {
        let mut wire = connect(&gateway).await;
        wire.send(get(path, &["Connection: close"])).await.expect("open");
        assert_eq!(wire.answer().await.head.get("connection"), Some("close"), "{path}");
        assert!(wire.rest().await.is_empty());
    }
}

#[tokio::test]
async fn a_refusal_does_not_cost_the_connection() {
    let (agency, gateway) = place().await;
    let mut wire = connect(&gateway).await;
    for path in ["/l1", "/nowhere", "/a/../b", "/l1?access_token=x", "/open"] {
        wire.send(get(path, &[])).await.expect("open");
        let answer = wire.answer().await;
        assert_ne!(answer.head.get("connection"), Some("close"), "{path}");
    }
    assert_eq!(agency.seen().len(), 1);
}

/// An agency's misfortune is not the caller's.
#[tokio::test]
async fn a_failed_exchange_does_not_cost_the_connection() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let mut wire = connect(&gateway).await;
    wire.send(post("/open", &[], "one") + &post("/open", &[], "two")).await.expect("open");
    let (inside, first) = agency.request().await;
    assert_eq!(first.payload.bytes, b"one");
    inside.reset();
    assert_refused(&wire.answer().await, 502, "upstream_broke");
    let (mut inside, second) = agency.request().await;
    assert_eq!(second.payload.bytes, b"two");
    inside.send(ok("two")).await.expect("open");
    assert_eq!(wire.answer().await.text(), "two");
}

/// RFC 9112 §2.2: an empty line before a request is to be skipped.
#[tokio::test]
async fn empty_lines_between_requests_are_skipped() {
    let (_agency, gateway) = place().await;
    let mut wire = connect(&gateway).await;
    for _ in 0..2 {
        wire.send("\r\n".to_owned() + &get("/open", &[])).await.expect("open");
        assert_passed(&wire.answer().await);
    }
}

#[tokio::test]
async fn http10_may_ask_to_be_kept() {
    let (_agency, gateway) = place().await;
    let mut wire = connect(&gateway).await;
    wire.send("GET /open HTTP/1.0\r\nHost: api.example.ir\r\nConnection: keep-alive\r\n\r\n").await.expect("open");
    let answer = wire.answer().await;
    assert_passed(&answer);
    let kept = answer.head.get("connection").is_some_and(|v| v.eq_ignore_ascii_case("keep-alive"));
    if kept {
        wire.send(get("/open", &[])).await.expect("it said so");
        assert_passed(&wire.answer().await);
    } else {
        assert!(wire.rest().await.is_empty());
    }
}

/// An upgrade that is declined leaves a connection like any other.
#[tokio::test]
async fn a_declined_upgrade_leaves_the_connection_usable() {
    let (agency, gateway) = place().await;
    let mut wire = connect(&gateway).await;
    wire.send(opening("/open", &[])).await.expect("open");
    assert_eq!(wire.answer().await.text(), "hello");
    wire.send(get("/open", &[])).await.expect("open");
    assert_passed(&wire.answer().await);
    assert_eq!(agency.seen().len(), 2);
}

/// An expectation without a body needs no 100, and breaks nothing.
#[tokio::test]
async fn an_expectation_without_a_body_is_harmless() {
    let (_agency, gateway) = place().await;
    let mut wire = connect(&gateway).await;
    for _ in 0..2 {
        wire.send(get("/open", &["Expect: 100-continue"])).await.expect("open");
        let mut answer = wire.answer().await;
        if answer.status() == 100 {
            answer = wire.answer().await;
        }
        assert_passed(&answer);
    }
}

/// A caller that sends its body without waiting for the 100 is understood.
#[tokio::test]
async fn a_body_that_does_not_wait_for_100_is_read() {
    let (agency, gateway) = place().await;
    let mut wire = connect(&gateway).await;
    wire.send(request("POST", "/open", &["Expect: 100-continue", "Content-Length: 5"]) + "hello").await.expect("open");
    let mut answer = wire.answer().await;
    if answer.status() == 100 {
        answer = wire.answer().await;
    }
    assert_passed(&answer);
    assert_eq!(agency.only().payload.bytes, b"hello");
    wire.send(get("/open", &[])).await.expect("open");
    assert_passed(&wire.answer().await);
}

/// The cache of verified tokens knows the whole token, not a part of it.
#[tokio::test]
async fn a_forged_copy_of_a_token_that_passed_is_refused() {
    let (agency, gateway) = place().await;
    let mut wire = connect(&gateway).await;
    let good = token(3);
    let text = good.sign();
    for _ in 0..2 {
        wire.send(get("/l3", &[&bearer(&text)])).await.expect("open");
        assert_passed(&wire.answer().await);
    }
    let (input, signature) = text.rsplit_once('.').expect("three parts");
    let swapped = format!("{input}.{}", token(3).sign().rsplit_once('.').expect("three parts").1);
    let cut = format!("{input}.{}", &signature[..signature.len() - 1]);
    for forged in
        [swapped, cut, format!("{text}A"), good.with_broken_signature(), good.with_claims_of(&token(3).subject("x"))]
    {
        wire.send(get("/l3", &[&bearer(&forged)])).await.expect("open");
        assert_refused(&wire.answer().await, 401, "token_invalid");
    }
    assert_eq!(agency.seen().len(), 2);
}

/// HEAD and bodiless statuses over HTTP/2.
#[tokio::test]
async fn http2_answers_without_a_body_have_none() {
    let agency = Agency::start(|request| match request.head.method() {
        "HEAD" => b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec(),
        _ => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
    })
    .await;
    let gateway = world::before(&agency.url()).await;
    let h2 = H2::connect(&gateway).await;
    let head = h2.request(h2_get("/open").method("HEAD").body(()).expect("good parts"), b"").await;
    assert_eq!((head.status, head.get("content-length"), head.body.len()), (200, Some("5"), 0));
    let none = h2.request(h2_get("/open").body(()).expect("good parts"), b"").await;
    assert_eq!((none.status, none.body.len(), none.complete), (204, 0, true));
    let refused = h2.request(h2_get("/l1").method("HEAD").body(()).expect("good parts"), b"").await;
    assert_eq!((refused.status, refused.get("x-gateway-error"), refused.body.len()), (401, Some("token_missing"), 0));
}

/// More streams than the listener allows wait or are refused; none is lost, and none reaches an agency twice.
#[tokio::test]
async fn more_streams_than_allowed_are_served_in_turn() {
    let agency = Agency::hello().await;
    let listener = format!("{{ name: public, address: 127.0.0.1:0, {}, limits: {{ streams: 4 }} }}", world::TLS);
    let gateway = world::standard(&agency.url()).listeners(&[&listener]).start().await;
    let h2 = std::sync::Arc::new(H2::connect(&gateway).await);
    // The settings are with the client once a first answer is.
    assert_eq!(h2.request(h2_get("/open").body(()).expect("good parts"), b"").await.status, 200);
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let h2 = h2.clone();
        asked.spawn(async move { h2.request(h2_get("/open").body(()).expect("good parts"), b"").await.status });
    }
    let statuses = within("all answers", asked.join_all()).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(agency.seen().len(), 31);
}
