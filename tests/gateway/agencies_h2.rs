//! Agencies over HTTP/2 and over TLS: by ALPN on `https://`, in the clear by prior knowledge on `h2c://`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::support::agency::{Agency, ByHand};
use crate::support::certs::{self, Authority, ca};
use crate::support::client::{H2, H2Answer, bearer, connect, get, h2_get, post, request, send};
use crate::support::frames::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, SETTINGS, frame};
use crate::support::gateway::{Gateway, directory};
use crate::support::h2c::{H2Agency, Manner};
use crate::support::token::token;
use crate::support::verdict::{assert_passed, assert_refused};
use crate::support::websocket::{masked, opening};
use crate::support::wire::Wire;
use crate::support::within;
use crate::support::world::{self, standard_with};

#[tokio::test]
async fn an_h2c_agency_is_spoken_to_in_http2() {
    let agency = H2Agency::clear(Manner::Echo).await;
    let gateway = world::before(&agency.url()).await;
    let bearer = bearer(&token(2).sign());
    let answer =
        send(&gateway, post("/l2/x?y=1", &[&bearer, "X-Gateway-Level: 9", "Connection: x-mine", "X-Mine: 1"], "hello"))
            .await;
    assert_passed(&answer);
    assert_eq!(answer.text(), "hello");
    let seen = agency.only();
    assert_eq!((seen.method.as_str(), seen.uri.path_and_query().map(|p| p.as_str())), ("POST", Some("/l2/x?y=1")));
    for name in ["connection", "keep-alive", "transfer-encoding", "x-mine", "x-gateway-level", "authorization"] {
        assert!(!seen.headers.contains_key(name), "{name}: {:?}", seen.headers);
    }
    for name in ["via", "forwarded", "x-forwarded-for", "traceparent", "x-request-id", "x-gateway-assertion"] {
        assert!(seen.headers.contains_key(name), "{name}: {:?}", seen.headers);
    }
    assert!(seen.complete);
}

#[tokio::test]
async fn an_https_agency_is_spoken_to_as_alpn_says() {
    let h2 = H2Agency::tls(Manner::Echo).await;
    let gateway = standard_with(&h2.url(), "tls: { ca: certs/ca.pem }").start().await;
    assert_eq!(send(&gateway, post("/open", &[], "hello")).await.text(), "hello");
    assert_eq!(h2.only().body, b"hello");
    let h1 = Agency::tls(certs::server(), None).await;
    let gateway = standard_with(&h1.url(), "tls: { ca: certs/ca.pem }").start().await;
    assert_passed(&send(&gateway, get("/open", &[])).await);
    assert!(h1.only().head.start.ends_with("HTTP/1.1"));
}

/// gRPC end to end: HTTP/2 in, HTTP/2 out, trailers both ways.
#[tokio::test]
async fn grpc_passes_with_its_trailers() {
    let agency = H2Agency::clear(Manner::Echo).await;
    let gateway = world::before(&agency.url()).await;
    let h2 = H2::connect(&gateway).await;
    let request = h2_get("/open/pkg.Service/Method").method("POST").header("content-type", "application/grpc");
    let request = request.header("te", "trailers").body(()).expect("good parts");
    let mut sender = h2.send.clone().ready().await.expect("open");
    let (answer, mut upload) = sender.send_request(request, false).expect("open");
    upload.send_data(Bytes::from_static(b"\0\0\0\0\x02hi"), false).expect("open");
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().expect("plain"));
    trailers.insert("x-gateway-subject", "forged".parse().expect("plain"));
    upload.send_trailers(trailers).expect("open");
    let answer = H2Answer::read(within("an answer", answer).await.expect("an answer")).await.expect("a whole answer");
    assert_eq!(answer.body, b"\0\0\0\0\x02hi");
    assert_eq!(answer.trailers.expect("trailers")["grpc-status"], "0");
    let seen = agency.only();
    assert_eq!(seen.headers["te"], "trailers");
    let trailers = seen.trailers.expect("trailers");
    assert!(trailers.contains_key("grpc-status") && !trailers.contains_key("x-gateway-subject"), "{trailers:?}");
}

/// An agency whose certificate is not the right one is not spoken to.
#[tokio::test]
async fn an_https_agency_must_prove_who_it_is() {
    let impostor = Authority::new("Impostor").sign(&["localhost"]);
    let misnamed = ca().sign(&["other.example.ir"]);
    for pair in [&impostor, &misnamed] {
        let agency = Agency::tls(pair, None).await;
        let gateway = standard_with(&agency.url(), "tls: { ca: certs/ca.pem }").start().await;
        let answer = send(&gateway, get("/open", &[])).await;
        assert_refused(&answer, 502, "connect_failed");
        let status = answer.head.get("proxy-status").expect("Proxy-Status");
        assert!(status.contains("error=tls_"), "{status}");
        agency.assert_untouched();
    }
    // By the name that the operator gave, the misnamed one is the right one.
    let agency = Agency::tls(&misnamed, None).await;
    let gateway =
        standard_with(&agency.url(), "tls: { ca: certs/ca.pem, server_name: other.example.ir }").start().await;
    assert_passed(&send(&gateway, get("/open", &[])).await);
}

