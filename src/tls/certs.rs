//! Reading and judging certificates, keys and CA bundles.
//!
//! Called by `config` for everything `routes.yaml` names, so that what is wrong with a file is a fault of the config and
//! never a surprise in a handshake. Knows nothing of listeners or agencies, and no error carries a byte of a key.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

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
    /// Where certificate and key were read from.
    pub files: (PathBuf, PathBuf),
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

/// What is wrong with a certificate, key or CA file. Which words a reader gets for it is the business of `config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertFault {
    /// Missing or unreadable; the text is the system's.
    Unreadable(String),
    NoCertificate,
    NoKey,
    /// The file holds something that does not parse.
    Malformed(String),
    KeyMismatch,
    Expired {
        not_after: UnixTime,
    },
    NotYetValid {
        not_before: UnixTime,
    },
    NoSan,
}

/// Reads a PEM chain (leaf first) and its PEM key. Every check the issue of a server certificate can fail.
pub fn load_server(cert: &Path, key: &Path, now: UnixTime) -> Result<LoadedCertificate, CertFault> {
    let chain = read_certificates(cert)?;
    let certified = certify(&chain, read_key(key)?)?;
    let leaf = Leaf::judge(&chain[0], now)?;
    if leaf.names.is_empty() {
        return Err(CertFault::NoSan);
    }
    let subject = leaf.common_name.unwrap_or_else(|| leaf.names[0].clone());
    Ok(LoadedCertificate {
        key: Arc::new(certified),
        names: leaf.names,
        subject,
        not_after: leaf.not_after,
        files: (cert.to_owned(), key.to_owned()),
    })
}

/// Reads a client certificate chain and key. A client needs no SAN: agencies know it by its subject or its key.
pub fn load_identity(cert: &Path, key: &Path, now: UnixTime) -> Result<Identity, CertFault> {
    let chain = read_certificates(cert)?;
    let key = read_key(key)?;
    certify(&chain, key.clone_key())?;
    Leaf::judge(&chain[0], now)?;
    Ok(Identity { chain, key })
}

/// Reads a CA bundle. An empty or missing file is a fault, never "trust nobody" or "trust anybody".
pub fn load_roots(file: &Path) -> Result<Arc<RootCertStore>, CertFault> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in read_certificates(file)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|e| CertFault::Malformed(format!("certificate {}: {e}", index + 1)))?;
    }
    Ok(Arc::new(roots))
}

fn read(file: &Path) -> Result<Vec<u8>, CertFault> {
    std::fs::read(file).map_err(|e| CertFault::Unreadable(e.to_string()))
}

/// All certificates of a PEM file, in its order; never empty. Other sections, such as a key kept beside them, are skipped.
fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, CertFault> {
    let pem = read(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|e| CertFault::Malformed(pem_text(&e)))?;
    if found.is_empty() { Err(CertFault::NoCertificate) } else { Ok(found) }
}

fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, CertFault> {
    let pem = read(file)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|e| match e {
        pem::Error::NoItemsFound => CertFault::NoKey,
        other => CertFault::Malformed(pem_text(&other)),
    })
}

/// The PEM reader's own words quote the line it stumbled over: in a key file that may be the key.
fn pem_text(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a PEM section has no END line",
        pem::Error::IllegalSectionStart { .. } => "a PEM section has a broken BEGIN line",
        pem::Error::Base64Decode(_) => "a PEM section is not base64",
        _ => "not a PEM file",
    }
    .to_owned()
}

/// Chain and key together; the key must be the leaf's.
fn certify(chain: &[CertificateDer<'static>], key: PrivateKeyDer<'static>) -> Result<CertifiedKey, CertFault> {
    CertifiedKey::from_der(chain.to_vec(), key, &aws_lc_rs::default_provider()).map_err(|e| match e {
        rustls::Error::InconsistentKeys(_) => CertFault::KeyMismatch,
        other => CertFault::Malformed(other.to_string()),
    })
}

/// What a leaf certificate says of itself.
struct Leaf {
    names: Vec<String>,
    common_name: Option<String>,
    not_after: UnixTime,
}

impl Leaf {
    /// Parses the certificate; it must be in force at `now` (RFC 5280 section 4.1.2.5, both ends inclusive).
    fn judge(der: &CertificateDer<'_>, now: UnixTime) -> Result<Leaf, CertFault> {
        let (_, leaf) = x509_parser::parse_x509_certificate(der).map_err(|e| CertFault::Malformed(e.to_string()))?;
        let not_before = leaf.validity().not_before.timestamp();
        let not_after = leaf.validity().not_after.timestamp();
        if now < not_before {
            return Err(CertFault::NotYetValid { not_before });
        }
        if now > not_after {
            return Err(CertFault::Expired { not_after });
        }
        let common_name = leaf.subject().iter_common_name().find_map(|cn| cn.as_str().ok()).map(str::to_owned);
        Ok(Leaf { names: san_names(&leaf)?, common_name, not_after })
    }
}

/// Whether a certificate, already verified, is for one of `names` (lower case).
pub fn has_name(der: &[u8], names: &[String]) -> bool {
    let Ok((_, leaf)) = x509_parser::parse_x509_certificate(der) else { return false };
    san_names(&leaf).is_ok_and(|own| own.iter().any(|name| names.contains(name)))
}

/// DNS names and addresses of the SAN (RFC 5280 section 4.2.1.6); what else it may hold names no host.
fn san_names(leaf: &X509Certificate<'_>) -> Result<Vec<String>, CertFault> {
    let san = leaf.subject_alternative_name().map_err(|e| CertFault::Malformed(e.to_string()))?;
    let names = san.iter().flat_map(|san| &san.value.general_names);
    Ok(names
        .filter_map(|name| match name {
            GeneralName::DNSName(dns) => Some(dns.to_ascii_lowercase()),
            GeneralName::IPAddress(octets) => address(octets).map(|ip| ip.to_string()),
            _ => None,
        })
        .collect())
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests;
