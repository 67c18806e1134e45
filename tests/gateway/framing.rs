//! Requests that two parties could cut differently (SM-1 to SM-11): 400, the connection closed, nothing at an agency.

use crate::support::agency::{Agency, ByHand, ok};
use crate::support::client::{self, connect, get, send};
use crate::support::gateway::Gateway;
use crate::support::verdict::{assert_closed_with_400, assert_passed, assert_refused};
use crate::support::world;

const FOLLOWED_BY: &str = "GET /open/smuggled HTTP/1.1\r\nHost: api.example.ir\r\n\r\n";

async fn place() -> (Agency, Gateway) {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    (agency, gateway)
}

/// Sends each of these on a connection of its own, a good request behind it: neither may reach the agency.
async fn refuses_each(requests: &[(&str, &[u8])]) {
    let (agency, gateway) = place().await;
    for (what, request) in requests {
        let mut wire = connect(&gateway).await;
        let mut bytes = request.to_vec();
        bytes.extend(FOLLOWED_BY.as_bytes());
        let _ = wire.send(bytes).await;
        assert_closed_with_400(&mut wire, what).await;
        assert!(agency.seen().is_empty(), "{what}: {:?}", agency.seen());
    }
    assert_passed(&send(&gateway, get("/open", &[])).await);
}

/// A POST to the open route with these fields and this body.
macro_rules! post {
    ($fields:literal, $body:literal) => {
        concat!("POST /open HTTP/1.1\r\nHost: api.example.ir\r\n", $fields, "\r\n", $body).as_bytes()
    };
}

