//! Levels of assurance: what a claim value is worth, and how a caller learns what is missing (RFC 9470).

use serde_json::json;

use crate::support::agency::Agency;
use crate::support::client::{get_with, send};
use crate::support::token::{acr, now, token};
use crate::support::verdict::{assert_challenged, assert_passed, assert_refused};
use crate::support::world::{self, Config, standard};

const STEP_UP: &str = "insufficient_user_authentication";

#[tokio::test]
async fn each_level_reaches_its_own_routes_and_those_below() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    for has in 0..=3u8 {
        let token = if has == 0 { token(1).without("acr").sign() } else { token(has).sign() };
        for needs in 1..=3u8 {
            let answer = get_with(&gateway, &format!("/l{needs}"), &token, &[]).await;
            if has >= needs {
                assert_passed(&answer);
            } else {
                assert_challenged(&answer, 401, "level_too_low", STEP_UP);
            }
        }
    }
    assert_eq!(agency.seen().len(), 6);
}

/// AS-10, RFC 9470 §3: all values that satisfy the route, lowest sufficient first, whatever their order in the file.
#[tokio::test]
async fn as10_the_challenge_lists_every_sufficient_value_lowest_first() {
    let agency = Agency::hello().await;
    let issuer = r#"sso: { issuer: https://sso.example.ir, audiences: [https://api.example.ir], jwks: { file: certs/sso.jwks.json },
      levels: { claim: acr, values: { "urn:x:gold": 3, "urn:example:level:1": 1, "urn:x:silver": 2, "LOA=2;b": 2 } } }"#;
    let gateway = standard(&agency.url()).issuers(&[issuer]).start().await;
    let token = token(1).sign();
    let low = get_with(&gateway, "/l2", &token, &[]).await;
    let challenge = assert_challenged(&low, 401, "level_too_low", STEP_UP);
    assert_eq!(challenge.get("acr_values"), Some("urn:x:silver LOA=2;b urn:x:gold"));
    assert_eq!(challenge.get("max_age"), None);
    let lower = get_with(&gateway, "/l3", &token, &[]).await;
    assert_eq!(assert_challenged(&lower, 401, "level_too_low", STEP_UP).get("acr_values"), Some("urn:x:gold"));
    agency.assert_untouched();
}

/// AS-1: exact, case-sensitive equality.
#[tokio::test]
async fn as1_a_claim_value_is_compared_exactly() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    for value in ["URN:EXAMPLE:LEVEL:3", "urn:example:level:3 ", "urn:example:level:33", "urn:example:level", "3"] {
        let answer = get_with(&gateway, "/l1", &token(1).claim("acr", value).sign(), &[]).await;
        assert_challenged(&answer, 401, "level_too_low", STEP_UP);
    }
    agency.assert_untouched();
}

/// AS-2: what is missing, unknown or no string is level 0, never 1.
#[tokio::test]
async fn as2_an_unknown_value_is_level_zero() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    for value in
        [json!("urn:example:level:9"), json!("0"), json!(3), json!([acr(3)]), json!(null), json!({"a": 1}), json!("")]
    {
        let answer = get_with(&gateway, "/l1", &token(1).claim("acr", value.clone()).sign(), &[]).await;
        let challenge = assert_challenged(&answer, 401, "level_too_low", STEP_UP);
        assert_eq!(challenge.get("acr_values"), Some(format!("{} {} {}", acr(1), acr(2), acr(3)).as_str()), "{value}");
    }
    agency.assert_untouched();
}

/// AS-6: an issuer never exceeds its cap.
#[tokio::test]
async fn as6_an_issuer_is_capped() {
    let agency = Agency::hello().await;
    let issuer = world::issuer("sso", "jwks: { file: certs/sso.jwks.json }, max_level: 2");
    let gateway = Config::new()
        .issuers(&[&issuer])
        .agency_with("registry", &agency.url(), "identity: headers")
        .simple("l2", "registry", 2)
        .simple("l1", "registry", 1)
        .start()
        .await;
    assert_passed(&get_with(&gateway, "/l2", &token(3).sign(), &[]).await);
    assert_eq!(agency.only().head.get("x-gateway-level"), Some("2"));
}

/// A level may stand in another claim than `acr`.
#[tokio::test]
async fn the_level_claim_is_the_issuers_choice() {
    let agency = Agency::hello().await;
    let issuer = r#"sso: { issuer: https://sso.example.ir, audiences: [https://api.example.ir], jwks: { file: certs/sso.jwks.json },
      levels: { claim: assurance, values: { basic: 1, high: 3 } } }"#;
    let gateway = standard(&agency.url()).issuers(&[issuer]).start().await;
    assert_passed(&get_with(&gateway, "/l3", &token(1).claim("assurance", "high").sign(), &[]).await);
    let answer = get_with(&gateway, "/l3", &token(3).sign(), &[]).await;
    assert_challenged(&answer, 401, "level_too_low", STEP_UP);
}

