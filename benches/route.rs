//! Route match at 10, 1 000 and 100 000 routes, and the time to compile 100 000.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use darvazeh::config::model::{
    HostPattern, PathPattern, Position, Priority, Require, Rewrite, Route, Segment, Timeouts, Via,
};
use darvazeh::route::{Found, Table};
use darvazeh::words::{AgencyId, Level};
use http::Method;

/// `/agencyN/serviceM` under one host, a hundred services an agency, every third with a method list.
fn routes(count: usize) -> Vec<Route> {
    let second = Duration::from_secs(1);
    let route = |i: usize| Route {
        at: Position { file: "routes.yaml".into(), line: 1, column: 1 },
        name: format!("route-{i}").into(),
        agency: AgencyId(0),
        listeners: None,
        hosts: vec![HostPattern::Exact("api.example.ir".into())].into(),
        path: PathPattern::Prefix(vec![
            Segment::Literal(format!("agency{}", i / 100)),
            Segment::Literal(format!("service{}", i % 100)),
        ]),
        methods: if i.is_multiple_of(3) { vec![Method::GET, Method::POST].into() } else { [].into() },
        require: Require { level: Level::NONE, issuer: None, scopes: Vec::new(), max_age: None, via: Via::Token }
            .into(),
        rewrite: Rewrite::default().into(),
        body_limit: None,
        rate: None,
        priority: Priority::Normal,
        timeouts: Timeouts { connect: second, response: second, idle: second, request: None }.into(),
        retry: true,
        cors: None,
    };
    (0..count).map(route).collect()
}

/// 1 024 requests that meet routes from all over the table, in no order a cache could learn.
fn paths(count: usize) -> Vec<String> {
    let spread = |k: usize| k.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let path = |i: usize| format!("/agency{}/service{}/records/42", i / 100, i % 100);
    (0..1024).map(|k| path(spread(k) % count)).collect()
}

fn find(c: &mut Criterion) {
    let mut group = c.benchmark_group("route match");
    for count in [10, 1_000, 100_000] {
        let table = Table::build(&routes(count));
        let paths = paths(count);
        let mut next = paths.iter().cycle();
        group.bench_function(format!("{count} routes"), |b| {
            b.iter(|| {
                let path = next.next().expect("a cycle has no end");
                let found = table.find("public", b"api.example.ir", black_box(path.as_bytes()), &Method::GET);
                assert!(matches!(found, Found::Route(_)));
                found
            });
        });
    }
    group.finish();
}

fn compile(c: &mut Criterion) {
    let routes = routes(100_000);
    let mut group = c.benchmark_group("route compile");
    group.sample_size(10);
    group.bench_function("100000 routes", |b| {
        b.iter_batched(|| (), |()| Table::build(&routes), BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, find, compile);
criterion_main!(benches);
