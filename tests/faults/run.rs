//! Runs a table: one gateway, an agency and a route for each case, request and caller, and a judgement of each.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::script::Agency;
use crate::support::client::{H2, HOST, connect_plain};
use crate::support::gateway::Gateway;
use crate::support::wire::Message;
use crate::support::world::Config;
use crate::{CUT, Case, Limit, Shape, Times};

/// So many at once that two cores are busy, and so few that nobody waits for long: a limit is to be reached by the agency's
/// fault, never by the machine's.
const AT_ONCE: usize = 16;
const REACHED: &str = "500ms";
const AMPLE: &str = "30s";
/// More than the 64 KiB of HTTP/2's first window, less than what sockets hold.
const FORM: usize = 100 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Http1,
    Http2,
}

struct Run {
    case: Case,
    shape: Shape,
    caller: Caller,
    agency: Agency,
}

/// What the caller had, and the request's id, by which the log knows it.
struct Outcome {
    text: String,
    id: Option<String>,
}

impl Run {
    fn name(&self) -> String {
        format!("{}-{:?}-{:?}", self.case.name, self.shape, self.caller).to_ascii_lowercase()
    }

    fn method(&self) -> &'static str {
        if self.shape == Shape::Get { "GET" } else { "POST" }
    }

    fn expected(&self) -> (&'static str, Times) {
        if self.shape == Shape::Get { self.case.expected.get } else { self.case.expected.post }
    }

    /// Status and code in metrics and log.
    fn counted_as<'a>(&self, outcome: &'a str) -> (&'a str, &'a str) {
        match outcome.split_once(' ') {
            Some((status, "cut")) if self.case.reached == Limit::Idle => (status, "upstream_timeout"),
            Some((status, "cut")) => (status, "upstream_broke"),
            Some(both) => both,
            None => (outcome, outcome),
        }
    }

    async fn ask(&self, gateway: &Gateway) -> Outcome {
        let path = format!("/{}", self.name());
        let body = if self.shape == Shape::Form { vec![b'x'; FORM] } else { Vec::new() };
        match self.caller {
            Caller::Http1 => self.over_http1(gateway, &path, &body).await,
            Caller::Http2 => self.over_http2(gateway, &path, &body).await,
        }
    }

    async fn over_http1(&self, gateway: &Gateway, path: &str, body: &[u8]) -> Outcome {
        let mut wire = connect_plain(gateway.address()).await;
        if self.case.warm {
            wire.send(format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await.unwrap();
            assert_eq!(outcome(Some(wire.answer().await)).text, "200");
        }
        let length =
            if self.shape == Shape::Get { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let mut text = format!("{} {path} HTTP/1.1\r\nHost: {HOST}\r\n{length}\r\n", self.method()).into_bytes();
        text.extend_from_slice(body);
        // The answer may come before all of it is read.
        let _ = wire.send(text).await;
        loop {
            let answer = wire.try_answer_to("GET").await;
            if answer.as_ref().is_none_or(|answer| answer.status() >= 200) {
                return outcome(answer);
            }
        }
    }

    async fn over_http2(&self, gateway: &Gateway, path: &str, body: &[u8]) -> Outcome {
        let tcp = TcpStream::connect(gateway.address()).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let h2 = H2::over(tcp).await;
        let request = |method| Request::builder().method(method).uri(format!("http://{HOST}{path}")).body(()).unwrap();
        if self.case.warm {
            assert_eq!(outcome(h2.try_request(request("GET"), &[]).await.ok().map(|a| a.message())).text, "200");
        }
        match h2.try_request(request(self.method()), body).await {
            Ok(answer) => outcome(Some(answer.message())),
            // A reset may overtake what waits to be sent, the head included: no caller takes that for an answer.
            Err(error) if error.is_reset() && self.expected().0.starts_with(CUT) => {
                Outcome { text: CUT.into(), id: None }
            }
            Err(error) => Outcome { text: error.to_string(), id: None },
        }
    }
}

/// As the tables say it.
fn outcome(answer: Option<Message>) -> Outcome {
    let Some(answer) = answer else { return Outcome { text: "nothing".into(), id: None } };
    let mut text = answer.status().to_string();
    match answer.head.get("x-gateway-error") {
        Some(code) => text = format!("{text} {code}"),
        None if answer.payload.complete && answer.text() != "hello" => text += " with another body",
        None => {}
    }
    if !answer.payload.complete {
        text += " cut";
    }
    Outcome { text, id: answer.head.get("x-request-id").map(str::to_owned) }
}

pub async fn all(scheme: &str, cases: &'static [Case]) {
    let runs = prepare(cases).await;
    let gateway = Arc::new(start(scheme, &runs).await);
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut asked = JoinSet::new();
    for run in runs {
        let (gateway, turns) = (gateway.clone(), turns.clone());
        asked.spawn(async move {
            let _turn = turns.acquire_owned().await.unwrap();
            let limit = Duration::from_secs(20);
            let timed_out = |_| Outcome { text: "no answer in 20 s".into(), id: None };
            let outcome = tokio::time::timeout(limit, run.ask(&gateway)).await.unwrap_or_else(timed_out);
            (run, outcome)
        });
    }
    let mut wrong = Vec::new();
    let done = asked.join_all().await;
    for (run, outcome) in &done {
        wrong.extend(judge(&gateway, run, outcome).await.map(|why| format!("{:<50} {why}", run.name())));
    }
    wrong.extend(count(&gateway, &done).await);
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), done.len(), wrong.join("\n"));
}

