//! What the gateway itself answers beside the routes: `/.gateway/` (no route can have that path), and what has no hops left.

use http::header::{self, HeaderValue};
use http::{Method, StatusCode};

use crate::answer::say_id;
use crate::body::Body;
use crate::intake::Arrived;
use crate::live::Snapshot;
use crate::message::Response;

/// The answer, when the request is for the gateway; `None` when it is for a route.
pub fn answer(arrived: &Arrived, snapshot: &Snapshot) -> Option<Response> {
    let mut response = match (&arrived.method, arrived.path.as_ref()) {
        (&Method::GET | &Method::HEAD, b"/.gateway/jwks.json") => jwks(snapshot),
        // HP-3; RFC 9110 §7.6.2: the last hop that the caller wants to hear from is this one.
        (&Method::OPTIONS, _) if arrived.headers.get(header::MAX_FORWARDS).is_some_and(|left| left == "0") => {
            let mut response = Response::new(Body::Empty);
            response.status = StatusCode::NO_CONTENT;
            response
        }
        _ => return None,
    };
    let headers = &mut response.headers;
    say_id(headers, &arrived.request_id);
    Some(response)
}

/// The keys that assertions are verified with (contract section 3).
fn jwks(snapshot: &Snapshot) -> Response {
    let mut response = Response::new(Body::full(snapshot.signer.jwks()));
    let headers = &mut response.headers;
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    // Long enough to spare us, short enough for a rotation.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}
