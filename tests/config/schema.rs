//! The schema and `check` agree: what one refuses by shape, so does the other.

use std::sync::LazyLock;

use darvazeh::cli::schema::SCHEMA;
use jsonschema::Validator;
use serde_json::Value;

use super::{here, load};

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    assert!(jsonschema::draft202012::meta::is_valid(&schema), "the schema is one of draft 2020-12");
    jsonschema::draft202012::new(&schema).expect("the schema compiles")
});

fn accepts(text: &str) -> bool {
    let instance: Value = serde_yaml::from_str(text).expect("the text is YAML");
    VALIDATOR.is_valid(&instance)
}

fn good() -> String {
    std::fs::read_to_string(here().join("good_everything.yaml")).unwrap()
}

#[test]
fn it_accepts_every_good_config() {
    for entry in std::fs::read_dir(here()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("good_") && name.ends_with(".yaml") {
            assert!(accepts(&std::fs::read_to_string(&path).unwrap()), "{name}");
        }
    }
}

/// Each line of `good_everything.yaml` is spoilt in turn; both must refuse.
#[test]
fn it_refuses_by_shape_what_check_refuses() {
    for (from, to) in [
        ("version: 1", "version: 2"),
        ("version: 1", "version: \"1\""),
        ("drain: 30s", "drain: 30"),
        ("drain: 30s", "drian: 30s"),
        ("drain: 30s", "drain: 1h30m"),
        ("workers: 2", "workers: two"),
        ("workers: 2", "workers: 0"),
        ("to: off", "too: off"),
        ("lifetime: 60s", "lifetime: 60"),
        ("min_version: \"1.3\"", "min_version: 1.3"),
        ("min_version: \"1.3\"", "min_version: \"1.1\""),
        ("client_auth: optional", "client_auth: maybe"),
        ("headers: 32KiB", "headers: 32KB"),
        ("headers: 32KiB", "headers: 32768"),
        ("streams: 100", "streams: 0"),
        ("[10.0.0.0/8]", "[proxies]"),
        ("algorithms: [RS256, ES256]", "algorithms: [HS256]"),
        ("algorithms: [RS256, ES256]", "algorithms: [none]"),
        ("algorithms: [RS256, ES256]", "algorithms: RS256"),
        ("audiences: [https://api.example.ir]", "audiences: []"),
        ("max_level: 3", "max_level: 4"),
        ("\"urn:example:level:1\": 1", "\"urn:example:level:1\": high"),
        ("\"urn:example:level:1\": 1", "\"with space\": 1"),
        ("scope: province", "scope: city"),
        ("    province: tehran\n", ""),
        ("https://10.1.1.1:443", "ftp://10.1.1.1"),
        ("https://10.1.1.1:443", "https://10.1.1.1/path"),
        ("weight: 2", "weight: 0"),
        ("balance: hash_subject", "balance: random"),
        ("status: [200, 204]", "status: []"),
        ("status: [200, 204]", "status: [99]"),
        ("status: [200, 204]", "status: ok"),
        ("outlier: { consecutive: 7", "outlier: { consecutive: 0"),
        ("outlier: { consecutive: 7", "outlier: { in_a_row: 7"),
        ("max_share: 34", "max_share: 101"),
        ("identity: token", "identity: cookie"),
        ("budget_percent: 10", "budget: 10"),
        ("request: 2m", "request: never"),
        ("hedge: { after: 50ms }", "hedge: { after: p99 }"),
        ("hedge: { after: 50ms }", "hedge: soon"),
        ("concurrent: 200", "concurrent: 0"),
        ("queue_time: 500ms", "queue_time: 500"),
        ("adaptive: true", "adaptive: gradient"),
        ("    require: { level: 3", "    requires: { level: 3"),
        ("    agency: tax\n", ""),
        ("level: 3", "level: 4"),
        ("level: 3", "level: three"),
        ("level: 3", "level: 0"),
        ("by: subject", "by: person"),
        ("methods: [PUT]", "methods: [put]"),
        ("methods: [PUT]", "methods: [TRACE]"),
        ("methods: [PUT]", "methods: []"),
        ("hosts: [api.example.ir]", "hosts: [\"api.example.ir:443\"]"),
        ("path: \"/insurance/{id}\"", "prefix: /a, path: /a"),
        ("path: \"/insurance/{id}\"", "paths: /a"),
        ("retry: off", "retry: sometimes"),
        ("listeners: [public]", "listeners: public"),
        ("credentials: true", "credentials: maybe"),
        ("origins: [https://portal.example.ir]", "origin: https://portal.example.ir"),
        ("strip_prefix: /insurance", "strip: /insurance"),
        ("request: PUT https://api.example.ir/insurance/7", "request: /insurance/7"),
        ("    level: 2\n", "    level: 4\n"),
        ("listener: public, level: 3, ", ""),
        ("age: 1m", "age: 60"),
        ("then: { answer: 200 }", "then: {}"),
        ("then: { answer: 200 }", "then: { answer: ok }"),
        ("then: { answer: 200 }", "then: { status: 200 }"),
        ("code: level_too_low", "code: level_to_low"),
        ("error: insufficient_user_authentication", "error: low"),
    ] {
        let text = good();
        assert!(text.contains(from), "`{from}` is in good_everything.yaml");
        let spoilt = text.replacen(from, to, 1);
        assert!(load(&spoilt).is_err(), "check accepts `{to}`");
        assert!(!accepts(&spoilt), "the schema accepts `{to}`");
    }
}

