//! Credential -> token -> key -> claims -> level, age, scopes: a permit, or the first reason against (BE-8).

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::assurance;
use super::cache::{self, Looked, Place, TokenCache, count};
use super::credential::{self, Malformed, Presented, token68};
use super::keys::{Issuer, Missing};
use super::permit::{Permit, Verified, rate_key};
use super::token::{self, Claims, Invalid};
use crate::apart::apart;
use crate::clock::{Clock, UnixTime};
use crate::config::model::{Require, Via};
use crate::fields::Fields;
use crate::limit::forgeries::Sender;
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
    pub via: Via,
}

impl Requirement {
    /// `issuer`: the running one that `require` names.
    pub fn new(require: &Require, issuer: Option<Arc<Issuer>>) -> Requirement {
        let values = issuer.as_ref().map(|issuer| issuer.model.values_reaching(require.level).join(" "));
        Requirement {
            level: require.level,
            acr_values: values.unwrap_or_default(),
            scope: require.scopes.join(" "),
            scopes: require.scopes.clone(),
            max_age: require.max_age,
            via: require.via,
            issuer,
        }
    }
}

/// Why a caller may not pass. `description` is for the developer: it never repeats what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    TokenMissing,
    CredentialsMalformed {
        description: &'static str,
    },
    TokenInvalid {
        description: &'static str,
    },
    LevelTooLow {
        has: Level,
        needs: Level,
    },
    AuthenticationTooOld,
    ScopeMissing,
    KeysUnavailable,
    /// Too many tokens with a wrong signature came from the caller's address: another is looked at after this long.
    TooManyForged {
        retry_after: Duration,
    },
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
            Denied::TooManyForged { .. } => Code::RateLimited,
        }
    }
}

impl Denied {
    /// `error` of the challenge (RFC 6750 §3.1, RFC 9470 §3). `None`: nothing was sent (BE-1), or it is not the caller's
    /// doing.
    pub const fn error(&self) -> Option<&'static str> {
        match self {
            Denied::TokenMissing | Denied::KeysUnavailable | Denied::TooManyForged { .. } => None,
            Denied::CredentialsMalformed { .. } => Some("invalid_request"),
            Denied::TokenInvalid { .. } => Some("invalid_token"),
            Denied::LevelTooLow { .. } | Denied::AuthenticationTooOld => Some("insufficient_user_authentication"),
            Denied::ScopeMissing => Some("insufficient_scope"),
        }
    }
}

impl From<Malformed> for Denied {
    fn from(Malformed(description): Malformed) -> Denied {
        Denied::CredentialsMalformed { description }
    }
}

impl From<Invalid> for Denied {
    fn from(Invalid(description): Invalid) -> Denied {
        Denied::TokenInvalid { description }
    }
}

/// Judges a request by its headers and query (without `?`). On level 0 nothing is looked at. Waits only when a key is
/// unknown and a refresh is due, and then for a bounded time. Cancel safe: dropping it loses nothing but the answer.
/// `sender`: whose forged tokens count; `None` where nobody outside asks.
pub async fn admit(
    requirement: &Requirement,
    headers: &Fields,
    query: Option<&[u8]>,
    sender: Option<Sender<'_>>,
    cache: &TokenCache,
    clock: &Clock,
) -> Result<Permit, Denied> {
    if requirement.level == Level::NONE {
        return Ok(Permit::of(None));
    }
    let Presented::Bearer(token) = credential::presented(headers, query)? else { return Err(Denied::TokenMissing) };
    // A requirement without an issuer cannot be met: nobody is let through on a mistake of ours.
    let issuer = requirement.issuer.as_ref().ok_or(Denied::KeysUnavailable)?;
    let now = clock.now();
    let verified = match cache.look(token, issuer, now) {
        Looked::Hit(verified) => verified,
        // Boxed: the state of a rare wait would otherwise be part of every request's future.
        Looked::Miss(place) => apart(prove(token, place, issuer, sender, cache, now)).await?,
    };
    sender.iter().for_each(Sender::sent_good);
    assurance::judge(requirement, &verified, issuer.model.clock_skew, now)?;
    Ok(Permit::of(Some(verified)))
}

/// The cheap checks first, so that garbage costs no public-key operation; nothing of the token counts before its signature.
async fn prove(
    token: &[u8],
    place: Place,
    issuer: &Arc<Issuer>,
    sender: Option<Sender<'_>>,
    cache: &TokenCache,
    now: UnixTime,
) -> Result<Rc<Verified>, Denied> {
    let unproved = token::read(token68(token)?, &issuer.model)?;
    unproved.claims.judge(&issuer.model, now)?;
    let key = issuer.key(unproved.kid.as_deref(), unproved.algorithm).await.map_err(|missing| match missing {
        Missing::NoKeys => Denied::KeysUnavailable,
        Missing::Unknown => Invalid("the token is signed with an unknown key").into(),
    })?;
    let (signatures, hash) = (cache.signatures(), cache::hash(token));
    if let Some(Err(limited)) = sender.map(|sender| sender.may_try(hash)) {
        count(&signatures.put_off);
        return Err(Denied::TooManyForged { retry_after: limited.retry_after });
    }
    if !key.verifies(unproved.algorithm, unproved.signed.as_bytes(), &unproved.signature) {
        count(&signatures.bad);
        sender.iter().for_each(Sender::sent_forged);
        return Err(Invalid("the token's signature is wrong").into());
    }
    count(&signatures.good);
    sender.iter().for_each(|sender| sender.proved(hash));
    let verified = Rc::new(verified(&unproved.claims, issuer)?);
    let skew = i64::try_from(issuer.model.clock_skew.as_secs()).unwrap_or(0);
    cache.insert(place, token, verified.clone(), (issuer, key.life(), verified.exp.saturating_add(skew)));
    Ok(verified)
}

fn verified(claims: &Claims, issuer: &Issuer) -> Result<Verified, Invalid> {
    let (acr, level) = assurance::level(claims, issuer);
    let subject = claims.subject()?;
    let client = claims.client();
    Ok(Verified {
        issuer: issuer.iss.clone(),
        subject_key: rate_key(&issuer.iss, subject),
        client_key: client.map(|client| rate_key(&issuer.iss, client)),
        subject: subject.to_owned(),
        client: client.map(str::to_owned),
        acr,
        level,
        auth_time: claims.auth_time(),
        exp: claims.exp()?,
        scopes: claims.scopes(),
        released: None,
        pairwise: Default::default(),
        more_pairwise: Default::default(),
    })
}

#[cfg(test)]
mod tests;
