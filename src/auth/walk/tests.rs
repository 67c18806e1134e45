use http::{HeaderValue, header};
use serde_json::json;

use super::*;
use crate::auth::admit;
use crate::auth::testing::*;
use crate::auth::{Requirement, TokenCache};
use crate::clock::Clock;
use crate::fields::Fields;
use crate::words::Level;

/// The walk, and what `admit` says of the same token.
async fn both(token: &str, change: impl FnOnce(&mut Requirement)) -> (Vec<Finding>, Result<(), Denied>) {
    let directory = tempfile::tempdir().unwrap();
    let issuer = issuer_in(directory.path());
    let mut requirement = requirement(&issuer, Level::TWO);
    change(&mut requirement);
    let walked = walk(token.as_bytes(), &requirement, &issuer, NOW).await;
    let mut headers = Fields::new();
    headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
    let cache = TokenCache::new(16, Default::default());
    let admitted = admit(&requirement, &headers, None, None, &cache, &Clock::scripted(NOW)).await;
    (walked, admitted.map(|_| ()))
}

fn outcome(findings: &[Finding], check: &str) -> Outcome {
    findings.iter().find(|f| f.check == check).expect("every check has a finding").outcome
}

#[tokio::test]
async fn a_good_token_passes_every_check() {
    let (walked, admitted) = both(&rs256(&claims()), |_| {}).await;
    assert_eq!(admitted, Ok(()));
    assert_eq!(walked.iter().map(|f| f.check).collect::<Vec<_>>(), ORDER);
    assert!(walked.iter().all(|f| f.outcome == Outcome::Passed), "{walked:?}");
}

#[tokio::test]
async fn the_first_check_that_fails_is_the_answer() {
    let header = |header: &str| rs256_raw(header, &claims().to_string());
    let with = |name: &str, value| rs256(&claims_with(name, value));
    for (token, first) in [
        ("a.b".to_owned(), "shape"),
        ("a b".to_owned(), "shape"),
        ("!.e.f".to_owned(), "shape"),
        ("e30x.e30.e30".to_owned(), "header"),
        (header(r#"{"alg":"RS256","crit":[]}"#), "crit"),
        (header(r#"{"alg":"none"}"#), "alg"),
        (header(r#"{"alg":"RS256","typ":"logout+jwt"}"#), "typ"),
        (header(r#"{"alg":"RS256","kid":7}"#), "kid"),
        (rs256_raw(r#"{"alg":"RS256"}"#, "[]"), "claims"),
        (with("iss", json!("https://other")), "iss"),
        (with("aud", json!([])), "aud"),
        (with("exp", json!(NOW - 3600)), "exp"),
        (with("exp", json!(null)), "exp"),
        (with("nbf", json!(NOW + 3600)), "nbf"),
        (with("iat", json!(NOW + 3600)), "iat"),
        (with("auth_time", json!(NOW + 3600)), "iat"),
        (with("sub", json!("")), "sub"),
        (with("nonce", json!("n")), "nonce"),
        (with("azp", json!("0012345678")), "client_id"),
        (with("jti", json!(1)), "jti"),
        (header(r#"{"alg":"RS256","kid":"other"}"#), "key"),
        (es256(&ec_key(), "ec", &claims()), "signature"),
        (with("acr", json!("urn:example:level:1")), "level"),
        (with("acr", json!(2)), "level"),
        (with("auth_time", json!(null)), "age"),
        (with("scope", json!("openid")), "scopes"),
    ] {
        let (walked, admitted) = both(&token, |requirement| {
            requirement.max_age = Some(std::time::Duration::from_secs(900));
            requirement.scopes = vec!["insurance.read".to_owned()];
        })
        .await;
        let failed = walked.iter().find(|f| f.outcome == Outcome::Failed).expect("a check fails");
        assert_eq!(failed.check, first, "{walked:?}");
        match admitted.expect_err(first) {
            Denied::TokenInvalid { description } if first != "key" => assert_eq!(failed.note, description),
            Denied::CredentialsMalformed { description } => assert_eq!(failed.note, description),
            _ => {}
        }
    }
}

#[tokio::test]
async fn what_comes_after_a_failure_is_still_looked_at() {
    let (walked, _) = both(&es256(&ec_key(), "ec", &claims_with("exp", json!(0))), |_| {}).await;
    for (check, wanted) in
        [("exp", Outcome::Failed), ("signature", Outcome::Failed), ("aud", Outcome::Passed), ("level", Outcome::Passed)]
    {
        assert_eq!(outcome(&walked, check), wanted, "{check}");
    }
    let (walked, _) = both("a.b", |_| {}).await;
    assert_eq!((outcome(&walked, "alg"), outcome(&walked, "scopes")), (Outcome::NotReached, Outcome::NotReached));
}

/// PV-4
#[tokio::test]
async fn no_finding_repeats_what_the_token_says() {
    let claims = json!({
        "iss": "canary-iss", "aud": "canary-aud", "sub": "canary-sub", "acr": "canary-acr", "scope": "canary-scope",
        "exp": NOW + 7777, "azp": "canary-azp", "jti": "canary-jti"
    });
    let token = rs256_raw(r#"{"alg":"canary-alg","typ":"canary-typ","kid":"canary-kid"}"#, &claims.to_string());
    let (walked, _) = both(&token, |_| {}).await;
    let shown = format!("{walked:?}");
    assert!(!shown.contains("canary") && !shown.contains("7777"), "{shown}");
    assert!(token.split('.').all(|part| !shown.contains(part)), "{shown}");
}
