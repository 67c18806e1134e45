//! What the gateway itself serves beside the routes, under `/.gateway/` (no route can have that path).

use http::header::{self, HeaderValue};
use http::{Method, Response};

use crate::answer::X_REQUEST_ID;
use crate::body::Body;
use crate::intake::Arrived;
use crate::live::Snapshot;

/// The answer, when the request is for the gateway; `None` when it is for a route.
pub fn answer(arrived: &Arrived, snapshot: &Snapshot) -> Option<Response<Body>> {
    if arrived.path != "/.gateway/jwks.json" || !matches!(arrived.method, Method::GET | Method::HEAD) {
        return None;
    }
    let mut response = Response::new(Body::full(snapshot.signer.jwks()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    // Long enough to spare us, short enough for a rotation.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    if let Ok(id) = HeaderValue::from_bytes(arrived.request_id.as_bytes()) {
        headers.insert(X_REQUEST_ID, id);
    }
    Some(response)
}
