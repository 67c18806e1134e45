//! `routes`: each route by itself. What holds between routes is in `conflict` and `exposure`.

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;

use ahash::{AHashMap, AHashSet};
use http::Method;

use super::inherited::RouteDefaults;
use super::manner::TimeoutKeys;
use super::names::{self, Names};
use super::{
    Context, DAY, Field, MILLISECOND, Place, SECOND, Sections, Table, codes, cors, defaults, listener, manner, pattern,
};
use crate::config::model::{
    HostPattern, PathPattern, Priority, Rate, RateBy, Require, Rewrite, Route, Segment, Timeouts, Via,
};
use crate::config::read::shown;
use crate::words::{AgencyId, IssuerId, Level};

const KEYS: [&str; 11] =
    ["name", "agency", "match", "require", "rewrite", "limits", "priority", "timeouts", "retry", "listeners", "cors"];

pub const PRIORITIES: [(&str, Priority); 3] =
    [("low", Priority::Low), ("normal", Priority::Normal), ("high", Priority::High)];

/// A route with what the rules between routes need to know. Where a part was at fault it holds a stand-in: the config as a
/// whole is refused then.
pub struct ReadRoute {
    pub route: Route,
    /// Its place in the list of its file.
    pub index: usize,
    pub match_place: Place,
    /// `None`: at fault.
    pub level: Option<Level>,
    /// What it names, by number, and where. `None`: at fault.
    agency: Option<(u32, Place)>,
    timeouts: TimeoutKeys,
}

/// The routes that were read, file by file. Files are forgotten once they are read: an agency may be defined in a later one,
/// so the names of agencies are looked up at the end.
pub struct Routes {
    pub list: Vec<ReadRoute>,
    /// Whether any file had the key.
    pub are_given: bool,
    pub names: Names,
    agency_names: AHashMap<Box<str>, u32>,
    defaults: RouteDefaults,
    shared: Shared,
}

/// What many routes have alike is kept once: a hundred thousand of them must stay small.
#[derive(Default)]
struct Shared {
    hosts: AHashSet<Arc<[HostPattern]>>,
    methods: AHashSet<Arc<[Method]>>,
    requires: AHashSet<Arc<Require>>,
    rewrites: AHashSet<Arc<Rewrite>>,
    timeouts: AHashSet<Arc<Timeouts>>,
}

fn share<T: ?Sized + Eq + Hash, O: Borrow<T> + Into<Arc<T>>>(known: &mut AHashSet<Arc<T>>, value: O) -> Arc<T> {
    if let Some(known) = known.get(value.borrow()) {
        return known.clone();
    }
    let shared: Arc<T> = value.into();
    known.insert(shared.clone());
    shared
}

impl Routes {
    pub fn new(defaults: RouteDefaults) -> Routes {
        let names = Names::new("route", codes::UNKNOWN_ROUTE);
        let (agency_names, shared) = (AHashMap::new(), Shared::default());
        Routes { list: Vec::new(), are_given: false, names, agency_names, defaults, shared }
    }

    /// Reads those of one file.
    pub fn read(&mut self, file: &Table<'_>, sections: &mut Sections, cx: &mut Context<'_>) {
        let Some(field) = file.get("routes") else { return };
        self.are_given = true;
        let Some(items) = field.items(cx.faults) else { return };
        self.list.reserve(items.len());
        for (index, item) in items.enumerate() {
            let route = self.route(&item, index, sections, cx);
            self.list.extend(route);
        }
    }

    /// Gives each route its agency. `complete`: whether all agencies are known, so that one that is not does not exist.
    pub fn resolve_agencies(&mut self, sections: &mut Sections, complete: bool, cx: &mut Context<'_>) {
        let agencies = &mut sections.agencies;
        let mut names = vec![""; self.agency_names.len()];
        self.agency_names.iter().for_each(|(name, number)| names[*number as usize] = name);
        let found: Vec<Option<u32>> = names.iter().map(|name| agencies.names.find(name)).collect();
        for read in &mut self.list {
            let Some((number, place)) = read.agency else { continue };
            let id = found[number as usize];
            if id.is_none() && complete {
                let path = format!("routes[{}].agency", read.index);
                agencies.names.report_unknown(names[number as usize], place, path, cx.faults);
            }
            let agency = id.and_then(|id| agencies.list.get(id as usize)?.as_ref());
            read.route.agency = AgencyId(id.unwrap_or(u32::MAX));
            let timeouts = read.timeouts.over(agency.map_or(defaults::TIMEOUTS, |agency| agency.timeouts));
            read.route.timeouts = share(&mut self.shared.timeouts, timeouts);
        }
    }

