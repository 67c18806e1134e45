//! What changes for the callers of routes.
//!
//! A route is compared with its successor (`pairs`), and a route that takes requests of another with that one (`takeover`),
//! by the same questions: what must a caller show, who else hears of it, how much may be sent.

use super::change::{Change, Kind};
use super::facets::{Side, facets};
use super::pairs::{Pairs, methods, shape};
use super::takeover::{Takeovers, same_match};
use crate::cli::written;
use crate::config::Config;
use crate::config::model::{HostPattern, Route, Timeouts};
use crate::config::units::show_duration;
use crate::words::RouteId;

pub fn compare(old: &Config, new: &Config, pairs: &Pairs, takeovers: &Takeovers, changes: &mut Vec<Change>) {
    for (before, after) in pairs.routes.both() {
        let sides = (Side::new(old, before), Side::new(new, after));
        pair(sides.0, sides.1, pairs, takeovers, RouteId(before as u32), changes);
    }
    for place in pairs.routes.added() {
        changes.push(added(Side::new(new, place)));
    }
    for place in pairs.routes.removed() {
        changes.push(removed(Side::new(old, place), takeovers, RouteId(place as u32)));
    }
    for (before, after, example) in &takeovers.taken {
        let (before, after) = (Side::new(old, before.0 as usize), Side::new(new, after.0 as usize));
        let (from, to) = (&before.route.name, &after.route.name);
        let taken = Change::neutral(Kind::PathsTakenOver, format!("meets `{to}` instead of `{from}`"));
        let taken = taken.from(&**from).to(&**to).about(example.to_string());
        let place = |change: Change| change.on(to, &after.agency().name).at(&after.route.at);
        changes.push(place(taken));
        let about = format!("{example}, now of `{to}` instead of `{from}`");
        let mut found = facets(before, after, pairs);
        found.extend(moved(before, after));
        changes.extend(found.into_iter().map(|change| place(change).about(about.clone())));
    }
    if takeovers.unexamined {
        let phrase = "so many cross that not all could be examined; requests may meet a weaker route than before";
        changes.push(Change::weaker(Kind::OverlapUnexamined, phrase).about("patterns with parameters or wide hosts"));
    }
}

fn pair(old: Side<'_>, new: Side<'_>, pairs: &Pairs, takeovers: &Takeovers, id: RouteId, changes: &mut Vec<Change>) {
    let first = changes.len();
    let (before, after) = (old.route, new.route);
    if before.name != after.name {
        let renamed = Change::neutral(Kind::RouteRenamed, format!("was called `{}`", before.name));
        changes.push(renamed.from(&*before.name).to(&*after.name));
    }
    changes.extend(moved(old, new));
    if !same_match(before, after) {
        matched(old, new, takeovers, id, changes);
    }
    changes.extend(facets(old, new, pairs));
    rest(old, new, changes);
    let about = || format!("route `{}`", after.name);
    for change in &mut changes[first..] {
        change.about = about();
        change.route = Some(after.name.clone());
        change.agency = Some(new.agency().name.clone());
        change.at = Some(after.at.clone());
    }
}

fn added(side: Side<'_>) -> Change {
    let Side { route, .. } = side;
    let agency = &side.agency().name;
    let phrase = format!("appears: {}, level {}, answered by `{agency}`", pattern(route), route.require.level);
    Change::neutral(Kind::RouteAdded, phrase)
        .to(pattern(route))
        .about(format!("route `{}`", route.name))
        .on(&route.name, agency)
        .at(&route.at)
}

fn removed(side: Side<'_>, takeovers: &Takeovers, id: RouteId) -> Change {
    let Side { route, .. } = side;
    let change = match takeovers.refused.get(&id) {
        Some(example) => Change::refusing(Kind::RouteRemoved, format!("vanishes; nothing answers {example}")),
        None => Change::neutral(Kind::RouteRemoved, "vanishes; other routes answer its requests"),
    };
    change
        .from(pattern(route))
        .about(format!("route `{}`", route.name))
        .on(&route.name, &side.agency().name)
        .at(&route.at)
}

/// `GET,PUT api.example.ir/insurance/**`
fn pattern(route: &Route) -> String {
    format!("{} {}{}", written::methods(route), written::hosts(route), written::path(&route.path))
}

fn moved(old: Side<'_>, new: Side<'_>) -> Option<Change> {
    let (from, to) = (&old.agency().name, &new.agency().name);
    let phrase = || format!("moves from agency `{from}` to `{to}`");
    (from != to).then(|| Change::neutral(Kind::RouteMoved, phrase()).from(&**from).to(&**to))
}

/// What of the pattern changed. Something taken away refuses callers only when no other route answers them.
fn matched(old: Side<'_>, new: Side<'_>, takeovers: &Takeovers, id: RouteId, changes: &mut Vec<Change>) {
    let refused = takeovers.refused.get(&id);
    let narrowed = |kind, phrase: String| match refused {
        Some(example) => Change::refusing(kind, format!("{phrase}; nothing answers {example}")),
        None => Change::neutral(kind, phrase),
    };
    let (before, after) = (old.route, new.route);
    let (from, to) = (hosts(before), hosts(after));
    if let Some(lost) = lacking(&from, &to) {
        let change = narrowed(Kind::HostRemoved, format!("is no longer for {lost}"));
        changes.push(change.from(all(&from)).to(all(&to)));
    }
    if let Some(won) = lacking(&to, &from) {
        let change = Change::neutral(Kind::HostAdded, format!("is for {won} too"));
        changes.push(change.from(all(&from)).to(all(&to)));
    }
    let (from, to) = (Vec::from_iter(methods(before)), Vec::from_iter(methods(after)));
    if let Some(lost) = lacking(&from, &to) {
        let change = narrowed(Kind::MethodRemoved, format!("no longer takes {lost}"));
        changes.push(change.from(all(&from)).to(all(&to)));
    }
    if let Some(won) = lacking(&to, &from) {
        let change = Change::neutral(Kind::MethodAdded, format!("takes {won} too"));
        changes.push(change.from(all(&from)).to(all(&to)));
    }
    if shape(&before.path) != shape(&after.path) {
        let (from, to) = (written::path(&before.path), written::path(&after.path));
        let change = narrowed(Kind::PathChanged, format!("is for {to} instead of {from}"));
        changes.push(change.from(from).to(to));
    }
    listeners(old, new, changes);
}

