//! What is bounded, and what is said when a bound is met (HP-12).

use std::net::SocketAddr;

use crate::support::agency::{Agency, ByHand};
use crate::support::certs::{Trust, client_config};
use crate::support::client::{self, H2, HOST, connect, get, h2_get, post, request, send};
use crate::support::gateway::Gateway;
use crate::support::verdict::{assert_passed, assert_refused};
use crate::support::within;
use crate::support::world::{TLS, standard};

async fn place() -> (Agency, Gateway) {
    let agency = Agency::hello().await;
    let gateway = standard(&agency.url())
        .route("name: small, agency: registry, match: { prefix: /small }, require: { level: 0 }, limits: { body: 10B }")
        .start()
        .await;
    (agency, gateway)
}

#[tokio::test]
async fn hp12_a_body_over_the_limit_is_413() {
    let (agency, gateway) = place().await;
    assert_refused(&send(&gateway, post("/small", &[], "hello world")).await, 413, "body_too_large");
    // The length alone decides, before a byte of the body.
    let huge = request("POST", "/small", &["Content-Length: 1000000000000"]);
    assert_refused(&send(&gateway, huge).await, 413, "body_too_large");
    let default = request("POST", "/open", &["Content-Length: 10485761"]);
    assert_refused(&send(&gateway, default).await, 413, "body_too_large");
    agency.assert_untouched();
    assert_passed(&send(&gateway, post("/small", &[], "0123456789")).await);
}

/// A body whose length is not told is cut where it is too long, and the agency never takes it for whole.
#[tokio::test]
async fn hp12_a_chunked_body_over_the_limit_is_413() {
    let agency = ByHand::start().await;
    let gateway = standard(&agency.url())
        .route("name: small, agency: registry, match: { prefix: /small }, require: { level: 0 }, limits: { body: 10B }")
        .start()
        .await;
    let mut caller = connect(&gateway).await;
    caller.send(request("POST", "/small", &["Transfer-Encoding: chunked"]) + "8\r\n12345678\r\n").await.expect("open");
    let mut inside = agency.accept().await;
    let head = inside.head().await.expect("the head");
    let _ = caller.send("8\r\n12345678\r\n0\r\n\r\n").await;
    assert_refused(&caller.answer().await, 413, "body_too_large");
    assert!(!inside.body(head.request_framing()).await.complete);
}

#[tokio::test]
async fn hp12_the_same_over_http2() {
    let (agency, gateway) = place().await;
    let h2 = H2::connect(&gateway).await;
    let request = h2_get("/small").method("POST").header("content-length", "11").body(()).expect("good parts");
    assert_refused(&h2.request(request, b"hello world").await.message(), 413, "body_too_large");
    agency.assert_untouched();
    let request = h2_get("/small").method("POST").body(()).expect("good parts");
    assert_refused(&h2.request(request, b"hello world").await.message(), 413, "body_too_large");
    assert!(agency.seen().iter().all(|r| !r.payload.complete), "{:?}", agency.seen());
    let ok = h2_get("/small").method("POST").body(()).expect("good parts");
    assert_eq!(h2.request(ok, b"0123456789").await.status, 200);
}

