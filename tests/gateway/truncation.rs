//! An answer that an agency did not finish is never passed off as whole, whatever the framing and the protocol.

use crate::support::agency::ByHand;
use crate::support::client::{H2, H2Answer, connect, get, h2_get, request};
use crate::support::gateway::Gateway;
use crate::support::h2c::{H2Agency, Manner};
use crate::support::verdict::assert_refused;
use crate::support::world;

/// How an agency may break off.
#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    Reset,
}

const CUT: [&str; 5] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nX-Trailer: cu",
];

/// A 502, a body that broke off, or a stream reset that overtook the head.
#[track_caller]
fn assert_not_whole(what: &str, answer: Result<H2Answer, h2::Error>) {
    match answer {
        Ok(answer) => assert!(!answer.complete || answer.status == 502, "{what:?}: {answer:?}"),
        Err(error) => assert!(error.is_reset(), "{what:?}: {error}"),
    }
}

async fn break_off(agency: &ByHand, bytes: &str, end: End) {
    let (mut inside, _) = agency.request().await;
    inside.send(bytes).await.expect("open");
    match end {
        End::Close => inside.close().await,
        End::Reset => inside.reset(),
    }
}

async fn place() -> (ByHand, Gateway) {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    (agency, gateway)
}

#[tokio::test]
async fn a_truncated_answer_is_never_whole_over_http1() {
    let (agency, gateway) = place().await;
    for bytes in CUT {
        let mut caller = connect(&gateway).await;
        caller.send(request("POST", "/open", &["Content-Length: 0"])).await.expect("open");
        let (answer, ()) = tokio::join!(caller.answer(), break_off(&agency, bytes, End::Close));
        assert!(!answer.payload.complete || answer.status() == 502, "{bytes:?}: {answer:?}");
        assert!(caller.rest().await.is_empty());
    }
}

#[tokio::test]
async fn a_truncated_answer_is_never_whole_over_http2() {
    let (agency, gateway) = place().await;
    let h2 = H2::connect(&gateway).await;
    for bytes in CUT {
        let request = h2_get("/open").method("POST").body(()).expect("good parts");
        let (answer, ()) = tokio::join!(h2.try_request(request, b""), break_off(&agency, bytes, End::Close));
        assert_not_whole(bytes, answer);
    }
    // One stream's misfortune is not the connection's.
    let request = h2_get("/l1").body(()).expect("good parts");
    assert_eq!(h2.request(request, b"").await.status, 401);
}

/// A body that ends with the connection and ends with a reset is not whole either.
#[tokio::test]
async fn a_reset_is_no_end_of_a_body() {
    let (agency, gateway) = place().await;
    let mut caller = connect(&gateway).await;
    caller.send(request("POST", "/open", &["Content-Length: 0"])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    inside.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf").await.expect("open");
    let head = caller.head().await.expect("the head");
    inside.reset();
    let payload = caller.body(head.answer_framing("POST")).await;
    // Towards the caller the framing must be one that can tell; then it must have told.
    assert!(!payload.complete, "{head:?} {payload:?}");
}

/// Before its head is whole, an answer that breaks is a 502 that says so.
#[tokio::test]
async fn an_answer_that_breaks_before_its_body_is_502() {
    let (agency, gateway) = place().await;
    for (bytes, end) in
        [("", End::Close), ("HTTP/1.1 200 OK\r\nContent-", End::Close), ("HTTP/1.1 2", End::Reset), ("", End::Reset)]
    {
        let mut caller = connect(&gateway).await;
        caller.send(request("POST", "/open", &["Content-Length: 0"])).await.expect("open");
        let (answer, ()) = tokio::join!(caller.answer(), break_off(&agency, bytes, end));
        assert_refused(&answer, 502, "upstream_broke");
        let status = answer.head.get("proxy-status").expect("Proxy-Status");
        assert!(status.contains("error=connection_terminated") || status.contains("error=http_"), "{status}");
    }
}

/// The same with an HTTP/2 agency that resets the stream.
#[tokio::test]
async fn a_stream_reset_by_an_http2_agency_is_never_whole() {
    let agency = H2Agency::clear(Manner::BreakOff).await;
    let gateway = world::before(&agency.url()).await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    let answer = caller.answer().await;
    assert!(!answer.payload.complete || answer.status() == 502, "{answer:?}");
    let h2 = H2::connect(&gateway).await;
    assert_not_whole("", h2.try_request(h2_get("/open").body(()).expect("good parts"), b"").await);
}

/// A caller that leaves in the middle of its body leaves the agency with an unfinished request.
#[tokio::test]
async fn a_truncated_request_is_never_whole_at_the_agency() {
    let (agency, gateway) = place().await;
    for (fields, part) in [("Content-Length: 100", "half"), ("Transfer-Encoding: chunked", "4\r\nhalf\r\n")] {
        let mut caller = connect(&gateway).await;
        caller.send(request("POST", "/open", &[fields]) + part).await.expect("open");
        let mut inside = agency.accept().await;
        let head = inside.head().await.expect("the head");
        caller.close().await;
        let payload = inside.body(head.request_framing()).await;
        assert!(!payload.complete, "{payload:?}");
    }
}
