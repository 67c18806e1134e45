//! New tokens ahead of time, for sessions whose access token is sent on to an agency (`identity: token`).
//!
//! One refresh for each session, however many requests come at the moment. While the old token is good nobody but the one
//! whose turn it is waits for the SSO, and its being away ends nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::callback::bounded_scope;
use super::client::{self, Failed, TokenAnswer};
use super::stats::RefreshOutcome;
use super::{Login, Party, Visit, provider};
use crate::clock::UnixTime;
use crate::fields::Fields;
use crate::session::{Flight, Loaded, Sessions, SetCookies, StoreAway, Turn};

/// Seconds before the end of a token at which a new one is asked for.
const AHEAD: i64 = 60;
/// Seconds until an SSO that was away is asked again for a token that is still good.
const PAUSE: i64 = 5;

/// No refresh lasts longer: the SSO's endpoints may have to be asked for, then its tokens; the rest is for the store, and a
/// machine that is slow. A turn that another node took too early would show the SSO one refresh token twice.
const LONGEST: Duration = Duration::from_secs(provider::LIMIT.as_secs() + client::LIMIT.as_secs() + 5);

/// For somebody else's turn, with a token that is still good. Longer than a store elsewhere may take to give a turn.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How a session's access token stands.
pub enum Fresh {
    /// Good as it is.
    Yes,
    /// It is another now; the session must be loaded again. Cookies to set with the answer.
    Renewed(SetCookies),
    /// It has expired and there is no other: somebody must log in.
    Gone,
    /// It has expired, and the SSO cannot be asked.
    Away,
}

impl Login {
    /// Cancel: a refresh that has begun goes on and is kept, since its token is used up by then.
    pub async fn freshen(
        self: &Arc<Login>,
        party: &Arc<Party>,
        loaded: &Loaded,
        visit: &Visit<'_>,
    ) -> Result<Fresh, StoreAway> {
        let tokens = &loaded.session().tokens;
        let Some(expires) = tokens.expires else { return Ok(Fresh::Yes) };
        let left = expires.saturating_sub(visit.now);
        let Some(refresh) = tokens.refresh.as_ref() else {
            return Ok(if left > 0 { Fresh::Yes } else { Fresh::Gone });
        };
        let pausing = party.away_until.load(Ordering::Relaxed) > visit.now;
        if left > AHEAD || (left > 0 && pausing) {
            return Ok(Fresh::Yes);
        }
        let turn = visit.sessions.refresh_turn(loaded, LONGEST, visit.now);
        // While it is good, somebody else's turn is nothing to wait long for.
        let turn = match left > 0 {
            true => match tokio::time::timeout(PATIENCE, turn).await {
                Ok(turn) => turn?,
                Err(_) => return Ok(Fresh::Yes),
            },
            false => turn.await?,
        };
        let Turn::Yours(flight) = turn else { return Ok(Fresh::Renewed(SetCookies::default())) };
        let refreshing = Refreshing {
            login: self.clone(),
            party: party.clone(),
            sessions: visit.sessions.clone(),
            loaded: loaded.clone(),
            headers: visit.headers.clone(),
            now: visit.now,
            _flight: flight,
        };
        let refreshed = tokio::task::spawn_local(refreshing.run(refresh.expose().clone(), left > 0)).await;
        refreshed.unwrap_or(Err(StoreAway))
    }
}

/// One refresh, on a task of its own.
struct Refreshing {
    login: Arc<Login>,
    party: Arc<Party>,
    sessions: Arc<Sessions>,
    loaded: Loaded,
    headers: Fields,
    now: UnixTime,
    _flight: Flight,
}

impl Refreshing {
    /// `is_good`: the token at hand still is.
    async fn run(self, token: String, is_good: bool) -> Result<Fresh, StoreAway> {
        let stats = self.login.stats();
        match self.ask(token).await {
            Ok(answer) => {
                stats.refresh(RefreshOutcome::Ok);
                Ok(Fresh::Renewed(self.keep(answer).await?))
            }
            Err(Failed::Away(_)) => {
                stats.refresh(RefreshOutcome::SsoAway);
                self.party.away_until.store(self.now + PAUSE, Ordering::Relaxed);
                Ok(if is_good { Fresh::Yes } else { Fresh::Away })
            }
            Err(Failed::Refused(_)) => {
                stats.refresh(RefreshOutcome::Refused);
                Ok(if is_good { Fresh::Yes } else { Fresh::Gone })
            }
        }
    }

    async fn ask(&self, token: String) -> Result<TokenAnswer, Failed> {
        let endpoints = self.party.endpoints().await?;
        let (tokens, now) = (self.party.tokens.clone(), self.now);
        self.party.on_control(async move { tokens.refresh(&endpoints.token, &token, now).await }).await
    }

    /// Levels stay as they are: a refresh is no authentication (AS-7).
    async fn keep(&self, answer: TokenAnswer) -> Result<SetCookies, StoreAway> {
        let mut session = self.loaded.session().clone();
        let tokens = &mut session.tokens;
        tokens.access = Some(answer.access_token);
        tokens.expires = answer.expires_in.map(|left| self.now.saturating_add(left));
        if answer.refresh_token.is_some() {
            tokens.refresh = answer.refresh_token;
        }
        if let Some(scope) = answer.scope {
            session.scope = bounded_scope(scope);
        }
        self.sessions.save(&self.loaded, session, &self.headers, self.now).await
    }
}
