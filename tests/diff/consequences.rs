//! Every way of asking less or more is found, named and put first.

use serde_json::Value;

use crate::support::{BASE, Ground, kinds, with};

/// What is written instead of what, the kind that must be found, and the severity it must have.
type Case = (&'static str, &'static str, &'static str);

const WEAKER: [Case; 31] = [
    ("from: [10.1.0.0/16]", "from: [10.1.0.0/16, 10.2.0.0/16]", "asker_added"),
    (", client: [proxy.example.ir]", "", "asker_names_changed"),
    ("level: 2, issuer: sso", "level: 1, issuer: sso", "level_lowered"),
    ("level: 3, issuer: other", "level: 0", "level_lowered"),
    ("scopes: [insurance.read], ", "", "scope_removed"),
    ("max_age: 15m", "max_age: 20m", "max_age_raised"),
    (", max_age: 15m", "", "max_age_raised"),
    ("level: 3, issuer: other", "level: 2, issuer: sso", "issuer_changed"),
    ("issuer: https://sso.example.ir", "issuer: https://sso2.example.ir", "issuer_changed"),
    ("[https://api.example.ir]\n", "[https://api.example.ir, https://b.example.ir]\n", "audience_added"),
    ("clock_skew: 10s", "clock_skew: 20s", "clock_skew_raised"),
    ("algorithms: [ES256]", "algorithms: [ES256, RS256]", "algorithm_added"),
    ("token_types: [at+jwt]", "token_types: [at+jwt, JWT]", "token_type_added"),
    ("middle: 2, high: 3", "middle: 2, vip: 2, high: 3", "level_value_raised"),
    ("low: 1, middle: 2", "low: 2, middle: 2", "level_value_raised"),
    ("levels: { values: { low", "levels: { claim: loa, values: { low", "level_claim_changed"),
    ("max_level: 2", "max_level: 3", "max_level_raised"),
    ("jwks: { file: sso.jwks.json }", "jwks: { uri: \"https://sso.example.ir/jwks\" }", "keys_source_changed"),
    ("origins: [https://portal.example.ir]", "origins: [https://portal.example.ir, https://b.ir]", "cors_opened"),
    ("trusted_proxies: [10.0.0.0/8]", "trusted_proxies: [10.0.0.0/8, 192.0.2.0/24]", "trusted_proxy_added"),
    ("client_auth: optional", "client_auth: none", "client_auth_lowered"),
    ("min_version: \"1.3\"", "min_version: \"1.2\"", "min_version_lowered"),
    ("identity: assertion", "identity: token", "identity_released"),
    ("identity: none", "identity: assertion", "identity_released"),
    ("requests: 5, per: 1m", "requests: 6, per: 1m", "rate_loosened"),
    (", rate: { requests: 5, per: 1m, by: subject }", "", "rate_loosened"),
    ("[\"https://127.0.0.1:19001\"]", "[\"http://127.0.0.1:19001\"]", "encryption_dropped"),
    ("tls: { ca: certs/ca.pem, server_name", "tls: { server_name", "trust_widened"),
    ("    listeners: [internal]\n", "", "listener_opened"),
    ("then: { route: city }", "then: { answer: 200 }", "expectation_removed"),
    ("admin: { address: 127.0.0.1:19901 }", "admin: { address: \"0.0.0.0:19901\" }", "admin_exposed"),
];

/// Found, the first of all, and of this severity; going back is not.
fn expect(cases: &[Case], severity: &str) {
    let ground = Ground::new();
    for (from, to, kind) in cases {
        let new = with(BASE, from, to);
        let changes = ground.changes(BASE, &new);
        let found = changes.iter().find(|change| change["kind"] == **kind);
        let found = found.unwrap_or_else(|| panic!("`{from}` to `{to}`: {kind} is not among {changes:#?}"));
        assert_eq!(found["severity"], severity, "{found}");
        assert!(is_sorted(&changes), "{changes:#?}");
        if severity == "weaker" {
            assert_eq!(changes[0]["severity"], "weaker");
        }
        let back = ground.changes(&new, BASE);
        assert!(!back.is_empty(), "`{to}` to `{from}`: nothing is found");
    }
}

fn is_sorted(changes: &[Value]) -> bool {
    changes.is_sorted_by_key(|change| match change["severity"].as_str() {
        Some("weaker") => 0,
        Some("stronger") => 1,
        _ => 2,
    })
}

#[test]
fn every_weakening_is_found_and_comes_first() {
    expect(&WEAKER, "weaker");
}

#[test]
fn every_strengthening_is_found() {
    expect(
        &[
            ("level: 1, issuer: other", "level: 2, issuer: other", "level_raised"),
            ("[insurance.read]", "[insurance.read, insurance.more]", "scope_added"),
            ("max_age: 15m", "max_age: 5m", "max_age_lowered"),
            ("requests: 5, per: 1m", "requests: 5, per: 2m", "rate_tightened"),
            ("body: 64KiB", "body: 32KiB", "body_limit_lowered"),
            ("methods: [GET, POST]", "methods: [GET]", "method_removed"),
            ("hosts: [api.example.ir, www.example.ir]", "hosts: [api.example.ir]", "host_removed"),
            ("prefix: /staff", "prefix: /team", "path_changed"),
            ("headers: 32KiB", "headers: 16KiB", "limit_lowered"),
            ("client_auth: optional", "client_auth: required", "client_auth_raised"),
            ("clock_skew: 10s", "clock_skew: 5s", "clock_skew_lowered"),
            ("low: 1, middle: 2", "middle: 2", "level_value_lowered"),
            ("origins: [https://portal.example.ir]", "origins: [https://b.ir]", "cors_closed"),
            ("identity: assertion", "identity: none", "identity_withheld"),
            ("    require: { level: 0 }", "    require: { level: 1, issuer: sso }", "level_raised"),
        ],
        "stronger",
    );
}

#[test]
fn what_is_neither_is_neutral() {
    expect(
        &[
            ("weight: 2", "weight: 3", "endpoint_weight"),
            ("\"http://127.0.0.1:19003\", ", "", "endpoint_removed"),
            ("health: { path: /healthz }", "health: { path: /health }", "health_changed"),
            ("health: { path: /healthz }", "health: { path: /healthz, status: 204 }", "health_changed"),
            ("identity: assertion", "identity: assertion\n    outlier: off", "outlier_changed"),
            ("identity: assertion", "identity: assertion\n    balance: round_robin", "balance_changed"),
            ("identity: assertion", "identity: assertion\n    timeouts: { response: 9s }", "timeout_changed"),
            ("identity: assertion", "identity: assertion\n    timeouts: { request: 9s }", "timeout_changed"),
            ("identity: assertion", "identity: assertion\n    hedge: { after: 50ms }", "hedge_changed"),
            ("identity: assertion", "identity: assertion\n    limits: { concurrent: 9 }", "agency_limits_changed"),
            ("identity: assertion", "identity: assertion\n    retry: off", "retry_changed"),
            (
                "identity: assertion",
                "identity: assertion\n    title: { fa: بازنشستگی, en: Pensions }",
                "agency_described",
            ),
            ("version: 1\n", "version: 1\ndrain: 20s\n", "drain_changed"),
            ("version: 1\n", "version: 1\ncontact: { email: a@example.ir }\n", "contact_changed"),
            ("version: 1\n", "version: 1\naccess_log: { to: off }\n", "access_log_changed"),
            ("127.0.0.1:18443", "127.0.0.1:18445", "listener_moved"),
            ("name: staff\n", "name: crew\n", "route_renamed"),
            ("name: city\n    agency: news", "name: city\n    agency: pensions", "route_moved"),
            ("body: 64KiB", "body: 65KiB", "body_limit_raised"),
        ],
        "neutral",
    );
}

#[test]
fn one_thing_changed_is_one_change() {
    let ground = Ground::new();
    for (from, to, kind) in [
        ("body: 1MiB", "body: 2MiB", "limit_raised"),
        ("level: 2, issuer: sso", "level: 1, issuer: sso", "level_lowered"),
        ("prefix: /news }", "prefix: /news, methods: [GET] }", "method_removed"),
        ("identity: assertion", "identity: assertion\n    timeouts: { idle: 9s }", "timeout_changed"),
    ] {
        assert_eq!(kinds(&ground.changes(BASE, &with(BASE, from, to))), [kind], "{to}");
    }
}

#[test]
fn order_comments_and_names_of_parameters_are_no_difference() {
    let ground = Ground::new();
    let (head, routes) = BASE.split_once("routes:\n").unwrap();
    let mut routes: Vec<&str> = routes.split("  - name: ").filter(|r| !r.is_empty()).collect();
    routes.reverse();
    let routes: String = routes.iter().map(|route| format!("  # moved\n  - name: {route}")).collect();
    let new = format!("{head}routes:\n{routes}");
    let new = with(&new, "{id}", "{number}");
    let new = with(&new, "[api.example.ir, www.example.ir]", "[www.example.ir, api.example.ir]");
    let new = with(&new, "[GET, POST]", "[POST, GET]");
    assert_eq!(ground.changes(BASE, &new), Vec::<Value>::new());
    let same = ground.diff(BASE, &new, &[]);
    assert_eq!(same.status.code(), Some(0));
    assert_eq!(same.stdout, b"no difference for callers, agencies or operators\n");
}

#[test]
fn a_renewed_certificate_shows_its_names_and_expiry() {
    let ground = Ground::new();
    let other = Ground::new();
    std::fs::create_dir(ground.path().join("renewed")).unwrap();
    for name in ["gateway.pem", "gateway.key"] {
        std::fs::copy(other.path().join("certs").join(name), ground.path().join("renewed").join(name)).unwrap();
    }
    let new = with(
        BASE,
        "cert: certs/gateway.pem, key: certs/gateway.key",
        "cert: renewed/gateway.pem, key: renewed/gateway.key",
    );
    let changes = ground.changes(BASE, &new);
    assert_eq!(kinds(&changes), ["certificate_changed"]);
    let to = changes[0]["to"].as_str().unwrap();
    assert!(to.contains("api.example.ir") && to.contains("until "), "{to}");
}
