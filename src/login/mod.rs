//! The gateway as an OpenID relying party: one login for every portal behind it. Floor 2.
//!
//! ```text
//! begin ── authorize   the address at the SSO        state   one attempt, sealed in a cookie
//! callback ── id_token is it the answer?             client  the token endpoint, and who we are to it
//! logout ── logout_token   what the SSO ends         status  who is logged in, for the portal's page
//! kept_post            a form that waits for a step-up
//! refresh              new tokens ahead of time      provider   the SSO's endpoints
//! pages                what a citizen reads          hosts   the portals: where a login may return to
//! ```
//!
//! It answers what lies below `/.gateway/` for browsers and the SSO. Whether a request may pass is judged by `auth`; which
//! session it has is known to `session`. It knows no route and no agency.

pub mod authorize;
pub mod begin;
pub mod callback;
pub mod client;
pub mod form;
pub mod hosts;
mod id_token;
pub mod kept_post;
pub mod logout;
mod logout_token;
mod once;
mod pages;
mod provider;
pub mod refresh;
pub mod state;
pub mod stats;
pub mod status;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use http::{HeaderValue, Method, header};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use self::client::{Failed, TokenClient};
use self::hosts::Hosts;
use self::kept_post::KeptForms;
use self::once::Once;
use self::provider::Endpoints;
use self::stats::Stats;
use crate::answer::{Language, Link, Notice, manner, render};
use crate::auth::Issuer;
use crate::body::Body;
use crate::clock::UnixTime;
use crate::config::Config;
use crate::config::model::{Client, ClientProof, Contact, IdentityKind, ProviderEndpoints};
use crate::fetch::Fetcher;
use crate::fields::Fields;
use crate::message::Response;
use crate::session::{Known, Loaded, Session, Sessions, StoreAway};
use crate::words::{Code, Level, RequestId};

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system gives randomness");
    bytes
}

/// The relying party of a configuration. A reload makes a new one that goes on with what is under way.
pub struct Login {
    /// By issuer; `None`: the gateway is no client there.
    parties: Vec<Option<Arc<Party>>>,
    pub hosts: Hosts,
    /// Whether there is anybody to log in at.
    is_on: bool,
    /// Some agency is sent the SSO's own access tokens.
    keeps_access_tokens: bool,
    common: Arc<Common>,
}

/// What outlives a reload.
#[derive(Default)]
struct Common {
    /// Of attempts. Apart from the logout tokens: whoever floods the one does not touch the other.
    states: Once,
    logouts: Once,
    forms: KeptForms,
    stats: Stats,
}

/// The gateway at one SSO.
pub struct Party {
    pub issuer: Arc<Issuer>,
    pub client: Arc<Client>,
    tokens: Arc<TokenClient>,
    endpoints: Arc<Endpoints>,
    control: Handle,
    /// Places for questions to the SSO.
    places: Arc<Semaphore>,
    /// No refresh is tried before, unless it must be.
    away_until: AtomicI64,
    /// When the log was last told of a login that failed.
    told: AtomicI64,
    /// Whether it was told that answers may be mixed up.
    told_of_mix_ups: AtomicBool,
}

/// Questions to one SSO that may wait for an answer at once. Anybody can begin logins: beyond this they are turned away, and
/// neither the SSO nor the control plane is swamped. At 100 ms each it is some thousand logins a second.
const MAX_QUESTIONS: usize = 128;
/// Seconds between two lines about logins that fail; the metrics count them all.
const QUIET: i64 = 5;

impl Login {
    /// `issuers`: those of `config`, in its order. `control`: where the SSO is asked. Errors: a secret of a client that
    /// cannot be read any more.
    pub fn new(
        config: &Config,
        issuers: &[Arc<Issuer>],
        previous: Option<&Login>,
        control: &Handle,
    ) -> Result<Login, String> {
        let parties = issuers.iter().map(|issuer| Party::of(issuer, control));
        let common = match previous {
            Some(previous) => previous.common.clone(),
            None => Arc::default(),
        };
        let parties = parties.collect::<Result<Vec<_>, String>>()?;
        Ok(Login {
            is_on: parties.iter().any(Option::is_some),
            parties,
            hosts: Hosts::of(config),
            keeps_access_tokens: config.agencies.iter().any(|agency| agency.identity == IdentityKind::Token),
            common,
        })
    }

    /// Nobody can log in, but which pages there are is known: for looking at a configuration. `is_on`: some issuer has a
    /// client.
    pub fn offline(config: &Config, is_on: bool) -> Login {
        let (parties, common) = (Vec::new(), Arc::default());
        Login { parties, hosts: Hosts::of(config), is_on, keeps_access_tokens: false, common }
    }

    pub fn stats(&self) -> &Stats {
        &self.common.stats
    }

    pub fn forms(&self) -> &KeptForms {
        &self.common.forms
    }

    /// The party of an issuer's name.
    pub fn party(&self, name: &str) -> Option<&Arc<Party>> {
        self.parties.iter().flatten().find(|party| *party.issuer.model.name == *name)
    }

    /// The party of an `iss`.
    fn party_of(&self, iss: &str) -> Option<&Arc<Party>> {
        self.parties.iter().flatten().find(|party| party.issuer.model.issuer == iss)
    }

    fn only_party(&self) -> Option<&Arc<Party>> {
        let mut parties = self.parties.iter().flatten();
        parties.next().filter(|_| parties.next().is_none())
    }

    /// Whether there is anybody to log in at.
    pub fn is_on(&self) -> bool {
        self.is_on
    }
}

