//! What happens when somebody is slow: callers at the door, agencies behind it.

use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;

use crate::support::agency::{Agency, ByHand};
use crate::support::certs::{Trust, client_config};
use crate::support::client::{H2, HOST, connect, get, h2_get, handshake, request};
use crate::support::frames;
use crate::support::verdict::assert_refused;
use crate::support::wire::{Framing, Wire};
use crate::support::{PATIENCE, world};

/// An agency that is silent beyond `response` is answered for: 504.
#[tokio::test]
async fn an_agency_that_does_not_answer_is_504() {
    let agency = ByHand::start().await;
    let gateway = world::standard_with(&agency.url(), "timeouts: { response: 300ms }").start().await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    let answer = caller.answer().await;
    assert_refused(&answer, 504, "upstream_timeout");
    let status = answer.head.get("proxy-status").expect("Proxy-Status");
    assert!(status.contains("error=http_response_timeout"), "{status}");
    // The agency's connection is given up with the request.
    assert!(inside.rest().await.is_empty());
    assert!(agency.is_untouched().await, "it was sent once, and once it stays");
}

/// A route may be more patient than its agency, or less.
#[tokio::test]
async fn a_route_has_its_own_patience() {
    let agency = ByHand::start().await;
    let gateway = world::standard_with(&agency.url(), "timeouts: { response: 1h }")
        .route("name: hasty, agency: registry, match: { prefix: /hasty }, require: { level: 0 }, timeouts: { response: 300ms }")
        .start()
        .await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/hasty", &[])).await.expect("open");
    let _inside = agency.request().await;
    assert_refused(&caller.answer().await, 504, "upstream_timeout");
}

/// A refused connection is 502.
#[tokio::test]
async fn an_agency_that_is_not_there_is_502() {
    let agency = ByHand::start().await;
    let url = agency.url();
    drop(agency);
    let gateway = world::before(&url).await;
    let mut caller = connect(&gateway).await;
    for _ in 0..2 {
        caller.send(get("/open", &[])).await.expect("the connection lives on");
        let answer = caller.answer().await;
        assert_refused(&answer, 502, "connect_failed");
        let status = answer.head.get("proxy-status").expect("Proxy-Status");
        assert!(status.contains("error=connection_refused"), "{status}");
        assert!(!status.contains("127.0.0.1"), "PS: inner addresses stay inside: {status}");
    }
}

/// A listener whose queue is full: connecting to it neither succeeds nor fails.
struct BlackHole {
    _listener: Socket,
    address: std::net::SocketAddr,
    _fillers: Vec<TcpStream>,
}

impl BlackHole {
    async fn open() -> BlackHole {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
        listener.bind(&any.into()).expect("a free port");
        listener.listen(0).expect("it listens");
        let address = listener.local_addr().expect("it is bound").as_socket().expect("IPv4");
        let mut fillers = Vec::new();
        while let Ok(filler) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
            fillers.push(filler.expect("a place in the queue"));
            assert!(fillers.len() < 64, "the queue never fills");
        }
        BlackHole { _listener: listener, address, _fillers: fillers }
    }
}

/// Contract section 5: `connect_failed`, 504 when it ran out of time.
#[tokio::test]
async fn an_agency_that_does_not_take_the_connection_is_504() {
    let hole = BlackHole::open().await;
    let gateway =
        world::standard_with(&format!("http://{}", hole.address), "timeouts: { connect: 300ms }").start().await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    let answer = caller.answer().await;
    assert_refused(&answer, 504, "connect_failed");
    assert!(
        answer.head.get("proxy-status").is_some_and(|s| s.contains("error=connection_timeout")),
        "{:?}",
        answer.head
    );
}

/// The TLS handshake counts as connecting.
#[tokio::test]
async fn an_agency_that_does_not_shake_hands_is_504() {
    let agency = ByHand::start().await;
    let url = agency.url().replace("http://127.0.0.1", "https://localhost");
    let gateway = world::standard_with(&url, "tls: { ca: certs/ca.pem }, timeouts: { connect: 300ms }").start().await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    let _silent = agency.accept().await;
    assert_refused(&caller.answer().await, 504, "connect_failed");
}

/// `idle`: a body that stalls is cut, and never passed off as whole.
#[tokio::test]
async fn a_stalled_answer_is_cut() {
    let agency = ByHand::start().await;
    let gateway = world::standard_with(&agency.url(), "timeouts: { idle: 300ms }").start().await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    inside.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await.expect("open");
    let answer = caller.answer().await;
    assert!(!answer.payload.complete);
    assert_eq!(answer.text(), "half");
    inside.rest().await;

    let h2 = H2::connect(&gateway).await;
    let both = async {
        let (mut inside, _) = agency.request().await;
        inside.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await.expect("open");
        inside.rest().await;
    };
    let (answer, _) = tokio::join!(h2.request(h2_get("/open").body(()).expect("good parts"), b""), both);
    assert!(!answer.complete, "{answer:?}");
}

