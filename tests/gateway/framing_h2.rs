//! HTTP/2 requests that would be something else as HTTP/1.1 (SM-6): a stream error or 400, and nothing at an agency.

use crate::support::agency::Agency;
use crate::support::client::{H2, h2_get};
use crate::support::frames::{self, DATA, END_HEADERS, END_STREAM, HEADERS, frame, request_block};
use crate::support::gateway::Gateway;
use crate::support::world;

async fn place() -> (Agency, Gateway) {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    (agency, gateway)
}

type Field<'a> = (&'a [u8], &'a [u8]);

#[tokio::test]
async fn sm6_malformed_fields_are_never_forwarded() {
    let (agency, gateway) = place().await;
    let cases: &[(&str, Field<'_>)] = &[
        ("CR LF in a value", (b"x", b"a\r\nX-Evil: 1")),
        ("LF in a value", (b"x", b"a\nb")),
        ("NUL in a value", (b"x", b"a\0b")),
        ("upper case in a name", (b"X-Upper", b"a")),
        ("a colon in a name", (b"x:y", b"a")),
        ("CR LF in a name", (b"x\r\ny", b"a")),
        ("a space in a name", (b"x y", b"a")),
        ("an empty name", (b"", b"a")),
        ("connection", (b"connection", b"close")),
        ("keep-alive", (b"keep-alive", b"5")),
        ("proxy-connection", (b"proxy-connection", b"close")),
        ("transfer-encoding", (b"transfer-encoding", b"chunked")),
        ("upgrade", (b"upgrade", b"websocket")),
        ("te other than trailers", (b"te", b"gzip")),
        ("a pseudo-field after the fields", (b":path", b"/l3")),
        ("an unknown pseudo-field", (b":admin", b"1")),
        ("host that differs from :authority", (b"host", b"other.example.ir")),
    ];
    for (what, field) in cases {
        let block = if field.0 == b":path" {
            request_block("GET", "/open", &[(b"x", b"y"), *field])
        } else {
            request_block("GET", "/open", &[*field])
        };
        let mut wire = frames::connect(&gateway).await;
        wire.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)).await.expect("open");
        assert!(frames::is_refused(&mut wire).await, "{what}");
        assert!(agency.seen().is_empty(), "{what}: {:?}", agency.seen());
    }
}

#[tokio::test]
async fn sm6_malformed_pseudo_fields_are_never_forwarded() {
    let (agency, gateway) = place().await;
    let blocks: [(&str, Vec<Field<'_>>); 9] = [
        ("no :path", vec![(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"api.example.ir")]),
        ("no :method", vec![(b":path", b"/open"), (b":scheme", b"https"), (b":authority", b"api.example.ir")]),
        ("no :scheme", vec![(b":method", b"GET"), (b":path", b"/open"), (b":authority", b"api.example.ir")]),
        ("no host at all", vec![(b":method", b"GET"), (b":path", b"/open"), (b":scheme", b"https")]),
        (
            "two :path",
            vec![
                (b":method", b"GET"),
                (b":path", b"/open"),
                (b":path", b"/l3"),
                (b":scheme", b"https"),
                (b":authority", b"api.example.ir"),
            ],
        ),
        (
            "a method that is no token",
            vec![
                (b":method", b"GET /l3 HTTP/1.1"),
                (b":path", b"/open"),
                (b":scheme", b"https"),
                (b":authority", b"api.example.ir"),
            ],
        ),
        (
            "a path with a request in it",
            vec![
                (b":method", b"GET"),
                (b":path", b"/open HTTP/1.1\r\nX: y"),
                (b":scheme", b"https"),
                (b":authority", b"api.example.ir"),
            ],
        ),
        (
            "an authority with userinfo",
            vec![
                (b":method", b"GET"),
                (b":path", b"/open"),
                (b":scheme", b"https"),
                (b":authority", b"u@api.example.ir"),
            ],
        ),
        (
            ":status in a request",
            vec![
                (b":method", b"GET"),
                (b":path", b"/open"),
                (b":scheme", b"https"),
                (b":authority", b"api.example.ir"),
                (b":status", b"200"),
            ],
        ),
    ];
    for (what, fields) in blocks {
        let mut wire = frames::connect(&gateway).await;
        wire.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &frames::block(&fields))).await.expect("open");
        assert!(frames::is_refused(&mut wire).await, "{what}");
        assert!(agency.seen().is_empty(), "{what}: {:?}", agency.seen());
    }
}

