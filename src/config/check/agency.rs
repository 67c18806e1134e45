//! `agencies`: where requests go, how, and what they tell of the caller.

use std::sync::Arc;

use super::names::{self, Names};
use super::{
    Context, DAY, Field, HOUR, MILLISECOND, SECOND, Table, certificate, codes, count_or, defaults, duration_or, top,
    url,
};
use crate::config::model::{
    Agency, AgencyScope, Balance, ClientTls, Endpoint, EndpointProtocol, Health, IdentityKind, Retry, Timeouts, Title,
};
use crate::config::read::shown;

const KEYS: [&str; 11] =
    ["title", "team", "scope", "province", "endpoints", "tls", "health", "balance", "timeouts", "retry", "identity"];

/// The agencies of all files.
pub fn all(files: &[Table<'_>], complete: bool, cx: &mut Context<'_>) -> (Vec<Option<Agency>>, Names) {
    let mut names = Names::new("agency", codes::UNKNOWN_AGENCY);
    let mut agencies = Vec::new();
    if !complete {
        names.set_incomplete();
    }
    let mut given: Vec<Field<'_>> = files.iter().filter_map(|file| file.get("agencies")).collect();
    if given.is_empty() && complete {
        let remedy = "name at least one agency: `agencies: { NAME: { endpoints: [http://…] } }`";
        given.extend(files[0].need(cx.faults, "agencies", remedy));
    }
    for field in &given {
        let Some(table) = field.named(cx.faults, "a mapping of agencies by name") else { continue };
        for (name, place, field) in table.iter() {
            names::check_key(name, place, &field, cx.faults);
            names.add_key(name, agencies.len(), place, &field, cx.faults);
            agencies.push(agency(name, place, &field, cx));
        }
    }
    (agencies, names)
}

fn agency(name: &str, place: super::Place, field: &Field<'_>, cx: &mut Context<'_>) -> Option<Agency> {
    let table = field.table(cx.faults, &KEYS)?;
    let remedy = "list at least one: `endpoints: [http://127.0.0.1:9001]`";
    let endpoints = table.need(cx.faults, "endpoints", remedy).and_then(|f| endpoints(&f, cx));
    let title = table.get("title").and_then(|f| top::title(&f, cx));
    let (scope, province) = scope(&table, cx);
    let health = table.get("health").map(|f| health(&f, cx));
    if health.is_none() {
        let message = format!("nobody asks the endpoints of `{name}` whether they are well");
        let remedy = "add `health: { path: /healthz }`".to_owned();
        cx.faults.add(codes::NO_HEALTH, place, table.path(), message, remedy);
    }
    let balances = [
        ("least_request", Balance::LeastRequest),
        ("round_robin", Balance::RoundRobin),
        ("hash_subject", Balance::HashSubject),
    ];
    let identities = [
        ("assertion", IdentityKind::Assertion),
        ("headers", IdentityKind::Headers),
        ("token", IdentityKind::Token),
        ("none", IdentityKind::None),
    ];
    let over_tls = endpoints.as_ref().is_none_or(|list| list.iter().any(|e| e.protocol == EndpointProtocol::Https));
    Some(Agency {
        at: cx.position(place),
        name: Arc::from(name),
        title: title.unwrap_or_else(|| Title { fa: name.to_owned(), en: name.to_owned() }),
        team: table.get("team").and_then(|f| f.text(cx.faults)).map(Arc::from),
        scope,
        province,
        tls: table.get("tls").map_or_else(ClientTls::default, |f| client_tls(&f, over_tls, cx)),
        health: health.flatten(),
        balance: table.get("balance").and_then(|f| f.word(cx.faults, &balances)).unwrap_or(Balance::LeastRequest),
        timeouts: table.get("timeouts").map_or(defaults::TIMEOUTS, |f| timeouts(&f, defaults::TIMEOUTS, cx)),
        retry: table.get("retry").map_or(defaults::RETRY, |f| retry(&f, cx)),
        identity: table.get("identity").and_then(|f| f.word(cx.faults, &identities)).unwrap_or(IdentityKind::Assertion),
        // Last, so that everything is read before a bad endpoint ends it.
        endpoints: endpoints?,
    })
}

/// `province` belongs to `scope: province`, and to that alone.
fn scope(agency: &Table<'_>, cx: &mut Context<'_>) -> (AgencyScope, Option<String>) {
    let words = [
        ("national", AgencyScope::National),
        ("province", AgencyScope::Province),
        ("dedicated", AgencyScope::Dedicated),
    ];
    let written = agency.get("scope").map(|f| f.word(cx.faults, &words));
    let province = agency.get("province");
    match (written, province) {
        (Some(Some(AgencyScope::Province)), None) => {
            let remedy = "add `province: NAME`, or write another scope";
            agency.fault(cx.faults, codes::PROVINCE, "the scope is `province`, but none is named", remedy);
        }
        (None | Some(Some(AgencyScope::National | AgencyScope::Dedicated)), Some(field)) => {
            let remedy = "write `scope: province`, or remove `province`";
            field.fault(cx.faults, codes::PROVINCE, "a province is named, but the scope is not `province`", remedy);
        }
        _ => {}
    }
    let province = province.and_then(|f| f.text(cx.faults)).map(str::to_owned);
    (written.flatten().unwrap_or(AgencyScope::National), province)
}

fn endpoints(field: &Field<'_>, cx: &mut Context<'_>) -> Option<Vec<Endpoint>> {
    let items: Vec<_> = field.some_items(cx.faults)?.collect();
    let read: Vec<_> = items.iter().map(|item| endpoint(item, cx)).collect();
    read.into_iter().collect()
}

/// A URL, or `{url, weight}`.
fn endpoint(field: &Field<'_>, cx: &mut Context<'_>) -> Option<Endpoint> {
    if !field.is_table() {
        return origin(field, 1, cx);
    }
    let table = field.table(cx.faults, &["url", "weight"])?;
    let weight = count_or(&table, "weight", 1, 1000, 1, cx);
    origin(&table.need(cx.faults, "url", "write `url: http://HOST:PORT`")?, weight, cx)
}

fn origin(field: &Field<'_>, weight: u32, cx: &mut Context<'_>) -> Option<Endpoint> {
    let text = field.text(cx.faults)?;
    let (protocol, default_port, host, port) = match split_origin(text) {
        Ok(parts) => parts,
        Err(why) => {
            let remedy = "write `http://HOST:PORT`, `https://HOST:PORT` or `h2c://HOST:PORT`, and nothing after it";
            field.fault(cx.faults, codes::BAD_ENDPOINT, format!("`{}` {why}", url::public(text)), remedy);
            return None;
        }
    };
    if protocol != EndpointProtocol::Https && !url::is_loopback(&host) {
        let message = format!("requests go to `{}` in the clear", shown(&host));
        let remedy = "use `https://` if the agency offers it, or keep this network apart";
        field.fault(cx.faults, codes::PLAIN_ENDPOINT, message, remedy);
    }
    let scheme = match protocol {
        EndpointProtocol::Http => "http",
        EndpointProtocol::Https => "https",
        EndpointProtocol::H2c => "h2c",
    };
    let port = port.unwrap_or(default_port);
    let url = format!("{scheme}://{host}:{port}");
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some(Endpoint { url: url.into(), protocol, host: host.into(), port, weight })
}

/// The parts of an endpoint's URL: protocol, its default port, the host (IPv6 in brackets), the port. Errors: what is wrong,
/// to follow the URL in a sentence.
fn split_origin(text: &str) -> Result<(EndpointProtocol, u16, String, Option<u16>), &'static str> {
    let (scheme, rest) = text.split_once("://").ok_or("is not a URL")?;
    let (protocol, default_port) = match scheme {
        "http" => (EndpointProtocol::Http, 80),
        "https" => (EndpointProtocol::Https, 443),
        "h2c" => (EndpointProtocol::H2c, 80),
        _ => return Err("has a scheme that agencies are not spoken to in"),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('@') {
        return Err("has a user name before it; the gateway would send it nowhere");
    }
    if authority.contains('?') || authority.contains('#') {
        return Err("has a query; an endpoint is a host and a port");
    }
    if authority.contains('/') {
        return Err("has a path; an endpoint is a host and a port (see `rewrite.add_prefix`)");
    }
    let parsed: http::uri::Authority = authority.parse().map_err(|_| "has no valid host")?;
    let port = parsed.port_u16();
    let expected = port.map_or(parsed.host().len(), |port| parsed.host().len() + 1 + port.to_string().len());
    if parsed.host().is_empty() || port == Some(0) || authority.len() != expected {
        return Err("has no valid host and port");
    }
    Ok((protocol, default_port, parsed.host().to_ascii_lowercase(), port))
}

fn client_tls(field: &Field<'_>, used: bool, cx: &mut Context<'_>) -> ClientTls {
    let Some(table) = field.table(cx.faults, &["ca", "client_cert", "client_key", "server_name"]) else {
        return ClientTls::default();
    };
    if !used {
        let message = "no endpoint of this agency is `https://`: nothing here has an effect";
        field.fault(cx.faults, codes::TLS_UNUSED, message, "write `https://` endpoints, or remove `tls`");
    }
    let client = match (table.get("client_cert"), table.get("client_key")) {
        (Some(cert), Some(key)) => certificate::identity(&cert, &key, cx),
        (None, None) => None,
        (Some(half), None) | (None, Some(half)) => {
            let message = "`client_cert` and `client_key` belong together";
            half.fault(cx.faults, codes::HALF_IDENTITY, message, "name both files, or none");
            None
        }
    };
    let server_name = table.get("server_name").and_then(|f| server_name(&f, cx));
    ClientTls { roots: table.get("ca").and_then(|f| certificate::roots(&f, cx)), client, server_name }
}

fn server_name(field: &Field<'_>, cx: &mut Context<'_>) -> Option<String> {
    let text = field.text(cx.faults)?;
    if rustls::pki_types::ServerName::try_from(text).is_err() {
        let message = format!("`{}` is not a host name", shown(text));
        field.fault(cx.faults, codes::BAD_HOST_NAME, message, "write the name in the agency's certificate");
        return None;
    }
    Some(text.to_ascii_lowercase())
}

fn health(field: &Field<'_>, cx: &mut Context<'_>) -> Option<Health> {
    let table = field.table(cx.faults, &["path", "interval", "timeout", "healthy_after", "unhealthy_after"])?;
    let path = table.need(cx.faults, "path", "write the path to ask for: `path: /healthz`").and_then(|f| {
        let text = f.text(cx.faults)?;
        let fits = text.starts_with('/') && !text.contains('#') && text.parse::<http::uri::PathAndQuery>().is_ok();
        if !fits {
            let message = format!("`{}` is not a path", shown(text));
            f.fault(cx.faults, codes::BAD_PATH, message, "write an absolute path, like `/healthz`");
        }
        fits.then(|| text.to_owned())
    });
    Some(Health {
        interval: duration_or(&table, "interval", MILLISECOND, HOUR, defaults::HEALTH_INTERVAL, cx),
        timeout: duration_or(&table, "timeout", MILLISECOND, HOUR, defaults::HEALTH_TIMEOUT, cx),
        healthy_after: count_or(&table, "healthy_after", 1, 100, defaults::HEALTHY_AFTER, cx),
        unhealthy_after: count_or(&table, "unhealthy_after", 1, 100, defaults::UNHEALTHY_AFTER, cx),
        path: path?,
    })
}

/// An agency's time limits, or a route's on top of its agency's.
pub fn timeouts(field: &Field<'_>, default: Timeouts, cx: &mut Context<'_>) -> Timeouts {
    let Some(table) = field.table(cx.faults, &["connect", "response", "idle"]) else { return default };
    Timeouts {
        connect: duration_or(&table, "connect", MILLISECOND, 300 * SECOND, default.connect, cx),
        response: duration_or(&table, "response", MILLISECOND, DAY, default.response, cx),
        idle: duration_or(&table, "idle", MILLISECOND, DAY, default.idle, cx),
    }
}

fn retry(field: &Field<'_>, cx: &mut Context<'_>) -> Retry {
    let never = Retry { attempts: 1, budget_percent: 0 };
    if field.is_off() {
        return never;
    }
    if !field.is_table() {
        let remedy = "write `retry: { attempts: 2 }`, or `retry: off`";
        return field.wrong_type(cx.faults, "a mapping or `off`", remedy).unwrap_or(never);
    }
    let Some(table) = field.table(cx.faults, &["attempts", "budget_percent"]) else { return never };
    let d = defaults::RETRY;
    Retry {
        attempts: count_or(&table, "attempts", 1, 10, d.attempts, cx),
        budget_percent: count_or(&table, "budget_percent", 0, 100, d.budget_percent, cx),
    }
}
