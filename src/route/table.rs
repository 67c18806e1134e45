//! The compiled table: hosts, then paths, then methods (contract section 5, "Precedence").
//!
//! Made by `live::compile` with every snapshot, asked by the pipeline once a request. It gives a `RouteId` and knows
//! nothing of what a route requires or where it leads.

use std::collections::HashMap;

use http::{HeaderValue, Method};

use super::filter::{Filter, MethodSet, Wanted};
use super::host::Hosts;
use super::path::{Trie, TrieBuilder};
use crate::config::Config;
use crate::config::model::Route;
use crate::words::RouteId;

#[cfg(test)]
mod tests;

pub struct Table {
    hosts: Hosts,
    paths: Trie,
    /// Each distinct filter once.
    filters: Vec<Filter>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Route(RouteId),
    /// The methods of all routes that fit host and path, ready for `Allow`.
    MethodNotAllowed(HeaderValue),
    Unknown,
}

impl Table {
    pub fn compile(config: &Config) -> Table {
        Table::build(&config.routes)
    }

    /// A route's id is its place in `routes`. Of two routes that tie (a fault of config) the first wins.
    pub fn build(routes: &[Route]) -> Table {
        let mut hosts = Hosts::default();
        let mut paths = TrieBuilder::default();
        let mut filters = Vec::new();
        let mut known = HashMap::new();
        for (id, route) in (0..).map(RouteId).zip(routes) {
            let filter = *known.entry((&route.methods, &route.listeners)).or_insert_with(|| {
                filters.push(Filter::of(route));
                (filters.len() - 1) as u32
            });
            let mut insert = |host| {
                let root = hosts.root(host, || paths.add_root());
                paths.insert(root, &route.path, route.methods.is_empty(), id, filter);
            };
            if route.hosts.is_empty() {
                insert(None);
            }
            route.hosts.iter().for_each(|host| insert(Some(host)));
        }
        Table { hosts, paths: paths.build(), filters }
    }

    /// `host`: lower case, no port. `path`: canonical. Allocates nothing when it finds a route.
    ///
    /// CONNECT and TRACE fit no route (contract section 5); a caller that takes an extended CONNECT (RFC 8441) asks
    /// for GET instead.
    pub fn find(&self, listener: &str, host: &[u8], path: &[u8], method: &Method) -> Found {
        let wanted = Wanted::new(method);
        for root in self.hosts.roots(host) {
            let found = self.paths.search(root, path, |entry| {
                let filter = &self.filters[entry.filter as usize];
                filter.fits_method(wanted) && filter.fits_listener(listener)
            });
            if let Some(route) = found {
                return Found::Route(route);
            }
        }
        self.not_found(listener, host, path)
    }

    /// No route fits: is it for the method alone?
    #[cold]
    fn not_found(&self, listener: &str, host: &[u8], path: &[u8]) -> Found {
        let mut methods = None;
        for root in self.hosts.roots(host) {
            self.paths.search(root, path, |entry| {
                let filter = &self.filters[entry.filter as usize];
                if filter.fits_listener(listener) {
                    methods.get_or_insert(MethodSet::NONE).add_all(filter.methods());
                }
                false
            });
        }
        methods.map_or(Found::Unknown, |methods| Found::MethodNotAllowed(methods.allow()))
    }
}
