//! What an SSO signs for its client: ID tokens and logout tokens. From text to claims that are the issuer's.
//!
//! Shape, header and signature are judged here by the code that judges access tokens; which claims must say what is for
//! `login` to judge. Nothing here makes a permit.

use std::sync::Arc;

use serde_json::Value;

use super::assurance;
use super::keys::{Issuer, Missing};
use super::token::{self, Claims, Invalid};
use crate::clock::UnixTime;
use crate::words::Level;

/// Claims whose signature is the issuer's. Nothing else of them is proved.
pub struct Statement(Claims);

/// Why a statement counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproved {
    Invalid(Invalid),
    /// The issuer's keys were never obtained: it may be good.
    NoKeys,
}

impl From<Invalid> for Unproved {
    fn from(invalid: Invalid) -> Unproved {
        Unproved::Invalid(invalid)
    }
}

/// The claims of a JWS that `issuer` signed (RP-3, BL-2). `types`: what its `typ` may be, lower case, without a leading
/// `application/`; none at all is always good. An unknown key may wait, a bounded time, for a refresh.
pub async fn verify(issuer: &Arc<Issuer>, text: &str, types: &[&str]) -> Result<Statement, Unproved> {
    let unproved = token::read_of_types(text, &issuer.model, types)?;
    let key = issuer.key(unproved.kid.as_deref(), unproved.algorithm).await.map_err(|missing| match missing {
        Missing::NoKeys => Unproved::NoKeys,
        Missing::Unknown => Invalid("the token is signed with an unknown key").into(),
    })?;
    if !key.verifies(unproved.algorithm, unproved.signed.as_bytes(), &unproved.signature) {
        return Err(Invalid("the token's signature is wrong").into());
    }
    Ok(Statement(unproved.claims))
}

/// `iss` of a JWT that nothing is known of yet: only good for finding out whose keys to try.
pub fn claimed_issuer(text: &str) -> Result<String, Invalid> {
    let claims = token::Parts::of(text)?.claims()?;
    claims.text("iss").map(str::to_owned).ok_or(Invalid("the token names no issuer"))
}

impl Statement {
    /// A top-level member that is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.text(name)
    }

    pub fn member(&self, name: &str) -> Option<&Value> {
        self.0.member(name)
    }

    /// A `NumericDate`. `None`: it is absent. Errors: it is something else.
    pub fn date(&self, name: &str) -> Result<Option<UnixTime>, Invalid> {
        self.0.date(name)
    }

    pub fn subject(&self) -> Result<&str, Invalid> {
        self.0.subject()
    }

    /// `aud`, as a list.
    pub fn audiences(&self) -> Result<Vec<&str>, Invalid> {
        self.0.audiences()
    }

    /// Only an integer is an `auth_time` (AS-7).
    pub fn auth_time(&self) -> Option<UnixTime> {
        self.0.auth_time()
    }

    /// The exact claim value and the level it stands for (AS-1, AS-2, AS-6).
    pub fn level(&self, issuer: &Issuer) -> (Option<String>, Level) {
        assurance::level(&self.0, issuer)
    }
}
