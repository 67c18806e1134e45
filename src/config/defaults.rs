//! Every default, with its reason. What a key means is in `docs/routes-yaml.md`; these are the values when it is absent.

use std::time::Duration;

use super::model::{Algorithm, ListenerLimits, Outlier, Retry, Timeouts};

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
pub const DRAIN: Duration = Duration::from_secs(30);
pub const STATE_DIR: &str = "var";

pub const CLOCK_SKEW: Duration = Duration::from_secs(30);
/// FAPI 2.0: what is over 60 s ahead must be refused.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);
pub const ALGORITHMS: [Algorithm; 4] = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];
/// A missing `typ` counts as `JWT`.
pub const TOKEN_TYPES: [&str; 2] = ["at+jwt", "jwt"];
pub const LEVEL_CLAIM: &str = "acr";
pub const KEYS_REFRESH: Duration = Duration::from_secs(5 * 60);
/// An SSO may be away for a working day; keys older than this could have been withdrawn unseen.
pub const KEEP_KEYS: Duration = Duration::from_secs(24 * 3600);

/// Two addresses may be tried in it; a healthy agency on the national network answers in milliseconds.
pub const CONNECT: Duration = Duration::from_secs(2);
pub const RESPONSE: Duration = Duration::from_secs(30);
pub const TIMEOUTS: Timeouts = Timeouts { connect: CONNECT, response: RESPONSE, idle: IDLE };
pub const RETRY: Retry = Retry { attempts: 2, budget_percent: 20 };

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
};

/// A caller does not notice it; a queue that stays longer only grows.
pub const QUEUE_DELAY: Duration = Duration::from_millis(20);

/// A Redis in the same place answers within one; beyond this, counting alone does a caller less harm than waiting.
pub const SHARED_RATES_TIMEOUT: Duration = Duration::from_millis(50);

pub const ASSERTION_ISSUER: &str = "darvazeh";
/// The contract's bound: an assertion is for one request, not for keeping.
pub const ASSERTION_LIFETIME: Duration = Duration::from_secs(60);

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
};