impl Party {
    fn of(issuer: &Arc<Issuer>, control: &Handle) -> Result<Option<Arc<Party>>, String> {
        let model = &issuer.model;
        let Some(client) = &model.client else { return Ok(None) };
        let identity = match &client.auth {
            ClientProof::Tls(identity) => Some(identity.clone()),
            _ => None,
        };
        let fetcher = Fetcher::with_identity(model.fetch_roots.clone(), identity);
        let tokens = TokenClient::new(client, model.issuer.clone(), fetcher.clone());
        let tokens = tokens.map_err(|why| format!("issuers.{}.client: {why}", model.name))?;
        Ok(Some(Arc::new(Party {
            issuer: issuer.clone(),
            client: client.clone(),
            tokens: Arc::new(tokens),
            endpoints: Arc::new(Endpoints::new(client.provider.clone(), model.issuer.clone(), fetcher)),
            control: control.clone(),
            places: Arc::new(Semaphore::new(MAX_QUESTIONS)),
            away_until: AtomicI64::new(0),
            told: AtomicI64::new(0),
            told_of_mix_ups: AtomicBool::new(false),
        })))
    }

    /// Asks the SSO from the control runtime, so that no worker waits on its connections. Cancel: the question goes on.
    async fn on_control<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failed>> + Send + 'static,
    ) -> Result<T, Failed> {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return Err(Failed::Away("too many questions wait for its answers".to_owned()));
        };
        let working = async move {
            let done = work.await;
            drop(place);
            done
        };
        self.control.spawn(working).await.unwrap_or_else(|_| Err(Failed::Away("the gateway is ending".to_owned())))
    }
}

impl Party {
    /// What a level of a session is worth by the values as they are now: a reload may have taken it from its value.
    pub fn worth(&self, session: &Session, level: Level) -> Level {
        session.standing(level).map_or(Level::NONE, |standing| level.min(self.issuer.model.level_of(&standing.acr)))
    }

    /// The level that a session has here.
    pub fn level_of(&self, loaded: &Loaded, now: UnixTime) -> Level {
        loaded.levels_at(now).map(|level| self.worth(loaded.session(), level)).max().unwrap_or(Level::NONE)
    }

    /// A line of the log about a login that failed, unless there was one just now: callers can make logins fail at will.
    fn warn(&self, what: &str, now: UnixTime) {
        let last = self.told.load(Ordering::Relaxed);
        let is_due = now >= last.saturating_add(QUIET);
        if is_due && self.told.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            eprintln!("warn: issuer {}: {what}", self.issuer.model.name);
        }
    }

    /// What `check` says of an SSO whose endpoints it knows (W0015); said once.
    fn warn_of_mix_ups(&self) {
        if !self.told_of_mix_ups.swap(true, Ordering::Relaxed) {
            eprintln!(
                "warn: issuer {}: it does not say in its answers who it is, and there are other SSOs: give its client \
                 `callback: own`",
                self.issuer.model.name
            );
        }
    }

    /// Where the SSO's endpoints are, asked now if they are not known.
    async fn endpoints(&self) -> Result<Arc<ProviderEndpoints>, Failed> {
        if let Some(fresh) = self.endpoints.fresh() {
            return Ok(fresh);
        }
        let endpoints = self.endpoints.clone();
        self.on_control(async move { endpoints.get().await.map_err(Failed::Away) }).await
    }
}

/// A request to one of the gateway's own pages, or one that is sent to them.
pub struct Visit<'a> {
    pub sessions: &'a Arc<Sessions>,
    pub known: &'a Known,
    pub method: &'a Method,
    pub headers: &'a Fields,
    /// Scheme and host as the browser sees them: `https://portal.example.ir`.
    pub origin: &'a str,
    /// The host alone, as routes are matched with it.
    pub host: &'a [u8],
    pub request_id: RequestId,
    pub contact: &'a Contact,
    pub now: UnixTime,
}

impl Visit<'_> {
    pub fn language(&self) -> Language {
        manner(self.method, self.headers).language
    }

    async fn session(&self) -> Result<Option<Loaded>, StoreAway> {
        self.sessions.load(self.known, self.headers, self.host, self.now).await
    }

    /// An answer that is none of the good ones, in the caller's own dress. `link`: what can be done next.
    fn refuse(&self, code: Code, detail: Option<&str>, link: Option<Link<'_>>) -> Response {
        let notice = Notice { code, detail, request_id: self.request_id, contact: self.contact, link };
        render(&notice, manner(self.method, self.headers))
    }

    /// The store cannot be asked: the cookie stays, later it is good again.
    fn store_away(&self) -> Response {
        let mut response = self.refuse(Code::SessionStoreAway, None, None);
        response.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        response
    }
}

/// 303: whatever was sent, a GET follows (SB-1).
pub fn see_other(location: &str) -> Response {
    let mut response = Response::new(Body::Empty);
    response.status = http::StatusCode::SEE_OTHER;
    let headers = &mut response.headers;
    let location = HeaderValue::try_from(location).unwrap_or(HeaderValue::from_static("/"));
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn setting(mut response: Response, cookies: &[HeaderValue]) -> Response {
    for cookie in cookies {
        response.headers.append(header::SET_COOKIE, cookie.clone());
    }
    response
}

impl Login {
    /// Where to log in, with the issuer named where there are several.
    pub fn url(&self, party: &Party, level: u8, max_age: Option<u64>, to: Option<&str>) -> String {
        let several = self.only_party().is_none();
        begin::url(level, max_age, several.then_some(&*party.issuer.model.name), to)
    }
}
