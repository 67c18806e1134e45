//! rustls settings towards agencies and the SSO.
//!
//! Called by `live` once per agency (its connections share the sessions they may resume) and by `fetch`. The name that
//! is verified is the connector's business: it is given with each connection, not here.

use std::sync::{Arc, OnceLock};

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

use crate::config::model::ClientTls;

/// Settings for an agency. `alpn`: `[h2, http/1.1]` or only `[http/1.1]`.
///
/// TLS 1.2 or 1.3, X25519MLKEM768 offered, sessions resumed from memory, never 0-RTT. Errors: the client certificate or its
/// key is of a kind the provider cannot use.
pub fn client_config(tls: &ClientTls, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, rustls::Error> {
    let roots = tls.roots.clone().unwrap_or_else(system_roots);
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match &tls.client {
        Some(identity) => builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.enable_early_data = false;
    Ok(Arc::new(config))
}

/// The system's roots, read once. Where the system has none the store is empty, and every server is refused.
pub fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let load = || {
        let mut roots = RootCertStore::empty();
        // A system's bundle may hold what webpki does not understand; a root that is skipped trusts nobody.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    };
    Arc::clone(ROOTS.get_or_init(load))
}
