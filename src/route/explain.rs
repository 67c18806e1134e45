//! Why a request meets the route it meets, for `darvazeh explain`: every route in turn, slowly and in so many words.
//!
//! It shares no search with `table`, so that each proves the other: the tests ask both the same questions.

use http::Method;

use super::filter::{MethodSet, Wanted};
use super::host;
use crate::config::model::{HostPattern, PathPattern, Route, Segment};
use crate::words::RouteId;

/// The first reason, in the order of judgement, for which a route is not the one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LostBecause {
    Listener,
    Host,
    Path,
    Method,
    /// Another route fits as well, and its host says more.
    HostLessSpecific,
    /// … and its path says more at the first segment where they differ.
    PathLessSpecific,
    /// … and it lists its methods where this one takes any.
    MethodsLessSpecific,
    /// … and stands earlier in the file. A checked config has no such pair.
    LaterInFile,
}

impl LostBecause {
    /// A short stable text: `candidates[].lost_because` of `explain --format json`.
    pub const fn as_str(self) -> &'static str {
        match self {
            LostBecause::Listener => "another listener",
            LostBecause::Host => "another host",
            LostBecause::Path => "another path",
            LostBecause::Method => "another method",
            LostBecause::HostLessSpecific => "a less specific host",
            LostBecause::PathLessSpecific => "a less specific path",
            LostBecause::MethodsLessSpecific => "less specific methods",
            LostBecause::LaterInFile => "later in the file",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub route: RouteId,
    /// `None`: this is the route the request meets.
    pub lost_because: Option<LostBecause>,
}

/// Judges every route, in the order of the file. `listener` `None`: any. `host`: lower case, no port. `path`: canonical.
pub fn candidates(
    routes: &[Route],
    listener: Option<&str>,
    host: &[u8],
    path: &[u8],
    method: &Method,
) -> Vec<Candidate> {
    let judged: Vec<_> = routes.iter().map(|route| specificity(route, listener, host, path, method)).collect();
    let fitting = judged.iter().zip(0..).filter_map(|(judged, id)| Some((judged.as_ref().ok()?, id)));
    let winner = fitting.min();
    let verdict = |(judged, id): (&Result<Specificity, LostBecause>, u32)| {
        let lost_because = match (judged, winner) {
            (Err(why), _) => Some(*why),
            (Ok(own), Some((best, best_id))) if id != best_id => Some(own.loses_to(best)),
            (Ok(_), _) => None,
        };
        Candidate { route: RouteId(id), lost_because }
    };
    judged.iter().zip(0..).map(verdict).collect()
}

/// How much a route that fits says about a request; the smallest says the most.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Specificity {
    host: HostClass,
    path: Vec<Step>,
    any_method: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum HostClass {
    Exact,
    Wildcard,
    Any,
}

/// What a path pattern says of each segment in turn. A whole path that ends with the request goes before a prefix that
/// ends there, as the shorter list does.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Literal,
    Any,
    EndOfPrefix,
}

impl Specificity {
    fn loses_to(&self, best: &Specificity) -> LostBecause {
        if self.host != best.host {
            LostBecause::HostLessSpecific
        } else if self.path != best.path {
            LostBecause::PathLessSpecific
        } else if self.any_method != best.any_method {
            LostBecause::MethodsLessSpecific
        } else {
            LostBecause::LaterInFile
        }
    }
}

fn specificity(
    route: &Route,
    listener: Option<&str>,
    host: &[u8],
    path: &[u8],
    method: &Method,
) -> Result<Specificity, LostBecause> {
    let names = route.listeners.as_ref();
    if listener.zip(names).is_some_and(|(listener, names)| names.iter().all(|name| **name != *listener)) {
        return Err(LostBecause::Listener);
    }
    let host = host_class(&route.hosts, host).ok_or(LostBecause::Host)?;
    let path = steps(&route.path, path).ok_or(LostBecause::Path)?;
    if !MethodSet::of(&route.methods).has(Wanted::new(method)) {
        return Err(LostBecause::Method);
    }
    Ok(Specificity { host, path, any_method: route.methods.is_empty() })
}

fn host_class(patterns: &[HostPattern], host: &[u8]) -> Option<HostClass> {
    if patterns.is_empty() {
        return Some(HostClass::Any);
    }
    let class = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(name) => (name.as_bytes() == host).then_some(HostClass::Exact),
        HostPattern::Wildcard(parent) => (host::parent(host) == Some(parent.as_bytes())).then_some(HostClass::Wildcard),
    };
    patterns.iter().filter_map(class).min()
}

/// `None` when the pattern does not fit the path.
fn steps(pattern: &PathPattern, path: &[u8]) -> Option<Vec<Step>> {
    let (pattern, prefix) = match pattern {
        PathPattern::Exact(segments) => (segments, false),
        PathPattern::Prefix(segments) => (segments, true),
    };
    let segments: Vec<_> = path.strip_prefix(b"/")?.split(|byte| *byte == b'/').collect();
    if segments.len() < pattern.len() || (!prefix && segments.len() > pattern.len()) {
        return None;
    }
    let step = |(pattern, segment): (&Segment, &&[u8])| match pattern {
        Segment::Literal(text) => (text.as_bytes() == *segment).then_some(Step::Literal),
        Segment::Any(_) => (!segment.is_empty()).then_some(Step::Any),
    };
    let mut steps: Vec<_> = pattern.iter().zip(&segments).map(step).collect::<Option<_>>()?;
    if prefix {
        steps.push(Step::EndOfPrefix);
    }
    Some(steps)
}
