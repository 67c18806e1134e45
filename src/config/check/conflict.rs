//! Routes that tie, and routes that no request can meet.
//!
//! Precedence (contract section 5) decides between any two routes of different host pattern, path shape, or with and
//! without a method list. What is left are routes of one host pattern and one shape with a method and a listener in common.
//! All look-ups go through hash maps over interned hosts and shapes: 100 000 routes take a few tens of milliseconds.

use ahash::AHashMap;

use super::route::ReadRoute;
use super::{Context, Sections, codes};
use crate::config::model::{HostPattern, PathPattern, Segment};

pub fn check(routes: &[ReadRoute], sections: &Sections, cx: &mut Context<'_>) {
    let mut index = Index::default();
    for (number, route) in routes.iter().enumerate() {
        if let Some(first) = index.add(number, routes) {
            report_tie(route, &routes[first], cx);
        }
    }
    for route in routes {
        if let Some((message, remedy)) = index.why_unreachable(route, routes, sections) {
            let path = format!("routes[{}].match", route.index);
            let message = format!("no request can meet the route `{}`: {message}", route.route.name);
            cx.faults.add(codes::UNREACHABLE, route.match_place, path, message, remedy.to_owned());
        }
    }
}

fn report_tie(route: &ReadRoute, first: &ReadRoute, cx: &mut Context<'_>) {
    let message = format!("the routes `{}` and `{}` tie: neither is more specific", first.route.name, route.route.name);
    let remedy = "make one more specific (host, path or methods), or remove one".to_owned();
    let path = format!("routes[{}].match", route.index);
    let fault = cx.faults.add(codes::TIE, route.match_place, path, message, remedy);
    fault.see(first.match_place, format!("`{}` is defined here", first.route.name));
}

/// A host pattern, a path shape and a method, interned. Host 0 is any host; method 0 is "no list".
type Key = (u32, u32, u32);

#[derive(Default)]
struct Index<'a> {
    hosts: AHashMap<&'a HostPattern, u32>,
    shapes: AHashMap<String, u32>,
    methods: AHashMap<&'a str, u32>,
    routes: AHashMap<Key, Vec<u32>>,
}

impl<'a> Index<'a> {
    /// Adds a route; gives one it ties with. A route that ties is not kept, so that a thousand copies are a thousand faults
    /// and not half a million comparisons.
    fn add(&mut self, number: usize, all: &'a [ReadRoute]) -> Option<usize> {
        let keys = self.keys(&all[number]);
        for key in &keys {
            let Some(rivals) = self.routes.get(key) else { continue };
            let rival = rivals.iter().find(|r| overlap(&all[**r as usize], &all[number]));
            if let Some(rival) = rival {
                return Some(*rival as usize);
            }
        }
        for key in keys {
            self.routes.entry(key).or_default().push(number as u32);
        }
        None
    }

    fn keys(&mut self, read: &'a ReadRoute) -> Vec<Key> {
        let route = &read.route;
        let shape = shape_of(&route.path);
        let next = self.shapes.len() as u32;
        let shape = *self.shapes.entry(shape).or_insert(next);
        let mut keys = Vec::new();
        for host in self.host_ids(&route.hosts) {
            keys.extend(self.method_ids(&route.methods).into_iter().map(|method| (host, shape, method)));
        }
        keys
    }

    fn host_ids(&mut self, hosts: &'a [HostPattern]) -> Vec<u32> {
        if hosts.is_empty() {
            return vec![0];
        }
        let mut id = |host| {
            let next = self.hosts.len() as u32 + 1;
            *self.hosts.entry(host).or_insert(next)
        };
        hosts.iter().map(&mut id).collect()
    }

    /// `GET` implies `HEAD`.
    fn method_ids(&mut self, methods: &'a [http::Method]) -> Vec<u32> {
        if methods.is_empty() {
            return vec![0];
        }
        let mut id = |method| {
            let next = self.methods.len() as u32 + 1;
            *self.methods.entry(method).or_insert(next)
        };
        let mut ids: Vec<u32> = methods.iter().map(|m| id(m.as_str())).collect();
        if methods.contains(&http::Method::GET) {
            let head = id("HEAD");
            if !ids.contains(&head) {
                ids.push(head);
            }
        }
        ids
    }

