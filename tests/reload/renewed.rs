//! Certificates, keys and CAs that change on disk: taken up by themselves, whatever the state of the configuration.

use crate::support::agency::Agency;
use crate::support::certs::{Authority, Pair, Trust, ca, client_config, server};
use crate::support::client::{HOST, get, handshake, send};
use crate::support::gateway::{Gateway, Metrics, directory};
use crate::support::verdict::{assert_passed, assert_refused};
use crate::support::wire::Wire;
use crate::support::within;
use crate::support::world::{Config, TLS, standard, standard_with};
use crate::{apply, replace};

/// The certificate that the gateway shows now.
async fn shown(gateway: &Gateway) -> Vec<u8> {
    let (tls, _) = handshake(gateway.address(), HOST, client_config(&Trust::default())).await.expect("a handshake");
    tls.get_ref().1.peer_certificates().expect("a certificate")[0].to_vec()
}

async fn until_another_is_shown(gateway: &Gateway, old: &[u8]) {
    within("the new certificate", async {
        while shown(gateway).await == old {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
}

fn renew(gateway: &Gateway) {
    let pair = ca().sign(&["api.example.ir", "localhost"]);
    replace(&gateway.path().join("certs/gateway.key"), &pair.key);
    replace(&gateway.path().join("certs/gateway.pem"), &pair.cert);
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_reload() {
    let agency = Agency::hello().await;
    let gateway = standard(&agency.url()).start().await;
    let old = shown(&gateway).await;
    renew(&gateway);
    until_another_is_shown(&gateway, &old).await;
}

/// An edit that nobody asked to apply, and that could not be applied, does not hold a certificate back; nor is it applied.
#[tokio::test]
async fn a_pending_edit_does_not_hold_a_certificate_back() {
    let agency = Agency::hello().await;
    let gateway = standard(&agency.url()).start().await;
    let old = shown(&gateway).await;
    replace(&gateway.config_file(), "not: [a config");
    renew(&gateway);
    until_another_is_shown(&gateway, &old).await;
    assert_passed(&send(&gateway, get("/open", &[])).await);
    replace(&gateway.config_file(), &standard(&agency.url()).simple("new", "registry", 0).yaml());
    let between = shown(&gateway).await;
    renew(&gateway);
    until_another_is_shown(&gateway, &between).await;
    assert_refused(&send(&gateway, get("/new", &[])).await, 404, "route_unknown");
}

/// A renewal that is taken back while an edit waits is taken back indeed, and no later reload brings it up again.
#[tokio::test]
async fn a_certificate_that_is_put_back_under_a_pending_edit_is_shown() {
    let agency = Agency::hello().await;
    let gateway = standard(&agency.url()).start().await;
    let first = shown(&gateway).await;
    replace(&gateway.config_file(), "not: [a config");
    renew(&gateway);
    until_another_is_shown(&gateway, &first).await;
    let second = shown(&gateway).await;
    replace(&gateway.path().join("certs/gateway.key"), &server().key);
    replace(&gateway.path().join("certs/gateway.pem"), &server().cert);
    until_another_is_shown(&gateway, &second).await;
    assert_eq!(shown(&gateway).await, first);
    apply(&gateway, &standard(&agency.url()).simple("new", "registry", 0)).await;
    assert_eq!(shown(&gateway).await, first);
}

/// Included files may lie beside the certificates: a certificate is no edit, and needs no `watch`.
#[tokio::test]
async fn a_certificate_beside_included_files_is_renewed() {
    let agency = Agency::hello().await;
    let dir = directory(&standard(&agency.url()).top("include: 'certs/*.yaml'").yaml());
    let part = |name: &str| {
        format!(
            "routes:\n  - {{ name: {name}, agency: registry, match: {{ prefix: /{name} }}, require: {{ level: 0 }} }}\n"
        )
    };
    std::fs::write(dir.path().join("certs/part.yaml"), part("a")).unwrap();
    let gateway = Gateway::start_in(dir).await;
    let old = shown(&gateway).await;
    renew(&gateway);
    until_another_is_shown(&gateway, &old).await;
    // An edit of the included file that nobody asked for is not taken up along with it.
    replace(&gateway.path().join("certs/part.yaml"), &part("b"));
    let between = shown(&gateway).await;
    renew(&gateway);
    until_another_is_shown(&gateway, &between).await;
    assert_passed(&send(&gateway, get("/a", &[])).await);
    assert_refused(&send(&gateway, get("/b", &[])).await, 404, "route_unknown");
}

/// One swap may bring a bad configuration and a good certificate, as a ConfigMap and a Secret of one deployment do.
#[tokio::test]
async fn a_bad_edit_that_comes_with_a_certificate_does_not_hold_it_back() {
    let agency = Agency::hello().await;
    let gateway = standard(&agency.url()).top("watch: true").start().await;
    let old = shown(&gateway).await;
    replace(&gateway.config_file(), &standard(&agency.url()).top("watch: true").simple("x", "registri", 0).yaml());
    renew(&gateway);
    gateway.metrics_when("a refused reload", |m| m.sum("darvazeh_config_refused", &[]) == 1.0).await;
    until_another_is_shown(&gateway, &old).await;
    assert_passed(&send(&gateway, get("/open", &[])).await);
}

async fn is_let_in(gateway: &Gateway, clients: &Authority) -> bool {
    let pair = clients.sign(&["client.example.ir"]);
    let trust = Trust { certificate: Some(&pair), ..Trust::default() };
    let Ok((tls, socket)) = handshake(gateway.address(), HOST, client_config(&trust)).await else { return false };
    let mut wire = Wire::over(tls, socket);
    // With TLS 1.3 a client learns of its certificate's refusal only when it reads.
    wire.send(get("/open", &[])).await.is_ok() && wire.try_answer_to("GET").await.is_some_and(|a| a.status() == 200)
}

/// The CA that issues the callers' certificates is another: its own get in, those of the one before do not. So too while a
/// faulty edit waits to be mended.
#[tokio::test]
async fn a_client_ca_that_changes_counts_without_a_reload() {
    for pending in [None, Some("not: [a config")] {
        a_client_ca_counts(pending).await;
    }
}

async fn a_client_ca_counts(pending: Option<&str>) {
    let agency = Agency::hello().await;
    let tls = TLS.replace("tls: {", "tls: { client_ca: certs/clients.pem, client_auth: required,");
    let listener = format!("{{ name: public, address: 127.0.0.1:0, {tls} }}");
    let config: Config = standard(&agency.url()).listeners(&[&listener]);
    let dir = directory(&config.yaml());
    let (before, after) = (Authority::new("Before"), Authority::new("After"));
    std::fs::write(dir.path().join("certs/clients.pem"), &before.pem).unwrap();
    let gateway = Gateway::start_in(dir).await;
    assert!(is_let_in(&gateway, &before).await && !is_let_in(&gateway, &after).await);
    if let Some(edit) = pending {
        replace(&gateway.config_file(), edit);
        assert_eq!(gateway.admin("POST", "/reload").await.status(), 422);
    }
    replace(&gateway.path().join("certs/clients.pem"), &after.pem);
    within("the new CA", async {
        while !is_let_in(&gateway, &after).await {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(!is_let_in(&gateway, &before).await);
}

async fn until_answered(gateway: &Gateway, status: u16) {
    within("the files that changed", async {
        while send(gateway, get("/open", &[])).await.status() != status {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// What the gateway shows to an agency, and whom it takes for the agency, change with the files, whatever faulty edit lies on
/// disk: a CA that is withdrawn vouches for nobody any more.
#[tokio::test]
async fn what_an_agency_is_met_with_counts_without_a_reload() {
    let (theirs, ours, others) = (Authority::new("Theirs"), Authority::new("Ours"), Authority::new("Others"));
    let agency = Agency::tls(&theirs.sign(&["localhost"]), Some(&ours)).await;
    let keys = "tls: { ca: certs/theirs.pem, client_cert: certs/client.pem, client_key: certs/client.key }";
    let dir = directory(&standard_with(&agency.url(), keys).yaml());
    let certs = dir.path().join("certs");
    let show = |pair: &Pair| {
        replace(&certs.join("client.key"), &pair.key);
        replace(&certs.join("client.pem"), &pair.cert);
    };
    replace(&certs.join("theirs.pem"), &theirs.pem);
    show(&others.sign(&["gateway.example.ir"]));
    let gateway = Gateway::start_in(dir).await;
    assert_eq!(send(&gateway, get("/open", &[])).await.status(), 502);
    replace(&gateway.config_file(), "not: [a config");
    assert_eq!(gateway.admin("POST", "/reload").await.status(), 422);
    show(&ours.sign(&["gateway.example.ir"]));
    until_answered(&gateway, 200).await;
    replace(&certs.join("theirs.pem"), &others.pem);
    until_answered(&gateway, 502).await;
    // The edit is still the one that was refused, and still told.
    assert_eq!(gateway.admin("GET", "/config").await.json()["last_reload"]["outcome"], "refused");
}

/// A renewal that fails is told until it is mended, and holds no other certificate back.
#[tokio::test]
async fn a_faulty_renewal_is_told_until_it_is_mended() {
    let agency = Agency::hello().await;
    let tls = TLS.replace("tls: {", "tls: { client_ca: certs/clients.pem, client_auth: optional,");
    let listener = format!("{{ name: public, address: 127.0.0.1:0, {tls} }}");
    let dir = directory(&standard(&agency.url()).listeners(&[&listener]).yaml());
    std::fs::write(dir.path().join("certs/clients.pem"), &ca().pem).unwrap();
    let gateway = Gateway::start_in(dir).await;
    let refused = |m: &Metrics| m.sum("darvazeh_config_refused", &[]);
    let old = shown(&gateway).await;
    replace(&gateway.path().join("certs/clients.pem"), "no CA");
    gateway.metrics_when("a refused renewal", |m| refused(m) == 1.0).await;
    assert_eq!(gateway.admin("GET", "/config").await.json()["last_reload"]["faults"][0]["code"], "E0205");
    renew(&gateway);
    until_another_is_shown(&gateway, &old).await;
    replace(&gateway.path().join("certs/clients.pem"), &ca().pem);
    gateway.metrics_when("a renewal that is mended", |m| refused(m) == 0.0).await;
}
