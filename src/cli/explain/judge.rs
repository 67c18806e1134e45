//! Takes one request through the steps of `pipeline::handle`, each by the function that serves, and notes what each finds.
//!
//! The one thing that is not done is sending: in place of the exchange there is what would have been sent. Rates are not
//! counted, since they are about all requests and not about this one. `tests/explain` holds the two to one answer.

use std::time::Duration;

use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Method};

use super::mask;
use crate::answer::X_GATEWAY_ERROR;
use crate::answer::cors::Preflight;
use crate::auth::credential::{self, Presented};
use crate::auth::suppose::suppose;
use crate::auth::walk::{Finding, walk};
use crate::auth::{self, Denied, TokenCache};
use crate::clock::Clock;
use crate::config::model::{ClientAuth, Listener, Rate, ServerTls, SupposedCaller, Via};
use crate::config::units::show_duration;
use crate::config::written::Written;
use crate::fields::Fields;
use crate::forward::headers::identity;
use crate::forward::prepare::prepare;
use crate::intake::Arrived;
use crate::intake::arrived::Payload;
use crate::limit::body::{Counter, limited};
use crate::live::Snapshot;
use crate::live::asked::{self, Stopped};
use crate::pipeline::handle::{Met, find, rejected, too_large_first};
use crate::pipeline::own;
use crate::pipeline::portal;
use crate::pipeline::refusal::Refusal;
use crate::pipeline::respond::{Asked, dress};
use crate::pipeline::session::{self, LoginNeeded};
use crate::pipeline::verify;
use crate::route::explain::{Candidate, LostBecause, candidates};
use crate::words::{Code, ConnInfo, Level, RequestId, RouteId};

pub struct Question {
    pub request: Written,
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// `None`: the one that fits the URL best.
    pub listener: Option<String>,
    pub asker: Asker,
}

pub enum Asker {
    /// Whoever the request's own `Authorization` makes them.
    AsSent,
    Supposed(SupposedCaller),
}

/// All that there is to say of a request.
pub struct Explanation {
    pub method: Method,
    /// As written, without the query.
    pub url: String,
    /// The URL as a browser would send it, where that is something else.
    pub encoded: Option<String>,
    pub listener: String,
    /// What a caller must speak there.
    pub transport: &'static str,
    /// Canonical; `None` when the request is refused before.
    pub path: Option<String>,
    /// The route that is met, then those that came nearest to it; at most [`CANDIDATES`].
    pub candidates: Vec<Contender>,
    pub left_out: usize,
    pub route: Option<RouteFacts>,
    pub asker: String,
    /// Of the token, when there is one and the route asks for it.
    pub checks: Vec<Finding>,
    /// What the caller was found to have, or is supposed to.
    pub level: Option<Level>,
    pub verdict: Verdict,
}

pub struct Contender {
    pub name: String,
    pub at: String,
    pub lost_because: Option<LostBecause>,
}

pub struct RouteFacts {
    pub name: String,
    pub agency: String,
    pub level: Level,
    pub issuer: Option<String>,
    pub scopes: Vec<String>,
    pub max_age: Option<Duration>,
    pub via: Via,
    pub rate: Option<Rate>,
    /// URL and weight.
    pub endpoints: Vec<(String, u32)>,
}

pub enum Verdict {
    Forward {
        /// Without the query.
        target: String,
        /// What the agency would see, personal values masked.
        headers: Vec<(String, String)>,
    },
    /// Nothing is forwarded: the agency's own proxy is told that the request may pass.
    Allow {
        /// What the proxy is told of the caller, masked.
        headers: Vec<(String, String)>,
    },
    /// The gateway answers without being asked by a route.
    Own { status: u16, what: &'static str },
    Refuse {
        code: Code,
        detail: Option<&'static str>,
        /// The fields that a caller acts on.
        headers: Vec<(String, String)>,
    },
}

/// More are not shown: 100 000 routes that lose say no more than the nearest hundred.
pub const CANDIDATES: usize = 100;

/// Errors: a listener that is not there.
pub async fn explain(snapshot: &Snapshot, question: &Question, clock: &Clock) -> Result<Explanation, String> {
    let listeners = &snapshot.config.listeners;
    let listener = match &question.listener {
        Some(name) => listeners.iter().find(|listener| *listener.name == **name),
        None => question.request.listener(listeners),
    };
    let listener = listener.ok_or("there is no such listener")?;
    let conn = asked::connection(&question.request, listener);
    let mut judge = Judge { snapshot, question, listener, conn, clock, found: Explanation::begun(question, listener) };
    judge.found.verdict = judge.verdict().await;
    Ok(judge.found)
}

impl Explanation {
    fn begun(question: &Question, listener: &Listener) -> Explanation {
        let request = &question.request;
        let path = request.target.split(['?', '#']).next().unwrap_or_default();
        let url = |path: &str| format!("{}://{}{path}", request.scheme(), request.authority);
        Explanation {
            method: request.method.clone(),
            url: mask::plain(url(path).as_bytes()),
            encoded: (!path.is_ascii()).then(|| url(&encoded(path))),
            listener: listener.name.to_string(),
            transport: transport(listener),
            path: None,
            candidates: Vec::new(),
            left_out: 0,
            route: None,
            asker: asker(question),
            checks: Vec::new(),
            level: None,
            verdict: Verdict::Own { status: 0, what: "" },
        }
    }
}

fn is_verdict(target: &str) -> bool {
    let path = target.split(['?', '#']).next().unwrap_or_default().as_bytes();
    path.strip_prefix(verify::PATH).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}

fn transport(listener: &Listener) -> &'static str {
    match &listener.tls {
        None => "plain HTTP",
        Some(ServerTls { client_auth: ClientAuth::Required(_), .. }) => "TLS with a client certificate",
        Some(_) => "TLS",
    }
}

