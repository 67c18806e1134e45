//! What nodes share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::same;
use crate::secret::Secret;

/// How rates are counted by all nodes together.
#[derive(Clone, Debug, PartialEq)]
pub struct SharedRates {
    pub server: RedisServer,
    /// How long a request waits for the count at most; beyond, this node counts by itself.
    pub timeout: Duration,
}

/// A Redis that the nodes share.
#[derive(Clone, Debug)]
pub struct RedisServer {
    /// As written, for the log and metrics: there is no secret in it.
    pub url: Arc<str>,
    pub address: RedisAddress,
    pub database: i64,
    pub username: Option<String>,
    pub password: Option<Secret<String>>,
    /// `None`: the system's roots.
    pub roots: Option<Arc<rustls::RootCertStore>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisAddress {
    Unix(PathBuf),
    /// `host`: without brackets.
    Tcp {
        host: String,
        port: u16,
        tls: bool,
    },
}

impl PartialEq for RedisServer {
    fn eq(&self, other: &RedisServer) -> bool {
        let RedisServer { url, address, database, username, password, roots } = self;
        *url == other.url
            && *address == other.address
            && *database == other.database
            && *username == other.username
            && *password == other.password
            && same::same_roots(roots.as_ref(), other.roots.as_ref())
    }
}
