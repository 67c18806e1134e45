//! Agencies that misbehave, each in one way, at one moment: what the caller is told, and how often the agency was asked.
//!
//! A row of the tables in `tls`, `http1` and `http2` is one way to misbehave. Each is met by three requests (GET, POST with a body,
//! POST without) from callers over HTTP/1.1 and HTTP/2, every one of them with an agency and a route of its own, all behind one
//! gateway. A caller is told of every fault: by a status and a code, or, when the head had gone out, by an answer that is visibly cut.
//! And a POST that may have reached the agency never reaches it again.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

// Only part of it is used here; the whole is used by the tests of `gateway`.
#[allow(dead_code, unused_imports)]
#[path = "../support/mod.rs"]
mod support;

mod http1;
mod http2;
mod run;
mod script;
mod tls;

use script::Step;

const BROKE: &str = "502 upstream_broke";
const TIMEOUT: &str = "504 upstream_timeout";
/// A head, and a body that is seen not to be whole: by its framing, or by a reset.
const CUT: &str = "200 cut";

/// A way to misbehave.
#[derive(Clone, Copy)]
struct Case {
    /// Becomes the names of its routes and agencies.
    name: &'static str,
    /// What the agency does on a connection; at the end of it, all again, but for the preface.
    script: &'static [Step],
    /// What it does on any connection after the first, where that differs.
    then: Option<&'static [Step]>,
    /// The agency's limit that is to be reached; all others are ample.
    reached: Limit,
    /// Requests that the case is not about.
    only: &'static [Shape],
    /// A request that succeeds goes before, on the same connections.
    warm: bool,
    expected: Expected,
}

/// What comes of it: `200`, `200 cut`, or a status and a code; and how often the agency reads the request's head.
#[derive(Clone, Copy)]
struct Expected {
    get: (&'static str, Times),
    post: (&'static str, Times),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Times {
    Exactly(usize),
    /// The agency has said of each but the last that it did not look at it; or it is a GET, which may be asked again.
    UpTo(usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Limit {
    None,
    Connect,
    Response,
    Idle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Get,
    /// POST with a body that does not fit HTTP/2's first window.
    Form,
    /// POST without a body.
    Bare,
}

const ALL: &[Shape] = &[Shape::Get, Shape::Form, Shape::Bare];
const FORM: &[Shape] = &[Shape::Form];
/// What the gateway still has whole when it was sent.
const SMALL: &[Shape] = &[Shape::Get, Shape::Bare];

/// A POST reaches the agency `times`, and a GET at least as often, but no more than twice.
const fn case(name: &'static str, script: &'static [Step], outcome: &'static str, times: usize) -> Case {
    let get = (outcome, if times == 0 { Times::Exactly(0) } else { Times::UpTo(2) });
    let expected = Expected { get, post: (outcome, Times::Exactly(times)) };
    Case { name, script, then: None, reached: Limit::None, only: ALL, warm: false, expected }
}

impl Case {
    const fn reaching(self, reached: Limit) -> Case {
        Case { reached, ..self }
    }

    const fn only(self, only: &'static [Shape]) -> Case {
        Case { only, ..self }
    }

    /// After a request that succeeds; `script` says that too. `then`: what is done on the next connection.
    const fn warm(self, then: &'static [Step]) -> Case {
        Case { warm: true, then: Some(then), ..self }
    }

    /// A GET fares otherwise than a POST.
    const fn get(self, outcome: &'static str, times: Times) -> Case {
        Case { expected: Expected { get: (outcome, times), ..self.expected }, ..self }
    }

    const fn post(self, outcome: &'static str, times: Times) -> Case {
        Case { expected: Expected { post: (outcome, times), ..self.expected }, ..self }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_an_agency_does_in_the_handshake() {
    run::all("https", tls::CASES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_an_http1_agency_does() {
    run::all("http", http1::CASES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_an_http2_agency_does() {
    run::all("h2c", http2::CASES).await;
}