#[test]
fn it_knows_defaults_and_secrets_as_check_does() {
    let defaults = std::fs::read_to_string(here().join("good_defaults.yaml")).unwrap();
    for (from, to) in [
        ("watch: true", "watch: \"yes\""),
        ("identity: headers", "identity: cookie"),
        ("    balance: round_robin", "    endpoints: []"),
        ("match: { hosts: [api.example.ir] }", "match: { prefix: /a }"),
        ("require: { issuer: sso }", "require: { level: 1 }"),
        ("limits: { body: 1MiB", "limits: { headers: 1KiB"),
        ("timeouts: { idle: 5s }", "timeouts: { idle: 5 }"),
        ("health: off", "health: none"),
        ("team: platform", "team: [platform]"),
        ("watch: true", "state_dir: \"${HOME}/var\""),
        ("watch: true", "assertion: { key: { path: a } }"),
    ] {
        assert!(defaults.contains(from), "`{from}` is in good_defaults.yaml");
        let spoilt = defaults.replacen(from, to, 1);
        assert!(load(&spoilt).is_err(), "check accepts `{to}`");
        assert!(!accepts(&spoilt), "the schema accepts `{to}`");
    }
}

/// An editor checks included files with the same schema.
#[test]
fn it_knows_files_that_include_and_files_that_are_included() {
    let listeners = "version: 1\nlisteners: [{ name: a, address: 127.0.0.1:0 }]\n";
    assert!(accepts(&format!("{listeners}include: routes.d/*.yaml\n")));
    assert!(accepts(&format!("{listeners}include: {{ files: [a.yaml, b/*.yaml], on_fault: keep_last_good }}\n")));
    assert!(!accepts(&format!("{listeners}include: {{ files: [], on_fault: keep_last_good }}\n")));
    assert!(!accepts(&format!("{listeners}include: {{ files: a.yaml, on_fault: ignore }}\n")));
    assert!(!accepts(listeners), "without included files there must be agencies and routes");
    assert!(accepts("routes: []\n") && !accepts("routes: []\nadmin: { address: 127.0.0.1:1 }\n"));
}

fn keys(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                found.extend(properties.keys().cloned());
            }
            map.values().for_each(|inner| keys(inner, found));
        }
        Value::Array(list) => list.iter().for_each(|inner| keys(inner, found)),
        _ => {}
    }
}

#[test]
fn every_key_is_documented() {
    let docs = std::fs::read_to_string(here().join("../../docs/routes-yaml.md")).unwrap();
    let mut found = Vec::new();
    keys(&serde_json::from_str(SCHEMA).unwrap(), &mut found);
    // Keys stand in code spans: every second piece between backticks.
    let code =
        docs.split('`').skip(1).step_by(2).flat_map(|span| span.split(|c: char| !(c.is_alphanumeric() || c == '_')));
    let documented: std::collections::HashSet<&str> = code.collect();
    for key in found {
        assert!(documented.contains(key.as_str()), "`{key}` is not in docs/routes-yaml.md");
    }
}

/// A code may be added; an editor must offer it.
#[test]
fn it_knows_every_code() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let offered = &schema["properties"]["expect"]["items"]["properties"]["then"]["properties"]["code"]["enum"];
    let mut codes: Vec<&str> = darvazeh::words::Code::ALL.iter().map(|code| code.as_str()).collect();
    codes.dedup();
    assert_eq!(*offered, serde_json::json!(codes));
}
