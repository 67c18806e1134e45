//! A gateway with two portals before one agency, and an SSO that it is a client of.

use std::sync::Arc;

use tempfile::TempDir;

use crate::browser::Browser;
use crate::provider::Provider;
use crate::support::agency::Agency;
use crate::support::certs;
use crate::support::gateway::{Gateway, Metrics, directory};
use crate::support::world::{Config, LEVELS};

pub const TEHRAN: &str = "portal.tehran.example";
pub const TAMIN: &str = "tamin.example";

pub struct World {
    pub gateway: Gateway,
    pub sso: Provider,
    pub agency: Agency,
}

pub fn at(host: &str, path: &str) -> String {
    format!("https://{host}{path}")
}

/// How the gateway is a client, in most tests.
pub const CLIENT: &str = "client: { id: gateway, secret: { file: secret }, display_claim: name, claims: [province] }";

pub fn config(sso: &Provider, agency: &Agency, client: &str, agency_keys: &str) -> Config {
    let issuer =
        format!("sso: {{ issuer: '{}', audiences: [api], ca: certs/ca.pem, {LEVELS}, {client} }}", sso.issuer());
    let hosts = format!("hosts: [{TEHRAN}, {TAMIN}]");
    let route = |name: &str, require: &str| {
        format!("name: {name}, agency: registry, match: {{ {hosts}, prefix: /{name} }}, require: {{ {require} }}")
    };
    let tls = "tls: { certificates: [ { cert: portals.pem, key: portals.key } ] }";
    Config::new()
        .top(SESSIONS)
        .listeners(&[&format!("{{ name: public, address: 127.0.0.1:0, {tls} }}")])
        .issuers(&[&issuer])
        .agency_with("registry", &agency.url(), agency_keys)
        .route(&route("open", "level: 0"))
        .route(&route("l1", "level: 1, via: session"))
        .route(&route("l2", "level: 2, via: session"))
        .route(&route("l3", "level: 3, via: session"))
        .route(&route("fresh", "level: 1, via: session, max_age: 5m"))
        .route(&route("scoped", "level: 1, via: session, scopes: [tax.read]"))
        .route(&route("either", "level: 1, via: either"))
}

/// In memory, and without a grace for streams: a test need not wait for it.
pub const SESSIONS: &str = "sessions: { grace: 0s }";
/// In the browser.
pub const IN_COOKIES: &str = "sessions: { store: cookie, keys: [session.key], grace: 0s }";

impl World {
    pub async fn start() -> World {
        World::with(CLIENT, "timeouts: { connect: 5s }", Provider::start().await).await
    }

    pub async fn with(client: &str, agency_keys: &str, sso: Provider) -> World {
        let agency = Agency::hello().await;
        World::before(agency, client, agency_keys, sso).await
    }

    pub async fn before(agency: Agency, client: &str, agency_keys: &str, sso: Provider) -> World {
        World::of(&config(&sso, &agency, client, agency_keys).yaml(), agency, sso).await
    }

    pub async fn of(yaml: &str, agency: Agency, sso: Provider) -> World {
        let gateway = World::gateway(yaml).await;
        World { gateway, sso, agency }
    }

    /// One gateway, with everything that the config names beside it.
    pub async fn gateway(yaml: &str) -> Gateway {
        let dir = beside(yaml);
        let gateway = Gateway::try_start_in(Arc::new(dir)).await;
        let gateway = gateway.unwrap_or_else(|f| panic!("the gateway did not start: {}", f.stderr));
        // Discovery and keys come in the background.
        let loaded = |m: &Metrics| m.sum("darvazeh_jwks_refresh_total", &["outcome=\"ok\""]) > 0.0;
        gateway.metrics_when("keys are there", loaded).await;
        gateway
    }

    pub fn browser(&self) -> Browser {
        Browser::new(&self.gateway)
    }

    /// A browser that logged in at this level.
    pub async fn logged_in(&self, level: u8) -> Browser {
        let mut browser = self.browser();
        let page = browser.go(&at(TEHRAN, &format!("/l{level}"))).await;
        assert_eq!((page.status(), &*page.text()), (200, "hello"));
        browser
    }

    pub async fn logins(&self, outcome: &str) -> f64 {
        self.gateway.metrics().await.sum("darvazeh_logins_total", &[&format!("outcome=\"{outcome}\"")])
    }
}

/// The claims of the assertion that the agency got last.
pub fn assertion(agency: &Agency) -> serde_json::Value {
    let last = agency.last();
    let token = last.head.get("x-gateway-assertion").expect("an assertion").to_owned();
    let payload = token.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&crate::support::sso::unb64(payload)).expect("JSON")
}

/// A directory with this config and everything that it names.
pub fn beside(yaml: &str) -> TempDir {
    let dir = directory(yaml);
    let portals = certs::ca().sign(&[TEHRAN, TAMIN, "portal.evil.example"]);
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("portals.pem", &portals.cert);
    write("portals.key", &portals.key);
    write("secret", "s3cret:+\n");
    write("session.key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
    write("client.key", &rcgen::KeyPair::generate().unwrap().serialize_pem());
    let ours = certs::ca().sign(&["gateway.example"]);
    write("client-cert.pem", &ours.cert);
    write("client-cert.key", &ours.key);
    dir
}
