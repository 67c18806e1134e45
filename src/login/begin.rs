//! `/.gateway/login`: where every login and step-up begins, whether by a redirect, a link or a script.
//!
//! A browser gets a small page instead of a redirect, because what stands behind the `#` of an address is sent to no server:
//! the page's script leaves it in a cookie, and the way back puts it on again. Without scripts only that is lost.

use http::HeaderValue;

use super::authorize::{Prompt, address};
use super::client::Failed;
use super::hosts::local_path;
use super::kept_post::Ticket;
use super::state::{Attempt, MAX_TO};
use super::stats::LoginOutcome;
use super::{Login, Party, Visit, form, pages, see_other, setting};
use crate::answer::{Link, LinkKind};
use crate::clock::UnixTime;
use crate::message::Response;
use crate::words::{Code, Level};

pub const PATH: &str = "/.gateway/login";

/// Where to log in, for a link or a script: `/.gateway/login?…`.
pub fn url(level: u8, max_age: Option<u64>, issuer: Option<&str>, to: Option<&str>) -> String {
    let mut form = form::Form::default();
    form.push("level", &level.to_string());
    if let Some(max_age) = max_age {
        form.push("max_age", &max_age.to_string());
    }
    if let Some(issuer) = issuer {
        form.push("issuer", issuer);
    }
    if let Some(to) = to {
        form.push("to", to);
    }
    form.behind(PATH)
}

/// A way to the SSO, with the cookies that belong to it.
pub struct Way {
    pub address: String,
    pub cookies: Vec<HeaderValue>,
}

/// What a login is for.
pub struct Wanted<'a> {
    pub level: u8,
    /// Seconds.
    pub max_age: Option<u64>,
    /// Path and query.
    pub to: &'a str,
    /// Nobody is logged in here, so that perhaps nobody need be asked there.
    pub silent: bool,
    pub form: Option<Ticket>,
}

impl Login {
    /// A first attempt.
    pub async fn begin(&self, party: &Party, wanted: Wanted<'_>, visit: &Visit<'_>) -> Result<(Attempt, Way), Failed> {
        let to = match local_path(wanted.to) {
            Some(to) if to.len() <= MAX_TO => to,
            // Too long for a cookie: the path alone, or the front page.
            Some(to) => to.split('?').next().filter(|path| path.len() <= MAX_TO).unwrap_or("/"),
            None => "/",
        };
        let id = Attempt::fresh_id();
        let attempt = Attempt {
            root: id.clone(),
            id,
            verifier: Attempt::fresh_verifier(),
            issuer: party.issuer.model.name.to_string(),
            own_callback: party.client.own_callback,
            origin: visit.origin.to_owned(),
            to: to.to_owned(),
            level: wanted.level,
            max_age: wanted.max_age,
            silent: wanted.silent,
            too_low: 0,
            begun: visit.now,
            form: wanted.form,
        };
        let prompt = if wanted.silent { Prompt::None } else { Prompt::Usual };
        let way = self.way(party, &attempt, prompt, visit).await?;
        Ok((attempt, way))
    }

    /// Another attempt at what `before` was for.
    pub(super) async fn again(
        &self,
        party: &Party,
        before: &Attempt,
        prompt: Prompt,
        too_low: u8,
        visit: &Visit<'_>,
    ) -> Result<Way, Failed> {
        let attempt = Attempt {
            id: Attempt::fresh_id(),
            verifier: Attempt::fresh_verifier(),
            silent: false,
            too_low,
            begun: visit.now,
            ..before.clone()
        };
        self.way(party, &attempt, prompt, visit).await
    }

    async fn way(&self, party: &Party, attempt: &Attempt, prompt: Prompt, visit: &Visit<'_>) -> Result<Way, Failed> {
        let address = address(party, attempt, prompt, visit.language(), visit.now).await?;
        let cookies = attempt.cookies(visit.sessions.sealer(), visit.headers, visit.now);
        Ok(Way { address, cookies })
    }

    /// Answers `GET /.gateway/login?level=N&to=PATH`, with `issuer` where there are several and `max_age` where it counts.
    pub async fn answer_begin(&self, visit: &Visit<'_>, query: &[u8]) -> Response {
        let Some(fields) = form::parse(query) else { return visit.refuse(Code::RequestMalformed, None, None) };
        let named = fields.get("issuer").map(|name| self.party(name));
        let Some(party) = named.unwrap_or_else(|| self.only_party()) else {
            let detail = "Name one of the configured issuers in the parameter issuer.";
            return visit.refuse(Code::RequestMalformed, Some(detail), None);
        };
        let level = fields.get("level").map_or(Ok(1), str::parse::<u8>).ok().and_then(Level::new);
        let max_age = fields.get("max_age").map(str::parse::<u64>).transpose();
        let (Some(level), Ok(max_age)) = (level.filter(|level| *level > Level::NONE), max_age) else {
            let detail = "The parameters are level, a number from 1 to 3, and max_age, a number of seconds.";
            return visit.refuse(Code::RequestMalformed, Some(detail), None);
        };
        let to = fields.get("to").unwrap_or("/");
        let session = match visit.session().await {
            Ok(session) => session.filter(|loaded| loaded.session().issuer == *party.issuer.iss()),
            Err(_) => return visit.store_away(),
        };
        if let Some(loaded) = &session {
            let session = loaded.session();
            let age = |at: UnixTime| visit.now.saturating_sub(at).unsigned_abs();
            let is_fresh = |has| max_age.is_none_or(|max| session.auth_time_for(has).is_some_and(|at| age(at) <= max));
            if loaded.levels_at(visit.now).any(|has| party.worth(session, has) >= level && is_fresh(has)) {
                return see_other(local_path(to).unwrap_or("/"));
            }
        }
        let silent = session.is_none();
        let wanted = Wanted { level: level.number(), max_age, to, silent, form: None };
        match self.begin(party, wanted, visit).await {
            Ok((attempt, way)) if is_page(visit) => {
                let page = pages::going(&way.address, &attempt.root, visit);
                setting(page, &way.cookies)
            }
            Ok((_, way)) => setting(see_other(&way.address), &way.cookies),
            Err(failed) => self.away(&failed, to, party, level.number(), visit),
        }
    }

    /// The SSO cannot be asked, or not so: what the caller gets, and a line for the operator.
    pub(super) fn away(&self, failed: &Failed, to: &str, party: &Party, level: u8, visit: &Visit<'_>) -> Response {
        let url = self.url(party, level, None, local_path(to));
        let link = Some(Link { kind: LinkKind::TryAgain, url: &url });
        let (outcome, code, why) = match failed {
            Failed::Away(why) => (LoginOutcome::SsoAway, Code::SsoUnavailable, why),
            Failed::Refused(why) => (LoginOutcome::Invalid, Code::LoginInvalid, why),
        };
        self.stats().login(outcome);
        party.warn(&format!("a login failed: {why}"), visit.now);
        let mut response = visit.refuse(code, None, link);
        if code == Code::SsoUnavailable {
            response.headers.insert(http::header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

/// Whether a browser shows what it gets: then its script can look behind the `#`.
fn is_page(visit: &Visit<'_>) -> bool {
    visit.headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate")
}
