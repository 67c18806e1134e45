use std::path::Path;

use super::*;
use crate::config;

fn load(cases: &str) -> Config {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("routes.yaml");
    let text = "\
version: 1
listeners:
  - { name: public, address: \"127.0.0.1:8080\" }
  - { name: internal, address: \"127.0.0.1:8081\" }
agencies:
  bank: { endpoints: [http://127.0.0.1:9001], health: { path: / } }
routes:
  - { name: open, agency: bank, match: { prefix: /open }, require: { level: 0 } }
  - { name: inside, agency: bank, match: { prefix: /inside }, require: { level: 0 }, listeners: [internal] }
expect:
";
    std::fs::write(&file, text.to_owned() + cases).unwrap();
    config::load(&file, 0).expect("the config is good").config
}

fn broken(cases: &str) -> Vec<(String, u32, u32)> {
    let faults = judge(&load(cases));
    assert!(faults.iter().all(|fault| fault.code == "E0701" && Path::new(&fault.file).ends_with("routes.yaml")));
    faults.into_iter().map(|fault| (fault.message, fault.line, fault.column)).collect()
}

#[test]
fn every_broken_case_is_told_at_its_place() {
    let cases = "  - { request: GET http://a.ir/open, then: { answer: 200 } }
  - { request: GET http://a.ir/open, then: { answer: 401 } }
  - name: closed
    request: GET http://a.ir/open
    then:
      route: none
";
    let told = broken(cases);
    let instead = "for GET http://a.ir/open the route `open` forwards it";
    assert_eq!(
        told,
        [
            (format!("the expectation expect[1] is broken: {instead}"), 12, 54),
            (format!("the expectation `closed` is broken: {instead}"), 16, 14)
        ]
    );
}

#[test]
fn the_listener_is_that_of_the_case_or_of_the_url() {
    let ok = "  - { request: GET http://a.ir/inside, then: { route: none } }
  - { request: GET http://a.ir/inside, listener: internal, then: { route: inside } }
  - { request: \"GET http://a.ir:8081/inside\", then: { route: inside } }
";
    assert_eq!(broken(ok), []);
}

#[test]
fn a_head_that_is_no_request_is_a_refusal_like_another() {
    let long = format!("  - {{ request: GET http://a.ir/{}, then: {{ answer: 414 }} }}\n", "a".repeat(9000));
    assert_eq!(broken(&long), []);
    assert_eq!(broken("  - { request: \"GET http://a.ir/a b\", then: { code: request_malformed } }\n"), []);
}
