//! The hot pieces of a request, each made ready to be done again and again: what criterion times in `hot.rs` is what
//! `counts.rs` counts the instructions of.
//!
//! All stand on a real configuration, loaded and compiled as the gateway does it, so that they are what a request meets.
#![allow(dead_code, reason = "no bench uses all of this")]

pub mod sso;
pub mod wire;

use std::cell::Cell;
use std::fmt::Write;
use std::hint::black_box;
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use darvazeh::auth::{Permit, TokenCache, admit};
use darvazeh::balance::Pools;
use darvazeh::body::Body;
use darvazeh::clock::Clock;
use darvazeh::config::model::AccessLog;
use darvazeh::fields::Fields;
use darvazeh::forward::headers::to_agency;
use darvazeh::http1::head::{HeadLimits, Scan, parse_request};
use darvazeh::intake::Arrived;
use darvazeh::live::{self, Snapshot, Surroundings, compile};
use darvazeh::message::{Inbound, Interim, Target, Upgrade};
use darvazeh::observe::access_log::{self, LogBuffer};
use darvazeh::observe::record::Books;
use darvazeh::observe::{Names, Record, Tally};
use darvazeh::route::Found;
use darvazeh::words::{ConnInfo, Level, RequestId, Scheme};
use http::{HeaderName, HeaderValue, Method, Version, header};

use sso::Sso;

/// Tokens that differ.
const CALLERS: usize = 100;

/// One hot piece.
pub struct Piece {
    pub name: &'static str,
    /// Routes of the configuration that it stands on.
    routes: usize,
    make: fn(&World) -> Work<'_>,
    /// How often it is done for a count: enough that what differs from run to run, such as hashes, evens out.
    pub times: u64,
}

/// A piece made ready: each call does it once.
pub type Work<'a> = Box<dyn FnMut() + 'a>;

pub const PIECES: [Piece; 10] = [
    Piece { name: "head parse", routes: 1, make: head_parse, times: 5_000 },
    Piece { name: "intake", routes: 1, make: intake, times: 5_000 },
    Piece { name: "route match", routes: 1_000, make: route_match, times: 50_000 },
    Piece { name: "token hit", routes: 1, make: token_hit, times: 50_000 },
    Piece { name: "token cold", routes: 1, make: token_cold, times: 300 },
    Piece { name: "header rewrite", routes: 1, make: header_rewrite, times: 5_000 },
    Piece { name: "header rewrite, assertion", routes: 1, make: header_rewrite_assertion, times: 2_000 },
    Piece { name: "balance pick", routes: 1, make: balance_pick, times: 100_000 },
    Piece { name: "metrics count", routes: 1, make: metrics_count, times: 100_000 },
    Piece { name: "access log line", routes: 1, make: access_log_line, times: 20_000 },
];

