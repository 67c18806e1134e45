//! Paths are judged in one canonical form, and what is forwarded is what was judged (HP-5, contract section 5).

use crate::support::agency::Agency;
use crate::support::client::{self, H2, get, h2_get, send};
use crate::support::frames;
use crate::support::verdict::{assert_passed, assert_refused};
use crate::support::world::Config;

async fn place() -> (Agency, crate::support::gateway::Gateway) {
    let agency = Agency::hello().await;
    let gateway = Config::new()
        .agency("registry", &agency.url())
        .route("name: secure, agency: registry, match: { prefix: /secure }, require: { level: 3 }")
        .route("name: rest, agency: registry, match: { prefix: / }, require: { level: 0 }")
        .route("name: fa, agency: registry, match: { path: /خدمات/بیمه }, require: { level: 0 }, rewrite: { add_prefix: /fa }")
        .start()
        .await;
    (agency, gateway)
}

/// Every spelling that two parties could read differently.
const AMBIGUOUS: &[&str] = &[
    // Dot segments in any spelling.
    "/a/../secure",
    "/a/./b",
    "/..",
    "/.",
    "/a/..",
    "/a/.",
    "/a/%2e%2e/secure",
    "/a/%2E./b",
    "/a/.%2e/b",
    "/%2e/secure",
    "/../secure",
    // Encoded slash and backslash, and the raw one.
    "/a%2fb",
    "/a%2Fb",
    "/secure%2fx",
    "/a%5cb",
    "/a%5Cb",
    "/a\\b",
    "\\secure",
    // NUL and other control characters.
    "/a%00",
    "/%00secure",
    "/a%0a",
    "/a%0d%0ab",
    "/a%1f",
    "/a%7f",
    "/a%09b",
    // Path parameters, empty segments.
    "/secure;x=1",
    "/a;/b",
    "/a%3bb",
    "//secure",
    "/a//b",
    "/a//",
    "//",
    // Broken escapes, fragments, bytes that are no UTF-8.
    "/%zz",
    "/a%",
    "/a%2",
    "/a%2g",
    "/a#b",
    "/%ff",
    "/%c0%ae%c0%ae/secure",
    "/%c0%af",
    "/%e0%80%af",
    "/%ed%a0%80",
    "/a%fe",
    // What would be one of these after one more decoding.
    "/%252e%252e/secure",
    "/a%252fb",
    "/a%252Fb",
    "/a%255cb",
    "/a%253bb",
];

#[tokio::test]
async fn hp5_ambiguous_paths_are_refused_and_nothing_reaches_the_agency() {
    let (agency, gateway) = place().await;
    for path in AMBIGUOUS {
        let answer = send(&gateway, get(path, &[])).await;
        assert_eq!(answer.status(), 400, "{path}: {:?}", answer.head);
        let code = answer.head.get("x-gateway-error");
        // What is no URI at all may already fail as a request.
        assert!(matches!(code, Some("path_ambiguous" | "request_malformed")), "{path}: {code:?}");
        agency.assert_untouched();
    }
}

#[tokio::test]
async fn hp5_a_dot_segment_is_called_ambiguous() {
    let (agency, gateway) = place().await;
    for path in
        ["/a/../secure", "/a/%2e%2e/secure", "/a%2fb", "/a%5cb", "/a\\b", "/a%00", "/a;x", "//a", "/a%zz", "/a%252fb"]
    {
        assert_refused(&send(&gateway, get(path, &[])).await, 400, "path_ambiguous");
    }
    agency.assert_untouched();
}

/// Raw bytes above ASCII that are no UTF-8 never pass.
#[tokio::test]
async fn hp5_raw_bytes_that_are_no_utf8_are_refused() {
    let (agency, gateway) = place().await;
    for raw in [&b"/\xff"[..], b"/a\xc0\xaeb", b"/\x80", b"/a\x01b", b"/a\x7f"] {
        let mut request = b"GET ".to_vec();
        request.extend(raw);
        request.extend(b" HTTP/1.1\r\nHost: api.example.ir\r\n\r\n");
        let mut wire = client::connect(&gateway).await;
        wire.send(request).await.expect("open");
        if let Some(answer) = wire.try_answer_to("GET").await {
            assert_eq!(answer.status(), 400, "{raw:?}");
        }
    }
    agency.assert_untouched();
}

