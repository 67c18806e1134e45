//! What a compiled route weighs.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use darvazeh::clock::Clock;
use darvazeh::live::{self, Snapshot, Surroundings, compile};
use darvazeh::observe::Names;

use crate::{HEAP, alone};

/// Two hundred agencies; of five routes of an agency one has a rate and another a rewrite, and names are as long as they come.
fn config(routes: usize) -> String {
    let mut yaml = "version: 1\nlisteners: [{ name: public, address: 127.0.0.1:0 }]\nagencies:\n".to_owned();
    for agency in 0..200 {
        let title = "title: { fa: سازمان, en: Agency }, scope: national";
        let _ = writeln!(yaml, "  agency-{agency}: {{ {title}, endpoints: ['http://127.0.0.1:9'] }}");
    }
    yaml.push_str("routes:\n");
    for n in 0..routes {
        let more = match n % 5 {
            0 => ", limits: { body: 1MiB, rate: { requests: 100, per: 1s, by: address } }",
            1 => ", rewrite: { strip_prefix: /v1 }",
            2 => ", timeouts: { response: 5s }",
            _ => "",
        };
        let path = format!("/v1/department-{}/service-{n}", n % 97);
        let route = format!("name: agency-{}-service-{n}, agency: agency-{}", n % 200, n % 200);
        let matched = format!("match: {{ hosts: [api.example.ir], prefix: {path}, methods: [GET, POST] }}");
        let _ = writeln!(yaml, "  - {{ {route}, {matched}, require: {{ level: 0 }}{more} }}");
    }
    yaml
}

fn compiled(file: &Path, previous: Option<&Snapshot>, around: &Surroundings) -> Snapshot {
    compile(live::load_checked(file, 0).unwrap().config, previous, around).unwrap()
}

/// The promise of `docs/scale.md`: the plan, the checked model it was made of included, under 1 KiB a route.
#[test]
fn a_route_weighs_less_than_a_kibibyte() {
    const ROUTES: usize = 10_000;
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("routes.yaml");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let names = Arc::new(Names::default());
    let around = Surroundings { control: runtime.handle().clone(), clock: Clock::system(), names };
    std::fs::write(&file, config(5)).unwrap();
    let first = compiled(&file, None, &around);
    std::fs::write(&file, config(ROUTES)).unwrap();
    let before = HEAP.allocated();
    let many = compiled(&file, Some(&first), &around);
    let weight = (HEAP.allocated() - before) / (ROUTES - 5);
    println!("{weight} bytes a route");
    assert!(weight < 1024, "a route weighs {weight} bytes");
    // The next one costs what it has otherwise: while both are there, the heap holds two, and then one.
    let again = compiled(&file, Some(&many), &around);
    drop(many);
    let held = (HEAP.allocated() - before) / (ROUTES - 5);
    assert!(
        held <= weight + weight / 20,
        "a reload that changes nothing leaves {held} bytes a route instead of {weight}"
    );
    drop(again);
}
