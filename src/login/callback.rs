//! `/.gateway/callback`: the browser comes back from the SSO. The only place where a session begins or grows.
//!
//! The state must be this browser's, young and unused (RP-1); the answer must be of the SSO that was asked (RP-2); the ID
//! token must be the answer to this login (RP-3); and the level that came back is what counts.

use super::authorize::Prompt;
use super::client::{Failed, TokenAnswer};
use super::form::{self, Entries};
use super::id_token::{self, Expected, Identity};
use super::state::Attempt;
use super::stats::{KeptForm, LoginOutcome};
use super::{Login, Party, Visit, see_other, setting};
use crate::answer::{Link, LinkKind};
use crate::auth::statement::Unproved;
use crate::message::Response;
use crate::session::{Loaded, MAX_CLAIMS, NotBegun, Session, StoreAway, Tokens};
use crate::words::{Code, Level};

pub const PATH: &str = "/.gateway/callback";
/// AS-11: too low twice is an answer.
const TRIES: u8 = 2;
/// Bytes; more is no code (RFC 6749 section 4.1.2 sets none).
const MAX_CODE: usize = 4096;

/// How an attempt ended when it did not end well.
enum Ended {
    /// The SSO's `error`, or none that is to be repeated.
    Declined,
    /// The SSO would have to ask somebody.
    NotSilent,
    Invalid(&'static str),
    Failed(Failed),
}

impl Login {
    /// `path`: where the answer came.
    pub async fn answer_callback(&self, visit: &Visit<'_>, path: &[u8], query: &[u8]) -> Response {
        let found = form::parse(query).and_then(|fields| {
            let attempt = Attempt::find(visit.sessions.sealer(), visit.headers, fields.get("state")?, visit.now)?;
            Some((fields, attempt))
        });
        let Some((fields, attempt)) = found.filter(|(_, attempt)| attempt.origin == visit.origin) else {
            return self.expired(visit);
        };
        let until = attempt.begun + super::state::LIFETIME + 1;
        let is_first = self.common.states.first(visit.sessions.hub(), "state", &attempt.id, until, visit.now).await;
        let (true, Some(party)) = (is_first, self.party(&attempt.issuer)) else { return self.expired(visit) };
        let settled = match self.settle(party, &attempt, path, &fields, visit).await {
            Ok((identity, tokens)) => self.arrive(party, &attempt, identity, tokens, visit).await,
            Err(ended) => self.end_badly(party, &attempt, ended, visit).await,
        };
        setting(settled, attempt.clear().as_slice())
    }

    /// The answer's own checks, the code for tokens, and the checks of the ID token.
    async fn settle(
        &self,
        party: &Party,
        attempt: &Attempt,
        path: &[u8],
        fields: &Entries,
        visit: &Visit<'_>,
    ) -> Result<(Identity, TokenAnswer), Ended> {
        // RP-2: a mixed-up SSO is found before its code goes anywhere, by where it answers (RFC 9700 section 4.4.2.2), and by
        // what it says it is (RFC 9207).
        if attempt.callback().as_bytes() != path {
            return Err(Ended::Invalid("the answer came to the address of another SSO"));
        }
        let endpoints = party.endpoints().await.map_err(Ended::Failed)?;
        match fields.get("iss") {
            Some(iss) if iss != party.issuer.model.issuer => {
                return Err(Ended::Invalid("the answer is of another SSO"));
            }
            None if endpoints.iss_in_answer => {
                return Err(Ended::Invalid("the answer does not say which SSO it is of"));
            }
            None if self.only_party().is_none() && !attempt.own_callback => party.warn_of_mix_ups(),
            _ => {}
        }
        if let Some(error) = fields.get("error") {
            return Err(match error {
                "temporarily_unavailable" | "server_error" => Ended::Failed(Failed::Away("it said so".to_owned())),
                _ if attempt.silent => Ended::NotSilent,
                _ => Ended::Declined,
            });
        }
        let code = fields.get("code").filter(|code| !code.is_empty() && code.len() <= MAX_CODE);
        let code = code.ok_or(Ended::Invalid("the answer has neither a code nor an error"))?.to_owned();
        let tokens = self.redeem(party, attempt, endpoints.token.clone(), code, visit).await.map_err(Ended::Failed)?;
        let id_token = tokens.id_token.as_ref().ok_or(Ended::Invalid("the SSO gave no ID token"))?;
        let expected = Expected {
            client: &party.client,
            nonce: &attempt.nonce(),
            max_age: attempt.max_age,
            access_token: tokens.access_token.expose(),
            now: visit.now,
        };
        let identity = id_token::read(&party.issuer, id_token.expose(), &expected).await;
        let identity = identity.map_err(|unproved| match unproved {
            // An SSO that asks nobody gives what it has.
            Unproved::Invalid(id_token::TOO_OLD) if attempt.silent => Ended::NotSilent,
            Unproved::Invalid(invalid) => Ended::Invalid(invalid.0),
            Unproved::NoKeys => Ended::Failed(Failed::Away("its keys were never obtained".to_owned())),
        })?;
        Ok((identity, tokens))
    }