/// A stream that says something now and then lives on beyond `idle` and `response`.
#[tokio::test]
async fn a_slow_stream_that_is_not_silent_lives_on() {
    let agency = ByHand::start().await;
    let gateway = world::standard_with(&agency.url(), "timeouts: { response: 600ms, idle: 600ms }").start().await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    inside.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.expect("open");
    caller.head().await.expect("the head");
    for _ in 0..6 {
        // The pace itself is what is tested here.
        tokio::time::sleep(Duration::from_millis(200)).await;
        inside.send("1\r\nx\r\n").await.expect("open");
        assert_eq!(caller.chunk().await.expect("open"), b"x");
    }
    inside.send("0\r\n\r\n").await.expect("open");
    assert!(caller.body(Framing::Chunked).await.complete);
}

/// `idle` governs tunnels too.
#[tokio::test]
async fn a_silent_tunnel_is_closed() {
    let agency = ByHand::start().await;
    let gateway = world::standard_with(&agency.url(), "timeouts: { idle: 300ms }").start().await;
    let mut caller = connect(&gateway).await;
    caller.send(crate::support::websocket::opening("/open", &[])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    inside.send(crate::support::websocket::ACCEPTANCE).await.expect("open");
    assert_eq!(caller.head().await.expect("101").status(), 101);
    assert!(caller.rest().await.is_empty());
    assert!(inside.rest().await.is_empty());
}

/// A caller whose body stalls does not hold an agency for ever, and the agency never takes the part for the whole.
#[tokio::test]
async fn a_stalled_upload_is_given_up() {
    let agency = ByHand::start().await;
    let gateway = world::standard_with(&agency.url(), "timeouts: { response: 500ms, idle: 300ms }").start().await;
    let mut caller = connect(&gateway).await;
    caller.send(request("POST", "/open", &["Content-Length: 100"]) + "half").await.expect("open");
    let mut inside = agency.accept().await;
    let head = inside.head().await.expect("the head");
    let payload = inside.body(head.request_framing()).await;
    assert!(!payload.complete);
    if let Some(answer) = caller.try_answer_to("POST").await {
        assert!(answer.status() >= 400, "{:?}", answer.head);
    }
}

/// `response` counts from the end of the request: a body on a slow line is not an agency's silence.
#[tokio::test]
async fn a_slow_upload_that_is_not_silent_lives_on() {
    let agency = ByHand::start().await;
    let gateway = world::standard_with(&agency.url(), "timeouts: { response: 600ms, idle: 600ms }").start().await;
    let mut caller = connect(&gateway).await;
    caller.send(request("POST", "/open", &["Content-Length: 6"])).await.expect("open");
    let mut inside = agency.accept().await;
    inside.head().await.expect("the head");
    for _ in 0..6 {
        // The pace itself is what is tested here.
        tokio::time::sleep(Duration::from_millis(200)).await;
        caller.send("x").await.expect("open");
        assert_eq!(inside.exactly(1).await.expect("open"), b"x");
    }
    inside.send(crate::support::agency::ok("thanks")).await.expect("open");
    assert_eq!(caller.answer().await.text(), "thanks");
}

/// A client that does not read does not hold an agency for ever: the listener's `idle`.
#[tokio::test]
async fn a_client_that_does_not_read_is_given_up() {
    let agency = ByHand::start().await;
    let gateway = world::standard(&agency.url()).listeners(&[&patient("idle: 300ms")]).start().await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    inside.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await.expect("open");
    let chunk = vec![b'x'; 64 << 10];
    let flood = async { while inside.send(&chunk).await.is_ok() {} };
    crate::support::within("the agency to be let go", flood).await;
}

fn patient(limits: &str) -> String {
    format!("{{ name: public, address: 127.0.0.1:0, {}, limits: {{ {limits} }} }}", world::TLS)
}

/// `header_time`: slow heads are an attack (slowloris); 408 or nothing, and the connection ends.
#[tokio::test]
async fn hp12_a_head_that_does_not_end_is_given_up() {
    let agency = ByHand::start().await;
    let gateway = world::standard(&agency.url()).listeners(&[&patient("header_time: 300ms")]).start().await;
    let begun = Instant::now();
    let mut caller = connect(&gateway).await;
    caller.send("GET /open HTTP/1.1\r\nHost: api.example.ir\r\nX-Slow: ").await.expect("open");
    if let Some(answer) = caller.try_answer_to("GET").await {
        assert_eq!(answer.status(), 408, "{:?}", answer.head);
    }
    assert!(caller.rest().await.is_empty());
    assert!(begun.elapsed() < PATIENCE);
    assert!(agency.is_untouched().await);
}

/// `handshake_time`
#[tokio::test]
async fn a_handshake_that_does_not_come_is_given_up() {
    let agency = ByHand::start().await;
    let gateway = world::standard(&agency.url()).listeners(&[&patient("handshake_time: 300ms")]).start().await;
    for hello in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let tcp = TcpStream::connect(gateway.address()).await.expect("it accepts");
        let mut wire = Wire::plain(tcp);
        wire.send(hello).await.expect("open");
        wire.rest().await;
    }
}

