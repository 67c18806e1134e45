//! WebSocket through the gateway, by Upgrade and by RFC 8441, for those alone who may (HP-8).

use bytes::Bytes;
use h2::ext::Protocol;
use http::Request;

use crate::support::agency::ByHand;
use crate::support::client::{self, H2, HOST, bearer, connect, get};
use crate::support::token::token;
use crate::support::verdict::assert_refused;
use crate::support::websocket::{ACCEPTANCE, masked, opening, text};
use crate::support::wire::Wire;
use crate::support::{within, world};

/// A tunnel that is open at both ends.
async fn open(
    path: &str,
    fields: &[&str],
    agency: &ByHand,
    gateway: &crate::support::gateway::Gateway,
) -> (Wire, Wire) {
    let mut caller = connect(gateway).await;
    caller.send(opening(path, fields)).await.expect("open");
    let (mut inside, request) = agency.request().await;
    assert!(request.head.get("upgrade").is_some_and(|v| v.eq_ignore_ascii_case("websocket")), "{:?}", request.head);
    assert!(request.head.get("connection").is_some_and(|v| v.to_ascii_lowercase().contains("upgrade")));
    assert_eq!(request.head.get("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    assert!(!request.head.has("authorization"), "the token stays behind");
    inside.send(ACCEPTANCE).await.expect("open");
    let head = caller.head().await.expect("101");
    assert_eq!(head.status(), 101);
    assert_eq!(head.get("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert!(head.has("upgrade") && head.has("connection"));
    (caller, inside)
}

#[tokio::test]
async fn hp8_a_websocket_passes_bytes_both_ways() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let (mut caller, mut inside) = open("/l2/chat", &[&bearer(&token(2).sign())], &agency, &gateway).await;
    for words in ["salam", "hello"] {
        caller.send(masked(words)).await.expect("open");
        assert_eq!(inside.exactly(masked(words).len()).await, Some(masked(words)));
        inside.send(text(words)).await.expect("open");
        assert_eq!(caller.exactly(text(words).len()).await, Some(text(words)));
    }
    inside.close().await;
    assert!(caller.rest().await.is_empty());
}

/// The end of one side is the end of the other.
#[tokio::test]
async fn hp8_a_websocket_ends_when_the_caller_leaves() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let (caller, mut inside) = open("/open/chat", &[], &agency, &gateway).await;
    caller.reset();
    assert!(inside.rest().await.is_empty());
}

/// A tunnel is one request: logged once, when it ends.
#[tokio::test]
async fn a_websocket_is_logged_when_it_ends() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let mut caller = connect(&gateway).await;
    caller.send(opening("/open", &[])).await.expect("open");
    let (mut inside, request) = agency.request().await;
    let id = request.head.get("x-request-id").expect("X-Request-Id").to_owned();
    inside.send(ACCEPTANCE).await.expect("open");
    assert_eq!(caller.head().await.expect("101").status(), 101);
    inside.close().await;
    assert!(caller.rest().await.is_empty());
    caller.close().await;
    let line = gateway.log_of(&id).await;
    assert_eq!((&line["status"], &line["route"]), (&101.into(), &"open".into()), "{line}");
}

#[tokio::test]
async fn hp8_the_level_is_checked_before_the_upgrade() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let refused = client::send(&gateway, opening("/l2", &[])).await;
    assert_refused(&refused, 401, "token_missing");
    let refused = client::send(&gateway, opening("/l2", &[&bearer(&token(1).sign())])).await;
    assert_refused(&refused, 401, "level_too_low");
    assert!(agency.is_untouched().await);
}

/// An agency that does not agree answers as to any request.
#[tokio::test]
async fn hp8_an_agency_may_decline() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let mut caller = connect(&gateway).await;
    caller.send(opening("/open", &[])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    inside.send("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno").await.expect("open");
    let answer = caller.answer().await;
    assert_eq!((answer.status(), answer.text().as_str()), (426, "no"));
}

/// 101 without having been asked is no answer.
#[tokio::test]
async fn hp8_an_agency_cannot_switch_unasked() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    inside.send(ACCEPTANCE).await.expect("open");
    assert_refused(&caller.answer().await, 502, "upstream_broke");
}

/// RFC 8441
#[tokio::test]
async fn rfc8441_a_websocket_over_http2_becomes_an_upgrade() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let h2 = H2::connect(&gateway).await;
    let mut sender = h2.send.clone().ready().await.expect("open");
    let allowed = async {
        while !sender.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
    };
    within("SETTINGS_ENABLE_CONNECT_PROTOCOL", allowed).await;
    let connect = |path: &str| {
        Request::connect(format!("https://{HOST}{path}"))
            .extension(Protocol::from_static("websocket"))
            .header("sec-websocket-version", "13")
    };
    let refused = h2.request(connect("/l2/chat").body(()).expect("good parts"), b"").await;
    assert_eq!((refused.status, refused.get("x-gateway-error")), (401, Some("token_missing")));
    let request = connect("/l2/chat").header("authorization", format!("Bearer {}", token(2).sign()));
    let (answer, mut upload) = sender.send_request(request.body(()).expect("good parts"), false).expect("open");
    let (mut inside, seen) = agency.request().await;
    assert_eq!(seen.head.method(), "GET");
    assert_eq!(seen.head.target(), "/l2/chat");
    assert_eq!(seen.head.get("upgrade").map(str::to_ascii_lowercase).as_deref(), Some("websocket"));
    let key = seen.head.get("sec-websocket-key").expect("the gateway makes a key").to_owned();
    assert_eq!(seen.head.get("sec-websocket-version"), Some("13"));
    inside.send(ACCEPTANCE.replace("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", &accept(&key))).await.expect("open");
    let answer = within("the answer", answer).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let mut download = answer.into_body();
    upload.send_data(Bytes::from(masked("salam")), false).expect("open");
    assert_eq!(inside.exactly(masked("salam").len()).await, Some(masked("salam")));
    inside.send(text("hello")).await.expect("open");
    let data = within("the frame", download.data()).await.expect("data").expect("no error");
    assert_eq!(data, text("hello"));
    inside.close().await;
    let _ = within("the end", download.data()).await;
}

/// `Sec-WebSocket-Accept` for a key (RFC 6455 §4.2.2).
fn accept(key: &str) -> String {
    use base64::Engine;
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(digest)
}
