//! A server as its connections see it in common: where it is, how to get in, and how many of them are up.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use redis::RedisConnectionInfo;
use rustls::ClientConfig;

use crate::config::model::{ClientTls, RedisAddress, RedisServer};
use crate::tls::client::client_config;

pub struct Server {
    model: RedisServer,
    /// What it is used for, and what is done without it: ends the log's sentence "… is away (WHY): ".
    without: &'static str,
    pub(super) tls: Option<Arc<ClientConfig>>,
    open: AtomicUsize,
    up: AtomicUsize,
    /// Whether it was told to the log that the server is away.
    told: AtomicBool,
}

impl Server {
    /// `without`: what becomes of callers while it is away, for the log. Errors: roots that cannot be used.
    pub fn new(model: RedisServer, without: &'static str) -> Result<Arc<Server>, String> {
        let tls = match &model.address {
            RedisAddress::Tcp { tls: true, .. } => {
                let trust = ClientTls { roots: model.roots.clone(), ..ClientTls::default() };
                Some(client_config(&trust, &[]).map_err(|error| format!("{}: {error}", model.url))?)
            }
            _ => None,
        };
        let (open, up, told) = Default::default();
        Ok(Arc::new(Server { model, without, tls, open, up, told }))
    }

    pub fn model(&self) -> &RedisServer {
        &self.model
    }

    /// Whether every connection that was opened is there. False while none was.
    pub fn is_up(&self) -> bool {
        let open = self.open.load(Ordering::Relaxed);
        open > 0 && self.up.load(Ordering::Relaxed) >= open
    }

    pub(super) fn login(&self) -> RedisConnectionInfo {
        let mut login = RedisConnectionInfo::default().set_db(self.model.database).set_skip_set_lib_name();
        if let Some(username) = &self.model.username {
            login = login.set_username(username);
        }
        if let Some(password) = &self.model.password {
            login = login.set_password(password.expose());
        }
        login
    }

    pub(super) fn seat(self: &Arc<Server>) -> Seat {
        self.open.fetch_add(1, Ordering::Relaxed);
        Seat(self.clone())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("url", &self.model.url).field("up", &self.is_up()).finish_non_exhaustive()
    }
}

/// One connection's place among the server's.
pub(super) struct Seat(Arc<Server>);

impl Seat {
    /// Counts as up until it is dropped.
    pub(super) fn up(&self) -> Up<'_> {
        let server = &self.0;
        let up = server.up.fetch_add(1, Ordering::Relaxed) + 1;
        if up >= server.open.load(Ordering::Relaxed) && server.told.swap(false, Ordering::Relaxed) {
            eprintln!("redis {}: is back", server.model.url);
        }
        Up(server)
    }

    /// Told once, whichever connection notices first, until all are back.
    pub(super) fn away(&self, why: &str) {
        let server = &self.0;
        if !server.told.swap(true, Ordering::Relaxed) {
            eprintln!("warning: redis {}: is away ({why}): {}", server.model.url, server.without);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) struct Up<'a>(&'a Server);

impl Drop for Up<'_> {
    fn drop(&mut self) {
        self.0.up.fetch_sub(1, Ordering::Relaxed);
    }
}