fn hosts(route: &Route) -> Vec<String> {
    let written = |host: &HostPattern| crate::admin::config_view::host(host);
    let mut hosts: Vec<String> = route.hosts.iter().map(written).collect();
    hosts.sort_unstable();
    hosts
}

/// Those of `here` that are not `there`; an empty list is any.
fn lacking<T: PartialEq + AsRef<str>>(here: &[T], there: &[T]) -> Option<String> {
    match (here, there) {
        (_, []) => None,
        ([], _) => Some("any other".to_owned()),
        _ => {
            let lacking: Vec<&str> = here.iter().filter(|t| !there.contains(t)).map(AsRef::as_ref).collect();
            (!lacking.is_empty()).then(|| lacking.join(", "))
        }
    }
}

fn all<T: AsRef<str>>(set: &[T]) -> String {
    if set.is_empty() { "any".to_owned() } else { set.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ") }
}

/// A listener may ask for client certificates, or be within reach of others: coming to one opens the route.
fn listeners(old: Side<'_>, new: Side<'_>, changes: &mut Vec<Change>) {
    let there = |side: Side<'_>, name: &str| side.config.listeners.iter().any(|l| *l.name == *name);
    let on = |side: Side<'_>, other: Side<'_>| -> Vec<String> {
        let names = side.config.listeners.iter().map(|l| &l.name);
        let on = names.filter(|name| side.route.listeners.as_ref().is_none_or(|list| list.contains(name)));
        on.filter(|name| there(other, name)).map(|name| name.to_string()).collect()
    };
    let (before, after) = (on(old, new), on(new, old));
    let missing = |here: &[String], there: &[String]| -> Vec<String> {
        here.iter().filter(|name| !there.contains(name)).cloned().collect()
    };
    let (opened, closed) = (missing(&after, &before), missing(&before, &after));
    let (from, to) = (before.join(", "), after.join(", "));
    if !opened.is_empty() {
        let phrase = format!("is on listener {} too", opened.join(", "));
        changes.push(Change::weaker(Kind::ListenerOpened, phrase).from(&*from).to(&*to));
    }
    if !closed.is_empty() {
        let phrase = format!("is no longer on listener {}", closed.join(", "));
        changes.push(Change::refusing(Kind::ListenerClosed, phrase).from(from).to(to));
    }
}

/// What matters between a route and its successor only.
fn rest(old: Side<'_>, new: Side<'_>, changes: &mut Vec<Change>) {
    let (before, after) = (old.route, new.route);
    if before.rewrite != after.rewrite {
        let written = |route: &Route| {
            let strip = route.rewrite.strip_prefix.as_deref().unwrap_or_default();
            let add = route.rewrite.add_prefix.as_deref().unwrap_or_default();
            format!("strip `{}`, add `{}`", written::readable(strip), written::readable(add))
        };
        let change = Change::neutral(Kind::RewriteChanged, "the agency sees other paths");
        changes.push(change.from(written(before)).to(written(after)));
    }
    // Inherited ones are told of at the agency.
    let inherited = |side: Side<'_>| *side.route.timeouts == side.agency().timeouts;
    if before.timeouts != after.timeouts && !(inherited(old) && inherited(new)) {
        changes.push(timeouts(&before.timeouts, &after.timeouts));
    }
    if before.priority != after.priority {
        let word = |p| ["low", "normal", "high"][p as usize];
        let (from, to) = (word(before.priority), word(after.priority));
        let phrase = format!("has priority {to} instead of {from} when there is too much to bear");
        changes.push(Change::neutral(Kind::PriorityChanged, phrase).from(from).to(to));
    }
    if before.retry != after.retry {
        let words = |retry| if retry { "the agency's" } else { "off" };
        let phrase = if after.retry { "may be tried again" } else { "is never tried again" };
        changes.push(Change::neutral(Kind::RetryChanged, phrase).from(words(before.retry)).to(words(after.retry)));
    }
    let cors_age = |route: &Route| route.cors.as_ref().map(|cors| cors.max_age);
    if let (Some(from), Some(to)) = (cors_age(before), cors_age(after))
        && from != to
    {
        let (from, to) = (show_duration(from), show_duration(to));
        let phrase = format!("browsers keep a preflight's answer for {to} instead of {from}");
        changes.push(Change::neutral(Kind::CorsChanged, phrase).from(from).to(to));
    }
}

pub fn timeouts(old: &Timeouts, new: &Timeouts) -> Change {
    let (from, to) = (written::timeouts(old, new), written::timeouts(new, old));
    Change::neutral(Kind::TimeoutChanged, format!("time limits become {to} instead of {from}")).from(from).to(to)
}
