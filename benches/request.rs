//! A whole request over TLS, token, level and headers included, to one agency on a socket of its own.
//!
//! The gateway runs as `darvazeh run` would start it, with one worker; client and agency run beside it, so the figure is
//! the latency of one request at a time, theirs included.

mod pieces;

use criterion::{Criterion, criterion_group, criterion_main};
use darvazeh::cli::certs;
use darvazeh::clock::Clock;
use pieces::sso::Sso;
use pieces::wire::{self, Caller};

fn request(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    certs::dev(dir.path(), &["localhost".to_owned()]).expect("certificates");
    let token = Sso::new(dir.path()).token("ES256", 1);
    let file = wire::config(dir.path(), wire::agency(), "off");
    let loaded = darvazeh::config::load(&file, Clock::system().now()).expect("a good config");
    let running = darvazeh::app::start(loaded, Some(1)).expect("it starts");
    let address = running.listeners[0].1;
    let mut group = c.benchmark_group("request over TLS, one at a time");
    for (name, path, status) in
        [("level 0", "/open", 200), ("level 2, token known", "/guarded", 200), ("level too low", "/errand", 401)]
    {
        let mut caller = Caller::new(address, &dir.path().join("ca.pem"), path, &token, status);
        caller.call();
        group.bench_function(name, |b| b.iter(|| caller.call()));
    }
    group.finish();
    running.drain();
}

criterion_group!(benches, request);
criterion_main!(benches);
