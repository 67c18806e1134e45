//! The gateway's own answers in four dresses, each with the same facts (PD, RFC 9457).

use crate::support::agency::Agency;
use crate::support::client::{H2, connect, get, h2_get, post, request, send};
use crate::support::gateway::Gateway;
use crate::support::verdict::assert_refused;
use crate::support::wire::Message;
use crate::support::world::{self, standard};

const BROWSER: &str = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

async fn place() -> Gateway {
    let agency = Agency::hello().await;
    standard(&agency.url())
        .top("contact: { name: { fa: سامانه آزمون, en: Test Desk }, phone: \"1234\", email: help@example.ir, url: 'https://help.example.ir/' }")
        .start()
        .await
}

#[track_caller]
fn assert_page(answer: &Message, status: u16, code: &str, language: &str) {
    assert_eq!((answer.status(), answer.head.get("x-gateway-error")), (status, Some(code)));
    assert_eq!(answer.head.get("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(answer.head.get("cache-control"), Some("no-store"));
    assert_eq!(answer.head.get("content-language"), Some(language), "{:?}", answer.head);
    let page = answer.text();
    let direction = if language == "fa" { "rtl" } else { "ltr" };
    assert!(page.contains(&format!("lang=\"{language}\"")) && page.contains(&format!("dir=\"{direction}\"")), "{page}");
    let id = answer.head.get("x-request-id").expect("X-Request-Id");
    assert!(page.contains(id), "the id is the reference for a complaint");
    assert!(page.len() < 14 * 1024, "{} bytes", page.len());
    assert_eq!(page.matches("<h1").count(), 1);
    assert!(page.contains("<title>"));
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains("<link"), "no assets from elsewhere");
    let policy = answer.head.get("content-security-policy").expect("Content-Security-Policy");
    assert!(policy.contains("default-src 'none'"), "{policy}");
}

#[tokio::test]
async fn a_browser_gets_a_page_in_its_language() {
    let gateway = place().await;
    let ask = async |path: &str, language: &str| {
        send(&gateway, get(path, &[BROWSER, &format!("Accept-Language: {language}")])).await
    };
    assert_page(&ask("/nowhere", "fa-IR,fa;q=0.9,en;q=0.5").await, 404, "route_unknown", "fa");
    assert_page(&ask("/nowhere", "en-GB,en;q=0.9").await, 404, "route_unknown", "en");
    assert_page(&ask("/nowhere", "de,en;q=0.5").await, 404, "route_unknown", "en");
    assert_page(&ask("/l1", "fa").await, 401, "token_missing", "fa");
    assert_page(&ask("/a/../b", "en").await, 400, "path_ambiguous", "en");
    // Persian is the country's language.
    assert_page(&send(&gateway, get("/nowhere", &[BROWSER])).await, 404, "route_unknown", "fa");
    let page = ask("/nowhere", "en").await.text();
    for channel in ["Test Desk", "1234", "help@example.ir", "https://help.example.ir/"] {
        assert!(page.contains(channel), "{channel}: {page}");
    }
}

/// The challenge is the same in every dress.
#[tokio::test]
async fn a_page_carries_the_challenge_too() {
    let gateway = place().await;
    let page = send(&gateway, get("/l1", &[BROWSER])).await;
    assert_eq!(page.head.get("www-authenticate"), Some("Bearer realm=\"public\""));
}

#[tokio::test]
async fn a_program_gets_a_problem() {
    let gateway = place().await;
    for accept in [
        "*/*",
        "application/json",
        "application/problem+json",
        "application/json, text/html;q=0.5",
        "text/html;q=0.1, */*",
    ] {
        assert_refused(&send(&gateway, get("/nowhere", &[&format!("Accept: {accept}")])).await, 404, "route_unknown");
    }
    let answer = send(&gateway, get("/nowhere", &[])).await;
    assert_refused(&answer, 404, "route_unknown");
    assert!(
        answer.json()["type"]
            .as_str()
            .is_some_and(|t| t.contains("route_unknown") || t.starts_with("http") || t.starts_with("urn:"))
    );
}

/// A page is for a person in front of a browser, not for a script in a page.
#[tokio::test]
async fn head_gets_the_same_head_and_no_body() {
    let gateway = place().await;
    let mut wire = connect(&gateway).await;
    for accept in ["Accept: */*", BROWSER] {
        wire.send(request("HEAD", "/nowhere", &[accept])).await.expect("open");
        let head = wire.answer_to("HEAD").await;
        assert_eq!((head.status(), head.head.get("x-gateway-error")), (404, Some("route_unknown")));
        wire.send(get("/nowhere", &[accept])).await.expect("no body came after the head");
        let full = wire.answer().await;
        assert_eq!(head.head.get("content-type"), full.head.get("content-type"));
    }
}

#[tokio::test]
async fn a_soap_call_gets_a_fault() {
    let gateway = place().await;
    let envelope = "<s:Envelope/>";
    let cases = [
        (vec!["Content-Type: text/xml; charset=utf-8", "SOAPAction: \"urn:x\""], "text/xml", "<faultcode>"),
        (vec!["Content-Type: application/soap+xml; action=\"urn:x\""], "application/soap+xml", ":Code>"),
    ];
    for (fields, kind, element) in cases {
        let answer = send(&gateway, post("/l1", &fields, envelope)).await;
        assert_eq!(answer.head.get("x-gateway-error"), Some("token_missing"), "{:?}", answer.head);
        assert!(answer.head.get("content-type").is_some_and(|t| t.starts_with(kind)), "{:?}", answer.head);
        let text = answer.text();
        assert!(text.contains("Fault>") && text.contains(element) && text.contains("token_missing"), "{text}");
        assert!(text.contains(answer.head.get("x-request-id").expect("X-Request-Id")), "{text}");
    }
    // XML without SOAPAction is only XML.
    assert_refused(&send(&gateway, post("/l1", &["Content-Type: text/xml"], "<x/>")).await, 401, "token_missing");
}

#[tokio::test]
async fn a_grpc_call_gets_a_grpc_status() {
    let gateway = place().await;
    let h2 = H2::connect(&gateway).await;
    for (path, code, status) in [("/l1", "token_missing", "16"), ("/nowhere", "route_unknown", "12")] {
        let request = h2_get(path).method("POST").header("content-type", "application/grpc").header("te", "trailers");
        let answer = h2.request(request.body(()).expect("good parts"), b"").await;
        assert_eq!((answer.status, answer.get("x-gateway-error")), (200, Some(code)), "{answer:?}");
        assert_eq!(answer.get("content-type"), Some("application/grpc"), "{answer:?}");
        assert_eq!(answer.get("grpc-status"), Some(status), "{answer:?}");
        assert!(answer.body.is_empty());
    }
}

/// HTTP/2 gets the same answers.
#[tokio::test]
async fn http2_gets_a_problem_too() {
    let gateway = place().await;
    let h2 = H2::connect(&gateway).await;
    let answer = h2.request(h2_get("/l1").body(()).expect("good parts"), b"").await;
    assert_eq!(answer.get("www-authenticate"), Some("Bearer realm=\"public\""));
    assert_refused(&answer.message(), 401, "token_missing");
}

/// Only what the gateway made bears its mark: an agency's own error passes as it is.
#[tokio::test]
async fn an_agencys_own_error_is_not_the_gateways() {
    let agency = Agency::start(|_| {
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\noops".to_vec()
    })
    .await;
    let gateway = world::before(&agency.url()).await;
    let answer = send(&gateway, get("/open", &[BROWSER])).await;
    assert_eq!((answer.status(), answer.text().as_str()), (500, "oops"));
    assert!(!answer.head.has("x-gateway-error") && answer.head.has("x-request-id"));
}
