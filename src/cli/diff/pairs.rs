//! Which route, issuer and listener of the new file is which of the old one: by name, else by what it stands for.
//!
//! Renaming must not look like one thing vanishing and another appearing. Agencies pair by name alone: their name is the
//! audience of assertions, so another name is another agency.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::hash::Hash;

use ahash::AHashMap;

use crate::config::Config;
use crate::config::model::{HostPattern, PathPattern, Route, Segment};

/// The partner of each, by place in the list of the file; `None` where there is none.
pub struct Pairs {
    pub routes: Pairing,
    pub issuers: Pairing,
    pub agencies: Pairing,
    pub listeners: Pairing,
}

pub struct Pairing {
    /// Old place to new place.
    pub new_of: Vec<Option<usize>>,
    /// New place to old place.
    pub old_of: Vec<Option<usize>>,
}

impl Pairs {
    pub fn of(old: &Config, new: &Config) -> Pairs {
        let mut routes = Pairing::by(&old.routes, &new.routes, |r| r.name.clone());
        routes.fill(&old.routes, &new.routes, |r| Some(signature(r)));
        let mut issuers = Pairing::by(&old.issuers, &new.issuers, |i| i.name.clone());
        issuers.fill(&old.issuers, &new.issuers, |i| Some(i.issuer.clone()));
        let agencies = Pairing::by(&old.agencies, &new.agencies, |a| a.name.clone());
        let mut listeners = Pairing::by(&old.listeners, &new.listeners, |l| l.name.clone());
        // Port 0 is no address to know a listener by.
        listeners.fill(&old.listeners, &new.listeners, |l| (l.address.port() != 0).then_some(l.address));
        Pairs { routes, issuers, agencies, listeners }
    }
}

impl Pairing {
    fn by<T, K: Eq + Hash>(old: &[T], new: &[T], key: impl Fn(&T) -> K) -> Pairing {
        let mut pairing = Pairing { new_of: vec![None; old.len()], old_of: vec![None; new.len()] };
        pairing.fill(old, new, |item| Some(key(item)));
        pairing
    }

    /// Pairs by `key` what has no partner yet; what has no key stays alone.
    fn fill<T, K: Eq + Hash>(&mut self, old: &[T], new: &[T], key: impl Fn(&T) -> Option<K>) {
        let mut known = AHashMap::new();
        for (place, item) in old.iter().enumerate().filter(|(place, _)| self.new_of[*place].is_none()) {
            if let Some(key) = key(item) {
                known.insert(key, place);
            }
        }
        for (place, item) in new.iter().enumerate() {
            if self.old_of[place].is_some() || known.is_empty() {
                continue;
            }
            if let Some(partner) = key(item).and_then(|key| known.remove(&key)) {
                self.old_of[place] = Some(partner);
                self.new_of[partner] = Some(place);
            }
        }
    }

    pub fn both(&self) -> impl Iterator<Item = (usize, usize)> {
        self.old_of.iter().enumerate().filter_map(|(new, old)| Some(((*old)?, new)))
    }

    pub fn added(&self) -> impl Iterator<Item = usize> {
        self.old_of.iter().enumerate().filter(|(_, old)| old.is_none()).map(|(new, _)| new)
    }

    pub fn removed(&self) -> impl Iterator<Item = usize> {
        self.new_of.iter().enumerate().filter(|(_, new)| new.is_none()).map(|(old, _)| old)
    }
}

/// Everything that decides which requests a route is for. Two routes of one file never share it.
pub fn signature(route: &Route) -> String {
    let mut text = shape(&route.path);
    let hosts: BTreeSet<String> = route.hosts.iter().map(host).collect();
    let listeners: Option<BTreeSet<_>> = route.listeners.as_ref().map(|names| names.iter().collect());
    // Writing to a string cannot fail.
    let _ = write!(text, " {hosts:?} {:?} {listeners:?}", methods(route));
    text
}

fn host(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(name) => name.clone(),
        HostPattern::Wildcard(rest) => format!("*.{rest}"),
    }
}

/// The methods of a route's list, HEAD with GET; empty: any.
pub fn methods(route: &Route) -> BTreeSet<&str> {
    let mut set: BTreeSet<&str> = route.methods.iter().map(http::Method::as_str).collect();
    if set.contains("GET") {
        set.insert("HEAD");
    }
    set
}

/// A path without the names of its parameters, which change nothing for anybody.
pub fn shape(path: &PathPattern) -> String {
    let (mark, segments) = match path {
        PathPattern::Exact(segments) => ("=", segments),
        PathPattern::Prefix(segments) => ("^", segments),
    };
    let parts = segments.iter().map(|segment| match segment {
        Segment::Literal(text) => text.as_str(),
        Segment::Any(_) => "{}",
    });
    parts.fold(mark.to_owned(), |shape, part| shape + "/" + part)
}
