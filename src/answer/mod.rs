//! The gateway's own answers in four dresses: problem+json, a page in Persian or English, a SOAP fault, a gRPC status.
//!
//! Floor 2: it is told what to say, and decides nothing. It knows no route, no agency and no token, and nothing of what
//! the caller sent reaches its output. Called by `pipeline::respond`; the developer's view of it is `docs/answers.md`.

pub mod cors;
pub mod escape;
mod grpc;
mod negotiate;
mod page;
mod problem;
pub mod sheet;
mod soap;
mod texts;

use http::header::{
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::body::Body;
use crate::config::model::Contact;
use crate::fields::Fields;
use crate::message::Response;
use crate::words::{Code, RequestId};

pub use negotiate::manner;
pub use texts::{Texts, Titles, texts, titles};

/// On every answer that the gateway made itself, and on no other (contract section 3).
pub const X_GATEWAY_ERROR: HeaderName = HeaderName::from_static("x-gateway-error");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Tells the caller what its request is called. It never comes again, so HPACK need not remember it in place of what does (RFC 7541
/// section 7.1.3).
pub fn say_id(headers: &mut Fields, id: &RequestId) {
    if let Ok(mut id) = HeaderValue::from_bytes(id.as_bytes()) {
        id.set_sensitive(true);
        headers.insert(X_REQUEST_ID, id);
    }
}

/// Room for our own headers and for the challenges, `Allow`, CORS and the like that the caller adds: the list seldom grows.
const HEADERS: usize = 14;

/// What is to be said. `detail` is for the developer, fixed text that never repeats what the caller sent; without it the
/// code's own detail is used, in the language of the answer.
pub struct Notice<'a> {
    pub code: Code,
    pub detail: Option<&'a str>,
    pub request_id: RequestId,
    pub contact: &'a Contact,
    /// What the caller can do next, where that is more than to read.
    pub link: Option<Link<'a>>,
}

/// A way on.
#[derive(Clone, Copy)]
pub struct Link<'a> {
    pub kind: LinkKind,
    /// On this host.
    pub url: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    SignIn,
    StepUp,
    TryAgain,
}

impl LinkKind {
    /// Its member in a problem (SU-6).
    const fn member(self) -> &'static str {
        match self {
            LinkKind::SignIn | LinkKind::TryAgain => "login_url",
            LinkKind::StepUp => "step_up_url",
        }
    }
}

/// How it is to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    pub dress: Dress,
    pub language: Language,
    /// The request was HEAD.
    pub head_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dress {
    Problem,
    Page,
    Soap11,
    Soap12,
    Grpc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Fa,
    En,
}

impl Language {
    /// The language tag (RFC 5646).
    pub const fn tag(self) -> &'static str {
        match self {
            Language::Fa => "fa",
            Language::En => "en",
        }
    }
}

/// A notice with everything looked up that the dresses share.
struct Said<'a> {
    code: Code,
    status: StatusCode,
    texts: &'static Texts,
    detail: &'a str,
    id: &'a str,
    language: Language,
    contact: &'a Contact,
    link: Option<Link<'a>>,
}

/// The answer with status, body, `Content-Type`, `X-Gateway-Error`, `X-Request-Id`, `Cache-Control: no-store` and the
/// security headers of a page. Challenges, `Allow`, `Retry-After` and `Proxy-Status` are the caller's to add.
///
/// The status is the code's, in every dress but one: a gRPC answer is 200 with the reason in `grpc-status`. The answer to
/// HEAD has no body and says in `Content-Length` what GET would have brought (RFC 9110 §9.3.2); for the others the length
/// is the HTTP writer's to set.
pub fn render(notice: &Notice<'_>, manner: Manner) -> Response {
    let language = manner.language;
    let texts = texts(notice.code, language);
    let said = Said {
        code: notice.code,
        status: StatusCode::from_u16(notice.code.status()).expect("the table of codes has valid statuses"),
        texts,
        detail: notice.detail.unwrap_or(texts.detail),
        id: notice.request_id.as_str(),
        language,
        contact: notice.contact,
        link: notice.link,
    };
    let mut headers = common_headers(said.code, &notice.request_id);
    let (status, text) = match manner.dress {
        Dress::Problem => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
            (said.status, problem::body(&said))
        }
        Dress::Page => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            headers.insert(CONTENT_SECURITY_POLICY, page::policy());
            headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
            (said.status, page::body(&said))
        }
        Dress::Soap11 | Dress::Soap12 => {
            let version = if manner.dress == Dress::Soap11 { soap::Version::V1_1 } else { soap::Version::V1_2 };
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(version.content_type()));
            (said.status, soap::body(&said, version))
        }
        Dress::Grpc => {
            grpc::trailers_only(&mut headers, said.code, notice.detail);
            (StatusCode::OK, String::new())
        }
    };
    if manner.dress != Dress::Grpc {
        headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
        headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Language"));
    }
    let body = if manner.head_only {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
        Body::Empty
    } else {
        Body::full(text)
    };
    Response { status, headers, body }
}

/// What every dress carries.
fn common_headers(code: Code, request_id: &RequestId) -> Fields {
    let mut headers = Fields::with_capacity(HEADERS);
    headers.insert(X_GATEWAY_ERROR, HeaderValue::from_static(code.as_str()));
    say_id(&mut headers, request_id);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
}

#[cfg(test)]
mod tests;
