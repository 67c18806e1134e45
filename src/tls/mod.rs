//! Certificates, keys and rustls settings for both sides. Floor 1.

pub mod certs;
pub mod client;
pub mod server;