#[tokio::test]
async fn hp5_what_is_forwarded_is_the_canonical_form() {
    let (agency, gateway) = place().await;
    let table = [
        ("/a/%62", "/a/b"),
        ("/%41%7a%30%2D%5f%2e%7e", "/Az0-_.~"),
        ("/a%20b", "/a%20b"),
        ("/a%c3%a9", "/a%C3%A9"),
        ("/%d8%ae%d8%af", "/%D8%AE%D8%AF"),
        ("/a/...", "/a/..."),
        ("/a/.b/c.", "/a/.b/c."),
        ("/a%3Ab:c@d!$&'()*+,=", "/a%3Ab:c@d!$&'()*+,="),
        ("/A/b", "/A/b"),
        ("/a/", "/a/"),
        ("/?", "/?"),
        ("/a?x=%2e%2e/%2f&y=//;z", "/a?x=%2e%2e/%2f&y=//;z"),
        ("/a%2541", "/a%2541"),
    ];
    for (asked, forwarded) in table {
        let answer = send(&gateway, get(asked, &[])).await;
        assert_eq!(answer.status(), 200, "{asked}: {:?} {}", answer.head, answer.text());
        assert_eq!(agency.last().head.target(), forwarded, "{asked}");
    }
}

/// An escape of an unreserved character is that character: it does not lead round a requirement.
#[tokio::test]
async fn hp5_an_escaped_letter_does_not_avoid_a_route() {
    let (agency, gateway) = place().await;
    for path in ["/%73ecure", "/secur%65/x", "/%73%65%63%75%72%65"] {
        assert_refused(&send(&gateway, get(path, &[])).await, 401, "token_missing");
    }
    agency.assert_untouched();
}

/// Persian paths match as they are written in the file.
#[tokio::test]
async fn a_persian_path_matches_its_escaped_spelling() {
    let (agency, gateway) = place().await;
    let escaped = "/%D8%AE%D8%AF%D9%85%D8%A7%D8%AA/%d8%a8%d9%8a%d9%85%d9%87".replace("%d9%8a", "%DB%8C");
    assert_passed(&send(&gateway, get(&escaped, &[])).await);
    assert_eq!(agency.only().head.target(), "/fa/%D8%AE%D8%AF%D9%85%D8%A7%D8%AA/%D8%A8%DB%8C%D9%85%D9%87");
}

/// The same over HTTP/2, where a client library would mend some of it: by hand.
#[tokio::test]
async fn hp5_http2_paths_are_judged_alike() {
    let (agency, gateway) = place().await;
    for path in ["/a/../secure", "/a/%2e%2e/secure", "/a%2fb", "/a\\b", "//a", "secure", "/a b", ""] {
        let mut wire = frames::connect(&gateway).await;
        let block = frames::request_block("GET", path, &[]);
        let frame = frames::frame(frames::HEADERS, frames::END_HEADERS | frames::END_STREAM, 1, &block);
        wire.send(frame).await.expect("open");
        assert!(frames::is_refused(&mut wire).await, "{path}");
    }
    agency.assert_untouched();
    let h2 = H2::connect(&gateway).await;
    let answer = h2.request(h2_get("/%73ecure").body(()).expect("good parts"), b"").await;
    assert_eq!(answer.get("x-gateway-error"), Some("token_missing"));
    let answer = h2.request(h2_get("/a/%62").body(()).expect("good parts"), b"").await;
    assert_eq!(answer.status, 200);
    assert_eq!(agency.only().head.target(), "/a/b");
}

/// A fragment over HTTP/2 may be cut off before the gateway sees it; in no case is it forwarded.
#[tokio::test]
async fn hp5_a_fragment_over_http2_is_never_forwarded() {
    let (agency, gateway) = place().await;
    let mut wire = frames::connect(&gateway).await;
    let block = frames::request_block("GET", "/a#/../secure", &[]);
    wire.send(frames::frame(frames::HEADERS, frames::END_HEADERS | frames::END_STREAM, 1, &block)).await.expect("open");
    if !frames::is_refused(&mut wire).await {
        assert_eq!(agency.only().head.target(), "/a");
    }
}

/// `OPTIONS *` concerns the server, and no agency.
#[tokio::test]
async fn asterisk_form_reaches_no_agency() {
    let (agency, gateway) = place().await;
    let answer = send(&gateway, client::request("OPTIONS", "*", &[])).await;
    assert!(answer.head.has("x-gateway-error"), "{:?}", answer.head);
    let answer = send(&gateway, get("*", &[])).await;
    assert_eq!(answer.status(), 400, "{:?}", answer.head);
    agency.assert_untouched();
}