#[tokio::test]
async fn hp12_a_header_block_over_the_limit_is_431() {
    let (agency, gateway) = place().await;
    let one = format!("X-Big: {}", "x".repeat(40_000));
    assert_refused(&send(&gateway, get("/open", &[&one])).await, 431, "headers_too_large");
    let many: Vec<String> = (0..120).map(|n| format!("X-{n}: y")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_refused(&send(&gateway, get("/open", &many)).await, 431, "headers_too_large");
    agency.assert_untouched();
    assert_passed(&send(&gateway, get("/open", &many[..90])).await);
    let large = format!("X-Large: {}", "x".repeat(20_000));
    assert_passed(&send(&gateway, get("/open", &[&large])).await);
}

#[tokio::test]
async fn hp12_a_long_target_is_414() {
    let (agency, gateway) = place().await;
    for path in [format!("/open/{}", "x".repeat(9000)), format!("/open?{}", "x".repeat(9000))] {
        assert_refused(&send(&gateway, get(&path, &[])).await, 414, "uri_too_long");
    }
    agency.assert_untouched();
    assert_passed(&send(&gateway, get(&format!("/open/{}", "x".repeat(7000)), &[])).await);
}

/// Over HTTP/2 the library may break the stream off instead; in no case does it reach an agency.
#[tokio::test]
async fn hp12_large_heads_over_http2_are_refused() {
    let (agency, gateway) = place().await;
    let long = h2_get(&format!("/open/{}", "x".repeat(9000))).body(()).expect("good parts");
    let h2 = H2::connect(&gateway).await;
    if let Ok(answer) = h2.try_request(long, b"").await {
        assert!(matches!(answer.status, 414 | 431), "{answer:?}");
    }
    let mut many = h2_get("/open");
    for n in 0..120 {
        many = many.header(format!("x-{n}"), "y");
    }
    if let Ok(answer) = h2.try_request(many.body(()).expect("good parts"), b"").await {
        assert_eq!(answer.status, 431, "{answer:?}");
    }
    let h2 = H2::connect(&gateway).await;
    let big = h2_get("/open").header("x-big", "x".repeat(40_000)).body(()).expect("good parts");
    if let Ok(answer) = h2.try_request(big, b"").await {
        assert_eq!(answer.status, 431, "{answer:?}");
    }
    agency.assert_untouched();
}

/// A listener sets its own bounds.
#[tokio::test]
async fn a_listener_has_its_own_bounds() {
    let agency = Agency::hello().await;
    let listener = format!(
        "{{ name: public, address: 127.0.0.1:0, {TLS}, limits: {{ headers: 2KiB, header_count: 8, uri: 64B, body: 4B }} }}"
    );
    let gateway = standard(&agency.url()).listeners(&[&listener]).start().await;
    assert_refused(&send(&gateway, get(&format!("/open/{}", "x".repeat(80)), &[])).await, 414, "uri_too_long");
    let big = format!("X: {}", "x".repeat(3000));
    assert_refused(&send(&gateway, get("/open", &[&big])).await, 431, "headers_too_large");
    assert_refused(&send(&gateway, get("/open", &["X: y"; 9])).await, 431, "headers_too_large");
    assert_refused(&send(&gateway, post("/open", &[], "hello")).await, 413, "body_too_large");
    agency.assert_untouched();
    assert_passed(&send(&gateway, post("/open", &["X: y"], "four")).await);
}

/// Over TCP, before any cryptography.
#[tokio::test]
async fn an_address_has_a_share_of_connections() {
    let agency = Agency::hello().await;
    let listener = format!("{{ name: public, address: 127.0.0.1:0, {TLS}, limits: {{ connections_per_address: 2 }} }}");
    let gateway = standard(&agency.url()).listeners(&[&listener]).start().await;
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut wire = connect(&gateway).await;
        wire.send(get("/open", &[])).await.expect("open");
        assert_passed(&wire.answer().await);
        kept.push(wire);
    }
    let shake = async |address: SocketAddr| client::handshake(address, HOST, client_config(&Trust::default())).await;
    assert!(shake(gateway.address()).await.is_err(), "the third is turned away");
    kept.pop().expect("two").close().await;
    let again = async {
        while shake(gateway.address()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    crate::support::within("a place to be free again", again).await;
}

/// The refusal of a body does not spoil what comes after it on the connection, or the connection is closed.
#[tokio::test]
async fn sm8_a_413_is_not_followed_by_a_misread_body() {
    let (agency, gateway) = place().await;
    let mut wire = connect(&gateway).await;
    let hidden = "GET /open/hidden HTTP/1.1\r\nHost: api.example.ir\r\n\r\n";
    wire.send(post("/small", &[], hidden)).await.expect("open");
    assert_refused(&wire.answer().await, 413, "body_too_large");
    if wire.send(get("/open/next", &[])).await.is_ok()
        && let Some(answer) = wire.try_answer_to("GET").await
    {
        assert_passed(&answer);
        assert_eq!(agency.only().head.target(), "/open/next");
    } else {
        agency.assert_untouched();
    }
}

/// Over TCP as well: whoever it is.
#[tokio::test]
async fn a_listener_has_a_limit_of_connections_in_all() {
    let agency = Agency::hello().await;
    let listener = format!("{{ name: public, address: 127.0.0.1:0, {TLS}, limits: {{ connections: 1 }} }}");
    let gateway = standard(&agency.url()).listeners(&[&listener]).start().await;
    let mut wire = connect(&gateway).await;
    wire.send(get("/open", &[])).await.expect("open");
    assert_passed(&wire.answer().await);
    let second = client::handshake(gateway.address(), HOST, client_config(&Trust::default())).await;
    assert!(second.is_err(), "the second is turned away");
    let refused = gateway.metrics().await.sum("darvazeh_connections_refused_total", &["reason=\"listener\""]);
    assert_eq!(refused, 1.0);
}

/// Every process takes more than 16 MiB, and so this one has always too much to bear.
#[tokio::test]
async fn over_its_memory_the_gateway_sheds_the_lowest_priority_before_anything_else() {
    let agency = Agency::hello().await;
    let route = |name: &str| {
        format!(
            "name: {name}, agency: registry, match: {{ prefix: /{name} }}, require: {{ level: 1 }}, priority: {name}"
        )
    };
    let config = standard(&agency.url()).top("overload: { memory: 16MiB, queue_delay: off }\nworkers: 1");
    let gateway = config.route(&route("low")).route(&route("high")).start().await;
    // Later ones would be turned away.
    let mut wire = connect(&gateway).await;
    let shed = async {
        loop {
            // No token: what is shed was not even looked at.
            for name in ["low", "high"] {
                wire.send(get(&format!("/{name}"), &[])).await.expect("kept alive");
                let answer = wire.answer().await;
                if answer.status() == 503 {
                    return (name, answer);
                }
                assert_refused(&answer, 401, "token_missing");
            }
        }
    };
    let (name, answer) = within("a request is shed", shed).await;
    assert_eq!(name, "low");
    assert_refused(&answer, 503, "overloaded");
    assert!(answer.head.has("retry-after"));
    let metrics = gateway.metrics().await;
    assert!(metrics.sum("darvazeh_overload_shed_share", &[]) > 0.0);
    assert!(metrics.sum("darvazeh_requests_total", &["route=\"low\"", "code=\"overloaded\""]) >= 1.0);
    agency.assert_untouched();
}
