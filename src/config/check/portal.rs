//! Routes that take sessions: a login returns to a host by name, and a session's cookie travels over TLS alone, to the gateway.

use super::route::ReadRoute;
use super::{Context, Sections, codes};
use crate::config::model::{HostPattern, Listener};

pub fn check(routes: &[ReadRoute], sections: &Sections, cx: &mut Context<'_>) {
    for read in routes.iter().filter(|read| read.route.require.via.takes_sessions()) {
        let (name, index) = (&read.route.name, read.index);
        if read.route.hosts.is_empty() {
            let path = format!("routes[{index}].match");
            let message = format!("`{name}` takes sessions on any host, so a login could return to any");
            let remedy = "name the portal: `hosts: [portal.example.ir]`".to_owned();
            cx.faults.add(codes::SESSION_WITHOUT_HOST, read.match_place, path, message, remedy);
        }
        let on =
            |listener: &&Listener| read.route.listeners.as_ref().is_none_or(|names| names.contains(&listener.name));
        let clear = sections.listeners.list.iter().flatten().filter(on).find(|listener| is_clear(listener));
        if let Some(listener) = clear {
            let path = format!("routes[{index}]");
            let message = format!("`{name}` takes sessions on the listener `{}`, which has no TLS", listener.name);
            let remedy = "add `tls` to the listener, or its TLS proxy to `trusted_proxies`, or keep the route from it with `listeners`";
            cx.faults.add(codes::SESSION_IN_THE_CLEAR, read.match_place, path, message, remedy.to_owned());
        }
    }
    hosts_behind_proxies(routes, sections, cx);
    proxies_without_trust(routes, sections, cx);
}

/// An agency's own proxy is sent the cookie of its portal, and a session is good for all of its host: so what takes sessions
/// there must be that agency's alone.
fn hosts_behind_proxies(routes: &[ReadRoute], sections: &Sections, cx: &mut Context<'_>) {
    let takers = || routes.iter().filter(|read| read.route.require.via.takes_sessions());
    let behind: Vec<(&ReadRoute, &str)> =
        takers().filter_map(|read| Some((read, sections.agencies.with_verify(read.route.agency)?))).collect();
    for other in takers() {
        let meets = |(read, _): &&(&ReadRoute, &str)| {
            let meets = |host: &HostPattern| other.route.hosts.iter().any(|pattern| pattern.overlaps(host));
            read.route.agency != other.route.agency && read.route.hosts.iter().any(meets)
        };
        let Some((first, agency)) = behind.iter().find(meets) else { continue };
        let (name, path) = (&other.route.name, format!("routes[{}].match.hosts", other.index));
        let message = format!("`{name}` takes sessions on a host whose cookies the proxies of `{agency}` are sent");
        let remedy = format!("give it a host apart from those of `{}`, or write `via: token`", first.route.name);
        let fault = cx.faults.add(codes::SESSION_BY_VERDICT, other.match_place, path, message, remedy);
        fault.see(first.match_place, format!("`{agency}` asks for verdicts here"));
    }
}

/// Behind a proxy that is not trusted about addresses, all who log in are one address. Told once an agency.
fn proxies_without_trust(routes: &[ReadRoute], sections: &Sections, cx: &mut Context<'_>) {
    let mut told: Vec<&str> = Vec::new();
    for read in routes.iter().filter(|read| read.route.require.via.takes_sessions()) {
        let agency = sections.agencies.list.get(read.route.agency.0 as usize).and_then(Option::as_ref);
        let Some((agency, verify)) = agency.and_then(|agency| Some((agency, agency.verify.as_ref()?))) else {
            continue;
        };
        let listens =
            |listener: &&Listener| read.route.listeners.as_ref().is_none_or(|names| names.contains(&listener.name));
        let trusts = |listener: &Listener| {
            verify.from.iter().any(|from| listener.trusted_proxies.iter().any(|net| net.contains(from)))
        };
        let mut listeners = sections.listeners.list.iter().flatten().filter(listens);
        if listeners.any(trusts) || told.contains(&&*agency.name) {
            continue;
        }
        told.push(&agency.name);
        let (name, path) = (&agency.name, format!("routes[{}]", read.index));
        let message =
            format!("people log in behind the proxies of `{name}`, and no listener trusts these about addresses");
        let remedy = format!(
            "add `agencies.{name}.verify.from` to the listener's `trusted_proxies`: all who log in count as one address"
        );
        cx.faults.add(codes::PROXY_WITHOUT_TRUST, read.match_place, path, message, remedy);
    }
}

/// Browsers keep `Secure` cookies for TLS and for loopback; before a proxy of ours, TLS is its business.
fn is_clear(listener: &Listener) -> bool {
    listener.tls.is_none() && !listener.address.ip().is_loopback() && listener.trusted_proxies.is_empty()
}
