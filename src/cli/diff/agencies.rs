//! What changes for agencies: what they are told of callers, where and how they are reached.

use std::collections::BTreeMap;

use super::change::{Change, Kind};
use super::facets::rank;
use super::pairs::Pairs;
use super::routes::timeouts;
use super::trust;
use crate::config::Config;
use crate::config::model::{
    Agency, AgencyLimits, AgencyScope, Balance, Endpoint, EndpointProtocol, Health, Hedge, IdentityKind, Outlier,
    Retry, Title, Verify,
};
use crate::config::units::show_duration;
use crate::words::Level;

pub fn compare(old: &Config, new: &Config, pairs: &Pairs, changes: &mut Vec<Change>) {
    let (told_before, told_after) = (told(old), told(new));
    for (before, after) in pairs.agencies.both() {
        let first = changes.len();
        let told = (told_before[before], told_after[after]);
        let (before, after) = (&old.agencies[before], &new.agencies[after]);
        identity(before, after, told, changes);
        askers(before.verify.as_ref(), after.verify.as_ref(), changes);
        endpoints(before, after, changes);
        tls(before, after, changes);
        workings(before, after, changes);
        described(before, after, changes);
        name(&mut changes[first..], after);
    }
    for place in pairs.agencies.added() {
        let agency = &new.agencies[place];
        let first = changes.len();
        let urls: Vec<&str> = agency.endpoints.iter().map(|e| &*e.url).collect();
        let at = if urls.is_empty() { "its own proxy".to_owned() } else { urls.join(", ") };
        askers(None, agency.verify.as_ref(), changes);
        let phrase = format!("appears at {at}; it is told of callers by: {}", rank(agency.identity).1);
        changes.push(Change::neutral(Kind::AgencyAdded, phrase).to(&*agency.name));
        if told_after[place] && agency.identity == IdentityKind::Token {
            changes
                .push(Change::weaker(Kind::IdentityReleased, "gets the callers' tokens").from("nothing").to("token"));
        }
        name(&mut changes[first..], agency);
    }
    for place in pairs.agencies.removed() {
        let agency = &old.agencies[place];
        changes.push(Change::neutral(Kind::AgencyRemoved, "vanishes").from(&*agency.name));
        let last = changes.len() - 1;
        name(&mut changes[last..], agency);
    }
}

fn name(changes: &mut [Change], agency: &Agency) {
    for change in changes {
        change.about = format!("agency `{}`", agency.name);
        change.agency = Some(agency.name.clone());
        change.at = Some(agency.at.clone());
    }
}

/// Whether any route leads callers to the agency whom the gateway knows.
fn told(config: &Config) -> Vec<bool> {
    let mut told = vec![false; config.agencies.len()];
    for route in config.routes.iter().filter(|route| route.require.level > Level::NONE) {
        told[route.agency.0 as usize] = true;
    }
    told
}

fn identity(old: &Agency, new: &Agency, told: (bool, bool), changes: &mut Vec<Change>) {
    let ((old_rank, from), (new_rank, to)) = (rank(old.identity), rank(new.identity));
    if new_rank > old_rank {
        let phrase = format!("is told more of callers: {to} instead of {from}");
        changes.push(Change::weaker(Kind::IdentityReleased, phrase).from(from).to(to));
    } else if new_rank < old_rank {
        let phrase = format!("is told less of callers: {to} instead of {from}");
        changes.push(Change::stronger(Kind::IdentityWithheld, phrase).from(from).to(to));
    } else if told == (false, true) && new.identity != IdentityKind::None {
        let phrase = format!("is told of callers for the first time, by: {to}");
        changes.push(Change::weaker(Kind::IdentityReleased, phrase).from("nothing").to(to));
    } else if told == (true, false) && new.identity != IdentityKind::None {
        let phrase = "is not told of callers any more: all its routes are on level 0";
        changes.push(Change::stronger(Kind::IdentityWithheld, phrase).from(from).to("nothing"));
    }
}