/// Without `ca` the system's roots count, and they know no test CA.
#[tokio::test]
async fn without_a_ca_of_its_own_an_agency_needs_a_public_certificate() {
    let agency = Agency::tls(certs::server(), None).await;
    let gateway = world::before(&agency.url()).await;
    assert_refused(&send(&gateway, get("/open", &[])).await, 502, "connect_failed");
    agency.assert_untouched();
}

/// Mutual TLS towards the agency.
#[tokio::test]
async fn the_gateway_shows_its_own_certificate_where_it_has_one() {
    let agency = Agency::tls(certs::server(), Some(ca())).await;
    let keys = "tls: { ca: certs/ca.pem, client_cert: certs/client.pem, client_key: certs/client.key }";
    let dir = directory(&standard_with(&agency.url(), keys).yaml());
    let client = ca().sign(&["gateway.example.ir"]);
    std::fs::write(dir.path().join("certs/client.pem"), &client.cert).expect("our own directory");
    std::fs::write(dir.path().join("certs/client.key"), &client.key).expect("our own directory");
    let gateway = Gateway::start_in(dir).await;
    assert_passed(&send(&gateway, get("/open", &[])).await);
    let without = standard_with(&agency.url(), "tls: { ca: certs/ca.pem }").start().await;
    let answer = send(&without, get("/open", &[])).await;
    assert_eq!(answer.status(), 502, "{:?}", answer.head);
    assert_eq!(agency.seen().len(), 1);
}

/// Many requests share the connection to an HTTP/2 agency, and none meets another's answer.
#[tokio::test]
async fn parallel_requests_to_an_http2_agency_keep_apart() {
    let agency = H2Agency::clear(Manner::Echo).await;
    let gateway = world::before(&agency.url()).await;
    let h2 = Arc::new(H2::connect(&gateway).await);
    let mut asked = JoinSet::new();
    for n in 0..50 {
        let h2 = h2.clone();
        asked.spawn(async move {
            let body = format!("body {n} {}", "x".repeat(n * 100));
            let request = h2_get("/open").method("POST").body(()).expect("good parts");
            let answer = h2.request(request, body.as_bytes()).await;
            assert_eq!((answer.status, answer.body), (200, body.into_bytes()));
        });
    }
    asked.join_all().await;
}

/// A kept connection to an agency that has been restarted is replaced.
#[tokio::test]
async fn an_http2_agency_may_restart() {
    let agency = H2Agency::clear(Manner::Echo).await;
    let gateway = world::before(&agency.url()).await;
    let mut caller = connect(&gateway).await;
    caller.send(post("/open", &[], "one")).await.expect("open");
    assert_eq!(caller.answer().await.text(), "one");
    let agency = agency.restart(Manner::Echo).await;
    caller.send(get("/open", &[])).await.expect("open");
    assert_passed(&caller.answer().await);
    caller.send(post("/open", &[], "two")).await.expect("open");
    assert_eq!(caller.answer().await.text(), "two");
    drop(agency);
}

