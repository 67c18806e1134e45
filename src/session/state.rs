//! What is known of a caller who logged in: who, how strongly, since when, and the SSO's tokens. A plain value.
//!
//! It knows no store, no cookie and no clock. How long a level stands is judged with the limits in force now, so that a
//! shorter limit in a new configuration counts for sessions that were there before.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::clock::UnixTime;
use crate::config::model::SessionLimit;
use crate::secret::Secret;
use crate::words::Level;

/// The limits of levels 1, 2 and 3 in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits([(i64, Option<i64>); 3]);

impl Limits {
    pub fn new(levels: &[SessionLimit; 3]) -> Limits {
        let seconds = |time: std::time::Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Limits(levels.map(|limit| (seconds(limit.absolute), limit.idle.map(seconds))))
    }

    /// When a level that was reached then ends, used or not.
    pub fn absolute_end(&self, level: Level, reached_at: UnixTime) -> UnixTime {
        place(level).map_or(reached_at, |at| reached_at.saturating_add(self.0[at].0))
    }

    /// When no session that there is now can stand any more.
    pub(super) fn longest(&self, now: UnixTime) -> UnixTime {
        self.0.iter().map(|(absolute, _)| now.saturating_add(*absolute)).max().unwrap_or(now)
    }

    /// When it ends if the session is not used again.
    pub fn end(&self, level: Level, reached_at: UnixTime, seen: UnixTime) -> UnixTime {
        let absolute = self.absolute_end(level, reached_at);
        let idle = place(level).and_then(|at| self.0[at].1);
        idle.map_or(absolute, |idle| absolute.min(seen.saturating_add(idle)))
    }
}

/// How a level was reached.
#[derive(Clone, PartialEq, Eq)]
pub struct Standing {
    /// The exact value of the level claim.
    pub acr: Arc<str>,
    /// `auth_time` of the ID token: when the caller authenticated.
    pub auth_time: Option<UnixTime>,
    /// When the gateway was told.
    pub reached_at: UnixTime,
}

/// What the SSO gave. Only what is used later is worth keeping: they are the largest part of a session by far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// For `id_token_hint` at logout.
    pub id: Option<Secret<String>>,
    /// For agencies with `identity: token`.
    pub access: Option<Secret<String>>,
    pub refresh: Option<Secret<String>>,
    /// When the access token expires.
    pub expires: Option<UnixTime>,
}

#[derive(Clone, PartialEq)]
pub struct Session {
    /// The issuer's `iss`: its name in the configuration may be given to another.
    pub issuer: Arc<str>,
    /// The portal's host, as requests are matched: lower case, without port. Its cookie opens no other.
    pub host: Arc<str>,
    /// Personal: never logged, never sent to an agency as it is.
    pub sub: String,
    /// What the SSO calls its own session, for its logout messages.
    pub sid: Option<String>,
    /// The name to be shown, as released.
    pub name: Option<String>,
    /// Released claims. The store refuses more than [`MAX_CLAIMS`] bytes of them.
    pub claims: Map<String, Value>,
    pub tokens: Tokens,
    /// What the SSO granted, space-separated (RFC 6749 section 3.3).
    pub scope: String,
    pub created: UnixTime,
    /// When it was used last, as far as this copy knows.
    pub seen: UnixTime,
    /// Of levels 1, 2 and 3.
    pub standings: [Option<Standing>; 3],
}

/// Bytes of all released claims as JSON: a name, an address and a few numbers, not a photograph.
pub const MAX_CLAIMS: usize = 2048;
/// Bytes of a `sid` or a name; what is longer is left out. OpenID Connect Core §2 gives `sub` no more than 255.
pub const MAX_TEXT: usize = 512;

/// Shows nothing that an SSO said.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("issuer", &self.issuer).field("created", &self.created).finish_non_exhaustive()
    }
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standing").field("reached_at", &self.reached_at).finish_non_exhaustive()
    }
}

fn place(level: Level) -> Option<usize> {
    usize::from(level.number()).checked_sub(1)
}

fn bit(level: Level) -> u8 {
    1 << level.number()
}