/// Who may ask for verdicts is believed about the request, and is given assertions.
fn askers(old: Option<&Verify>, new: Option<&Verify>, changes: &mut Vec<Change>) {
    let nets = |verify: Option<&Verify>| verify.map(|v| v.from.clone()).unwrap_or_default();
    let (before, after) = (nets(old), nets(new));
    for net in after.iter().filter(|net| !before.contains(net)) {
        let phrase = format!("may be asked about by {net}");
        changes.push(Change::weaker(Kind::AskerAdded, phrase).to(net.to_string()));
    }
    for net in before.iter().filter(|net| !after.contains(net)) {
        let phrase = format!("may no longer be asked about by {net}");
        changes.push(Change::refusing(Kind::AskerRemoved, phrase).from(net.to_string()));
    }
    let (Some(old), Some(new)) = (old, new) else { return };
    if old.client == new.client {
        return;
    }
    let (from, to) = (certificate_of(old), certificate_of(new));
    // No names ask for no certificate; of more names, one more may come.
    let narrower = old.client.is_empty() || !new.client.is_empty() && new.client.iter().all(|n| old.client.contains(n));
    let phrase = format!("is asked about with {to} instead of {from}");
    let change = match narrower {
        true => Change::refusing(Kind::AskerNamesChanged, phrase),
        false => Change::weaker(Kind::AskerNamesChanged, phrase),
    };
    changes.push(change.from(from).to(to));
}

fn certificate_of(verify: &Verify) -> String {
    match verify.client.as_slice() {
        [] => "no certificate".to_owned(),
        names => format!("a certificate of {}", names.join(" or ")),
    }
}

fn endpoints(old: &Agency, new: &Agency, changes: &mut Vec<Change>) {
    let (before, after) = (by_url(old), by_url(new));
    for (url, weight) in &after {
        match before.get(url) {
            None => {
                let phrase = format!("is served at {url} too");
                changes.push(Change::neutral(Kind::EndpointAdded, phrase).to(*url));
            }
            Some(was) if was != weight => {
                let phrase = format!("{url} has weight {weight} instead of {was}");
                let change = Change::neutral(Kind::EndpointWeight, phrase);
                changes.push(change.from(was.to_string()).to(weight.to_string()));
            }
            Some(_) => {}
        }
    }
    for url in before.keys().filter(|url| !after.contains_key(*url)) {
        changes.push(Change::neutral(Kind::EndpointRemoved, format!("is no longer served at {url}")).from(*url));
    }
    match (old.endpoints.is_empty(), new.endpoints.is_empty()) {
        (false, true) => changes.push(Change::refusing(Kind::ForwardingEnded, "is reached by its own proxy alone")),
        (true, false) => changes.push(Change::neutral(Kind::ForwardingBegun, "is reached through the gateway too")),
        _ => {}
    }
    let plain = |agency: &Agency| agency.endpoints.iter().any(is_plain);
    if !plain(old) && plain(new) {
        let phrase = "is reached in the clear and unverified, instead of by TLS alone";
        changes.push(Change::weaker(Kind::EncryptionDropped, phrase).from("TLS").to("plain"));
    } else if plain(old) && !plain(new) {
        changes.push(Change::stronger(Kind::EncryptionAdded, "is reached by TLS alone").from("plain").to("TLS"));
    }
}

/// The same URL written twice counts with both weights.
fn by_url(agency: &Agency) -> BTreeMap<&str, u32> {
    let mut weights = BTreeMap::new();
    for endpoint in &agency.endpoints {
        *weights.entry(&*endpoint.url).or_insert(0) += endpoint.weight;
    }
    weights
}

fn is_plain(endpoint: &Endpoint) -> bool {
    match endpoint.protocol {
        EndpointProtocol::Http | EndpointProtocol::H2c => true,
        EndpointProtocol::Https => false,
    }
}

fn tls(old: &Agency, new: &Agency, changes: &mut Vec<Change>) {
    changes.extend(trust::roots("certificates of the agency", old.tls.roots.as_deref(), new.tls.roots.as_deref()));
    if old.tls.server_name != new.tls.server_name {
        let shown =
            |agency: &Agency| agency.tls.server_name.clone().unwrap_or_else(|| "the endpoint's host".to_owned());
        let (from, to) = (shown(old), shown(new));
        let phrase = format!("is verified as {to} instead of {from}");
        changes.push(Change::neutral(Kind::UpstreamTlsChanged, phrase).from(from).to(to));
    }
    let leaf = |agency: &Agency| agency.tls.client.as_ref().map(|client| client.chain.first().cloned());
    let (before, after) = (leaf(old), leaf(new));
    if before != after {
        let phrase = match (before, after) {
            (None, _) => "is shown a client certificate",
            (_, None) => "is shown no client certificate any more",
            _ => "is shown another client certificate",
        };
        changes.push(Change::neutral(Kind::UpstreamTlsChanged, phrase));
    }
}

