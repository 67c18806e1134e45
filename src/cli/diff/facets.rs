//! What a route asks of a caller and gives away about it, compared side by side.
//!
//! `routes` asks it of a route and its successor, and of two routes one of which takes requests of the other: so a weakening is
//! told in the same words however it comes about. Which route it is about is added there.

use std::time::Duration;

use super::change::{Change, Kind};
use super::pairs::Pairs;
use crate::cli::written;
use crate::config::Config;
use crate::config::model::{Agency, Cors, IdentityKind, Rate, RateBy, Route, Via};
use crate::config::units::{show_duration, show_size};
use crate::words::Level;

/// A route in its file.
#[derive(Clone, Copy)]
pub struct Side<'c> {
    pub config: &'c Config,
    pub route: &'c Route,
}

impl<'c> Side<'c> {
    pub fn new(config: &'c Config, place: usize) -> Side<'c> {
        Side { config, route: &config.routes[place] }
    }

    pub fn agency(self) -> &'c Agency {
        &self.config.agencies[self.route.agency.0 as usize]
    }

    fn body_limit(self) -> u64 {
        let inherited = || self.config.listeners.iter().map(|l| l.limits.body).max().unwrap_or_default();
        self.route.body_limit.unwrap_or_else(inherited)
    }
}

/// Every difference in what is asked, given away or allowed.
pub fn facets(old: Side<'_>, new: Side<'_>, pairs: &Pairs) -> Vec<Change> {
    let mut changes = Vec::new();
    requirement(old, new, pairs, &mut changes);
    identity(old, new, &mut changes);
    rate(old.route.rate, new.route.rate, &mut changes);
    body(old, new, &mut changes);
    if old.route.cors != new.route.cors {
        cors(old.route, new.route, &mut changes);
    }
    changes
}

fn requirement(old: Side<'_>, new: Side<'_>, pairs: &Pairs, changes: &mut Vec<Change>) {
    let (before, after) = (&old.route.require, &new.route.require);
    let (from, to) = (before.level, after.level);
    let change = match from.cmp(&to) {
        std::cmp::Ordering::Greater if to == Level::NONE => {
            Some(Change::weaker(Kind::LevelLowered, format!("level {from} becomes 0: open to anyone")))
        }
        std::cmp::Ordering::Greater => Some(Change::weaker(Kind::LevelLowered, format!("level {from} becomes {to}"))),
        std::cmp::Ordering::Less => Some(Change::refusing(Kind::LevelRaised, format!("level {from} becomes {to}"))),
        std::cmp::Ordering::Equal => None,
    };
    changes.extend(change.map(|change| change.from(from.to_string()).to(to.to_string())));
    // On level 0 nobody is identified, and the level says it all.
    if from == Level::NONE || to == Level::NONE {
        return;
    }
    issuer(old, new, pairs, changes);
    way_in(before.via, after.via, changes);
    scopes(&before.scopes, &after.scopes, changes);
    max_age(before.max_age, after.max_age, changes);
}

fn issuer(old: Side<'_>, new: Side<'_>, pairs: &Pairs, changes: &mut Vec<Change>) {
    let place = |side: Side<'_>| side.route.require.issuer.map(|id| id.0 as usize);
    let (Some(before), Some(after)) = (place(old), place(new)) else { return };
    if pairs.issuers.new_of[before] != Some(after) {
        let (from, to) = (&old.config.issuers[before].name, &new.config.issuers[after].name);
        let phrase = format!("`{to}` vouches for callers instead of `{from}`");
        let mut change = Change::weaker(Kind::IssuerChanged, phrase).from(&**from).to(&**to);
        change.refuses = true;
        changes.push(change);
    }
}

/// Tokens and sessions are two doors: one more is one more to guard.
fn way_in(old: Via, new: Via, changes: &mut Vec<Change>) {
    let doors = |via: Via| [("tokens", via != Via::Session), ("sessions", via.takes_sessions())];
    for ((door, was), (_, is)) in doors(old).into_iter().zip(doors(new)) {
        let change = match (was, is) {
            (false, true) => Change::weaker(Kind::WayInOpened, format!("takes {door} too")),
            (true, false) => Change::refusing(Kind::WayInClosed, format!("no longer takes {door}")),
            _ => continue,
        };
        changes.push(change.from(old.as_str()).to(new.as_str()));
    }
}

fn scopes(old: &[String], new: &[String], changes: &mut Vec<Change>) {
    let missing = |here: &[String], there: &[String]| -> Vec<String> {
        here.iter().filter(|scope| !there.contains(scope)).cloned().collect()
    };
    let (dropped, added) = (missing(old, new), missing(new, old));
    let (from, to) = (old.join(" "), new.join(" "));
    if !dropped.is_empty() {
        let phrase = format!("no longer asks for scope {}", dropped.join(" "));
        changes.push(Change::weaker(Kind::ScopeRemoved, phrase).from(&*from).to(&*to));
    }
    if !added.is_empty() {
        let phrase = format!("asks for scope {} too", added.join(" "));
        changes.push(Change::refusing(Kind::ScopeAdded, phrase).from(from).to(to));
    }
}

