//! What the files promise of themselves: cases of `expect` that came or went. Each guards against a change that nobody meant.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::change::{Change, Kind};
use crate::config::Config;
use crate::config::model::Expectation;
use crate::config::units::show_duration;

/// By what they say; their names and order change nothing.
pub fn compare(old: &Config, new: &Config, changes: &mut Vec<Change>) {
    let written = |config: &Config| -> Vec<String> { config.expectations.iter().map(written).collect() };
    let (before, after) = (written(old), written(new));
    for (only, there, config) in [(&before, &after, old), (&after, &before, new)] {
        let there: BTreeSet<&String> = there.iter().collect();
        for (text, case) in only.iter().zip(&config.expectations).filter(|(text, _)| !there.contains(text)) {
            let change = if std::ptr::eq(config, old) {
                Change::weaker(Kind::ExpectationRemoved, "is no longer held to it").from(text)
            } else {
                Change::neutral(Kind::ExpectationAdded, "is held to it").to(text)
            };
            changes.push(change.about(format!("expectation {text}")).at(&case.at));
        }
    }
}

/// `GET https://api.example.ir/x of level 1: route x, 401`. Without the query, as everywhere.
fn written(case: &Expectation) -> String {
    let mut text = format!("{:?}", case.request);
    // Writing to a string cannot fail.
    if let Some(listener) = &case.listener {
        let _ = write!(text, " on {listener}");
    }
    if let Some(caller) = &case.caller {
        let _ = write!(text, " of level {}", caller.level);
        if !caller.scopes.is_empty() {
            let _ = write!(text, " with scope {}", caller.scopes.join(" "));
        }
        if !caller.age.is_zero() {
            let _ = write!(text, " since {}", show_duration(caller.age));
        }
    }
    let then = &case.then;
    let route = then.route.as_ref().map(|(route, _)| match route {
        Some(route) => format!("route {route}"),
        None => "no route".to_owned(),
    });
    let answer = then.answer.as_ref().map(|(status, _)| status.to_string());
    let word = |word: &Option<(&'static str, _)>| word.as_ref().map(|(word, _)| (*word).to_owned());
    let then: Vec<String> = [route, answer, word(&then.error), word(&then.code)].into_iter().flatten().collect();
    text + ": " + &then.join(", ")
}
