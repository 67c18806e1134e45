//! `expect`: cases that the routes must decide as they say. Read here; `live::expect` judges them.

use std::sync::Arc;
use std::time::Duration;

use super::route::Routes;
use super::{Context, DAY, Field, Place, Sections, Table, codes};
use crate::config::model::{Expectation, Expected, SupposedCaller};
use crate::config::written::Written;
use crate::words::{Code, Level};

const KEYS: [&str; 7] = ["name", "request", "listener", "level", "scopes", "age", "then"];
const ERRORS: [&str; 4] =
    ["invalid_request", "invalid_token", "insufficient_user_authentication", "insufficient_scope"];
/// What `then.route` is called where no route is to be met.
const NONE: &str = "none";

/// The cases of all files.
#[derive(Default)]
pub struct Expectations {
    pub list: Vec<Expectation>,
    /// What `then.route` names, with place and path: it may stand in a file that is read later.
    routes: Vec<(String, Place, String)>,
}

impl Expectations {
    /// Reads those of one file.
    pub fn read(&mut self, file: &Table<'_>, sections: &mut Sections, cx: &mut Context<'_>) {
        let Some(field) = file.get("expect") else { return };
        for item in field.items(cx.faults).into_iter().flatten() {
            let case = case(&item, &mut self.routes, sections, cx);
            self.list.extend(case);
        }
    }

    /// To be called when all routes are known.
    pub fn refuse_unknown_routes(&self, routes: &mut Routes, cx: &mut Context<'_>) {
        for (name, place, path) in &self.routes {
            if routes.names.find(name).is_none() {
                routes.names.report_unknown(name, *place, path.clone(), cx.faults);
            }
        }
    }
}

fn case(
    field: &Field<'_>,
    routes: &mut Vec<(String, Place, String)>,
    sections: &mut Sections,
    cx: &mut Context<'_>,
) -> Option<Expectation> {
    let table = field.table(cx.faults, &KEYS)?;
    let name = table.get("name").and_then(|f| f.text(cx.faults)).map(str::to_owned);
    let remedy = "write the request: `request: GET https://api.example.ir/insurance/x`";
    let request = table.need(cx.faults, "request", remedy).and_then(|f| request(&f, cx));
    let listener = table.get("listener").map(|f| {
        sections.listeners.names.resolve(&f, cx.faults)?;
        f.text(cx.faults).map(Arc::from)
    });
    let caller = caller(&table, cx);
    let remedy = "say what is to happen: `then: { route: NAME, answer: 200 }`";
    let then = table.need(cx.faults, "then", remedy).and_then(|f| expected(&f, routes, cx));
    let listener = match listener {
        Some(None) => return None,
        written => written.flatten(),
    };
    let (at, path) = (cx.position(field.place()), field.path());
    Some(Expectation { at, path, name, request: request?, listener, caller: caller?, then: then? })
}

fn request(field: &Field<'_>, cx: &mut Context<'_>) -> Option<Written> {
    let text = field.text(cx.faults)?;
    let written = match text.trim().split_once(' ') {
        Some((method, url)) => Written::parse(method, url.trim()),
        None => Err("it is not a method and a URL"),
    };
    if let Err(why) = written {
        let remedy = "write a method and a whole URL: `GET https://api.example.ir/insurance/x`";
        field.fault(cx.faults, codes::BAD_REQUEST, format!("this is not a request: {why}"), remedy);
    }
    written.ok()
}

/// The outer `None`: at fault.
fn caller(table: &Table<'_>, cx: &mut Context<'_>) -> Option<Option<SupposedCaller>> {
    let level = table.get("level").map(|f| f.count(cx.faults, 0..=3).and_then(|n| Level::new(n as u8)));
    let scopes = table.get("scopes").map(|f| {
        let items = f.items(cx.faults)?.collect::<Vec<_>>();
        items.iter().map(|item| item.text(cx.faults).map(str::to_owned)).collect::<Option<Vec<_>>>()
    });
    let age = table.get("age").map(|f| f.duration(cx.faults, Duration::ZERO..=365 * DAY));
    let Some(level) = level else {
        for key in ["scopes", "age"] {
            if let Some(field) = table.get(key) {
                let message = format!("without `level` nobody has a token, so `{key}` means nothing");
                field.fault(cx.faults, codes::MISSING_KEY, message, "add `level: 0` to `3`");
            }
        }
        return Some(None);
    };
    let scopes = scopes.unwrap_or_else(|| Some(Vec::new()))?;
    let age = age.unwrap_or(Some(Duration::ZERO))?;
    Some(Some(SupposedCaller { level: level?, scopes, age }))
}

fn expected(field: &Field<'_>, routes: &mut Vec<(String, Place, String)>, cx: &mut Context<'_>) -> Option<Expected> {
    let table = field.table(cx.faults, &["route", "answer", "error", "code"])?;
    if ["route", "answer", "error", "code"].iter().all(|key| table.key_place(key).is_none()) {
        let remedy = "give at least one of `route`, `answer`, `error`, `code`";
        table.fault(cx.faults, codes::EMPTY, "nothing is expected", remedy);
        return None;
    }
    let mut codes_by_name: Vec<_> = Code::ALL.iter().map(|code| (code.as_str(), code.as_str())).collect();
    codes_by_name.dedup();
    let errors = ERRORS.map(|error| (error, error));
    let route = table.get("route").map(|f| {
        let name = f.text(cx.faults)?.to_owned();
        if name != NONE {
            routes.push((name.clone(), f.place(), f.path()));
        }
        Some((name, cx.position(f.place())))
    });
    let answer = table.get("answer").map(|f| {
        let status = f.count(cx.faults, 200..=599)?;
        Some((u16::try_from(status).ok()?, cx.position(f.place())))
    });
    let error = table.get("error").map(|f| Some((f.word(cx.faults, &errors)?, cx.position(f.place()))));
    let code = table.get("code").map(|f| Some((f.word(cx.faults, &codes_by_name)?, cx.position(f.place()))));
    let (route, answer) = (flat(route)?, flat(answer)?);
    let route = route.map(|(name, at)| (Some(name).filter(|name| name != NONE), at));
    Some(Expected { route, answer, error: flat(error)?, code: flat(code)? })
}

/// `None` for what is at fault; what is absent is well.
fn flat<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        None => Some(None),
        Some(value) => value.map(Some),
    }
}
