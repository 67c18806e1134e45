//! What every answer of the gateway's own must look like (contract section 3), and how challenges are read.

use std::collections::BTreeMap;

use super::wire::Message;

/// The gateway refused with this status and code, and said so in every place where it must.
#[track_caller]
pub fn assert_refused(answer: &Message, status: u16, code: &str) {
    let head = &answer.head;
    let seen = format!("{} {:?}: {}", head.start, head.fields, answer.text());
    assert_eq!((head.status(), head.get("x-gateway-error")), (status, Some(code)), "{seen}");
    assert_eq!(head.get("cache-control"), Some("no-store"), "{seen}");
    assert_eq!(head.get("content-type"), Some("application/problem+json"), "{seen}");
    assert!(answer.payload.complete, "{seen}");
    let body = answer.json();
    assert_eq!((&body["code"], &body["status"]), (&code.into(), &status.into()), "{seen}");
    for member in ["type", "title", "detail", "request_id"] {
        assert!(body[member].as_str().is_some_and(|s| !s.is_empty()), "`{member}` in {seen}");
    }
    assert_eq!(head.get("x-request-id"), body["request_id"].as_str(), "{seen}");
}

/// The agency's answer came through.
#[track_caller]
pub fn assert_passed(answer: &Message) {
    let seen = format!("{} {:?}: {}", answer.head.start, answer.head.fields, answer.text());
    assert_eq!(answer.status(), 200, "{seen}");
    assert!(!answer.head.has("x-gateway-error"), "{seen}");
    assert!(answer.head.get("x-request-id").is_some_and(|id| !id.is_empty()), "{seen}");
    assert!(answer.payload.complete, "{seen}");
}

/// One challenge of `WWW-Authenticate` (RFC 9110 §11.6.1).
#[derive(Debug, PartialEq, Eq)]
pub struct Challenge {
    pub scheme: String,
    pub parameters: BTreeMap<String, String>,
}

impl Challenge {
    #[track_caller]
    pub fn of(answer: &Message) -> Challenge {
        let text = answer.head.get("www-authenticate").unwrap_or_else(|| panic!("no challenge: {:?}", answer.head));
        let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut parameters = BTreeMap::new();
        let mut rest = rest;
        while !rest.is_empty() {
            let (name, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("not name=\"value\": {rest}"));
            let (value, after) = after.split_once('"').unwrap_or_else(|| panic!("an open quotation: {after}"));
            let before = parameters.insert(name.to_owned(), value.to_owned());
            assert!(before.is_none(), "{name} twice: {text}");
            rest = after.strip_prefix(", ").unwrap_or(after);
        }
        Challenge { scheme: scheme.to_owned(), parameters }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }
}

/// A refusal with its challenge: `Bearer realm="public", error="…"`.
#[track_caller]
pub fn assert_challenged(answer: &Message, status: u16, code: &str, error: &str) -> Challenge {
    assert_refused(answer, status, code);
    let challenge = Challenge::of(answer);
    assert_eq!(challenge.scheme, "Bearer");
    assert_eq!((challenge.get("realm"), challenge.get("error")), (Some("public"), Some(error)), "{challenge:?}");
    challenge
}

/// Refused as framing must be: 400 (or nothing at all), and the connection is at its end.
pub async fn assert_closed_with_400(wire: &mut super::wire::Wire, what: &str) {
    if let Some(answer) = wire.try_answer_to("GET").await {
        assert_eq!(answer.status(), 400, "{what}: {:?}", answer.head);
        assert_eq!(answer.head.get("connection"), Some("close"), "{what}: {:?}", answer.head);
    }
    let rest = wire.rest().await;
    assert!(rest.is_empty(), "{what}: more came after the 400: {}", String::from_utf8_lossy(&rest));
}
