//! Every default, with its reason. What a key means is in `docs/routes-yaml.md`; these are the values when it is absent.

use std::time::Duration;

use super::model::{
    AgencyLimits, Algorithm, ListenerLimits, Outlier, Par, Rate, RateBy, Retry, SessionLimit, Timeouts,
};

/// Room for a few 8 KiB tokens and cookies; NGINX allows 32 KiB in all too.
pub const HEADERS: usize = 32 * 1024;
/// Real browsers send about 20.
pub const HEADER_COUNT: usize = 100;
pub const URI: usize = 8 * 1024;
/// A slow mobile line sends 32 KiB in 10 s; a slowloris gives up its connection after as long.
pub const HEADER_TIME: Duration = Duration::from_secs(10);
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
pub const IDLE: Duration = Duration::from_secs(60);
/// RFC 9113 §6.5.2 recommends no fewer than 100.
pub const STREAMS: u32 = 100;
pub const BODY: u64 = 10 * 1024 * 1024;
/// A whole office, or a carrier's NAT, may share one address.
pub const CONNECTIONS_PER_ADDRESS: u32 = 1000;
/// Each has a descriptor, and another towards an agency: as many as a well-kept `LimitNOFILE` allows.
pub const CONNECTIONS: u32 = 100_000;
/// In a minute. Sound callers send none at all; verifying this many takes 20 ms of a core, and then a third of a millisecond a
/// second. Enough for somebody who tries a broken signer out.
pub const BAD_SIGNATURES_PER_ADDRESS: u32 = 1000;
pub const DRAIN: Duration = Duration::from_secs(30);
pub const STATE_DIR: &str = "var";

pub const CLOCK_SKEW: Duration = Duration::from_secs(30);
/// FAPI 2.0: what is over 60 s ahead must be refused.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);
pub const ALGORITHMS: [Algorithm; 4] = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];
/// A missing `typ` counts as `JWT`.
pub const TOKEN_TYPES: [&str; 2] = ["at+jwt", "jwt"];
/// A request that is pushed cannot be changed in the browser; an SSO that offers it wants it.
pub const CLIENT_PAR: Par = Par::Auto;
/// One address to register at each SSO; with `iss` in its answers none can be taken for another's.
pub const CLIENT_OWN_CALLBACK: bool = false;
pub const LEVEL_CLAIM: &str = "acr";
pub const KEYS_REFRESH: Duration = Duration::from_secs(5 * 60);
/// An SSO may be away for a working day; keys older than this could have been withdrawn unseen.
pub const KEEP_KEYS: Duration = Duration::from_secs(24 * 3600);

/// Two addresses may be tried in it; a healthy agency on the national network answers in milliseconds.
pub const CONNECT: Duration = Duration::from_secs(2);
pub const RESPONSE: Duration = Duration::from_secs(30);
/// No limit on the whole: a long download and an endless stream are both in order, and silence has its own limits.
pub const TIMEOUTS: Timeouts = Timeouts { connect: CONNECT, response: RESPONSE, idle: IDLE, request: None };
/// A fifth more load is what an agency that fails can still bear (finagle and linkerd settled on the same).
pub const RETRY: Retry = Retry { attempts: 2, budget_percent: 20 };
pub const AGENCY_LIMITS: AgencyLimits = AgencyLimits {
    // About 50 MiB when all of them hang, and far above what an agency that answers in 100 ms has under way at 10000
    // requests a second.
    concurrent: 4096,
    queue: 1024,
    // Whoever waits longer is told to come back: an answer after that helps a person less than knowing.
    queue_time: Duration::from_secs(1),
    // Requests, and as many tunnels or idle connections beside them.
    connections: 8192,
    adaptive: false,
};

pub const HEALTH_INTERVAL: Duration = Duration::from_secs(5);
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
pub const HEALTHY_AFTER: u32 = 2;
pub const UNHEALTHY_AFTER: u32 = 3;

