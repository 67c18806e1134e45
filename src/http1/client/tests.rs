use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const PATIENCE: Patience = Patience { response: Duration::from_secs(5), idle: Duration::from_secs(5) };

/// Where connections go that can be used again.
#[derive(Clone, Default)]
#[expect(clippy::vec_box, reason = "as `Home` takes them")]
struct Shelf(std::rc::Rc<std::cell::RefCell<Vec<Box<Upstream>>>>);

impl Home for Shelf {
    fn take_back(self, connection: Box<Upstream>) {
        self.0.borrow_mut().push(connection);
    }
}

async fn pair() -> (Box<Upstream>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (agency, _) = listener.accept().await.unwrap();
    (Box::new(Upstream::new(Transport::Tcp(stream), PATIENCE)), agency)
}

fn request(method: Method) -> Outgoing {
    let mut headers = Fields::new();
    headers.insert(header::HOST, http::HeaderValue::from_static("x"));
    Outgoing { method, target: Bytes::from_static(b"/a"), headers, ..Outgoing::default() }
}

/// Sends a request to an agency that reads its head and answers `answer` word for word, then closes if told so.
async fn exchanged(method: Method, answer: &'static str, close: bool) -> (Result<Answer<Shelf>, Failure>, Shelf) {
    let (answer, shelf, agency) = exchanged_with(method, answer, close).await;
    // Kept open until the runtime of the test ends: a close would be noticed as one.
    tokio::task::spawn_local(async move {
        std::future::pending::<()>().await;
        drop(agency);
    });
    (answer, shelf)
}

async fn exchanged_with(
    method: Method,
    answer: &'static str,
    close: bool,
) -> (Result<Answer<Shelf>, Failure>, Shelf, Option<TcpStream>) {
    let (connection, mut agency) = pair().await;
    let shelf = Shelf::default();
    let talk = tokio::task::spawn_local(async move {
        let mut head = vec![0; 1024];
        let _ = agency.read(&mut head).await.unwrap();
        agency.write_all(answer.as_bytes()).await.unwrap();
        if close { None } else { Some(agency) }
    });
    let request = request(method);
    let answer = connection.exchange(&request, Body::Empty, PATIENCE, &Interim::none(), shelf.clone()).await;
    (answer, shelf, talk.await.unwrap())
}

async fn body(answer: Answer<Shelf>) -> Result<Bytes, BodyError> {
    match answer.body {
        AnswerBodyOrUpgrade::Whole(bytes) => Ok(bytes),
        AnswerBodyOrUpgrade::Stream(stream) => stream.collect().await.map(|all| all.to_bytes()),
        AnswerBodyOrUpgrade::Upgraded(..) => panic!("not asked for"),
    }
}

