//! Envoy's `ext_authz` over gRPC: `envoy.service.auth.v3.Authorization/Check`, one message in and one out.
//!
//! An answer that is no verdict (a broken message, one that is too large) is a gRPC error, which Envoy takes for a no unless it is
//! configured to fail open. Called by `verify` for a peer that may ask.

mod messages;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use prost::Message;

use super::{Asking, Verdict};
use crate::body::{Body, BodyError};
use crate::config::model::IdentityKind;
use crate::fields::Fields;
use crate::forward::present::is_gateways;
use crate::intake::original;
use crate::message::{Inbound, Response};
use messages::{
    BoolValue, CheckRequest, CheckResponse, DeniedHttpResponse, EnvoyHeader, HeaderValueOption, HttpResponse,
    HttpStatus, OkHttpResponse, Status,
};

pub const PATH: &[u8] = b"/envoy.service.auth.v3.Authorization/Check";

/// Bytes of a message: the largest head that a listener takes by default, four times. Envoy sends the head and what
/// describes the connection; a body only where it is told to.
const MESSAGE: usize = 128 * 1024;
/// Flag and length (gRPC over HTTP2, "Length-Prefixed-Message").
const PREFIX: usize = 5;
/// As many header lines as a listener can be told to take.
const HEADERS: usize = 1000;

/// What a call fails with (`grpc-status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    InvalidArgument = 3,
    ResourceExhausted = 8,
    Unimplemented = 12,
}

pub(super) async fn answer(asking: &Asking<'_>, inbound: Inbound) -> Response {
    if inbound.method != Method::POST {
        return failed(Failed::Unimplemented);
    }
    let message = match read(inbound.body).await {
        Ok(message) => message,
        Err(why) => return failed(why),
    };
    let Ok(check) = CheckRequest::decode(message) else { return failed(Failed::InvalidArgument) };
    let original = original(check);
    let own = original.as_ref().map(|original| own_fields(&original.headers)).unwrap_or_default();
    let verdict = asking.judge(original).await;
    succeeded(&respond(verdict, own))
}

/// The one message of a call.
async fn read(mut body: Body) -> Result<Bytes, Failed> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|_| Failed::InvalidArgument)?;
        let Ok(data) = frame.into_data() else { break };
        if bytes.len() + data.len() > PREFIX + MESSAGE {
            return Err(Failed::ResourceExhausted);
        }
        bytes.extend_from_slice(&data);
    }
    unframe(bytes.freeze())
}

fn unframe(mut bytes: Bytes) -> Result<Bytes, Failed> {
    if bytes.len() < PREFIX {
        return Err(Failed::InvalidArgument);
    }
    let prefix = bytes.split_to(PREFIX);
    if prefix[0] != 0 {
        return Err(Failed::Unimplemented);
    }
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    if usize::try_from(length) == Ok(bytes.len()) { Ok(bytes) } else { Err(Failed::InvalidArgument) }
}

/// The request that Envoy asks about.
fn original(check: CheckRequest) -> Result<Inbound, &'static str> {
    let attributes = check.attributes.unwrap_or_default();
    let request = attributes.request.and_then(|request| request.http).ok_or("the check has no HTTP request")?;
    let mut headers = Fields::new();
    let plain = request.headers.into_iter().map(|field| (field.key, field.value.into_bytes()));
    let raw = request.header_map.unwrap_or_default().headers.into_iter();
    let raw = raw
        .map(|field| (field.key, if field.raw_value.is_empty() { field.value.into_bytes() } else { field.raw_value }));
    // `:method` and the like are told by fields of the message.
    for (at, (name, value)) in plain.chain(raw).filter(|(name, _)| !name.starts_with(':')).enumerate() {
        let name = HeaderName::from_bytes(name.as_bytes());
        let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(&value)) else {
            return Err("a header of the original request is malformed");
        };
        if at >= HEADERS {
            return Err("the original request has too many headers");
        }
        headers.append(name, value);
    }
    // Envoy knows the client by its own settings; what stands in the field may be the client's.
    headers.remove("x-forwarded-for");
    let address = attributes.source.and_then(|peer| peer.address).and_then(|address| address.socket_address);
    let client = address.and_then(|socket| socket.address.parse::<IpAddr>().ok());
    if let Some(value) = client.and_then(|client| HeaderValue::try_from(client.to_string()).ok()) {
        headers.insert(HeaderName::from_static("x-forwarded-for"), value);
    }
    let host = HeaderValue::try_from(request.host).map_err(|_| "the original host is malformed")?;
    original::assemble(request.method.as_bytes(), host, request.path.into(), headers)
}