/// HP-8: a WebSocket of HTTP/1.1 reaches an HTTP/2 agency by extended CONNECT (RFC 8441).
async fn websocket_over_h2c(warm: bool) {
    let agency = H2Agency::clear(Manner::Echo).await;
    let gateway = world::before(&agency.url()).await;
    let mut caller = connect(&gateway).await;
    if warm {
        caller.send(get("/open/warm", &[])).await.expect("open");
        assert_passed(&caller.answer().await);
    }
    caller.send(opening("/open/chat", &[])).await.expect("open");
    let head = caller.head().await.expect("101");
    assert_eq!(head.status(), 101, "{:?}", head.fields);
    assert_eq!(head.get("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    for words in ["salam", "hello"] {
        caller.send(masked(words)).await.expect("open");
        assert_eq!(caller.exactly(masked(words).len()).await, Some(masked(words)), "the echo");
    }
    caller.close().await;
    let seen = agency.nth(usize::from(warm)).await;
    assert_eq!((seen.method.as_str(), seen.uri.path()), ("CONNECT", "/open/chat"));
    assert!(!seen.headers.contains_key("upgrade") && !seen.headers.contains_key("sec-websocket-key"), "{seen:?}");
}

#[tokio::test]
async fn hp8_a_websocket_reaches_an_http2_agency() {
    websocket_over_h2c(true).await;
}

/// Whether the agency takes extended CONNECT is known only once its settings have come.
#[tokio::test]
async fn hp8_a_websocket_reaches_an_http2_agency_on_a_new_connection() {
    websocket_over_h2c(false).await;
}

/// HTTP/1.1 callers send characters in a query that no URI has; what HTTP/2 cannot say raw is said escaped.
#[tokio::test]
async fn a_query_that_http2_cannot_say_is_escaped() {
    let agency = H2Agency::clear(Manner::Echo).await;
    let gateway = world::before(&agency.url()).await;
    assert_passed(&send(&gateway, get(r#"/open?a="<b>"&c={|}^`\%22"#, &[])).await);
    assert_eq!(agency.only().uri.query(), Some(r#"a=%22%3Cb%3E%22&c={|}^`\%22"#));
}

/// An HTTP/2 agency by hand: preface and settings exchanged, then the first request's stream id.
async fn h2_by_hand(listener: &ByHand) -> (Wire, u32) {
    let mut inside = listener.accept().await;
    inside.exactly(24).await.expect("the preface");
    inside.send(frame(SETTINGS, 0, 0, &[])).await.expect("open");
    let id = stream_of(&mut inside).await;
    (inside, id)
}

/// The stream of the next request.
async fn stream_of(inside: &mut Wire) -> u32 {
    stream_of_next(HEADERS, inside).await
}

/// The stream of the next frame of this kind.
async fn stream_of_next(kind: u8, inside: &mut Wire) -> u32 {
    loop {
        let head = inside.exactly(9).await.expect("a frame");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        inside.exactly(length).await.expect("its payload");
        match head[3] {
            met if met == kind => return u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            SETTINGS if head[4] & 1 == 0 => inside.send(frame(SETTINGS, 1, 0, &[])).await.expect("open"),
            _ => {}
        }
    }
}

/// `:status: 200` (static-table entry 8, RFC 7541 appendix A), and no body.
fn ok_frame(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0x88])
}

/// RFC 9113 §6.8: what is above GOAWAY's last stream was not processed, so even a POST is sent again.
#[tokio::test]
async fn a_request_that_goaway_disowns_is_sent_again() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url().replace("http:", "h2c:")).await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    let (mut inside, id) = h2_by_hand(&agency).await;
    inside.send(ok_frame(id)).await.expect("open");
    assert_passed(&caller.answer().await);
    caller.send(post("/open", &[], "once")).await.expect("open");
    stream_of(&mut inside).await;
    inside.send(frame(GOAWAY, 0, 0, &[0, 0, 0, id as u8, 0, 0, 0, 0])).await.expect("open");
    let (mut inside, id) = h2_by_hand(&agency).await;
    inside.send(ok_frame(id)).await.expect("open");
    assert_passed(&caller.answer().await);
}

/// `response` counts from the end of the request, also where that is one small piece that came late.
#[tokio::test]
async fn an_answer_is_waited_for_from_the_end_of_the_request() {
    let agency = ByHand::start().await;
    let url = agency.url().replace("http:", "h2c:");
    let gateway = standard_with(&url, "timeouts: { response: 2s }").start().await;
    let mut caller = connect(&gateway).await;
    caller.send(request("POST", "/open", &["Content-Length: 2"])).await.expect("open");
    let (mut inside, id) = h2_by_hand(&agency).await;
    // The pace itself is what is tested here: either wait is shorter than the limit, both together are longer.
    let pause = Duration::from_millis(1200);
    tokio::time::sleep(pause).await;
    caller.send("ab").await.expect("open");
    assert_eq!(stream_of_next(DATA, &mut inside).await, id);
    tokio::time::sleep(pause).await;
    inside.send(ok_frame(id)).await.expect("open");
    assert_passed(&caller.answer().await);
}

/// A connection that has gone dead without a word (a firewall that forgot it) costs the requests under way, no more.
#[tokio::test]
async fn a_dead_http2_connection_is_not_asked_again() {
    let agency = ByHand::start().await;
    let url = agency.url().replace("http:", "h2c:");
    let gateway = standard_with(&url, "timeouts: { response: 300ms }, outlier: off").start().await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    let (mut inside, id) = h2_by_hand(&agency).await;
    inside.send(ok_frame(id)).await.expect("open");
    assert_passed(&caller.answer().await);
    caller.send(get("/open", &[])).await.expect("open");
    stream_of(&mut inside).await;
    assert_refused(&caller.answer().await, 504, "upstream_timeout");
    caller.send(get("/open", &[])).await.expect("open");
    let (mut fresh, id) = h2_by_hand(&agency).await;
    fresh.send(ok_frame(id)).await.expect("open");
    assert_passed(&caller.answer().await);
}
