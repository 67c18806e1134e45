//! The proof that a caller was admitted. Forwarding takes one; only `auth::admit` makes one.

use std::sync::Arc;

use crate::clock::UnixTime;
use crate::words::Level;

/// What was proved about a token: computed once, kept in the cache, shared by every request that brings it.
#[derive(Debug)]
pub struct Verified {
    /// The issuer's `iss`.
    pub issuer: Arc<str>,
    /// `sub`. Personal: never logged, never sent to an agency as it is.
    pub subject: String,
    /// `azp`, else `client_id`.
    pub client: Option<String>,
    /// The exact claim value, when it was a string.
    pub acr: Option<String>,
    pub level: Level,
    pub auth_time: Option<UnixTime>,
    pub exp: UnixTime,
    pub scopes: Vec<String>,
}

/// A caller who may pass on the route whose requirement was judged.
#[derive(Clone, Debug)]
pub struct Permit {
    token: Option<Arc<Verified>>,
}

impl Permit {
    /// For `auth::admit` alone.
    pub(super) fn of(token: Option<Arc<Verified>>) -> Permit {
        Permit { token }
    }

    /// `None` on a level-0 route, where credentials are not looked at.
    pub fn token(&self) -> Option<&Arc<Verified>> {
        self.token.as_ref()
    }

    pub fn level(&self) -> Level {
        self.token.as_ref().map_or(Level::NONE, |t| t.level)
    }
}
