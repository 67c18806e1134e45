//! How strongly a caller is authenticated, and whether that suffices for a route (RFC 9470, STANDARDS 1.1).
//!
//! Called by `auth::admit` once a token is proved (SU-5): [`level`] when it is proved, [`judge`] with every request. It
//! knows neither keys nor HTTP; a challenge is made of `Denied` and `Requirement` elsewhere.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::admit::{Denied, Requirement};
use super::keys::Issuer;
use super::permit::Verified;
use super::token::Claims;
use crate::clock::UnixTime;
use crate::words::Level;

/// The exact claim value when it is a string, and the level it stands for (AS-1, AS-6). What is missing, unknown or no
/// string is level 0 and counted (AS-2).
pub(super) fn level(claims: &Claims, issuer: &Issuer) -> (Option<String>, Level) {
    let value = claims.text(&issuer.model.level_claim);
    let level = value.map_or(Level::NONE, |value| issuer.model.level_of(value));
    if level == Level::NONE {
        issuer.unknown_levels.fetch_add(1, Ordering::Relaxed);
    }
    (value.map(str::to_owned), level)
}

/// Level, then age, then scopes (BE-8). `skew` is the issuer's.
pub(super) fn judge(
    requirement: &Requirement,
    verified: &Verified,
    skew: Duration,
    now: UnixTime,
) -> Result<(), Denied> {
    judge_level(requirement, verified.level)?;
    judge_age(requirement, verified.auth_time, skew, now)?;
    judge_scopes(requirement, &verified.scopes)
}

pub(super) fn judge_level(requirement: &Requirement, has: Level) -> Result<(), Denied> {
    if has < requirement.level { Err(Denied::LevelTooLow { has, needs: requirement.level }) } else { Ok(()) }
}

pub(super) fn judge_age(
    requirement: &Requirement,
    auth_time: Option<UnixTime>,
    skew: Duration,
    now: UnixTime,
) -> Result<(), Denied> {
    match requirement.max_age {
        Some(max_age) if !is_fresh(auth_time, max_age, skew, now) => Err(Denied::AuthenticationTooOld),
        _ => Ok(()),
    }
}

pub(super) fn judge_scopes(requirement: &Requirement, has: &[String]) -> Result<(), Denied> {
    if requirement.scopes.iter().all(|scope| has.contains(scope)) { Ok(()) } else { Err(Denied::ScopeMissing) }
}

/// AS-7: by `auth_time` alone, because a refreshed token has a new `iat` but no new authentication.
fn is_fresh(auth_time: Option<UnixTime>, max_age: Duration, skew: Duration, now: UnixTime) -> bool {
    let Some(auth_time) = auth_time else { return false };
    let allowed = i64::try_from(max_age.saturating_add(skew).as_secs()).unwrap_or(i64::MAX);
    now.saturating_sub(auth_time) <= allowed
}

#[cfg(test)]
mod tests;
