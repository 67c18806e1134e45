//! What a reload cannot change waits for the next start, loudly; what it can, it changes.

use crate::support::agency::Agency;
use crate::support::client::{get, send};
use crate::support::verdict::assert_passed;
use crate::support::within;
use crate::support::world::standard;
use crate::{apply, replace};

/// The admin listener goes on where it is; answer, log, metric and `/config` say so until the file has its address again.
#[tokio::test]
async fn a_changed_admin_address_waits_for_a_restart_and_says_so() {
    let agency = Agency::hello().await;
    let config = standard(&agency.url());
    let gateway = config.start().await;
    let moved = config.yaml().replace("admin: { address: 127.0.0.1:0 }", "admin: { address: 127.0.0.1:9 }");
    replace(&gateway.config_file(), &moved);
    let answer = gateway.admin("POST", "/reload").await;
    assert_eq!((answer.status(), &answer.json()["outcome"]), (200, &"applied".into()), "{}", answer.text());
    let fault = answer.json()["faults"][0].clone();
    assert_eq!(
        (&fault["code"], &fault["severity"], &fault["path"]),
        (&"W0011".into(), &"warning".into(), &"admin".into())
    );
    let line = 1 + moved.lines().position(|line| line.starts_with("admin:")).unwrap();
    assert_eq!(fault["line"], line, "{fault}");
    assert!(fault["message"].as_str().unwrap().contains("next start"), "{fault}");
    let logged = gateway.stderr.find(|line| (line.contains("W0011") && line.contains("`admin`")).then_some(()));
    within("the warning in the log", logged).await.expect("it is logged");
    gateway.metrics_when("a key that waits", |m| m.sum("darvazeh_config_waits_for_restart", &[]) == 1.0).await;
    // A refused reload after it hides nothing.
    replace(&gateway.config_file(), "not: [a config");
    assert_eq!(gateway.admin("POST", "/reload").await.status(), 422);
    assert_eq!(gateway.admin("GET", "/config").await.json()["waits_for_restart"][0], fault);
    apply(&gateway, &config).await;
    assert_eq!(gateway.admin("GET", "/config").await.json()["waits_for_restart"], serde_json::json!([]));
    assert_eq!(gateway.metrics().await.sum("darvazeh_config_waits_for_restart", &[]), 0.0);
}

/// Off, on, to another file; a file that was moved away is begun again.
#[tokio::test]
async fn the_access_log_turns_with_a_reload() {
    let agency = Agency::hello().await;
    let to = |to: &str| standard(&agency.url()).top(&format!("access_log: {{ to: {to} }}"));
    let gateway = to("off").start().await;
    let pass = async || assert_passed(&send(&gateway, get("/open", &[])).await);
    let lines = |file: &str| std::fs::read_to_string(gateway.path().join(file)).unwrap_or_default().lines().count();
    let until = async |file: &str, count: usize| {
        within("a line in the log", async {
            while lines(file) < count {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await;
        assert_eq!(lines(file), count, "{file}");
    };
    pass().await;
    apply(&gateway, &to("a.log")).await;
    // Workers hear of it by an order that those of the admin listener's question follow.
    gateway.metrics().await;
    pass().await;
    until("a.log", 1).await;
    apply(&gateway, &to("b.log")).await;
    gateway.metrics().await;
    pass().await;
    until("b.log", 1).await;
    std::fs::rename(gateway.path().join("b.log"), gateway.path().join("b.log.1")).unwrap();
    apply(&gateway, &to("b.log")).await;
    pass().await;
    until("b.log", 1).await;
    assert_eq!((lines("a.log"), lines("b.log.1")), (1, 1));
    let faulty = to("b.log/under/a/file");
    replace(&gateway.config_file(), &faulty.yaml());
    assert_eq!(gateway.admin("POST", "/reload").await.status(), 422);
    pass().await;
    until("b.log", 2).await;
}

#[tokio::test]
async fn another_state_dir_is_used_at_once() {
    let agency = Agency::hello().await;
    let gateway = standard(&agency.url()).start().await;
    apply(&gateway, &standard(&agency.url()).top("state_dir: elsewhere")).await;
    assert!(gateway.path().join("elsewhere/assertion.key").is_file());
    assert_passed(&send(&gateway, get("/open", &[])).await);
}