/// SM-6: Content-Length must be the sum of DATA.
#[tokio::test]
async fn sm6_a_false_content_length_is_never_passed_off_as_whole() {
    let (agency, gateway) = place().await;
    for (what, length, body) in [("shorter", "10", "hello"), ("longer", "2", "hello"), ("none", "5", "")] {
        let mut wire = frames::connect(&gateway).await;
        let block = request_block("POST", "/open", &[(b"content-length", length.as_bytes())]);
        let mut bytes = frame(HEADERS, END_HEADERS | if body.is_empty() { END_STREAM } else { 0 }, 1, &block);
        if !body.is_empty() {
            bytes.extend(frame(DATA, END_STREAM, 1, body.as_bytes()));
        }
        wire.send(bytes).await.expect("open");
        assert!(frames::is_refused(&mut wire).await, "{what}");
        let whole: Vec<_> = agency.seen().into_iter().filter(|r| r.payload.complete).collect();
        assert!(whole.is_empty(), "{what}: {whole:?}");
    }
}

/// RFC 9113 §8.2.3: cookie crumbs are joined for HTTP/1.1.
#[tokio::test]
async fn sm6_cookie_crumbs_are_joined() {
    let (agency, gateway) = place().await;
    let h2 = H2::connect(&gateway).await;
    let request = h2_get("/open").header("cookie", "a=1").header("cookie", "b=2").body(()).expect("good parts");
    assert_eq!(h2.request(request, b"").await.status, 200);
    assert_eq!(agency.only().head.all("cookie"), ["a=1; b=2"]);
}

/// A body of unknown length becomes chunked, one of known length keeps it.
#[tokio::test]
async fn an_http2_body_is_framed_for_http1() {
    let (agency, gateway) = place().await;
    let h2 = H2::connect(&gateway).await;
    let request = h2_get("/open").method("POST").body(()).expect("good parts");
    assert_eq!(h2.request(request, b"hello").await.status, 200);
    let request = h2_get("/open").method("POST").header("content-length", "5").body(()).expect("good parts");
    assert_eq!(h2.request(request, b"hello").await.status, 200);
    let seen = agency.seen();
    assert_eq!(seen[0].head.get("transfer-encoding"), Some("chunked"));
    assert_eq!(seen[1].head.get("content-length"), Some("5"));
    assert!(seen.iter().all(|r| r.payload.bytes == b"hello" && r.payload.complete));
}

/// H2-1: a client that opens and resets streams by the thousand is sent away, and the gateway lives on.
#[tokio::test]
async fn h21_rapid_resets_end_the_connection_and_not_the_gateway() {
    let (_agency, gateway) = place().await;
    let mut wire = frames::connect(&gateway).await;
    let block = request_block("GET", "/open", &[]);
    'attack: for batch in 0..100u32 {
        let mut bytes = Vec::new();
        for n in 0..100 {
            let stream = 1 + 2 * (batch * 100 + n);
            bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &block));
            bytes.extend(frame(frames::RST_STREAM, 0, stream, &8u32.to_be_bytes()));
        }
        if wire.send(bytes).await.is_err() {
            break 'attack;
        }
    }
    wire.finish().await;
    let mut sent_away = false;
    while let Some(next) = frames::next(&mut wire).await {
        sent_away |= next.kind == frames::GOAWAY;
    }
    assert!(sent_away, "a GOAWAY was to end the connection");
    let h2 = H2::connect(&gateway).await;
    assert_eq!(h2.request(h2_get("/open").body(()).expect("good parts"), b"").await.status, 200);
}
