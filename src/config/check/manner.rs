//! How an agency is spoken to: TLS, health, ejection, balance, limits, retries, identity. `defaults.agencies` and an agency have
//! these keys alike: each is read over a base, key by key, the built-in values at the bottom.

use std::time::Duration;

use super::{
    Context, DAY, Field, HOUR, MILLISECOND, SECOND, Table, certificate, codes, count_or, defaults, duration_or,
};
use crate::config::model::{AgencyLimits, Balance, ClientTls, Health, Hedge, IdentityKind, Outlier, Retry, Timeouts};
use crate::config::read::shown;

pub const KEYS: [&str; 9] = ["tls", "health", "outlier", "balance", "timeouts", "retry", "hedge", "limits", "identity"];

/// Everything that `defaults.agencies` may say.
#[derive(Clone)]
pub struct Manner {
    pub tls: ClientTls,
    pub health: HealthKeys,
    pub outlier: Option<Outlier>,
    pub balance: Balance,
    pub timeouts: Timeouts,
    pub retry: Retry,
    pub hedge: Option<Hedge>,
    pub limits: AgencyLimits,
    pub identity: IdentityKind,
}

/// `health`, which is nothing without a path.
#[derive(Clone)]
pub struct HealthKeys {
    path: Option<String>,
    status: Vec<u16>,
    interval: Duration,
    timeout: Duration,
    healthy_after: u32,
    unhealthy_after: u32,
}

/// Whose keys are read.
#[derive(Clone, Copy)]
pub enum Of {
    Defaults,
    Agency { over_tls: bool },
}

impl Manner {
    pub const BUILT_IN: Manner = Manner {
        tls: ClientTls { roots: None, client: None, server_name: None },
        health: HealthKeys {
            path: None,
            status: Vec::new(),
            interval: defaults::HEALTH_INTERVAL,
            timeout: defaults::HEALTH_TIMEOUT,
            healthy_after: defaults::HEALTHY_AFTER,
            unhealthy_after: defaults::UNHEALTHY_AFTER,
        },
        outlier: Some(defaults::OUTLIER),
        balance: Balance::LeastRequest,
        timeouts: defaults::TIMEOUTS,
        retry: defaults::RETRY,
        hedge: None,
        limits: defaults::AGENCY_LIMITS,
        identity: IdentityKind::Assertion,
    };
}

impl HealthKeys {
    /// Whether nobody is asked.
    pub fn is_nowhere(&self) -> bool {
        self.path.is_none()
    }

    pub fn into_health(self) -> Option<Health> {
        let HealthKeys { path, status, interval, timeout, healthy_after, unhealthy_after } = self;
        Some(Health { path: path?, status, interval, timeout, healthy_after, unhealthy_after })
    }
}

/// What the table says, over `base`.
pub fn read(table: &Table<'_>, base: &Manner, of: Of, cx: &mut Context<'_>) -> Manner {
    let balances = [
        ("least_request", Balance::LeastRequest),
        ("peak_ewma", Balance::PeakEwma),
        ("round_robin", Balance::RoundRobin),
        ("hash_subject", Balance::HashSubject),
    ];
    let identities = [
        ("assertion", IdentityKind::Assertion),
        ("headers", IdentityKind::Headers),
        ("token", IdentityKind::Token),
        ("none", IdentityKind::None),
    ];
    Manner {
        tls: table.get("tls").map_or_else(|| base.tls.clone(), |f| client_tls(&f, &base.tls, of, cx)),
        health: table.get("health").map_or_else(|| base.health.clone(), |f| health(&f, &base.health, of, cx)),
        outlier: table.get("outlier").map_or(base.outlier, |f| outlier(&f, base.outlier, cx)),
        balance: table.get("balance").and_then(|f| f.word(cx.faults, &balances)).unwrap_or(base.balance),
        timeouts: table.get("timeouts").map_or(base.timeouts, |f| timeouts(&f, cx).over(base.timeouts)),
        retry: table.get("retry").map_or(base.retry, |f| retry(&f, base.retry, cx)),
        hedge: table.get("hedge").map_or(base.hedge, |f| hedge(&f, cx)),
        limits: table.get("limits").map_or(base.limits, |f| limits(&f, base.limits, cx)),
        identity: table.get("identity").and_then(|f| f.word(cx.faults, &identities)).unwrap_or(base.identity),
    }
}

