//! `expect:`: what `check`, start-up and every reload hold the routes to.

use std::fs;

use serde_json::{Value, json};

use super::same_answer::ask;
use super::support::*;

const HELD: &str = r#"expect:
  - name: the history needs level 2
    request: GET https://api.example.ir/insurance/x
    level: 1
    then: { route: history, answer: 401, error: insufficient_user_authentication, code: level_too_low }
  - { request: "GET https://api.example.ir/insurance/x", level: 2, scopes: [insurance.read], then: { answer: 200 } }
  - { request: "GET https://api.example.ir/insurance/x", then: { code: token_missing } }
  - { request: "GET https://api.example.ir/insurance/x", level: 3, then: { answer: 403, error: insufficient_scope } }
  - { request: "PUT https://api.example.ir/insurance/pensions/7", level: 3, age: 20m, then: { code: authentication_too_old } }
  - { request: "PUT https://api.example.ir/insurance/pensions/7", level: 3, then: { route: pension } }
  - { request: "GET https://api.example.ir/nowhere", then: { route: none, answer: 404 } }
  - { request: "POST https://api.example.ir/insurance/x", then: { route: none, answer: 405, code: method_not_allowed } }
  - { request: "GET https://api.example.ir/news/../insurance", then: { answer: 400, code: path_ambiguous } }
  - { request: "GET https://api.example.ir/profile?access_token=x", then: { error: invalid_request } }
  - { request: "GET https://api.example.ir/inside", then: { route: none } }
  - { request: "GET https://api.example.ir/inside", listener: internal, then: { route: inside, answer: 200 } }
"#;

fn faults(more: &str) -> (Vec<Value>, bool) {
    let dir = directory(NOWHERE, more);
    let output = darvazeh(dir.path(), "check", &["--format", "json"]);
    let said: Value = serde_json::from_slice(&output.stdout).expect("it speaks JSON");
    let errors = said["faults"].as_array().expect("a list").iter().filter(|f| f["severity"] == "error").cloned();
    (errors.collect(), output.status.success())
}

#[test]
fn expectations_that_hold_are_silent() {
    assert_eq!(faults(HELD), (Vec::new(), true));
}

#[test]
fn a_broken_one_refuses_the_config_and_says_what_happens_instead() {
    for (from, to, message, member) in [
        ("level: 1\n", "level: 2\n", "the route `history` answers 403 `scope_missing`", "error"),
        ("answer: 401", "answer: 200", "answers 401 `level_too_low` (level 1, and 2 is asked)", "answer"),
        ("route: history", "route: news", "the route `history` answers 401", "route"),
        ("{ answer: 200 }", "{ code: token_missing }", "the route `history` forwards it", "code"),
        (
            "route: none, answer: 404",
            "answer: 200",
            "it meets no route, and the answer is 404 `route_unknown`",
            "answer",
        ),
        ("{ route: pension }", "{ route: none }", "the route `pension` forwards it", "route"),
        (
            "{ answer: 400, code: path_ambiguous }",
            "{ answer: 200 }",
            "400 `path_ambiguous` (the path has a dot segment)",
            "answer",
        ),
    ] {
        assert!(HELD.contains(from), "{from}");
        let mut text = HELD.replacen(from, to, 1);
        if from.starts_with("level") {
            text = text.replacen("code: level_too_low", "answer: 403", 1).replacen("answer: 401, ", "", 1);
        }
        let (faults, good) = faults(&text);
        let [fault] = &faults[..] else { panic!("{to}: {faults:#?}") };
        assert!(!good && fault["code"] == "E0701", "{fault:#}");
        assert!(fault["message"].as_str().unwrap().contains(message), "{message} in {fault:#}");
        assert!(fault["path"].as_str().unwrap().ends_with(&format!("].then.{member}")), "{fault:#}");
        assert!(fault["line"].as_u64().unwrap() > 40 && fault["column"].as_u64().unwrap() > 1, "{fault:#}");
    }
}

#[test]
fn the_fault_names_the_case_and_underlines_what_does_not_hold() {
    let dir = directory(NOWHERE, &HELD.replacen("answer: 401", "answer: 200", 1));
    let output = darvazeh(dir.path(), "check", &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("error[E0701]: the expectation `the history needs level 2` is broken: for GET https://api.example.ir/insurance/x the route `history` answers 401 `level_too_low` (level 1, and 2 is asked)\n"), "{text}");
    assert!(text.contains("then: { route: history, answer: 200, error") && text.contains(" ^^^\n"), "{text}");
    assert!(text.contains("= at: expect[0].then.answer\n"), "{text}");
}

