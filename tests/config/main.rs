//! Golden faults: every `NAME.yaml` here is loaded beside fresh certificates, and what is found must be `NAME.expected`, to
//! the letter. What is well is `nothing`.
//!
//! To accept a change: `UPDATE_EXPECTED=1 cargo test --test config`, then read the diff.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod files;
mod include;
mod schema;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use darvazeh::config::{self, Fault};

/// 2026-01-01; the certificates of `files` are made around it.
const NOW: i64 = 1_767_225_600;

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config")
}

/// Loads a text as `routes.yaml` of a directory that holds the test's certificates.
fn load_in(dir: &Path, text: &str) -> Result<config::Loaded, Vec<Fault>> {
    files::write(dir);
    let file = dir.join("routes.yaml");
    fs::write(&file, text).expect("the file is written");
    config::load(&file, NOW)
}

fn load(text: &str) -> Result<config::Loaded, Vec<Fault>> {
    load_in(tempfile::tempdir().expect("a temporary directory").path(), text)
}

/// What is found in a config: a file, or a directory with a `routes.yaml` and what it includes.
fn found(config: &Path) -> String {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let main = if config.is_dir() { config.join("routes.yaml") } else { config.to_owned() };
    if config.is_dir() {
        copy(config, dir.path());
    }
    let faults = match load_in(dir.path(), &fs::read_to_string(main).unwrap()) {
        Ok(loaded) => loaded.warnings,
        Err(faults) => faults,
    };
    let lines: Vec<String> = faults.iter().map(|fault| line(fault, dir.path())).collect();
    let text = if lines.is_empty() { "nothing\n".to_owned() } else { lines.concat() };
    text.replace(&*dir.path().to_string_lossy(), "DIR")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let target = to.join(entry.file_name().unwrap());
        match entry.is_dir() {
            true => copy(&entry, &target),
            false => fs::write(&target, fs::read(&entry).unwrap()).unwrap(),
        }
    }
}

/// `routes.yaml` itself is not named.
fn line(fault: &Fault, dir: &Path) -> String {
    let Fault { code, line, column, path, message, remedy, .. } = fault;
    let in_file = |file: &str| match Path::new(file).strip_prefix(dir).unwrap().to_str().unwrap() {
        "routes.yaml" => String::new(),
        other => format!("{other}:"),
    };
    let see =
        |r: &config::fault::Related| format!("\n    see {}{}:{} {}", in_file(&r.file), r.line, r.column, r.message);
    let (file, related) = (in_file(&fault.file), fault.related.as_ref().map(see).unwrap_or_default());
    format!("{file}{line}:{column} {code} {path}: {message}\n    help: {remedy}{related}\n")
}

