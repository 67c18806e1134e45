//! A whole configuration, from its text to a plan that could serve: what a reload costs apart from sockets.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use darvazeh::clock::Clock;
use darvazeh::live::{Surroundings, compile, load_checked};
use darvazeh::observe::Names;

/// A hundred routes an agency, every third with a method list.
fn text(routes: usize) -> String {
    let mut yaml = "version: 1\nlisteners: [{ name: public, address: 127.0.0.1:0 }]\nagencies:\n".to_owned();
    for agency in 0..routes.div_ceil(100) {
        let _ = writeln!(yaml, "  agency{agency}: {{ endpoints: ['http://127.0.0.1:9'], health: off }}");
    }
    yaml.push_str("routes:\n");
    for n in 0..routes {
        let methods = if n.is_multiple_of(3) { ", methods: [GET, POST]" } else { "" };
        let path = format!("/agency{}/service{}", n / 100, n % 100);
        let matched = format!("match: {{ hosts: [api.example.ir], prefix: {path}{methods} }}");
        let _ =
            writeln!(yaml, "  - {{ name: route-{n}, agency: agency{}, {matched}, require: {{ level: 0 }} }}", n / 100);
    }
    yaml
}

fn load(file: &Path, clock: &Clock) -> darvazeh::config::Config {
    load_checked(file, clock.now()).expect("a good config").config
}

fn whole(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("routes.yaml");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let clock = Clock::system();
    let names = Arc::new(Names::default());
    let around = Surroundings { control: runtime.handle().clone(), clock: clock.clone(), names, zone: None };
    let mut group = c.benchmark_group("config");
    group.sample_size(20);
    for count in [1_000, 10_000] {
        std::fs::write(&file, text(count)).expect("a file in our own directory");
        group.bench_function(format!("load {count} routes"), |b| {
            b.iter_with_large_drop(|| load(&file, &clock));
        });
        let previous = compile(load(&file, &clock), None, &around).expect("it compiles");
        group.bench_function(format!("compile {count} routes"), |b| {
            let compile = |config| compile(config, Some(&previous), &around).expect("it compiles");
            b.iter_batched(|| load(&file, &clock), compile, BatchSize::LargeInput);
        });
    }
    group.finish();
}

criterion_group!(benches, whole);
criterion_main!(benches);
