//! Credential -> token -> key -> claims -> level, age, scopes: a permit, or the first reason against (BE-8).

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use super::cache::TokenCache;
use super::keys::Issuer;
use super::permit::Permit;
use crate::clock::Clock;
use crate::words::{Code, Level};

/// What a route asks, made ready at load: the texts of challenges are formatted once.
#[derive(Debug)]
pub struct Requirement {
    pub level: Level,
    /// Present exactly when `level` is 1 or more.
    pub issuer: Option<Arc<Issuer>>,
    pub scopes: Vec<String>,
    pub max_age: Option<Duration>,
    /// Space-separated, lowest sufficient first (AS-10).
    pub acr_values: String,
    /// Space-separated: all that the route requires.
    pub scope: String,
}

/// Why a caller may not pass. `description` is for the developer: it never repeats what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    TokenMissing,
    CredentialsMalformed { description: &'static str },
    TokenInvalid { description: &'static str },
    LevelTooLow { has: Level, needs: Level },
    AuthenticationTooOld,
    ScopeMissing,
    KeysUnavailable,
}

impl Denied {
    pub fn code(&self) -> Code {
        match self {
            Denied::TokenMissing => Code::TokenMissing,
            Denied::CredentialsMalformed { .. } => Code::CredentialsMalformed,
            Denied::TokenInvalid { .. } => Code::TokenInvalid,
            Denied::LevelTooLow { .. } => Code::LevelTooLow,
            Denied::AuthenticationTooOld => Code::AuthenticationTooOld,
            Denied::ScopeMissing => Code::ScopeMissing,
            Denied::KeysUnavailable => Code::KeysUnavailable,
        }
    }
}

/// Judges a request by its headers and query (without `?`). On level 0 nothing is looked at. Waits only when a key is
/// unknown and a refresh is due, and then for a bounded time. Cancel safe: dropping it loses nothing but the answer.
pub async fn admit(
    _requirement: &Requirement,
    _headers: &HeaderMap,
    _query: Option<&[u8]>,
    _cache: &TokenCache,
    _clock: &Clock,
) -> Result<Permit, Denied> {
    todo!()
}
