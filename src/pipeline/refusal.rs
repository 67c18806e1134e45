//! Every reason the gateway answers by itself, and in one table what each becomes: code, challenge, fields, closing.

use std::time::Duration;

use http::header::{self, HeaderName, HeaderValue};

use super::rate;
use super::session::LoginNeeded;
use crate::answer::Link;
use crate::auth::{Denied, Requirement};
use crate::fields::Fields;
use crate::forward::Failure;
use crate::forward::headers::PSEUDONYM;
use crate::http1::head::HeadFault;
use crate::intake::Rejected;
use crate::words::Code;

#[derive(Debug)]
pub enum Refusal {
    /// A head that is not HTTP, or over a bound.
    Head(HeadFault),
    /// A head that did not come in time.
    HeadTimeout,
    /// A request that cannot be looked at.
    Rejected(Rejected),
    /// A proxy that may not have this verdict.
    MayNotAsk,
    RouteUnknown,
    /// The methods that would do, for `Allow`.
    MethodNotAllowed(HeaderValue),
    BodyTooLarge,
    Denied(Denied),
    /// Somebody must log in first, or more strongly.
    Login(Box<LoginNeeded>),
    /// Another site's page asks, on a route that takes sessions.
    CrossSite,
    /// A form that was to be sent after a step-up is there no more, or is somebody else's.
    FormGone,
    /// The session is sound, but the token that the agency is to get cannot be renewed now.
    SsoUnavailable,
    /// The store of sessions does not answer.
    StoreAway,
    /// The next request would be allowed after this long; the policy is for `RateLimit-Policy`.
    RateLimited(Duration, HeaderValue),
    /// More than can be borne; turned away by priority.
    Overloaded,
    Forward(Failure),
    /// A panic of ours.
    Internal,
}

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
/// CONNECT and TRACE are no route's; these may be (HP-3).
const ANY_METHOD: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
/// An overload has passed or is borne by fewer within this; keys come within seconds of the SSO's return; an endpoint, after its next probe.
const RETRY_SOON: HeaderValue = HeaderValue::from_static("5");
/// A place in an agency comes free with every answer that ends.
const RETRY_AT_ONCE: HeaderValue = HeaderValue::from_static("1");

impl Refusal {
    pub fn code(&self) -> Code {
        match self {
            Refusal::Head(fault) => fault.code(),
            Refusal::HeadTimeout => Code::RequestTimeout,
            Refusal::Rejected(rejected) => rejected.code(),
            Refusal::MayNotAsk => Code::VerifyForbidden,
            Refusal::RouteUnknown => Code::RouteUnknown,
            Refusal::MethodNotAllowed(_) => Code::MethodNotAllowed,
            Refusal::BodyTooLarge => Code::BodyTooLarge,
            Refusal::Denied(denied) => denied.code(),
            Refusal::Login(needed) => needed.code,
            Refusal::CrossSite => Code::CrossSite,
            Refusal::FormGone => Code::FormGone,
            Refusal::SsoUnavailable => Code::SsoUnavailable,
            Refusal::StoreAway => Code::SessionStoreAway,
            Refusal::RateLimited(..) => Code::RateLimited,
            Refusal::Overloaded => Code::Overloaded,
            Refusal::Forward(failure) => failure.code(),
            Refusal::Internal => Code::InternalError,
        }
    }

