//! An explanation as a tree to read, in the order in which the gateway judges.

use std::io::{self, Write};

use super::judge::{Contender, Explanation, RouteFacts, Verdict};
use crate::auth::walk::{Finding, Outcome};
use crate::config::model::{RateBy, Via};
use crate::config::units::show_duration;
use crate::words::{Code, Level};

/// Routes that are listed; the others are counted.
const LISTED: usize = 12;

pub fn write(explanation: &Explanation, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{} {}", explanation.method, explanation.url)?;
    let mut tree = vec![Branch::leaf("listener", &format!("{}, {}", explanation.listener, explanation.transport))];
    tree.extend(explanation.path.as_ref().map(|path| Branch::leaf("path", path)));
    if let Some(encoded) = &explanation.encoded {
        tree.push(Branch::leaf("note", &format!("a browser would send it as {encoded}")));
    }
    if !explanation.candidates.is_empty() {
        tree.push(candidates(explanation));
    }
    if let Some(route) = &explanation.route {
        tree.push(requires(route));
        if route.level > Level::NONE {
            tree.push(caller(explanation));
        }
        tree.push(agency(route));
    }
    tree.push(verdict(&explanation.verdict));
    write_tree(&tree, "", out)
}

struct Branch {
    text: String,
    twigs: Vec<Branch>,
}

impl Branch {
    fn new(label: &str, text: &str, twigs: Vec<Branch>) -> Branch {
        Branch { text: format!("{label:<9} {text}"), twigs }
    }

    fn leaf(label: &str, text: &str) -> Branch {
        Branch::new(label, text, Vec::new())
    }

    fn twig(text: String) -> Branch {
        Branch { text, twigs: Vec::new() }
    }
}

fn write_tree(branches: &[Branch], margin: &str, out: &mut dyn Write) -> io::Result<()> {
    for (i, branch) in branches.iter().enumerate() {
        let last = i + 1 == branches.len();
        writeln!(out, "{margin}{} {}", if last { "└─" } else { "├─" }, branch.text.trim_end())?;
        write_tree(&branch.twigs, &format!("{margin}{}", if last { "   " } else { "│  " }), out)?;
    }
    Ok(())
}

fn candidates(explanation: &Explanation) -> Branch {
    let listed = &explanation.candidates[..explanation.candidates.len().min(LISTED)];
    let width = listed.iter().map(|candidate| candidate.name.len()).max().unwrap_or_default();
    let line = |candidate: &Contender| {
        let fate = candidate.lost_because.map_or("met".to_owned(), |reason| format!("lost: {}", reason.as_str()));
        Branch::twig(format!("{:width$}  {fate}  ({})", candidate.name, candidate.at))
    };
    let mut twigs: Vec<Branch> = listed.iter().map(line).collect();
    let more = explanation.candidates.len() - listed.len() + explanation.left_out;
    if more > 0 {
        twigs.push(Branch::twig(format!("… and {more} more that lose no later")));
    }
    let met = explanation.route.as_ref().map_or("none is met", |route| &route.name);
    Branch::new("route", met, twigs)
}

fn requires(route: &RouteFacts) -> Branch {
    let mut twigs = Vec::new();
    if let Some(rate) = &route.rate {
        let by = match rate.by {
            RateBy::Subject => "subject",
            RateBy::Client => "client",
            RateBy::Address => "address",
            RateBy::Route => "route",
        };
        let per = show_duration(rate.per);
        twigs.push(Branch::twig(format!("rate: {} in {per} by {by}, not counted here", rate.requests)));
    }
    if route.level == Level::NONE {
        return Branch::new("requires", "nothing: level 0 is open to anyone", twigs);
    }
    let mut text = format!("level {} of {}", route.level, route.issuer.as_deref().unwrap_or("?"));
    if !route.scopes.is_empty() {
        text.push_str(&format!(", scopes {}", route.scopes.join(" ")));
    }
    if let Some(max_age) = route.max_age {
        text.push_str(&format!(", authenticated within {}", show_duration(max_age)));
    }
    text.push_str(match route.via {
        Via::Token => "",
        Via::Session => ", by a session",
        Via::Either => ", by a token or a session",
    });
    Branch::new("requires", &text, twigs)
}

fn caller(explanation: &Explanation) -> Branch {
    let width = explanation.checks.iter().map(|finding| finding.check.len()).max().unwrap_or_default();
    let line = |finding: &Finding| {
        let mark = match finding.outcome {
            Outcome::Passed => "ok  ",
            Outcome::Failed => "FAIL",
            Outcome::NotReached => "-   ",
        };
        Branch::twig(format!("{mark} {:width$}  {}", finding.check, finding.note))
    };
    let mut twigs: Vec<Branch> = explanation.checks.iter().map(line).collect();
    if let Some(level) = explanation.level {
        twigs.push(Branch::twig(format!("level {level}")));
    }
    Branch::new("caller", &explanation.asker, twigs)
}

fn agency(route: &RouteFacts) -> Branch {
    let endpoint = |(url, weight): &(String, u32)| match weight {
        1 => Branch::twig(url.clone()),
        weight => Branch::twig(format!("{url}  (weight {weight})")),
    };
    Branch::new("agency", &route.agency, route.endpoints.iter().map(endpoint).collect())
}

fn verdict(verdict: &Verdict) -> Branch {
    let field = |(name, value): &(String, String)| Branch::twig(format!("{name}: {value}"));
    match verdict {
        Verdict::Forward { target, headers } => {
            Branch::new("answer", &format!("the agency's, to {target} with"), headers.iter().map(field).collect())
        }
        Verdict::Allow { headers } => {
            let text = "200 to the agency's own proxy, which forwards the request by itself, with";
            Branch::new("answer", text, headers.iter().map(field).collect())
        }
        Verdict::Own { status, what } => Branch::leaf("answer", &format!("{status} from the gateway itself: {what}")),
        Verdict::Refuse { code, detail, headers } => {
            let mut twigs: Vec<Branch> = detail.iter().map(|detail| Branch::twig((*detail).to_owned())).collect();
            twigs.extend(headers.iter().map(field));
            let text = match code {
                Code::RouteUnknown => "404 route_unknown: no route fits".to_owned(),
                Code::MethodNotAllowed => "405 method_not_allowed: a route fits, but not its methods".to_owned(),
                code => format!("{} {code}", code.status()),
            };
            Branch::new("answer", &text, twigs)
        }
    }
}