    async fn redeem(
        &self,
        party: &Party,
        attempt: &Attempt,
        endpoint: http::Uri,
        code: String,
        visit: &Visit<'_>,
    ) -> Result<TokenAnswer, Failed> {
        let (tokens, now) = (party.tokens.clone(), visit.now);
        let (verifier, redirect_uri) = (attempt.verifier.clone(), attempt.redirect_uri());
        let work = async move { tokens.exchange(&endpoint, &code, &verifier, &redirect_uri, now).await };
        party.on_control(work).await
    }

    /// Somebody logged in. What they get depends on the level that came back, never on the one that was asked for.
    async fn arrive(
        &self,
        party: &Party,
        attempt: &Attempt,
        identity: Identity,
        tokens: TokenAnswer,
        visit: &Visit<'_>,
    ) -> Response {
        let mut before = match visit.session().await {
            Ok(before) => before,
            Err(StoreAway) => return visit.store_away(),
        };
        let wanted = Level::new(attempt.level).unwrap_or(Level::THREE);
        let enough = identity.level >= wanted;
        if !enough && (attempt.silent || attempt.too_low + 1 < TRIES) {
            let (prompt, too_low) = match attempt.silent {
                true => (Prompt::Usual, attempt.too_low),
                false => (Prompt::Login, attempt.too_low + 1),
            };
            return self.once_more(party, attempt, prompt, too_low, visit).await;
        }
        // A step-up that came to less leaves the session as it was.
        if !enough && (before.is_some() || identity.level == Level::NONE) {
            return self.too_low(party, attempt, visit);
        }
        let cookies = loop {
            let session = self.session(party, &identity, &tokens, before.as_ref(), visit);
            let replaced = before.as_ref();
            match visit.sessions.create(session, replaced, attempt.begun, visit.headers, visit.now).await {
                Ok(cookies) => break cookies,
                Err(NotBegun::StoreAway) => return visit.store_away(),
                // Perhaps the session it goes on from has ended just now: then nothing of that is carried on.
                Err(NotBegun::Over) if replaced.is_some() => before = None,
                Err(NotBegun::Over) => return self.expired(visit),
            }
        };
        if cookies.values().is_empty() {
            // Without its cookie they would be sent here again and again.
            let ended = Ended::Invalid("what the SSO said is too large for a session in cookies");
            return Box::pin(self.end_badly(party, attempt, ended, visit)).await;
        }
        if !enough {
            return setting(self.too_low(party, attempt, visit), cookies.values());
        }
        let stepped_up = before.as_ref().is_some_and(|before| before.session().sub == identity.subject);
        self.stats().login(match (stepped_up, attempt.silent) {
            (true, _) => LoginOutcome::SteppedUp,
            (false, true) => LoginOutcome::Silent,
            (false, false) => LoginOutcome::Ok,
        });
        setting(self.back(party, attempt, &identity, visit).await, cookies.values())
    }

    /// Back where they were; or to the page that asks whether the form that waited is to be sent.
    async fn back(&self, party: &Party, attempt: &Attempt, identity: &Identity, visit: &Visit<'_>) -> Response {
        if let Some(ticket) = &attempt.form {
            let waits = self.forms().look(visit.sessions.hub(), ticket, visit.now).await.is_some();
            if waits && ticket.is_of(party.issuer.iss(), &identity.subject) {
                return setting(see_other(&ticket.page()), ticket.cookie().as_slice());
            }
            self.stats().form(KeptForm::Gone);
        }
        match attempt.fragment(visit.headers) {
            Some(fragment) => {
                let back = see_other(&format!("{}{fragment}", attempt.to));
                setting(back, attempt.clear_fragment().as_slice())
            }
            None => see_other(&attempt.to),
        }
    }