    /// More than the code says, for the developer. Fixed text.
    pub fn detail(&self) -> Option<&'static str> {
        match self {
            Refusal::Head(HeadFault::Malformed(why))
            | Refusal::Rejected(Rejected::Malformed(why) | Rejected::PathAmbiguous(why)) => Some(why),
            Refusal::Denied(Denied::TokenInvalid { description } | Denied::CredentialsMalformed { description }) => {
                Some(description)
            }
            Refusal::Denied(Denied::TooManyForged { .. }) => {
                Some("too many tokens with a wrong signature came from this address")
            }
            Refusal::Forward(failure) => failure.detail(),
            _ => None,
        }
    }

    /// How a caller's credentials or session fall short.
    pub fn denied(&self) -> Option<Denied> {
        match self {
            Refusal::Denied(denied) => Some(*denied),
            Refusal::Login(needed) => Some(needed.denied),
            _ => None,
        }
    }

    /// What the caller can do next.
    pub fn link(&self) -> Option<Link<'_>> {
        match self {
            Refusal::Login(needed) => Some(Link { kind: needed.kind, url: &needed.url }),
            _ => None,
        }
    }

    /// Where the caller is sent instead of being told.
    pub fn redirect(&self) -> Option<&str> {
        match self {
            Refusal::Login(needed) => needed.redirect.as_deref(),
            _ => None,
        }
    }

    /// The connection must not carry another request: where its bytes end is in doubt, or they are not wanted.
    pub fn closes(&self) -> bool {
        match self {
            Refusal::Head(_) | Refusal::HeadTimeout | Refusal::Internal => true,
            Refusal::Rejected(rejected) => matches!(rejected, Rejected::Malformed(_)),
            Refusal::Forward(Failure::RequestBody(_)) => true,
            _ => false,
        }
    }

    /// The fields that this reason adds to its answer. `realm`: the listener's name.
    pub fn add_fields(&self, realm: &str, requirement: Option<&Requirement>, headers: &mut Fields) {
        match self {
            Refusal::MethodNotAllowed(allow) => {
                headers.insert(header::ALLOW, allow.clone());
            }
            Refusal::Rejected(Rejected::MethodNotAllowed) => {
                headers.insert(header::ALLOW, ANY_METHOD);
            }
            Refusal::Denied(denied) => deny(*denied, realm, requirement, headers),
            Refusal::Login(needed) => {
                // A 401 has a challenge (RFC 9110 section 11.6.1); scripts read in it what a step-up must reach.
                if needed.redirect.is_none() {
                    deny(needed.denied, realm, requirement, headers);
                }
                for cookie in &needed.cookies {
                    headers.append(header::SET_COOKIE, cookie.clone());
                }
            }
            Refusal::SsoUnavailable | Refusal::StoreAway => {
                headers.insert(header::RETRY_AFTER, RETRY_SOON);
            }
            Refusal::RateLimited(after, policy) => {
                let seconds = whole_seconds(*after);
                headers.insert(header::RETRY_AFTER, seconds.into());
                rate::tell(headers, policy, 0, seconds);
            }
            Refusal::Overloaded => {
                headers.insert(header::RETRY_AFTER, RETRY_SOON);
            }
            Refusal::Forward(failure) => {
                if let Some(error) = failure.proxy_status() {
                    let value = HeaderValue::from_str(&format!("{PSEUDONYM}; error={error}"));
                    headers.insert(PROXY_STATUS, value.unwrap_or(HeaderValue::from_static(PSEUDONYM)));
                }
                match failure {
                    Failure::NoEndpoint => headers.insert(header::RETRY_AFTER, RETRY_SOON),
                    _ if failure.code() == Code::Overloaded => headers.insert(header::RETRY_AFTER, RETRY_AT_ONCE),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

/// For fields that count in seconds: rounded up, and never 0, which would ask for another try at once.
pub fn whole_seconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis().div_ceil(1000).max(1)).unwrap_or(u64::MAX)
}

/// The challenges of RFC 6750 §3 and RFC 9470 §3.
fn deny(denied: Denied, realm: &str, requirement: Option<&Requirement>, headers: &mut Fields) {
    let mut challenge = Challenge::new(realm);
    let mut say = |description: &str| denied.error().into_iter().for_each(|error| challenge.error(error, description));
    match denied {
        // BE-1: who sent nothing did nothing wrong.
        Denied::TokenMissing => {}
        Denied::CredentialsMalformed { description } | Denied::TokenInvalid { description } => say(description),
        Denied::LevelTooLow { .. } => {
            say("A higher authentication level is required");
            challenge.parameter("acr_values", requirement.map_or("", |r| &r.acr_values));
        }
        Denied::AuthenticationTooOld => {
            say("More recent authentication is required");
            let seconds = requirement.and_then(|r| r.max_age).unwrap_or_default().as_secs();
            challenge.parameter("max_age", &seconds.to_string());
        }
        Denied::ScopeMissing => {
            say("The token lacks a scope that is required");
            challenge.parameter("scope", requirement.map_or("", |r| &r.scope));
        }
        Denied::KeysUnavailable => {
            headers.insert(header::RETRY_AFTER, RETRY_SOON);
            return;
        }
        Denied::TooManyForged { retry_after } => {
            headers.insert(header::RETRY_AFTER, whole_seconds(retry_after).into());
            return;
        }
    }
    headers.insert(header::WWW_AUTHENTICATE, challenge.value());
}

/// `Bearer realm="…", error="…", …`; values as quoted strings (RFC 9110 §11.2).
struct Challenge(Vec<u8>);

impl Challenge {
    fn new(realm: &str) -> Challenge {
        let mut challenge = Challenge(Vec::with_capacity(256));
        challenge.0.extend_from_slice(b"Bearer ");
        challenge.quoted("realm", realm);
        challenge
    }

    fn error(&mut self, error: &str, description: &str) {
        self.parameter("error", error);
        self.parameter("error_description", description);
    }

    fn parameter(&mut self, name: &str, value: &str) {
        self.0.extend_from_slice(b", ");
        self.quoted(name, value);
    }

    fn quoted(&mut self, name: &str, value: &str) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"=\"");
        let mut rest = value.as_bytes();
        while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
            self.0.extend_from_slice(&rest[..at]);
            self.0.extend_from_slice(&[b'\\', rest[at]]);
            rest = &rest[at + 1..];
        }
        self.0.extend_from_slice(rest);
        self.0.push(b'"');
    }

    fn value(self) -> HeaderValue {
        HeaderValue::from_maybe_shared(bytes::Bytes::from(self.0)).unwrap_or(HeaderValue::from_static("Bearer"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Via;
    use crate::words::Level;

    fn challenge(denied: Denied) -> String {
        let requirement = Requirement {
            level: Level::TWO,
            issuer: None,
            scopes: vec!["a.read".into(), "b.read".into()],
            max_age: Some(Duration::from_secs(900)),
            acr_values: "urn:l:2 urn:l:3".into(),
            scope: "a.read b.read".into(),
            via: Via::Token,
        };
        let mut headers = Fields::new();
        Refusal::Denied(denied).add_fields("public", Some(&requirement), &mut headers);
        headers.get(header::WWW_AUTHENTICATE).map_or_else(String::new, |v| v.to_str().unwrap().to_owned())
    }

    /// BE-1
    #[test]
    fn who_sent_nothing_is_told_no_error() {
        assert_eq!(challenge(Denied::TokenMissing), "Bearer realm=\"public\"");
    }

    /// SU-1, AS-10
    #[test]
    fn a_step_up_challenge_lists_what_would_do() {
        let text = challenge(Denied::LevelTooLow { has: Level::ONE, needs: Level::TWO });
        assert!(text.starts_with("Bearer realm=\"public\", error=\"insufficient_user_authentication\""), "{text}");
        assert!(text.ends_with("acr_values=\"urn:l:2 urn:l:3\""), "{text}");
        assert!(challenge(Denied::AuthenticationTooOld).ends_with("max_age=\"900\""));
    }

    /// BE-4
    #[test]
    fn a_missing_scope_names_all_that_are_needed() {
        assert!(challenge(Denied::ScopeMissing).ends_with("error=\"insufficient_scope\", error_description=\"The token lacks a scope that is required\", scope=\"a.read b.read\""));
    }

    #[test]
    fn a_value_cannot_break_out_of_its_quotes() {
        let mut headers = Fields::new();
        Refusal::Denied(Denied::TokenMissing).add_fields("a\"b\\c", None, &mut headers);
        assert_eq!(headers[header::WWW_AUTHENTICATE], "Bearer realm=\"a\\\"b\\\\c\"");
    }

    #[test]
    fn without_keys_the_caller_is_told_when_to_come_back() {
        let mut headers = Fields::new();
        Refusal::Denied(Denied::KeysUnavailable).add_fields("x", None, &mut headers);
        assert!(headers.contains_key(header::RETRY_AFTER) && !headers.contains_key(header::WWW_AUTHENTICATE));
    }

    #[test]
    fn a_rate_limit_rounds_its_wait_up() {
        let mut headers = Fields::new();
        Refusal::RateLimited(Duration::from_millis(1001), HeaderValue::from_static("\"gateway\";q=5")).add_fields(
            "x",
            None,
            &mut headers,
        );
        assert_eq!(headers[header::RETRY_AFTER], "2");
        assert_eq!(headers["ratelimit"], "\"gateway\";r=0;t=2");
    }

    /// PS
    #[test]
    fn a_failed_exchange_says_how_in_proxy_status() {
        let mut headers = Fields::new();
        Refusal::Forward(Failure::TimedOut).add_fields("x", None, &mut headers);
        assert_eq!(headers[PROXY_STATUS], "darvazeh; error=http_response_timeout");
    }
}
