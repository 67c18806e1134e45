//! 100 000 routes on each side are compared while one waits.

use std::fmt::Write;
use std::time::Instant;

use crate::support::Ground;

const ROUTES: usize = 100_000;

fn file(level_of_last: u8) -> String {
    let mut text = String::from(
        "version: 1
listeners: [{ name: public, address: \"127.0.0.1:18443\" }]
issuers:
  sso: { issuer: https://sso.example.ir, audiences: [a], jwks: { file: sso.jwks.json }, levels: { values: { a: 1, b: 2 } } }
agencies: { a: { endpoints: [\"http://127.0.0.1:19003\"], health: { path: / } } }
routes:
",
    );
    for n in 0..ROUTES {
        let level = if n + 1 == ROUTES { level_of_last } else { 2 };
        let (host, version) = (n % 500, level_of_last);
        // A tenth of all patterns differ between the files.
        let path = if n % 10 == 0 { format!("/v{version}/{n}") } else { format!("/s/{n}/{{id}}") };
        let _ = writeln!(
            text,
            "  - {{ name: r{n}, agency: a, match: {{ hosts: [h{host}.example.ir], path: \"{path}\" }}, require: {{ level: {level} }} }}"
        );
    }
    text
}

#[test]
fn a_hundred_thousand_routes_are_compared_in_seconds() {
    let ground = Ground::new();
    let (old, new) = (file(2), file(1));
    let began = Instant::now();
    let changes = ground.changes(&old, &new);
    let took = began.elapsed();
    assert_eq!(changes.len(), ROUTES / 10 + 1);
    assert_eq!((&changes[0]["kind"], &changes[0]["route"]), (&"level_lowered".into(), &"r99999".into()));
    // Unoptimised, on a machine that does other things as well: what is meant to fail here is anything quadratic.
    assert!(took.as_secs() < 90, "{took:?}");
}
