//! Requests that meet another route than before, or none: precedence seen from outside.
//!
//! For every pattern that is in one file only, representative requests are put to both compiled tables. Between routes whose
//! patterns did not change nothing moves, so that they are never asked about. Knows nothing of requirements: `routes`
//! compares what the two routes of a takeover ask for.

use std::fmt;

use ahash::{AHashMap, AHashSet};
use http::Method;

use super::overlap::{ANYTHING, Patterns, TooMany};
use super::pairs::{Pairs, signature};
use crate::cli::written;
use crate::config::Config;
use crate::config::model::{HostPattern, PathPattern, Route, Segment};
use crate::route::{Found, Table};
use crate::words::RouteId;

/// Nodes of the pattern tree that may be visited for crossings: a second's work.
const BUDGET: u64 = 10_000_000;

/// Asked of a route that takes any method; the last stands for those that nobody names.
const ANY_METHOD: [Method; 6] =
    [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// How far below a prefix is looked: at it, and at depths that patterns of nothing but parameters may treat differently.
const BELOW: [usize; 4] = [1, 2, 3, 12];

/// A request that shows a difference.
#[derive(Clone, Debug)]
pub struct Example {
    method: Method,
    host: String,
    path: String,
}

#[derive(Default)]
pub struct Takeovers {
    /// Route of the old file, route of the new file that is not its successor, and a request that shows it. Each pair once.
    pub taken: Vec<(RouteId, RouteId, Example)>,
    /// Routes of the old file some of whose requests are answered by none now.
    pub refused: AHashMap<RouteId, Example>,
    /// Too many patterns cross: not all was looked at.
    pub unexamined: bool,
}

pub fn find(old: &Config, new: &Config, pairs: &Pairs) -> Takeovers {
    let (gone, come) = changed(old, new, pairs);
    if gone.is_empty() && come.is_empty() {
        return Takeovers::default();
    }
    let mut patterns = Patterns::default();
    old.routes.iter().chain(&new.routes).for_each(|route| patterns.add(route));
    let mut asking = Asking {
        old: Table::compile(old),
        new: Table::compile(new),
        pairs,
        listeners: listeners(old, new, pairs),
        seen: AHashSet::new(),
        found: Takeovers::default(),
    };
    let mut budget = BUDGET;
    for (routes, is_new) in [(gone, false), (come, true)] {
        for route in routes {
            asking.ask_all(route, is_new, &patterns, &mut budget);
        }
    }
    asking.found
}

/// The routes of the old file whose pattern is gone, and those of the new file whose pattern was not there.
fn changed<'c>(old: &'c Config, new: &'c Config, pairs: &Pairs) -> (Vec<&'c Route>, Vec<&'c Route>) {
    let mut gone: Vec<_> = pairs.routes.removed().map(|place| &old.routes[place]).collect();
    let mut come: Vec<_> = pairs.routes.added().map(|place| &new.routes[place]).collect();
    for (before, after) in pairs.routes.both() {
        let (before, after) = (&old.routes[before], &new.routes[after]);
        if !same_match(before, after) {
            gone.push(before);
            come.push(after);
        }
    }
    (gone, come)
}

/// Whether two routes are for the same requests.
pub fn same_match(one: &Route, other: &Route) -> bool {
    let identical = one.hosts == other.hosts
        && one.path == other.path
        && one.methods == other.methods
        && one.listeners == other.listeners;
    identical || signature(one) == signature(other)
}

/// The listeners to ask about, by their old and new names. One stands for all when no route names any.
fn listeners(old: &Config, new: &Config, pairs: &Pairs) -> Vec<(String, String)> {
    if old.routes.iter().chain(&new.routes).all(|route| route.listeners.is_none()) {
        return vec![(String::new(), String::new())];
    }
    let both = pairs.listeners.both();
    both.map(|(o, n)| (old.listeners[o].name.to_string(), new.listeners[n].name.to_string())).collect()
}

