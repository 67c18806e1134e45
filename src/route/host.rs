//! Hosts, from the most specific class to the least: exact name, `*.name` with one label, any.
//!
//! Gives `table` the roots under which a host's paths hang. Hosts come in lower case, without port (`intake` sees to it).

use std::collections::HashMap;
use std::iter;

use ahash::RandomState;

use super::path::NodeId;
use crate::config::model::HostPattern;

#[derive(Default)]
pub(super) struct Hosts {
    exact: HashMap<Box<[u8]>, NodeId, RandomState>,
    /// By what follows the first dot.
    wildcard: HashMap<Box<[u8]>, NodeId, RandomState>,
    any: Option<NodeId>,
}

impl Hosts {
    /// The root of `pattern` (`None`: any host), made by `new` when the pattern is met for the first time.
    pub fn root(&mut self, pattern: Option<&HostPattern>, new: impl FnOnce() -> NodeId) -> NodeId {
        match pattern {
            None => *self.any.get_or_insert_with(new),
            Some(HostPattern::Exact(name)) => *self.exact.entry(name.as_bytes().into()).or_insert_with(new),
            Some(HostPattern::Wildcard(parent)) => *self.wildcard.entry(parent.as_bytes().into()).or_insert_with(new),
        }
    }

    /// The roots that hold for `host`, the most specific first; each is looked up only when it is asked for.
    pub fn roots(&self, host: &[u8]) -> impl Iterator<Item = NodeId> {
        let exact = move || self.exact.get(host).copied();
        let wildcard = move || self.wildcard.get(parent(host)?).copied();
        iter::once_with(exact).chain(iter::once_with(wildcard)).chain(iter::once(self.any)).flatten()
    }
}

/// The host without its first label; `None` when there is no label before a dot.
pub(super) fn parent(host: &[u8]) -> Option<&[u8]> {
    match memchr::memchr(b'.', host)? {
        0 => None,
        dot => Some(&host[dot + 1..]),
    }
}
