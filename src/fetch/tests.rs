use std::net::SocketAddr;

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

/// Answers every connection with `answer`, whatever is asked.
async fn serve(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(reply(stream, answer));
        }
    });
    address
}

async fn reply(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) {
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        asked.push(byte);
    }
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn get(uri: &str, max: usize) -> Result<Fetched, FetchError> {
    Fetcher::new(None).get(&uri.parse().unwrap(), LIMIT, max).await
}

#[tokio::test]
async fn a_200_is_fetched_with_its_headers() {
    let at = serve("HTTP/1.1 200 OK\r\nCache-Control: max-age=5\r\nContent-Length: 4\r\n\r\nkeys").await;
    let fetched = get(&format!("http://{at}/jwks?x=1"), 4).await.unwrap();
    assert_eq!((&fetched.body[..], &fetched.headers["cache-control"]), (&b"keys"[..], &"max-age=5".parse().unwrap()));
    assert!(get(&format!("http://localhost:{}/", at.port()), 4).await.is_ok());
}

/// JB-10
#[tokio::test]
async fn clear_text_goes_to_loopback_alone() {
    for uri in ["http://192.0.2.1/", "http://sso.example.ir/", "/relative", "http://127.0.0.1.example.ir/"] {
        assert_eq!(get(uri, 4).await.unwrap_err(), FetchError::Insecure, "{uri}");
    }
}

/// JB-10
#[tokio::test]
async fn a_redirect_or_an_error_is_not_followed() {
    let at = serve("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(get(&format!("http://{at}/"), 4).await.unwrap_err(), FetchError::Status(302));
}

#[tokio::test]
async fn size_and_time_are_bounded() {
    let at = serve("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nkeys!").await;
    assert_eq!(get(&format!("http://{at}/"), 4).await.unwrap_err(), FetchError::TooLarge);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/", silent.local_addr().unwrap()).parse().unwrap();
    let fetched = Fetcher::new(None).get(&uri, Duration::from_millis(20), 4).await;
    assert_eq!(fetched.unwrap_err(), FetchError::Timeout);
}

#[tokio::test]
async fn what_breaks_off_is_not_taken_for_whole() {
    let at = serve("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nkeys").await;
    assert!(matches!(get(&format!("http://{at}/"), 100).await, Err(FetchError::Broken(_))));
    assert!(matches!(get("http://127.0.0.1:1/", 4).await, Err(FetchError::Connect(_))));
}

#[tokio::test]
async fn a_certificate_is_verified_against_the_given_roots() {
    let (at, roots) = serve_tls().await;
    let (_, strangers) = serve_tls().await;
    let uri: Uri = format!("https://localhost:{}/", at.port()).parse().unwrap();
    let fetched = Fetcher::new(Some(roots.clone())).get(&uri, LIMIT, 4).await.unwrap();
    assert_eq!(&fetched.body[..], b"keys");
    let refused = Fetcher::new(Some(strangers)).get(&uri, LIMIT, 4).await;
    assert!(matches!(refused, Err(FetchError::Connect(_))), "an unknown CA");
    let other_name: Uri = format!("https://127.0.0.1:{}/", at.port()).parse().unwrap();
    let refused = Fetcher::new(Some(roots)).get(&other_name, LIMIT, 4).await;
    assert!(matches!(refused, Err(FetchError::Connect(_))), "another name");
}

/// A server for `localhost` with a CA of its own.
async fn serve_tls() -> (SocketAddr, Arc<RootCertStore>) {
    let mut ca = CertificateParams::default();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(tls) = acceptor.accept(stream).await {
                reply(tls, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nkeys").await;
            }
        }
    });
    (address, Arc::new(roots))
}