    fn session(
        &self,
        party: &Party,
        identity: &Identity,
        tokens: &TokenAnswer,
        before: Option<&Loaded>,
        visit: &Visit<'_>,
    ) -> Session {
        let now = visit.now;
        let iss = party.issuer.iss();
        let goes_on = before.map(Loaded::session).filter(|old| old.issuer == *iss && old.sub == identity.subject);
        let mut session = goes_on.cloned().unwrap_or_else(|| Session::new(iss.clone(), identity.subject.clone(), now));
        session.host = String::from_utf8_lossy(visit.host).into();
        session.sid.clone_from(&identity.sid);
        session.name.clone_from(&identity.name);
        session.claims.clone_from(&identity.claims);
        // The store takes no more; a citizen without a photograph is better served than one without a session.
        while serde_json::to_vec(&session.claims).is_ok_and(|json| json.len() > MAX_CLAIMS) {
            let Some(last) = session.claims.keys().next_back().cloned() else { break };
            session.claims.remove(&last);
        }
        session.scope = bounded_scope(tokens.scope.clone().unwrap_or_else(|| party.client.scopes.join(" ")));
        let ends_there = party.endpoints.known().is_some_and(|endpoints| endpoints.end_session.is_some());
        session.tokens = Tokens {
            id: tokens.id_token.clone().filter(|_| ends_there),
            expires: tokens.expires_in.filter(|_| self.keeps_access_tokens).map(|left| now.saturating_add(left)),
            refresh: tokens.refresh_token.clone().filter(|_| self.keeps_access_tokens),
            access: self.keeps_access_tokens.then(|| tokens.access_token.clone()),
        };
        session.reach(identity.level, identity.acr.as_deref().unwrap_or_default(), identity.auth_time, now);
        session
    }

    async fn once_more(
        &self,
        party: &Party,
        attempt: &Attempt,
        prompt: Prompt,
        too_low: u8,
        visit: &Visit<'_>,
    ) -> Response {
        match self.again(party, attempt, prompt, too_low, visit).await {
            Ok(way) => setting(see_other(&way.address), &way.cookies),
            Err(failed) => self.away(&failed, &attempt.to, party, attempt.level, visit),
        }
    }

    /// AS-11: a page that explains, and no further redirect.
    fn too_low(&self, party: &Party, attempt: &Attempt, visit: &Visit<'_>) -> Response {
        self.stats().login(LoginOutcome::TooLow);
        let url = self.url(party, attempt.level, None, Some(&attempt.to));
        let link = Some(Link { kind: LinkKind::TryAgain, url: &url });
        visit.refuse(Code::UnmetAuthenticationRequirements, None, link)
    }

    async fn end_badly(&self, party: &Party, attempt: &Attempt, ended: Ended, visit: &Visit<'_>) -> Response {
        let url = self.url(party, attempt.level, None, Some(&attempt.to));
        let link = Some(Link { kind: LinkKind::TryAgain, url: &url });
        match ended {
            Ended::NotSilent => self.once_more(party, attempt, Prompt::Usual, attempt.too_low, visit).await,
            Ended::Declined => {
                self.stats().login(LoginOutcome::Declined);
                visit.refuse(Code::LoginDeclined, None, link)
            }
            Ended::Invalid(why) => {
                self.stats().login(LoginOutcome::Invalid);
                party.warn(&format!("a login was refused: {why}"), visit.now);
                visit.refuse(Code::LoginInvalid, Some(why), link)
            }
            Ended::Failed(failed) => self.away(&failed, &attempt.to, party, attempt.level, visit),
        }
    }

    /// No such attempt in this browser: too late, used before, cookies refused, or somebody else's link (login CSRF).
    fn expired(&self, visit: &Visit<'_>) -> Response {
        self.stats().login(LoginOutcome::Expired);
        visit.refuse(Code::LoginExpired, None, Some(Link { kind: LinkKind::TryAgain, url: "/" }))
    }
}

/// What of a scope a session carries: a scope that is cut off would be another.
pub(super) fn bounded_scope(scope: String) -> String {
    const MAX: usize = 1024;
    if scope.len() <= MAX {
        return scope;
    }
    let mut kept = String::new();
    for word in scope.split(' ') {
        if kept.len() + word.len() < MAX {
            kept.push_str(if kept.is_empty() { "" } else { " " });
            kept.push_str(word);
        }
    }
    kept
}
