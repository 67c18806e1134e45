//! What is legal but may surprise: an open route below a guarded prefix, a host that no certificate names, an agency that
//! nothing leads to. All warnings.

use ahash::{AHashMap, AHashSet};

use super::conflict::write_shape;
use super::route::ReadRoute;
use super::{Context, Sections, codes};
use crate::config::model::{HostPattern, Listener, PathPattern, ServerTls};
use crate::words::Level;

/// `complete`: whether all routes are known.
pub fn check(routes: &[ReadRoute], sections: &Sections, complete: bool, cx: &mut Context<'_>) {
    open_below_strong(routes, cx);
    hosts_without_certificate(routes, sections, cx);
    if complete {
        unused_agencies(sections, cx);
    }
}

/// A prefix of level 2 or 3 reads as "all below is guarded"; a level-0 route further down is an exception worth a look.
fn open_below_strong(routes: &[ReadRoute], cx: &mut Context<'_>) {
    let mut strong: AHashMap<(Option<&HostPattern>, String), &ReadRoute> = AHashMap::new();
    for read in routes.iter().filter(|r| r.level.is_some_and(|level| level >= Level::TWO)) {
        let PathPattern::Prefix(segments) = &read.route.path else { continue };
        let mut shape = String::new();
        write_shape(&mut shape, segments);
        for host in hosts(read) {
            strong.insert((host, shape.clone()), read);
        }
    }
    if strong.is_empty() {
        return;
    }
    for read in routes.iter().filter(|r| r.level == Some(Level::NONE)) {
        let Some(above) = guard_above(read, &strong) else { continue };
        let path = format!("routes[{}].match", read.index);
        let (name, over, level) = (&read.route.name, &above.route.name, above.route.require.level);
        let message = format!("`{name}` is open to anyone, below the prefix of `{over}`, which asks for level {level}");
        let remedy = "nothing, if that is meant; else raise the level of this route".to_owned();
        let fault = cx.faults.add(codes::OPEN_BELOW_STRONG, read.match_place, path, message, remedy);
        fault.see(above.match_place, format!("`{over}` is defined here"));
    }
}

fn guard_above<'a>(
    read: &'a ReadRoute,
    strong: &AHashMap<(Option<&'a HostPattern>, String), &'a ReadRoute>,
) -> Option<&'a ReadRoute> {
    let (PathPattern::Exact(segments) | PathPattern::Prefix(segments)) = &read.route.path;
    // A prefix is not below itself; a path is below the prefix of the same segments.
    let deepest = match &read.route.path {
        PathPattern::Exact(segments) => segments.len(),
        PathPattern::Prefix(segments) => segments.len().checked_sub(1)?,
    };
    let mut hosts: Vec<_> = hosts(read);
    hosts.push(None);
    for depth in (0..=deepest).rev() {
        let mut shape = String::new();
        write_shape(&mut shape, &segments[..depth]);
        for host in &hosts {
            if let Some(found) = strong.get(&(*host, shape.clone())) {
                return Some(found);
            }
        }
    }
    None
}

/// `None` is any host.
fn hosts(read: &ReadRoute) -> Vec<Option<&HostPattern>> {
    if read.route.hosts.is_empty() { vec![None] } else { read.route.hosts.iter().map(Some).collect() }
}

/// A browser would refuse the connection before the route is ever asked for. Told once a host.
fn hosts_without_certificate(routes: &[ReadRoute], sections: &Sections, cx: &mut Context<'_>) {
    let named: Vec<(&Listener, AHashSet<&str>)> =
        sections.listeners.list.iter().flatten().filter_map(with_names).collect();
    let plain = sections.listeners.list.iter().flatten().any(|l| l.tls.is_none());
    let mut told: AHashSet<&HostPattern> = AHashSet::new();
    for read in routes.iter().filter(|read| sections.agencies.is_forwarded_to(read.route.agency)) {
        let on = |listener: &Listener| read.route.listeners.as_ref().is_none_or(|names| names.contains(&listener.name));
        if named.is_empty() || (plain && read.route.listeners.is_none()) || !named.iter().any(|(l, _)| on(l)) {
            continue;
        }
        for host in read.route.hosts.iter() {
            let covered = named.iter().any(|(listener, names)| on(listener) && is_named(host, names));
            if !covered && told.insert(host) {
                let written = match host {
                    HostPattern::Exact(name) => name.clone(),
                    HostPattern::Wildcard(rest) => format!("*.{rest}"),
                };
                let path = format!("routes[{}].match.hosts", read.index);
                let message = format!("no certificate of the route's listeners names `{written}`");
                let remedy = format!("add a certificate for `{written}` to the listener, or correct the host");
                cx.faults.add(codes::HOST_WITHOUT_CERTIFICATE, read.match_place, path, message, remedy);
            }
        }
    }
}

fn with_names(listener: &Listener) -> Option<(&Listener, AHashSet<&str>)> {
    let ServerTls { certificates, .. } = listener.tls.as_ref()?;
    Some((listener, certificates.iter().flat_map(|c| c.names.iter().map(String::as_str)).collect()))
}

/// RFC 9525 §6.3: a wildcard stands for exactly one label.
fn is_named(host: &HostPattern, names: &AHashSet<&str>) -> bool {
    match host {
        HostPattern::Wildcard(rest) => names.contains(format!("*.{rest}").as_str()),
        HostPattern::Exact(name) => {
            let bare = name.trim_start_matches('[').trim_end_matches(']');
            let wildcard = bare.split_once('.').map(|(_, parent)| format!("*.{parent}"));
            names.contains(bare) || wildcard.is_some_and(|w| names.contains(w.as_str()))
        }
    }
}

fn unused_agencies(sections: &Sections, cx: &mut Context<'_>) {
    for (name, place) in sections.agencies.names.unused() {
        let message = format!("no route leads to the agency `{name}`");
        let remedy = "add a route, or remove the agency".to_owned();
        cx.faults.add(codes::UNUSED_AGENCY, place, format!("agencies.{name}"), message, remedy);
    }
}
