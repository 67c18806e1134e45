//! `agencies`: where requests go, and who answers there. How they are spoken to is in `manner`.

use std::sync::Arc;

use super::manner::{self, Manner, Of};
use super::names::{self, Names};
use super::{Context, Field, Place, Table, codes, count_or, listener, top, url};
use crate::config::model::{Agency, AgencyScope, Endpoint, EndpointProtocol, Title, Verify};
use crate::config::read::shown;
use crate::words::AgencyId;

/// Besides those of `manner`.
const KEYS: [&str; 6] = ["title", "team", "scope", "province", "endpoints", "verify"];

/// The agencies that were read. `None` where one was at fault; its name still counts, so that routes are judged too.
pub struct Agencies {
    pub list: Vec<Option<Agency>>,
    pub names: Names,
    /// Whether any file had the key.
    pub are_given: bool,
}

impl Agencies {
    pub fn new() -> Agencies {
        Agencies { list: Vec::new(), names: Names::new("agency", codes::UNKNOWN_AGENCY), are_given: false }
    }

    /// Whether callers of the agency come to the gateway themselves. `false`: its own proxies ask for verdicts.
    pub fn is_forwarded_to(&self, id: AgencyId) -> bool {
        let agency = self.list.get(id.0 as usize).and_then(Option::as_ref);
        agency.is_none_or(|agency| !agency.endpoints.is_empty())
    }

    /// The agency's name, if its own proxies ask for verdicts.
    pub fn with_verify(&self, id: AgencyId) -> Option<&str> {
        let agency = self.list.get(id.0 as usize).and_then(Option::as_ref)?;
        agency.verify.is_some().then_some(&*agency.name)
    }

    /// Reads those of one file. `base`: what `defaults` says.
    pub fn read(&mut self, file: &Table<'_>, base: &Manner, cx: &mut Context<'_>) {
        let Some(field) = file.get("agencies") else { return };
        self.are_given = true;
        let Some(table) = field.named(cx.faults, "a mapping of agencies by name") else { return };
        for (name, place, field) in table.iter() {
            names::check_key(name, place, &field, cx.faults);
            self.names.add_key(name, self.list.len(), place, &field, cx.faults);
            self.list.push(agency(name, place, &field, base, cx));
        }
    }
}

fn agency(name: &str, place: Place, field: &Field<'_>, base: &Manner, cx: &mut Context<'_>) -> Option<Agency> {
    let known: Vec<&str> = KEYS.into_iter().chain(manner::KEYS).collect();
    let table = field.table(cx.faults, &known)?;
    let verify = table.get("verify").map(|f| verify(&f, cx));
    let endpoints = match verify {
        Some(_) if !table.has("endpoints") => Some(Vec::new()),
        _ => {
            let remedy = "list at least one: `endpoints: [http://127.0.0.1:9001]`";
            table.need(cx.faults, "endpoints", remedy).and_then(|f| endpoints(&f, cx))
        }
    };
    let title = table.get("title").and_then(|f| top::title(&f, cx));
    let (scope, province) = scope(&table, cx);
    let over_tls = endpoints.as_ref().is_none_or(|list| list.iter().any(|e| e.protocol == EndpointProtocol::Https));
    let manner = manner::read(&table, base, Of::Agency { over_tls }, cx);
    let is_forwarded_to = endpoints.as_ref().is_none_or(|list| !list.is_empty());
    if manner.health.is_nowhere() && !table.has("health") && is_forwarded_to {
        let message = format!("nobody asks the endpoints of `{name}` whether they are well");
        let remedy = "add `health: { path: /healthz }`; `health: off` says that there is nothing to ask".to_owned();
        cx.faults.add(codes::NO_HEALTH, place, table.path(), message, remedy);
    }
    Some(Agency {
        at: cx.position(place),
        name: Arc::from(name),
        title: title.unwrap_or_else(|| Title { fa: name.to_owned(), en: name.to_owned() }),
        team: table.get("team").and_then(|f| f.text(cx.faults)).map(Arc::from),
        scope,
        province,
        tls: manner.tls,
        health: manner.health.into_health(),
        outlier: manner.outlier,
        balance: manner.balance,
        timeouts: manner.timeouts,
        retry: manner.retry,
        hedge: manner.hedge,
        limits: manner.limits,
        identity: manner.identity,
        // Last, so that everything is read before a bad endpoint ends it.
        verify: match verify {
            None => None,
            Some(read) => Some(read?),
        },
        endpoints: endpoints?,
    })
}

/// Who may ask for verdicts. A network of everybody is a fault: whoever asks is believed about the request.
fn verify(field: &Field<'_>, cx: &mut Context<'_>) -> Option<Verify> {
    let table = field.table(cx.faults, &["from", "client"])?;
    let remedy = "list the addresses of the agency's proxies: `from: [10.20.0.5]`";
    let from = table.need(cx.faults, "from", remedy)?;
    let items: Vec<_> = from.some_items(cx.faults)?.collect();
    let nets: Vec<_> = items.iter().map(|item| asker(item, cx)).collect();
    let client = table.get("client").map(|f| client_names(&f, cx));
    let client = match client {
        None => Vec::new(),
        Some(read) => read?,
    };
    Some(Verify { from: nets.into_iter().collect::<Option<_>>()?, client })
}

fn asker(field: &Field<'_>, cx: &mut Context<'_>) -> Option<ipnet::IpNet> {
    let net = listener::cidr(field, cx)?;
    if net.prefix_len() == 0 {
        let message = format!("`{net}` lets anybody ask, and say what was asked");
        field.fault(cx.faults, codes::VERIFY_BY_ANYBODY, message, "list the proxies' own addresses or networks");
        return None;
    }
    Some(net)
}

fn client_names(field: &Field<'_>, cx: &mut Context<'_>) -> Option<Vec<String>> {
    let items: Vec<_> = field.some_items(cx.faults)?.collect();
    let names: Vec<_> = items.iter().map(|item| manner::server_name(item, cx)).collect();
    names.into_iter().collect()
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

/// A URL, or `{url, weight, zone}`.
fn endpoint(field: &Field<'_>, cx: &mut Context<'_>) -> Option<Endpoint> {
    if !field.is_table() {
        return origin(field, 1, None, cx);
    }
    let table = field.table(cx.faults, &["url", "weight", "zone"])?;
    let weight = count_or(&table, "weight", 1, 1000, 1, cx);
    let zone = table.get("zone").and_then(|f| names::read(&f, cx.faults)).map(Arc::from);
    origin(&table.need(cx.faults, "url", "write `url: http://HOST:PORT`")?, weight, zone, cx)
}

fn origin(field: &Field<'_>, weight: u32, zone: Option<Arc<str>>, cx: &mut Context<'_>) -> Option<Endpoint> {
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
    Some(Endpoint { url: url.into(), protocol, host: host.into(), port, weight, zone })
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
