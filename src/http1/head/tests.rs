use super::*;

const LIMITS: HeadLimits = HeadLimits { block: 1024, count: 20, uri: 100 };

fn request(text: &str) -> Result<Option<RequestHead>, HeadFault> {
    parse_request(&mut BytesMut::from(text), &mut Scan::default(), &LIMITS)
}

fn malformed(text: &str) {
    match request(text) {
        Err(HeadFault::Malformed(_)) => {}
        other => panic!("{text:?} was not refused: {other:?}"),
    }
}

fn response(text: &str, method: Method) -> Result<Option<(ResponseHead, Framing)>, HeadFault> {
    parse_response(&mut BytesMut::from(text), &mut Scan::default(), &LIMITS, &method)
}

#[test]
fn a_request_is_parsed_and_its_bytes_are_taken_off() {
    let mut buffer = BytesMut::from("POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    let head = parse_request(&mut buffer, &mut Scan::default(), &LIMITS).unwrap().unwrap();
    assert_eq!((head.method, head.target.as_ref(), head.framing), (Method::POST, &b"/a?b=c"[..], Framing::Length(3)));
    assert!(head.keep_alive);
    assert_eq!(buffer.as_ref(), b"abc");
}

#[test]
fn a_head_may_come_byte_by_byte() {
    let text = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let (mut buffer, mut scan) = (BytesMut::new(), Scan::default());
    for (i, byte) in text.iter().enumerate() {
        buffer.put_u8(*byte);
        let parsed = parse_request(&mut buffer, &mut scan, &LIMITS).unwrap();
        assert_eq!(parsed.is_some(), i + 1 == text.len());
    }
}

/// SM-1
#[test]
fn a_length_beside_chunked_is_refused_in_either_order() {
    malformed("POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n");
    malformed("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n");
    malformed("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n");
}

/// SM-2
#[test]
fn only_chunked_once_is_a_transfer_encoding() {
    for value in ["gzip", "chunked, identity", "gzip, chunked", "\x0bchunked", "chunked,", "xchunked", ""] {
        malformed(&format!("POST / HTTP/1.1\r\nTransfer-Encoding: {value}\r\n\r\n"));
    }
    malformed("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n");
    malformed("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
    let ok = request("POST / HTTP/1.1\r\nTransfer-Encoding:  Chunked \r\n\r\n").unwrap().unwrap();
    assert_eq!(ok.framing, Framing::Chunked);
}

/// SM-3
#[test]
fn a_length_is_one_plain_number() {
    for value in ["+1", "-1", "0x10", "1, 1", "1 1", "", "99999999999999999999", "1_0", "٣"] {
        malformed(&format!("POST / HTTP/1.1\r\nContent-Length: {value}\r\n\r\n"));
    }
    malformed("POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n");
    malformed("POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n");
}

/// SM-4
#[test]
fn lines_end_in_crlf_and_are_not_folded() {
    malformed("GET / HTTP/1.1\nHost: x\n\n");
    malformed("GET / HTTP/1.1\r\nHost: x\n\r\n");
    malformed("GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n");
    malformed("GET / HTTP/1.1\r\nHost : x\r\n\r\n");
    malformed("GET / HTTP/1.1\r\n Host: x\r\n\r\n");
    malformed("GET / HTTP/1.1\r\nA: b\rc\r\n\r\n");
    malformed("GET / HTTP/1.1\r\nA: b\0c\r\n\r\n");
    malformed("GET  / HTTP/1.1\r\nHost: x\r\n\r\n");
}

#[test]
fn a_bare_line_feed_is_refused_before_the_head_is_whole() {
    malformed("GET / HTTP/1.1\nHo");
}

#[test]
fn bounds_are_told_apart() {
    let long = "x".repeat(200);
    assert_eq!(request(&format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n")).unwrap_err(), HeadFault::UriTooLong);
    assert_eq!(request(&format!("GET /{long}")).unwrap_err(), HeadFault::UriTooLong);
    let block = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(1100));
    assert_eq!(request(&block).unwrap_err(), HeadFault::TooLarge);
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(21));
    assert_eq!(request(&many).unwrap_err(), HeadFault::TooLarge);
}

/// RFC 9110 §15.6.6
#[test]
fn another_version_is_named_as_such() {
    assert_eq!(request("GET / HTTP/2.0\r\nHost: x\r\n\r\n").unwrap_err(), HeadFault::Version);
    // The version is well; the target is in two pieces.
    assert!(matches!(request("GET /a b HTTP/1.1\r\nHost: x\r\n\r\n").unwrap_err(), HeadFault::Malformed(_)));
    malformed("GET / HTPT/1.1\r\nHost: x\r\n\r\n");
}

/// HP-6
#[test]
fn only_one_expectation_is_known() {
    let head = request("POST / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n").unwrap().unwrap();
    assert!(head.expect_continue);
    let odd = request("POST / HTTP/1.1\r\nExpect: magic\r\nContent-Length: 1\r\n\r\n");
    assert_eq!(odd.unwrap_err(), HeadFault::Expectation);
}

#[test]
fn keep_alive_follows_version_and_connection() {
    let alive = |text: &str| request(text).unwrap().unwrap().keep_alive;
    assert!(alive("GET / HTTP/1.1\r\n\r\n"));
    assert!(!alive("GET / HTTP/1.1\r\nConnection: Close\r\n\r\n"));
    assert!(!alive("GET / HTTP/1.0\r\n\r\n"));
    assert!(alive("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    assert!(!alive("GET / HTTP/1.1\r\nConnection: keep-alive, close\r\n\r\n"));
}

/// RFC 9112 §6.3
#[test]
fn an_answers_body_ends_as_its_head_says() {
    let framing = |text: &str, method| response(text, method).unwrap().unwrap().1;
    assert_eq!(framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Method::GET), Framing::Length(5));
    assert_eq!(framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Method::HEAD), Framing::Empty);
    assert_eq!(framing("HTTP/1.1 204 No Content\r\n\r\n", Method::GET), Framing::Empty);
    assert_eq!(framing("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Method::GET), Framing::Empty);
    assert_eq!(framing("HTTP/1.1 200 OK\r\n\r\n", Method::GET), Framing::UntilClose);
    assert!(!response("HTTP/1.1 200 OK\r\n\r\n", Method::GET).unwrap().unwrap().0.keep_alive);
}

/// SM-10
#[test]
fn an_answer_with_doubtful_framing_is_refused() {
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 5\n\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "<html>\r\n\r\n",
    ] {
        assert!(matches!(response(text, Method::GET), Err(HeadFault::Malformed(_))), "{text:?}");
    }
}

#[test]
fn numbers_are_written_in_decimal() {
    let mut out = BytesMut::new();
    for number in [0, 7, 10, u64::MAX] {
        write_decimal(&mut out, number);
        out.put_u8(b' ');
    }
    assert_eq!(out.as_ref(), format!("0 7 10 {} ", u64::MAX).as_bytes());
}
