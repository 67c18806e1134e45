//! What changes where callers come in: listeners, their TLS, certificates and bounds.

use std::time::Duration;

use super::change::{Change, Kind};
use super::pairs::Pairs;
use super::trust;
use crate::config::Config;
use crate::config::model::{ClientAuth, Listener, ListenerLimits, ServerTls};
use crate::config::units::{show_duration, show_size};
use crate::tls::certs::LoadedCertificate;

pub fn compare(old: &Config, new: &Config, pairs: &Pairs, changes: &mut Vec<Change>) {
    for (before, after) in pairs.listeners.both() {
        let first = changes.len();
        let (before, after) = (&old.listeners[before], &new.listeners[after]);
        place(before, after, changes);
        tls(before, after, changes);
        proxies(before, after, changes);
        limits(&before.limits, &after.limits, changes);
        name(&mut changes[first..], after);
    }
    let plain_before = old.listeners.iter().any(|listener| listener.tls.is_none());
    for place in pairs.listeners.added() {
        let listener = &new.listeners[place];
        let first = changes.len();
        let how = if listener.tls.is_some() { "by TLS" } else { "in the clear" };
        let phrase = format!("appears at {}, {how}", listener.address);
        changes.push(Change::neutral(Kind::ListenerAdded, phrase).to(listener.address.to_string()));
        if listener.tls.is_none() && !plain_before && !listener.address.ip().is_loopback() {
            let phrase = "takes callers and their tokens in the clear, which no listener did";
            changes.push(Change::weaker(Kind::EncryptionDropped, phrase).from("TLS").to("plain"));
        }
        name(&mut changes[first..], listener);
    }
    for place in pairs.listeners.removed() {
        let listener = &old.listeners[place];
        let first = changes.len();
        let phrase = format!("vanishes: nobody answers at {}", listener.address);
        changes.push(Change::refusing(Kind::ListenerRemoved, phrase).from(listener.address.to_string()));
        name(&mut changes[first..], listener);
    }
}

fn name(changes: &mut [Change], listener: &Listener) {
    for change in changes {
        change.about = format!("listener `{}`", listener.name);
        change.at = Some(listener.at.clone());
    }
}

fn place(old: &Listener, new: &Listener, changes: &mut Vec<Change>) {
    if old.name != new.name {
        let phrase = format!("was called `{}`, which challenges name", old.name);
        changes.push(Change::neutral(Kind::ListenerRenamed, phrase).from(&*old.name).to(&*new.name));
    }
    if old.address != new.address {
        let (from, to) = (old.address.to_string(), new.address.to_string());
        let phrase = format!("moves from {from} to {to}");
        changes.push(Change::neutral(Kind::ListenerMoved, phrase).from(from).to(to));
    }
}

fn tls(old: &Listener, new: &Listener, changes: &mut Vec<Change>) {
    let (before, after) = match (&old.tls, &new.tls) {
        (None, None) => return,
        (Some(_), None) => {
            let phrase = "takes callers and their tokens in the clear";
            changes.push(Change::weaker(Kind::EncryptionDropped, phrase).from("TLS").to("plain"));
            return;
        }
        (None, Some(_)) => {
            let phrase = "takes callers by TLS alone";
            changes.push(Change::refusing(Kind::EncryptionAdded, phrase).from("plain").to("TLS"));
            return;
        }
        (Some(before), Some(after)) => (before, after),
    };
    if before.tls13_only != after.tls13_only {
        changes.push(match after.tls13_only {
            true => Change::refusing(Kind::MinVersionRaised, "takes TLS 1.3 alone").from("1.2").to("1.3"),
            false => Change::weaker(Kind::MinVersionLowered, "takes TLS 1.2 too").from("1.3").to("1.2"),
        });
    }
    client_auth(before, after, changes);
    certificates(&before.certificates, &after.certificates, changes);
}

fn client_auth(old: &ServerTls, new: &ServerTls, changes: &mut Vec<Change>) {
    let read = |auth: &ClientAuth| match auth {
        ClientAuth::None => (0, "none", None),
        ClientAuth::Optional(roots) => (1, "optional", Some(roots.clone())),
        ClientAuth::Required(roots) => (2, "required", Some(roots.clone())),
    };
    let ((old_rank, from, old_roots), (new_rank, to, new_roots)) = (read(&old.client_auth), read(&new.client_auth));
    let phrase = format!("client certificates become {to} instead of {from}");
    if new_rank < old_rank {
        changes.push(Change::weaker(Kind::ClientAuthLowered, phrase).from(from).to(to));
    } else if new_rank > old_rank {
        changes.push(Change::refusing(Kind::ClientAuthRaised, phrase).from(from).to(to));
    }
    if let (Some(before), Some(after)) = (old_roots, new_roots) {
        changes.extend(trust::roots("client certificates", Some(&before), Some(&after)));
    }
}

