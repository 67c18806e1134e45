//! An explanation for programs (contract section 5, "JSON"); the members beyond the contract's may grow.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::judge::{Explanation, RouteFacts, Verdict};
use crate::words::Code;

pub fn write(explanation: &Explanation, out: &mut dyn Write) -> io::Result<()> {
    let route = explanation.route.as_ref();
    let said = said(&explanation.verdict);
    let candidates = explanation.candidates.iter().map(|candidate| {
        let lost_because = candidate.lost_because.map(|reason| reason.as_str());
        json!({ "route": candidate.name, "lost_because": lost_because, "at": candidate.at })
    });
    let checks = explanation.checks.iter();
    let checks = checks.map(|f| json!({ "check": f.check, "outcome": f.outcome.as_str(), "note": f.note }));
    let document = json!({
        "route": route.map(|route| &route.name),
        "agency": route.map(|route| &route.agency),
        "path": explanation.path,
        "decision": said.decision,
        "status": said.status,
        "code": said.code.map(Code::as_str),
        "requires": route.map(requires),
        "candidates": candidates.collect::<Vec<_>>(),
        "headers": said.headers,
        "candidates_left_out": explanation.left_out,
        "listener": explanation.listener,
        "level": explanation.level.map(|level| level.number()),
        "checks": checks.collect::<Vec<_>>(),
        "endpoints": route.map(endpoints).unwrap_or_default(),
        "target": said.target,
        "answer": { "detail": said.detail, "headers": said.answer },
    });
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

/// Nothing is forwarded by the gateway: `decision` is what the proxy does.
const ONLY_JUDGED: &str = "the agency's own proxy asks for the verdict, and forwards the request by itself";

#[derive(Default)]
struct Said<'a> {
    decision: &'static str,
    status: u16,
    code: Option<Code>,
    detail: Option<&'a str>,
    target: Option<&'a str>,
    /// Towards the agency.
    headers: Map<String, Value>,
    /// Towards the caller.
    answer: Map<String, Value>,
}

fn said(verdict: &Verdict) -> Said<'_> {
    match verdict {
        // The agency's own answer is not ours to know: 200 stands for it, as in `expect`.
        Verdict::Forward { target, headers } => {
            Said { decision: "forward", status: 200, target: Some(target), headers: object(headers), ..Said::default() }
        }
        Verdict::Allow { headers } => {
            let detail = Some(ONLY_JUDGED);
            Said { decision: "forward", status: 200, detail, headers: object(headers), ..Said::default() }
        }
        Verdict::Own { status, what } => {
            Said { decision: "answer", status: *status, detail: Some(what), ..Said::default() }
        }
        Verdict::Refuse { code, detail, headers } => Said {
            decision: match code {
                Code::RouteUnknown | Code::MethodNotAllowed => "no_route",
                _ => "refuse",
            },
            status: code.status(),
            code: Some(*code),
            detail: *detail,
            answer: object(headers),
            ..Said::default()
        },
    }
}

/// A name that comes more than once has a list.
fn object(fields: &[(String, String)]) -> Map<String, Value> {
    let mut object = Map::new();
    for (name, value) in fields {
        match object.get_mut(name) {
            None => drop(object.insert(name.clone(), value.as_str().into())),
            Some(Value::Array(list)) => list.push(value.as_str().into()),
            Some(first) => *first = json!([first.clone(), value]),
        }
    }
    object
}

fn requires(route: &RouteFacts) -> Value {
    let max_age = route.max_age.map(|age| age.as_secs());
    let mut requires =
        json!({ "level": route.level.number(), "issuer": route.issuer, "scopes": route.scopes, "max_age": max_age });
    if route.via.takes_sessions() {
        requires["via"] = route.via.as_str().into();
    }
    requires
}

fn endpoints(route: &RouteFacts) -> Vec<Value> {
    route.endpoints.iter().map(|(url, weight)| json!({ "url": url, "weight": weight })).collect()
}