#[test]
fn a_case_that_cannot_be_judged_is_a_fault() {
    for (case, code) in [
        ("{ request: /insurance, then: { answer: 200 } }", "E0702"),
        ("{ request: \"GET ftp://a/\", then: { answer: 200 } }", "E0702"),
        ("{ request: \"GET https://a/\", then: { route: histroy } }", "E0703"),
        ("{ request: \"GET https://a/\", then: { code: nonsense } }", "E0011"),
        ("{ request: \"GET https://a/\", then: { error: nonsense } }", "E0011"),
        ("{ request: \"GET https://a/\", then: { answer: 99 } }", "E0010"),
        ("{ request: \"GET https://a/\", then: {} }", "E0012"),
        ("{ request: \"GET https://a/\" }", "E0007"),
        ("{ request: \"GET https://a/\", scopes: [x], then: { answer: 200 } }", "E0007"),
        ("{ request: \"GET https://a/\", level: 4, then: { answer: 200 } }", "E0010"),
        ("{ request: \"GET https://a/\", listener: x, then: { answer: 200 } }", "E0105"),
        ("{ request: \"GET https://a/\", them: { answer: 200 } }", "E0005"),
    ] {
        let (faults, good) = faults(&format!("expect:\n  - {case}\n"));
        assert!(!good && faults.iter().any(|f| f["code"] == code), "{case}: {faults:#?}");
        assert!(faults.iter().all(|f| f["code"] != "E0701"), "{case}: {faults:#?}");
    }
    let (faults, _) = faults("expect:\n  - { request: \"GET https://a/\", then: { route: histroy } }\n");
    assert_eq!(faults[0]["message"], json!("unknown route `histroy`, did you mean `history`?"));
}

#[test]
fn the_gateway_does_not_start_on_a_broken_expectation() {
    let dir = directory(NOWHERE, "expect: [{ request: \"GET https://api.example.ir/news\", then: { answer: 401 } }]\n");
    let output = darvazeh(dir.path(), "run", &[]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("error[E0701]") && !text.contains("ready"), "{text}");
}

#[test]
fn a_reload_that_breaks_an_expectation_changes_nothing() {
    let case =
        "expect: [{ name: news are for all, request: \"GET https://api.example.ir/news\", then: { answer: 200 } }]\n";
    let dir = directory(NOWHERE, case);
    let file = dir.path().join("routes.yaml");
    let gateway = Gateway::start(dir.path());
    let reload = || ask(gateway.address("admin"), "POST", "/reload", &["Connection: close".to_owned()]);
    assert_eq!(reload().status, 200);

    let good = fs::read_to_string(&file).unwrap();
    let (from, to) = ("prefix: /news }\n    require: { level: 0 }", "prefix: /news }\n    require: { level: 1 }");
    assert!(good.contains(from));
    fs::write(&file, good.replace(from, to)).unwrap();
    let refused = reload();
    let said: Value = serde_json::from_str(&refused.body).unwrap();
    assert_eq!(
        (refused.status, &said["outcome"], &said["faults"][0]["code"]),
        (422, &json!("refused"), &json!("E0701"))
    );
    let message = said["faults"][0]["message"].as_str().unwrap();
    assert!(message.contains("`news are for all`") && message.contains("answers 401 `token_missing`"), "{message}");
    // Nobody listens there, but who came so far was let in.
    let news = ask(gateway.address("public"), "GET", "/news", &["Connection: close".to_owned()]);
    assert_eq!(news.status, 502, "{}", news.head);
}

/// The values of a query are not repeated, since a fault goes to logs and tickets (PV-4).
#[test]
fn a_fault_does_not_repeat_the_query() {
    let case = "expect: [{ request: \"GET https://api.example.ir/news?code=canary\", then: { answer: 401 } }]\n";
    let dir = directory(NOWHERE, case);
    let text = fs::read_to_string(dir.path().join("routes.yaml")).unwrap();
    assert!(text.contains("canary"));
    assert!(!faults(case).0[0]["message"].as_str().unwrap().contains("canary"));
}
