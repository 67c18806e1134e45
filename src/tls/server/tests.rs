//! Real handshakes, in memory: what a listener agrees to, whom it lets in and which sessions it resumes.

use std::io;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::config::model::ClientTls;
use crate::tls::client::client_config;
use crate::tls::fixtures::Authority;

const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];

/// What both sides agreed on.
#[derive(Debug)]
struct Agreed {
    version: Option<ProtocolVersion>,
    alpn: Option<Vec<u8>>,
    group: Option<NamedGroup>,
    kind: Option<HandshakeKind>,
    client_certificate: bool,
    /// The leaf the client was shown.
    shown: Vec<u8>,
}

/// One handshake and one byte each way, so that tickets are sent and read. The error is the server's.
async fn meet(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>, name: &str) -> io::Result<Agreed> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let connector = TlsConnector::from(Arc::clone(client));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let caller = async {
        let mut stream = connector.connect(name, near).await?;
        stream.write_all(b"?").await?;
        stream.read_exact(&mut [0]).await?;
        let shown = stream.get_ref().1.peer_certificates().map(|chain| chain[0].to_vec()).unwrap_or_default();
        io::Result::Ok(shown)
    };
    let listener = async {
        let mut stream = TlsAcceptor::from(Arc::clone(server)).accept(far).await?;
        stream.read_exact(&mut [0]).await?;
        stream.write_all(b"!").await?;
        stream.flush().await?;
        let tls = stream.get_ref().1;
        io::Result::Ok(Agreed {
            version: tls.protocol_version(),
            alpn: tls.alpn_protocol().map(<[u8]>::to_vec),
            group: tls.negotiated_key_exchange_group().map(|group| group.name()),
            kind: tls.handshake_kind(),
            client_certificate: tls.peer_certificates().is_some(),
            shown: Vec::new(),
        })
    };
    let (shown, agreed) = tokio::join!(caller, listener);
    let mut agreed = agreed?;
    agreed.shown = shown?;
    Ok(agreed)
}

fn listener(ca: &Authority, tls13_only: bool, client_auth: ClientAuth) -> Arc<ServerConfig> {
    server_config(&ServerTls { certificates: vec![ca.server(&["api.ir"])], tls13_only, client_auth }).unwrap()
}

fn caller(roots: Arc<RootCertStore>) -> Arc<ClientConfig> {
    client_config(&ClientTls { roots: Some(roots), ..ClientTls::default() }, BOTH).unwrap()
}

fn caller_with_certificate(ca: &Authority, issuer: &Authority) -> Arc<ClientConfig> {
    let tls = ClientTls { roots: Some(ca.roots()), client: Some(issuer.client("agency")), server_name: None };
    client_config(&tls, BOTH).unwrap()
}

/// A client that knows TLS 1.2 and nothing newer.
fn old_caller(roots: Arc<RootCertStore>) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_protocol_versions(&[&TLS12]).unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

#[tokio::test]
async fn a_modern_client_gets_tls_1_3_h2_and_post_quantum_key_exchange() {
    let ca = Authority::new();
    let agreed = meet(&listener(&ca, false, ClientAuth::None), &caller(ca.roots()), "api.ir").await.unwrap();
    assert_eq!(agreed.version, Some(ProtocolVersion::TLSv1_3));
    assert_eq!(agreed.alpn.as_deref(), Some(&b"h2"[..]));
    assert_eq!(agreed.group, Some(NamedGroup::X25519MLKEM768));
    assert!(!agreed.client_certificate);
}

/// FA: TLS 1.2 is the least.
#[tokio::test]
async fn an_old_client_gets_tls_1_2_unless_the_listener_asks_for_1_3() {
    let ca = Authority::new();
    let agreed = meet(&listener(&ca, false, ClientAuth::None), &old_caller(ca.roots()), "api.ir").await.unwrap();
    assert_eq!((agreed.version, agreed.alpn), (Some(ProtocolVersion::TLSv1_2), None));
    meet(&listener(&ca, true, ClientAuth::None), &old_caller(ca.roots()), "api.ir").await.unwrap_err();
}

#[tokio::test]
async fn alpn_falls_back_to_http_1_1_and_refuses_the_unknown() {
    let ca = Authority::new();
    let server = listener(&ca, false, ClientAuth::None);
    let only = |protocol: &[u8]| {
        client_config(&ClientTls { roots: Some(ca.roots()), ..ClientTls::default() }, &[protocol]).unwrap()
    };
    let agreed = meet(&server, &only(b"http/1.1"), "api.ir").await.unwrap();
    assert_eq!(agreed.alpn.as_deref(), Some(&b"http/1.1"[..]));
    meet(&server, &only(b"spdy/3"), "api.ir").await.unwrap_err();
}

