//! Handshakes: which certificate, which version, whose client certificate, which protocol.

use rustls::HandshakeKind;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::support::agency::Agency;
use crate::support::certs::{self, Authority, Pair, Trust, ca, client_config};
use crate::support::client::{self, HOST, connect, connect_as, get, handshake};
use crate::support::gateway::{Gateway, directory};
use crate::support::verdict::assert_passed;
use crate::support::wire::Wire;
use crate::support::world::{self, Config, TLS, standard};

async fn serves(gateway: &Gateway, trust: &Trust<'_>) -> bool {
    let Ok((tls, socket)) = handshake(gateway.address(), HOST, client_config(trust)).await else { return false };
    let mut wire = Wire::over(tls, socket);
    // With TLS 1.3 a client learns of its certificate's refusal only when it reads.
    wire.send(get("/open", &[])).await.is_ok() && wire.try_answer_to("GET").await.is_some_and(|a| a.status() == 200)
}

#[tokio::test]
async fn the_certificate_is_chosen_by_the_name_asked_for() {
    let agency = Agency::hello().await;
    let listener = "{ name: public, address: 127.0.0.1:0, tls: { certificates: [ { cert: certs/gateway.pem, key: certs/gateway.key }, \
                    { cert: certs/other.pem, key: certs/other.key } ] } }";
    let dir = directory(&standard(&agency.url()).listeners(&[listener]).yaml());
    let other = ca().sign(&["other.example.ir", "*.city.example.ir"]);
    std::fs::write(dir.path().join("certs/other.pem"), &other.cert).expect("our own directory");
    std::fs::write(dir.path().join("certs/other.key"), &other.key).expect("our own directory");
    let gateway = Gateway::start_in(dir).await;
    let der = |pair: &Pair| CertificateDer::from_pem_slice(pair.cert.as_bytes()).expect("our own PEM");
    for (name, pair) in [
        ("api.example.ir", certs::server()),
        ("other.example.ir", &other),
        ("tehran.city.example.ir", &other),
        ("localhost", certs::server()),
    ] {
        let (tls, _) = handshake(gateway.address(), name, client_config(&Trust::default())).await.expect("a handshake");
        let shown = &tls.get_ref().1.peer_certificates().expect("a certificate")[0];
        assert_eq!(shown, &der(pair), "{name}");
    }
    // A name that none has gets the first: the client refuses, for the name is not in it.
    let unknown = handshake(gateway.address(), "unknown.example.ir", client_config(&Trust::default())).await;
    assert!(unknown.is_err());
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        assert!(serves(&gateway, &Trust { versions, ..Trust::default() }).await, "{versions:?}");
    }
}

#[tokio::test]
async fn min_version_1_3_refuses_1_2() {
    let agency = Agency::hello().await;
    let listener =
        format!("{{ name: public, address: 127.0.0.1:0, {} }}", TLS.replace("tls: {", "tls: { min_version: \"1.3\","));
    let gateway = standard(&agency.url()).listeners(&[&listener]).start().await;
    assert!(!serves(&gateway, &Trust { versions: &[&rustls::version::TLS12], ..Trust::default() }).await);
    assert!(serves(&gateway, &Trust { versions: &[&rustls::version::TLS13], ..Trust::default() }).await);
}

#[tokio::test]
async fn alpn_chooses_the_protocol() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    for (offered, chosen) in [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["http/1.1", "h2"], Some(b"h2")),
        (&["http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let trust = Trust { alpn: offered, ..Trust::default() };
        let (tls, _) = handshake(gateway.address(), HOST, client_config(&trust)).await.expect("a handshake");
        // The gateway's own preference counts when both are offered; either order of it is fine.
        let got = tls.get_ref().1.alpn_protocol();
        if offered.len() == 2 {
            assert!(got.is_some());
        } else {
            assert_eq!(got, chosen);
        }
    }
    // Who says nothing speaks HTTP/1.1.
    let mut wire = connect_as(&gateway, HOST, &Trust { alpn: &[], ..Trust::default() }).await;
    wire.send(get("/open", &[])).await.expect("open");
    assert_passed(&wire.answer().await);
}

/// A listener that asks for client certificates of a CA of its own.
async fn asking(mode: &str) -> (Gateway, Authority, Agency) {
    let agency = Agency::hello().await;
    let tls = TLS.replace("tls: {", &format!("tls: {{ client_ca: certs/clients.pem, client_auth: {mode},"));
    let dir = directory(
        &standard(&agency.url()).listeners(&[&format!("{{ name: public, address: 127.0.0.1:0, {tls} }}")]).yaml(),
    );
    let clients = Authority::new("Clients");
    std::fs::write(dir.path().join("certs/clients.pem"), &clients.pem).expect("our own directory");
    (Gateway::start_in(dir).await, clients, agency)
}

