//! What an agency is told of the caller: a signed assertion, two fields, the token itself, or nothing (PV-1, PV-2, PV-3).

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::Value;

use crate::support::agency::Agency;
use crate::support::client::{bearer, get, get_with, send};
use crate::support::gateway::Gateway;
use crate::support::sso::unb64;
use crate::support::token::{acr, now, token};
use crate::support::verdict::assert_passed;
use crate::support::wire::Head;
use crate::support::world::{self, Config, standard_with};

/// Checks an assertion's signature with the published keys, as an agency would; its header and claims.
async fn verified(gateway: &Gateway, assertion: &str) -> (Value, Value) {
    let jwks = send(gateway, get("/.gateway/jwks.json", &[])).await;
    assert_eq!(jwks.status(), 200);
    assert!(!jwks.head.has("x-gateway-error"));
    let jwks = jwks.json();
    let (input, signature) = assertion.rsplit_once('.').expect("a JWS");
    let (header, claims) = input.split_once('.').expect("a JWS");
    let header: Value = serde_json::from_slice(&unb64(header)).expect("JSON");
    let keys = jwks["keys"].as_array().expect("keys");
    let key = keys.iter().find(|k| k["kid"] == header["kid"]).expect("the key is published");
    assert_eq!((&header["alg"], &key["kty"], &key["crv"]), (&"ES256".into(), &"EC".into(), &"P-256".into()));
    assert!(key.get("d").is_none(), "the private half is not published");
    let mut point = vec![4];
    point.extend(unb64(key["x"].as_str().expect("x")));
    point.extend(unb64(key["y"].as_str().expect("y")));
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(input.as_bytes(), &unb64(signature))
        .expect("the signature is good");
    (header, serde_json::from_slice(&unb64(claims)).expect("JSON"))
}

fn assertion(head: &Head) -> String {
    head.get("x-gateway-assertion").unwrap_or_else(|| panic!("no assertion: {head:?}")).to_owned()
}

#[tokio::test]
async fn an_assertion_is_signed_and_says_who_at_what_level() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    let token = token(2).subject("citizen-9").authenticated(120).sign();
    assert_passed(&get_with(&gateway, "/l1/x", &token, &[]).await);
    let seen = agency.only().head;
    let (_, claims) = verified(&gateway, &assertion(&seen)).await;
    assert_eq!((&claims["aud"], &claims["acr"], &claims["level"]), (&"registry".into(), &acr(2).into(), &2.into()));
    let (iat, exp) = (claims["iat"].as_i64().expect("iat"), claims["exp"].as_i64().expect("exp"));
    assert!((now() - iat).abs() <= 5 && exp > iat && exp - iat <= 60, "{claims}");
    assert!((claims["auth_time"].as_i64().expect("auth_time") - (now() - 120)).abs() <= 5);
    for claim in ["iss", "sub", "jti"] {
        assert!(claims[claim].as_str().is_some_and(|s| !s.is_empty()), "{claim}");
    }
    assert!(!claims.to_string().contains("citizen-9"), "PV-1: the subject is pairwise");
    assert!(!seen.has("x-gateway-subject") && !seen.has("authorization"));
}

#[tokio::test]
async fn every_assertion_has_its_own_jti() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    let token = token(2).sign();
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..5 {
        assert_passed(&get_with(&gateway, "/l2", &token, &[]).await);
        ids.insert(verified(&gateway, &assertion(&agency.last().head)).await.1["jti"].to_string());
    }
    assert_eq!(ids.len(), 5);
}

/// PV-1: two agencies never see the same id; one agency always does, across tokens and restarts.
#[tokio::test]
async fn pv1_the_subject_is_pairwise_and_lasting() {
    let (a, b) = (Agency::hello().await, Agency::hello().await);
    let mut gateway = Config::new()
        .agency("first", &a.url())
        .agency("second", &b.url())
        .simple("a", "first", 1)
        .simple("b", "second", 1)
        .start()
        .await;
    let subject = async |gateway: &Gateway, path: &str, agency: &Agency, sub: &str| {
        assert_passed(&get_with(gateway, path, &token(1).subject(sub).sign(), &[]).await);
        verified(gateway, &assertion(&agency.last().head)).await.1["sub"].as_str().expect("sub").to_owned()
    };
    let first = subject(&gateway, "/a", &a, "citizen-1").await;
    assert_eq!(subject(&gateway, "/a", &a, "citizen-1").await, first);
    assert_ne!(subject(&gateway, "/a", &a, "citizen-2").await, first);
    assert_ne!(subject(&gateway, "/b", &b, "citizen-1").await, first);
    gateway = gateway.restart().await;
    assert_eq!(subject(&gateway, "/a", &a, "citizen-1").await, first, "state_dir keeps the pairwise key");
}

