//! From an agency's fields to those that the caller gets: what belongs to the hop, tells of software, or speaks in our name
//! goes.

use http::header::{self, HeaderName, HeaderValue};

use super::{is_own_cookie, remove, strip_hop};
use crate::fields::Fields;
use crate::forward::failure::Failure;
use crate::forward::present::{Present, is_gateways};

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const X_POWERED_BY: HeaderName = HeaderName::from_static("x-powered-by");
/// `Alt-Svc` would lead callers around the gateway; the rest tells of an agency's software, or speaks in our name.
pub(super) static SOFTWARE: [(Present, HeaderName); 4] = [
    (Present::SERVER, header::SERVER),
    (Present::X_POWERED_BY, X_POWERED_BY),
    (Present::ALT_SVC, header::ALT_SVC),
    (Present::PROXY_STATUS, PROXY_STATUS),
];

/// Makes an agency's fields fit for the caller. Errors: an answer that must not be passed on.
pub fn from_agency(status: http::StatusCode, headers: &mut Fields, authenticated: bool) -> Result<(), Failure> {
    if status == http::StatusCode::UNAUTHORIZED && has_foreign_challenge(headers) {
        return Err(Failure::ForeignChallenge);
    }
    let present = Present::of(headers);
    clean(headers, present);
    // RFC 9110 §8.6: some readers would take what follows for a body.
    if status.is_informational() || status == http::StatusCode::NO_CONTENT {
        headers.remove(header::CONTENT_LENGTH);
    }
    // BE-7: what was said to one caller is not kept for another, unless the agency decides.
    // (It may have been named in `Connection`, and gone with the hop.)
    if authenticated && !(present.has(Present::CACHE_CONTROL) && headers.contains_key(header::CACHE_CONTROL)) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(())
}

/// The same for what has no body of its own: a 1xx head, and trailers. Cookies are set by an answer's own head.
pub fn clean_bodiless(headers: &mut Fields) {
    clean(headers, Present::of(headers));
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::SET_COOKIE);
}

/// Removes from an agency's fields what belongs to the hop, tells of software, or speaks in our name.
fn clean(headers: &mut Fields, present: Present) {
    if present.has(Present::HOP) {
        // An answer's length may stand in `Connection` too, and stays: one to HEAD has nothing else to be learnt from.
        strip_hop(headers, present, Some(header::CONTENT_LENGTH));
    }
    remove(headers, present, &SOFTWARE);
    if present.has(Present::GATEWAYS) {
        headers.retain(|name, _| !is_gateways(name.as_str()));
    }
    if present.has(Present::SET_COOKIE) {
        refuse_own_cookies(headers);
    }
}

pub(super) fn has_foreign_challenge(headers: &Fields) -> bool {
    const FOREIGN: [&[u8]; 4] = [b"basic", b"digest", b"ntlm", b"negotiate"];
    headers.get_all(header::WWW_AUTHENTICATE).any(|value| {
        outside_quotes(value.as_bytes()).any(|element| {
            let scheme = element.trim_ascii().split(u8::is_ascii_whitespace).next().unwrap_or_default();
            FOREIGN.iter().any(|foreign| scheme.eq_ignore_ascii_case(foreign))
        })
    })
}

/// The elements of a list, one field line of which may hold several challenges (RFC 9110 §11.6.1). A comma within quotes
/// separates nothing.
fn outside_quotes(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b',' => return !quoted,
            _ => {}
        }
        false
    })
}

/// Server-sent events: an answer without an end.
pub fn is_event_stream(headers: &Fields) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

fn refuse_own_cookies(headers: &mut Fields) {
    let own = |value: &HeaderValue| {
        let cookie = value.as_bytes().trim_ascii();
        // A cookie without a name, `=NAME=VALUE`, is sent back as `NAME=VALUE` by browsers that take it.
        is_own_cookie(cookie.strip_prefix(b"=").unwrap_or(cookie).trim_ascii_start())
    };
    headers.retain(|name, value| *name != header::SET_COOKIE || !own(value));
}
