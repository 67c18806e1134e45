//! rustls settings towards agencies and the SSO.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use crate::config::model::ClientTls;

/// Settings for an agency. `alpn`: `[h2, http/1.1]` or only `[http/1.1]`.
pub fn client_config(_tls: &ClientTls, _alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, rustls::Error> {
    todo!()
}

/// The system's roots, read once.
pub fn system_roots() -> Arc<RootCertStore> {
    todo!()
}
