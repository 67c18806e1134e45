//! Bodies flow as they come, both ways, and nothing is waited for that need not be (HP-6, HP-7).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::agency::{ByHand, ok};
use crate::support::client::{self, H2, H2Answer, bearer, connect, get, h2_get, request};
use crate::support::token::token;
use crate::support::verdict::{assert_passed, assert_refused};
use crate::support::wire::Framing;
use crate::support::{within, world};

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The first event is with the client before the agency has written the second.
#[tokio::test]
async fn server_sent_events_arrive_one_by_one() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open/events", &["Accept: text/event-stream"])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    inside.send(STREAM).await.expect("open");
    let head = caller.head().await.expect("the head comes before any event");
    assert_eq!(head.answer_framing("GET"), Framing::Chunked);
    for event in ["data: one\n\n", "data: two\n\n", "data: three\n\n"] {
        inside.send(format!("{:x}\r\n{event}\r\n", event.len())).await.expect("open");
        let mut got = Vec::new();
        while got.len() < event.len() {
            got.extend(caller.chunk().await.expect("the event"));
        }
        assert_eq!(got, event.as_bytes());
    }
    inside.send("0\r\n\r\n").await.expect("open");
    assert!(caller.body(Framing::Chunked).await.complete);
}

#[tokio::test]
async fn server_sent_events_arrive_one_by_one_over_http2() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let h2 = H2::connect(&gateway).await;
    let mut sender = h2.send.clone().ready().await.expect("open");
    let (answer, _) = sender.send_request(h2_get("/open/events").body(()).expect("good parts"), true).expect("open");
    let (mut inside, _) = agency.request().await;
    inside.send(STREAM).await.expect("open");
    let mut body = within("the head", answer).await.expect("an answer").into_body();
    for event in ["data: one\n\n", "data: two\n\n"] {
        inside.send(format!("{:x}\r\n{event}\r\n", event.len())).await.expect("open");
        let data = within("the event", body.data()).await.expect("data").expect("no error");
        let _ = body.flow_control().release_capacity(data.len());
        assert_eq!(data, event.as_bytes());
    }
    inside.send("0\r\n\r\n").await.expect("open");
    // An empty frame may carry the end.
    while let Some(data) = within("the end", body.data()).await {
        assert!(data.expect("no error").is_empty());
    }
}

/// The agency sees the first part of an upload before the caller has sent the second.
#[tokio::test]
async fn an_upload_streams() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let mut caller = connect(&gateway).await;
    caller.send(request("POST", "/open", &["Transfer-Encoding: chunked"])).await.expect("open");
    let mut inside = agency.accept().await;
    inside.head().await.expect("the head comes before any body");
    for part in ["first", "second"] {
        caller.send(format!("{:x}\r\n{part}\r\n", part.len())).await.expect("open");
        assert_eq!(inside.chunk().await.expect("the part"), part.as_bytes());
    }
    caller.send("0\r\n\r\n").await.expect("open");
    assert!(inside.body(Framing::Chunked).await.complete);
    inside.send(ok("thanks")).await.expect("open");
    assert_eq!(caller.answer().await.text(), "thanks");
}

/// An agency that does not read makes the caller wait: the gateway does not hoard.
#[tokio::test]
async fn an_upload_is_held_back_by_a_slow_agency() {
    const SIZE: usize = 64 << 20;
    let agency = ByHand::start().await;
    let gateway = world::standard(&agency.url())
        .route("name: big, agency: registry, match: { prefix: /big }, require: { level: 0 }, limits: { body: 100MiB }")
        .start()
        .await;
    let mut caller = connect(&gateway).await;
    caller.send(request("POST", "/big", &[&format!("Content-Length: {SIZE}")])).await.expect("open");
    let mut inside = agency.accept().await;
    inside.head().await.expect("the head");
    let chunk = vec![b'x'; 64 << 10];
    let mut sent = 0;
    // No event says that nothing happens: half a second without progress does.
    while let Ok(written) = tokio::time::timeout(Duration::from_millis(500), caller.send_some(&chunk)).await {
        sent += written.expect("open");
        assert!(sent < SIZE / 2, "{sent} bytes were taken while the agency read none");
    }
    drop(caller);
    let payload = inside.body(Framing::Length(SIZE)).await;
    assert!(!payload.complete);
}

/// A client that does not read makes the agency wait.
#[tokio::test]
async fn a_download_is_held_back_by_a_slow_client() {
    const SIZE: usize = 64 << 20;
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    for over_h2 in [false, true] {
        let mut h1 = None;
        let mut h2 = None;
        if over_h2 {
            let connection = H2::connect(&gateway).await;
            let mut sender = connection.send.clone().ready().await.expect("open");
            let (answer, _) = sender.send_request(h2_get("/open").body(()).expect("good parts"), true).expect("open");
            h2 = Some((connection, answer));
        } else {
            let mut caller = connect(&gateway).await;
            caller.send(get("/open", &[])).await.expect("open");
            h1 = Some(caller);
        }
        let (mut inside, _) = agency.request().await;
        inside.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n")).await.expect("open");
        let chunk = vec![b'x'; 64 << 10];
        let mut sent = 0;
        while let Ok(written) = tokio::time::timeout(Duration::from_millis(500), inside.send_some(&chunk)).await {
            sent += written.expect("open");
            assert!(sent < SIZE / 2, "{sent} bytes were taken while the client read none (h2: {over_h2})");
        }
        drop((h1, h2));
    }
}