    fn why_unreachable(
        &self,
        read: &ReadRoute,
        all: &[ReadRoute],
        sections: &Sections,
    ) -> Option<(&'static str, &'static str)> {
        let route = &read.route;
        let only_options = route.methods.iter().all(|m| m == http::Method::OPTIONS) && !route.methods.is_empty();
        if only_options && route.cors.is_some() {
            return Some(("it takes OPTIONS alone, and `cors` answers that", "add a method, or write `cors: off`"));
        }
        if shortest(&route.path) > longest_uri(read, sections) {
            return Some((
                "its path is longer than its listeners' `limits.uri`",
                "raise `limits.uri`, or shorten the path",
            ));
        }
        let PathPattern::Prefix(segments) = &route.path else { return None };
        let hosts = if route.hosts.is_empty() { vec![0] } else { self.known_hosts(&route.hosts)? };
        let covered = hosts.into_iter().all(|host| self.is_covered(host, segments, read, all));
        covered.then_some(("more specific routes take everything below its prefix", "remove it, or narrow the others"))
    }

    fn known_hosts(&self, hosts: &[HostPattern]) -> Option<Vec<u32>> {
        hosts.iter().map(|host| self.hosts.get(host).copied()).collect()
    }

    /// Whether routes below `prefix` leave nothing to it: `/a` is taken, and `/a/`, and `/a/{x}` with all that is below.
    fn is_covered(&self, host: u32, prefix: &[Segment], read: &ReadRoute, all: &[ReadRoute]) -> bool {
        let mut shape = String::from(PREFIX);
        write_shape(&mut shape, prefix);
        let own = shape.len();
        shape.push_str("/{}");
        if !self.takes(host, &shape, read, all) {
            return false;
        }
        shape.truncate(own);
        shape.replace_range(..PREFIX.len(), EXACT);
        let itself = prefix.is_empty() || self.takes(host, &shape, read, all);
        shape.push('/');
        itself && self.takes(host, &shape, read, all)
    }

    /// Whether other routes of this shape take every method of `read` on every listener it is on.
    fn takes(&self, host: u32, shape: &str, read: &ReadRoute, all: &[ReadRoute]) -> bool {
        let Some(shape) = self.shapes.get(shape) else { return false };
        let taken = |method: u32| {
            let rivals = self.routes.get(&(host, *shape, method));
            rivals.is_some_and(|rivals| rivals.iter().any(|r| is_wider(&all[*r as usize], read)))
        };
        let methods = &read.route.methods;
        let each = |m: &http::Method| self.methods.get(m.as_str()).is_some_and(|id| taken(*id));
        taken(0) || (!methods.is_empty() && methods.iter().all(each))
    }
}

const PREFIX: &str = "prefix";
const EXACT: &str = "exact";

/// A path without the names of its parameters: what two patterns must share to tie. A literal never holds braces.
fn shape_of(path: &PathPattern) -> String {
    let (kind, segments) = match path {
        PathPattern::Exact(segments) => (EXACT, segments),
        PathPattern::Prefix(segments) => (PREFIX, segments),
    };
    let mut shape = String::with_capacity(64);
    shape.push_str(kind);
    write_shape(&mut shape, segments);
    shape
}

/// Appends the shape of segments; `exposure` walks it upwards.
pub fn write_shape(shape: &mut String, segments: &[Segment]) {
    for segment in segments {
        shape.push('/');
        shape.push_str(match segment {
            Segment::Literal(text) => text,
            Segment::Any(_) => "{}",
        });
    }
}

/// Whether two routes have a listener in common.
fn overlap(a: &ReadRoute, b: &ReadRoute) -> bool {
    match (&a.route.listeners, &b.route.listeners) {
        (Some(a), Some(b)) => a.iter().any(|name| b.contains(name)),
        _ => true,
    }
}

/// Whether `wide` is on every listener that `narrow` is on.
fn is_wider(wide: &ReadRoute, narrow: &ReadRoute) -> bool {
    match (&wide.route.listeners, &narrow.route.listeners) {
        (None, _) => true,
        (Some(wide), Some(narrow)) => narrow.iter().all(|name| wide.contains(name)),
        (Some(_), None) => false,
    }
}

/// The length of the shortest path that matches.
fn shortest(path: &PathPattern) -> usize {
    let (PathPattern::Exact(segments) | PathPattern::Prefix(segments)) = path;
    let length = |s: &Segment| match s {
        Segment::Literal(text) => text.len() + 1,
        Segment::Any(_) => 2,
    };
    segments.iter().map(length).sum()
}

/// The longest URI that any of the route's listeners lets in.
fn longest_uri(read: &ReadRoute, sections: &Sections) -> usize {
    let on = |name| read.route.listeners.as_ref().is_none_or(|names| names.contains(name));
    let listeners = sections.listeners.list.iter().flatten().filter(|l| on(&l.name));
    listeners.map(|l| l.limits.uri).max().unwrap_or(usize::MAX)
}
