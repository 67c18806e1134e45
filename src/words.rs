//! The words of the trade: small plain values that every floor uses and that know nothing of each other.
//!
//! Floor 0. Nothing here does I/O, allocates on the hot path, or reads a clock.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::digits::hex;

/// How strongly a caller is authenticated: 0 (not at all) to 3. Ordered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Level(u8);

impl Level {
    pub const NONE: Level = Level(0);
    pub const ONE: Level = Level(1);
    pub const TWO: Level = Level(2);
    pub const THREE: Level = Level(3);

    /// A level from its number; `None` beyond 3.
    pub const fn new(number: u8) -> Option<Level> {
        if number <= 3 { Some(Level(number)) } else { None }
    }

    pub const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A route's place in `Config::routes`, an agency's in `Config::agencies`, an issuer's in `Config::issuers`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct RouteId(pub u32);
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct AgencyId(pub u32);
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct IssuerId(pub u32);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal;)*) => {
        /// Why the gateway answered by itself. The text is stable: it is the same in the answer, the log, the metric
        /// and `explain` (contract section 3).
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// The HTTP status this reason is answered with.
            pub const fn status(self) -> u16 {
                match self { $(Code::$name => $status,)* }
            }
        }
    };
}

codes! {
    TokenMissing = "token_missing", 401;
    TokenInvalid = "token_invalid", 401;
    CredentialsMalformed = "credentials_malformed", 400;
    LevelTooLow = "level_too_low", 401;
    AuthenticationTooOld = "authentication_too_old", 401;
    ScopeMissing = "scope_missing", 403;
    /// A proxy asks for a verdict that is not its to ask for.
    VerifyForbidden = "verify_forbidden", 403;
    /// A session route, and nobody is logged in.
    LoginRequired = "login_required", 401;
    /// An unsafe request of another site's page, on a route that takes sessions (BF-3).
    CrossSite = "cross_site", 403;
    /// The SSO, or the caller there, said no to a login.
    LoginDeclined = "login_declined", 403;
    /// The SSO gave a level too low again and again (AS-11; OpenID Connect Core Unmet Authentication Requirements 1.0).
    UnmetAuthenticationRequirements = "unmet_authentication_requirements", 403;
    /// No such login attempt in this browser: too old, used before, or somebody else's.
    LoginExpired = "login_expired", 400;
    /// No such form waits for this browser: sent, too old, or somebody else's.
    FormGone = "form_gone", 400;
    /// What the SSO answered does not hold.
    LoginInvalid = "login_invalid", 502;
    /// The SSO cannot be asked.
    SsoUnavailable = "sso_unavailable", 503;
    /// The store of sessions cannot be asked.
    SessionStoreAway = "session_store_unavailable", 503;
    RouteUnknown = "route_unknown", 404;
    MethodNotAllowed = "method_not_allowed", 405;
    PathAmbiguous = "path_ambiguous", 400;
    RequestMalformed = "request_malformed", 400;
    BodyTooLarge = "body_too_large", 413;
    HeadersTooLarge = "headers_too_large", 431;
    UriTooLong = "uri_too_long", 414;
    /// The header block or the body did not arrive in time (RFC 9110 §15.5.9).
    RequestTimeout = "request_timeout", 408;
    /// An `Expect` other than `100-continue` (RFC 9110 §10.1.1).
    ExpectationFailed = "expectation_failed", 417;
    /// A request line of another major version (RFC 9110 §15.6.6).
    VersionUnsupported = "version_unsupported", 505;
    RateLimited = "rate_limited", 429;
    Overloaded = "overloaded", 503;
    KeysUnavailable = "keys_unavailable", 503;
    NoHealthyEndpoint = "no_healthy_endpoint", 503;
    ConnectFailed = "connect_failed", 502;
    /// The same reason as `ConnectFailed`, but the attempt ran out of time: the contract gives it 504.
    ConnectTimeout = "connect_failed", 504;
    UpstreamBroke = "upstream_broke", 502;
    UpstreamTimeout = "upstream_timeout", 504;
    /// This gateway found itself in the `Via` list (RFC 9209 `proxy_loop_detected`).
    LoopDetected = "loop_detected", 508;
    /// A panic or a broken invariant of ours.
    InternalError = "internal_error", 500;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Text of up to `N` bytes (fewer than 256), by value: it is read with every request, and no place elsewhere in memory need be.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ShortText<const N: usize> {
    bytes: [u8; N],
    len: u8,
}

impl<const N: usize> ShortText<N> {
    /// `None`: it is longer.
    fn new(text: &[u8]) -> Option<ShortText<N>> {
        let mut bytes = [0; N];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        Some(ShortText { bytes, len: text.len() as u8 })
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("only ASCII is ever stored")
    }
}

/// What one request is called in the answer, the log and the agency's own log: 1 to 64 characters of `[0-9A-Za-z._-]`.
#[derive(Clone, Copy)]
pub struct RequestId(ShortText<64>);

impl RequestId {
    /// 128 bits as 32 lower-case hexadecimal digits.
    pub fn from_bits(bits: u128) -> RequestId {
        RequestId(ShortText::new(hex(bits.to_be_bytes()).as_flattened()).expect("32 digits fit"))
    }

    /// An id that a trusted proxy gave; `None` when it is not of the form above.
    pub fn from_trusted(given: &[u8]) -> Option<RequestId> {
        let ok = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if given.is_empty() || !given.iter().all(ok) {
            return None;
        }
        ShortText::new(given).map(RequestId)
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A caller as one agency knows them, and nobody else does (PV-1): a version, a dot, and 43 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PairwiseSubject(ShortText<{ PairwiseSubject::VERSION + 1 + 43 }>);

impl PairwiseSubject {
    /// Letters and digits of a version.
    pub const VERSION: usize = 16;

    /// `None`: it is longer than one can be.
    pub fn new(text: &str) -> Option<PairwiseSubject> {
        ShortText::new(text.as_bytes()).map(PairwiseSubject)
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Debug for PairwiseSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `http` or `https`, as the client spoke to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// A listener for as long as it accepts, whatever it is called meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub u32);

/// What is known of a connection once it is accepted (and, with TLS, once the handshake is done). Shared by all its requests.
#[derive(Clone, Debug)]
pub struct ConnInfo {
    /// The listener's name when it was accepted: also the `realm` of challenges.
    pub listener: Arc<str>,
    pub peer: SocketAddr,
    pub local: SocketAddr,
    pub scheme: Scheme,
    /// The host name of the TLS handshake, lower case.
    pub sni: Option<Arc<str>>,
    /// DER of the client's leaf certificate, verified against the listener's `client_ca`.
    pub client_cert: Option<Arc<[u8]>>,
}

/// The methods that metrics tell apart; whatever else a caller invents counts as `OTHER`.
pub const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "OTHER"];

/// The place of a method in [`METHODS`].
pub fn method_index(method: &http::Method) -> usize {
    METHODS.iter().position(|m| *m == method.as_str()).unwrap_or(METHODS.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_zero_to_three() {
        assert_eq!(Level::new(3), Some(Level::THREE));
        assert_eq!(Level::new(4), None);
        assert!(Level::ONE < Level::TWO);
    }

    #[test]
    fn a_request_id_is_32_hex_digits() {
        assert_eq!(RequestId::from_bits(0xab).as_str(), "000000000000000000000000000000ab");
    }

    #[test]
    fn an_id_from_a_proxy_is_kept_only_when_it_is_plain() {
        assert_eq!(RequestId::from_trusted(b"a-1_.Z").unwrap().as_str(), "a-1_.Z");
        for bad in [&b""[..], b"a b", b"a\r\n", "é".as_bytes(), &[b'a'; 65]] {
            assert!(RequestId::from_trusted(bad).is_none());
        }
    }
}
