//! Which certificate a handshake gets, by the name the client asks for (SNI, RFC 6066 section 3).
//!
//! Exact name, then a wildcard for the first label, else the listener's first certificate: a client without SNI, or one
//! that asks for a name we do not have, meets a certificate it can judge for itself. Used by `server` alone.

use std::sync::Arc;

use ahash::AHashMap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certs::LoadedCertificate;

/// A listener's certificates by name. Looking one up allocates nothing as long as a name has one certificate.
#[derive(Debug)]
pub struct CertificatesByName {
    /// `*.example.ir` is kept in `wildcards` as `example.ir`. More than one key stands under a name when the operator
    /// gave the same host an ECDSA and an RSA certificate.
    exact: AHashMap<String, Vec<Arc<CertifiedKey>>>,
    wildcards: AHashMap<String, Vec<Arc<CertifiedKey>>>,
    default: Arc<CertifiedKey>,
}

impl CertificatesByName {
    /// `None` when there is no certificate at all.
    pub fn new(certificates: &[Arc<LoadedCertificate>]) -> Option<CertificatesByName> {
        let default = Arc::clone(&certificates.first()?.key);
        let mut exact: AHashMap<String, Vec<_>> = AHashMap::new();
        let mut wildcards: AHashMap<String, Vec<_>> = AHashMap::new();
        for certificate in certificates {
            for name in &certificate.names {
                let keys = match name.strip_prefix("*.") {
                    Some(parent) => wildcards.entry(parent.to_owned()).or_default(),
                    None => exact.entry(name.clone()).or_default(),
                };
                keys.push(Arc::clone(&certificate.key));
            }
        }
        Some(CertificatesByName { exact, wildcards, default })
    }

    /// The certificates for a lower-case name, in the order of the file; none when the name is unknown.
    fn find(&self, name: &str) -> &[Arc<CertifiedKey>] {
        let wildcard = || name.split_once('.').and_then(|(_, parent)| self.wildcards.get(parent));
        self.exact.get(name).or_else(wildcard).map_or(&[], Vec::as_slice)
    }

    fn choose(&self, name: &str, fits: impl Fn(&CertifiedKey) -> bool) -> &Arc<CertifiedKey> {
        match self.find(name) {
            [] => &self.default,
            [only] => only,
            many @ [first, ..] => many.iter().find(|key| fits(key)).unwrap_or(first),
        }
    }
}

impl ResolvesServerCert for CertificatesByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls hands the name over in lower case and without a trailing dot.
        let chosen = match hello.server_name() {
            Some(name) => self.choose(name, |key| key.key.choose_scheme(hello.signature_schemes()).is_some()),
            None => &self.default,
        };
        Some(Arc::clone(chosen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::fixtures::Authority;

    /// Says which of the certificates (by its place) a name gets.
    fn chosen(certificates: &[Arc<LoadedCertificate>], name: &str) -> usize {
        let by_name = CertificatesByName::new(certificates).unwrap();
        let key = by_name.choose(name, |_| true);
        certificates.iter().position(|c| Arc::ptr_eq(&c.key, key)).unwrap()
    }

    #[test]
    fn exact_beats_wildcard_and_the_first_is_the_default() {
        let ca = Authority::new();
        let certificates =
            [ca.server(&["first.ir"]), ca.server(&["*.example.ir"]), ca.server(&["api.example.ir", "127.0.0.1"])];
        assert_eq!(chosen(&certificates, "api.example.ir"), 2);
        assert_eq!(chosen(&certificates, "www.example.ir"), 1);
        assert_eq!(chosen(&certificates, "first.ir"), 0);
        assert_eq!(chosen(&certificates, "unknown.ir"), 0);
    }

    #[test]
    fn a_wildcard_covers_exactly_one_label() {
        let ca = Authority::new();
        let certificates = [ca.server(&["first.ir"]), ca.server(&["*.example.ir"])];
        assert_eq!(chosen(&certificates, "example.ir"), 0);
        assert_eq!(chosen(&certificates, "a.b.example.ir"), 0);
    }

    #[test]
    fn of_two_certificates_for_one_name_the_client_gets_the_one_it_can_verify() {
        let ca = Authority::new();
        let certificates = [ca.server(&["api.ir"]), ca.server(&["api.ir"])];
        let by_name = CertificatesByName::new(&certificates).unwrap();
        let second = &certificates[1].key;
        assert!(Arc::ptr_eq(by_name.choose("api.ir", |key| std::ptr::eq(key, &**second)), second));
        assert!(Arc::ptr_eq(by_name.choose("api.ir", |_| false), &certificates[0].key));
    }
}
