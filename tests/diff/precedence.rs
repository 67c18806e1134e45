//! A route that nobody touched can be weakened by another: who answers is asked of both tables.

use serde_json::Value;

use crate::support::{BASE, Ground, kinds, with};

fn added(routes: &str) -> String {
    format!("{BASE}{routes}")
}

fn find<'c>(changes: &'c [Value], kind: &str) -> &'c Value {
    changes.iter().find(|change| change["kind"] == kind).unwrap_or_else(|| panic!("no {kind} in {changes:#?}"))
}

#[test]
fn a_more_specific_route_that_asks_less_weakens_what_it_takes() {
    let ground = Ground::new();
    let changes = ground.changes(
        BASE,
        &added(
            "  - name: open
    agency: pensions
    match: { hosts: [api.example.ir], path: /insurance/open, methods: [GET] }
    require: { level: 0 }
",
        ),
    );
    let lowered = &changes[0];
    assert_eq!((&lowered["kind"], &lowered["severity"]), (&"level_lowered".into(), &"weaker".into()));
    assert_eq!((&lowered["route"], &lowered["from"], &lowered["to"]), (&"open".into(), &"2".into(), &"0".into()));
    let what = lowered["what"].as_str().unwrap();
    assert!(what.starts_with("GET api.example.ir/insurance/open, now of `open` instead of `insurance`"), "{what}");
    assert_eq!(find(&changes, "paths_taken_over")["severity"], "neutral");
    assert_eq!(find(&changes, "route_added")["route"], "open");
}

#[test]
fn a_route_that_vanishes_leaves_its_paths_to_what_asks_less() {
    let ground = Ground::new();
    let start = BASE.find("  - name: change\n").unwrap();
    let end = BASE.find("  - name: city\n").unwrap();
    let new = format!("{}{}", &BASE[..start], &BASE[end..]);
    let changes = ground.changes(BASE, &new);
    let lowered = find(&changes, "level_lowered");
    assert_eq!((&lowered["route"], &lowered["from"], &lowered["to"]), (&"insurance".into(), &"3".into(), &"2".into()));
    // GET is answered by `insurance` now, PUT by nobody.
    let removed = find(&changes, "route_removed");
    assert_eq!(removed["severity"], "stronger");
    assert!(removed["what"].as_str().unwrap().contains("nothing answers PUT api.example.ir/insurance/pensions/*"));
}

#[test]
fn patterns_that_cross_are_compared_where_they_meet() {
    let ground = Ground::new();
    let base = added(
        "  - name: records
    agency: pensions
    match: { hosts: [api.example.ir], path: \"/r/{id}/secret\", methods: [GET] }
    require: { level: 3, issuer: other }
",
    );
    let new = format!(
        "{base}  - name: samples
    agency: pensions
    match: {{ hosts: [api.example.ir], path: \"/r/sample/{{part}}\", methods: [GET] }}
    require: {{ level: 0 }}
"
    );
    let changes = ground.changes(&base, &new);
    let lowered = find(&changes, "level_lowered");
    assert!(lowered["what"].as_str().unwrap().starts_with("GET api.example.ir/r/sample/secret, now of `samples`"));
}

#[test]
fn a_route_of_an_exact_host_takes_from_one_of_any_host_below_its_prefix() {
    let ground = Ground::new();
    let base = added(
        "  - name: deep
    agency: pensions
    match: { path: /deep/down, methods: [GET] }
    require: { level: 3, issuer: other }
",
    );
    let new = format!(
        "{base}  - name: wide
    agency: pensions
    match: {{ hosts: [api.example.ir], prefix: /deep }}
    require: {{ level: 1, issuer: other }}
"
    );
    let changes = ground.changes(&base, &new);
    let lowered = find(&changes, "level_lowered");
    assert!(lowered["what"].as_str().unwrap().starts_with("GET api.example.ir/deep/down, now of `wide`"), "{lowered}");
}

#[test]
fn a_route_split_in_two_refuses_nobody() {
    let ground = Ground::new();
    let new = with(
        BASE,
        "hosts: [api.example.ir, www.example.ir], prefix: /insurance, methods: [GET, POST]",
        "hosts: [api.example.ir], prefix: /insurance, methods: [GET, POST]",
    );
    let rest = "  - name: insurance-www
    agency: pensions
    match: { hosts: [www.example.ir], prefix: /insurance, methods: [GET, POST] }
    require: { level: 2, issuer: sso, scopes: [insurance.read], max_age: 15m }
    limits: { body: 64KiB, rate: { requests: 5, per: 1m, by: subject } }
    cors: { origins: [https://portal.example.ir], methods: [GET] }
";
    let changes = ground.changes(BASE, &format!("{new}{rest}"));
    assert!(changes.iter().all(|change| change["severity"] == "neutral"), "{changes:#?}");
    assert_eq!(kinds(&changes), ["host_removed", "route_added", "paths_taken_over"]);
}