    fn agency_number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.agency_names.get(name) {
            return *number;
        }
        let number = self.agency_names.len() as u32;
        self.agency_names.insert(name.into(), number);
        number
    }

    fn route(
        &mut self,
        field: &Field<'_>,
        index: usize,
        sections: &mut Sections,
        cx: &mut Context<'_>,
    ) -> Option<ReadRoute> {
        let table = field.table(cx.faults, &KEYS)?;
        let name = table.need(cx.faults, "name", "give the route a name: `name: city-news`").and_then(|f| {
            let name = names::read(&f, cx.faults)?;
            self.names.add(name, index, &f, cx.faults);
            Some(name)
        });
        let agency = table.need(cx.faults, "agency", "name the agency that answers: `agency: NAME`");
        let agency = agency.and_then(|f| Some((self.agency_number(f.text(cx.faults)?), f.place())));
        let inherited = &mut self.defaults;
        let remedy = "say what it matches: `match: { prefix: /… }`";
        let matched = table.need(cx.faults, "match", remedy).and_then(|f| pattern::read(&f, &inherited.hosts, cx));
        let remedy = "write `require: { level: 1 }` (to 3), or `require: { level: 0 }` to open the route to anyone";
        let require =
            table.need(cx.faults, "require", remedy).and_then(|f| require(&f, inherited.issuer, sections, cx));
        let path = matched.as_ref().and_then(|m| m.path.as_ref());
        let rewrite = table.get("rewrite").map_or_else(Rewrite::default, |f| rewrite(&f, path, cx));
        let level = require.as_ref().map(|r| r.level);
        let (body_limit, rate) = limits(&table, level, inherited, cx);
        let timeouts = table.get("timeouts").map(|f| manner::timeouts(&f, cx)).unwrap_or_default();
        let priority = table.get("priority").and_then(|f| f.word(cx.faults, &PRIORITIES)).unwrap_or_default();
        let retry = table.get("retry").is_none_or(|f| retry(&f, cx));
        let listeners = table.get("listeners").map(|f| listeners(&f, sections, cx));
        let listeners = listeners.unwrap_or_else(|| inherited.listeners.clone());
        let cors = table.get("cors").map_or_else(|| inherited.cors.clone(), |f| cors::read(&f, cx).map(Arc::new));
        let timeouts = timeouts.or(inherited.timeouts);
        let matched = matched?;
        let shared = &mut self.shared;
        let open = Require { level: Level::NONE, issuer: None, scopes: Vec::new(), max_age: None, via: Via::Token };
        let route = Route {
            at: cx.position(field.place()),
            name: Arc::from(name?),
            agency: AgencyId(u32::MAX),
            listeners,
            hosts: share(&mut shared.hosts, matched.hosts),
            path: matched.path?,
            methods: share(&mut shared.methods, matched.methods),
            require: share(&mut shared.requires, require.unwrap_or(open)),
            rewrite: share(&mut shared.rewrites, rewrite),
            body_limit,
            rate,
            priority,
            timeouts: share(&mut shared.timeouts, defaults::TIMEOUTS),
            retry,
            cors,
        };
        Some(ReadRoute { route, index, match_place: matched.place, level, agency, timeouts })
    }
}

/// `default_issuer`: what `defaults` names, `None` inside where that was at fault.
fn require(
    field: &Field<'_>,
    default_issuer: Option<Option<u32>>,
    sections: &mut Sections,
    cx: &mut Context<'_>,
) -> Option<Require> {
    let table = field.table(cx.faults, &["level", "issuer", "scopes", "max_age", "via"])?;
    let scopes = table.get("scopes").map_or_else(Vec::new, |f| scopes(&f, cx));
    let max_age = table.get("max_age").and_then(|f| f.duration(cx.faults, SECOND..=365 * DAY));
    let words = [Via::Token, Via::Session, Via::Either].map(|via| (via.as_str(), via));
    let via = table.get("via").and_then(|f| f.word(cx.faults, &words)).unwrap_or_default();
    let chosen = table.get("issuer").map(|f| sections.issuer_names.resolve(&f, cx.faults));
    let written =
        table.need(cx.faults, "level", "write `level: 1`, `2` or `3`, or `level: 0` to open the route to anyone")?;
    let level = written.count(cx.faults, 0..=3).and_then(|n| Level::new(n as u8))?;
    if level == Level::NONE {
        refuse_conditions(&table, &scopes, cx);
        return Some(Require { level, issuer: None, scopes, max_age, via: Via::Token });
    }
    let issuer = match chosen.or(default_issuer) {
        Some(resolved) => resolved,
        None => the_only_issuer(&written, sections, cx),
    };
    if let Some(id) = issuer {
        refuse_level_out_of_reach(&written, level, id, sections, cx);
        if let Some(field) = table.get("via").filter(|_| via.takes_sessions()) {
            refuse_without_client(&field, id, sections, cx);
        }
    }
    Some(Require { level, issuer: issuer.map(IssuerId), scopes, max_age, via })
}