/// What of the request's own fields an agency must not see, besides `Authorization`.
fn own_fields(headers: &Fields) -> Vec<String> {
    let own = headers.keys().map(HeaderName::as_str).filter(|name| is_gateways(name));
    own.collect::<BTreeSet<_>>().into_iter().map(str::to_owned).collect()
}

fn respond(verdict: Verdict, own: Vec<String>) -> CheckResponse {
    let Response { status: answered, headers, body } = verdict.response;
    let Some(identity) = verdict.allowed else {
        let body = match &body {
            Body::Full(text) => String::from_utf8_lossy(text).into_owned(),
            Body::Empty | Body::Stream(_) => String::new(),
        };
        let status = Some(HttpStatus { code: i32::from(answered.as_u16()) });
        let denied = DeniedHttpResponse { status, headers: options(&headers, |_| true), body };
        let code = if answered == StatusCode::UNAUTHORIZED { UNAUTHENTICATED } else { PERMISSION_DENIED };
        return CheckResponse { status: Some(Status { code }), http_response: Some(HttpResponse::Denied(denied)) };
    };
    // Envoy removes after it has set: what is set must not be named.
    let mut headers_to_remove: Vec<String> =
        own.into_iter().filter(|name| !headers.contains_key(name.as_str())).collect();
    if identity != IdentityKind::Token {
        headers_to_remove.push(header::AUTHORIZATION.as_str().to_owned());
    }
    let has_cookie = headers.get(header::COOKIE).map(|cookie| !cookie.is_empty());
    if has_cookie == Some(false) {
        headers_to_remove.push(header::COOKIE.as_str().to_owned());
    }
    // The token of a session (`identity: token`) is the verdict's to give.
    let for_agency = |name: &HeaderName| {
        is_gateways(name.as_str())
            || *name == header::AUTHORIZATION
            || (*name == header::COOKIE && has_cookie == Some(true))
    };
    let for_client = |name: &HeaderName| {
        let is_private = headers.get(header::CACHE_CONTROL).is_some_and(|value| value != "no-store");
        *name == header::SET_COOKIE || (*name == header::CACHE_CONTROL && is_private)
    };
    let allowed = OkHttpResponse {
        headers: options(&headers, for_agency),
        headers_to_remove,
        response_headers_to_add: options(&headers, for_client),
    };
    CheckResponse { status: Some(Status { code: 0 }), http_response: Some(HttpResponse::Ok(allowed)) }
}

/// Each replaces what there is of that name; cookies stand beside each other.
fn options(headers: &Fields, wanted: impl Fn(&HeaderName) -> bool) -> Vec<HeaderValueOption> {
    let fields = headers.iter().filter(|(name, _)| wanted(name));
    let option = |(name, value): (&HeaderName, &HeaderValue)| {
        // One of the two: text where it is text.
        let (value, raw_value) = match value.to_str() {
            Ok(text) => (text.to_owned(), Vec::new()),
            Err(_) => (String::new(), value.as_bytes().to_vec()),
        };
        let header = EnvoyHeader { key: name.as_str().to_owned(), value, raw_value };
        let append = BoolValue { value: *name == header::SET_COOKIE };
        HeaderValueOption { header: Some(header), append: Some(append) }
    };
    fields.map(option).collect()
}

fn succeeded(message: &CheckResponse) -> Response {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX + length);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    bytes.put_slice(&message.encode_to_vec());
    let trailers = HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]);
    grpc(Body::stream(Reply { message: Some(bytes.freeze()), trailers: Some(trailers) }))
}

