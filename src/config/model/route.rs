//! Which requests there are, what each asks for, and what is expected of them.

use std::sync::Arc;
use std::time::Duration;

use super::{Position, Timeouts};
use crate::config::written::Written;
use crate::words::{AgencyId, IssuerId, Level};

/// Hosts, methods, requirement, rewriting, time limits and CORS are shared by the routes that have them alike: a hundred thousand routes
/// must stay small.
#[derive(Debug)]
pub struct Route {
    pub at: Position,
    pub name: Arc<str>,
    pub agency: AgencyId,
    /// Names of listeners; `None`: all.
    pub listeners: Option<Vec<Arc<str>>>,
    /// Empty: any host.
    pub hosts: Arc<[HostPattern]>,
    pub path: PathPattern,
    /// Upper case; empty: any method. `GET` implies `HEAD`.
    pub methods: Arc<[http::Method]>,
    pub require: Arc<Require>,
    pub rewrite: Arc<Rewrite>,
    /// `None`: the listener's.
    pub body_limit: Option<u64>,
    pub rate: Option<Rate>,
    pub priority: Priority,
    /// The agency's, with what the route changes.
    pub timeouts: Arc<Timeouts>,
    /// `false` for `retry: off`.
    pub retry: bool,
    pub cors: Option<Arc<Cors>>,
}

/// Lower case, no port, no trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    Exact(String),
    /// `*.example.ir` holds `example.ir`: one label, then this.
    Wildcard(String),
}

impl HostPattern {
    /// Whether some host is of both.
    pub fn overlaps(&self, other: &HostPattern) -> bool {
        match (self, other) {
            (HostPattern::Exact(host), HostPattern::Wildcard(parent))
            | (HostPattern::Wildcard(parent), HostPattern::Exact(host)) => {
                host.split_once('.').is_some_and(|(_, rest)| rest == parent)
            }
            _ => self == other,
        }
    }
}

/// In canonical form (contract section 5), split at `/`: `/a/{id}/b` is `[a, {id}, b]`; `/a/` is `[a, ""]`; `/` is `[""]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// Whole path.
    Exact(Vec<Segment>),
    /// This and whatever lies below. `prefix: /` is the empty list; a written trailing slash is dropped.
    Prefix(Vec<Segment>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    Literal(String),
    /// `{name}`: any one segment that is not empty.
    Any(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Require {
    pub level: Level,
    /// Present exactly when `level` is 1 or more.
    pub issuer: Option<IssuerId>,
    pub scopes: Vec<String>,
    pub max_age: Option<Duration>,
    pub via: Via,
}

/// How a caller shows who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Via {
    /// A Bearer token in `Authorization`.
    #[default]
    Token,
    /// The session that the gateway keeps after a login at the SSO.
    Session,
    /// A token where one is sent, else the session.
    Either,
}

impl Via {
    pub const fn takes_sessions(self) -> bool {
        matches!(self, Via::Session | Via::Either)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Via::Token => "token",
            Via::Session => "session",
            Via::Either => "either",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rewrite {
    /// Canonical, without trailing slash.
    pub strip_prefix: Option<String>,
    pub add_prefix: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub requests: u32,
    pub per: Duration,
    pub by: RateBy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateBy {
    Subject,
    Client,
    Address,
    Route,
}

/// Whose requests are turned away first when there are more than can be borne.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    Low,
    #[default]
    Normal,
    High,
}

/// A case of `expect`: a request, who asks, and what is to happen.
#[derive(Clone, Debug)]
pub struct Expectation {
    pub at: Position,
    /// The YAML path: `expect[3]`.
    pub path: String,
    pub name: Option<String>,
    pub request: Written,
    /// `None`: the listener that fits the URL best.
    pub listener: Option<Arc<str>>,
    /// `None`: nobody, without a token.
    pub caller: Option<SupposedCaller>,
    pub then: Expected,
}

/// Somebody with a valid token of the route's issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupposedCaller {
    pub level: Level,
    pub scopes: Vec<String>,
    /// How long ago they authenticated.
    pub age: Duration,
}

/// Each member with its place; at least one is there.
#[derive(Clone, Debug)]
pub struct Expected {
    /// `None` inside: no route.
    pub route: Option<(Option<String>, Position)>,
    /// The status; 200 means "forwarded".
    pub answer: Option<(u16, Position)>,
    /// `error` of the challenge.
    pub error: Option<(&'static str, Position)>,
    pub code: Option<(&'static str, Position)>,
}

/// Who else's pages may read the answers (Fetch standard, section 3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Exact origins (`https://portal.example.ir`). `*` only as the single entry, and never with credentials.
    pub origins: Vec<String>,
    /// Empty: the route's own methods.
    pub methods: Vec<http::Method>,
    pub headers: Vec<String>,
    pub expose: Vec<String>,
    pub credentials: bool,
    pub max_age: Duration,
}
