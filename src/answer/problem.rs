//! `application/problem+json` (RFC 9457): the answer of most refusals, and so the cheapest thing the gateway does. The
//! whole body is one allocation; nothing is formatted. Called by `answer::render` alone.

use super::{Link, Said, escape};

pub(super) const CONTENT_TYPE: &str = "application/problem+json";

/// Followed by the code it is the problem's `type`: an identifier that never changes and is not meant to be fetched.
/// `docs/answers.md` is the page that explains each of them.
const TYPE: &str = "urn:darvazeh:problem:";

/// PD: `type`, `title`, `status`, `detail`, `code`, `request_id`, and `instance` where the id can be written as a UUID.
pub(super) fn body(said: &Said<'_>) -> String {
    let code = said.code.as_str();
    let detail = escape::json(said.detail);
    let uuid = uuid(said.id);
    let (instance, uuid) = match &uuid {
        Some(text) => (r#"","instance":"urn:uuid:"#, std::str::from_utf8(text).expect("hex digits and hyphens")),
        None => ("", ""),
    };
    let link = said.link.map(|link| escape::json(link.url));
    let (link_name, link) = match (&said.link, &link) {
        (Some(Link { kind, .. }), Some(url)) => (kind.member(), &**url),
        _ => ("", ""),
    };
    let [before_link, behind_link] = if link.is_empty() { ["", ""] } else { ["\",\"", "\":\""] };
    [
        r#"{"type":""#,
        TYPE,
        code,
        r#"","title":""#,
        said.texts.title,
        r#"","status":"#,
        said.status.as_str(),
        r#","detail":""#,
        &detail,
        r#"","code":""#,
        code,
        r#"","request_id":""#,
        said.id,
        instance,
        uuid,
        before_link,
        link_name,
        behind_link,
        link,
        "\"}",
    ]
    .concat()
}

/// 32 hexadecimal digits in the form 8-4-4-4-12 (RFC 9562 §4); `None` for an id of any other form.
fn uuid(id: &str) -> Option<[u8; 36]> {
    let digits = id.as_bytes();
    if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut text = [b'-'; 36];
    let mut from = 0;
    for (at, len) in [(0, 8), (9, 4), (14, 4), (19, 4), (24, 12)] {
        text[at..at + len].copy_from_slice(&digits[from..from + len]);
        from += len;
    }
    Some(text)
}