/// HP-7
#[tokio::test]
async fn hp7_trailers_pass_both_ways_over_http1() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let mut caller = connect(&gateway).await;
    let body = "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n";
    caller
        .send(request("POST", "/open", &["TE: trailers", "Trailer: X-Sum", "Transfer-Encoding: chunked"]) + body)
        .await
        .expect("open");
    let (mut inside, seen) = agency.request().await;
    assert_eq!(seen.payload.trailers, [("x-sum".to_owned(), "1".to_owned())]);
    assert!(!seen.head.has("x-sum"), "trailers are never merged into the head");
    inside
        .send("HTTP/1.1 200 OK\r\nTrailer: X-Check\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Check: 2\r\nX-Gateway-Error: forged\r\n\r\n")
        .await
        .expect("open");
    let answer = caller.answer().await;
    assert_eq!(answer.payload.trailers, [("x-check".to_owned(), "2".to_owned())]);
}

/// HP-7: gRPC lives by trailers.
#[tokio::test]
async fn hp7_trailers_reach_an_http2_client() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let h2 = H2::connect(&gateway).await;
    let request = h2_get("/open").header("te", "trailers").body(()).expect("good parts");
    let mut sender = h2.send.clone().ready().await.expect("open");
    let (answer, _) = sender.send_request(request, true).expect("open");
    let (mut inside, seen) = agency.request().await;
    assert_eq!(seen.head.get("te"), Some("trailers"));
    inside
        .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nGrpc-Status: 0\r\n\r\n")
        .await
        .expect("open");
    let answer = H2Answer::read(within("an answer", answer).await.expect("an answer")).await.expect("a whole answer");
    assert_eq!(answer.body, b"ok");
    assert_eq!(answer.trailers.expect("trailers")["grpc-status"], "0");
}

/// HP-6
#[tokio::test]
async fn hp6_early_hints_pass() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    inside
        .send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nX-Gateway-Error: forged\r\n\r\n")
        .await
        .expect("open");
    let hints = caller.answer().await;
    assert_eq!((hints.status(), hints.head.get("link")), (103, Some("</a.css>; rel=preload")));
    assert!(!hints.head.has("x-gateway-error"));
    inside.send(ok("done")).await.expect("open");
    assert_eq!(caller.answer().await.text(), "done");
}

/// HP-6: an HTTP/1.0 client would take an interim answer for the final one.
#[tokio::test]
async fn hp6_interim_answers_are_kept_from_http10() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let mut caller = connect(&gateway).await;
    caller.send("GET /open HTTP/1.0\r\nHost: api.example.ir\r\n\r\n").await.expect("open");
    let (mut inside, _) = agency.request().await;
    inside.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n").await.expect("open");
    inside.send(ok("done")).await.expect("open");
    assert_eq!(caller.answer().await.text(), "done");
}

/// HP-6: nobody is told to go on before they are admitted; the agency never sees a refused body.
#[tokio::test]
async fn hp6_a_refused_caller_is_not_told_to_continue() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let mut caller = connect(&gateway).await;
    let fields = ["Expect: 100-continue", "Content-Length: 1000000"];
    caller.send(request("POST", "/l1", &fields)).await.expect("open");
    assert_refused(&caller.answer().await, 401, "token_missing");
    assert!(agency.is_untouched().await);
}

/// HP-6: an admitted one is, and then the body flows.
#[tokio::test]
async fn hp6_an_admitted_caller_is_told_to_continue() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let mut caller = connect(&gateway).await;
    let token = bearer(&token(1).sign());
    caller.send(request("POST", "/l1", &["Expect: 100-continue", "Content-Length: 5", &token])).await.expect("open");
    let agency = async {
        let mut inside = agency.accept().await;
        let head = inside.head().await.expect("the head");
        if head.has("expect") {
            inside.send("HTTP/1.1 100 Continue\r\n\r\n").await.expect("open");
        }
        let payload = inside.body(head.request_framing()).await;
        inside.send(ok("done")).await.expect("open");
        payload.bytes
    };
    let client = async {
        assert_eq!(caller.answer().await.status(), 100);
        caller.send("hello").await.expect("open");
        assert_passed(&caller.answer().await);
    };
    let (body, ()) = tokio::join!(agency, client);
    assert_eq!(body, b"hello");
}

/// HP-6: an expectation that nobody knows.
#[tokio::test]
async fn hp6_another_expectation_is_417() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let answer = client::send(&gateway, get("/open", &["Expect: 200-ok"])).await;
    assert_eq!(answer.status(), 417, "{:?}", answer.head);
    assert!(agency.is_untouched().await);
}

