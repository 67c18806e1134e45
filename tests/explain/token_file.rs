//! `--token-file`: what each check of a token finds.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::support::*;

fn judged(dir: &Path, token: &str) -> (Value, i32) {
    fs::write(dir.join("token"), token).expect("a file in our own directory");
    json_of(dir, &["GET", "https://api.example.ir/insurance/x", "--token-file", "token"])
}

fn failed(said: &Value) -> Vec<&str> {
    let checks = said["checks"].as_array().into_iter().flatten();
    checks.filter(|c| c["outcome"] == "failed").filter_map(|c| c["check"].as_str()).collect()
}

#[test]
fn a_good_token_passes_every_check() {
    let dir = directory(NOWHERE, "");
    for text in [token(2), format!("Bearer {}\n", token(3))] {
        let (said, exit) = judged(dir.path(), &text);
        assert_eq!((&said["decision"], exit), (&json!("forward"), 0), "{said:#}");
        assert!(failed(&said).is_empty());
    }
    let (said, _) = judged(dir.path(), &token(2));
    let checks: Vec<_> = said["checks"].as_array().unwrap().iter().map(|c| c["check"].as_str().unwrap()).collect();
    for check in
        ["shape", "typ", "alg", "kid", "key", "signature", "iss", "aud", "exp", "nbf", "level", "age", "scopes"]
    {
        assert!(checks.contains(&check), "{check}");
    }
}

/// AT-3, AT-4, AT-6
#[test]
fn each_fault_of_a_token_is_named() {
    let dir = directory(NOWHERE, "");
    for (token, check, code) in [
        (sign(&KEY, &with(claims(2), "exp", now() - 3600)), "exp", "token_invalid"),
        (sign(&KEY, &with(claims(2), "nbf", now() + 3600)), "nbf", "token_invalid"),
        (sign(&KEY, &with(claims(2), "iss", "https://other")), "iss", "token_invalid"),
        (sign(&KEY, &with(claims(2), "aud", "https://other")), "aud", "token_invalid"),
        (sign(&new_key(), &claims(2)), "signature", "token_invalid"),
        (token(1), "level", "level_too_low"),
        (sign(&KEY, &with(claims(2), "acr", 2)), "level", "level_too_low"),
        (sign(&KEY, &with(claims(2), "scope", "other")), "scopes", "scope_missing"),
        ("abc.def".to_owned(), "shape", "token_invalid"),
        ("a b".to_owned(), "shape", "credentials_malformed"),
    ] {
        let (said, exit) = judged(dir.path(), &token);
        assert_eq!((failed(&said), exit), (vec![check], 3), "{said:#}");
        assert_eq!(said["code"], code, "{check}");
    }
}

#[test]
fn all_that_is_wrong_is_found_at_once() {
    let dir = directory(NOWHERE, "");
    let claims = with(with(claims(1), "exp", 0), "aud", "other");
    let (said, _) = judged(dir.path(), &sign(&new_key(), &claims));
    assert_eq!(failed(&said), ["aud", "exp", "signature", "level"]);
}

#[test]
fn the_tree_lists_the_checks() {
    let dir = directory(NOWHERE, "");
    fs::write(dir.path().join("token"), token(1)).unwrap();
    let (text, exit) = explained(dir.path(), &["GET", "https://api.example.ir/insurance/x", "--token-file", "token"]);
    assert_eq!(exit, 3);
    for line in ["ok   signature  it is the key's\n", "FAIL level      `acr` stands for level 1, and 2 is asked\n"] {
        assert!(text.contains(line), "`{line}` in\n{text}");
    }
}

/// An SSO that cannot be reached is not asked: the keys that an earlier run kept count, and without any, none do.
#[test]
fn keys_are_never_fetched() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let keys = format!("{{ uri: \"http://{}/jwks\" }}", listener.local_addr().unwrap());
    let dir = directory_with(NOWHERE, &keys, "");
    let (said, exit) = judged(dir.path(), &token(2));
    assert_eq!((&said["code"], &said["status"], exit), (&json!("keys_unavailable"), &json!(503), 3));
    assert_eq!(failed(&said), ["key"]);

    let jwks: Value = serde_json::from_slice(&fs::read(dir.path().join("jwks.json")).unwrap()).unwrap();
    fs::create_dir(dir.path().join("var")).unwrap();
    let kept = json!({ "issuer": "https://sso.example.ir", "fetched_at": now() - 60, "jwks": jwks });
    fs::write(dir.path().join("var/keys-sso.json"), kept.to_string()).unwrap();
    assert_eq!(judged(dir.path(), &token(2)).1, 0);
    let (said, _) = judged(dir.path(), &sign(&new_key(), &claims(2)));
    assert_eq!(failed(&said), ["signature"]);
    assert!(listener.accept().is_err(), "somebody asked the SSO");
}
