//! New tokens ahead of time, for sessions whose access token is sent on to an agency (`identity: token`).
//!
//! One refresh for each session, however many requests come at the moment. While the old token is good nobody but the one
//! whose turn it is waits for the SSO, and its being away ends nothing.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::client::{Failed, TokenAnswer};
use super::stats::RefreshOutcome;
use super::{Login, Party, Visit};
use crate::secret::Secret;
use crate::session::{Loaded, SetCookies, StoreAway, Turn};

/// Seconds before the end of a token at which a new one is asked for.
const AHEAD: i64 = 60;
/// Seconds until an SSO that was away is asked again for a token that is still good.
const PAUSE: i64 = 5;

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
    pub async fn freshen(&self, party: &Party, loaded: &Loaded, visit: &Visit<'_>) -> Result<Fresh, StoreAway> {
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
        let turn = visit.sessions.refresh_turn(loaded);
        // While it is good, somebody else's turn is nothing to wait long for.
        let turn = match left > 0 {
            true => match tokio::time::timeout(PATIENCE, turn).await {
                Ok(turn) => turn?,
                Err(_) => return Ok(Fresh::Yes),
            },
            false => turn.await?,
        };
        let Turn::Yours(_flight) = turn else { return Ok(Fresh::Renewed(SetCookies::default())) };
        match self.ask(party, refresh.expose().clone(), visit).await {
            Ok(answer) => {
                self.stats().refresh(RefreshOutcome::Ok);
                Ok(Fresh::Renewed(self.keep(loaded, answer, visit).await?))
            }
            Err(Failed::Away(_)) => {
                self.stats().refresh(RefreshOutcome::SsoAway);
                party.away_until.store(visit.now + PAUSE, Ordering::Relaxed);
                Ok(if left > 0 { Fresh::Yes } else { Fresh::Away })
            }
            Err(Failed::Refused(_)) => {
                self.stats().refresh(RefreshOutcome::Refused);
                Ok(if left > 0 { Fresh::Yes } else { Fresh::Gone })
            }
        }
    }

    async fn ask(&self, party: &Party, token: String, visit: &Visit<'_>) -> Result<TokenAnswer, Failed> {
        let endpoints = party.endpoints().await?;
        let (tokens, now) = (party.tokens.clone(), visit.now);
        party.on_control(async move { tokens.refresh(&endpoints.token, &token, now).await }).await
    }

    /// Levels stay as they are: a refresh is no authentication (AS-7).
    async fn keep(&self, loaded: &Loaded, answer: TokenAnswer, visit: &Visit<'_>) -> Result<SetCookies, StoreAway> {
        let mut session = loaded.session().clone();
        let tokens = &mut session.tokens;
        tokens.access = Some(Secret::new(answer.access_token.expose().clone()));
        tokens.expires = answer.expires_in.map(|left| visit.now.saturating_add(left));
        if answer.refresh_token.is_some() {
            tokens.refresh = answer.refresh_token;
        }
        if let Some(scope) = answer.scope {
            session.scope = scope;
        }
        visit.sessions.save(loaded, session, visit.headers, visit.now).await
    }
}
