//! What a review gate relies on: exit codes, the JSON's shape, faults.

use crate::support::{BASE, Ground, text, with};

#[test]
fn exit_codes_are_those_of_the_contract() {
    let ground = Ground::new();
    let weaker = with(BASE, "level: 2, issuer: sso", "level: 1, issuer: sso");
    let neutral = with(BASE, "weight: 2", "weight: 3");
    let stronger = with(BASE, "body: 64KiB", "body: 1KiB");
    let code = |new: &str, more: &[&str]| ground.diff(BASE, new, more).status.code();
    let gate = ["--fail-on", "weaker"];
    assert_eq!((code(BASE, &[]), code(BASE, &gate)), (Some(0), Some(0)));
    assert_eq!((code(&weaker, &[]), code(&weaker, &gate)), (Some(2), Some(2)));
    assert_eq!((code(&neutral, &[]), code(&neutral, &gate)), (Some(2), Some(0)));
    assert_eq!((code(&stronger, &[]), code(&stronger, &gate)), (Some(2), Some(0)));
}

#[test]
fn a_faulty_file_is_told_and_nothing_is_compared() {
    let ground = Ground::new();
    let bad = with(BASE, "agency: news", "agency: newss");
    let broken = with(BASE, "prefix: /news", "prefix: /olds");
    for (bad, told) in [(&bad, "error[E0103]"), (&broken, "expect[0]")] {
        for (old, new) in [(BASE, &**bad), (&**bad, BASE)] {
            let output = ground.diff(old, new, &[]);
            assert_eq!(output.status.code(), Some(1));
            assert!(output.stdout.is_empty());
            assert!(text(&output.stderr).contains(told), "{}", text(&output.stderr));
        }
    }
}

#[test]
fn json_has_the_members_of_the_contract() {
    let ground = Ground::new();
    let changes = ground.changes(BASE, &with(BASE, "level: 2, issuer: sso", "level: 1, issuer: sso"));
    let keys: Vec<_> = changes[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["kind", "severity", "what", "route", "agency", "from", "to"]);
    assert_eq!((&changes[0]["route"], &changes[0]["agency"]), (&"insurance".into(), &"pensions".into()));
    let changes = ground.changes(BASE, &with(BASE, "clock_skew: 10s", "clock_skew: 20s"));
    assert_eq!(changes[0]["route"], serde_json::Value::Null);
}

#[test]
fn people_read_the_weakening_first_without_escapes_in_a_pipe() {
    let ground = Ground::new();
    let new = with(BASE, "level: 2, issuer: sso", "level: 1, issuer: sso");
    let new = with(&new, "weight: 2", "weight: 3");
    let new = with(&new, "methods: [GET, POST]", "methods: [GET]");
    let output = ground.diff(BASE, &new, &[]);
    let shown = text(&output.stdout);
    let at = |part: &str| shown.find(part).unwrap_or_else(|| panic!("no `{part}` in:\n{shown}"));
    assert!(shown.starts_with("Weaker than before (1)\n  route `insurance`: level 2 becomes 1"), "{shown}");
    assert!(
        at("Weaker than before") < at("Callers who will be refused") && at("Callers who will") < at("Other changes")
    );
    assert!(shown.ends_with("3 changes: 1 weaker, 1 stronger, 1 neutral; 1 refuse callers\n"), "{shown}");
    assert!(!shown.contains('\x1b'));
}

#[test]
fn copies_in_two_directories_are_alike() {
    let (one, two) = (Ground::new(), Ground::new());
    for file in std::fs::read_dir(one.path().join("certs")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), two.path().join("certs").join(file.file_name())).unwrap();
    }
    let (old, new) = (one.write("routes.yaml", BASE), two.write("routes.yaml", BASE));
    let output = crate::support::darvazeh(&["diff", &old, &new]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}
