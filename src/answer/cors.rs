//! Whose pages may read the answers of a route (Fetch standard §3.3): the answer to a preflight, and the headers on every
//! other answer, refusals included, so that a portal's script can read a challenge.
//!
//! Pure: no I/O, no clock. The configuration alone decides; an origin is never reflected unless it is listed, and what the
//! agency says about CORS is dropped, so that two sources never contradict each other. Called by `pipeline::handle` (the
//! preflight) and `pipeline::respond` (the rest); compiled once per snapshot.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    ORIGIN, VARY,
};
use http::{HeaderName, HeaderValue, Method, StatusCode};

use crate::body::Body;
use crate::config::model::Cors;
use crate::fields::Fields;
use crate::message::{Response, list_items};

/// What a script may read beside the safelisted headers: why it was refused, how to step up (SU-6), when to come back,
/// and what to quote in a complaint.
const ALWAYS_EXPOSED: [&str; 4] = ["WWW-Authenticate", "X-Request-Id", "X-Gateway-Error", "Retry-After"];

/// What a script may send when `headers` lists nothing: the least that a call with a token and a JSON body needs.
const USUAL_HEADERS: [&str; 2] = ["Authorization", "Content-Type"];

/// For a route that takes any method. Spelled out, because `*` means nothing on requests with credentials.
const ANY_METHOD: [Method; 6] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// A route's [`Cors`] with every header value ready: answering clones handles and allocates no value.
#[derive(Debug)]
pub struct CompiledCors {
    origins: Origins,
    credentials: bool,
    methods: HeaderValue,
    headers: HeaderValue,
    expose: HeaderValue,
    max_age: HeaderValue,
}

#[derive(Debug)]
enum Origins {
    /// `*`: never with credentials.
    Any,
    Listed(Box<[HeaderValue]>),
}

/// A browser's question before the request itself: OPTIONS with `Origin` and `Access-Control-Request-Method`.
#[derive(Debug, PartialEq, Eq)]
pub struct Preflight {
    /// The method that the page wants to use: the route is to be looked up with this one, not with OPTIONS.
    pub method: Method,
}

impl Preflight {
    /// `None` for every other request, an OPTIONS of another kind included.
    pub fn of(method: &Method, headers: &Fields) -> Option<Preflight> {
        if method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
            return None;
        }
        let wanted = headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
        Method::from_bytes(wanted.as_bytes()).ok().map(|method| Preflight { method })
    }
}

impl CompiledCors {
    /// `route_methods` are the route's own, for a `cors` that lists none; empty means any method.
    pub fn compile(cors: &Cors, route_methods: &[Method]) -> CompiledCors {
        let any = cors.origins.iter().any(|origin| origin == "*");
        let listed = || cors.origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect();
        let headers: Vec<&str> = if cors.headers.is_empty() {
            USUAL_HEADERS.to_vec()
        } else {
            cors.headers.iter().map(String::as_str).collect()
        };
        let expose = ALWAYS_EXPOSED.into_iter().chain(cors.expose.iter().map(String::as_str));
        CompiledCors {
            origins: if any { Origins::Any } else { Origins::Listed(listed()) },
            credentials: cors.credentials && !any,
            methods: list(methods(&cors.methods, route_methods).iter().map(Method::as_str)),
            headers: list(headers),
            expose: list(expose),
            max_age: HeaderValue::from(cors.max_age.as_secs()),
        }
    }

    /// The whole answer to a preflight: 204 without a body. An origin that is not listed gets no permission in it, which
    /// is how a browser is told no. The request never reaches an agency and is never asked for credentials.
    pub fn answer_preflight(&self, request: &Fields) -> Response {
        let mut response = Response::new(Body::Empty);
        response.status = StatusCode::NO_CONTENT;
        let answer = &mut response.headers;
        let vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
        answer.insert(VARY, HeaderValue::from_static(vary));
        if self.allow_origin(request, answer) {
            answer.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone());
            answer.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        }
        response
    }

    /// Makes `answer`, ours or an agency's, readable for the listed origins and for no other. What an agency said about
    /// CORS is gone afterwards; its `Vary` is kept and added to.
    pub fn mark(&self, request: &Fields, answer: &mut Fields) {
        strip(answer);
        if matches!(self.origins, Origins::Listed(_)) {
            vary_by_origin(answer);
        }
        if self.allow_origin(request, answer) {
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, self.expose.clone());
        }
    }

    /// Says in `answer` that the asking origin may, where it may. Of listed origins exactly one `Origin`, equal byte for
    /// byte, counts; `*` is said to everyone, so that a cached answer serves every page (Fetch §3.3.7).
    fn allow_origin(&self, request: &Fields, answer: &mut Fields) -> bool {
        let allowed = match &self.origins {
            Origins::Any => HeaderValue::from_static("*"),
            Origins::Listed(listed) => {
                let mut asking = request.get_all(ORIGIN);
                let (Some(origin), None) = (asking.next(), asking.next()) else { return false };
                let Some(known) = listed.iter().find(|known| *known == origin) else { return false };
                known.clone()
            }
        };
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.credentials {
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        true
    }
}

/// The methods to allow: the configured ones, else the route's, else all the usual ones. `GET` implies `HEAD`.
fn methods(configured: &[Method], route: &[Method]) -> Vec<Method> {
    let chosen = [configured, route].into_iter().find(|list| !list.is_empty()).unwrap_or(&ANY_METHOD);
    let mut methods = chosen.to_vec();
    if methods.contains(&Method::GET) && !methods.contains(&Method::HEAD) {
        methods.push(Method::HEAD);
    }
    methods
}

/// A comma-separated list without repetition; what is no token cannot be a method or a header name and is left out.
fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> HeaderValue {
    let mut kept: Vec<&str> = Vec::new();
    for name in names {
        let token = HeaderName::from_bytes(name.as_bytes()).is_ok();
        if token && !kept.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            kept.push(name);
        }
    }
    HeaderValue::try_from(kept.join(", ")).expect("tokens are plain ASCII")
}

/// Removes every `Access-Control-*`.
fn strip(answer: &mut Fields) {
    answer.retain(|name, _| !name.as_str().starts_with("access-control-"));
}

/// A cache must not give one origin what was said to another (Fetch §3.3.7): `Vary: Origin` even where the asking origin
/// got nothing, and where there was none.
fn vary_by_origin(answer: &mut Fields) {
    let named =
        |line: &HeaderValue| list_items(line.as_bytes()).any(|n| n == b"*" || n.eq_ignore_ascii_case(b"origin"));
    if !answer.get_all(VARY).any(named) {
        answer.append(VARY, HeaderValue::from_static("Origin"));
    }
}

#[cfg(test)]
mod tests;
