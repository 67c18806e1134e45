//! A development CA and what it signs: made once per test run, trusted by nobody else.

use std::sync::{Arc, OnceLock};

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

/// A certificate and its key, as PEM files hold them.
pub struct Pair {
    pub cert: String,
    pub key: String,
}

pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are good names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = named(name);
        let key = KeyPair::generate().expect("a P-256 key");
        let pem = params.self_signed(&key).expect("a CA certificate").pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    /// A leaf for these DNS names or addresses.
    pub fn sign(&self, names: &[&str]) -> Pair {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names.clone()).expect("good names");
        params.distinguished_name = named(&names[0]);
        let key = KeyPair::generate().expect("a P-256 key");
        let cert = params.signed_by(&key, &self.issuer).expect("a leaf").pem();
        Pair { cert, key: key.serialize_pem() }
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut it = DistinguishedName::new();
    it.push(DnType::CommonName, name);
    it
}

pub fn ca() -> &'static Authority {
    static CA: OnceLock<Authority> = OnceLock::new();
    CA.get_or_init(|| Authority::new("Test CA"))
}

/// The gateway's own: `api.example.ir` and `localhost`.
pub fn server() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| ca().sign(&["api.example.ir", "localhost", "127.0.0.1"]))
}

fn chain(pair: &Pair) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let cert = CertificateDer::from_pem_slice(pair.cert.as_bytes()).expect("our own PEM");
    (vec![cert], PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("our own PEM"))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    static PROVIDER: OnceLock<Arc<rustls::crypto::CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())).clone()
}

/// What a client brings to a handshake.
pub struct Trust<'a> {
    pub alpn: &'a [&'a str],
    pub versions: &'a [&'static SupportedProtocolVersion],
    pub certificate: Option<&'a Pair>,
}

impl Default for Trust<'_> {
    fn default() -> Self {
        Trust { alpn: &["http/1.1"], versions: rustls::ALL_VERSIONS, certificate: None }
    }
}

pub fn client_config(trust: &Trust<'_>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca().pem.as_bytes()).expect("our own PEM")).expect("our own CA");
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(trust.versions)
        .expect("versions that exist")
        .with_root_certificates(roots);
    let mut config = match trust.certificate {
        Some(pair) => {
            let (cert, key) = chain(pair);
            builder.with_client_auth_cert(cert, key).expect("a key that fits")
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = trust.alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// For agencies and the SSO.
pub fn server_config(pair: &Pair, alpn: &[&str], client_ca: Option<&Authority>) -> Arc<ServerConfig> {
    let (cert, key) = chain(pair);
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions that exist");
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(ca.pem.as_bytes()).expect("our own PEM")).expect("our own CA");
            let verifier =
                rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        }
    };
    let mut config = builder.with_single_cert(cert, key).expect("a key that fits");
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    Arc::new(config)
}