#[tokio::test(flavor = "local")]
async fn an_answer_that_came_whole_gives_its_connection_back_at_once() {
    let (answer, shelf) = exchanged(Method::GET, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", false).await;
    assert_eq!(shelf.0.borrow().len(), 1);
    assert_eq!(body(answer.unwrap()).await.unwrap(), "ok");
}

#[tokio::test(flavor = "local")]
async fn a_chunked_answer_gives_its_connection_back_at_its_end() {
    let text = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let (answer, shelf) = exchanged(Method::GET, text, false).await;
    assert_eq!(body(answer.unwrap()).await.unwrap(), "ok");
    assert_eq!(shelf.0.borrow().len(), 1);
}

/// SM-9
#[tokio::test(flavor = "local")]
async fn a_connection_with_anything_left_over_is_not_used_again() {
    for text in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ] {
        let (answer, shelf) = exchanged(Method::GET, text, false).await;
        assert_eq!(body(answer.unwrap()).await.unwrap(), "ok");
        assert!(shelf.0.borrow().is_empty(), "{text}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_body_cut_short_is_an_error_never_an_end() {
    for text in [
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
    ] {
        let (answer, shelf) = exchanged(Method::GET, text, true).await;
        assert_eq!(body(answer.unwrap()).await, Err(BodyError::UpstreamTruncated), "{text}");
        assert!(shelf.0.borrow().is_empty());
    }
}

#[tokio::test(flavor = "local")]
async fn without_a_length_the_end_of_the_connection_is_the_end() {
    let (answer, shelf) = exchanged(Method::GET, "HTTP/1.1 200 OK\r\n\r\nok", true).await;
    assert_eq!(body(answer.unwrap()).await.unwrap(), "ok");
    assert!(shelf.0.borrow().is_empty());
}

#[tokio::test(flavor = "local")]
async fn a_failure_says_how_far_the_exchange_came() {
    let (nothing, _) = exchanged(Method::GET, "", true).await;
    assert_eq!(nothing.err(), Some(Failure::Broke { sent: true, answered: false }));
    let (half, _) = exchanged(Method::GET, "HTTP/1.1 200 OK\r\nconte", true).await;
    assert_eq!(half.err(), Some(Failure::Broke { sent: true, answered: true }));
    let (garbage, _) = exchanged(Method::GET, "SSH-2.0-x\r\n\r\n", true).await;
    assert!(matches!(garbage.err(), Some(Failure::Malformed(_))));
    let (unasked, _) = exchanged(Method::GET, "HTTP/1.1 101 Switching Protocols\r\n\r\n", true).await;
    assert!(matches!(unasked.err(), Some(Failure::Malformed(_))));
}

#[tokio::test(flavor = "local")]
async fn an_agency_that_says_nothing_times_out() {
    let (connection, _agency) = pair().await;
    let patience = Patience { response: Duration::from_millis(20), ..PATIENCE };
    let request = request(Method::GET);
    let answer = connection.exchange(&request, Body::Empty, patience, &Interim::none(), Shelf::default()).await;
    assert_eq!(answer.err(), Some(Failure::TimedOut));
}

#[tokio::test(flavor = "local")]
async fn a_connection_closed_while_idle_is_stale() {
    let (mut connection, agency) = pair().await;
    assert!(!connection.is_stale());
    drop(agency);
    // The close is noticed when the runtime has looked at its sockets.
    while !connection.is_stale() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "local")]
async fn interim_answers_are_passed_on_and_bounded() {
    let text = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let (answer, _) = exchanged(Method::GET, text, false).await;
    assert_eq!(answer.unwrap().head.status, StatusCode::OK);
}

/// SM-8
#[test]
fn a_request_says_its_length_exactly_where_it_has_one() {
    let head = |method, body: Body| String::from_utf8(write_head(&request(method), &body).0.to_vec()).unwrap();
    assert!(!head(Method::GET, Body::Empty).contains("content-length"));
    assert!(head(Method::POST, Body::Empty).contains("content-length: 0\r\n"));
    assert!(head(Method::GET, Body::full("abc")).contains("content-length: 3\r\n"));
}

/// A body of known length, in frames of any size.
struct Frames(std::collections::VecDeque<Bytes>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        Poll::Ready(self.0.pop_front().map(|data| Ok(http_body::Frame::data(data))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.0.iter().map(|data| data.len() as u64).sum())
    }
}

/// The agency reads slowly, so that writes end at any byte: what is left of one frame still goes before the next.
#[tokio::test(flavor = "local")]
async fn a_body_keeps_every_byte_in_its_place_however_slowly_it_is_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    socket2::SockRef::from(&listener).set_recv_buffer_size(4096).unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    socket2::SockRef::from(&stream).set_send_buffer_size(4096).unwrap();
    let (mut agency, _) = listener.accept().await.unwrap();
    let sent: Vec<u8> = (0..1_500_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut rest = Bytes::from(sent.clone());
    let mut frames = std::collections::VecDeque::new();
    for size in [9_000, 100, 20_000, 8_193, 8_192, 33_333].into_iter().cycle() {
        if rest.is_empty() {
            break;
        }
        frames.push_back(rest.split_to(rest.len().min(size)));
    }
    let reading = tokio::task::spawn_local(async move {
        let mut all = Vec::new();
        let mut some = [0; 1777];
        let body = loop {
            let n = agency.read(&mut some).await.unwrap();
            all.extend_from_slice(&some[..n]);
            if let Some(end) = all.windows(4).position(|w| w == b"\r\n\r\n") {
                let length = all.len() - end - 4;
                if n == 0 || length >= 1_500_000 {
                    break all.split_off(end + 4);
                }
            }
            tokio::task::yield_now().await;
        };
        agency.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        body
    });
    let connection = Box::new(Upstream::new(Transport::Tcp(stream), PATIENCE));
    let (request, body) = (request(Method::POST), Body::stream(Frames(frames)));
    let answer = connection.exchange(&request, body, PATIENCE, &Interim::none(), Shelf::default()).await;
    assert_eq!(answer.map(|a| a.head.status).ok(), Some(StatusCode::OK));
    let read = reading.await.unwrap();
    assert_eq!(read.len(), sent.len());
    assert!(read == sent, "first difference at {:?}", read.iter().zip(&sent).position(|(a, b)| a != b));
}

/// SM-9: an answer that cannot have a body and announces one may be followed by it, later.
#[tokio::test(flavor = "local")]
async fn a_204_that_announces_a_body_ends_its_connection() {
    for (text, kept) in [
        ("HTTP/1.1 204 No Content\r\ncontent-length: 3\r\n\r\n", 0),
        ("HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n", 0),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", 1),
        ("HTTP/1.1 204 No Content\r\n\r\n", 1),
    ] {
        let (answer, shelf) = exchanged(Method::GET, text, false).await;
        assert_eq!(answer.unwrap().head.status, StatusCode::NO_CONTENT);
        assert_eq!(shelf.0.borrow().len(), kept, "{text}");
    }
}

/// A body whose end is long in coming.
struct Unended(Option<Bytes>);

impl http_body::Body for Unended {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        self.0.take().map_or(Poll::Pending, |data| Poll::Ready(Some(Ok(http_body::Frame::data(data)))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(1 << 20)
    }
}

/// What TLS has taken and the socket has not must leave once it can, also while the caller says no more.
#[tokio::test(flavor = "local")]
async fn the_tail_of_a_piece_reaches_an_agency_that_was_slow_to_read() {
    let (mut agency, ours) = crate::http1::testing::narrow_tls().await;
    let connection = Box::new(Upstream::new(Transport::ClientTls(Box::new(ours)), PATIENCE));
    // More than the sockets take, and less than TLS does.
    let piece = Bytes::from(vec![b'x'; 40 * 1024]);
    tokio::task::spawn_local({
        let body = Body::stream(Unended(Some(piece.clone())));
        async move {
            let request = request(Method::POST);
            drop(connection.exchange(&request, body, PATIENCE, &Interim::none(), Shelf::default()).await);
        }
    });
    // Until all was written that could be.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    let mut read = Vec::new();
    while !read.ends_with(&piece) {
        let more = tokio::time::timeout(Duration::from_secs(3), agency.read_buf(&mut read)).await;
        assert!(more.expect("the rest comes").unwrap() > 0, "closed");
    }
}
