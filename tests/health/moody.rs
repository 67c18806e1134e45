//! An agency that is well or ill as the test says, and what the gateway says of its endpoints.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::support::agency::Agency;
use crate::support::gateway::Gateway;
use crate::support::wire::Message;
use crate::support::within;
use crate::support::world::Config;

pub const CHECKED: &str = "/healthz";

/// Answers requests and health checks each with a status of its own.
pub struct Moody {
    agency: Agency,
    health: Arc<AtomicU16>,
    answer: Arc<AtomicU16>,
}

impl Moody {
    pub async fn well() -> Moody {
        let (health, answer) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicU16::new(200)));
        let (of_checks, of_requests) = (health.clone(), answer.clone());
        let agency = Agency::start(move |request| {
            let status = if request.head.target() == CHECKED { &of_checks } else { &of_requests };
            let status = status.load(Ordering::Relaxed);
            format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok").into_bytes()
        });
        Moody { agency: agency.await, health, answer }
    }

    /// By its address, so that it is the endpoint's only one.
    pub fn url(&self) -> String {
        format!("http://{}", self.agency.address)
    }

    pub fn answers(&self, status: u16) {
        self.answer.store(status, Ordering::Relaxed);
    }

    pub fn answers_checks(&self, status: u16) {
        self.health.store(status, Ordering::Relaxed);
    }

    /// Requests that are no health checks.
    pub fn requests(&self) -> usize {
        self.agency.seen().iter().filter(|request| request.head.target() != CHECKED).count()
    }

    pub fn checks(&self) -> Vec<Message> {
        self.agency.seen().into_iter().filter(|request| request.head.target() == CHECKED).collect()
    }
}

/// An agency `registry` with these endpoints, and the route `open`.
pub fn over(urls: &[&str], keys: &str) -> Config {
    Config::new().agency_at("registry", urls, keys).simple("open", "registry", 0)
}

/// Quick checks.
pub const QUICK: &str = "health: { path: /healthz, interval: 20ms, timeout: 2s, healthy_after: 2, unhealthy_after: 3 }, balance: round_robin";

/// Asks again and again until it holds.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    within(what, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// What `/agencies` says of an endpoint of the first agency.
pub async fn endpoint(gateway: &Gateway, at: usize) -> Value {
    gateway.admin("GET", "/agencies").await.json()["agencies"][0]["endpoints"][at].clone()
}

pub async fn endpoint_when(gateway: &Gateway, at: usize, key: &str, value: bool) {
    until(&format!("endpoint {at} with {key}: {value}"), async || endpoint(gateway, at).await[key] == value).await;
}

/// Lines of the log that hold all of these.
pub fn said(gateway: &Gateway, parts: &[&str]) -> usize {
    gateway.stderr.all().iter().filter(|line| parts.iter().all(|part| line.contains(part))).count()
}

pub async fn said_once(gateway: &Gateway, parts: &[&str]) {
    until(&format!("a line with {parts:?}"), async || said(gateway, parts) > 0).await;
    assert_eq!(said(gateway, parts), 1, "{parts:?}");
}

/// The value of a metric of an endpoint.
pub async fn metric(gateway: &Gateway, name: &str, url: &str) -> f64 {
    gateway.metrics().await.sum(name, &[&format!("endpoint=\"{url}\"")])
}

pub fn replace(gateway: &Gateway, config: &Config) {
    std::fs::write(gateway.config_file(), config.yaml()).expect("our own directory");
}

pub async fn reloaded(gateway: &Gateway, config: &Config) {
    replace(gateway, config);
    let answer = gateway.admin("POST", "/reload").await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
}