/// AS-7: `auth_time` counts, not `iat`; the skew counts for it.
#[tokio::test]
async fn as7_an_old_authentication_is_refused_where_a_fresh_one_is_asked() {
    let agency = Agency::hello().await;
    let gateway = standard(&agency.url())
        .route("name: fresh, agency: registry, match: { prefix: /fresh }, require: { level: 2, max_age: 5m }")
        .start()
        .await;
    let ask = async |token: String| get_with(&gateway, "/fresh", &token, &[]).await;
    assert_passed(&ask(token(2).authenticated(200).sign()).await);
    assert_passed(&ask(token(2).authenticated(310).sign()).await);
    let passed = agency.seen().len();
    let old = [
        token(2).authenticated(400).sign(),
        token(2).claim("iat", now()).without("auth_time").sign(),
        token(2).claim("auth_time", "yesterday").sign(),
        token(2).claim("auth_time", json!(null)).sign(),
    ];
    for token in old {
        let challenge = assert_challenged(&ask(token).await, 401, "authentication_too_old", STEP_UP);
        assert_eq!(challenge.get("max_age"), Some("300"));
    }
    assert_eq!(agency.seen().len(), passed);
}

/// SU-5: a token is validated whole before anything is said of levels.
#[tokio::test]
async fn su5_a_bad_token_learns_nothing_of_the_policy() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    let expired = token(1).claim("exp", now() - 1000).sign();
    let challenge =
        assert_challenged(&get_with(&gateway, "/l3", &expired, &[]).await, 401, "token_invalid", "invalid_token");
    assert_eq!((challenge.get("acr_values"), challenge.get("max_age")), (None, None));
}

/// BE-8: level before scope, both after the token.
#[tokio::test]
async fn be8_refusals_come_in_their_order() {
    let agency = Agency::hello().await;
    let gateway = standard(&agency.url())
        .route(
            "name: both, agency: registry, match: { prefix: /both, methods: [GET] }, \
             require: { level: 3, scopes: [x], max_age: 1m }, limits: { body: 10B }",
        )
        .start()
        .await;
    let ask = async |token: String| get_with(&gateway, "/both", &token, &[]).await;
    let weak = token(2).scope("y").authenticated(600);
    assert_challenged(&ask(weak.sign()).await, 401, "level_too_low", STEP_UP);
    assert_challenged(
        &ask(token(3).scope("y").authenticated(600).sign()).await,
        401,
        "authentication_too_old",
        STEP_UP,
    );
    assert_challenged(
        &ask(token(3).scope("y").authenticated(5).sign()).await,
        403,
        "scope_missing",
        "insufficient_scope",
    );
    assert_passed(&ask(token(3).scope("x").authenticated(5).sign()).await);
    // Method and path before credentials, framing before all.
    assert_refused(
        &send(&gateway, crate::support::client::request("PUT", "/both", &[])).await,
        405,
        "method_not_allowed",
    );
    assert_refused(&send(&gateway, crate::support::client::get("/both/%2e%2e/x", &[])).await, 400, "path_ambiguous");
}

/// A route on level 0 looks at no credentials, good or bad.
#[tokio::test]
async fn an_open_route_ignores_credentials_and_does_not_forward_them() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    assert_passed(&get_with(&gateway, "/open", "garbage", &[]).await);
    assert_passed(&get_with(&gateway, "/open?access_token=abc", &token(2).sign(), &[]).await);
    assert!(agency.seen().iter().all(|request| !request.head.has("authorization")));
}

/// Two issuers: a route belongs to one, and the other's tokens do not open it.
#[tokio::test]
async fn a_route_trusts_its_own_issuer_alone() {
    let agency = Agency::hello().await;
    let other = r#"other: { issuer: https://other.example.ir, audiences: [https://api.example.ir],
      jwks: { file: certs/sso.jwks.json }, levels: { claim: acr, values: { "urn:example:level:2": 3 } } }"#;
    let gateway = Config::new()
        .issuers(&[&world::issuer("sso", "jwks: { file: certs/sso.jwks.json }"), other])
        .agency("registry", &agency.url())
        .route("name: a, agency: registry, match: { prefix: /a }, require: { level: 2, issuer: sso }")
        .route("name: b, agency: registry, match: { prefix: /b }, require: { level: 3, issuer: other }")
        .start()
        .await;
    let theirs = token(2).claim("iss", "https://other.example.ir").sign();
    assert_passed(&get_with(&gateway, "/a", &token(2).sign(), &[]).await);
    assert_passed(&get_with(&gateway, "/b", &theirs, &[]).await);
    assert_challenged(&get_with(&gateway, "/a", &theirs, &[]).await, 401, "token_invalid", "invalid_token");
    assert_challenged(&get_with(&gateway, "/b", &token(3).sign(), &[]).await, 401, "token_invalid", "invalid_token");
}
