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
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, http::HeaderValue::from_static("x"));
    Outgoing { method, target: Bytes::from_static(b"/a"), headers, upgrade: false }
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
