//! The access log: one JSON line a request, enough to follow it, nothing of a person (PV-4).

use crate::support::agency::Agency;
use crate::support::client::{get, get_with, post, send};
use crate::support::h2c::{H2Agency, Manner};
use crate::support::token::token;
use crate::support::wire::Message;
use crate::support::world::{self, standard};

fn id(answer: &Message) -> &str {
    answer.head.get("x-request-id").expect("X-Request-Id")
}

#[tokio::test]
async fn a_request_that_passed_is_logged() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    let answer = get_with(&gateway, "/l2/x?q=1", &token(3).sign(), &[]).await;
    let line = gateway.log_of(id(&answer)).await;
    assert_eq!((&line["route"], &line["agency"], &line["method"]), (&"l2".into(), &"registry".into(), &"GET".into()));
    assert_eq!((&line["status"], &line["level"]), (&200.into(), &3.into()), "{line}");
    assert!(line["code"].is_null() || line["code"] == "ok", "{line}");
    let assertion = agency.only().head.get("x-gateway-assertion").expect("an assertion").to_owned();
    let claims = assertion.split('.').nth(1).expect("three parts");
    let claims: serde_json::Value = serde_json::from_slice(&crate::support::sso::unb64(claims)).expect("JSON");
    assert_eq!(line["subject"], claims["sub"], "the subject as the agency knows it: {line}");
}

#[tokio::test]
async fn a_refusal_is_logged_with_its_code() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    let cases = [
        (send(&gateway, get("/l1", &[])).await, "l1", "token_missing"),
        (get_with(&gateway, "/l1", "garbage", &[]).await, "l1", "token_invalid"),
        (get_with(&gateway, "/l3", &token(2).sign(), &[]).await, "l3", "level_too_low"),
        (send(&gateway, get("/nowhere", &[])).await, "", "route_unknown"),
        (send(&gateway, get("/a/../b", &[])).await, "", "path_ambiguous"),
    ];
    for (answer, route, code) in cases {
        let line = gateway.log_of(id(&answer)).await;
        assert_eq!((&line["code"], &line["status"]), (&code.into(), &answer.status().into()), "{line}");
        assert_eq!(line["route"].as_str().unwrap_or_default(), route, "{line}");
    }
}

#[tokio::test]
async fn bytes_are_counted_both_ways() {
    let agency = Agency::hello().await;
    let gateway = world::before(&agency.url()).await;
    let answer = send(&gateway, post("/open", &[], "0123456789")).await;
    let line = gateway.log_of(id(&answer)).await;
    assert!(line["bytes_in"].as_u64().is_some_and(|n| n >= 10), "{line}");
    assert!(line["bytes_out"].as_u64().is_some_and(|n| n >= 5), "{line}");
}

#[tokio::test]
async fn the_log_can_go_to_a_file_or_nowhere() {
    let agency = Agency::hello().await;
    let gateway = standard(&agency.url()).top("access_log: { to: access.log }").start().await;
    let answer = send(&gateway, get("/open", &[])).await;
    assert!(gateway.stop().await.success());
    let log = std::fs::read_to_string(gateway.path().join("access.log")).expect("the log is written");
    assert!(log.contains(id(&answer)), "{log}");
    assert!(gateway.stdout.all().is_empty());

    let gateway = standard(&agency.url()).top("access_log: { to: off }").start().await;
    send(&gateway, get("/open", &[])).await;
    assert!(gateway.stop().await.success());
    assert!(gateway.stdout.all().is_empty());
}

/// Many HTTP/2 agencies end a body with an empty frame; one that came whole was not cut.
#[tokio::test]
async fn an_answer_that_came_whole_is_not_called_cut() {
    let agency = H2Agency::clear(Manner::Whole).await;
    let gateway = world::before(&agency.url()).await;
    let answer = send(&gateway, get("/open", &[])).await;
    assert_eq!(answer.text(), "whole");
    let line = gateway.log_of(id(&answer)).await;
    assert!(line["cut"].is_null(), "{line}");
}
