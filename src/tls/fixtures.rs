//! A certificate authority for the tests of this module: everything lives in memory or in a directory of its own.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use tempfile::TempDir;

use super::certs::{self, Identity, LoadedCertificate};
use crate::clock::{Clock, UnixTime};

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
    pub dir: TempDir,
}

impl Authority {
    pub fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Test CA");
        let certificate = params.self_signed(&key).unwrap();
        Authority { issuer: Issuer::new(params, key), certificate, dir: tempfile::tempdir().unwrap() }
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub fn roots(&self) -> Arc<RootCertStore> {
        certs::load_roots(&self.write("ca.pem", &self.pem())).unwrap()
    }

    /// Certificate and key as PEM.
    pub fn issue(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (self.issue_for(&key, names, change), key.serialize_pem())
    }

    /// A certificate for this key, as PEM.
    pub fn issue_for(&self, key: &KeyPair, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> String {
        let mut params = CertificateParams::new(names.iter().map(|n| n.to_string()).collect::<Vec<_>>()).unwrap();
        change(&mut params);
        params.signed_by(key, &self.issuer).unwrap().pem()
    }

    pub fn server(&self, names: &[&str]) -> Arc<LoadedCertificate> {
        let (cert, key) = self.issue(names, |_| {});
        let (cert, key) = (self.write("server.pem", &cert), self.write("server.key", &key));
        Arc::new(certs::load_server(&cert, &key, now()).unwrap())
    }

    pub fn client(&self, name: &str) -> Arc<Identity> {
        let (cert, key) = self.issue(&[], |params| params.distinguished_name.push(DnType::CommonName, name));
        let (cert, key) = (self.write("client.pem", &cert), self.write("client.key", &key));
        Arc::new(certs::load_identity(&cert, &key, now()).unwrap())
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

pub fn now() -> UnixTime {
    Clock::system().now()
}