fn max_age(old: Option<Duration>, new: Option<Duration>, changes: &mut Vec<Change>) {
    if old == new {
        return;
    }
    let shown = |age: Option<Duration>| age.map_or_else(|| "no limit".to_owned(), show_duration);
    let (from, to) = (shown(old), shown(new));
    // No limit is the longest.
    let weaker = new.unwrap_or(Duration::MAX) > old.unwrap_or(Duration::MAX);
    let change = if weaker {
        let phrase = match new {
            Some(_) => format!("a login may be {to} old instead of {from}"),
            None => format!("a login may be of any age instead of {from}"),
        };
        Change::weaker(Kind::MaxAgeRaised, phrase)
    } else {
        Change::refusing(Kind::MaxAgeLowered, format!("a login must not be older than {to} (was: {from})"))
    };
    changes.push(change.from(from).to(to));
}

/// A route that moves takes its callers' identity along. What changes at one agency is told there.
fn identity(old: Side<'_>, new: Side<'_>, changes: &mut Vec<Change>) {
    let (before, after) = (old.agency(), new.agency());
    if before.name == after.name || new.route.require.level == Level::NONE {
        return;
    }
    let ((old_rank, from), (new_rank, to)) = (rank(before.identity), rank(after.identity));
    if new_rank > old_rank {
        let phrase = format!("tells the agency more of callers: {to} instead of {from}");
        changes.push(Change::weaker(Kind::IdentityReleased, phrase).from(from).to(to));
    } else if new_rank < old_rank {
        let phrase = format!("tells the agency less of callers: {to} instead of {from}");
        changes.push(Change::stronger(Kind::IdentityWithheld, phrase).from(from).to(to));
    }
}

/// How much a way of telling an agency of a caller gives away, and its word in the file. `headers` is not signed, and `token`
/// holds every claim of the caller and lets the agency act in the caller's name.
pub fn rank(identity: IdentityKind) -> (u8, &'static str) {
    match identity {
        IdentityKind::None => (0, "none"),
        IdentityKind::Assertion => (1, "assertion"),
        IdentityKind::Headers => (2, "headers"),
        IdentityKind::Token => (3, "token"),
    }
}

fn rate(old: Option<Rate>, new: Option<Rate>, changes: &mut Vec<Change>) {
    if old == new {
        return;
    }
    let shown = |rate: Option<Rate>| rate.map_or_else(|| "no limit".to_owned(), |rate| written::rate(&rate));
    let (from, to) = (shown(old), shown(new));
    let phrase = format!("the rate becomes {to} instead of {from}");
    let change = match (old, new) {
        (Some(old), Some(new)) if is_tighter(&old, &new) => Change::refusing(Kind::RateTightened, phrase),
        (None, Some(_)) => Change::refusing(Kind::RateTightened, phrase),
        _ => Change::weaker(Kind::RateLoosened, phrase),
    };
    changes.push(change.from(from).to(to));
}

/// Whether `new` lets nobody do more than `old`, neither at once nor in the long run. What cannot be compared is not tighter.
fn is_tighter(old: &Rate, new: &Rate) -> bool {
    let comparable = old.by == new.by || new.by == RateBy::Route;
    let speed = |of: &Rate, other: &Rate| u128::from(of.requests) * other.per.as_nanos();
    comparable && new.requests <= old.requests && speed(new, old) <= speed(old, new)
}

fn body(old: Side<'_>, new: Side<'_>, changes: &mut Vec<Change>) {
    // Inherited limits are told of at the listener.
    if old.route.body_limit.is_none() && new.route.body_limit.is_none() {
        return;
    }
    let (before, after) = (old.body_limit(), new.body_limit());
    if before == after {
        return;
    }
    let (from, to) = (show_size(before), show_size(after));
    let phrase = format!("a body may have {to} instead of {from}");
    let change = if after < before {
        Change::refusing(Kind::BodyLimitLowered, phrase)
    } else {
        Change::neutral(Kind::BodyLimitRaised, phrase)
    };
    changes.push(change.from(from).to(to));
}

fn cors(old: &Route, new: &Route, changes: &mut Vec<Change>) {
    let origins = |route: &Route| route.cors.as_ref().map(|cors| cors.origins.clone()).unwrap_or_default();
    cors_aspect("origins", &origins(old), &origins(new), changes);
    // Who comes or goes altogether brings or takes the rest along.
    let (Some(before), Some(after)) = (&old.cors, &new.cors) else { return };
    cors_aspect("methods", &cors_methods(before, old), &cors_methods(after, new), changes);
    cors_aspect("request headers", &before.headers, &after.headers, changes);
    cors_aspect("answer headers", &before.expose, &after.expose, changes);
    let credentials = |cors: &Cors| Vec::from_iter(cors.credentials.then(|| "allowed".to_owned()));
    cors_aspect("credentials", &credentials(before), &credentials(after), changes);
}

/// Without a list, the route's own.
fn cors_methods(cors: &Cors, route: &Route) -> Vec<String> {
    let list = if cors.methods.is_empty() { &*route.methods } else { &cors.methods };
    if list.is_empty() { vec!["any".to_owned()] } else { list.iter().map(ToString::to_string).collect() }
}

fn cors_aspect(name: &str, old: &[String], new: &[String], changes: &mut Vec<Change>) {
    let missing = |here: &[String], there: &[String]| here.iter().any(|item| !there.contains(item));
    let shown = |list: &[String]| if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    let (from, to) = (shown(old), shown(new));
    let phrase = format!("CORS {name} become {to} instead of {from}");
    if missing(new, old) {
        changes.push(Change::weaker(Kind::CorsOpened, &*phrase).from(&*from).to(&*to));
    }
    if missing(old, new) {
        changes.push(Change::refusing(Kind::CorsClosed, phrase).from(from).to(to));
    }
}