/// By their names: a certificate is renewed when another for the same names takes its place.
fn certificates(
    old: &[std::sync::Arc<LoadedCertificate>],
    new: &[std::sync::Arc<LoadedCertificate>],
    changes: &mut Vec<Change>,
) {
    let chain = |of: &LoadedCertificate| of.key.cert.clone();
    let (mut gone, mut come): (Vec<_>, Vec<_>) = (old.iter().collect(), new.iter().collect());
    gone.retain(|before| match come.iter().position(|after| chain(before) == chain(after)) {
        Some(same) => {
            come.remove(same);
            false
        }
        None => true,
    });
    let names = |of: &LoadedCertificate| {
        let mut names = of.names.clone();
        names.sort_unstable();
        names
    };
    for after in come {
        let to = certificate(after);
        let same = |before: &&std::sync::Arc<LoadedCertificate>| {
            names(before) == names(after) || before.subject == after.subject
        };
        let change = match gone.iter().position(same) {
            Some(at) => {
                let from = certificate(gone.remove(at));
                Change::neutral(Kind::CertificateChanged, format!("shows {to} instead of {from}")).from(from)
            }
            None => Change::neutral(Kind::CertificateAdded, format!("has one more certificate: {to}")),
        };
        changes.push(change.to(to));
    }
    for before in gone {
        let from = certificate(before);
        let phrase = format!("no longer has the certificate of {from}");
        changes.push(Change::neutral(Kind::CertificateRemoved, phrase).from(from));
    }
}

fn certificate(of: &LoadedCertificate) -> String {
    let time = Duration::from_secs(u64::try_from(of.not_after).unwrap_or_default());
    let until = httpdate::fmt_http_date(std::time::UNIX_EPOCH + time);
    format!("{} for {}, until {until}", of.subject, of.names.join(", "))
}

fn proxies(old: &Listener, new: &Listener, changes: &mut Vec<Change>) {
    for net in new.trusted_proxies.iter().filter(|net| !old.trusted_proxies.contains(net)) {
        let phrase = format!("believes {net} about who the client is");
        changes.push(Change::weaker(Kind::TrustedProxyAdded, phrase).to(net.to_string()));
    }
    for net in old.trusted_proxies.iter().filter(|net| !new.trusted_proxies.contains(net)) {
        let phrase = format!("no longer believes {net} about who the client is");
        changes.push(Change::stronger(Kind::TrustedProxyRemoved, phrase).from(net.to_string()));
    }
}

fn limits(old: &ListenerLimits, new: &ListenerLimits, changes: &mut Vec<Change>) {
    let count = |number: u64| number.to_string();
    let time = |nanos: u64| show_duration(Duration::from_nanos(nanos));
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let (size, count): (&dyn Fn(u64) -> String, &dyn Fn(u64) -> String) = (&show_size, &count);
    let time: &dyn Fn(u64) -> String = &time;
    let each = |l: &ListenerLimits| {
        [
            ("headers", l.headers as u64, size),
            ("header_count", l.header_count as u64, count),
            ("uri", l.uri as u64, size),
            ("header_time", nanos(l.header_time), time),
            ("handshake_time", nanos(l.handshake_time), time),
            ("idle", nanos(l.idle), time),
            ("streams", u64::from(l.streams), count),
            ("body", l.body, size),
            ("connections_per_address", u64::from(l.connections_per_address), count),
            ("connections", u64::from(l.connections), count),
            ("bad_signatures_per_address", u64::from(l.bad_signatures_per_address), count),
        ]
    };
    for ((name, before, show), (_, after, _)) in each(old).into_iter().zip(each(new)) {
        let (from, to) = (show(before), show(after));
        let phrase = format!("limit `{name}` becomes {to} instead of {from}");
        let change = match after.cmp(&before) {
            std::cmp::Ordering::Less => Change::refusing(Kind::LimitLowered, phrase),
            std::cmp::Ordering::Greater => Change::neutral(Kind::LimitRaised, phrase),
            std::cmp::Ordering::Equal => continue,
        };
        changes.push(change.from(from).to(to));
    }
}