fn client_tls(field: &Field<'_>, base: &ClientTls, of: Of, cx: &mut Context<'_>) -> ClientTls {
    // The name in one agency's certificate is no default for others.
    let known: &[&str] = match of {
        Of::Defaults => &["ca", "client_cert", "client_key"],
        Of::Agency { .. } => &["ca", "client_cert", "client_key", "server_name"],
    };
    let Some(table) = field.table(cx.faults, known) else { return base.clone() };
    if matches!(of, Of::Agency { over_tls: false }) {
        let message = "no endpoint of this agency is `https://`: nothing here has an effect";
        field.fault(cx.faults, codes::TLS_UNUSED, message, "write `https://` endpoints, or remove `tls`");
    }
    let client = match (table.get("client_cert"), table.get("client_key")) {
        (Some(cert), Some(key)) => certificate::identity(&cert, &key, cx),
        (None, None) => base.client.clone(),
        (Some(half), None) | (None, Some(half)) => {
            let message = "`client_cert` and `client_key` belong together";
            half.fault(cx.faults, codes::HALF_IDENTITY, message, "name both files, or none");
            None
        }
    };
    let roots = table.get("ca").map_or_else(|| base.roots.clone(), |f| certificate::roots(&f, cx));
    ClientTls { roots, client, server_name: table.get("server_name").and_then(|f| server_name(&f, cx)) }
}

/// A name that a certificate is to be for.
pub fn server_name(field: &Field<'_>, cx: &mut Context<'_>) -> Option<String> {
    let text = field.text(cx.faults)?;
    if rustls::pki_types::ServerName::try_from(text).is_err() {
        let message = format!("`{}` is not a host name", shown(text));
        field.fault(cx.faults, codes::BAD_HOST_NAME, message, "write the name in the certificate");
        return None;
    }
    Some(text.to_ascii_lowercase())
}

/// `off` asks nobody, whatever the defaults say.
fn health(field: &Field<'_>, base: &HealthKeys, of: Of, cx: &mut Context<'_>) -> HealthKeys {
    if field.is_off() {
        return HealthKeys { path: None, ..base.clone() };
    }
    let known = ["path", "status", "interval", "timeout", "healthy_after", "unhealthy_after"];
    let Some(table) = field.table(cx.faults, &known) else { return base.clone() };
    let path = match table.get("path") {
        Some(field) => health_path(&field, cx),
        None if matches!(of, Of::Agency { .. }) && base.path.is_none() => {
            table.need(cx.faults, "path", "write the path to ask for: `path: /healthz`");
            None
        }
        None => base.path.clone(),
    };
    HealthKeys {
        path,
        status: table.get("status").and_then(|f| statuses(&f, cx)).unwrap_or_else(|| base.status.clone()),
        interval: duration_or(&table, "interval", MILLISECOND, HOUR, base.interval, cx),
        timeout: duration_or(&table, "timeout", MILLISECOND, HOUR, base.timeout, cx),
        healthy_after: count_or(&table, "healthy_after", 1, 100, base.healthy_after, cx),
        unhealthy_after: count_or(&table, "unhealthy_after", 1, 100, base.unhealthy_after, cx),
    }
}

fn health_path(field: &Field<'_>, cx: &mut Context<'_>) -> Option<String> {
    let text = field.text(cx.faults)?;
    let fits = text.starts_with('/') && !text.contains('#') && text.parse::<http::uri::PathAndQuery>().is_ok();
    if !fits {
        let message = format!("`{}` is not a path", shown(text));
        field.fault(cx.faults, codes::BAD_PATH, message, "write an absolute path, like `/healthz`");
    }
    fits.then(|| text.to_owned())
}

/// One status, or a list of them.
fn statuses(field: &Field<'_>, cx: &mut Context<'_>) -> Option<Vec<u16>> {
    let one = |field: &Field<'_>, cx: &mut Context<'_>| {
        let status = field.count(cx.faults, 200..=599)?;
        u16::try_from(status).ok()
    };
    if !field.is_list() {
        return one(field, cx).map(|status| vec![status]);
    }
    let items: Vec<_> = field.some_items(cx.faults)?.collect();
    items.iter().map(|item| one(item, cx)).collect()
}

/// `off` ejects nobody. A mapping without a key is read over the built-in values where the base is `off`.
fn outlier(field: &Field<'_>, base: Option<Outlier>, cx: &mut Context<'_>) -> Option<Outlier> {
    if field.is_off() {
        return None;
    }
    if !field.is_table() {
        let remedy = "write `outlier: { consecutive: 5 }`, or `outlier: off`";
        return field.wrong_type::<Outlier>(cx.faults, "a mapping or `off`", remedy).or(base);
    }
    let d = base.unwrap_or(defaults::OUTLIER);
    let Some(table) = field.table(cx.faults, &["consecutive", "base", "max", "max_share"]) else { return base };
    Some(Outlier {
        consecutive: count_or(&table, "consecutive", 1, 1000, d.consecutive, cx),
        base: duration_or(&table, "base", MILLISECOND, HOUR, d.base, cx),
        max: duration_or(&table, "max", MILLISECOND, DAY, d.max, cx),
        max_share: count_or(&table, "max_share", 0, 100, d.max_share, cx),
    })
}

