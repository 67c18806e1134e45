//! What a reload says of itself: the answer, the metrics, `/config`.

use std::process::Command;

use serde_json::Value;

use crate::support::agency::Agency;
use crate::support::gateway::{Gateway, Metrics};
use crate::support::world::standard;
use crate::{apply, replace};

/// The faults that `darvazeh check` finds in the file as it is on disk.
fn checked(gateway: &Gateway) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_darvazeh"))
        .args(["check", "--format", "json", "--config"])
        .arg(gateway.config_file())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["faults"].clone()
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// The hash that `config_info` gives: of one file alone.
fn running(metrics: &Metrics) -> String {
    let all: Vec<_> = metrics.samples("darvazeh_config_info").collect();
    assert_eq!(all.len(), 1, "one configuration runs: {all:?}");
    all[0].0.split('"').nth(1).unwrap().to_owned()
}

/// Contract section 4 and section 5, "JSON": two faults, as `check` tells them, in one answer.
#[tokio::test]
async fn a_refusal_has_the_faults_of_check() {
    let agency = Agency::hello().await;
    let gateway = standard(&agency.url()).start().await;
    let before = running(&gateway.metrics().await);
    replace(
        &gateway.config_file(),
        &standard(&agency.url()).simple("x", "registri", 1).simple("y", "nobody", 9).yaml(),
    );
    let answer = gateway.admin("POST", "/reload").await;
    assert_eq!(answer.status(), 422);
    assert_eq!(answer.head.get("content-type"), Some("application/json"));
    let json = answer.json();
    assert_eq!((&json["outcome"], &json["sha256"]), (&"refused".into(), &before.as_str().into()));
    assert!(json["faults"].as_array().unwrap().len() >= 3, "{json}");
    assert_eq!(json["faults"], checked(&gateway));
    let promised = ["code", "column", "file", "line", "message", "path", "remedy", "severity"];
    for fault in json["faults"].as_array().unwrap() {
        assert!(promised.iter().all(|key| keys(fault).contains(key)), "{fault}");
    }
    assert_eq!(running(&gateway.metrics().await), before);
}

#[tokio::test]
async fn config_info_follows_what_is_applied() {
    let agency = Agency::hello().await;
    let gateway = standard(&agency.url()).start().await;
    let before = running(&gateway.metrics().await);
    apply(&gateway, &standard(&agency.url()).simple("new", "registry", 0)).await;
    let after = running(&gateway.metrics().await);
    assert_ne!(before, after);
    assert_eq!(gateway.admin("GET", "/config").await.json()["sha256"], after.as_str());
    apply(&gateway, &standard(&agency.url())).await;
    assert_eq!(running(&gateway.metrics().await), before, "the way back");
}
