//! What a verdict on a session tells the asking proxy besides yes or no: which cookies are the agency's and which the
//! browser's, and where somebody can log in.
//!
//! It knows no proxy by name, only what some of them lack: Traefik makes a `Location` without a host one of the gateway's,
//! and those that give one value for each field cannot pass on two `Set-Cookie`. Called by `verify`.

use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};

use crate::fields::Fields;
use crate::forward::headers::OWN_COOKIES;
use crate::message::Response;
use crate::pipeline::refusal::Refusal;
use crate::pipeline::session::Entered;
use crate::session::Jar;

/// Where to log in, also in answers whose body the proxy cannot pass on.
const X_GATEWAY_LOGIN: HeaderName = HeaderName::from_static("x-gateway-login");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The same as `Set-Cookie`, one in each. A session takes no more cookies than this.
const NUMBERED: [HeaderName; 5] = [
    HeaderName::from_static("x-set-cookie-1"),
    HeaderName::from_static("x-set-cookie-2"),
    HeaderName::from_static("x-set-cookie-3"),
    HeaderName::from_static("x-set-cookie-4"),
    HeaderName::from_static("x-set-cookie-5"),
];

/// Whether the proxy tells the scheme of the original request. Where it does not, it is https: no session goes without.
pub(super) fn scheme(original: &mut Fields) -> bool {
    let told = original.contains_key(X_FORWARDED_PROTO);
    if !told {
        original.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
    }
    told
}

/// What goes with a yes. `original`: the fields of the request that was asked about.
pub(super) fn with_yes(entered: &Entered, cookies: &[HeaderValue], jar: &Jar, original: &Fields, answer: &mut Fields) {
    answer.insert(header::COOKIE, for_agency(jar, original));
    if entered.session.is_some() {
        // What the agency answers is kept nowhere either, so that after a logout the back button shows nothing.
        answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    }
    set(cookies, answer);
}

/// For proxies that pass all of an answer on, and for those that read one value of each field.
fn set(cookies: &[HeaderValue], answer: &mut Fields) {
    for cookie in cookies {
        answer.append(header::SET_COOKIE, cookie.clone());
    }
    answer.extend(NUMBERED.into_iter().zip(cookies.iter().cloned()));
}

/// The caller's cookies without the gateway's own; empty where there are none, so that the proxy replaces them in any case.
fn for_agency(jar: &Jar, original: &Fields) -> HeaderValue {
    let cookies = original.get_all(header::COOKIE).map(|value| (header::COOKIE, value.clone()));
    let mut cookies = Fields::from_iter(cookies);
    jar.strip_request_also(&mut cookies, &[OWN_COOKIES]);
    let lines: Vec<&[u8]> = cookies.get_all(header::COOKIE).map(HeaderValue::as_bytes).collect();
    HeaderValue::from_bytes(&lines.join(&b"; "[..])).unwrap_or(HeaderValue::from_static(""))
}

/// What goes with a no. `origin`: of the original request, where the proxy told all of it.
pub(super) fn with_no(refusal: &Refusal, origin: Option<&str>, cookies: &[HeaderValue], response: &mut Response) {
    let is_redirect = response.status == StatusCode::SEE_OTHER;
    let headers = &mut response.headers;
    set(cookies, headers);
    if let Some(link) = refusal.link()
        && let Ok(url) = HeaderValue::try_from(link.url)
    {
        headers.insert(X_GATEWAY_LOGIN, url);
    }
    let location = headers.get(header::LOCATION).and_then(|location| location.to_str().ok());
    if let (true, Some(origin), Some(path)) = (is_redirect, origin, location)
        && let Ok(url) = HeaderValue::try_from(format!("{origin}{path}"))
    {
        headers.insert(header::LOCATION, url);
    }
}
