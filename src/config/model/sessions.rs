//! How callers who logged in through the gateway are remembered.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Rate, RedisServer};
use crate::secret::Secret;

/// How callers who logged in through the gateway are remembered (STANDARDS AS-8, BF-2, BF-4).
#[derive(Clone, Debug, PartialEq)]
pub struct Sessions {
    pub store: SessionStore,
    /// The first seals, all open. Empty: one is made at first start and kept in `state_dir`.
    pub keys: Vec<SessionKey>,
    /// Begins with `__Host-`.
    pub cookie: Arc<str>,
    /// Of levels 1, 2 and 3.
    pub levels: [SessionLimit; 3],
    /// Sessions that one subject may have at once; one more ends the oldest.
    pub per_subject: u32,
    /// How long a stream may go on when its session has ended.
    pub grace: Duration,
    /// Logins that one address may begin.
    pub logins: Rate,
}

/// What seals sessions that leave the process, and the login's own state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionKey(Secret<[u8; 32]>);

impl SessionKey {
    /// The base64 of 32 bytes, as `openssl rand -base64 32` writes it.
    pub fn parse(text: &[u8]) -> Option<SessionKey> {
        let mut key = [0; 32];
        let decoded = STANDARD.decode_slice(text.trim_ascii(), &mut key);
        (decoded == Ok(32)).then(|| SessionKey(Secret::new(key)))
    }

    pub const fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum SessionStore {
    /// In this process; at most so many, the longest idle goes.
    Memory { max: u32 },
    /// Sealed, in the browser's cookies. `shared`: where the nodes tell each other what ended.
    Cookie { shared: Option<RedisServer> },
    /// Sealed, in a Redis that all nodes share.
    Redis(RedisServer),
}

/// How long one level of a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimit {
    /// Since it was reached.
    pub absolute: Duration,
    /// Since the session was used last; `None`: however long.
    pub idle: Option<Duration>,
}