/// The listener's `idle`: a connection that is kept alive for nothing is closed.
#[tokio::test]
async fn an_idle_connection_is_closed() {
    let agency = Agency::hello().await;
    let gateway = world::standard(&agency.url()).listeners(&[&patient("idle: 300ms")]).start().await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    assert_eq!(caller.answer().await.status(), 200);
    assert!(caller.rest().await.is_empty());
    let h2 = H2::connect(&gateway).await;
    assert_eq!(h2.request(h2_get("/open").body(()).expect("good parts"), b"").await.status, 200);
    let _ = crate::support::within("the end of the HTTP/2 connection", h2.driver).await;
}

/// A connection on which nothing is ever asked is closed, whichever protocol it chose.
#[tokio::test]
async fn a_connection_that_asks_nothing_is_closed() {
    let agency = ByHand::start().await;
    let limits = patient("header_time: 300ms, idle: 300ms");
    let gateway = world::standard(&agency.url()).listeners(&[&limits]).start().await;
    assert!(connect(&gateway).await.rest().await.is_empty());
    let config = client_config(&Trust { alpn: &["h2"], ..Trust::default() });
    let (tls, socket) = handshake(gateway.address(), HOST, config).await.expect("a handshake");
    Wire::over(tls, socket).rest().await;
    // One whose first request ends and whose second does not.
    let mut caller = connect(&gateway).await;
    caller.send(get("/nowhere", &[])).await.expect("open");
    assert_refused(&caller.answer().await, 404, "route_unknown");
    caller.send("GET /nowhere HT").await.expect("open");
    if let Some(answer) = caller.try_answer_to("GET").await {
        assert_eq!(answer.status(), 408, "{:?}", answer.head);
    }
    assert!(caller.rest().await.is_empty());
}

/// A caller that takes its time with its body is told so, and not that the agency was slow.
#[tokio::test]
async fn a_callers_silence_is_not_the_agencys() {
    let agency = ByHand::start().await;
    let gateway = world::standard_with(&agency.url(), "timeouts: { response: 300ms }").start().await;
    let mut caller = connect(&gateway).await;
    caller.send(request("POST", "/open", &["Content-Length: 100"]) + "half").await.expect("open");
    let mut inside = agency.accept().await;
    inside.head().await.expect("the head");
    assert_refused(&caller.answer().await, 408, "request_timeout");
    assert!(inside.rest().await.len() < 100);
    assert!(agency.is_untouched().await);
}

/// Answers without a body are written too: a caller that never reads them is given up like any other.
#[tokio::test]
async fn a_client_that_does_not_read_heads_is_given_up() {
    let large = format!("HTTP/1.1 200 OK\r\nX-Large: {}\r\n\r\n", "x".repeat(32 << 10));
    let agency = Agency::start(move |_| large.clone().into_bytes()).await;
    let gateway = world::standard(&agency.url()).listeners(&[&patient("idle: 300ms")]).start().await;
    let mut caller = connect(&gateway).await;
    let heads = request("HEAD", "/open", &[]).repeat(16);
    let flood = async { while caller.send(&heads).await.is_ok() {} };
    crate::support::within("the connection to end", flood).await;
}

/// The end that the gateway offers in order is not waited for for ever: nobody can stay by not answering a PING.
#[tokio::test]
async fn an_idle_http2_connection_cannot_outstay_its_end() {
    let agency = ByHand::start().await;
    let limits = patient("header_time: 300ms, idle: 300ms");
    let gateway = world::standard(&agency.url()).listeners(&[&limits]).start().await;
    let mut silent = frames::connect(&gateway).await;
    // Whatever comes, nothing is answered.
    silent.rest().await;
}

/// Nor by not reading: what the gateway has to say at the end does not hold the connection.
#[tokio::test]
async fn an_http2_client_that_does_not_read_is_given_up() {
    let agency = ByHand::start().await;
    let gateway = world::standard(&agency.url()).listeners(&[&patient("idle: 300ms")]).start().await;
    let mut caller = frames::connect(&gateway).await;
    // Windows as wide as they can be (RFC 9113 §6.9.1): flow control holds nothing back.
    let widest = (i32::MAX as u32).to_be_bytes();
    let initial_window = [&[0, 4], &widest[..]].concat();
    caller.send(frames::frame(frames::SETTINGS, 0, 0, &initial_window)).await.expect("open");
    caller.send(frames::frame(8, 0, 0, &(i32::MAX as u32 - 65_535).to_be_bytes())).await.expect("open");
    let block = frames::request_block("GET", "/open", &[]);
    let flags = frames::END_STREAM | frames::END_HEADERS;
    caller.send(frames::frame(frames::HEADERS, flags, 1, &block)).await.expect("open");
    let (mut inside, _) = agency.request().await;
    inside.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await.expect("open");
    let chunk = vec![b'x'; 64 << 10];
    let flood = async { while inside.send(&chunk).await.is_ok() {} };
    crate::support::within("the agency to be let go", flood).await;
    let open = ["listener=\"public\""];
    gateway.metrics_when("the connection to end", |all| all.sum("darvazeh_connections_open", &open) == 0.0).await;
}
