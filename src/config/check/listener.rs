//! `listeners` and `admin`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::names::{self, Names};
use super::{
    Context, DAY, Field, HOUR, MILLISECOND, Place, Table, certificate, codes, count_or, defaults, duration_or,
};
use crate::config::model::{ClientAuth, Listener, ListenerLimits, ServerTls};
use crate::config::read::shown;

const KEYS: [&str; 5] = ["name", "address", "tls", "trusted_proxies", "limits"];
const TLS_KEYS: [&str; 4] = ["certificates", "min_version", "client_ca", "client_auth"];

/// What was read, and which addresses are taken.
pub struct Listeners {
    pub list: Vec<Option<Listener>>,
    pub names: Names,
    addresses: HashMap<SocketAddr, Place>,
}

pub fn all(top: &Table<'_>, cx: &mut Context<'_>) -> Listeners {
    let names = Names::new("listener", codes::UNKNOWN_LISTENER);
    let mut read = Listeners { list: Vec::new(), names, addresses: HashMap::new() };
    let remedy = "list at least one listener: `- { name: public, address: 127.0.0.1:8443 }`";
    let Some(field) = top.need(cx.faults, "listeners", remedy) else { return read };
    for item in field.some_items(cx.faults).into_iter().flatten() {
        let listener = listener(&item, &mut read, cx);
        read.list.push(listener);
    }
    read
}

fn listener(field: &Field<'_>, read: &mut Listeners, cx: &mut Context<'_>) -> Option<Listener> {
    let known: Vec<&str> = KEYS.into_iter().chain(TLS_KEYS).collect();
    let shape = field.table(cx.faults, if field_has_tls_key(field) { &known } else { &KEYS })?;
    refuse_tls_keys_outside(&shape, cx);
    let name = shape.need(cx.faults, "name", "give the listener a name: `name: public`");
    let name = name.and_then(|f| {
        let name = names::read(&f, cx.faults)?;
        read.names.add(name, read.list.len(), &f, cx.faults);
        Some(Arc::from(name))
    });
    let address = shape.need(cx.faults, "address", "write `address: IP:PORT`").and_then(|f| address(&f, read, cx));
    let tls = shape.get("tls").map(|f| server_tls(&f, cx));
    let trusted_proxies = shape.get("trusted_proxies").map_or_else(Vec::new, |f| cidrs(&f, cx));
    let limits = shape.get("limits").map_or(defaults::LIMITS, |f| limits(&f, cx));
    let tls = match tls {
        Some(None) => return None,
        written => written.flatten(),
    };
    Some(Listener {
        at: cx.position(field.place()),
        name: name?,
        address: address?,
        tls,
        trusted_proxies: trusted_proxies.into(),
        limits,
    })
}

fn field_has_tls_key(field: &Field<'_>) -> bool {
    TLS_KEYS.iter().any(|key| field.has(key))
}

/// The keys of `tls` one level too high: plausible enough to deserve better than "unknown key". A listener that asks for
/// client certificates without TLS would be open.
fn refuse_tls_keys_outside(listener: &Table<'_>, cx: &mut Context<'_>) {
    for key in TLS_KEYS {
        if let Some(place) = listener.key_place(key) {
            let message = format!("`{key}` has no effect outside `tls`");
            let remedy = format!("write it under `tls`: `tls: {{ {key}: … }}`");
            cx.faults.add(codes::TLS_KEY_OUTSIDE, place, format!("{}.{key}", listener.path()), message, remedy);
        }
    }
}

/// An address that nobody else listens on: two would share its connections at random, the admin's with the public's.
fn address(field: &Field<'_>, read: &mut Listeners, cx: &mut Context<'_>) -> Option<SocketAddr> {
    let text = field.text(cx.faults)?;
    let Ok(address) = text.parse::<SocketAddr>() else {
        let remedy = "write an IP address and a port, like `127.0.0.1:8443`, `0.0.0.0:443` or `[::]:443`";
        field.fault(cx.faults, codes::BAD_ADDRESS, format!("`{}` is not an address", shown(text)), remedy);
        return None;
    };
    if address.port() == 0 {
        return Some(address);
    }
    if let Some(first) = read.addresses.get(&address) {
        let message = format!("{address} is listened on twice");
        let fault = field.fault(cx.faults, codes::ADDRESS_TWICE, message, "write another address or port");
        fault.see(*first, "first used here");
    }
    read.addresses.entry(address).or_insert(field.place());
    Some(address)
}

fn server_tls(field: &Field<'_>, cx: &mut Context<'_>) -> Option<ServerTls> {
    let table = field.table(cx.faults, &TLS_KEYS)?;
    let remedy = "list at least one: `certificates: [{ cert: FILE, key: FILE }]`";
    let certificates = table.need(cx.faults, "certificates", remedy).and_then(|f| {
        let items: Vec<_> = f.some_items(cx.faults)?.collect();
        let read: Vec<_> = items.iter().map(|item| certificate(item, cx)).collect();
        read.into_iter().collect::<Option<Vec<_>>>()
    });
    let versions = [("1.2", false), ("1.3", true)];
    let tls13_only = table.get("min_version").and_then(|f| {
        f.text(cx.faults)?;
        f.word(cx.faults, &versions)
    });
    let client_auth = client_auth(&table, cx);
    Some(ServerTls { certificates: certificates?, tls13_only: tls13_only.unwrap_or(false), client_auth: client_auth? })
}

