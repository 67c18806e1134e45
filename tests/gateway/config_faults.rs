//! A config that must not run does not: exit status 1, and words that lead to the line.

use std::process::{Command, Output};

use crate::support::gateway::directory;
use crate::support::sso_server::SsoServer;
use crate::support::world::{self, Config, TLS, standard};

const NOWHERE: &str = "http://127.0.0.1:9";

/// `run` ends with 1 and says these words on standard error.
async fn fails_with(config: Config, words: &[&str]) {
    let failed = config.fails().await;
    assert_eq!(failed.status.code(), Some(1), "{}", failed.stderr);
    for word in words {
        assert!(failed.stderr.contains(word), "{word:?} in:\n{}", failed.stderr);
    }
    assert!(!failed.stderr.contains("PRIVATE KEY"));
}

#[tokio::test]
async fn an_unknown_agency_is_a_fault_that_names_the_nearest() {
    fails_with(standard(NOWHERE).simple("x", "registri", 1), &["registri", "registry", "routes.yaml"]).await;
}

#[tokio::test]
async fn an_unknown_key_is_a_fault_that_names_the_nearest() {
    let route = "name: x, agency: registry, match: { prefix: /x }, requires: { level: 1 }";
    fails_with(standard(NOWHERE).route(route), &["requires", "require"]).await;
    fails_with(standard(NOWHERE).top("worker: 2"), &["worker", "workers"]).await;
}

/// AS-3: no level is a fault, never "open".
#[tokio::test]
async fn as3_a_route_without_a_requirement_is_a_fault() {
    fails_with(standard(NOWHERE).route("name: x, agency: registry, match: { prefix: /x }"), &["require"]).await;
    fails_with(standard(NOWHERE).route("name: x, agency: registry, match: { prefix: /x }, require: {}"), &["level"])
        .await;
    fails_with(standard(NOWHERE).simple("x", "registry", 4), &["level"]).await;
}

#[tokio::test]
async fn two_routes_that_tie_are_a_fault() {
    let tie = standard(NOWHERE)
        .route("name: x, agency: registry, match: { path: '/x/{id}' }, require: { level: 1 }")
        .route("name: y, agency: registry, match: { path: '/x/{name}' }, require: { level: 0 }");
    fails_with(tie, &["x", "y"]).await;
}

#[tokio::test]
async fn a_name_used_twice_is_a_fault() {
    fails_with(standard(NOWHERE).simple("l1", "registry", 1), &["l1"]).await;
}

/// Contract section 5: a level that the issuer can never give.
#[tokio::test]
async fn a_level_that_nobody_can_have_is_a_fault() {
    let capped = world::issuer("sso", "jwks: { file: certs/sso.jwks.json }, max_level: 2");
    fails_with(standard(NOWHERE).issuers(&[&capped]), &["l3"]).await;
}

#[tokio::test]
async fn an_open_route_with_scopes_or_a_rate_by_subject_is_a_fault() {
    let scopes = "name: x, agency: registry, match: { prefix: /x }, require: { level: 0, scopes: [a] }";
    fails_with(standard(NOWHERE).route(scopes), &["scopes"]).await;
    let rate = "name: x, agency: registry, match: { prefix: /x }, require: { level: 0 }, \
                limits: { rate: { requests: 1, per: 1m, by: subject } }";
    fails_with(standard(NOWHERE).route(rate), &["subject"]).await;
}

/// A CA that is missing or empty is never "no client certificates, then".
#[tokio::test]
async fn a_client_ca_that_is_not_there_is_a_fault() {
    let tls = TLS.replace("tls: {", "tls: { client_ca: certs/none.pem, client_auth: required,");
    let listener = format!("{{ name: public, address: 127.0.0.1:0, {tls} }}");
    fails_with(standard(NOWHERE).listeners(&[&listener]), &["none.pem"]).await;
    let dir = directory(&standard(NOWHERE).listeners(&[&listener]).yaml());
    std::fs::write(dir.path().join("certs/none.pem"), "").expect("our own directory");
    let failed = crate::support::gateway::Gateway::try_start_in(std::sync::Arc::new(dir)).await.err().expect("a fault");
    assert_eq!(failed.status.code(), Some(1), "{}", failed.stderr);
}

