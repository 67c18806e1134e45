//! What the commands say of routes that take sessions.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::provider::Provider;
use crate::support::agency::Agency;
use crate::world::{CLIENT, TEHRAN, at, beside, config};

async fn yaml() -> String {
    let (sso, agency) = (Provider::start().await, Agency::hello().await);
    config(&sso, &agency, CLIENT, "timeouts: { connect: 5s }").yaml()
}

fn said(dir: &Path, arguments: &[&str]) -> (Value, Option<i32>) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_darvazeh"));
    let output = program.current_dir(dir).args(arguments).output().expect("the binary can be run");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let json = serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("not JSON ({e}): {text} {}", String::from_utf8_lossy(&output.stderr)));
    (json, output.status.code())
}

#[tokio::test]
async fn explain_says_by_which_door_and_that_somebody_must_log_in() {
    let dir = beside(&yaml().await);
    let url = at(TEHRAN, "/l2/x");
    let explain = |more: &[&str]| {
        let arguments = ["explain", "--config", "routes.yaml", "--format", "json", "GET", &url];
        said(dir.path(), &arguments.iter().chain(more).copied().collect::<Vec<_>>())
    };
    let (nobody, code) = explain(&[]);
    assert_eq!((&nobody["code"], &nobody["status"], code), (&json!("login_required"), &json!(401), Some(3)));
    assert_eq!(nobody["requires"]["via"], "session");
    let (weak, _) = explain(&["--level", "1"]);
    assert_eq!(weak["code"], "level_too_low");
    let (strong, code) = explain(&["--level", "2"]);
    assert_eq!((&strong["decision"], code), (&json!("forward"), Some(0)));
}

#[tokio::test]
async fn diff_tells_of_doors_and_of_claims_that_are_released() {
    let old = yaml().await;
    let new = old.replace("via: session, max_age", "via: either, max_age").replace("[province]", "[province, name]");
    let dir = beside(&old);
    std::fs::write(dir.path().join("new.yaml"), new).unwrap();
    let (found, code) = said(dir.path(), &["diff", "--format", "json", "routes.yaml", "new.yaml"]);
    let changes = found["changes"].as_array().unwrap().iter();
    let kinds: Vec<_> =
        changes.map(|change| (change["kind"].as_str().unwrap(), change["severity"].as_str().unwrap())).collect();
    assert_eq!(code, Some(2));
    assert!(kinds.contains(&("way_in_opened", "weaker")) && kinds.contains(&("claim_released", "weaker")), "{kinds:?}");
    assert_eq!(kinds.len(), 2);
}

#[tokio::test]
async fn an_expectation_holds_a_route_to_its_login() {
    let case =
        format!("expect: [{{ request: 'GET {}', then: {{ route: l1, code: login_required }} }}]\n", at(TEHRAN, "/l1"));
    let dir = beside(&(yaml().await + &case));
    let (found, code) = said(dir.path(), &["check", "--format", "json", "--config", "routes.yaml"]);
    assert_eq!(code, Some(0), "{found}");
}

#[tokio::test]
async fn explain_knows_the_gateways_own_pages() {
    let asked = yaml().await.replace("timeouts: { connect: 5s }", "verify: { from: [10.9.9.9] }");
    let dir = beside(&asked);
    let explain = |method: &str, url: &str| {
        let (said, code) = said(dir.path(), &["explain", "--config", "routes.yaml", "--format", "json", method, url]);
        let at = |name: &str| said[name].as_str().map(str::to_owned);
        (said["status"].as_u64(), at("code"), code)
    };
    let page = |path: &str| at(TEHRAN, &format!("/.gateway/{path}"));
    for (path, status) in
        [("login?to=/l1", 303), ("callback", 303), ("logout", 200), ("session", 200), ("jwks.json", 200)]
    {
        assert_eq!(explain("GET", &page(path)), (Some(status), None, Some(0)), "{path}");
    }
    let refused = |status: u64, code: &str, exit: i32| (Some(status), Some(code.to_owned()), Some(exit));
    assert_eq!(explain("GET", &page("backchannel-logout")), refused(405, "method_not_allowed", 4));
    assert_eq!(explain("GET", &page("verify")), refused(403, "verify_forbidden", 3));
    assert_eq!(explain("GET", &page("anything")), refused(404, "route_unknown", 4));
    assert_eq!(explain("GET", &at("other.example", "/.gateway/login")), refused(404, "route_unknown", 4));
}
