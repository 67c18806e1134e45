//! Who asks, by the session that the gateway keeps for them: the way in of routes with `via: session` or `either`.
//!
//! A browser on its way to a page is sent to log in; a script is told where (SU-6), since a redirect to another site is
//! nothing it could follow. Unsafe requests must come from a page of the same origin (BF-3). The only file that makes
//! permits of sessions.

mod kept_form;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use http::Method;
use http::header::{self, HeaderValue};

pub use self::kept_form::{claim_form, keep_form, restore};
use super::gate::Gate;
use super::refusal::Refusal;
use super::worker::View;
use crate::answer::{Dress, LinkKind, manner};
use crate::apart::apart;
use crate::auth::session::{Facts, admit_session};
use crate::auth::{Denied, Permit, Requirement, Verified};
use crate::config::model::{IdentityKind, Via};
use crate::fields::Fields;
use crate::intake::Arrived;
use crate::live::RouteLive;
use crate::login::kept_post::{Form, Ticket};
use crate::login::logout::same_origin;
use crate::login::refresh::Fresh;
use crate::login::{Party, Visit};
use crate::message::{Response, Upgrade};
use crate::session::Loaded;
use crate::words::{Code, Level, Scheme};

/// A caller who was let in.
pub struct Entered {
    pub permit: Permit,
    /// `None`: by a token, or on a route that is open to anyone.
    pub session: Option<Loaded>,
}

impl From<Permit> for Entered {
    fn from(permit: Permit) -> Entered {
        Entered { permit, session: None }
    }
}

/// Somebody must log in, or log in more strongly.
#[derive(Debug)]
pub struct LoginNeeded {
    pub code: Code,
    pub kind: LinkKind,
    /// `/.gateway/login?…`
    pub url: String,
    /// A browser that shows pages is sent there at once.
    pub redirect: Option<String>,
    pub cookies: Vec<HeaderValue>,
    /// What a token would have been told, for the challenge.
    pub denied: Denied,
    /// The request is a form of this session, which can be kept until the step-up is done.
    keeps_form: Option<Ticket>,
}

impl LoginNeeded {
    /// What somebody without a session is told, wherever they ask: for `explain`.
    pub fn of_nobody(requirement: &Requirement) -> LoginNeeded {
        LoginNeeded {
            code: Code::LoginRequired,
            kind: LinkKind::SignIn,
            url: crate::login::begin::url(requirement.level.number(), max_age(requirement), None, None),
            redirect: None,
            cookies: Vec::new(),
            denied: Denied::TokenMissing,
            keeps_form: None,
        }
    }
}

/// Whether this request's caller is known by a session: always on `via: session`, else where no token is sent.
pub fn is_asked(requirement: &Requirement, headers: &Fields) -> bool {
    match requirement.via {
        Via::Token => false,
        Via::Session => requirement.level > Level::NONE,
        Via::Either => requirement.level > Level::NONE && !headers.contains_key(header::AUTHORIZATION),
    }
}

/// Judges the caller's session by what the route asks. `cookies`: to set with the answer, also with a refusal: a refresh
/// token that was used is good for nothing any more, and the new one must not be lost.
pub async fn admit(
    gate: &Gate,
    view: &View,
    route: &RouteLive,
    arrived: &Arrived,
    cookies: &mut Vec<HeaderValue>,
) -> Result<Entered, Refusal> {
    let requirement = &*route.requirement;
    let origin = origin(gate, arrived);
    let visit = visit(gate, view, arrived, &origin);
    if is_unsafe(arrived) && !same_origin(&arrived.headers, &origin) {
        return Err(Refusal::CrossSite);
    }
    let login = &view.snapshot.login;
    let issuer = requirement.issuer.as_ref().ok_or(Refusal::Denied(Denied::KeysUnavailable))?;
    let party = login.party(&issuer.model.name).ok_or(Refusal::Denied(Denied::KeysUnavailable))?;
    let needs = |denied, session: Option<&Loaded>| {
        Refusal::Login(Box::new(need_login(view, requirement, party, arrived, &origin, denied, session)))
    };
    let load = || async {
        let loaded = visit.sessions.load(visit.known, visit.headers, visit.host, visit.now).await;
        let loaded = loaded.map_err(|_| Refusal::StoreAway)?;
        // One of another issuer stands for nobody here.
        loaded.filter(|l| l.session().issuer == *issuer.iss()).ok_or_else(|| needs(Denied::TokenMissing, None))
    };
    let mut loaded = load().await?;
    if view.agency(route.agency).agency.identity == IdentityKind::Token {
        // Boxed: a refresh is rare.
        let fresh = apart(login.freshen(party, &loaded, &visit)).await.map_err(|_| Refusal::StoreAway)?;
        match fresh {
            Fresh::Yes => {}
            Fresh::Renewed(set) => {
                cookies.extend(set.values().iter().cloned());
                loaded = load().await?;
                // It was another's turn, and they got none.
                if loaded.session().tokens.expires.is_some_and(|at| at <= visit.now) {
                    return Err(Refusal::SsoUnavailable);
                }
            }
            Fresh::Gone => return Err(needs(Denied::TokenMissing, None)),
            Fresh::Away => return Err(Refusal::SsoUnavailable),
        }
    }
    let permit = strongest(&loaded, requirement, party, visit.now).map_err(|denied| match denied {
        Denied::LevelTooLow { .. } | Denied::AuthenticationTooOld => needs(denied, Some(&loaded)),
        denied => Refusal::Denied(denied),
    })?;
    if let Some(set) = visit.sessions.touch(&loaded, visit.headers, visit.now) {
        // The whole session as it is now: a cookie is set once in an answer (RFC 6265 section 4.1.1).
        *cookies = set.values().to_vec();
    }
    Ok(Entered { permit, session: Some(loaded) })
}