#[tokio::test]
async fn a_key_that_does_not_fit_its_certificate_is_a_fault() {
    let dir = directory(&standard(NOWHERE).yaml());
    let other = crate::support::certs::ca().sign(&["x.example.ir"]);
    std::fs::write(dir.path().join("certs/gateway.key"), other.key).expect("our own directory");
    let failed = crate::support::gateway::Gateway::try_start_in(std::sync::Arc::new(dir)).await.err().expect("a fault");
    assert_eq!(failed.status.code(), Some(1), "{}", failed.stderr);
}

/// None usable is a fault for a file, for nobody will mend it by waiting.
#[tokio::test]
async fn a_key_file_without_usable_keys_is_a_fault() {
    for text in ["{\"keys\":[]}", "nonsense", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}]}"] {
        let dir = directory(&standard(NOWHERE).yaml());
        std::fs::write(dir.path().join("certs/sso.jwks.json"), text).expect("our own directory");
        let failed =
            crate::support::gateway::Gateway::try_start_in(std::sync::Arc::new(dir)).await.err().expect("a fault");
        assert_eq!(failed.status.code(), Some(1), "{}", failed.stderr);
    }
}

/// JB-2: what must never be allowed cannot be configured.
#[tokio::test]
async fn jb2_none_and_hmac_cannot_be_configured() {
    for alg in ["none", "HS256", "hs512"] {
        let issuer =
            world::issuer("sso", &format!("jwks: {{ file: certs/sso.jwks.json }}, algorithms: [ES256, {alg}]"));
        fails_with(standard(NOWHERE).issuers(&[&issuer]), &[alg]).await;
    }
}

/// All faults at once, not the first alone.
#[tokio::test]
async fn every_fault_is_named_in_one_pass() {
    let config = standard(NOWHERE)
        .simple("a", "nobody", 1)
        .route("name: b, agency: registry, match: { prefix: /b/../c }, require: { level: 1 }")
        .route("name: c, agency: registry, match: { path: '/c/{id}/{id}' }, require: { level: 7 }");
    fails_with(config, &["nobody", "/b/../c", "id", "7"]).await;
}

/// A port that is taken is a start that fails.
#[tokio::test]
async fn an_address_that_is_taken_fails_the_start() {
    let taken = SsoServer::start().await;
    let listener = format!("{{ name: public, address: '{}', {TLS} }}", taken.address);
    let failed = standard(NOWHERE).listeners(&[&listener]).fails().await;
    assert_eq!(failed.status.code(), Some(1), "{}", failed.stderr);
    assert!(failed.stderr.contains(&taken.address.port().to_string()), "{}", failed.stderr);
}

fn check(yaml: &str) -> Output {
    let dir = directory(yaml);
    Command::new(env!("CARGO_BIN_EXE_darvazeh"))
        .args(["check", "--format", "json", "--config"])
        .arg(dir.path().join("routes.yaml"))
        .output()
        .expect("the binary can be run")
}

/// `check` says the same as `run`, for machines.
#[test]
fn check_lists_faults_as_json() {
    let good = check(&standard(NOWHERE).yaml());
    assert_eq!(good.status.code(), Some(0), "{}", String::from_utf8_lossy(&good.stderr));
    let bad = check(&standard(NOWHERE).simple("x", "registri", 1).yaml());
    assert_eq!(bad.status.code(), Some(1));
    let faults: serde_json::Value = serde_json::from_slice(&bad.stdout).expect("JSON on standard output");
    let all = faults["faults"].as_array().expect("faults");
    let fault = all.iter().find(|f| f["message"].as_str().is_some_and(|m| m.contains("registri"))).expect("the fault");
    for member in ["code", "severity", "message", "file", "line", "column", "path", "remedy"] {
        assert!(!fault[member].is_null(), "{member}: {fault}");
    }
    assert!(fault["line"].as_u64().is_some_and(|l| l > 1));
}
