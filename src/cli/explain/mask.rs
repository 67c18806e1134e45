//! What may be shown of a request: names always, values only where nobody's affairs can be in them (PV-4).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{self, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use crate::fields::Fields;

/// Written by the gateway itself, or about the form of things and not about people.
const SHOWN: [&str; 19] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "content-type",
    "forwarded",
    "host",
    "max-forwards",
    "origin",
    "te",
    "traceparent",
    "upgrade",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-gateway-level",
    "x-request-id",
    "access-control-request-method",
];

const MASKED: &str = "<masked>";
/// The caller's own, passed on untouched.
const AS_SENT: &str = "<as sent>";

/// The fields an agency would get, in order.
pub fn fields(headers: &Fields) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_string(), shown(name, value))).collect()
}

fn shown(name: &HeaderName, value: &HeaderValue) -> String {
    match name.as_str() {
        "x-gateway-assertion" => assertion(value.as_bytes()),
        "x-gateway-subject" => MASKED.to_owned(),
        _ if *name == header::AUTHORIZATION || *name == header::COOKIE => MASKED.to_owned(),
        name if SHOWN.contains(&name) => plain(value.as_bytes()),
        _ => AS_SENT.to_owned(),
    }
}

/// An assertion by the names of its claims.
fn assertion(token: &[u8]) -> String {
    let payload = token.split(|b| *b == b'.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims: Option<Map<String, Value>> = payload.and_then(|json| serde_json::from_slice(&json).ok());
    let names: Vec<String> = claims.unwrap_or_default().keys().cloned().collect();
    format!("<signed: {}>", names.join(", "))
}

/// A target without the values of its query.
pub fn target(target: &[u8]) -> String {
    match target.iter().position(|b| *b == b'?') {
        None => plain(target),
        Some(mark) => format!("{}?{MASKED}", plain(&target[..mark])),
    }
}

/// Text for a terminal: what is no letter there cannot move its cursor.
pub fn plain(bytes: &[u8]) -> String {
    let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    String::from_utf8_lossy(bytes).chars().map(printable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &'static str, value: &str) -> String {
        shown(&HeaderName::from_static(name), &HeaderValue::from_str(value).unwrap())
    }

    /// PV-4
    #[test]
    fn what_may_be_personal_is_not_shown() {
        assert_eq!(one("authorization", "Bearer canary"), MASKED);
        assert_eq!(one("cookie", "a=canary"), MASKED);
        assert_eq!(one("x-gateway-subject", "1.canary"), MASKED);
        assert_eq!(one("x-national-code", "0012345678"), AS_SENT);
        assert_eq!(one("referer", "https://a/?code=canary"), AS_SENT);
        assert_eq!(one("via", "1.1 darvazeh"), "1.1 darvazeh");
        assert_eq!(target(b"/a?code=canary"), "/a?<masked>");
    }

    #[test]
    fn an_assertion_is_shown_by_its_claims() {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"iss":"canary","level":2}"#);
        assert_eq!(one("x-gateway-assertion", &format!("e30.{payload}.x")), "<signed: iss, level>");
    }

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(plain(b"a\x1b[2Jb\x9b\tc"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c");
    }
}
