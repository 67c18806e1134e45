//! Certificates, keys and rustls settings for both sides. Floor 1.

pub mod certs;
pub mod client;
pub mod resolver;
pub mod server;

#[cfg(test)]
mod fixtures;
