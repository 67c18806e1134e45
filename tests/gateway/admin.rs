//! The admin listener: is it alive, is it ready, what does it run.

use crate::support::agency::Agency;
use crate::support::client::{get, send};
use crate::support::sso_server::SsoServer;
use crate::support::verdict::assert_refused;
use crate::support::world::{self, standard};

/// Lower-case hexadecimal SHA-256.
fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

#[tokio::test]
async fn a_gateway_that_serves_is_alive_and_ready() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    assert_eq!(gateway.admin("GET", "/livez").await.status(), 200);
    assert_eq!(gateway.admin("GET", "/readyz").await.status(), 200);
    assert_eq!(gateway.admin("HEAD", "/readyz").await.status(), 200);
    assert_eq!(gateway.admin("GET", "/nothing").await.status(), 404);
    assert_eq!(gateway.admin("DELETE", "/livez").await.status(), 405);
}

#[tokio::test]
async fn a_gateway_without_keys_is_alive_and_not_ready() {
    let agency = Agency::hello().await;
    let sso = SsoServer::gone().await;
    let keys = format!("jwks: {{ uri: {} }}, ca: certs/ca.pem", sso.jwks_uri());
    let gateway = standard(&agency.url()).issuers(&[&world::issuer("sso", &keys)]).start().await;
    assert_eq!(gateway.admin("GET", "/livez").await.status(), 200);
    assert_eq!(gateway.admin("GET", "/readyz").await.status(), 503);
}

#[tokio::test]
async fn config_says_what_runs_with_its_hash() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    let hash = sha256(&std::fs::read(gateway.config_file()).expect("our own file"));
    let answer = gateway.admin("GET", "/config").await;
    assert_eq!(answer.status(), 200);
    let config = answer.json();
    assert_eq!(config["sha256"], hash.as_str(), "{config}");
    let text = config.to_string();
    for name in ["registry", "public", "sso", "l3"] {
        assert!(text.contains(name), "{name}: {text}");
    }
    assert!(!text.contains("PRIVATE KEY"));
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("darvazeh_config_info", &[&format!("sha256=\"{hash}\"")]), 1.0, "{}", metrics.0);
}

#[tokio::test]
async fn agencies_lists_endpoints() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    let answer = gateway.admin("GET", "/agencies").await.json();
    let first = &answer["agencies"][0];
    assert_eq!(first["name"], "registry", "{answer}");
    let endpoint = &first["endpoints"][0];
    assert_eq!(endpoint["url"], agency.url().as_str(), "{answer}");
    assert_eq!((&endpoint["healthy"], &endpoint["ejected"]), (&true.into(), &false.into()), "{answer}");
    assert_eq!(endpoint["in_flight"], 0, "{answer}");
}

/// The admin pages are on the admin listener alone.
#[tokio::test]
async fn callers_do_not_reach_the_admin_pages() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    for path in ["/metrics", "/config", "/agencies", "/readyz", "/livez", "/reload", "/.gateway/config"] {
        assert_refused(&send(&gateway, get(path, &[])).await, 404, "route_unknown");
    }
    agency.assert_untouched();
}
