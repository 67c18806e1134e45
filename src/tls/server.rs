//! rustls settings of a listener.
//!
//! Called once per listener and change of its `tls` by `live` or `listen`; the result is shared by all workers. Everything
//! a file can be guilty of was found by `certs` before: an error here means that the cryptography itself failed.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};

use super::resolver::CertificatesByName;
use crate::config::model::{ClientAuth, ServerTls};

/// What a listener speaks inside TLS, preferred first (RFC 7301).
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A ticket costs the handshake a record and some microseconds; a browser that opens a second connection at once reuses
/// what HTTP/2 gives it, so one is enough.
const TICKETS: usize = 1;

/// TLS 1.2/1.3 by `min_version`, aws-lc-rs with X25519MLKEM768 offered, certificates by SNI (first is the default), ALPN
/// `h2` and `http/1.1`, client certificates as asked, resumption by tickets that belong to this listener alone, no 0-RTT.
///
/// Every call makes its own ticket keys. A session therefore never moves to another listener, nor survives a change of
/// `client_ca`: whoever brings a foreign ticket gets a full handshake, client certificate and all. Keep the value for
/// as long as the listener's settings stand, else every reload costs each client one full handshake.
pub fn server_config(tls: &ServerTls) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions: &[_] = if tls.tls13_only { &[&TLS13] } else { &[&TLS13, &TLS12] };
    let certificates = CertificatesByName::new(&tls.certificates).ok_or(rustls::Error::NoCertificatesPresented)?;

    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions)?;
    let builder = match client_verifier(&tls.client_auth, provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).into();
    config.ticketer = Ticketer::new()?;
    // Tickets carry the state: no table behind a lock that all workers would share.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = TICKETS;
    // 0-RTT can be replayed (RFC 8446 section 8, RFC 8470): HP-12 takes the simplest way out.
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

fn client_verifier(
    wanted: &ClientAuth,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, rustls::Error> {
    let (roots, optional) = match wanted {
        ClientAuth::None => return Ok(None),
        ClientAuth::Optional(roots) => (roots, true),
        ClientAuth::Required(roots) => (roots, false),
    };
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider);
    let builder = if optional { builder.allow_unauthenticated() } else { builder };
    let verifier = builder.build().map_err(|e| rustls::Error::General(e.to_string()))?;
    Ok(Some(verifier))
}

#[cfg(test)]
mod tests;
