//! What changes for operators: the admin listener, the log, times, texts and places.

use std::net::SocketAddr;
use std::path::Path;

use super::change::{Change, Kind};
use crate::config::Config;
use crate::config::model::{AccessLog, AssertionSettings, Contact, Overload, SecretSource, SessionStore, Sessions};
use crate::config::units::{show_duration, show_size};

pub fn compare(old: &Config, new: &Config, changes: &mut Vec<Change>) {
    let first = changes.len();
    admin(old.admin, new.admin, changes);
    let texts = [
        (Kind::AccessLogChanged, "the access log goes to", access_log(old), access_log(new)),
        (Kind::WorkersChanged, "at the next start, workers become", workers(old), workers(new)),
        (Kind::ZoneChanged, "its zone becomes", zone(old), zone(new)),
        (Kind::StateDirChanged, "state is kept in", place(&old.state_dir, old), place(&new.state_dir, new)),
        (Kind::WatchChanged, "changes of the file are", watch(old), watch(new)),
        (Kind::DrainChanged, "drain becomes", show_duration(old.drain), show_duration(new.drain)),
        (Kind::ContactChanged, "pages offer", contact(&old.contact), contact(&new.contact)),
        (Kind::AssertionChanged, "assertions are", assertion(old), assertion(new)),
        (Kind::SessionsChanged, "sessions are kept", sessions(&old.sessions), sessions(&new.sessions)),
        (Kind::OverloadChanged, "overload is", overload(old), overload(new)),
        (Kind::SharedRatesChanged, "rates are counted", rates(old), rates(new)),
    ];
    for (kind, verb, from, to) in texts {
        if from != to {
            changes.push(Change::neutral(kind, format!("{verb} {to} instead of {from}")).from(from).to(to));
        }
    }
    session_levels(&old.sessions, &new.sessions, changes);
    for change in &mut changes[first..] {
        change.about = "the gateway".to_owned();
    }
}

fn admin(old: Option<SocketAddr>, new: Option<SocketAddr>, changes: &mut Vec<Change>) {
    if old == new {
        return;
    }
    let shown = |address: Option<SocketAddr>| address.map_or_else(|| "none".to_owned(), |a| a.to_string());
    let (from, to) = (shown(old), shown(new));
    let reachable = |address: Option<SocketAddr>| address.is_some_and(|a| !a.ip().is_loopback());
    let change = if reachable(new) && !reachable(old) {
        let phrase = format!(
            "from the next start, the admin listener can be reached from other machines: {to} instead of {from}"
        );
        Change::weaker(Kind::AdminExposed, phrase)
    } else {
        Change::neutral(
            Kind::AdminChanged,
            format!("at the next start, the admin listener becomes {to} instead of {from}"),
        )
    };
    changes.push(change.from(from).to(to));
}

fn access_log(config: &Config) -> String {
    match &config.access_log {
        AccessLog::Stdout => "stdout".to_owned(),
        AccessLog::Off => "off".to_owned(),
        AccessLog::File(path) => place(path, config),
    }
}

fn zone(config: &Config) -> String {
    config.zone.as_deref().unwrap_or("none").to_owned()
}

fn overload(config: &Config) -> String {
    let Overload { queue_delay, memory } = config.overload;
    let delay =
        queue_delay.map_or_else(|| "no queue".to_owned(), |delay| format!("a queue of {}", show_duration(delay)));
    memory.map_or_else(|| delay.clone(), |bytes| format!("{delay} or memory of {}", show_size(bytes)))
}

fn rates(config: &Config) -> String {
    let Some(shared) = &config.shared_rates else { return "by each node".to_owned() };
    format!("in {} within {}", shared.server.url, show_duration(shared.timeout))
}

fn workers(config: &Config) -> String {
    config.workers.map_or_else(|| "one per core".to_owned(), |count| count.to_string())
}

fn watch(config: &Config) -> String {
    if config.watch { "applied by themselves" } else { "applied when told" }.to_owned()
}

/// A path as the config names it: two copies of a config in two directories are alike.
pub fn place(path: &Path, config: &Config) -> String {
    let file = std::path::absolute(&config.file).unwrap_or_else(|_| config.file.clone());
    let base = file.parent().unwrap_or(Path::new("/"));
    path.strip_prefix(base).unwrap_or(path).display().to_string()
}

fn contact(contact: &Contact) -> String {
    let Contact { name, phone, email, url } = contact;
    let name = name.as_ref().map(|title| format!("{} / {}", title.fa, title.en));
    let parts: Vec<&str> = [&name, phone, email, url].into_iter().filter_map(Option::as_deref).collect();
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

fn assertion(config: &Config) -> String {
    let AssertionSettings { issuer, lifetime, key } = &config.assertion;
    let key = match key {
        None => "a key of its own".to_owned(),
        Some(SecretSource::File(file)) => place(file, config),
        Some(SecretSource::Value(_)) => "a key out of the environment".to_owned(),
    };
    format!("by `{issuer}` for {} with {key}", show_duration(*lifetime))
}

/// All but the limits. Of keys only how many there are: which they are is nobody's business.
fn sessions(sessions: &Sessions) -> String {
    let Sessions { store, keys, cookie, levels: _, per_subject, grace, logins } = sessions;
    let store = match store {
        SessionStore::Memory { max } => format!("in memory, {max} at most and {per_subject} of one subject"),
        SessionStore::Cookie { shared: None } => "sealed in cookies".to_owned(),
        SessionStore::Cookie { shared: Some(server) } => format!("sealed in cookies, and what ended in {}", server.url),
        SessionStore::Redis(server) => format!("sealed in {}, {per_subject} of one subject", server.url),
    };
    let keys = match keys.len() {
        0 => "a key of its own".to_owned(),
        1 => "1 key".to_owned(),
        count => format!("{count} keys"),
    };
    let (grace, per) = (show_duration(*grace), show_duration(logins.per));
    let logins = logins.requests;
    format!(
        "{store}, as `{cookie}` with {keys}, their streams for {grace} longer, {logins} logins of an address in {per}"
    )
}

fn session_levels(old: &Sessions, new: &Sessions, changes: &mut Vec<Change>) {
    for (level, (old, new)) in old.levels.iter().zip(&new.levels).enumerate() {
        let level = level + 1;
        let off = std::time::Duration::MAX;
        let limits = [
            ("after", old.absolute, new.absolute),
            ("without use after", old.idle.unwrap_or(off), new.idle.unwrap_or(off)),
        ];
        let shown = |time| if time == off { "never".to_owned() } else { show_duration(time) };
        for (how, from, to) in limits.into_iter().filter(|(_, from, to)| from != to) {
            let phrase = format!("level {level} of a session ends {how} {} instead of {}", shown(to), shown(from));
            let change = if to > from {
                Change::weaker(Kind::SessionsLonger, phrase)
            } else {
                Change::stronger(Kind::SessionsShorter, phrase)
            };
            changes.push(change.from(shown(from)).to(shown(to)));
        }
    }
}
