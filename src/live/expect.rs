//! Whether a config decides as its `expect:` says. A broken expectation refuses the config, wherever it would be put in
//! force: `check`, start-up and every reload come by [`super::load_checked`].
//!
//! The requests are settled, matched and judged by the code that serves; the caller alone is supposed. Needs no network, no
//! key and no clock, and costs one compiled table and microseconds a case.

use std::time::Duration;

use super::asked::{self, Stopped};
use crate::auth::suppose::suppose;
use crate::auth::{Denied, Requirement};
use crate::clock::UnixTime;
use crate::config::fault::Related;
use crate::config::model::{Expectation, Listener, Position};
use crate::config::{Config, Fault, Severity, codes};
use crate::route::{Found, Table};
use crate::words::{Code, RouteId};

/// A supposed caller's age counts back from here: any time does.
const NOW: UnixTime = 1 << 40;

/// A fault for every case that comes out otherwise, in the order of the file.
pub fn judge(config: &Config) -> Vec<Fault> {
    if config.expectations.is_empty() {
        return Vec::new();
    }
    let table = Table::compile(config);
    config.expectations.iter().filter_map(|case| held_to(case, &happens(case, config, &table)?, config)).collect()
}

/// What comes of a request.
struct Happens {
    route: Option<RouteId>,
    /// `None`: it is forwarded.
    refused: Option<Code>,
    /// `error` of the challenge.
    error: Option<&'static str>,
    /// More than the code says.
    detail: Option<String>,
}

impl Happens {
    fn status(&self) -> u16 {
        self.refused.map_or(200, Code::status)
    }

    fn refused(code: Code, detail: Option<&str>) -> Happens {
        Happens { route: None, refused: Some(code), error: None, detail: detail.map(str::to_owned) }
    }

    fn denied(route: RouteId, denied: &Denied) -> Happens {
        let detail = match denied {
            Denied::LevelTooLow { has, needs } => Some(format!("level {has}, and {needs} is asked")),
            Denied::CredentialsMalformed { description } | Denied::TokenInvalid { description } => {
                Some((*description).to_owned())
            }
            _ => None,
        };
        Happens { route: Some(route), refused: Some(denied.code()), error: denied.error(), detail }
    }
}

/// `None` when there is no listener, which is a fault of its own.
fn happens(case: &Expectation, config: &Config, table: &Table) -> Option<Happens> {
    let listener = listener(case, &config.listeners)?;
    let conn = asked::connection(&case.request, listener);
    let (arrived, _) = match asked::arrive(&case.request, &[], &conn, listener) {
        Ok(arrived) => arrived,
        Err(Stopped::Head(fault)) => return Some(Happens::refused(fault.code(), None)),
        Err(Stopped::Rejected(remains)) => {
            let why = match remains.why {
                crate::intake::Rejected::PathAmbiguous(why) | crate::intake::Rejected::Malformed(why) => Some(why),
                _ => None,
            };
            return Some(Happens::refused(remains.why.code(), why));
        }
    };
    let id = match table.find(&listener.name, arrived.authority.name(), &arrived.path, &arrived.method) {
        Found::Route(id) => id,
        Found::MethodNotAllowed(_) => return Some(Happens::refused(Code::MethodNotAllowed, None)),
        Found::Unknown => return Some(Happens::refused(Code::RouteUnknown, None)),
    };
    let require = &config.routes[id.0 as usize].require;
    let skew = require.issuer.map_or(Duration::ZERO, |issuer| config.issuers[issuer.0 as usize].clock_skew);
    let requirement = Requirement::new(require, None);
    let judged = suppose(&requirement, &arrived.headers, arrived.query.as_deref(), case.caller.as_ref(), skew, NOW);
    Some(match judged {
        Ok(_) => Happens { route: Some(id), refused: None, error: None, detail: None },
        Err(Denied::TokenMissing) if require.via.takes_sessions() => {
            Happens { route: Some(id), ..Happens::refused(Code::LoginRequired, None) }
        }
        Err(denied) => Happens::denied(id, &denied),
    })
}

fn listener<'a>(case: &Expectation, listeners: &'a [Listener]) -> Option<&'a Listener> {
    match &case.listener {
        Some(name) => listeners.iter().find(|listener| listener.name == *name),
        None => case.request.listener(listeners),
    }
}

/// The fault, placed at the first member that does not hold.
fn held_to(case: &Expectation, happens: &Happens, config: &Config) -> Option<Fault> {
    let name = happens.route.map(|id| &*config.routes[id.0 as usize].name);
    let then = &case.then;
    let route = then.route.as_ref().filter(|(wanted, _)| wanted.as_deref() != name);
    let answer = then.answer.as_ref().filter(|(wanted, _)| *wanted != happens.status());
    let error = then.error.as_ref().filter(|(wanted, _)| Some(*wanted) != happens.error);
    let code = then.code.as_ref().filter(|(wanted, _)| Some(*wanted) != happens.refused.map(Code::as_str));
    let broken = [
        route.map(|(_, at)| (at, "route")),
        answer.map(|(_, at)| (at, "answer")),
        error.map(|(_, at)| (at, "error")),
        code.map(|(_, at)| (at, "code")),
    ];
    let (at, member) = broken.into_iter().flatten().next()?;
    let met = happens.route.map(|id| &config.routes[id.0 as usize].at);
    Some(fault(case, at, member, &instead(happens, name), met))
}

/// What happens, in words.
fn instead(happens: &Happens, route: Option<&str>) -> String {
    let detail = happens.detail.as_ref().map_or(String::new(), |detail| format!(" ({detail})"));
    let route = route.map(|name| format!("the route `{name}`"));
    match (route, happens.refused) {
        (Some(route), None) => format!("{route} forwards it"),
        (Some(route), Some(code)) => format!("{route} answers {} `{code}`{detail}", code.status()),
        (None, code) => {
            let code = code.unwrap_or(Code::RouteUnknown);
            format!("it meets no route, and the answer is {} `{code}`{detail}", code.status())
        }
    }
}

/// `met`: the route that the request comes to.
fn fault(case: &Expectation, at: &Position, member: &str, instead: &str, met: Option<&Position>) -> Fault {
    let name = case.name.as_ref().map_or_else(|| case.path.clone(), |name| format!("`{name}`"));
    Fault {
        code: codes::EXPECTATION_BROKEN,
        severity: Severity::Error,
        message: format!("the expectation {name} is broken: for {:?} {instead}", case.request),
        file: at.file.to_string(),
        line: at.line,
        column: at.column,
        path: format!("{}.then.{member}", case.path),
        remedy: "change the routes until it holds again, or the expectation if this is what is wanted".to_owned(),
        related: met.map(|met| Related {
            message: "this route is met".to_owned(),
            file: met.file.to_string(),
            line: met.line,
            column: met.column,
        }),
    }
}

#[cfg(test)]
mod tests;
