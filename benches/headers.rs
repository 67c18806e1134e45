//! A browser's header block made the agency's: hop fields out, identity, `Via`, `Forwarded` and a trace in.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use darvazeh::auth::assertion::Signer;
use darvazeh::auth::{Requirement, TokenCache, admit};
use darvazeh::balance::AgencyLive;
use darvazeh::body::Body;
use darvazeh::clock::Clock;
use darvazeh::config::defaults;
use darvazeh::config::model::{AssertionSettings, IdentityKind, Via};
use darvazeh::forward::headers::to_agency;
use darvazeh::intake::Arrived;
use darvazeh::message::{Inbound, Interim, Target, Upgrade};
use darvazeh::words::{ConnInfo, Level, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

const BROWSER: [(&str, &str); 14] = [
    ("host", "api.example.ir"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "application/json, text/plain, */*"),
    ("accept-language", "fa-IR,fa;q=0.8,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("connection", "keep-alive"),
    ("referer", "https://portal.example.ir/insurance"),
    ("origin", "https://portal.example.ir"),
    ("sec-fetch-dest", "empty"),
    ("sec-fetch-mode", "cors"),
    ("sec-fetch-site", "same-site"),
    ("x-gateway-subject", "forged"),
    ("x-forwarded-for", "10.1.1.1"),
    ("cookie", "theme=dark; lang=fa"),
];

fn conn() -> ConnInfo {
    let address = "127.0.0.1:8443".parse().expect("an address");
    ConnInfo {
        listener: "public".into(),
        peer: address,
        local: address,
        scheme: Scheme::Https,
        sni: None,
        client_cert: None,
    }
}

fn arrived(conn: &ConnInfo) -> Arrived {
    let headers: HeaderMap =
        BROWSER.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect();
    let inbound = Inbound {
        method: Method::GET,
        target: Target::Origin { path_and_query: Bytes::from_static(b"/insurance/history?year=1405"), authority: None },
        version: Version::HTTP_11,
        headers,
        body: Body::Empty,
        interim: Interim::none(),
        upgrade: Upgrade::No,
    };
    Arrived::parse(conn, &[], 8192, inbound).map_err(|remains| remains.why).expect("a good request").0
}

fn headers(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = AssertionSettings { issuer: "bench".into(), lifetime: defaults::ASSERTION_LIFETIME, key: None };
    let signer = Signer::load_or_create(&settings, dir.path()).expect("a signer");
    let conn = conn();
    let open = Requirement {
        level: Level::NONE,
        issuer: None,
        scopes: Vec::new(),
        max_age: None,
        acr_values: String::new(),
        scope: String::new(),
        via: Via::Token,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let cache = TokenCache::new(16, Arc::default());
    let permit = runtime.block_on(admit(&open, &HeaderMap::new(), None, &cache, &Clock::system())).expect("level 0");
    let mut group = c.benchmark_group("headers to an agency");
    for (name, identity) in [("headers", IdentityKind::Headers), ("assertion", IdentityKind::Assertion)] {
        let mut agency = AgencyLive::plain("agency".into(), Vec::new());
        agency.identity = identity;
        group.bench_function(name, |b| {
            b.iter_batched(
                || arrived(&conn),
                |mut arrived| {
                    let mut headers = std::mem::take(&mut arrived.headers);
                    to_agency(&mut headers, &arrived, &conn, &permit, &agency, &signer, 0).expect("no loop");
                    black_box(headers)
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
    c.bench_function("intake", |b| b.iter(|| black_box(arrived(&conn))));
}

criterion_group!(benches, headers);
criterion_main!(benches);