fn asker(question: &Question) -> String {
    match &question.asker {
        Asker::Supposed(SupposedCaller { level, scopes, age }) => {
            let scopes =
                if scopes.is_empty() { "no scopes".to_owned() } else { format!("scopes {}", scopes.join(" ")) };
            let since = match age.as_secs() {
                0 => "authenticated just now".to_owned(),
                _ => format!("authenticated {} ago", show_duration(*age)),
            };
            format!("supposed: a valid token of level {level}, {scopes}, {since}")
        }
        Asker::AsSent if question.fields.iter().any(|(name, _)| name == http::header::AUTHORIZATION) => {
            "the holder of the credentials given".to_owned()
        }
        Asker::AsSent => "somebody without credentials".to_owned(),
    }
}

/// What browsers make of letters outside ASCII (URL standard, "percent-encode").
fn encoded(path: &str) -> String {
    let encode = |byte: u8| if byte.is_ascii() { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    path.bytes().map(encode).collect()
}

struct Judge<'a> {
    snapshot: &'a Snapshot,
    question: &'a Question,
    listener: &'a Listener,
    conn: ConnInfo,
    clock: &'a Clock,
    found: Explanation,
}

impl Judge<'_> {
    /// The steps of `pipeline::handle`.
    async fn verdict(&mut self) -> Verdict {
        let limit = self.listener.limits.body;
        let arrived = asked::arrive(&self.question.request, &self.question.fields, &self.conn, self.listener);
        let (mut arrived, payload) = match arrived {
            Ok(arrived) => arrived,
            Err(Stopped::Head(fault)) => return self.refuse(&Refusal::Head(fault), None, &Fields::new()),
            Err(Stopped::Rejected(remains)) => {
                let refusal = rejected(remains.why, remains.announced, limit);
                return self.refuse(&refusal, None, &remains.headers);
            }
        };
        self.found.path = Some(mask::plain(&arrived.path));
        if let Some(response) = own::answer(&arrived, self.snapshot) {
            return Verdict::Own { status: response.status.as_u16(), what: "the gateway's own keys" };
        }
        if let Some(place) = portal::asked(self.snapshot, &arrived) {
            return match place.takes(&arrived.method) {
                Ok(()) => {
                    let (status, what) = place.shown();
                    Verdict::Own { status, what }
                }
                Err(refusal) => self.refuse(&refusal, None, &arrived.headers),
            };
        }
        // Whether its peer is one of an agency's proxies is nothing a question here can say.
        if !self.snapshot.askers.is_empty() && is_verdict(&self.question.request.target) {
            return self.refuse(&Refusal::MayNotAsk, None, &arrived.headers);
        }
        let met = find(self.snapshot, &self.conn.listener, &arrived);
        self.note_candidates(&arrived, matches!(met, Ok(Met::Preflight(_))));
        let id = match met {
            Ok(Met::Route(id)) => id,
            Ok(Met::Preflight(id)) => {
                self.note_route(id);
                return self.preflight(id, &arrived);
            }
            Err(refusal) => {
                let refusal = too_large_first(refusal, &payload, limit);
                return self.refuse(&refusal, None, &arrived.headers);
            }
        };
        self.note_route(id);
        match self.pass(id, &mut arrived, payload).await {
            Ok(verdict) => verdict,
            Err(refusal) => self.refuse(&refusal, Some(id), &arrived.headers),
        }
    }

    /// From a route to what would be sent, or told to the agency's own proxy.
    async fn pass(&mut self, id: RouteId, arrived: &mut Arrived, payload: Payload) -> Result<Verdict, Refusal> {
        let route = self.snapshot.route(id);
        let limit = route.body_limit.or(self.listener.limits.body);
        limited(payload.body, limit, &Counter::default()).map_err(|_| Refusal::BodyTooLarge)?;
        let admitted = self.admit(id, arrived).await;
        self.found.level = match &admitted {
            Ok(permit) => Some(permit.level()),
            Err(Denied::LevelTooLow { has, .. }) => Some(*has),
            Err(_) => None,
        };
        let permit = admitted.map_err(|denied| match denied {
            Denied::TokenMissing if session::is_asked(&route.requirement, &arrived.headers) => {
                Refusal::Login(Box::new(LoginNeeded::of_nobody(&route.requirement)))
            }
            denied => Refusal::Denied(denied),
        })?;
        let agency = &self.snapshot.agencies[route.agency.0 as usize];
        let now = self.clock.now();
        let signer = &self.snapshot.signer;
        if agency.endpoints.is_empty() {
            let mut headers = Fields::new();
            identity(&mut headers, None, &permit, agency, signer, || now);
            return Ok(Verdict::Allow { headers: mask::fields(&headers) });
        }
        let prepared = prepare(arrived, &permit, &self.conn, agency, &route.way, signer, || now);
        let prepared = prepared.map_err(Refusal::Forward)?;
        let outgoing = prepared.outgoing();
        Ok(Verdict::Forward { target: mask::target(&outgoing.target), headers: mask::fields(&outgoing.fields()) })
    }

    async fn admit(&mut self, id: RouteId, arrived: &Arrived) -> Result<auth::Permit, Denied> {
        let requirement = &self.snapshot.route(id).requirement;
        let (headers, query) = (&arrived.headers, arrived.query.as_deref());
        if let Asker::Supposed(caller) = &self.question.asker {
            let skew = requirement.issuer.as_ref().map_or(Duration::ZERO, |issuer| issuer.model.clock_skew);
            return suppose(requirement, headers, query, Some(caller), skew, self.clock.now());
        }
        if let (Some(issuer), Ok(Presented::Bearer(token))) =
            (&requirement.issuer, credential::presented(headers, query))
        {
            self.found.checks = walk(token, requirement, issuer, self.clock.now()).await;
        }
        let cache = TokenCache::new(0, std::sync::Arc::default());
        auth::admit(requirement, headers, query, None, &cache, self.clock).await
    }

    fn preflight(&self, id: RouteId, arrived: &Arrived) -> Verdict {
        let cors = self.snapshot.route(id).cors.as_ref();
        let status = cors.map_or(204, |cors| cors.answer_preflight(&arrived.headers).status.as_u16());
        Verdict::Own { status, what: "the CORS settings of the route" }
    }

    /// The answer, as the caller would get it.
    fn refuse(&self, refusal: &Refusal, route: Option<RouteId>, headers: &Fields) -> Verdict {
        let route = route.map(|id| self.snapshot.route(id));
        let asked = Asked {
            method: &self.question.request.method,
            headers,
            scheme: self.conn.scheme,
            realm: &self.conn.listener,
            requirement: route.map(|route| &*route.requirement),
            cors: route.and_then(|route| route.cors.as_deref()),
            contact: &self.snapshot.config.contact,
        };
        let answer = dress(refusal, &asked, RequestId::from_bits(0));
        let shown = [WWW_AUTHENTICATE, ALLOW, RETRY_AFTER, X_GATEWAY_ERROR];
        let values = shown.iter().filter_map(|name| Some((name, answer.headers.get(name)?)));
        let headers = values.map(|(name, value)| (name.to_string(), mask::plain(value.as_bytes()))).collect();
        Verdict::Refuse { code: refusal.code(), detail: refusal.detail(), headers }
    }

    /// A preflight is judged by the method it asks about.
    fn note_candidates(&mut self, arrived: &Arrived, preflight: bool) {
        let asked = Preflight::of(&arrived.method, &arrived.headers).filter(|_| preflight);
        let method = asked.map_or_else(|| arrived.method.clone(), |preflight| preflight.method);
        let (routes, host) = (&self.snapshot.config.routes, arrived.authority.name());
        let mut judged = candidates(routes, Some(&self.conn.listener), host, &arrived.path, &method);
        // What is met has no reason to lose, and stands first; then those that lose last. Equals stay in the file's order.
        judged.sort_by_key(|candidate| (candidate.lost_because.is_some(), std::cmp::Reverse(candidate.lost_because)));
        self.found.left_out = judged.len().saturating_sub(CANDIDATES);
        let contender = |candidate: &Candidate| {
            let route = &routes[candidate.route.0 as usize];
            let at = format!("{}:{}", route.at.file, route.at.line);
            Contender { name: route.name.to_string(), at, lost_because: candidate.lost_because }
        };
        self.found.candidates = judged.iter().take(CANDIDATES).map(contender).collect();
    }

    fn note_route(&mut self, id: RouteId) {
        let (route, live) = (&self.snapshot.config.routes[id.0 as usize], self.snapshot.route(id));
        let agency = &self.snapshot.config.agencies[route.agency.0 as usize];
        self.found.route = Some(RouteFacts {
            name: route.name.to_string(),
            agency: agency.name.to_string(),
            level: live.requirement.level,
            issuer: live.requirement.issuer.as_ref().map(|issuer| issuer.model.name.to_string()),
            scopes: live.requirement.scopes.clone(),
            max_age: live.requirement.max_age,
            via: live.requirement.via,
            rate: route.rate,
            endpoints: agency.endpoints.iter().map(|e| (e.url.to_string(), e.weight)).collect(),
        });
    }
}
