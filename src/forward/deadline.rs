//! The limit on the whole of a request (`timeouts.request`), and how an agency is told what is left of it.
//!
//! The agency hears `X-Gateway-Deadline: MILLISECONDS`, written anew for every try; nobody can forge it, since callers' own
//! fields of that name are removed on the way in. A gRPC call's own limit (`grpc-timeout`) is lowered likewise, by the time
//! that the call spent here. Without `timeouts.request` nothing is limited, and nothing is said.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::apart::apart;
use crate::body::{Body, BodyError};
use crate::fields::Fields;

const X_GATEWAY_DEADLINE: HeaderName = HeaderName::from_static("x-gateway-deadline");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// A try ends by its own limits first, which say who is to blame; this is for what has no limit of its own.
const GRACE: Duration = Duration::from_millis(20);
/// Far enough to mean "no limit".
const FOREVER: Duration = Duration::from_secs(86_400 * 365);

/// What a request may still take.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    begun: Instant,
    limit: Option<Duration>,
}

/// The limits a request came with or has, before it is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `timeouts.request`
    pub request: Option<Duration>,
    /// What a gRPC caller set.
    pub grpc: Option<Duration>,
    /// It is gRPC, and is told of the limit in gRPC's way too.
    pub is_grpc: bool,
}

impl Deadline {
    pub const fn begin(limit: Option<Duration>, begun: Instant) -> Deadline {
        Deadline { begun, limit }
    }

    pub const fn begun(&self) -> Instant {
        self.begun
    }

    pub fn left(&self) -> Duration {
        self.limit.map_or(FOREVER, |limit| limit.saturating_sub(self.begun.elapsed()))
    }

    /// Runs `work` up to the deadline and a little beyond. `None`: it took longer.
    pub async fn hold<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        match self.limit {
            // Boxed: only who is limited has room for the timer.
            Some(limit) => apart(tokio::time::timeout_at(self.begun + limit + GRACE, work)).await.ok(),
            None => Some(work.await),
        }
    }

    /// Cuts the answer's body off at the deadline.
    pub fn cut(&self, body: Body) -> Body {
        match (self.limit, body) {
            (Some(limit), Body::Stream(body)) => {
                let body = Body::Stream(body);
                Body::stream(Cut { body, end: Box::pin(sleep_until(self.begun + limit)) })
            }
            (_, body) => body,
        }
    }
}

impl Limits {
    /// `request`: what the route or the agency says.
    pub fn of(request: Option<Duration>, headers: &Fields) -> Limits {
        let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let is_grpc = kind.starts_with(b"application/grpc");
        let grpc = if is_grpc { headers.get(GRPC_TIMEOUT).and_then(parse_grpc) } else { None };
        Limits { request, grpc, is_grpc }
    }

    /// Tells the agency what is left after `spent`.
    pub fn tell(&self, headers: &mut Fields, spent: Duration) {
        let left = self.request.map(|limit| limit.saturating_sub(spent));
        if let Some(left) = left {
            headers.insert(X_GATEWAY_DEADLINE, HeaderValue::from(millis(left)));
        }
        let for_grpc = match (left.filter(|_| self.is_grpc), self.grpc.map(|limit| limit.saturating_sub(spent))) {
            (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        if let Some(left) = for_grpc {
            headers.insert(GRPC_TIMEOUT, write_grpc(left));
        }
    }

    /// Whether there is anything to tell.
    pub fn is_told(&self) -> bool {
        self.request.is_some() || self.grpc.is_some()
    }
}

/// `Timeout` of the gRPC protocol: up to 8 digits and a unit.
fn parse_grpc(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// In milliseconds while 8 digits hold them, else in seconds.
fn write_grpc(left: Duration) -> HeaderValue {
    let text = match millis(left) {
        millis @ 0..=99_999_999 => format!("{millis}m"),
        millis => format!("{}S", (millis / 1000).min(99_999_999)),
    };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("0m"))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A body that ends with a failure when its time is over.
struct Cut {
    body: Body,
    end: Pin<Box<Sleep>>,
}

impl HttpBody for Cut {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.end.as_mut().poll(cx).is_ready() {
            // The exchange is broken off at once, and not when the caller has gone.
            self.body = Body::Empty;
            return Poll::Ready(Some(Err(BodyError::UpstreamTimeout)));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        !self.end.is_elapsed() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(limits: Limits, spent: u64) -> (Option<String>, Option<String>) {
        let mut headers = Fields::new();
        limits.tell(&mut headers, Duration::from_millis(spent));
        let text = |name| headers.get(&name).map(|v: &HeaderValue| v.to_str().unwrap().to_owned());
        (text(X_GATEWAY_DEADLINE), text(GRPC_TIMEOUT))
    }

    fn limits(request: Option<u64>, timeout: Option<&'static str>, kind: &'static str) -> Limits {
        let mut headers = Fields::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(timeout) = timeout {
            headers.insert(GRPC_TIMEOUT, HeaderValue::from_static(timeout));
        }
        Limits::of(request.map(Duration::from_millis), &headers)
    }

    #[test]
    fn the_agency_is_told_what_is_left() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(told(limits(Some(1500), None, "text/plain"), 300), (some("1200"), None));
        assert_eq!(told(limits(Some(1500), None, "text/plain"), 9000), (some("0"), None));
        assert_eq!(told(limits(None, None, "text/plain"), 300), (None, None));
        // No gRPC, no business of ours.
        assert_eq!(told(limits(None, Some("2S"), "text/plain"), 300), (None, None));
    }

    #[test]
    fn a_grpc_timeout_is_lowered_and_never_raised() {
        let grpc = "application/grpc+proto";
        assert_eq!(told(limits(None, Some("2S"), grpc), 300).1.unwrap(), "1700m");
        assert_eq!(told(limits(Some(500), Some("2S"), grpc), 300).1.unwrap(), "200m");
        assert_eq!(told(limits(Some(5000), Some("2S"), grpc), 300).1.unwrap(), "1700m");
        assert_eq!(told(limits(Some(5000), None, grpc), 0).1.unwrap(), "5000m");
        assert_eq!(told(limits(None, Some("99999999H"), grpc), 0).1.unwrap(), "99999999S");
        for broken in ["", "S", "1", "123456789S", "-1S", "1s", "1.5S"] {
            assert_eq!(limits(None, Some(broken), grpc).grpc, None, "{broken}");
        }
    }
}
