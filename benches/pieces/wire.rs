//! A gateway's caller and its agency over real sockets: one TLS connection, one request at a time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::sso::ISSUER;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 1024\r\n\r\n";

/// Answers 1 KiB to whatever it is asked, over connections that stay open. Gives its port.
pub fn agency() -> u16 {
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

/// A configuration in `folder`, which has `jwks.json` and the development certificates: `/open` at level 0, `/guarded` at
/// level 2, `/errand` at level 3. One worker, and no overload however slowly it runs.
pub fn config(folder: &Path, agency: u16, access_log: &str) -> PathBuf {
    let text = format!(
        r#"version: 1
workers: 1
overload: {{ queue_delay: off }}
listeners:
  - name: public
    address: 127.0.0.1:0
    tls: {{ certificates: [{{ cert: gateway.pem, key: gateway.key }}] }}
access_log: {{ to: {access_log} }}
{ISSUER}agencies:
  agency: {{ endpoints: ["http://127.0.0.1:{agency}"], identity: headers }}
routes:
  - {{ name: open, agency: agency, match: {{ prefix: /open }}, require: {{ level: 0 }} }}
  - {{ name: guarded, agency: agency, match: {{ prefix: /guarded }}, require: {{ level: 2 }} }}
  - {{ name: errand, agency: agency, match: {{ prefix: /errand }}, require: {{ level: 3 }} }}
"#
    );
    let file = folder.join("routes.yaml");
    std::fs::write(&file, text).expect("the directory can be written");
    file
}

pub struct Caller {
    stream: StreamOwned<ClientConnection, TcpStream>,
    request: Vec<u8>,
    expected: String,
    buffer: Vec<u8>,
}

impl Caller {
    /// `ca`: PEM of who signed the gateway's certificate. `status`: what every answer must have.
    pub fn new(address: SocketAddr, ca: &Path, path: &str, token: &str, status: u16) -> Caller {
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
        Caller {
            stream: StreamOwned::new(session, tcp),
            request: request.into_bytes(),
            expected: format!("HTTP/1.1 {status} "),
            buffer: vec![0; 16 * 1024],
        }
    }

    /// Sends the request once more, and reads its answer to the end.
    pub fn call(&mut self) {
        self.stream.write_all(&self.request).expect("it reads");
        let mut read = 0;
        loop {
            read += self.stream.read(&mut self.buffer[read..]).expect("it answers");
            let head = self.buffer[..read].windows(4).position(|w| w == b"\r\n\r\n");
            let Some(head) = head else { continue };
            if read >= head + 4 + length(&self.buffer[..head]) {
                assert!(self.buffer.starts_with(self.expected.as_bytes()), "another answer than {}", self.expected);
                return;
            }
        }
    }
}

fn length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    value.and_then(|value| value.trim().parse().ok()).expect("an answer has a length")
}
