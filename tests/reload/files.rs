//! Files that change while the gateway runs.

use std::io::Write;
use std::os::unix::fs::symlink;

use crate::replace;
use crate::support::agency::Agency;
use crate::support::client::{get, send};
use crate::support::gateway::{Gateway, Metrics, directory};
use crate::support::verdict::{assert_passed, assert_refused};
use crate::support::world::{Config, standard};

fn applied(m: &Metrics) -> f64 {
    m.sum("darvazeh_config_reloads_total", &["outcome=\"applied\""])
}

fn refused(m: &Metrics) -> f64 {
    m.sum("darvazeh_config_reloads_total", &["outcome=\"refused\""])
}

fn watched(url: &str) -> Config {
    standard(url).top("watch: true")
}

#[tokio::test]
async fn a_watched_file_is_taken_up_when_it_is_replaced() {
    let agency = Agency::hello().await;
    let gateway = watched(&agency.url()).start().await;
    replace(&gateway.config_file(), &watched(&agency.url()).simple("new", "registry", 0).yaml());
    gateway.metrics_when("an applied reload", |m| applied(m) == 1.0).await;
    assert_passed(&send(&gateway, get("/new", &[])).await);
}

/// Each half by itself is a fault: had either been taken up, a refusal would have been counted.
#[tokio::test]
async fn a_file_that_is_being_written_is_waited_out() {
    let agency = Agency::hello().await;
    let gateway = watched(&agency.url()).start().await;
    let text = watched(&agency.url()).simple("new", "registry", 0).yaml();
    let (first, second) = text.split_at(text.len() / 2);
    let mut file = std::fs::File::create(gateway.config_file()).unwrap();
    for piece in first.as_bytes().chunks(64).chain(second.as_bytes().chunks(64)) {
        file.write_all(piece).unwrap();
        file.flush().unwrap();
        // A slow editor is the point here: no event tells when the watcher has looked.
        tokio::time::sleep(std::time::Duration::from_millis(120)).await;
    }
    drop(file);
    let metrics = gateway.metrics_when("an applied reload", |m| applied(m) == 1.0).await;
    assert_eq!(refused(&metrics), 0.0);
    assert_passed(&send(&gateway, get("/new", &[])).await);
}

/// As Kubernetes swaps a ConfigMap: `routes.yaml` -> `..data/routes.yaml`, and `..data` -> a directory of each version.
#[tokio::test]
async fn a_config_map_is_taken_up_when_its_link_is_swapped() {
    let agency = Agency::hello().await;
    let dir = directory("");
    let version = |name: &str, text: &str| {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        std::fs::write(dir.path().join(name).join("routes.yaml"), text).unwrap();
    };
    version("..one", &watched(&agency.url()).yaml());
    version("..two", &watched(&agency.url()).simple("new", "registry", 0).yaml());
    std::fs::remove_file(dir.path().join("routes.yaml")).unwrap();
    symlink("..one", dir.path().join("..data")).unwrap();
    symlink("..data/routes.yaml", dir.path().join("routes.yaml")).unwrap();
    let gateway = Gateway::start_in(dir).await;
    assert_refused(&send(&gateway, get("/new", &[])).await, 404, "route_unknown");
    symlink("..two", gateway.path().join("..swap")).unwrap();
    std::fs::rename(gateway.path().join("..swap"), gateway.path().join("..data")).unwrap();
    gateway.metrics_when("an applied reload", |m| applied(m) == 1.0).await;
    assert_passed(&send(&gateway, get("/new", &[])).await);
}

/// A bad edit is refused by name, stays visible, and is forgotten once it is mended.
#[tokio::test]
async fn a_refused_edit_stays_visible_until_it_is_mended() {
    let agency = Agency::hello().await;
    let gateway = watched(&agency.url()).start().await;
    replace(&gateway.config_file(), &watched(&agency.url()).simple("x", "registri", 0).yaml());
    gateway
        .metrics_when("a refused reload", |m| refused(m) == 1.0 && m.sum("darvazeh_config_refused", &[]) == 1.0)
        .await;
    let last = gateway.admin("GET", "/config").await.json()["last_reload"].clone();
    assert_eq!(last["outcome"], "refused");
    let named = |fault: &serde_json::Value| fault["message"].as_str().is_some_and(|m| m.contains("registri"));
    assert!(last["faults"].as_array().unwrap().iter().any(named), "{last}");
    assert_passed(&send(&gateway, get("/open", &[])).await);
    replace(&gateway.config_file(), &watched(&agency.url()).yaml());
    gateway
        .metrics_when("an applied reload", |m| applied(m) == 1.0 && m.sum("darvazeh_config_refused", &[]) == 0.0)
        .await;
    assert_eq!(gateway.admin("GET", "/config").await.json()["last_reload"]["outcome"], "applied");
}

