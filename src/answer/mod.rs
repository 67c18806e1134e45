//! The gateway's own answers in four dresses: problem+json, a page in Persian or English, a SOAP fault, a gRPC status.
//! Floor 2: it is told what to say, and decides nothing.

use http::{HeaderMap, Response};

use crate::body::Body;
use crate::config::model::Contact;
use crate::words::{Code, RequestId};

/// What is to be said. `detail` is for the developer, fixed text that never repeats what the caller sent.
pub struct Notice<'a> {
    pub code: Code,
    pub detail: Option<&'a str>,
    pub request_id: RequestId,
    pub contact: &'a Contact,
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

/// What the caller can read, by its method and headers.
pub fn manner(_method: &http::Method, _headers: &HeaderMap) -> Manner {
    todo!()
}

/// The answer with status, body, `Content-Type`, `X-Gateway-Error`, `X-Request-Id`, `Cache-Control: no-store` and the
/// security headers of a page. Challenges, `Allow`, `Retry-After` and `Proxy-Status` are the caller's to add.
pub fn render(_notice: &Notice<'_>, _manner: Manner) -> Response<Body> {
    todo!()
}