/// SM-1
#[tokio::test]
async fn sm1_content_length_beside_transfer_encoding_is_refused() {
    refuses_each(&[
        ("CL before TE", post!("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        ("TE before CL", post!("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n")),
        ("CL zero and TE", post!("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        ("TE identity and CL", post!("Transfer-Encoding: identity\r\nContent-Length: 5\r\n", "hello")),
    ])
    .await;
}

/// SM-2
#[tokio::test]
async fn sm2_transfer_encoding_other_than_one_final_chunked_is_refused() {
    refuses_each(&[
        ("two lines", post!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        ("a list that repeats", post!("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n")),
        ("chunked not last", post!("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n")),
        ("identity", post!("Transfer-Encoding: identity\r\n", "0\r\n\r\n")),
        ("another", post!("Transfer-Encoding: gzip\r\n", "0\r\n\r\n")),
        ("misspelt", post!("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")),
        ("vertical tab", post!("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n")),
        ("a parameter", post!("Transfer-Encoding: chunked;q=1\r\n", "0\r\n\r\n")),
        ("quoted", post!("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n")),
        ("empty", post!("Transfer-Encoding:\r\n", "0\r\n\r\n")),
        ("empty then chunked", post!("Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        ("HTTP/1.0", b"POST /open HTTP/1.0\r\nHost: api.example.ir\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ])
    .await;
}

/// SM-3
#[tokio::test]
async fn sm3_an_unclear_content_length_is_refused() {
    refuses_each(&[
        ("differing", post!("Content-Length: 5\r\nContent-Length: 6\r\n", "hello")),
        ("repeated", post!("Content-Length: 5\r\nContent-Length: 5\r\n", "hello")),
        ("a list", post!("Content-Length: 5, 5\r\n", "hello")),
        ("a plus", post!("Content-Length: +5\r\n", "hello")),
        ("a minus", post!("Content-Length: -5\r\n", "hello")),
        ("hexadecimal", post!("Content-Length: 0x5\r\n", "hello")),
        ("a fraction", post!("Content-Length: 5.0\r\n", "hello")),
        ("with a space", post!("Content-Length: 5 5\r\n", "hello")),
        ("with an underscore", post!("Content-Length: 0_5\r\n", "hello")),
        ("empty", post!("Content-Length:\r\n", "hello")),
        ("overflow", post!("Content-Length: 18446744073709551621\r\n", "hello")),
        ("Persian digits", post!("Content-Length: ۵\r\n", "hello")),
    ])
    .await;
}

/// SM-4
#[tokio::test]
async fn sm4_sloppy_lines_are_refused() {
    refuses_each(&[
        ("bare LF at the end of a line", b"GET /open HTTP/1.1\nHost: api.example.ir\r\n\r\n"),
        ("bare LF after a field", b"GET /open HTTP/1.1\r\nHost: api.example.ir\nX: y\r\n\r\n"),
        ("bare LF as the empty line", b"GET /open HTTP/1.1\r\nHost: api.example.ir\r\n\n"),
        ("bare CR in a value", b"GET /open HTTP/1.1\r\nHost: api.example.ir\r\nX: a\rb\r\n\r\n"),
        ("a folded line", b"GET /open HTTP/1.1\r\nHost: api.example.ir\r\nX: a\r\n b\r\n\r\n"),
        ("a folded line by tab", b"GET /open HTTP/1.1\r\nHost: api.example.ir\r\nX: a\r\n\tb\r\n\r\n"),
        ("space before the colon", b"GET /open HTTP/1.1\r\nHost: api.example.ir\r\nContent-Length : 0\r\n\r\n"),
        ("tab before the colon", b"GET /open HTTP/1.1\r\nHost: api.example.ir\r\nX\t: 0\r\n\r\n"),
        ("space before the first field", b"GET /open HTTP/1.1\r\n Host: api.example.ir\r\n\r\n"),
        ("NUL in a value", b"GET /open HTTP/1.1\r\nHost: api.example.ir\r\nX: a\0b\r\n\r\n"),
        ("a field without a colon", b"GET /open HTTP/1.1\r\nHost: api.example.ir\r\nnonsense\r\n\r\n"),
        ("an empty field name", b"GET /open HTTP/1.1\r\nHost: api.example.ir\r\n: x\r\n\r\n"),
        ("two spaces in the request line", b"GET  /open HTTP/1.1\r\nHost: api.example.ir\r\n\r\n"),
        ("a tab in the request line", b"GET\t/open HTTP/1.1\r\nHost: api.example.ir\r\n\r\n"),
        ("no version", b"GET /open\r\nHost: api.example.ir\r\n\r\n"),
        ("an odd version", b"GET /open HTTP/1.10\r\nHost: api.example.ir\r\n\r\n"),
        ("a method that is no token", b"G(T /open HTTP/1.1\r\nHost: api.example.ir\r\n\r\n"),
    ])
    .await;
}

/// SM-5
#[tokio::test]
async fn sm5_sloppy_chunks_are_refused() {
    let (_, gateway) = place().await;
    let by_hand = ByHand::start().await;
    let other = world::before(&by_hand.url()).await;
    let head = "POST /open HTTP/1.1\r\nHost: api.example.ir\r\nTransfer-Encoding: chunked\r\n\r\n";
    let bodies = [
        ("0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("plus", "+5\r\nhello\r\n0\r\n\r\n"),
        ("underscore", "0_5\r\nhello\r\n0\r\n\r\n"),
        ("overflow", "fffffffffffffffff5\r\nhello\r\n0\r\n\r\n"),
        ("bare LF after the size", "5\nhello\r\n0\r\n\r\n"),
        ("LF within an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
        ("no CRLF after the data", "5\r\nhelloX0\r\n\r\n"),
        ("more data than said", "5\r\nhello world\r\n0\r\n\r\n"),
        ("space before the size", " 5\r\nhello\r\n0\r\n\r\n"),
        ("empty size", "\r\nhello\r\n0\r\n\r\n"),
        ("negative", "-1\r\nhello\r\n0\r\n\r\n"),
    ];
    for (what, body) in bodies {
        let mut wire = connect(&other).await;
        let _ = wire.send(format!("{head}{body}{FOLLOWED_BY}")).await;
        // The head may already be under way to the agency; a whole request must never be.
        let agency = async {
            let mut inside = by_hand.accept().await;
            let Some(head) = inside.head().await else { return };
            let payload = inside.body(head.request_framing()).await;
            assert!(!payload.complete, "{what}: the agency took it for whole: {payload:?}");
        };
        tokio::select! {
            () = assert_closed_with_400(&mut wire, what) => {}
            () = async { agency.await; std::future::pending().await } => {}
        }
    }
    drop(gateway);
}

/// SM-5: extensions are allowed by the grammar; without bound they are an attack.
#[tokio::test]
async fn sm5_chunk_extensions_are_dropped_and_bounded() {
    let (agency, gateway) = place().await;
    let head = "POST /open HTTP/1.1\r\nHost: api.example.ir\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_passed(&send(&gateway, format!("{head}5;a=b\r\nhello\r\n0;c\r\n\r\n")).await);
    let seen = agency.only();
    assert_eq!(seen.payload.bytes, b"hello");
    assert!(!String::from_utf8_lossy(&seen.head.raw).contains("a=b"));
    let mut wire = connect(&gateway).await;
    let _ = wire.send(format!("{head}5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(100_000))).await;
    if let Some(answer) = wire.try_answer_to("POST").await {
        assert!(matches!(answer.status(), 400 | 413 | 431), "{:?}", answer.head);
    }
    assert_eq!(agency.seen().len(), 1);
}

/// SM-7, HP-4
#[tokio::test]
async fn sm7_a_missing_repeated_or_invalid_host_is_refused() {
    refuses_each(&[
        ("missing", b"GET /open HTTP/1.1\r\n\r\n"),
        ("two", b"GET /open HTTP/1.1\r\nHost: api.example.ir\r\nHost: api.example.ir\r\n\r\n"),
        ("two that differ", b"GET /open HTTP/1.1\r\nHost: api.example.ir\r\nHost: b.example.ir\r\n\r\n"),
        ("empty", b"GET /open HTTP/1.1\r\nHost:\r\n\r\n"),
        ("a list", b"GET /open HTTP/1.1\r\nHost: a.example.ir, b.example.ir\r\n\r\n"),
        ("a space", b"GET /open HTTP/1.1\r\nHost: api.example.ir b\r\n\r\n"),
        ("a path", b"GET /open HTTP/1.1\r\nHost: api.example.ir/x\r\n\r\n"),
        ("userinfo", b"GET /open HTTP/1.1\r\nHost: user@api.example.ir\r\n\r\n"),
        ("a port that is none", b"GET /open HTTP/1.1\r\nHost: api.example.ir:abc\r\n\r\n"),
    ])
    .await;
}

/// What the gateway itself refuses for framing says so.
#[tokio::test]
async fn a_missing_host_is_called_malformed() {
    let (agency, gateway) = place().await;
    let answer = send(&gateway, "GET /open HTTP/1.1\r\n\r\n").await;
    assert_refused(&answer, 400, "request_malformed");
    assert_eq!(answer.head.get("connection"), Some("close"));
    agency.assert_untouched();
}

/// SM-8: a body on GET, HEAD or DELETE is framed exactly, so that it is never read as the next request.
#[tokio::test]
async fn sm8_a_body_on_get_is_framed_exactly() {
    let (agency, gateway) = place().await;
    for method in ["GET", "DELETE", "OPTIONS"] {
        let mut wire = connect(&gateway).await;
        let hidden = "GET /open/hidden HTTP/1.1\r\nHost: x\r\n\r\n";
        let length = format!("Content-Length: {}", hidden.len());
        wire.send(client::request(method, "/open/outer", &[&length]) + hidden).await.expect("open");
        let answer = wire.answer_to(method).await;
        if answer.status() == 200 {
            let seen = agency.last();
            assert_eq!(seen.head.target(), "/open/outer");
            assert_eq!(String::from_utf8_lossy(&seen.payload.bytes), hidden);
        } else {
            assert_eq!(answer.status(), 400);
        }
        assert!(agency.seen().iter().all(|r| r.head.target() == "/open/outer"));
    }
}

/// SM-8: an answer before the body was read leaves no body bytes to be taken for a request.
#[tokio::test]
async fn sm8_a_refusal_before_the_body_does_not_misread_the_body() {
    let (agency, gateway) = place().await;
    let mut wire = connect(&gateway).await;
    let hidden = "GET /open/hidden HTTP/1.1\r\nHost: api.example.ir\r\n\r\n";
    wire.send(client::post("/l3", &[], hidden)).await.expect("open");
    assert_refused(&wire.answer().await, 401, "token_missing");
    // Either the body was drained and the connection lives on, or it is closed. In no case is there a second answer.
    if wire.send(get("/open/next", &[])).await.is_ok()
        && let Some(answer) = wire.try_answer_to("GET").await
    {
        assert_passed(&answer);
        assert_eq!(agency.only().head.target(), "/open/next");
    } else {
        agency.assert_untouched();
    }
}

/// SM-9: what an agency sends beyond its answer never becomes somebody else's.
#[tokio::test]
async fn sm9_an_upstream_connection_with_extra_bytes_is_not_used_again() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open/1", &[])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    let mut bytes = ok("first");
    bytes.extend(ok("poison"));
    inside.send(bytes).await.expect("the gateway reads");
    assert_eq!(caller.answer().await.text(), "first");
    caller.send(get("/open/2", &[])).await.expect("open");
    let (mut fresh, request) = agency.request().await;
    assert_eq!(request.head.target(), "/open/2");
    fresh.send(ok("second")).await.expect("the gateway reads");
    assert_eq!(caller.answer().await.text(), "second");
}

/// SM-9: an answer before the request's body was sent ends the upstream connection.
#[tokio::test]
async fn sm9_an_upstream_connection_whose_body_was_not_sent_is_not_used_again() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let mut caller = connect(&gateway).await;
    caller.send(client::request("POST", "/open/1", &["Content-Length: 10"]) + "half").await.expect("open");
    let mut inside = agency.accept().await;
    inside.head().await.expect("the head of the request");
    inside.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await.expect("the gateway reads");
    assert_eq!(caller.answer().await.status(), 403);
    drop(caller);
    let mut other = connect(&gateway).await;
    other.send(get("/open/2", &[])).await.expect("open");
    let (mut fresh, request) = agency.request().await;
    assert_eq!(request.head.target(), "/open/2");
    fresh.send(ok("fine")).await.expect("the gateway reads");
    assert_eq!(other.answer().await.text(), "fine");
}

/// SM-10: an agency's unclear answer is no answer.
#[tokio::test]
async fn sm10_an_upstream_answer_that_breaks_the_grammar_is_502() {
    let answers: [(&str, &[u8]); 12] = [
        ("CL and TE", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("TE and CL", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
        ("differing CL", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
        ("bad CL", b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello"),
        ("empty CL", b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello"),
        ("chunked not last", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
        ("obs-fold", b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
        ("space before the colon", b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"),
        ("NUL", b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"),
        ("garbage", b"220 smtp.example.ir ESMTP\r\n\r\n"),
        ("another protocol", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"),
        ("a status of two digits", b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
    ];
    for (what, bytes) in answers {
        let agency = ByHand::start().await;
        let gateway = world::before(&agency.url()).await;
        let mut caller = connect(&gateway).await;
        caller.send(client::post("/open", &[], "x")).await.expect("open");
        let (mut inside, _) = agency.request().await;
        let _ = inside.send(bytes).await;
        let answer = caller.answer().await;
        assert_eq!(answer.status(), 502, "{what}: {:?} {}", answer.head, answer.text());
        assert_refused(&answer, 502, "upstream_broke");
        assert!(answer.head.get("proxy-status").is_some_and(|v| v.contains("error=")), "{what}: {:?}", answer.head);
        // The connection is dropped, too.
        inside.rest().await;
    }
}

/// SM-11: agencies that fold `_` into `-` must not be deceived by it.
#[tokio::test]
async fn sm11_names_with_underscores_do_not_imitate_framing() {
    let (agency, gateway) = place().await;
    let fields = ["Content_Length: 3", "Transfer_Encoding: chunked"];
    let answer = send(&gateway, client::post("/open", &fields, "hello")).await;
    if answer.status() == 200 {
        let seen = agency.only();
        assert_eq!(seen.payload.bytes, b"hello");
        for name in ["content_length", "transfer_encoding"] {
            assert!(!seen.head.has(name), "{:?}", seen.head);
        }
    } else {
        assert_eq!(answer.status(), 400);
        agency.assert_untouched();
    }
}

/// Requests one behind the other are answered one behind the other.
#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let agency = Agency::start(|request| ok(request.head.target())).await;
    let gateway = world::before(&agency.url()).await;
    let mut wire = connect(&gateway).await;
    let all = get("/open/1", &[]) + &client::post("/open/2", &[], "body") + &get("/open/3", &[]);
    wire.send(all).await.expect("open");
    for expected in ["/open/1", "/open/2", "/open/3"] {
        assert_eq!(wire.answer().await.text(), expected);
    }
    assert_eq!(agency.seen()[1].payload.bytes, b"body");
}

/// A head that comes byte by byte is a head.
#[tokio::test]
async fn a_request_in_small_pieces_is_one_request() {
    let (agency, gateway) = place().await;
    let mut wire = connect(&gateway).await;
    for byte in client::request("POST", "/open", &["Transfer-Encoding: chunked"]).bytes() {
        wire.send([byte]).await.expect("open");
    }
    for byte in "5\r\nhello\r\n6\r\n world\r\n0\r\nX-T: 1\r\n\r\n".bytes() {
        wire.send([byte]).await.expect("open");
    }
    assert_passed(&wire.answer().await);
    assert_eq!(agency.only().payload.bytes, b"hello world");
}

/// HTTP/1.0 is answered and closed; it need not name a host that no route asks for.
#[tokio::test]
async fn http10_is_answered_and_closed() {
    let (agency, gateway) = place().await;
    let mut wire = connect(&gateway).await;
    wire.send("GET /open HTTP/1.0\r\nHost: api.example.ir\r\n\r\n").await.expect("open");
    let answer = wire.answer().await;
    assert_passed(&answer);
    assert!(!answer.head.has("transfer-encoding"));
    assert!(wire.rest().await.is_empty());
    assert!(agency.only().head.start.ends_with("HTTP/1.1"), "HP-5: the gateway speaks its own version");
}

/// RFC 9110 §15.6.6
#[tokio::test]
async fn another_major_version_is_refused() {
    let (agency, gateway) = place().await;
    for version in ["HTTP/2.0", "HTTP/3.0"] {
        let mut wire = connect(&gateway).await;
        wire.send(format!("GET /open {version}\r\nHost: api.example.ir\r\n\r\n")).await.expect("open");
        if let Some(answer) = wire.try_answer_to("GET").await {
            assert!(matches!(answer.status(), 400 | 505), "{version}: {:?}", answer.head);
        }
        assert!(wire.rest().await.is_empty());
    }
    agency.assert_untouched();
}