/// A faulty file of one team keeps its last good version; the others' changes apply.
#[tokio::test]
async fn a_faulty_included_file_keeps_its_last_good_version() {
    let agency = Agency::hello().await;
    let yaml = standard(&agency.url()).top("include: { files: 'routes.d/*.yaml', on_fault: keep_last_good }").yaml();
    let dir = directory(&yaml);
    std::fs::create_dir(dir.path().join("routes.d")).unwrap();
    let part = |name: &str| {
        format!(
            "routes:\n  - {{ name: {name}, agency: registry, match: {{ prefix: /{name} }}, require: {{ level: 0 }} }}\n"
        )
    };
    std::fs::write(dir.path().join("routes.d/a.yaml"), part("a")).unwrap();
    std::fs::write(dir.path().join("routes.d/b.yaml"), part("b")).unwrap();
    let gateway = Gateway::start_in(dir).await;
    replace(&gateway.path().join("routes.d/a.yaml"), "routes: [{ name: a }]");
    replace(&gateway.path().join("routes.d/b.yaml"), &part("b2"));
    let answer = gateway.admin("POST", "/reload").await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let kept = answer.json()["kept"].clone();
    assert!(kept[0]["file"].as_str().unwrap().ends_with("routes.d/a.yaml") && kept[0]["in_use"] == true, "{kept}");
    assert_passed(&send(&gateway, get("/a", &[])).await);
    assert_passed(&send(&gateway, get("/b2", &[])).await);
    assert_refused(&send(&gateway, get("/b", &[])).await, 404, "route_unknown");
    assert_eq!(gateway.metrics().await.sum("darvazeh_config_kept_files", &[]), 1.0);
    assert!(gateway.stderr.all().iter().any(|line| line.contains("routes.d/a.yaml is faulty")));
    assert_eq!(gateway.admin("GET", "/config").await.json()["last_reload"]["kept"], kept);
}

/// With a route of its own in each of two included files.
async fn two_files(expect: &str) -> (Agency, Gateway) {
    let agency = Agency::hello().await;
    let config = standard(&agency.url()).top("include: { files: 'routes.d/*.yaml', on_fault: keep_last_good }");
    let dir = directory(&(config.yaml() + expect));
    std::fs::create_dir(dir.path().join("routes.d")).unwrap();
    std::fs::write(dir.path().join("routes.d/a.yaml"), open_at("a", 0)).unwrap();
    std::fs::write(dir.path().join("routes.d/b.yaml"), open_at("b", 0)).unwrap();
    (agency, Gateway::start_in(dir).await)
}

fn open_at(name: &str, level: u8) -> String {
    format!(
        "routes:\n  - {{ name: {name}, agency: registry, match: {{ prefix: /{name} }}, require: {{ level: {level} }} }}\n"
    )
}

async fn reloaded(gateway: &Gateway) -> (u16, serde_json::Value) {
    let answer = gateway.admin("POST", "/reload").await;
    (answer.status(), answer.json())
}

/// Whether the expectation stands in the file or the route that breaks it does: that file stays as it was, the others apply.
#[tokio::test]
async fn a_file_that_breaks_an_expectation_keeps_its_last_good_version() {
    let case = "expect:\n  - { request: 'GET https://api.example.ir/a', then: { answer: 200 } }\n";
    for (in_main, broken) in [(case, open_at("a", 1)), ("", open_at("a", 1) + case)] {
        let (_agency, gateway) = two_files(in_main).await;
        replace(&gateway.path().join("routes.d/a.yaml"), &broken);
        replace(&gateway.path().join("routes.d/b.yaml"), &open_at("b2", 0));
        let (status, json) = reloaded(&gateway).await;
        assert_eq!(status, 200, "{json}");
        let kept = &json["kept"][0];
        assert!(kept["file"].as_str().unwrap().ends_with("routes.d/a.yaml") && kept["in_use"] == true, "{json}");
        assert_eq!(kept["faults"][0]["code"], "E0701", "{json}");
        assert_passed(&send(&gateway, get("/a", &[])).await);
        assert_passed(&send(&gateway, get("/b2", &[])).await);
        assert_eq!(gateway.metrics().await.sum("darvazeh_config_kept_files", &[]), 1.0);
        // Kept files stay visible when the config file is refused after it.
        replace(&gateway.config_file(), "not: [a config");
        assert_eq!(reloaded(&gateway).await.0, 422);
        assert_eq!(gateway.metrics().await.sum("darvazeh_config_kept_files", &[]), 1.0);
    }
}

/// No file can be blamed for a route that is nowhere any more: the whole is refused.
#[tokio::test]
async fn an_expectation_that_no_file_is_to_blame_for_refuses_the_whole() {
    let case = "expect:\n  - { request: 'GET https://api.example.ir/a', then: { answer: 200 } }\n";
    let (_agency, gateway) = two_files(case).await;
    replace(&gateway.path().join("routes.d/a.yaml"), &open_at("a2", 0));
    replace(&gateway.path().join("routes.d/b.yaml"), &open_at("b2", 0));
    let (status, json) = reloaded(&gateway).await;
    let told = json["faults"].as_array().unwrap().iter().any(|fault| fault["code"] == "E0701");
    assert!(status == 422 && told, "{json}");
    assert_passed(&send(&gateway, get("/a", &[])).await);
    assert_passed(&send(&gateway, get("/b", &[])).await);
}
