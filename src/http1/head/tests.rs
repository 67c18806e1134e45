use bytes::BufMut;

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

/// What a library of others reads in the same bytes: method and target, then names, in lower case, with their values, in order.
/// `None` where it refuses.
fn as_httparse_reads(text: &[u8], slots: usize) -> Option<Vec<(String, Vec<u8>)>> {
    let mut slots = vec![httparse::EMPTY_HEADER; slots];
    let mut parsed = httparse::Request::new(&mut slots);
    parsed.parse(text).ok()?.is_complete().then_some(())?;
    let fields = parsed.headers.iter().map(|line| (line.name.to_ascii_lowercase(), line.value.to_vec()));
    let fields = fields.filter(|(name, value)| !(name == "connection" && value.eq_ignore_ascii_case(b"keep-alive")));
    let mut fields: Vec<_> = fields.collect();
    fields.insert(0, (parsed.method?.to_owned(), parsed.path?.as_bytes().to_vec()));
    Some(fields)
}

/// The same of what we read.
fn as_read(head: &RequestHead) -> Vec<(String, Vec<u8>)> {
    let fields = head.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    let mut fields: Vec<_> = fields.collect();
    fields.insert(0, (head.method.to_string(), head.target.to_vec()));
    fields
}

/// SM-4: whatever stands in a head, it is read as httparse reads it, or refused. Pieces of heads, put together at random.
#[test]
fn a_head_is_read_as_others_read_it_or_not_at_all() {
    use proptest::prelude::*;
    let piece = prop_oneof![
        4 => proptest::sample::select(vec![
            "GET ", "POST ", "/", "/a?b", " HTTP/1.1\r\n", " HTTP/1.0\r\n", "Host: x\r\n", "A:b\r\n", "b:\t c d \t\r\n", "c:\r\n",
            "Connection: keep-alive\r\n", "connection: close\r\n", "Accept: *\r\n", "\r\n", ": ", " ", "\t", "\r", "\n", "\0",
            "\x7f", "é", ":", "x", "\x0b", "/ HTTP/1.1\r\n",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    let start = proptest::sample::select(vec!["", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: x\r\n"]);
    let heads =
        (start, proptest::collection::vec(piece, 0..10), proptest::sample::select(vec!["", "\r\n\r\n", "\r\n"]));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(20_000)
    });
    let taken = std::cell::Cell::new(0);
    let run = runner.run(&heads, |(start, pieces, end)| {
        let text = [start.as_bytes(), &pieces.concat(), end.as_bytes()].concat();
        let ours = parse_request(&mut BytesMut::from(&text[..]), &mut Scan::default(), &LIMITS);
        // In two pieces it is the same head.
        let (mut buffer, mut scan) = (BytesMut::from(&text[..text.len() / 2]), Scan::default());
        if let Ok(None) = parse_request(&mut buffer, &mut scan, &LIMITS) {
            buffer.extend_from_slice(&text[text.len() / 2..]);
            let pieced = parse_request(&mut buffer, &mut scan, &LIMITS);
            prop_assert_eq!(format!("{:?}", pieced), format!("{:?}", ours));
        }
        let theirs = as_httparse_reads(&text, LIMITS.count);
        match ours {
            Ok(Some(head)) => {
                taken.set(taken.get() + 1);
                prop_assert_eq!(Some(as_read(&head)), theirs, "{:?}", String::from_utf8_lossy(&text));
            }
            // Stricter in framing, line ends and bounds; what is only a matter of characters is refused by both.
            Err(HeadFault::Malformed(why)) if why.contains("forbidden") || why.contains("colon") => {
                prop_assert!(theirs.is_none(), "{} for {:?}", why, String::from_utf8_lossy(&text));
            }
            _ => {}
        }
        Ok(())
    });
    run.unwrap();
    assert!(taken.get() > 1000, "{} heads were whole", taken.get());
}

#[test]
fn a_name_known_at_a_glance_is_the_name_that_it_says() {
    let names = "Host Authorization Cookie Accept Accept-Encoding Accept-Language User-Agent Origin Referer Content-Type \
                 Content-Length Cache-Control Date Server Set-Cookie ETag";
    for name in names.split_ascii_whitespace().flat_map(|name| [name.to_owned(), name.to_ascii_lowercase()]) {
        let known = super::fields::usual_name(name.as_bytes()).unwrap();
        assert_eq!(known, http::HeaderName::from_bytes(name.as_bytes()).unwrap());
    }
    assert!(super::fields::usual_name(b"HOST").is_none());
}

/// More lines than whose ends are noted on the way, at once and in pieces.
#[test]
fn a_head_of_many_lines_is_read_whole() {
    let limits = HeadLimits { block: 8192, count: 100, uri: 100 };
    let lines: String = (0..100).map(|n| format!("x-{n}: {n}\r\n")).collect();
    let text = format!("GET / HTTP/1.1\r\n{lines}\r\n");
    for cut in [0, 1, 300, text.len() - 1] {
        let (mut buffer, mut scan) = (BytesMut::from(&text[..cut]), Scan::default());
        assert!(parse_request(&mut buffer, &mut scan, &limits).unwrap().is_none());
        buffer.put_slice(&text.as_bytes()[cut..]);
        let head = parse_request(&mut buffer, &mut scan, &limits).unwrap().unwrap();
        assert_eq!(head.headers.len(), 100);
        assert!((0..100).all(|n| head.headers[&*format!("x-{n}")] == n.to_string()));
    }
    let more = format!("GET / HTTP/1.1\r\n{lines}x-100: 100\r\n\r\n");
    let refused = parse_request(&mut BytesMut::from(&more[..]), &mut Scan::default(), &limits);
    assert_eq!(refused.unwrap_err(), HeadFault::TooLarge);
}

/// RFC 9110 §8.6: the length is the body's to say; where there is none, it is all that is known of it.
#[test]
fn an_answers_length_is_kept_only_where_no_body_says_it() {
    let lengths = |status: &str, method: Method| {
        let text = format!("HTTP/1.1 {status}\r\ncontent-LENGTH: 5\r\nA: b\r\n\r\n");
        let (head, framing) = response(&text, method).unwrap().unwrap();
        (head.headers.get(header::CONTENT_LENGTH).map(|length| length.as_bytes().to_vec()), framing)
    };
    assert_eq!(lengths("200 OK", Method::GET), (None, Framing::Length(5)));
    assert_eq!(lengths("200 OK", Method::HEAD), (Some(b"5".to_vec()), Framing::Empty));
    assert_eq!(lengths("304 Not Modified", Method::GET), (Some(b"5".to_vec()), Framing::Empty));
}

#[test]
fn what_is_kept_of_a_head_holds_no_large_body() {
    for (length, shared) in [(ALONG, true), (ALONG + 1, false)] {
        let mut buffer = BytesMut::from("HTTP/1.1 200 OK\r\nx-a: b\r\n\r\n");
        buffer.resize(buffer.len() + length, b'x');
        let head = parse_response(&mut buffer, &mut Scan::default(), &LIMITS, &Method::GET).unwrap().unwrap().0;
        assert_eq!((&head.headers["x-a"], buffer.len()), (&http::HeaderValue::from_static("b"), length));
        assert_eq!(buffer.freeze().is_unique(), !shared);
    }
}