/// An agency that holds yesterday's keys can still read today's assertions.
#[tokio::test]
async fn the_assertion_key_survives_a_restart() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    let before = send(&gateway, get("/.gateway/jwks.json", &[])).await.json();
    let gateway = gateway.restart().await;
    let after = send(&gateway, get("/.gateway/jwks.json", &[])).await.json();
    assert_eq!(before, after);
}

/// No other user of the machine can read the keys.
#[cfg(unix)]
#[tokio::test]
async fn the_keys_in_the_state_directory_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    assert_passed(&get_with(&gateway, "/l1", &token(1).sign(), &[]).await);
    let state = std::fs::read_dir(gateway.path().join("var")).expect("state_dir is made");
    for entry in state.map(|e| e.expect("readable")) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = std::fs::read(entry.path()).unwrap_or_default();
        let public = name.contains("jwks");
        let mode = entry.metadata().expect("readable").permissions().mode();
        assert!(public || mode & 0o077 == 0, "{name}: {mode:o}");
        assert!(!(public && String::from_utf8_lossy(&text).contains("PRIVATE")));
    }
}

#[tokio::test]
async fn headers_say_subject_and_level() {
    let agency = Agency::hello().await;
    let gateway = standard_with(&agency.url(), "identity: headers").start().await;
    let answer = get_with(&gateway, "/l2", &token(3).subject("citizen-9").sign(), &["X-Gateway-Level: 1"]).await;
    assert_passed(&answer);
    let seen = agency.only().head;
    assert_eq!(seen.get("x-gateway-level"), Some("3"));
    let subject = seen.get("x-gateway-subject").expect("X-Gateway-Subject");
    assert!(!subject.is_empty() && !seen.has("x-gateway-assertion"));
}

#[tokio::test]
async fn none_says_nothing() {
    let agency = Agency::hello().await;
    let gateway = standard_with(&agency.url(), "identity: none").start().await;
    assert_passed(&get_with(&gateway, "/l2", &token(3).sign(), &[]).await);
    let seen = agency.only().head;
    assert!(!seen.fields.iter().any(|(n, _)| n.starts_with("x-gateway-") || n == "authorization"), "{seen:?}");
}

/// Where the agency takes tokens, it gets the very token.
#[tokio::test]
async fn token_forwards_the_authorization_as_it_came() {
    let agency = Agency::hello().await;
    let gateway = standard_with(&agency.url(), "identity: token").start().await;
    let token = token(2).sign();
    assert_passed(&send(&gateway, get("/l2", &[&bearer(&token)])).await);
    let seen = agency.only().head;
    assert_eq!(seen.get("authorization"), Some(format!("Bearer {token}").as_str()));
    assert!(!seen.has("x-gateway-assertion"));
}

/// On level 0 nobody was asked who they are, so nothing is asserted of them.
#[tokio::test]
async fn an_open_route_asserts_no_subject() {
    let agency = Agency::hello().await;
    for identity in ["assertion", "headers", "token"] {
        let gateway = standard_with(&agency.url(), &format!("identity: {identity}")).start().await;
        assert_passed(&get_with(&gateway, "/open", &token(3).sign(), &[]).await);
        let seen = agency.last().head;
        assert!(!seen.has("authorization") && !seen.has("x-gateway-subject"), "{identity}: {seen:?}");
        if let Some(assertion) = seen.get("x-gateway-assertion") {
            let (_, claims) = verified(&gateway, assertion).await;
            assert_eq!(claims["level"], 0);
            assert!(claims.get("sub").is_none_or(Value::is_null), "{claims}");
        }
    }
}