#[tokio::test]
async fn a_required_client_certificate_must_be_shown_and_good() {
    let (gateway, clients, agency) = asking("required").await;
    assert!(!serves(&gateway, &Trust::default()).await, "none shown");
    let stranger = ca().sign(&["client.example.ir"]);
    assert!(!serves(&gateway, &Trust { certificate: Some(&stranger), ..Trust::default() }).await, "another CA's");
    agency.assert_untouched();
    let good = clients.sign(&["client.example.ir"]);
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        assert!(
            serves(&gateway, &Trust { certificate: Some(&good), versions, ..Trust::default() }).await,
            "{versions:?}"
        );
    }
}

#[tokio::test]
async fn an_optional_client_certificate_must_be_good_when_shown() {
    let (gateway, clients, _agency) = asking("optional").await;
    assert!(serves(&gateway, &Trust::default()).await, "none shown");
    let good = clients.sign(&["client.example.ir"]);
    assert!(serves(&gateway, &Trust { certificate: Some(&good), ..Trust::default() }).await);
    let stranger = ca().sign(&["client.example.ir"]);
    assert!(!serves(&gateway, &Trust { certificate: Some(&stranger), ..Trust::default() }).await, "another CA's");
}

/// MT-3: what TLS has proved is never mixed with what a caller says it has proved.
#[tokio::test]
async fn mt3_a_callers_client_cert_field_never_reaches_an_agency() {
    let (gateway, _clients, agency) = asking("optional").await;
    let fields = [
        "Client-Cert: :AAAA:",
        "Client-Cert-Chain: :AAAA:",
        "X-Forwarded-Client-Cert: Hash=00",
        "X-SSL-Client-Cert: x",
    ];
    assert_passed(&client::send(&gateway, get("/open", &fields)).await);
    let seen = format!("{:?}", agency.only().head.fields);
    assert!(!seen.contains("AAAA") && !seen.contains("Hash=00"), "{seen}");
}

/// One handshake's ticket serves the next.
#[tokio::test]
async fn sessions_are_resumed() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let config = client_config(&Trust { versions, ..Trust::default() });
        let mut kinds = Vec::new();
        // Several times: each worker of the gateway must know every worker's tickets.
        for _ in 0..6 {
            let (mut tls, _) = handshake(gateway.address(), HOST, config.clone()).await.expect("a handshake");
            kinds.push(tls.get_ref().1.handshake_kind());
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            tls.write_all(get("/open", &[]).as_bytes()).await.expect("open");
            let mut buffer = [0; 1024];
            assert!(tls.read(&mut buffer).await.expect("an answer, and before it the tickets") > 0);
        }
        assert_eq!(kinds[0], Some(HandshakeKind::Full));
        assert!(kinds[1..].iter().all(|k| *k == Some(HandshakeKind::Resumed)), "{versions:?}: {kinds:?}");
    }
}

/// Contract section 5: a session of a listener that asks for nothing does not open one that does.
#[tokio::test]
async fn resumption_does_not_carry_to_a_stricter_listener() {
    let agency = Agency::hello().await;
    let strict = TLS.replace("tls: {", "tls: { client_ca: certs/ca.pem, client_auth: required,");
    let listeners = [
        format!("{{ name: lax, address: 127.0.0.1:0, {TLS} }}"),
        format!("{{ name: strict, address: 127.0.0.1:0, {strict} }}"),
    ];
    let gateway = Config::new()
        .listeners(&[&listeners[0], &listeners[1]])
        .agency("registry", &agency.url())
        .simple("open", "registry", 0)
        .start()
        .await;
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let config = client_config(&Trust { versions, ..Trust::default() });
        for _ in 0..2 {
            let (tls, socket) = handshake(gateway.address_of("lax"), HOST, config.clone()).await.expect("a handshake");
            let mut wire = Wire::over(tls, socket);
            wire.send(get("/open", &[])).await.expect("open");
            assert_passed(&wire.answer().await);
        }
        let before = agency.seen().len();
        if let Ok((tls, socket)) = handshake(gateway.address_of("strict"), HOST, config).await {
            let mut wire = Wire::over(tls, socket);
            let _ = wire.send(get("/open", &[])).await;
            assert!(wire.try_answer_to("GET").await.is_none(), "{versions:?}: the strict listener answered");
        }
        assert_eq!(agency.seen().len(), before);
    }
}

/// Bytes that are no handshake end the connection and nothing else.
#[tokio::test]
async fn garbage_instead_of_a_handshake_harms_nobody() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    for bytes in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"\x16\x03\x01\xff\xff", &[0; 5000]] {
        let mut wire = client::connect_plain(gateway.address()).await;
        let _ = wire.send(bytes).await;
        wire.finish().await;
        wire.rest().await;
    }
    let mut wire = connect(&gateway).await;
    wire.send(get("/open", &[])).await.expect("open");
    assert_passed(&wire.answer().await);
    let metrics = gateway.metrics().await;
    assert!(metrics.sum("darvazeh_tls_certificate_expiry_seconds", &["listener=\"public\""]) > 0.0, "{}", metrics.0);
}