/// An answer without a length, ended by the agency's close, reaches both kinds of client as a whole one.
#[tokio::test]
async fn an_answer_that_ends_with_the_connection_is_whole() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let mut caller = connect(&gateway).await;
    caller.send(get("/open", &[])).await.expect("open");
    let (mut inside, _) = agency.request().await;
    inside.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it").await.expect("open");
    inside.close().await;
    let answer = caller.answer().await;
    assert!(answer.payload.complete);
    assert_eq!(answer.text(), "all of it");
}

/// A large body both ways arrives as it was.
#[tokio::test]
async fn large_bodies_arrive_unchanged() {
    let agency = crate::support::agency::Agency::start(|request| {
        let mut answer =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.payload.bytes.len()).into_bytes();
        answer.extend(&request.payload.bytes);
        answer
    })
    .await;
    let gateway = world::before(&agency.url()).await;
    let body: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut bytes = request("POST", "/open", &[&format!("Content-Length: {}", body.len())]).into_bytes();
    bytes.extend(&body);
    let answer = client::send(&gateway, bytes).await;
    assert!(answer.payload.bytes == body, "HTTP/1.1: {} bytes of {}", answer.payload.bytes.len(), body.len());
    let h2 = H2::connect(&gateway).await;
    let answer = h2.request(h2_get("/open").method("POST").body(()).expect("good parts"), &body).await;
    assert!(answer.body == body, "HTTP/2: {} bytes of {}", answer.body.len(), body.len());
}

/// Over HTTP/2 a slow stream does not hold up its neighbours.
#[tokio::test]
async fn http2_streams_do_not_wait_for_each_other() {
    let agency = ByHand::start().await;
    let gateway = world::before(&agency.url()).await;
    let h2 = H2::connect(&gateway).await;
    let mut sender = h2.send.clone().ready().await.expect("open");
    let (slow, mut upload) =
        sender.send_request(h2_get("/open/slow").method("POST").body(()).expect("good parts"), false).expect("open");
    upload.send_data(Bytes::from_static(b"x"), false).expect("open");
    let mut inside = agency.accept().await;
    assert_eq!(inside.head().await.expect("the slow one").target(), "/open/slow");
    let mut sender = h2.send.clone().ready().await.expect("open");
    let (quick, _) = sender.send_request(h2_get("/open/quick").body(()).expect("good parts"), true).expect("open");
    let (mut second, seen) = agency.request().await;
    assert_eq!(seen.head.target(), "/open/quick");
    second.send(ok("quick")).await.expect("open");
    assert_eq!(within("the quick one", quick).await.expect("an answer").status(), 200);
    upload.send_data(Bytes::new(), true).expect("open");
    inside.body(Framing::Chunked).await;
    inside.send(ok("slow")).await.expect("open");
    assert_eq!(within("the slow one", slow).await.expect("an answer").status(), 200);
}

/// Readers of an endless answer who stop reading, and what of the gateway's memory each of them may hold: a piece of the
/// body, and what any connection has.
const SLOW_READERS: u64 = 500;
const KIB_EACH: u64 = 110;

/// Back-pressure: an agency that would send a gigabyte is not read faster than the caller reads.
#[tokio::test]
async fn slow_readers_of_endless_answers_take_little_memory() {
    let (port, sent) = endless().await;
    let gateway = world::before(&format!("http://127.0.0.1:{port}")).await;
    let mut warm = connect(&gateway).await;
    warm.send(get("/open/x", &[])).await.expect("open");
    assert_eq!(warm.head().await.expect("a head").status(), 200);
    let before = gateway.resident_kib();
    let mut readers = Vec::new();
    for _ in 0..SLOW_READERS {
        let mut reader = connect(&gateway).await;
        reader.send(get("/open/x", &[])).await.expect("open");
        assert_eq!(reader.head().await.expect("a head").status(), 200);
        readers.push(reader);
    }
    // All is held that ever will be once the agency cannot write any more.
    let (mut seen, mut most) = (0, 0);
    while std::mem::replace(&mut seen, sent.load(Ordering::Relaxed)) != sent.load(Ordering::Relaxed) || seen == 0 {
        most = most.max(gateway.resident_kib());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let each = most.max(gateway.resident_kib()).saturating_sub(before) / SLOW_READERS;
    assert!(each < KIB_EACH, "{each} KiB for each reader");
}

/// An agency that answers everything with a gigabyte: its port, and how much it has sent.
async fn endless() -> (u16, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let sent = Arc::new(AtomicU64::new(0));
    let count = sent.clone();
    tokio::spawn(async move {
        while let Ok((mut caller, _)) = listener.accept().await {
            let sent = sent.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") && caller.read_buf(&mut head).await? > 0 {}
                caller.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n").await?;
                loop {
                    let written = caller.write(&[b'x'; 16 * 1024]).await?;
                    sent.fetch_add(written as u64, Ordering::Relaxed);
                }
                #[expect(unreachable_code, reason = "says what the errors above are")]
                Ok::<(), std::io::Error>(())
            });
        }
    });
    (port, count)
}