/// Time limits as written: of an agency, or of a route on top of its agency's.
#[derive(Clone, Copy, Default)]
pub struct TimeoutKeys {
    connect: Option<Duration>,
    response: Option<Duration>,
    idle: Option<Duration>,
    /// The inner is `None` for `off`.
    request: Option<Option<Duration>>,
}

impl TimeoutKeys {
    /// Key by key: these, else the others.
    pub fn or(self, other: TimeoutKeys) -> TimeoutKeys {
        TimeoutKeys {
            connect: self.connect.or(other.connect),
            response: self.response.or(other.response),
            idle: self.idle.or(other.idle),
            request: self.request.or(other.request),
        }
    }

    pub fn over(self, base: Timeouts) -> Timeouts {
        Timeouts {
            connect: self.connect.unwrap_or(base.connect),
            response: self.response.unwrap_or(base.response),
            idle: self.idle.unwrap_or(base.idle),
            request: self.request.unwrap_or(base.request),
        }
    }
}

pub fn timeouts(field: &Field<'_>, cx: &mut Context<'_>) -> TimeoutKeys {
    let known = ["connect", "response", "idle", "request"];
    let Some(table) = field.table(cx.faults, &known) else { return TimeoutKeys::default() };
    let mut read = |key, high| table.get(key).and_then(|f| f.duration(cx.faults, MILLISECOND..=high));
    let (connect, response, idle) = (read("connect", 300 * SECOND), read("response", DAY), read("idle", DAY));
    let request = match table.get("request") {
        Some(field) if field.is_off() => Some(None),
        Some(field) => field.duration(cx.faults, MILLISECOND..=DAY).map(Some),
        None => None,
    };
    TimeoutKeys { connect, response, idle, request }
}

fn retry(field: &Field<'_>, base: Retry, cx: &mut Context<'_>) -> Retry {
    let never = Retry { attempts: 1, budget_percent: 0 };
    if field.is_off() {
        return never;
    }
    if !field.is_table() {
        let remedy = "write `retry: { attempts: 2 }`, or `retry: off`";
        return field.wrong_type(cx.faults, "a mapping or `off`", remedy).unwrap_or(never);
    }
    // `off` has no keys that could be kept.
    let base = if base == never { defaults::RETRY } else { base };
    let Some(table) = field.table(cx.faults, &["attempts", "budget_percent"]) else { return never };
    Retry {
        attempts: count_or(&table, "attempts", 1, 10, base.attempts, cx),
        budget_percent: count_or(&table, "budget_percent", 0, 100, base.budget_percent, cx),
    }
}

/// `on`, `off`, or how long to wait.
fn hedge(field: &Field<'_>, cx: &mut Context<'_>) -> Option<Hedge> {
    let words = [("on", Some(Hedge::P95)), ("off", None), ("true", Some(Hedge::P95)), ("false", None)];
    if !field.is_table() {
        return field.word(cx.faults, &words).flatten();
    }
    let table = field.table(cx.faults, &["after"])?;
    let after = table.need(cx.faults, "after", "write `after: p95`, or a time: `after: 50ms`")?;
    if after.is("p95") {
        return Some(Hedge::P95);
    }
    after.duration(cx.faults, MILLISECOND..=HOUR).map(Hedge::After)
}

fn limits(field: &Field<'_>, base: AgencyLimits, cx: &mut Context<'_>) -> AgencyLimits {
    let known = ["concurrent", "queue", "queue_time", "connections", "adaptive"];
    let Some(table) = field.table(cx.faults, &known) else { return base };
    AgencyLimits {
        concurrent: count_or(&table, "concurrent", 1, 1_000_000, base.concurrent, cx),
        queue: count_or(&table, "queue", 0, 1_000_000, base.queue, cx),
        queue_time: duration_or(&table, "queue_time", MILLISECOND, HOUR, base.queue_time, cx),
        connections: count_or(&table, "connections", 1, 1_000_000, base.connections, cx),
        adaptive: table.get("adaptive").and_then(|f| f.flag(cx.faults)).unwrap_or(base.adaptive),
    }
}