/// Admits by the strongest authentication of the session that suffices: a weaker one may be the more recent, and is what
/// `max_age` of such a route asks for. Errors: why the strongest does not.
fn strongest(loaded: &Loaded, requirement: &Requirement, party: &Party, now: i64) -> Result<Permit, Denied> {
    let skew = party.issuer.model.clock_skew;
    let mut levels = loaded.levels_at(now);
    let judge = |level| admit_session(requirement, &caller(loaded, party, level), skew, now);
    let first = levels.next().ok_or(Denied::TokenMissing).and_then(judge);
    first.or_else(|denied| levels.find_map(|level| judge(level).ok()).ok_or(denied))
}

/// What one authentication says of the caller, made once: its level, its value and its time belong together.
fn caller(loaded: &Loaded, party: &Party, level: Level) -> Rc<Verified> {
    let session = loaded.session();
    loaded.memo(level, || {
        let standing = session.standing(level);
        Verified::of_session(Facts {
            issuer: party.issuer.iss(),
            subject: &session.sub,
            client: &party.client.id,
            acr: standing.map(|standing| &*standing.acr),
            level: party.worth(session, level),
            auth_time: standing.and_then(|standing| standing.auth_time),
            scopes: session.scope.split(' ').filter(|s| !s.is_empty()).map(str::to_owned).collect(),
            claims: &session.claims,
            access_token: session.tokens.access.as_ref(),
        })
    })
}

/// Seconds. Asked for at every login for the route, so that an old one at the SSO does not come back only to be sent again.
fn max_age(requirement: &Requirement) -> Option<u64> {
    requirement.max_age.map(|age| age.as_secs())
}

fn need_login(
    view: &View,
    requirement: &Requirement,
    party: &Party,
    arrived: &Arrived,
    origin: &str,
    denied: Denied,
    session: Option<&Loaded>,
) -> LoginNeeded {
    let navigates = is_navigation(arrived);
    let own = target(arrived);
    let to = if navigates { Some(own.as_str()) } else { referring(arrived, origin) };
    let url = view.snapshot.login.url(party, requirement.level.number(), max_age(requirement), to);
    let safe = matches!(arrived.method, Method::GET | Method::HEAD);
    let (code, kind) = match denied {
        Denied::TokenMissing => (Code::LoginRequired, LinkKind::SignIn),
        denied => (denied.code(), LinkKind::StepUp),
    };
    let keeps = session.filter(|_| navigates && Form::is_kept(&arrived.method, &arrived.headers));
    let keeps_form = keeps.map(|loaded| Ticket::for_owner(&loaded.session().issuer, &loaded.session().sub));
    let redirect = (navigates && safe).then(|| url.clone());
    LoginNeeded { code, kind, url, redirect, cookies: Vec::new(), denied, keeps_form }
}

/// What the answer to a session's caller carries: it is kept nowhere, so that after a logout the back button shows nothing.
pub fn mark(response: &mut Response) {
    let headers = &mut response.headers;
    let strict = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.to_ascii_lowercase().contains("no-store"));
    if !headers.get_all(header::CACHE_CONTROL).any(strict) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    }
}