pub const OUTLIER: Outlier = Outlier {
    // Fewer, and one bad resource of an agency would eject an endpoint that serves all others well.
    consecutive: 5,
    // Long enough for a process to be restarted, short enough that an ejection by mistake is no outage.
    base: Duration::from_secs(10),
    // What fails for an hour is probed every five minutes: whoever mends it sees that soon.
    max: Duration::from_secs(5 * 60),
    // The other half has to carry everything; with less, the cure would be worse than the illness.
    max_share: 50,
    // Soon enough that callers do not despair; long enough to tell a bad endpoint from a bad moment.
    interval: Duration::from_secs(10),
    // The median of fewer is chance. A busy endpoint has as many in a second; one that has not is seen to by `consecutive`.
    requests: 30,
    // What all share, such as a database that is away, is under it; every fifth request lost is worth a third endpoint.
    error_rate: Some(20),
    // Hardware that differs is within it; an endpoint that swaps, or has lost its cache, is far beyond.
    slow: Some(4),
};
/// Answers this much slower than the siblings' do no harm, whatever the factor: of a millisecond, four times is noise.
pub const SLOW_LEAST: Duration = Duration::from_millis(100);

/// Mirrokni, Thorup and Zadimoghaddam, "Consistent hashing with bounded loads": with 1.25, hardly anybody moves.
pub const HASH_MAX_LOAD: u32 = 125;

/// A caller hardly notices it; a queue that stays longer only grows. Less would take a machine shared with others for overload.
pub const QUEUE_DELAY: Duration = Duration::from_millis(50);

/// A Redis in the same place answers within one; beyond this, counting alone does a caller less harm than waiting.
pub const SHARED_RATES_TIMEOUT: Duration = Duration::from_millis(50);

pub const ASSERTION_ISSUER: &str = "darvazeh";
/// The contract's bound: an assertion is for one request, not for keeping.
pub const ASSERTION_LIFETIME: Duration = Duration::from_secs(60);

/// A browser takes a `__Host-` cookie only over TLS, for the whole host, and for this host alone.
pub const SESSION_COOKIE: &str = "__Host-darvazeh";
/// AS-8: level 1 for a month of reading, level 2 for a working day, level 3 for one errand.
pub const SESSION_LEVELS: [SessionLimit; 3] = [
    SessionLimit { absolute: Duration::from_secs(30 * 86400), idle: None },
    SessionLimit { absolute: Duration::from_secs(12 * 3600), idle: Some(Duration::from_secs(30 * 60)) },
    SessionLimit { absolute: Duration::from_secs(3600), idle: Some(Duration::from_secs(15 * 60)) },
];
/// A citizen has a few devices with a browser or two on each.
pub const SESSIONS_PER_SUBJECT: u32 = 10;
/// 500 bytes each with an ID token, 700 where that has an RSA signature: 700 MB at most when full.
pub const SESSIONS_MAX: u32 = 1_000_000;
/// Each may make the gateway sign a request and push it to the SSO. Behind one address of a carrier there are hundreds of
/// citizens, who sign in a few times a day; five a second are many of them, and little to an SSO.
pub const LOGINS: Rate = Rate { requests: 300, per: Duration::from_secs(60), by: RateBy::Address };
/// Time for a page to say so before its stream is cut.
pub const SESSION_GRACE: Duration = Duration::from_secs(5);

/// Browsers cap this at 2 h (Chromium) anyway.
pub const CORS_MAX_AGE: Duration = Duration::from_secs(3600);

pub const LIMITS: ListenerLimits = ListenerLimits {
    headers: HEADERS,
    header_count: HEADER_COUNT,
    uri: URI,
    header_time: HEADER_TIME,
    handshake_time: HANDSHAKE_TIME,
    idle: IDLE,
    streams: STREAMS,
    body: BODY,
    connections_per_address: CONNECTIONS_PER_ADDRESS,
    connections: CONNECTIONS,
    bad_signatures_per_address: BAD_SIGNATURES_PER_ADDRESS,
};