/// A session begins with a login, and only a client of the SSO can ask for one.
fn refuse_without_client(via: &Field<'_>, issuer: u32, sections: &Sections, cx: &mut Context<'_>) {
    let Some(Some(issuer)) = sections.issuers.get(issuer as usize) else { return };
    if issuer.client.is_none() {
        let name = &issuer.name;
        let message = format!("nobody can log in: the gateway is no client of the issuer `{name}`");
        let remedy = format!("add `client` to `issuers.{name}`, or write `via: token`");
        via.fault(cx.faults, codes::NO_CLIENT, message, remedy);
    }
}

/// On level 0 nobody is identified: what asks for more would be silently ignored.
fn refuse_conditions(require: &Table<'_>, scopes: &[String], cx: &mut Context<'_>) {
    let scopes = require.get("scopes").filter(|_| !scopes.is_empty());
    let conditions = [("scopes", scopes), ("max_age", require.get("max_age")), ("issuer", require.get("issuer"))];
    let conditions = conditions.into_iter().chain([("via", require.get("via"))]);
    for (key, field) in conditions {
        if let Some(field) = field {
            let message = format!("level 0 is open to anyone, so `{key}` would never be checked");
            let remedy = format!("ask for level 1 or more, or remove `{key}`");
            field.fault(cx.faults, codes::OPEN_BUT_RESTRICTED, message, remedy);
        }
    }
}

fn the_only_issuer(level: &Field<'_>, sections: &mut Sections, cx: &mut Context<'_>) -> Option<u32> {
    let only = sections.issuer_names.only();
    if only.is_none() {
        let (message, remedy) = match sections.issuer_names.len() {
            0 => ("a level needs an issuer, and none is defined", "define one under `issuers`"),
            _ => ("several issuers are defined, and the route chooses none", "add `issuer: NAME` to `require`"),
        };
        level.fault(cx.faults, codes::NO_ISSUER, message, remedy);
    }
    only
}

fn refuse_level_out_of_reach(
    written: &Field<'_>,
    level: Level,
    issuer: u32,
    sections: &Sections,
    cx: &mut Context<'_>,
) {
    let Some(Some(issuer)) = sections.issuers.get(issuer as usize) else { return };
    // Without allocation: it is asked for every route.
    if issuer.levels.iter().any(|(_, l)| *l >= level && *l <= issuer.max_level) {
        return;
    }
    let name = &issuer.name;
    let (message, remedy) = if issuer.max_level < level {
        let message =
            format!("the issuer `{name}` can never give level {level}: its `max_level` is {}", issuer.max_level);
        (message, format!("lower the level, or raise `issuers.{name}.max_level`"))
    } else {
        let message = format!("the issuer `{name}` can never give level {level}: no claim value stands for it");
        (message, format!("lower the level, or add a value to `issuers.{name}.levels.values`"))
    };
    written.fault(cx.faults, codes::LEVEL_OUT_OF_REACH, message, remedy);
}

pub fn scopes(field: &Field<'_>, cx: &mut Context<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for item in field.items(cx.faults).into_iter().flatten() {
        let Some(text) = item.text(cx.faults) else { continue };
        // RFC 6749 §3.3: scope-token.
        if !text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
            let message = format!("`{}` is not a scope", shown(text));
            item.fault(cx.faults, codes::BAD_SCOPE, message, "write one scope an item, without spaces and quotes");
        }
        found.push(text.to_owned());
    }
    found
}

