//! The demo's agencies: whatever is asked, the answer is what reached them. So a person sees what the gateway passes on, adds
//! and removes. `…/events` is a stream of server-sent events, a WebSocket upgrade anywhere gets an echo.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Map, Value, json};
use tokio::time::{Interval, interval};

use super::serve::{Answer, answer, json};
use super::websocket;

/// Answers for the agency that is called `name`.
pub async fn answer_for(name: &str, mut request: Request<Incoming>) -> Answer {
    if let Some(welcome) = websocket::accept(&mut request) {
        return welcome;
    }
    match request.uri().path() {
        "/healthz" => answer(StatusCode::OK, "text/plain", "ok\n"),
        path if path.ends_with("/events") => events(),
        _ => echo(name, request).await,
    }
}

async fn echo(name: &str, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let mut seen = Map::new();
    for (field, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        match seen.get_mut(field.as_str()) {
            Some(Value::String(earlier)) => *earlier = format!("{earlier}, {value}"),
            _ => drop(seen.insert(field.to_string(), Value::String(value.into_owned()))),
        }
    }
    let Ok(body) = body.collect().await else {
        return json(StatusCode::BAD_REQUEST, &json!({ "agency": name, "error": "the body broke off" }));
    };
    let echo = json!({
        "agency": name,
        "method": head.method.as_str(),
        "path": head.uri.path(),
        "query": head.uri.query(),
        "headers": seen,
        "body_bytes": body.to_bytes().len(),
    });
    json(StatusCode::OK, &echo)
}

/// Three events, then the end.
fn events() -> Answer {
    let stream = Events { pace: interval(Duration::from_millis(300)), sent: 0 };
    let mut answer = Response::new(stream.boxed_unsync());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    answer
}

struct Events {
    pace: Interval,
    sent: u8,
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.sent == 3 {
            return Poll::Ready(None);
        }
        ready!(self.pace.poll_tick(cx));
        self.sent += 1;
        let event = format!("id: {0}\ndata: event {0} of 3\n\n", self.sent);
        Poll::Ready(Some(Ok(Frame::data(event.into()))))
    }
}