fn failed(why: Failed) -> Response {
    let mut response = grpc(Body::Empty);
    response.headers.insert(GRPC_STATUS, HeaderValue::from(why as u16));
    response
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

fn grpc(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// One message, and the trailers that say it went well.
struct Reply {
    message: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl HttpBody for Reply {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let message = self.message.take().map(Frame::data);
        Poll::Ready(message.or_else(|| self.trailers.take().map(Frame::trailers)).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.message.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.message.as_ref().map_or(0, |message| message.len() as u64))
    }
}

// Of google/rpc/code.proto.
const PERMISSION_DENIED: i32 = 7;
const UNAUTHENTICATED: i32 = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::messages::{AttributeContext, HttpRequest, Pair, RequestAttributes};
    use super::*;

    fn framed(message: &[u8]) -> Bytes {
        let length = u32::try_from(message.len()).unwrap();
        [&[0][..], &length.to_be_bytes(), message].concat().into()
    }

    proptest! {
        /// Bytes of a stranger are a message, or an error, and never a panic.
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = unframe(bytes.clone().into());
            let message = unframe(framed(&bytes)).unwrap();
            if let Ok(check) = CheckRequest::decode(message) {
                let _ = original(check);
            }
        }

        /// What is asked about is what the message says, whatever it says.
        #[test]
        fn a_check_is_told_as_it_is(method in "[A-Z]{1,8}", path in "\\PC{0,40}", names in proptest::collection::vec("[a-z-]{1,12}", 0..8)) {
            let pair = |name: &String| Pair { key: name.clone(), value: "v".to_owned() };
            let http = HttpRequest {
                method: method.clone(),
                path: path.clone(),
                host: "a.ir".to_owned(),
                headers: names.iter().map(pair).collect(),
                header_map: None,
            };
            let request = Some(RequestAttributes { http: Some(http) });
            let check = CheckRequest { attributes: Some(AttributeContext { source: None, request }) };
            let read = CheckRequest::decode(unframe(framed(&check.encode_to_vec())).unwrap()).unwrap();
            let told = original(read).unwrap();
            prop_assert_eq!(told.method.as_str(), method);
            prop_assert_eq!(told.target, crate::message::Target::Origin { path_and_query: path.into(), authority: None });
            prop_assert_eq!(&told.headers[header::HOST], "a.ir");
        }
    }

    /// Envoy removes after it has set.
    #[test]
    fn what_is_set_is_not_removed() {
        let mut response = Response::new(Body::Empty);
        response.headers.insert(HeaderName::from_static("x-gateway-level"), HeaderValue::from_static("2"));
        let verdict = Verdict { response, allowed: Some(IdentityKind::Token) };
        let own = vec!["x-gateway-level".to_owned(), "x_gateway_level".to_owned()];
        let Some(HttpResponse::Ok(answer)) = respond(verdict, own).http_response else { panic!("a yes becomes a no") };
        assert_eq!(answer.headers.len(), 1);
        assert_eq!(answer.headers_to_remove, ["x_gateway_level"], "`identity: token` leaves the token");
    }

    /// BF-6: what a session sets is the client's, each line of it; what is left of the request's cookies is the agency's.
    #[test]
    fn cookies_go_where_they_belong() {
        let told = |cookie: &'static [u8]| {
            let mut response = Response::new(Body::Empty);
            let headers = &mut response.headers;
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
            headers.insert(header::COOKIE, HeaderValue::from_bytes(cookie).unwrap());
            headers.append(header::SET_COOKIE, HeaderValue::from_static("__Host-darvazeh=a"));
            headers.append(header::SET_COOKIE, HeaderValue::from_static("__Host-darvazeh.1=b"));
            let verdict = Verdict { response, allowed: Some(IdentityKind::None) };
            let Some(HttpResponse::Ok(answer)) = respond(verdict, Vec::new()).http_response else { panic!("no yes") };
            answer
        };
        let name = |option: &HeaderValueOption| option.header.clone().map(|header| header.key).unwrap_or_default();
        let answer = told("نام=سارا".as_bytes());
        assert_eq!(answer.headers.iter().map(name).collect::<Vec<_>>(), ["cookie"]);
        assert_eq!(answer.headers[0].header.clone().unwrap().raw_value, "نام=سارا".as_bytes());
        assert!(!answer.headers_to_remove.contains(&"cookie".to_owned()));
        let set = &answer.response_headers_to_add;
        assert_eq!(set.iter().map(name).collect::<Vec<_>>(), ["cache-control", "set-cookie", "set-cookie"]);
        assert!(set[1..].iter().all(|option| option.append == Some(BoolValue { value: true })));
        let answer = told(b"");
        assert!(answer.headers.is_empty() && answer.headers_to_remove.contains(&"cookie".to_owned()));
    }
}