fn rewrite(field: &Field<'_>, path: Option<&PathPattern>, cx: &mut Context<'_>) -> Rewrite {
    let Some(table) = field.table(cx.faults, &["strip_prefix", "add_prefix"]) else { return Rewrite::default() };
    let some = |path: String| Some(path).filter(|p| !p.is_empty());
    let strip = table.get("strip_prefix");
    let strip_prefix = strip.and_then(|f| pattern::literal(&f, cx)).and_then(some);
    if let (Some(field), Some(prefix), Some(path)) = (strip, &strip_prefix, path)
        && !begins_with(path, prefix)
    {
        let message = format!("`{}` does not begin the paths of this route", shown(prefix));
        field.fault(cx.faults, codes::BAD_STRIP, message, "strip whole literal segments that `match` begins with");
    }
    Rewrite { strip_prefix, add_prefix: table.get("add_prefix").and_then(|f| pattern::literal(&f, cx)).and_then(some) }
}

fn begins_with(path: &PathPattern, prefix: &str) -> bool {
    let (PathPattern::Exact(segments) | PathPattern::Prefix(segments)) = path;
    let wanted = prefix.split('/').skip(1);
    let mut have = segments.iter();
    wanted.into_iter().all(|part| matches!(have.next(), Some(Segment::Literal(text)) if text == part))
}

fn limits(
    route: &Table<'_>,
    level: Option<Level>,
    inherited: &mut RouteDefaults,
    cx: &mut Context<'_>,
) -> (Option<u64>, Option<Rate>) {
    let field = route.get("limits");
    let table = field.as_ref().and_then(|field| field.table(cx.faults, &["body", "rate"]));
    let written = |key| table.as_ref().and_then(|table| table.get(key));
    let body = written("body").map_or(inherited.body, |f| body(&f, cx));
    let rate = match (written("rate"), &mut inherited.rate) {
        (Some(field), _) if field.is_off() => None,
        (Some(field), _) => rate(&field, level, cx),
        (None, Some(default)) if level == Some(Level::NONE) => Some(default.on_open_route(route.place(), cx)),
        (None, default) => default.as_ref().map(|default| default.rate),
    };
    (body, rate)
}

pub fn body(field: &Field<'_>, cx: &mut Context<'_>) -> Option<u64> {
    field.size(cx.faults, 1..=listener::BODY_MAX)
}

/// `level`: of the route, where there is one.
pub fn rate(field: &Field<'_>, level: Option<Level>, cx: &mut Context<'_>) -> Option<Rate> {
    let words = [
        ("subject", RateBy::Subject),
        ("client", RateBy::Client),
        ("address", RateBy::Address),
        ("route", RateBy::Route),
    ];
    let table = field.table(cx.faults, &["requests", "per", "by"])?;
    let remedy = "write `rate: { requests: 5, per: 1m, by: subject }`";
    let requests = table.need(cx.faults, "requests", remedy).and_then(|f| f.count(cx.faults, 1..=1_000_000_000));
    let per = table.need(cx.faults, "per", remedy).and_then(|f| f.duration(cx.faults, MILLISECOND..=30 * DAY));
    let by_field = table.need(cx.faults, "by", remedy)?;
    let by = by_field.word(cx.faults, &words)?;
    if level == Some(Level::NONE) && matches!(by, RateBy::Subject | RateBy::Client) {
        let message = "level 0 is open to anyone, so there is no subject and no client to count";
        by_field.fault(cx.faults, codes::OPEN_BUT_RESTRICTED, message, "count by `address` or by `route`");
    }
    Some(Rate { requests: u32::try_from(requests?).unwrap_or(u32::MAX), per: per?, by })
}

/// `retry: off` is all a route may say: how often is the agency's to decide.
fn retry(field: &Field<'_>, cx: &mut Context<'_>) -> bool {
    !field.is_off() && field.word(cx.faults, &[("off", false)]).unwrap_or(true)
}

pub fn listeners(field: &Field<'_>, sections: &mut Sections, cx: &mut Context<'_>) -> Option<Vec<Arc<str>>> {
    let items: Vec<_> = field.items(cx.faults)?.collect();
    if items.is_empty() {
        let message = "the route is on no listener, so no request meets it";
        field.fault(cx.faults, codes::UNREACHABLE, message, "name a listener, or leave `listeners` out for all");
    }
    let mut found: Vec<Arc<str>> = Vec::new();
    for item in &items {
        if sections.listeners.names.resolve(item, cx.faults).is_some() {
            let name: Arc<str> = Arc::from(item.text(cx.faults)?);
            if !found.contains(&name) {
                found.push(name);
            }
        }
    }
    Some(found)
}