fn workings(old: &Agency, new: &Agency, changes: &mut Vec<Change>) {
    if old.health != new.health {
        let (from, to) = (health(old.health.as_ref()), health(new.health.as_ref()));
        let phrase = format!("health check becomes {to} instead of {from}");
        changes.push(Change::neutral(Kind::HealthChanged, phrase).from(from).to(to));
    }
    if old.outlier != new.outlier {
        let (from, to) = (outlier(old.outlier.as_ref()), outlier(new.outlier.as_ref()));
        let phrase = format!("ejects endpoints {to} instead of {from}");
        changes.push(Change::neutral(Kind::OutlierChanged, phrase).from(from).to(to));
    }
    if old.balance != new.balance {
        let (from, to) = (balance(old.balance), balance(new.balance));
        let phrase = format!("is balanced by {to} instead of {from}");
        changes.push(Change::neutral(Kind::BalanceChanged, phrase).from(from).to(to));
    }
    if old.timeouts != new.timeouts {
        changes.push(timeouts(&old.timeouts, &new.timeouts));
    }
    if old.retry != new.retry {
        let (from, to) = (retry(old.retry), retry(new.retry));
        let phrase = format!("retries become {to} instead of {from}");
        changes.push(Change::neutral(Kind::RetryChanged, phrase).from(from).to(to));
    }
    if old.hedge != new.hedge {
        let (from, to) = (hedge(old.hedge), hedge(new.hedge));
        let phrase = format!("reads are hedged {to} instead of {from}");
        changes.push(Change::neutral(Kind::HedgeChanged, phrase).from(from).to(to));
    }
    if old.limits != new.limits {
        let (from, to) = (limits(&old.limits), limits(&new.limits));
        let phrase = format!("may have {to} instead of {from}");
        changes.push(Change::neutral(Kind::AgencyLimitsChanged, phrase).from(from).to(to));
    }
}

fn health(health: Option<&Health>) -> String {
    let Some(health) = health else { return "none".to_owned() };
    let (interval, timeout) = (show_duration(health.interval), show_duration(health.timeout));
    let (up, down) = (health.healthy_after, health.unhealthy_after);
    let status = match &health.status[..] {
        [] => String::new(),
        wanted => format!(" for {}", wanted.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")),
    };
    format!("{}{status} every {interval} within {timeout}, up after {up}, down after {down}", health.path)
}

fn outlier(outlier: Option<&Outlier>) -> String {
    let Some(Outlier { consecutive, base, max, max_share }) = outlier else { return "never".to_owned() };
    let (base, max) = (show_duration(*base), show_duration(*max));
    format!("after {consecutive} failures for {base} to {max}, at most {max_share} %")
}

fn balance(balance: Balance) -> &'static str {
    match balance {
        Balance::LeastRequest => "least_request",
        Balance::PeakEwma => "peak_ewma",
        Balance::RoundRobin => "round_robin",
        Balance::HashSubject => "hash_subject",
    }
}

fn retry(retry: Retry) -> String {
    match retry.attempts {
        1 => "off".to_owned(),
        attempts => format!("{attempts} attempts within {} %", retry.budget_percent),
    }
}

fn hedge(hedge: Option<Hedge>) -> String {
    match hedge {
        None => "never".to_owned(),
        Some(Hedge::P95) => "after the p95".to_owned(),
        Some(Hedge::After(time)) => format!("after {}", show_duration(time)),
    }
}

fn limits(limits: &AgencyLimits) -> String {
    let AgencyLimits { concurrent, queue, queue_time, connections, adaptive } = limits;
    let adaptive = if *adaptive { "up to " } else { "" };
    let queue_time = show_duration(*queue_time);
    format!("{adaptive}{concurrent} requests under way, {queue} waiting {queue_time}, {connections} connections")
}

fn described(old: &Agency, new: &Agency, changes: &mut Vec<Change>) {
    let words = |agency: &Agency| {
        let Title { fa, en } = &agency.title;
        let scope = match agency.scope {
            AgencyScope::National => "national",
            AgencyScope::Province => "province",
            AgencyScope::Dedicated => "dedicated",
        };
        let mut words = format!("{fa} / {en}, {scope}");
        let more = [("province", agency.province.as_deref()), ("team", agency.team.as_deref())];
        for (key, value) in more.into_iter().filter_map(|(key, value)| Some((key, value?))) {
            words.push_str(&format!(", {key} {value}"));
        }
        words
    };
    let (from, to) = (words(old), words(new));
    if from != to {
        changes.push(Change::neutral(Kind::AgencyDescribed, format!("is described as {to}")).from(from).to(to));
    }
}