/// Sets the gateway's own cookies.
pub fn set(response: &mut Response, cookies: Vec<HeaderValue>) {
    for cookie in cookies {
        response.headers.append(header::SET_COOKIE, cookie);
    }
}

/// What ends a stream together with the session or token that opened it, after the grace.
pub type End = Pin<Box<dyn Future<Output = ()>>>;

/// `None`: nothing ends it but its route's fate.
pub fn end_of(view: &View, route: &RouteLive, entered: &Ends, now: i64) -> Option<End> {
    let sessions = &view.snapshot.sessions;
    let grace = sessions.grace();
    match entered {
        Ends::Never => None,
        Ends::WithSession(loaded) => {
            let watch = sessions.watch(loaded, route.requirement.level, now);
            Some(Box::pin(async move {
                watch.ended().await;
                tokio::time::sleep(grace).await;
            }))
        }
        Ends::At(exp) => {
            // A month at most: beyond that a timer may not reach.
            let left = u64::try_from(exp.saturating_sub(now)).unwrap_or(0).min(40 * 86400);
            Some(Box::pin(tokio::time::sleep(Duration::from_secs(left).saturating_add(grace))))
        }
    }
}

/// What a stream depends on.
pub enum Ends {
    Never,
    WithSession(Loaded),
    /// `exp` of a token.
    At(i64),
}

impl Ends {
    pub fn of(entered: &Entered) -> Ends {
        match (&entered.session, entered.permit.token()) {
            (Some(loaded), _) => Ends::WithSession(loaded.clone()),
            (None, Some(token)) => Ends::At(token.exp),
            (None, None) => Ends::Never,
        }
    }
}

/// A request as the login's steps see it.
pub fn visit<'a>(gate: &'a Gate, view: &'a View, arrived: &'a Arrived, origin: &'a str) -> Visit<'a> {
    Visit {
        sessions: &view.snapshot.sessions,
        known: &gate.worker.sessions,
        method: &arrived.method,
        headers: &arrived.headers,
        origin,
        host: arrived.authority.name(),
        request_id: arrived.request_id,
        contact: &view.snapshot.config.contact,
        now: gate.worker.clock.now(),
    }
}

/// Scheme and host as the browser has them in its address. Behind a trusted proxy the scheme is the proxy's word.
pub fn origin(gate: &Gate, arrived: &Arrived) -> String {
    let forwarded = || arrived.headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
    let https = gate.conn.scheme == Scheme::Https || (arrived.trusted && forwarded());
    let host = String::from_utf8_lossy(arrived.authority.written().as_bytes()).to_ascii_lowercase();
    format!("{}://{host}", if https { "https" } else { "http" })
}

fn target(arrived: &Arrived) -> String {
    let path = String::from_utf8_lossy(&arrived.path);
    match &arrived.query {
        Some(query) => format!("{path}?{}", String::from_utf8_lossy(query)),
        None => path.into_owned(),
    }
}

/// The page that a script runs on, if it is of this origin: where to come back to.
fn referring<'a>(arrived: &'a Arrived, origin: &str) -> Option<&'a str> {
    let referer = arrived.headers.get(header::REFERER)?.to_str().ok()?;
    referer.strip_prefix(origin).filter(|rest| rest.starts_with('/'))
}

/// Methods that change something (RFC 9110 section 9.2.1), and upgrades: a WebSocket is opened by a GET, and by any page.
fn is_unsafe(arrived: &Arrived) -> bool {
    let safe = matches!(arrived.method, Method::GET | Method::HEAD | Method::OPTIONS);
    !safe || is_upgrade(arrived)
}

/// A proxy that asks about a handshake tells what of it is not of one hop: the version (RFC 6455 section 4.1).
fn is_upgrade(arrived: &Arrived) -> bool {
    arrived.upgrade != Upgrade::No || arrived.headers.contains_key(header::SEC_WEBSOCKET_VERSION)
}

/// Whether a browser shows the answer as a page (Fetch metadata; without it, by what the caller says it can read).
fn is_navigation(arrived: &Arrived) -> bool {
    let headers = &arrived.headers;
    if is_upgrade(arrived) {
        return false;
    }
    if let Some(mode) = headers.get("sec-fetch-mode") {
        // A login page in a frame is refused by the SSO, and by good sense.
        return mode == "navigate" && headers.get("sec-fetch-dest").is_none_or(|dest| dest == "document");
    }
    !headers.contains_key("x-requested-with") && manner(&arrived.method, headers).dress == Dress::Page
}
