//! The country without its gateway: what the gateway will find when it calls the SSO and the agencies.

use std::os::unix::fs::PermissionsExt;

use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::*;
use crate::config::model::ClientTls;
use crate::tls::certs::load_identity;
use crate::tls::client::client_config;

/// GETs over the stream; the body as text.
async fn get(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static, path: &str) -> String {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(path).header("host", "a.ir").header("x-seen", "1").body(Full::<bytes::Bytes>::default());
    let answer = sender.send_request(request.unwrap()).await.unwrap();
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

async fn tls(port: u16, tls: &ClientTls) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let config = client_config(tls, &[b"h2", b"http/1.1"]).unwrap();
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    TlsConnector::from(config).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

#[tokio::test]
async fn the_sso_and_the_agencies_answer_as_the_config_expects() {
    let dir = tempfile::tempdir().unwrap();
    let certs = certs::dev(dir.path(), &[]).unwrap();
    let ports = open_country(&Options::default(), &certs).await.unwrap();
    let roots = Some(load_roots(&certs.ca).unwrap());
    let anonymous = ClientTls { roots: roots.clone(), ..ClientTls::default() };

    let discovery = get(tls(ports.sso, &anonymous).await.unwrap(), "/.well-known/openid-configuration").await;
    let discovery: Value = serde_json::from_str(&discovery).unwrap();
    assert_eq!(discovery["jwks_uri"], format!("https://127.0.0.1:{}/jwks", ports.sso));
    let jwks: Value = serde_json::from_str(&get(tls(ports.sso, &anonymous).await.unwrap(), "/jwks").await).unwrap();
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 2);
    let token = get(tls(ports.sso, &anonymous).await.unwrap(), "/token?level=2&as=text").await;
    assert_eq!(token.split('.').count(), 3);

    let plain = TcpStream::connect((Ipv4Addr::LOCALHOST, ports.agencies[0])).await.unwrap();
    let echo: Value = serde_json::from_str(&get(plain, "/v2/history?a=b").await).unwrap();
    assert_eq!((&echo["path"], &echo["query"]), (&"/v2/history".into(), &"a=b".into()));
    assert_eq!(echo["headers"]["x-seen"], "1");
    let plain = TcpStream::connect((Ipv4Addr::LOCALHOST, ports.agencies[1])).await.unwrap();
    assert_eq!(get(plain, "/events").await.matches("data: event").count(), 3);

    let now = Clock::system().now();
    let client = load_identity(&certs.client, &certs.client_key, now).unwrap();
    let known = ClientTls { roots, client: Some(Arc::new(client)), server_name: None };
    let echo = get(tls(ports.agencies[2], &known).await.unwrap(), "/deeds/1").await;
    assert!(echo.contains("land-registry"), "{echo}");
}

#[test]
fn a_temporary_home_is_private_and_goes_away_and_a_given_one_stays() {
    let home = Home::open(None).unwrap();
    let path = home.path.clone();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    drop(home);
    assert!(!path.exists());
    let dir = tempfile::tempdir().unwrap();
    let given = dir.path().join("a/b");
    drop(Home::open(Some(&given)).unwrap());
    assert!(given.is_dir());
}