struct Asking<'p> {
    old: Table,
    new: Table,
    pairs: &'p Pairs,
    listeners: Vec<(String, String)>,
    seen: AHashSet<(RouteId, RouteId)>,
    found: Takeovers,
}

impl Asking<'_> {
    fn ask_all(&mut self, route: &Route, is_new: bool, patterns: &Patterns<'_>, budget: &mut u64) {
        let hosts: Vec<_> = match &*route.hosts {
            [] => vec![None],
            some => some.iter().map(Some).collect(),
        };
        for host in hosts {
            let name = match host {
                None => ANYTHING.to_owned(),
                Some(HostPattern::Exact(name)) => name.clone(),
                Some(HostPattern::Wildcard(rest)) => format!("{ANYTHING}.{rest}"),
            };
            let (path, open) = example_of(&route.path);
            self.ask_below(route, is_new, &name, &path, open);
            let walked = patterns.crossings(host, &route.path, budget, &mut |path, open| {
                self.ask_below(route, is_new, &name, path, open);
            });
            if let Err(TooMany) = walked {
                self.found.unexamined = true;
            }
        }
    }

    /// Asks about `path` and, when it is `open`, about what lies below.
    fn ask_below(&mut self, route: &Route, is_new: bool, host: &str, path: &str, open: bool) {
        if !path.is_empty() {
            self.ask(route, is_new, host, path);
        }
        if open {
            self.ask(route, is_new, host, &format!("{path}/"));
            for depth in BELOW {
                let below = format!("/{ANYTHING}").repeat(depth);
                self.ask(route, is_new, host, &format!("{path}{below}"));
                // An empty segment is one that no `{x}` takes.
                self.ask(route, is_new, host, &format!("{path}{below}/"));
            }
        }
    }

    fn ask(&mut self, route: &Route, is_new: bool, host: &str, path: &str) {
        let methods = if route.methods.is_empty() { &ANY_METHOD[..] } else { &route.methods };
        for at in 0..self.listeners.len() {
            let (old, new) = &self.listeners[at];
            let own = if is_new { new } else { old };
            if route.listeners.as_ref().is_some_and(|names| names.iter().all(|name| **name != **own)) {
                continue;
            }
            for method in methods {
                let before = self.old.find(&self.listeners[at].0, host.as_bytes(), path.as_bytes(), method);
                let Found::Route(before) = before else { continue };
                let after = self.new.find(&self.listeners[at].1, host.as_bytes(), path.as_bytes(), method);
                self.note(before, after, || Example {
                    method: method.clone(),
                    host: host.to_owned(),
                    path: path.to_owned(),
                });
            }
        }
    }

    fn note(&mut self, before: RouteId, after: Found, example: impl FnOnce() -> Example) {
        let Found::Route(after) = after else {
            self.found.refused.entry(before).or_insert_with(example);
            return;
        };
        let successor = self.pairs.routes.new_of[before.0 as usize];
        if successor != Some(after.0 as usize) && self.seen.insert((before, after)) {
            self.found.taken.push((before, after, example()));
        }
    }
}

/// A path that fits the pattern, and whether all below it fits too.
fn example_of(path: &PathPattern) -> (String, bool) {
    let (segments, open) = match path {
        PathPattern::Exact(segments) => (segments, false),
        PathPattern::Prefix(segments) => (segments, true),
    };
    let parts = segments.iter().map(|segment| match segment {
        Segment::Literal(text) => text.as_str(),
        Segment::Any(_) => ANYTHING,
    });
    (parts.fold(String::new(), |path, part| path + "/" + part), open)
}

/// `GET api.example.ir/insurance/*`; `*` stands for anything else.
impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host.replace(ANYTHING, "*");
        write!(f, "{} {host}{}", self.method, written::readable(&self.path.replace(ANYTHING, "*")))
    }
}

#[cfg(test)]
mod tests;