async fn prepare(cases: &'static [Case]) -> Vec<Run> {
    let mut started = JoinSet::new();
    for case in cases {
        for shape in case.only {
            for caller in [Caller::Http1, Caller::Http2] {
                let (case, shape) = (*case, *shape);
                started.spawn(async move {
                    let agency = Agency::start(case.script, case.then.unwrap_or(case.script)).await;
                    Run { case, shape, caller, agency }
                });
            }
        }
    }
    started.join_all().await
}

/// The listener is in the clear: what is between the gateway and the caller is tested elsewhere.
async fn start(scheme: &str, runs: &[Run]) -> Gateway {
    let mut config = Config::new().listeners(&["{ name: public, address: 127.0.0.1:0 }"]);
    for run in runs {
        let time = |limit| if run.case.reached == limit { REACHED } else { AMPLE };
        let (connect, response, idle) = (time(Limit::Connect), time(Limit::Response), time(Limit::Idle));
        let keys = format!(
            "timeouts: {{ connect: {connect}, response: {response}, idle: {idle} }}, outlier: off, health: off"
        );
        let url = format!("{scheme}://127.0.0.1:{}", run.agency.port);
        config = config.agency_with(&run.name(), &url, &keys).simple(&run.name(), &run.name(), 0);
    }
    config.start().await
}

/// The caller's answer, and the line of the log that tells of it.
async fn judge(gateway: &Gateway, run: &Run, outcome: &Outcome) -> Option<String> {
    let (expected, _) = run.expected();
    if !expected.split(" or ").any(|one| one == outcome.text) {
        return Some(format!("{} instead of {expected}", outcome.text));
    }
    let line = gateway.log_of(outcome.id.as_ref()?).await;
    let logged = (line["status"].to_string(), line["code"].as_str(), line["cut"] == true);
    let (status, code) = run.counted_as(&outcome.text);
    let wanted = (status.to_owned(), Some(code).filter(|code| *code != status), outcome.text == CUT);
    (logged != wanted).then(|| format!("logged as {logged:?} instead of {wanted:?}"))
}

/// How often each agency was asked, and how often the metrics say that each route was.
async fn count(gateway: &Gateway, done: &[(Run, Outcome)]) -> Vec<String> {
    let mut wrong = Vec::new();
    let total: usize = done.iter().map(|(run, _)| 1 + usize::from(run.case.warm)).sum();
    let all_there = |m: &crate::support::gateway::Metrics| m.sum("darvazeh_requests_total", &[]) >= total as f64;
    let metrics = gateway.metrics_when("every request", all_there).await;
    for (run, outcome) in done {
        let seen = run.agency.seen() - usize::from(run.case.warm);
        let good = match run.expected().1 {
            Times::Exactly(times) => seen == times,
            Times::UpTo(times) => (1..=times).contains(&seen),
        };
        if !good {
            wrong.push(format!("{:<50} was asked {seen} times", run.name()));
        }
        let (status, code) = run.counted_as(&outcome.text);
        let name = run.name();
        let labels = [("route", name.as_str()), ("code", code), ("status", status)];
        let labels = labels.map(|(name, value)| format!("{name}=\"{value}\""));
        let counted = metrics.sum("darvazeh_requests_total", &labels.each_ref().map(String::as_str));
        let wanted = 1.0 + f64::from(u8::from(run.case.warm && code == "200"));
        if counted != wanted {
            wrong.push(format!("{:<50} is {counted} times in the metrics as {status} {code}", run.name()));
        }
    }
    wrong
}
