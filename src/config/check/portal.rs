//! Routes that take sessions: a login returns to a host by name, and a session's cookie travels over TLS alone, to the gateway.

use super::route::ReadRoute;
use super::{Context, Sections, codes};
use crate::config::model::Listener;

pub fn check(routes: &[ReadRoute], sections: &Sections, cx: &mut Context<'_>) {
    for read in routes.iter().filter(|read| read.route.require.via.takes_sessions()) {
        let (name, index) = (&read.route.name, read.index);
        if read.route.hosts.is_empty() {
            let path = format!("routes[{index}].match");
            let message = format!("`{name}` takes sessions on any host, so a login could return to any");
            let remedy = "name the portal: `hosts: [portal.example.ir]`".to_owned();
            cx.faults.add(codes::SESSION_WITHOUT_HOST, read.match_place, path, message, remedy);
        }
        if let Some(agency) = sections.agencies.with_verify(read.route.agency) {
            let path = format!("routes[{index}].require.via");
            let message = format!("`{name}` takes sessions, whose cookie the proxies of `{agency}` would be sent");
            let remedy = "give the route an agency without `verify`, or write `via: token`".to_owned();
            cx.faults.add(codes::SESSION_BY_VERDICT, read.match_place, path, message, remedy);
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
}

/// Browsers keep `Secure` cookies for TLS and for loopback; before a proxy of ours, TLS is its business.
fn is_clear(listener: &Listener) -> bool {
    listener.tls.is_none() && !listener.address.ip().is_loopback() && listener.trusted_proxies.is_empty()
}
