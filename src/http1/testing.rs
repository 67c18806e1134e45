//! What tests of both sides have in common.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_rustls::{client, server};

use super::socket::Socket;

/// The two ends of a TLS connection whose sockets take little by themselves.
pub async fn narrow_tls() -> (server::TlsStream<Socket>, client::TlsStream<Socket>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let settings = rustls::ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let settings = settings.unwrap().with_no_client_auth().with_single_cert(vec![certificate.clone()], key.into());
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(settings.unwrap()));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let settings = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let settings = settings.unwrap().with_root_certificates(roots).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(settings));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    socket2::SockRef::from(&listener).set_recv_buffer_size(4096).unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.set_send_buffer_size(4096).unwrap();
    let caller = socket.connect(listener.local_addr().unwrap()).await.unwrap();
    let (ours, _) = listener.accept().await.unwrap();
    socket2::SockRef::from(&ours).set_send_buffer_size(4096).unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let (ours, caller) = tokio::join!(acceptor.accept(Socket(ours)), connector.connect(name, Socket(caller)));
    (ours.unwrap(), caller.unwrap())
}
