//! Portals' scripts may read what they are allowed to, refusals with their challenge included.

use crate::support::agency::Agency;
use crate::support::client::{get, get_with, request, send};
use crate::support::gateway::Gateway;
use crate::support::token::token;
use crate::support::verdict::{assert_passed, assert_refused};
use crate::support::world::standard;

const PORTAL: &str = "Origin: https://portal.example.ir";

async fn place() -> (Agency, Gateway) {
    let agency = Agency::hello().await;
    let gateway = standard(&agency.url())
        .route(
            "name: shared, agency: registry, match: { prefix: /shared, methods: [GET, PUT] }, require: { level: 2 }, \
             cors: { origins: ['https://portal.example.ir'], headers: [authorization, content-type], credentials: true, max_age: 10m }",
        )
        .start()
        .await;
    (agency, gateway)
}

#[tokio::test]
async fn a_preflight_is_answered_by_the_gateway() {
    let (agency, gateway) = place().await;
    let fields =
        [PORTAL, "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: authorization, content-type"];
    let answer = send(&gateway, request("OPTIONS", "/shared/x", &fields)).await;
    assert!(matches!(answer.status(), 200 | 204), "{:?}", answer.head);
    assert_eq!(answer.head.get("access-control-allow-origin"), Some("https://portal.example.ir"));
    assert_eq!(answer.head.get("access-control-allow-credentials"), Some("true"));
    assert_eq!(answer.head.get("access-control-max-age"), Some("600"));
    let methods = answer.head.get("access-control-allow-methods").expect("methods");
    assert!(methods.contains("PUT") && methods.contains("GET") && !methods.contains("DELETE"), "{methods}");
    let headers = answer.head.get("access-control-allow-headers").expect("headers").to_ascii_lowercase();
    assert!(headers.contains("authorization") && headers.contains("content-type"), "{headers}");
    assert!(answer.head.get("vary").is_some_and(|v| v.to_ascii_lowercase().contains("origin")), "{:?}", answer.head);
    agency.assert_untouched();
}

#[tokio::test]
async fn a_strangers_preflight_is_not_granted() {
    let (agency, gateway) = place().await;
    for origin in ["https://evil.example", "https://portal.example.ir.evil.example", "http://portal.example.ir", "null"]
    {
        let fields = [&format!("Origin: {origin}"), "Access-Control-Request-Method: PUT"];
        let answer = send(&gateway, request("OPTIONS", "/shared", &fields)).await;
        assert!(!answer.head.has("access-control-allow-origin"), "{origin}: {:?}", answer.head);
    }
    agency.assert_untouched();
}

/// SU-6: a script can read the challenge.
#[tokio::test]
async fn a_refusal_can_be_read_by_the_portal() {
    let (_agency, gateway) = place().await;
    for (answer, code) in [
        (send(&gateway, get("/shared", &[PORTAL])).await, "token_missing"),
        (get_with(&gateway, "/shared", &token(1).sign(), &[PORTAL]).await, "level_too_low"),
    ] {
        assert_refused(&answer, 401, code);
        assert_eq!(answer.head.get("access-control-allow-origin"), Some("https://portal.example.ir"));
        assert_eq!(answer.head.get("access-control-allow-credentials"), Some("true"));
        let exposed = answer.head.get("access-control-expose-headers").expect("exposed").to_ascii_lowercase();
        assert!(exposed.contains("www-authenticate"), "{exposed}");
    }
}

#[tokio::test]
async fn an_answer_can_be_read_by_the_portal_alone() {
    let (_agency, gateway) = place().await;
    let token = token(2).sign();
    let ours = get_with(&gateway, "/shared", &token, &[PORTAL]).await;
    assert_passed(&ours);
    assert_eq!(ours.head.get("access-control-allow-origin"), Some("https://portal.example.ir"));
    let other = get_with(&gateway, "/shared", &token, &["Origin: https://evil.example"]).await;
    assert_passed(&other);
    assert!(!other.head.has("access-control-allow-origin"), "{:?}", other.head);
    let none = get_with(&gateway, "/shared", &token, &[]).await;
    assert!(!none.head.has("access-control-allow-origin"));
}

/// Without `cors:`, OPTIONS is a method like others and nothing is granted.
#[tokio::test]
async fn a_route_without_cors_grants_nothing() {
    let (agency, gateway) = place().await;
    let fields = [PORTAL, "Access-Control-Request-Method: GET"];
    let answer = send(&gateway, request("OPTIONS", "/l2", &fields)).await;
    assert_refused(&answer, 401, "token_missing");
    assert!(!answer.head.has("access-control-allow-origin"));
    agency.assert_untouched();
}

/// A default at the top level, and a route that opts out.
#[tokio::test]
async fn cors_can_be_the_default() {
    let agency = Agency::hello().await;
    let gateway = standard(&agency.url())
        .top("cors: { origins: ['*'] }")
        .route("name: shut, agency: registry, match: { prefix: /shut }, require: { level: 0 }, cors: off")
        .start()
        .await;
    let answer = send(&gateway, get("/open", &[PORTAL])).await;
    assert_eq!(answer.head.get("access-control-allow-origin"), Some("*"));
    assert!(!answer.head.has("access-control-allow-credentials"));
    let answer = send(&gateway, get("/shut", &[PORTAL])).await;
    assert!(!answer.head.has("access-control-allow-origin"));
}
