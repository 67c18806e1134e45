//! What `tls::certs` finds wrong with a file, told as faults of the place that names it.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;

use super::{Context, Field, codes};
use crate::clock::UnixTime;
use crate::config::secret_ref;
use crate::config::units::show_duration;
use crate::tls::certs::{self, CertFault, Identity, LoadedCertificate};

/// Renewals are usually tried from 30 days before the end.
const EXPIRES_SOON: UnixTime = 30 * 24 * 3600;

/// A server certificate with its key.
pub fn server(cert: &Field<'_>, key: &Field<'_>, cx: &mut Context<'_>) -> Option<Arc<LoadedCertificate>> {
    let (cert_file, key_file) = (cx.file(cert), cx.file(key));
    let key_file = key_file?;
    match certs::load_server(&cert_file?, &key_file, cx.now) {
        Ok(loaded) => {
            warn_if_readable_by_all(key, &key_file, cx);
            warn_before_expiry(&loaded, cert, cx);
            Some(Arc::new(loaded))
        }
        Err(fault) => {
            report(fault, cert, Some(key), cx);
            None
        }
    }
}

/// A client certificate with its key.
pub fn identity(cert: &Field<'_>, key: &Field<'_>, cx: &mut Context<'_>) -> Option<Arc<Identity>> {
    let (cert_file, key_file) = (cx.file(cert), cx.file(key));
    let key_file = key_file?;
    match certs::load_identity(&cert_file?, &key_file, cx.now) {
        Ok(identity) => {
            warn_if_readable_by_all(key, &key_file, cx);
            Some(Arc::new(identity))
        }
        Err(fault) => {
            report(fault, cert, Some(key), cx);
            None
        }
    }
}

/// A CA bundle.
pub fn roots(field: &Field<'_>, cx: &mut Context<'_>) -> Option<Arc<RootCertStore>> {
    let file = cx.file(field)?;
    match certs::load_roots(&file) {
        Ok(roots) => Some(roots),
        Err(fault) => {
            report(fault, field, None, cx);
            None
        }
    }
}

/// A key that others can read is nobody's alone.
pub fn warn_if_readable_by_all(field: &Field<'_>, file: &Path, cx: &mut Context<'_>) {
    if secret_ref::is_readable_by_all(file) {
        let message = "every user of this machine may read the key";
        let remedy = format!("`chmod o= {}`", file.display());
        field.fault(cx.faults, codes::KEY_READABLE_BY_ALL, message, remedy);
    }
}

fn warn_before_expiry(loaded: &LoadedCertificate, cert: &Field<'_>, cx: &mut Context<'_>) {
    let left = loaded.not_after - cx.now;
    if left < EXPIRES_SOON {
        let days = left / (24 * 3600);
        let message = format!("the certificate of `{}` expires in {days} days", loaded.subject);
        cert.fault(cx.faults, codes::EXPIRES_SOON, message, "renew it");
    }
}

/// Blames the key where the key is at fault, the certificate else.
fn report(fault: CertFault, cert: &Field<'_>, key: Option<&Field<'_>>, cx: &mut Context<'_>) {
    let key = key.unwrap_or(cert);
    let since = |seconds: UnixTime| show_duration(std::time::Duration::from_secs(seconds.max(0).unsigned_abs()));
    let (field, code, message, remedy) = match fault {
        CertFault::Unreadable(why) => {
            // The loader does not say which of the two files it could not read.
            let field = if cx.file(cert).is_some_and(|f| std::fs::File::open(f).is_ok()) { key } else { cert };
            let path = cx.file(field).unwrap_or_default();
            let message = format!("`{}` cannot be read: {why}", path.display());
            (field, codes::FILE_UNREADABLE, message, "name a file that is there and that this user may read")
        }
        CertFault::NoCertificate => (
            cert,
            codes::BAD_PEM,
            "the file holds no certificate".to_owned(),
            "put PEM blocks `BEGIN CERTIFICATE` into it",
        ),
        CertFault::NoKey => (
            key,
            codes::BAD_PEM,
            "the file holds no private key".to_owned(),
            "put a PEM block `BEGIN PRIVATE KEY` into it",
        ),
        CertFault::Malformed(why) => {
            (cert, codes::BAD_PEM, format!("the file does not parse: {why}"), "write it anew as PEM")
        }
        CertFault::KeyMismatch => (
            key,
            codes::KEY_MISMATCH,
            "the key does not belong to the certificate".to_owned(),
            "name the key that the certificate was issued for",
        ),
        CertFault::Expired { not_after } => {
            let message = format!("the certificate expired {} ago", since(cx.now - not_after));
            (cert, codes::NOT_IN_FORCE, message, "renew it")
        }
        CertFault::NotYetValid { not_before } => {
            let message = format!("the certificate comes into force in {}", since(not_before - cx.now));
            (cert, codes::NOT_IN_FORCE, message, "check the machine's clock, or wait")
        }
        CertFault::NoSan => (
            cert,
            codes::NO_SAN,
            "the certificate has no subject alternative name; no client accepts it".to_owned(),
            "issue it with the host names as DNS entries of the SAN",
        ),
    };
    field.fault(cx.faults, code, message, remedy);
}
