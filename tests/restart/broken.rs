//! A new program that does not become ready leaves the old one serving.

use crate::service::{Service, command, installed, runs};
use crate::support::agency::Agency;
use crate::support::certs::{Trust, client_config};
use crate::support::client::{HOST, get, handshake};
use crate::support::verdict::assert_passed;
use crate::support::wire::Wire;
use crate::support::{within, world};

/// As though nothing had happened, on connections old and new.
async fn assert_serves(service: &Service, old: &mut Wire) {
    let (tls, socket) = handshake(service.address, HOST, client_config(&Trust::default())).await.expect("a handshake");
    let mut new = Wire::over(tls, socket);
    for wire in [old, &mut new] {
        wire.send(get("/open", &[])).await.expect("open");
        let answer = wire.answer().await;
        assert_passed(&answer);
        assert_eq!(answer.head.get("connection"), None);
    }
    assert_eq!(service.admin("GET", "/readyz").await.status(), 200);
    assert!(runs(service.pid(), service.path()));
}

async fn before(agency: &Agency, limit: &str) -> (Service, Wire) {
    let dir = installed(&world::standard(&agency.url()).yaml());
    let mut command = command(&dir);
    command.env("DARVAZEH_UPGRADE_LIMIT", limit);
    let service = Service::start_by(dir, command).await;
    let (tls, socket) = handshake(service.address, HOST, client_config(&Trust::default())).await.expect("a handshake");
    (service, Wire::over(tls, socket))
}

#[tokio::test]
async fn one_that_exits() {
    let agency = Agency::hello().await;
    let (service, mut old) = before(&agency, "30s").await;
    service.install("exits.sh");
    service.signal("USR2");
    let line = service.says("error: upgrade: ").await;
    assert!(line.contains("exit status: 3"), "{line}");
    assert_serves(&service, &mut old).await;
    assert_eq!(service.upgrades("failed").await, 1.0);
    let done = service.cli(&["--admin", &format!("http://{}", service.admin)]).await;
    assert_eq!(done.status.code(), Some(1));
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(text.contains("exit status: 3") && text.contains("the old program goes on serving"), "{text}");
    service.install("darvazeh");
    service.upgrade().await;
    assert_eq!(service.upgrades("failed").await, 2.0, "the new process knows of the failures before it");
}

#[tokio::test]
async fn one_that_is_never_ready_is_killed_at_the_limit() {
    let agency = Agency::hello().await;
    let (service, mut old) = before(&agency, "300ms").await;
    service.install("hangs.sh");
    service.signal("USR2");
    let line = service.says("hanging as ").await;
    let hanging: u32 = line.strip_prefix("hanging as ").expect("its words").parse().expect("its process");
    service.says("was not ready within 0.3 s and was killed").await;
    assert!(!std::path::Path::new(&format!("/proc/{hanging}")).exists());
    assert_serves(&service, &mut old).await;
    assert_eq!(service.upgrades("timed_out").await, 1.0);
}

#[tokio::test]
async fn one_that_is_not_there() {
    let agency = Agency::hello().await;
    let (service, mut old) = before(&agency, "30s").await;
    std::fs::remove_file(service.path().join("darvazeh")).expect("it is there");
    let answer = within("the answer", service.admin("POST", "/upgrade")).await;
    assert_eq!((answer.status(), &answer.json()["outcome"]), (500, &"failed".into()));
    assert!(answer.json()["why"].as_str().is_some_and(|why| why.contains("cannot be started")), "{}", answer.text());
    assert_serves(&service, &mut old).await;
}

#[tokio::test]
async fn one_that_refuses_the_configuration() {
    let agency = Agency::hello().await;
    let (service, mut old) = before(&agency, "30s").await;
    service.configure("version: 1\nlisteners: []\n");
    service.signal("USR2");
    let line = service.says("error: upgrade: ").await;
    assert!(line.contains("exit status: 1"), "{line}");
    assert_serves(&service, &mut old).await;
}