#[tokio::test]
async fn the_name_a_client_asks_for_chooses_the_certificate() {
    let ca = Authority::new();
    let certificates = vec![ca.server(&["one.ir"]), ca.server(&["*.two.ir"])];
    let leaf = |at: usize| certificates[at].key.cert[0].to_vec();
    let (one, two) = (leaf(0), leaf(1));
    let server = server_config(&ServerTls { certificates, tls13_only: false, client_auth: ClientAuth::None }).unwrap();
    let client = caller(ca.roots());
    assert_eq!(meet(&server, &client, "one.ir").await.unwrap().shown, one);
    assert_eq!(meet(&server, &client, "API.two.ir").await.unwrap().shown, two);
    // Nobody's name: the first certificate is shown and the client rejects it.
    meet(&server, &client, "three.ir").await.unwrap_err();
}

/// HP-12: sessions are resumed, but nothing is accepted before the handshake is over.
#[tokio::test]
async fn a_second_connection_resumes_with_both_versions() {
    let ca = Authority::new();
    let server = listener(&ca, false, ClientAuth::None);
    for client in [caller(ca.roots()), old_caller(ca.roots())] {
        assert_eq!(meet(&server, &client, "api.ir").await.unwrap().kind, Some(HandshakeKind::Full));
        assert_eq!(meet(&server, &client, "api.ir").await.unwrap().kind, Some(HandshakeKind::Resumed));
    }
    assert_eq!(server.max_early_data_size, 0);
}

/// MT-4: with `optional` a browser without a certificate gets in, one with a wrong certificate does not.
#[tokio::test]
async fn client_certificates_none_optional_required() {
    let (ca, stranger) = (Authority::new(), Authority::new());
    let anonymous = caller(ca.roots());
    let known = caller_with_certificate(&ca, &ca);
    let foreign = caller_with_certificate(&ca, &stranger);
    // (what the listener wants, anonymous, known, foreign): None is refused, else whether a certificate was taken.
    let table = [
        (ClientAuth::None, Some(false), Some(false), Some(false)),
        (ClientAuth::Optional(ca.roots()), Some(false), Some(true), None),
        (ClientAuth::Required(ca.roots()), None, Some(true), None),
    ];
    for (wanted, without, with, wrong) in table {
        let server = listener(&ca, false, wanted.clone());
        for (client, expected) in [(&anonymous, without), (&known, with), (&foreign, wrong)] {
            let outcome = meet(&server, client, "api.ir").await;
            assert_eq!(outcome.ok().map(|agreed| agreed.client_certificate), expected, "{wanted:?}");
        }
    }
}

/// The contract, section 5: resumption never carries a session to a listener with different client authentication.
#[tokio::test]
async fn a_session_never_moves_to_another_listener() {
    let ca = Authority::new();
    let open = listener(&ca, false, ClientAuth::None);
    let closed = listener(&ca, false, ClientAuth::Required(ca.roots()));
    for anonymous in [caller(ca.roots()), old_caller(ca.roots())] {
        meet(&open, &anonymous, "api.ir").await.unwrap();
        meet(&closed, &anonymous, "api.ir").await.unwrap_err();
    }
    let known = caller_with_certificate(&ca, &ca);
    meet(&open, &known, "api.ir").await.unwrap();
    let agreed = meet(&closed, &known, "api.ir").await.unwrap();
    assert_eq!((agreed.kind, agreed.client_certificate), (Some(HandshakeKind::Full), true));
    // At home it is resumed, and the certificate is still known.
    let again = meet(&closed, &known, "api.ir").await.unwrap();
    assert_eq!((again.kind, again.client_certificate), (Some(HandshakeKind::Resumed), true));
}

/// A server that our own roots do not vouch for is refused, and so is one with another name.
#[tokio::test]
async fn a_client_verifies_the_server() {
    let (ca, stranger) = (Authority::new(), Authority::new());
    let server = listener(&ca, false, ClientAuth::None);
    meet(&server, &caller(stranger.roots()), "api.ir").await.unwrap_err();
    meet(&server, &caller(ca.roots()), "other.ir").await.unwrap_err();
    let system = client_config(&ClientTls::default(), BOTH).unwrap();
    meet(&server, &system, "api.ir").await.unwrap_err();
}
