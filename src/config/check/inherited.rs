//! `defaults`: what agencies and routes need not say one by one. Read once, so that what is wrong here is told once and here.
//!
//! What guards a route (`level`, `scopes`, `max_age`) has no default: whoever reads a route must see what it asks for.

use std::sync::Arc;

use super::manner::{self, Manner, Of, TimeoutKeys};
use super::{Context, Field, Place, Sections, Table, codes, cors, pattern, route};
use crate::config::model::{Cors, HostPattern, Rate, RateBy};

/// What routes inherit.
#[derive(Default)]
pub struct RouteDefaults {
    pub listeners: Option<Vec<Arc<str>>>,
    pub hosts: Vec<HostPattern>,
    pub body: Option<u64>,
    pub rate: Option<DefaultRate>,
    pub timeouts: TimeoutKeys,
    pub cors: Option<Arc<Cors>>,
    /// The inner is `None` where it was at fault.
    pub issuer: Option<Option<u32>>,
}

/// A rate for every route that has none of its own.
pub struct DefaultRate {
    pub rate: Rate,
    place: Place,
    /// Whether it was told that it cannot apply to some route.
    is_refused: bool,
}

impl DefaultRate {
    /// The rate for a route that is open to anyone, where nobody can be counted by name: a fault, told once.
    pub fn on_open_route(&mut self, route: Place, cx: &mut Context<'_>) -> Rate {
        if matches!(self.rate.by, RateBy::Subject | RateBy::Client) && !self.is_refused {
            self.is_refused = true;
            let message = "this rate cannot apply to routes of level 0: they have no subject and no client to count";
            let remedy = "count by `address` or `route`, or give those routes a `rate` of their own, or `rate: off`";
            let path = "defaults.routes.limits.rate".to_owned();
            let fault =
                cx.faults.add(codes::OPEN_BUT_RESTRICTED, self.place, path, message.to_owned(), remedy.to_owned());
            fault.see(route, "this route is of level 0");
        }
        self.rate
    }
}

/// The table `defaults` of the config file.
pub fn table<'t>(top: &'t Table<'_>, cx: &mut Context<'_>) -> Option<Table<'t>> {
    top.get("defaults")?.table(cx.faults, &["agencies", "routes"])
}

pub fn agencies(defaults: Option<&Table<'_>>, cx: &mut Context<'_>) -> Manner {
    let field = defaults.and_then(|table| table.get("agencies"));
    let table = field.as_ref().and_then(|field| field.table(cx.faults, &manner::KEYS));
    table.map_or(Manner::BUILT_IN, |table| manner::read(&table, &Manner::BUILT_IN, Of::Defaults, cx))
}

/// `top_cors`: what `cors` at the top level says, with its place.
pub fn routes(
    defaults: Option<&Table<'_>>,
    top_cors: Option<(Place, Option<Cors>)>,
    sections: &mut Sections,
    cx: &mut Context<'_>,
) -> RouteDefaults {
    let (cors_place, top_cors) = top_cors.unzip();
    let mut read = RouteDefaults { cors: top_cors.flatten().map(Arc::new), ..RouteDefaults::default() };
    let known = ["match", "require", "limits", "timeouts", "listeners", "cors"];
    let Some(field) = defaults.and_then(|table| table.get("routes")) else { return read };
    let Some(table) = field.table(cx.faults, &known) else { return read };
    read.hosts = inner(&table, "match", "hosts", cx, |f, cx| pattern::hosts(&f, cx)).unwrap_or_default();
    read.issuer = inner(&table, "require", "issuer", cx, |f, cx| sections.issuer_names.resolve(&f, cx.faults));
    if let Some(limits) = table.get("limits").and_then(|f| f.table(cx.faults, &["body", "rate"])) {
        read.body = limits.get("body").and_then(|f| route::body(&f, cx));
        let rate =
            limits.get("rate").filter(|f| !f.is_off()).and_then(|f| Some((f.place(), route::rate(&f, None, cx)?)));
        read.rate = rate.map(|(place, rate)| DefaultRate { rate, place, is_refused: false });
    }
    read.timeouts = table.get("timeouts").map(|f| manner::timeouts(&f, cx)).unwrap_or_default();
    read.listeners = table.get("listeners").and_then(|f| route::listeners(&f, sections, cx));
    if let Some(field) = table.get("cors") {
        if let Some(other) = cors_place {
            let message = "`cors` for all routes is given at the top level as well";
            field.fault(cx.faults, codes::TWO_DEFAULTS, message, "keep one of the two").see(other, "first given here");
        }
        read.cors = cors::read(&field, cx).map(Arc::new);
    }
    read
}

/// The value of `outer.key`, where `outer` has no other key.
fn inner<T>(
    table: &Table<'_>,
    outer: &'static str,
    key: &'static str,
    cx: &mut Context<'_>,
    read: impl FnOnce(Field<'_>, &mut Context<'_>) -> T,
) -> Option<T> {
    let outer = table.get(outer)?;
    let outer = outer.table(cx.faults, &[key])?;
    let field = outer.get(key)?;
    Some(read(field, cx))
}