impl Piece {
    pub fn with<T>(&self, then: impl FnOnce(Work<'_>) -> T) -> T {
        then((self.make)(&World::new(self.routes)))
    }

    /// The same in a folder that [`World::keep`] has prepared.
    pub fn with_kept<T>(&self, folder: &Path, then: impl FnOnce(Work<'_>) -> T) -> T {
        then((self.make)(&World::of(Sso::kept(folder), folder, self.routes)))
    }
}

/// A gateway made ready that listens nowhere.
pub struct World {
    pub sso: Sso,
    snapshot: Snapshot,
    names: Arc<Names>,
    routes: usize,
    _directory: Option<tempfile::TempDir>,
    _control: tokio::runtime::Runtime,
}

impl World {
    fn new(routes: usize) -> World {
        World::in_own_folder(Sso::new, routes)
    }

    /// Prepares `folder` for [`Piece::with_kept`]: keys and tokens are made, and the gateway's own secrets too.
    pub fn keep(folder: &Path) {
        let sso = Sso::new(folder);
        sso.keep(folder, CALLERS);
        World::of(sso, folder, 1);
    }

    /// Its SSO signs with RS256 as well.
    pub fn with_rsa() -> World {
        World::in_own_folder(Sso::with_rsa, 1)
    }

    fn in_own_folder(sso: fn(&Path) -> Sso, routes: usize) -> World {
        let directory = tempfile::tempdir().expect("a directory");
        let world = World::of(sso(directory.path()), directory.path(), routes);
        World { _directory: Some(directory), ..world }
    }

    fn of(sso: Sso, folder: &Path, routes: usize) -> World {
        // Two may be at work in one folder.
        let file = folder.join(format!("routes-{}.yaml", std::process::id()));
        std::fs::write(&file, config(routes)).expect("the directory can be written");
        let mut control = tokio::runtime::Builder::new_multi_thread();
        let control = control.worker_threads(1).enable_all().build().expect("a runtime");
        let (names, clock) = (Arc::new(Names::default()), Clock::system());
        let loaded = live::load_checked(&file, clock.now()).expect("a good config");
        let around = Surroundings { control: control.handle().clone(), clock, names: names.clone(), zone: None };
        let snapshot = compile(loaded.config, None, &around).expect("it compiles");
        World { sso, snapshot, names, routes, _directory: None, _control: control }
    }

    /// A permit for level 2, and the headers that brought it.
    fn permit(&self) -> Permit {
        let headers = bearer(&self.sso.token("ES256", 1));
        let cache = TokenCache::new(16, Arc::default());
        self.admit(&headers, &cache)
    }

    /// What the first route says to a caller: a permit.
    pub fn admit(&self, headers: &Fields, cache: &TokenCache) -> Permit {
        let requirement = &self.snapshot.routes[0].requirement;
        match pin!(admit(requirement, headers, None, None, cache, &Clock::system()))
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(permit) => permit.expect("the token is good"),
            Poll::Pending => panic!("a known key never waits"),
        }
    }
}

/// `/agencyN/serviceM` under one host, a hundred services an agency, every third with a method list; three endpoints.
fn config(routes: usize) -> String {
    let mut yaml = format!(
        "version: 1\nlisteners: [{{ name: public, address: 127.0.0.1:0 }}]\n{}agencies:\n  agency: {{ endpoints: \
         ['http://127.0.0.1:7', 'http://127.0.0.1:8', 'http://127.0.0.1:9'], identity: headers }}\n  told: {{ endpoints: \
         ['http://127.0.0.1:7'], identity: assertion }}\nroutes:\n",
        sso::ISSUER
    );
    for i in 0..routes {
        let methods = if i % 3 == 0 { ", methods: [GET, POST]" } else { "" };
        let (agency, service) = (i / 100, i % 100);
        let matched =
            format!("match: {{ hosts: [api.example.ir], prefix: /agency{agency}/service{service}{methods} }}");
        let require = "require: { level: 2, scopes: [insurance.read] }";
        let _ = writeln!(yaml, "  - {{ name: route-{i}, agency: agency, {matched}, {require} }}");
    }
    yaml
}

pub fn bearer(token: &str) -> Fields {
    let value = HeaderValue::from_str(&format!("Bearer {token}")).expect("a token is a header value");
    Fields::from_iter([(header::AUTHORIZATION, value)])
}

/// What a browser sends.
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

fn fields() -> Fields {
    BROWSER.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
}

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

fn arrived(conn: &ConnInfo, headers: Fields) -> Arrived {
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

/// A browser's head with a token of 1 KiB, out of the buffer it was read into.
fn head_parse(world: &World) -> Work<'_> {
    let mut head = format!(
        "GET /insurance/history?year=1405 HTTP/1.1\r\nauthorization: Bearer {}\r\n",
        world.sso.token("ES256", 1)
    );
    for (name, value) in BROWSER {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.push_str("\r\n");
    let limits = HeadLimits { block: 32 * 1024, count: 100, uri: 8 * 1024 };
    Box::new(move || {
        let mut buffer = BytesMut::from(black_box(head.as_bytes()));
        let parsed = parse_request(&mut buffer, &mut Scan::default(), &limits);
        assert!(matches!(black_box(parsed), Ok(Some(_))));
    })
}

/// Host, path and client settled, forged fields taken out.
fn intake(_: &World) -> Work<'_> {
    let (conn, fields) = (conn(), fields());
    Box::new(move || drop(black_box(arrived(&conn, fields.clone()))))
}

/// Requests that meet routes from all over the table, in no order a cache could learn.
fn route_match(world: &World) -> Work<'_> {
    let spread = |k: usize| (k.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % world.routes;
    let path = |i: usize| format!("/agency{}/service{}/records/42", i / 100, i % 100);
    let paths: Vec<String> = (0..1024).map(|k| path(spread(k))).collect();
    let mut at = 0;
    Box::new(move || {
        at = (at + 1) % paths.len();
        let path = black_box(paths[at].as_bytes());
        let found = world.snapshot.table.find("public", b"api.example.ir", path, &Method::GET);
        assert!(matches!(found, Found::Route(_)));
    })
}

/// One of a hundred tokens of 1 KiB, all seen before: header to permit.
fn token_hit(world: &World) -> Work<'_> {
    let callers: Vec<_> = (0..CALLERS).map(|id| bearer(&world.sso.token("ES256", id))).collect();
    let cache = TokenCache::new(1024, Arc::default());
    callers.iter().for_each(|headers| drop(world.admit(headers, &cache)));
    let mut at = 0;
    Box::new(move || {
        at = (at + 1) % callers.len();
        black_box(world.admit(black_box(&callers[at]), &cache));
    })
}

