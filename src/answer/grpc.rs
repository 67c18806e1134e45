//! The gRPC dress: a Trailers-Only answer, HTTP 200 with the reason in `grpc-status` and `grpc-message` and no body
//! (gRPC over HTTP/2, "Responses"). Called by `answer::render` alone.

use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue};

use super::{Language, escape, texts};
use crate::fields::Fields;
use crate::words::Code;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The message is the code and the detail, always in English: gRPC has no languages, and only programmers read it.
pub(super) fn trailers_only(headers: &mut Fields, code: Code, detail: Option<&str>) {
    let detail = detail.unwrap_or(texts(code, Language::En).detail);
    let message = escape::percent(&[code.as_str(), ": ", detail].concat(), |b| matches!(b, 0x20..=0x7e));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, HeaderValue::from(status(code.status())));
    headers.insert(GRPC_MESSAGE, HeaderValue::from_str(&message).expect("percent-encoding leaves printable ASCII"));
}

/// From an HTTP status to gRPC's. Follows gRPC's own "HTTP to gRPC Status Code Mapping", but is finer where a client can
/// act on it: limits are RESOURCE_EXHAUSTED, time-outs are DEADLINE_EXCEEDED, and no answer is UNKNOWN.
const fn status(http: u16) -> u16 {
    const DEADLINE_EXCEEDED: u16 = 4;
    const PERMISSION_DENIED: u16 = 7;
    const RESOURCE_EXHAUSTED: u16 = 8;
    const UNIMPLEMENTED: u16 = 12;
    const INTERNAL: u16 = 13;
    const UNAVAILABLE: u16 = 14;
    const UNAUTHENTICATED: u16 = 16;
    match http {
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 | 405 => UNIMPLEMENTED,
        408 | 504 => DEADLINE_EXCEEDED,
        413 | 414 | 429 | 431 => RESOURCE_EXHAUSTED,
        502 | 503 => UNAVAILABLE,
        _ => INTERNAL,
    }
}