fn certificate(field: &Field<'_>, cx: &mut Context<'_>) -> Option<Arc<crate::tls::certs::LoadedCertificate>> {
    let table = field.table(cx.faults, &["cert", "key"])?;
    let remedy = "name both files: `{ cert: FILE, key: FILE }`";
    let (cert, key) = (table.need(cx.faults, "cert", remedy), table.need(cx.faults, "key", remedy));
    certificate::server(&cert?, &key?, cx)
}

#[derive(Clone, Copy, PartialEq)]
enum Wanted {
    None,
    Optional,
    Required,
}

fn client_auth(tls: &Table<'_>, cx: &mut Context<'_>) -> Option<ClientAuth> {
    let words = [("none", Wanted::None), ("optional", Wanted::Optional), ("required", Wanted::Required)];
    let ca = tls.get("client_ca").map(|f| (f, certificate::roots(&f, cx)));
    let written = tls.get("client_auth");
    let wanted = match written {
        Some(f) => f.word(cx.faults, &words)?,
        None => Wanted::None,
    };
    match (wanted, ca) {
        (Wanted::None, None) => Some(ClientAuth::None),
        (Wanted::None, Some((field, roots))) => {
            let message = "no client certificate is asked for: `client_auth` is `none`";
            let remedy = "add `client_auth: required` (or `optional`), or remove `client_ca`";
            field.fault(cx.faults, codes::CLIENT_CA_UNUSED, message, remedy);
            roots.map(|_| ClientAuth::None)
        }
        (Wanted::Optional, Some((_, roots))) => roots.map(ClientAuth::Optional),
        (Wanted::Required, Some((_, roots))) => roots.map(ClientAuth::Required),
        (_, None) => {
            let message = "client certificates are asked for, but nobody is trusted to issue them";
            let remedy = "add `client_ca: FILE`, the CA that issues your clients' certificates";
            written.map(|f| f.fault(cx.faults, codes::NO_CLIENT_CA, message, remedy));
            None
        }
    }
}

fn cidrs(field: &Field<'_>, cx: &mut Context<'_>) -> Vec<IpNet> {
    let Some(items) = field.items(cx.faults) else { return Vec::new() };
    let items: Vec<_> = items.collect();
    items.iter().filter_map(|item| cidr(item, cx)).collect()
}

pub fn cidr(field: &Field<'_>, cx: &mut Context<'_>) -> Option<IpNet> {
    let text = field.text(cx.faults)?;
    let net = text.parse().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from)).ok();
    if net.is_none() {
        let message = format!("`{}` is not a network", shown(text));
        field.fault(cx.faults, codes::BAD_CIDR, message, "write an address and a prefix length, like `10.0.0.0/8`");
    }
    net
}

const LIMIT_KEYS: [&str; 11] = [
    "headers",
    "header_count",
    "uri",
    "header_time",
    "handshake_time",
    "idle",
    "streams",
    "body",
    "connections_per_address",
    "connections",
    "bad_signatures_per_address",
];

fn limits(field: &Field<'_>, cx: &mut Context<'_>) -> ListenerLimits {
    let Some(table) = field.table(cx.faults, &LIMIT_KEYS) else { return defaults::LIMITS };
    let d = defaults::LIMITS;
    let size = |key, low: u64, high: u64, default: u64, cx: &mut Context<'_>| {
        table.get(key).and_then(|f| f.size(cx.faults, low..=high)).unwrap_or(default)
    };
    ListenerLimits {
        headers: size("headers", 1 << 10, 1 << 20, d.headers as u64, cx) as usize,
        header_count: count_or(&table, "header_count", 8, 1000, d.header_count as u32, cx) as usize,
        uri: size("uri", 64, 64 << 10, d.uri as u64, cx) as usize,
        header_time: duration_or(&table, "header_time", MILLISECOND, HOUR, d.header_time, cx),
        handshake_time: duration_or(&table, "handshake_time", MILLISECOND, HOUR, d.handshake_time, cx),
        idle: duration_or(&table, "idle", MILLISECOND, DAY, d.idle, cx),
        streams: count_or(&table, "streams", 1, 10_000, d.streams, cx),
        body: size("body", 1, BODY_MAX, d.body, cx),
        connections_per_address: count_or(
            &table,
            "connections_per_address",
            1,
            1_000_000,
            d.connections_per_address,
            cx,
        ),
        connections: count_or(&table, "connections", 1, 10_000_000, d.connections, cx),
        bad_signatures_per_address: count_or(
            &table,
            "bad_signatures_per_address",
            1,
            1_000_000,
            d.bad_signatures_per_address,
            cx,
        ),
    }
}

/// 1 TiB: larger than anything that passes through a gateway.
pub const BODY_MAX: u64 = 1 << 40;

/// Read after the listeners: it must not have the address of one.
pub fn admin(top: &Table<'_>, listeners: &mut Listeners, cx: &mut Context<'_>) -> Option<SocketAddr> {
    let field = top.get("admin")?;
    let table = field.table(cx.faults, &["address"])?;
    let written = table.need(cx.faults, "address", "write `address: 127.0.0.1:9901`")?;
    address(&written, listeners, cx)
}