/// Levels from the highest down.
const DOWNWARDS: [Level; 3] = [Level::THREE, Level::TWO, Level::ONE];

impl Session {
    /// A session in which no level is reached yet, on no host.
    pub fn new(issuer: Arc<str>, sub: String, now: UnixTime) -> Session {
        Session {
            issuer,
            host: Arc::from(""),
            sub,
            sid: None,
            name: None,
            claims: Map::new(),
            tokens: Tokens::default(),
            scope: String::new(),
            created: now,
            seen: now,
            standings: [None, None, None],
        }
    }

    /// `level` was reached now, and so was every level below it. A higher level that stands is left alone.
    pub fn reach(&mut self, level: Level, acr: &str, auth_time: Option<UnixTime>, now: UnixTime) {
        let acr: Arc<str> = Arc::from(acr);
        for standing in &mut self.standings[..usize::from(level.number())] {
            *standing = Some(Standing { acr: acr.clone(), auth_time, reached_at: now });
        }
        self.seen = now;
    }

    pub fn standing(&self, level: Level) -> Option<&Standing> {
        self.standings[place(level)?].as_ref()
    }

    /// The highest level that stands (AS-8: below one that expired comes the next, if that still stands). `NONE`: the
    /// session is over.
    pub fn level_at(&self, limits: &Limits, now: UnixTime) -> Level {
        self.level_seen(limits, self.seen, 0, now)
    }

    /// The same for a session that is known to have been used at `seen`, without the levels whose bits are in `gone`.
    pub(super) fn level_seen(&self, limits: &Limits, seen: UnixTime, gone: u8, now: UnixTime) -> Level {
        DOWNWARDS.into_iter().find(|level| self.stands(*level, limits, seen, gone, now)).unwrap_or(Level::NONE)
    }

    /// Whether this level stands, whatever others do.
    pub(super) fn stands(&self, level: Level, limits: &Limits, seen: UnixTime, gone: u8, now: UnixTime) -> bool {
        let standing = self.standing(level).filter(|_| gone & bit(level) == 0);
        standing.is_some_and(|standing| now < limits.end(level, standing.reached_at, seen))
    }

    /// Bits of the levels that ended by now, for a session used last at `seen`.
    pub(super) fn levels_over(&self, limits: &Limits, seen: UnixTime, now: UnixTime) -> u8 {
        let over = |level: Level| {
            let standing = self.standing(level)?;
            (now >= limits.end(level, standing.reached_at, seen)).then_some(bit(level))
        };
        DOWNWARDS.into_iter().filter_map(over).fold(0, |bits, bit| bits | bit)
    }

    /// When the caller authenticated for this level, for `max_age`.
    pub fn auth_time_for(&self, level: Level) -> Option<UnixTime> {
        self.standing(level)?.auth_time
    }

    /// The session is used now. Levels that were idle for too long are gone for good: use does not bring them back.
    pub fn touch(&mut self, limits: &Limits, now: UnixTime) {
        let over = self.levels_over(limits, self.seen, now);
        for level in DOWNWARDS.into_iter().filter(|level| over & bit(*level) != 0) {
            self.standings[usize::from(level.number()) - 1] = None;
        }
        self.seen = self.seen.max(now);
    }

    /// When the last of its levels ends at the latest.
    pub fn absolute_end(&self, limits: &Limits) -> UnixTime {
        let ends = DOWNWARDS
            .into_iter()
            .filter_map(|level| Some(limits.absolute_end(level, self.standing(level)?.reached_at)));
        ends.max().unwrap_or(self.created)
    }

    /// When the last of its levels ends if it is not used again.
    pub fn end(&self, limits: &Limits) -> UnixTime {
        self.end_seen(limits, self.seen)
    }

    pub(super) fn end_seen(&self, limits: &Limits, seen: UnixTime) -> UnixTime {
        let end = |level| Some(limits.end(level, self.standing(level)?.reached_at, seen));
        DOWNWARDS.into_iter().filter_map(end).max().unwrap_or(self.created)
    }
}

#[cfg(test)]
mod tests;
