use std::cell::RefCell;
use std::rc::Rc;

use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::closing::{Closing, Word};
use crate::fields::Fields;
use crate::http1::testing::narrow_tls;
use crate::http1::transport::Transport;
use crate::message::Response;

const SETTINGS: Settings = Settings {
    head: HeadLimits { block: 4096, count: 20, uri: 256 },
    header_time: Duration::from_secs(5),
    idle: Duration::from_secs(5),
};

/// What a request became, told to the test.
#[derive(Clone, Default)]
struct Seen(Rc<RefCell<Vec<String>>>);

/// Echoes the body; `/early` answers without reading it, `/hang` never answers, `/hint` sends 103 first.
struct Echo {
    seen: Seen,
}

/// Tells that the request was dropped before its answer.
struct OnDrop(Seen);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.0.borrow_mut().push("dropped".into());
    }
}

impl Service for Echo {
    fn call(&self, inbound: Inbound) -> impl Future<Output = Outbound> + Unpin {
        let seen = self.seen.clone();
        Box::pin(async move {
            let Target::Origin { path_and_query, .. } = &inbound.target else { panic!("{:?}", inbound.target) };
            let path = String::from_utf8(path_and_query.to_vec()).unwrap();
            seen.0.borrow_mut().push(format!("{} {path}", inbound.method));
            match path.as_str() {
                "/early" => return Response::new(Body::full("early")).into(),
                "/hang" => {
                    let _guard = OnDrop(seen);
                    std::future::pending::<()>().await;
                }
                "/hint" => {
                    let mut hints = Fields::new();
                    hints.insert(http::header::LINK, HeaderValue::from_static("</a.css>"));
                    inbound.interim.send(StatusCode::EARLY_HINTS, hints);
                    tokio::task::yield_now().await;
                }
                _ => {}
            }
            match inbound.body.collect().await {
                Ok(body) => {
                    let trailers = body.trailers().map(|t| format!("+{t:?}")).unwrap_or_default();
                    let text = [body.to_bytes().as_ref(), trailers.as_bytes()].concat();
                    Response::new(Body::full(text)).into()
                }
                Err(error) => {
                    let mut answer = Response::new(Body::full(error.to_string()));
                    answer.status = StatusCode::BAD_REQUEST;
                    answer.into()
                }
            }
        })
    }

    fn refuse(&self, fault: HeadFault) -> Outbound {
        let mut answer = Response::new(Body::full(format!("{fault:?}")));
        answer.status = StatusCode::BAD_REQUEST;
        answer.into()
    }

    fn timed_out(&self) -> Outbound {
        let mut answer = Response::new(Body::full("late"));
        answer.status = StatusCode::REQUEST_TIMEOUT;
        answer.into()
    }
}

struct Rig {
    client: TcpStream,
    seen: Seen,
    closing: Closing,
    server: tokio::task::JoinHandle<()>,
}

async fn rig(settings: Settings) -> Rig {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let (seen, closing) = (Seen::default(), Closing::default());
    let (echo, ear) = (Echo { seen: seen.clone() }, closing.listen());
    let server = tokio::task::spawn_local(async move {
        serve(Wire::new(Transport::Tcp(stream)), &settings, &echo, ear).await;
    });
    Rig { client, seen, closing, server }
}

