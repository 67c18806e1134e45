//! A whole request over loopback: TLS 1.3, a verified token, a level, headers rewritten, one agency on a socket of its own.
//!
//! The gateway runs as `darvazeh run` would start it, with one worker; client and agency run beside it, so the figure is
//! the latency of one request at a time, theirs included.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use criterion::{Criterion, criterion_group, criterion_main};
use darvazeh::cli::certs;
use darvazeh::clock::Clock;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 1024\r\n\r\n";

/// Answers 1 KiB to whatever it is asked, over connections that stay open.
fn agency() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    port
}

fn answer(mut stream: TcpStream) {
    let reply = [ANSWER, &[b'x'; 1024]].concat();
    let (mut head, mut buffer) = (Vec::new(), [0; 8192]);
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        head.extend_from_slice(&buffer[..read]);
        while let Some(end) = head.windows(4).position(|w| w == b"\r\n\r\n") {
            head.drain(..end + 4);
            if stream.write_all(&reply).is_err() {
                return;
            }
        }
    }
}

/// A token of level 2, and the key that proves it.
fn token(dir: &Path) -> String {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let point = pair.public_key().as_ref();
    let jwk = format!(
        r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"k","alg":"ES256","use":"sig","x":"{}","y":"{}"}}]}}"#,
        B64.encode(&point[1..33]),
        B64.encode(&point[33..65])
    );
    std::fs::write(dir.join("jwks.json"), jwk).expect("the directory can be written");
    let now = Clock::system().now();
    let claims = format!(
        r#"{{"iss":"https://sso.example.ir","aud":"https://api.example.ir","sub":"caller","acr":"two","iat":{now},"exp":{}}}"#,
        now + 86_400
    );
    let signed = format!("{}.{}", B64.encode(r#"{"alg":"ES256","kid":"k","typ":"at+jwt"}"#), B64.encode(claims));
    let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
    format!("{signed}.{}", B64.encode(signature))
}

fn config(dir: &Path, agency: u16) -> std::path::PathBuf {
    let text = format!(
        r#"version: 1
listeners:
  - name: public
    address: 127.0.0.1:0
    tls: {{ certificates: [{{ cert: gateway.pem, key: gateway.key }}] }}
access_log: {{ to: off }}
issuers:
  sso:
    issuer: https://sso.example.ir
    audiences: [https://api.example.ir]
    jwks: {{ file: jwks.json }}
    levels: {{ values: {{ two: 2 }} }}
agencies:
  agency: {{ endpoints: ["http://127.0.0.1:{agency}"], identity: headers }}
routes:
  - {{ name: open, agency: agency, match: {{ prefix: /open }}, require: {{ level: 0 }} }}
  - {{ name: guarded, agency: agency, match: {{ prefix: /guarded }}, require: {{ level: 2 }} }}
"#
    );
    let file = dir.join("routes.yaml");
    std::fs::write(&file, text).expect("the directory can be written");
    file
}

struct Caller {
    stream: StreamOwned<ClientConnection, TcpStream>,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl Caller {
    fn new(address: std::net::SocketAddr, ca: &Path, path: &str, token: &str) -> Caller {
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(ca).expect("the CA is there");
        roots.add_parsable_certificates(certificates.map(|c| c.expect("a certificate")));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        let session = ClientConnection::new(Arc::new(config), name).expect("a session");
        let tcp = TcpStream::connect(address).expect("it accepts");
        tcp.set_nodelay(true).expect("an option");
        let request = format!("GET {path}/x HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n");
        Caller { stream: StreamOwned::new(session, tcp), request: request.into_bytes(), buffer: vec![0; 16 * 1024] }
    }

    fn call(&mut self) {
        self.stream.write_all(&self.request).expect("it reads");
        let mut read = 0;
        loop {
            read += self.stream.read(&mut self.buffer[read..]).expect("it answers");
            let head = self.buffer[..read].windows(4).position(|w| w == b"\r\n\r\n");
            if head.is_some_and(|head| read >= head + 4 + 1024) {
                assert!(self.buffer.starts_with(b"HTTP/1.1 200"), "not let through");
                return;
            }
        }
    }
}

fn request(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    certs::dev(dir.path(), &["localhost".to_owned()]).expect("certificates");
    let token = token(dir.path());
    let file = config(dir.path(), agency());
    let loaded = darvazeh::config::load(&file, Clock::system().now()).expect("a good config");
    let running = darvazeh::app::start(loaded, Some(1)).expect("it starts");
    let address = running.listeners[0].1;
    let mut group = c.benchmark_group("request over TLS, one at a time");
    for (name, path) in [("level 0", "/open"), ("level 2, token known", "/guarded")] {
        let mut caller = Caller::new(address, &dir.path().join("ca.pem"), path, &token);
        caller.call();
        group.bench_function(name, |b| b.iter(|| caller.call()));
    }
    group.finish();
    running.drain();
}

criterion_group!(benches, request);
criterion_main!(benches);