/// A token never seen before: more of them come by turns than the cache holds. ES256.
fn token_cold(world: &World) -> Work<'_> {
    let callers: Vec<_> = (0..64).map(|id| bearer(&world.sso.token("ES256", id))).collect();
    let cache = TokenCache::new(16, Arc::default());
    let mut at = 0;
    Box::new(move || {
        at = (at + 1) % callers.len();
        black_box(world.admit(black_box(&callers[at]), &cache));
    })
}

/// A browser's fields made the agency's: hop fields out, identity, `Via`, `Forwarded` and a trace in.
fn header_rewrite(world: &World) -> Work<'_> {
    rewrite_for(world, 0)
}

/// The same for an agency that is told by an assertion.
fn header_rewrite_assertion(world: &World) -> Work<'_> {
    rewrite_for(world, 1)
}

fn rewrite_for(world: &World, agency: usize) -> Work<'_> {
    let (conn, permit) = (conn(), world.permit());
    let mut arrived = arrived(&conn, fields());
    let fields = std::mem::take(&mut arrived.headers);
    let (agency, signer, now) = (&world.snapshot.agencies[agency], &world.snapshot.signer, Clock::system().now());
    Box::new(move || {
        let mut headers = fields.clone();
        let added = to_agency(&mut headers, &arrived, &conn, &permit, agency, signer, || now).expect("no loop");
        black_box((headers, added));
    })
}

/// Of three endpoints, by the fewest requests.
fn balance_pick(world: &World) -> Work<'_> {
    let pools = Pools::default().of_agency(&world.snapshot.agencies[0]);
    Box::new(move || drop(black_box(pools.pick(None, 0).expect("all are well"))))
}

/// A request's numbers, without its line in the log.
fn metrics_count(world: &World) -> Work<'_> {
    let (sender, _) = std::sync::mpsc::sync_channel(1);
    let books = Books { tally: Rc::new(Tally::default()), log: Rc::new(LogBuffer::new(sender, false)) };
    let agency = world.snapshot.agencies[0].name.clone();
    Box::new(move || {
        record(world, &books);
        books.tally.upstream(&agency, Duration::from_micros(300));
    })
}

/// The same with the line, formatted by the log's own thread.
fn access_log_line(world: &World) -> Work<'_> {
    let writer = access_log::start(&AccessLog::Off, world.names.clone()).expect("a thread");
    let log = LogBuffer::new(writer.sender, true);
    let books = Books { tally: Rc::new(Tally::default()), log: Rc::new(log) };
    let finish = Finish(Cell::new(Some((books, writer.thread))));
    Box::new(move || finish.with(|books| record(world, books)))
}

/// Ends the log's thread with the piece, so that every line was formatted.
struct Finish(Cell<Option<(Books, std::thread::JoinHandle<()>)>>);

impl Finish {
    fn with(&self, work: impl FnOnce(&Books)) {
        let held = self.0.take().expect("it is put back");
        work(&held.0);
        self.0.set(Some(held));
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        if let Some((books, thread)) = self.0.take() {
            drop(books);
            let _ = thread.join();
        }
    }
}

fn record(world: &World, books: &Books) {
    let mut record = Record::begin(books, world.snapshot.lease[0], 0, RequestId::from_bits(7), Instant::now());
    books.tally.decided(record.stat(), None);
    (record.status, record.level, record.bytes_out) = (200, Level::TWO, 1024);
    record.upstream = Some(Duration::from_micros(300));
}