impl Rig {
    async fn say(&mut self, text: &str) {
        self.client.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until the text holds `end`.
    async fn until(&mut self, end: &str) -> String {
        let (mut text, mut buffer) = (String::new(), [0; 4096]);
        while !text.contains(end) {
            let n = self.client.read(&mut buffer).await.unwrap();
            assert!(n > 0, "closed after {text:?}, before {end:?}");
            text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
        }
        text
    }

    async fn rest(&mut self) -> String {
        let mut text = Vec::new();
        self.client.read_to_end(&mut text).await.unwrap();
        String::from_utf8(text).unwrap()
    }
}

#[tokio::test(flavor = "local")]
async fn requests_follow_each_other_on_one_connection() {
    let mut rig = rig(SETTINGS).await;
    rig.say("POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc").await;
    assert!(rig.until("abc").await.starts_with("HTTP/1.1 200 OK\r\n"));
    rig.say("POST /b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n").await;
    assert!(rig.until("def").await.contains("content-length: 3\r\n"));
    assert_eq!(*rig.seen.0.borrow(), ["POST /a", "POST /b"]);
}

#[tokio::test(flavor = "local")]
async fn pipelined_requests_are_answered_in_order() {
    let mut rig = rig(SETTINGS).await;
    rig.say("GET /1 HTTP/1.1\r\nhost: x\r\n\r\nGET /early HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    let text = rig.rest().await;
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2);
    assert!(text.ends_with("early"));
}

/// SM-4, SM-8: after a doubtful request nothing more is taken from the connection.
#[tokio::test(flavor = "local")]
async fn a_refused_head_closes_and_what_follows_is_never_read_as_a_request() {
    let mut rig = rig(SETTINGS).await;
    rig.say("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n").await;
    let text = rig.rest().await;
    assert_eq!(text.matches("HTTP/1.1 ").count(), 1);
    assert!(text.contains("connection: close"));
    assert!(rig.seen.0.borrow().is_empty());
}

/// HP-6
#[tokio::test(flavor = "local")]
async fn a_caller_is_told_to_continue_only_when_its_body_is_wanted() {
    let mut wanted = rig(SETTINGS).await;
    wanted.say("POST /a HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n").await;
    assert_eq!(wanted.until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    wanted.say("abc").await;
    wanted.until("abc").await;

    let mut unwanted = rig(SETTINGS).await;
    unwanted.say("POST /early HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n").await;
    let text = unwanted.rest().await;
    assert!(!text.contains("100 Continue") && text.contains("connection: close") && text.ends_with("early"), "{text}");
}

/// SM-4: what is read past is the body, to the byte, whatever it looks like.
#[tokio::test(flavor = "local")]
async fn a_little_body_that_nobody_wanted_is_read_past() {
    let mut rig = rig(SETTINGS).await;
    let body = "GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";
    rig.say(&format!("POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len())).await;
    let text = rig.until("early").await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && !text.contains("connection: close"), "{text}");
    let (some, rest) = body.split_at(7);
    rig.say(some).await;
    rig.say(&format!("{rest}POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc")).await;
    rig.until("abc").await;
    assert_eq!(*rig.seen.0.borrow(), ["POST /early", "POST /b"]);
}

#[tokio::test(flavor = "local")]
async fn a_little_body_that_nobody_wanted_and_that_does_not_come_is_not_waited_for() {
    let mut rig = rig(Settings { idle: Duration::from_millis(30), ..SETTINGS }).await;
    rig.say("POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\na").await;
    assert!(rig.rest().await.ends_with("early"));
    rig.server.await.unwrap();
}

#[tokio::test(flavor = "local")]
async fn nor_is_it_when_connections_are_to_close() {
    let mut rig = rig(SETTINGS).await;
    rig.say("POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\na").await;
    rig.until("early").await;
    rig.closing.say(Word::Close);
    assert_eq!(rig.rest().await, "");
    rig.server.await.unwrap();
}

#[tokio::test(flavor = "local")]
async fn a_large_body_that_nobody_wanted_is_left_unread() {
    for framing in ["content-length: 65537", "transfer-encoding: chunked"] {
        let mut rig = rig(SETTINGS).await;
        rig.say(&format!("POST /early HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n")).await;
        let text = rig.rest().await;
        assert!(text.contains("connection: close") && text.ends_with("early"), "{text}");
    }
}

#[tokio::test(flavor = "local")]
async fn early_hints_come_before_the_answer() {
    let mut rig = rig(SETTINGS).await;
    rig.say("GET /hint HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let text = rig.until("200 OK").await;
    assert!(text.starts_with("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n"), "{text}");
}

#[tokio::test(flavor = "local")]
async fn a_caller_who_hangs_up_ends_its_request() {
    let mut rig = rig(SETTINGS).await;
    rig.say("GET /hang HTTP/1.1\r\nhost: x\r\n\r\n").await;
    while rig.seen.0.borrow().is_empty() {
        tokio::task::yield_now().await;
    }
    drop(rig.client);
    rig.server.await.unwrap();
    assert_eq!(*rig.seen.0.borrow(), ["GET /hang", "dropped"]);
}

#[tokio::test(flavor = "local")]
async fn a_head_that_does_not_end_is_answered_408() {
    let mut rig = rig(Settings { header_time: Duration::from_millis(30), ..SETTINGS }).await;
    rig.say("GET / HTTP/1.1\r\nho").await;
    let text = rig.rest().await;
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
}

#[tokio::test(flavor = "local")]
async fn a_body_that_stalls_fails_for_its_reader() {
    let mut rig = rig(Settings { idle: Duration::from_millis(30), ..SETTINGS }).await;
    rig.say("POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\na").await;
    let text = rig.rest().await;
    assert!(text.starts_with("HTTP/1.1 400 ") && text.ends_with("the client's body stalled"), "{text}");
}

#[tokio::test(flavor = "local")]
async fn an_idle_connection_closes_when_asked_to() {
    let mut rig = rig(SETTINGS).await;
    rig.say("GET /a HTTP/1.1\r\nhost: x\r\n\r\n").await;
    rig.until("content-length: 0").await;
    rig.closing.say(Word::Close);
    assert_eq!(rig.rest().await.trim_start_matches(|c| c != 'H'), "");
    rig.server.await.unwrap();
}

/// RFC 9112 §9.6: the request that crosses the word on its way is answered, and the answer carries the word.
#[tokio::test(flavor = "local")]
async fn an_idle_connection_may_ask_once_more() {
    let mut rig = rig(SETTINGS).await;
    rig.say("GET /a HTTP/1.1\r\nhost: x\r\n\r\n").await;
    rig.until("content-length: 0").await;
    rig.closing.say(Word::Last);
    tokio::task::yield_now().await;
    rig.say("GET /early HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let text = rig.rest().await;
    assert!(text.contains("connection: close") && text.ends_with("early"), "{text}");
    rig.server.await.unwrap();
}

/// RFC 9110 §9.3.2
#[tokio::test(flavor = "local")]
async fn an_answer_to_head_has_no_body() {
    let mut rig = rig(SETTINGS).await;
    rig.say("HEAD /early HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(rig.rest().await.ends_with("\r\n\r\n"));
}

/// RFC 9112 §2.2
#[tokio::test(flavor = "local")]
async fn http_1_0_is_answered_and_closed() {
    let mut rig = rig(SETTINGS).await;
    rig.say("GET /early HTTP/1.0\r\n\r\n").await;
    let text = rig.rest().await;
    assert!(text.contains("connection: close") && text.ends_with("early"), "{text}");
}

/// HP-7
#[tokio::test(flavor = "local")]
async fn trailers_of_a_request_are_read() {
    let mut rig = rig(SETTINGS).await;
    rig.say("POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nsum: 1\r\n\r\n").await;
    assert!(rig.until("sum").await.contains("a+"));
}

/// RFC 9112 §3.2.2
#[test]
fn an_absolute_target_is_taken_apart() {
    let parse = |text: &'static str| target(&Method::GET, Bytes::from_static(text.as_bytes()));
    let Ok(Target::Absolute { authority, path_and_query }) = parse("http://a.ir:80/x?y") else { panic!() };
    assert_eq!((authority.as_ref(), path_and_query.as_ref()), (&b"a.ir:80"[..], &b"/x?y"[..]));
    let Ok(Target::Absolute { path_and_query, .. }) = parse("https://a.ir?y") else { panic!() };
    assert_eq!(path_and_query.as_ref(), b"/?y");
    for bad in ["x", "ftp://a.ir/", "http:///x", "*", "//a.ir"] {
        assert!(parse(bad).is_err() || bad == "//a.ir", "{bad}");
    }
}

/// What TLS has taken and the socket has not must leave once it can, also where the answer has no more to say.
#[tokio::test(flavor = "local")]
async fn the_tail_of_an_answer_reaches_a_caller_who_was_slow_to_read() {
    let (ours, mut caller) = narrow_tls().await;
    let echo = Echo { seen: Seen::default() };
    let ear = Closing::default().listen();
    let wire = Wire::new(Transport::ServerTls(Box::new(ours)));
    tokio::task::spawn_local(async move { serve(wire, &SETTINGS, &echo, ear).await });
    // More than the sockets take, and less than TLS does.
    let body = "x".repeat(40 * 1024);
    let request = format!("POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    caller.write_all(request.as_bytes()).await.unwrap();
    caller.flush().await.unwrap();
    // Until the server has written what it could.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    let mut answer = Vec::new();
    while !answer.ends_with(body.as_bytes()) {
        let read = tokio::time::timeout(Duration::from_secs(3), caller.read_buf(&mut answer)).await;
        assert!(read.expect("the rest comes").unwrap() > 0, "closed");
    }
}
