//! rustls settings of a listener.

use std::sync::Arc;

use rustls::ServerConfig;

use crate::config::model::ServerTls;

/// TLS 1.2/1.3 by `min_version`, aws-lc-rs with X25519MLKEM768 offered, certificates by SNI (first is the default), ALPN
/// `h2` and `http/1.1`, client certificates as asked, resumption by tickets that belong to this listener alone, no 0-RTT.
pub fn server_config(_tls: &ServerTls) -> Result<Arc<ServerConfig>, rustls::Error> {
    todo!()
}