#[test]
fn every_file_has_exactly_the_faults_that_are_expected() {
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let mut wrong = Vec::new();
    let mut files: Vec<_> = fs::read_dir(here()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_dir() || path.extension().is_some_and(|e| e == "yaml"));
    assert!(!files.is_empty());
    files.sort();
    for file in files {
        let found = found(&file);
        let golden = file.with_extension("expected");
        if update {
            fs::write(&golden, &found).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if found != expected {
            wrong.push(format!("{}\n--- expected\n{expected}--- found\n{found}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the files here do not provoke is too large or too small for a golden file; the rest they must.
#[test]
fn every_code_is_provoked() {
    let elsewhere = ["E0001", "E0003", "E0601", "E0701", "W0011"];
    let golden: String = fs::read_dir(here())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "expected"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for code in config::codes::ALL {
        assert!(elsewhere.contains(code) || golden.contains(&format!(" {code} ")), "{code} is in no .expected file");
    }
}

#[test]
fn a_file_that_is_not_there_is_a_fault() {
    let faults = config::load(Path::new("/nonexistent/routes.yaml"), NOW).unwrap_err();
    assert_eq!((faults.len(), faults[0].code, faults[0].line), (1, "E0001", 0));
}

#[test]
fn a_billion_laughs_are_refused() {
    let mut text = String::from("version: 1\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        text.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(", ")));
    }
    assert_eq!(load(&text).unwrap_err()[0].code, "E0003");
}

/// Each of many routes is judged: none is lost, and the work grows with their number and not with its square.
#[test]
fn ten_thousand_ties_are_ten_thousand_faults() {
    let good = fs::read_to_string(here().join("good_minimal.yaml")).unwrap();
    let routes = (0..10_000)
        .map(|i| format!("  - {{ name: r{i}, agency: bnk, match: {{ prefix: /same }}, require: {{ level: 0 }} }}\n"));
    let faults = load(&(good + &routes.collect::<String>())).unwrap_err();
    let count = |code| faults.iter().filter(|f| f.code == code).count();
    assert_eq!((count("E0505"), count("E0103")), (9_999, 10_000));
}

/// The model is what the contract's example says.
#[test]
fn the_example_becomes_the_model_it_describes() {
    use darvazeh::config::model::*;
    use darvazeh::words::Level;

    let text = fs::read_to_string(here().join("good_example.yaml")).unwrap();
    let config = load(&text).expect("the example is good").config;
    assert_eq!(config.sha256.len(), 64);
    assert_eq!(config.listeners[0].limits, config::defaults::LIMITS);
    let agency = &config.agencies[0];
    assert_eq!((&*agency.endpoints[1].url, agency.endpoints[1].weight), ("http://127.0.0.1:9002", 2));
    assert_eq!(agency.title.en, "Social Security Organization");
    let [history, pension, news] = &config.routes[..] else { panic!("three routes") };
    assert_eq!(*history.hosts, [HostPattern::Exact("api.example.ir".to_owned())]);
    assert_eq!(history.path, PathPattern::Prefix(vec![Segment::Literal("insurance".to_owned())]));
    assert_eq!(history.rewrite.strip_prefix.as_deref(), Some("/insurance"));
    assert_eq!((history.require.level, history.require.issuer.is_some()), (Level::TWO, true));
    let PathPattern::Exact(segments) = &pension.path else { panic!("a whole path") };
    assert_eq!(segments[2], Segment::Any("id".to_owned()));
    assert_eq!(pension.body_limit, Some(64 * 1024));
    assert_eq!(pension.rate.map(|r| (r.requests, r.per.as_secs(), r.by)), Some((5, 60, RateBy::Subject)));
    assert_eq!((news.require.level, news.require.issuer), (Level::NONE, None));
    assert_eq!(config.agencies[1].identity, IdentityKind::Headers);
}

/// Defaults lie under what is written, key by key.
#[test]
fn defaults_lie_under_what_agencies_and_routes_say() {
    use darvazeh::config::model::*;

    let seconds = Duration::from_secs;
    let text = fs::read_to_string(here().join("good_defaults.yaml")).unwrap();
    let config = load(&text).expect("the example is good").config;
    let [plain, own, quiet] = &config.agencies[..] else { panic!("three agencies") };
    let health = |agency: &Agency| agency.health.as_ref().map(|h| (h.path.clone(), h.interval, h.timeout));
    assert_eq!(health(plain), Some(("/healthz".to_owned(), seconds(7), seconds(2))));
    assert_eq!(health(own), Some(("/healthz".to_owned(), seconds(9), seconds(2))));
    assert_eq!(health(quiet), None);
    let times = |t: Timeouts| [t.connect, t.response, t.idle].map(|time| time.as_secs());
    assert_eq!((times(plain.timeouts), times(own.timeouts)), ([1, 10, 60], [1, 20, 60]));
    assert_eq!([plain, own, quiet].map(|a| (a.retry.attempts, a.retry.budget_percent)), [(3, 20), (3, 50), (1, 0)]);
    assert_eq!((plain.identity, own.identity), (IdentityKind::Headers, IdentityKind::None));
    assert_eq!((plain.balance, plain.team.as_deref()), (Balance::RoundRobin, Some("platform")));

    let [plain, own, quiet] = &config.routes[..] else { panic!("three routes") };
    let host = |name: &str| HostPattern::Exact(name.to_owned());
    assert_eq!((&plain.hosts[..], &own.hosts[..]), (&[host("api.example.ir")][..], &[host("own.example.ir")][..]));
    let issuer = |route: &Route| route.require.issuer.map(|id| &*config.issuers[id.0 as usize].name);
    assert_eq!([plain, own, quiet].map(issuer), [Some("sso"), Some("other"), None]);
    assert_eq!([plain, own].map(|r| r.body_limit), [Some(1 << 20), Some(2 << 20)]);
    assert_eq!(
        [plain, own, quiet].map(|r| r.rate.map(|rate| rate.by)),
        [Some(RateBy::Address), None, Some(RateBy::Route)]
    );
    assert_eq!([plain, own].map(|r| times(*r.timeouts)), [[1, 10, 5], [1, 40, 5]]);
    let on = |route: &Route| route.listeners.as_ref().map(|names| names[0].to_string());
    assert_eq!((on(plain).as_deref(), on(own).as_deref()), (Some("public"), Some("internal")));
    assert_eq!((plain.cors.is_some(), own.cors.is_some()), (true, false));
    assert!(config.watch);
}

/// A file that is spoilt anywhere gives faults or a model, never a panic, and every fault has a place in it.
#[test]
fn a_spoilt_file_never_panics() {
    use proptest::prelude::*;

    let dir = tempfile::tempdir().unwrap();
    files::write(dir.path());
    let file = dir.path().join("routes.yaml");
    let good: Vec<char> = fs::read_to_string(here().join("good_everything.yaml")).unwrap().chars().collect();
    let spoil = (0..good.len(), 0..4usize, "[-:{}\\[\\]&*!|>'\"#%@,? \n0a~./\u{0}د]{0,3}");
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { failure_persistence: None, ..Default::default() });
    let outcome = runner.run(&spoil, |(at, removed, added)| {
        let end = (at + removed).min(good.len());
        let text: String = good[..at].iter().copied().chain(added.chars()).chain(good[end..].iter().copied()).collect();
        fs::write(&file, &text).unwrap();
        let lines = 1 + text.matches('\n').count() as u32;
        for fault in config::load(&file, NOW).err().into_iter().flatten() {
            prop_assert!((1..=lines).contains(&fault.line) && fault.column > 0, "{fault:?}");
        }
        Ok(())
    });
    outcome.unwrap();
}
