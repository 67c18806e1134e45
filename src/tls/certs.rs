//! Reading and judging certificates, keys and CA bundles.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::clock::UnixTime;

/// A server certificate that fits its key and is in force.
#[derive(Debug)]
pub struct LoadedCertificate {
    pub key: Arc<CertifiedKey>,
    /// DNS names and IP addresses of the SAN, lower case. Never empty. May hold `*.example.ir`.
    pub names: Vec<String>,
    /// The subject's common name, else the first SAN: a metric label.
    pub subject: String,
    pub not_after: UnixTime,
}

/// A client certificate chain and its key, for mTLS towards an agency.
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(<redacted>)")
    }
}

/// What is wrong with a certificate, key or CA file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertFault {
    /// Missing or unreadable; the text is the system's.
    Unreadable(String),
    NoCertificate,
    NoKey,
    /// The file holds something that does not parse.
    Malformed(String),
    KeyMismatch,
    Expired { not_after: UnixTime },
    NotYetValid { not_before: UnixTime },
    NoSan,
}

/// Reads a PEM chain (leaf first) and its PEM key. Every check the issue of a server certificate can fail.
pub fn load_server(_cert: &Path, _key: &Path, _now: UnixTime) -> Result<LoadedCertificate, CertFault> {
    todo!()
}

/// Reads a client certificate chain and key.
pub fn load_identity(_cert: &Path, _key: &Path, _now: UnixTime) -> Result<Identity, CertFault> {
    todo!()
}

/// Reads a CA bundle. An empty or missing file is a fault, never "trust nobody" or "trust anybody".
pub fn load_roots(_file: &Path) -> Result<Arc<RootCertStore>, CertFault> {
    todo!()
}
