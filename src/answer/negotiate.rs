//! What the caller can read: its kind of client from the request's `Content-Type` and `Accept`, its language from
//! `Accept-Language` (RFC 9110 §12). Header values are only looked at, never kept.

use http::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE};
use http::{HeaderName, Method};

use super::{Dress, Language, Manner};
use crate::fields::Fields;

/// What the caller can read, by its method and headers.
pub fn manner(method: &Method, headers: &Fields) -> Manner {
    Manner { dress: dress(headers), language: language(headers), head_only: method == Method::HEAD }
}

/// A client that sends gRPC or SOAP understands nothing else, whatever it writes into `Accept`.
fn dress(headers: &Fields) -> Dress {
    const SOAP_ACTION: HeaderName = HeaderName::from_static("soapaction");
    if let Some(content_type) = headers.get(CONTENT_TYPE) {
        let content_type = content_type.as_bytes();
        if is_grpc(content_type) {
            return Dress::Grpc;
        }
        let media_type = content_type.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        if media_type.eq_ignore_ascii_case(b"application/soap+xml") {
            return Dress::Soap12;
        }
        if media_type.eq_ignore_ascii_case(b"text/xml") && headers.contains_key(SOAP_ACTION) {
            return Dress::Soap11;
        }
    }
    if prefers_page(headers) { Dress::Page } else { Dress::Problem }
}

/// `application/grpc`, alone or with `+proto`, `-web`, parameters and the like.
fn is_grpc(content_type: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    content_type.get(..GRPC.len()).is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
        && matches!(content_type.get(GRPC.len()), None | Some(b'+' | b'-' | b';' | b' '))
}

/// How much one kind of answer is wanted: its weight in thousandths, then how exactly it was named. A client that names
/// HTML and takes JSON only as `*/*` is a browser on its way to a page, even when it gives both the same weight.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    weight: u16,
    exactness: u8,
}

fn prefers_page(headers: &Fields) -> bool {
    let (mut html, mut json) = (Wanted::default(), Wanted::default());
    for (range, weight) in ranges(headers, ACCEPT) {
        let (to_html, to_json) = if range.eq_ignore_ascii_case("text/html") {
            (3, 0)
        } else if range.eq_ignore_ascii_case("application/problem+json")
            || range.eq_ignore_ascii_case("application/json")
        {
            (0, 3)
        } else if range.eq_ignore_ascii_case("text/*") {
            (2, 0)
        } else if range.eq_ignore_ascii_case("application/*") {
            (0, 2)
        } else if range == "*/*" {
            (1, 1)
        } else {
            continue;
        };
        for (wanted, exactness) in [(&mut html, to_html), (&mut json, to_json)] {
            // The most exact range decides (RFC 9110 §12.5.1); of two JSON types the better liked one.
            let more = (exactness, weight) > (wanted.exactness, wanted.weight);
            if exactness > 0 && more {
                *wanted = Wanted { weight, exactness };
            }
        }
    }
    html.weight > 0 && html > json
}

/// Persian unless English is wanted more. A `*` stands for whichever of the two is not named.
fn language(headers: &Fields) -> Language {
    let (mut fa, mut en, mut any) = (None, None, None);
    for (range, weight) in ranges(headers, ACCEPT_LANGUAGE) {
        let primary = range.split('-').next().unwrap_or_default();
        let slot = if primary.eq_ignore_ascii_case("fa") {
            &mut fa
        } else if primary.eq_ignore_ascii_case("en") {
            &mut en
        } else if range == "*" {
            &mut any
        } else {
            continue;
        };
        *slot = (*slot).max(Some(weight));
    }
    if en.or(any).unwrap_or(0) > fa.or(any).unwrap_or(0) { Language::En } else { Language::Fa }
}

/// The elements of a weighted list, over all its lines: name and weight in thousandths. Other parameters are passed over;
/// an element whose weight is broken is left out.
fn ranges(headers: &Fields, name: HeaderName) -> impl Iterator<Item = (&str, u16)> {
    headers.get_all(name).filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).filter_map(|element| {
        let mut parts = element.split(';').map(str::trim);
        let range = parts.next().filter(|range| !range.is_empty())?;
        let weight = parts.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")));
        Some((range, weight.map_or(Some(1000), thousandths)?))
    })
}

/// `0`, `0.5`, `0.125`, `1`, `1.000`: a qvalue of RFC 9110 §12.4.2.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction = fraction.bytes().chain(*b"000").take(3).fold(0, |sum, digit| 10 * sum + u16::from(digit - b'0'));
    match (whole, fraction) {
        ("0", fraction) => Some(fraction),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&'static str, &'static str)]) -> Fields {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), http::HeaderValue::from_static(v))).collect()
    }

    fn dress_of(pairs: &[(&'static str, &'static str)]) -> Dress {
        manner(&Method::GET, &with(pairs)).dress
    }

    /// PD, "Error pages": HTML or problem+json by `Accept`.
    #[test]
    fn browsers_get_a_page_and_programs_a_problem() {
        for accept in [
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
            "text/html, application/xhtml+xml, image/jxr, */*",
            "text/html, */*; q=0.01",
            "text/html;level=1;q=0.5",
            "application/json;q=0.4, TEXT/HTML;q=0.5",
        ] {
            assert_eq!(dress_of(&[("accept", accept)]), Dress::Page, "{accept}");
        }
        for accept in [
            "*/*",
            "application/json, text/plain, */*",
            "application/problem+json, text/html;q=0.9",
            "text/html, application/json",
            "text/html;q=0",
            "text/html;q=2, */*;q=0.1",
            "image/avif,image/webp,*/*;q=0.8",
            ", ;q=1,,",
        ] {
            assert_eq!(dress_of(&[("accept", accept)]), Dress::Problem, "{accept}");
        }
        assert_eq!(dress_of(&[]), Dress::Problem);
    }

    #[test]
    fn accept_may_come_in_several_lines() {
        let mut headers = with(&[("accept", "application/json;q=0.5")]);
        headers.append(ACCEPT, http::HeaderValue::from_static("text/html"));
        assert_eq!(dress(&headers), Dress::Page);
    }

    #[test]
    fn soap_and_grpc_clients_are_known_by_what_they_send() {
        let html = ("accept", "text/html");
        assert_eq!(
            dress_of(&[html, ("content-type", "text/xml; charset=utf-8"), ("soapaction", "\"\"")]),
            Dress::Soap11
        );
        assert_eq!(dress_of(&[html, ("content-type", "text/xml")]), Dress::Page);
        assert_eq!(dress_of(&[html, ("content-type", "Application/SOAP+XML;action=\"x\"")]), Dress::Soap12);
        for content_type in
            ["application/grpc", "application/grpc+proto", "application/grpc-web", "application/grpc;a=b"]
        {
            assert_eq!(dress_of(&[("content-type", content_type)]), Dress::Grpc, "{content_type}");
        }
        assert_eq!(dress_of(&[("content-type", "application/grpcx")]), Dress::Problem);
    }

    /// PD: the language by `Accept-Language`, Persian when nothing speaks for English.
    #[test]
    fn english_is_spoken_to_whom_prefers_it() {
        let spoken = |value| manner(&Method::GET, &with(&[("accept-language", value)])).language;
        for fa in
            ["fa", "fa-IR,fa;q=0.9,en-US;q=0.8", "*", "de", "", "fa, en", "en;q=0.5, *", "en;q=0", "en;q=x", "enx"]
        {
            assert_eq!(spoken(fa), Language::Fa, "{fa}");
        }
        for en in ["en", "EN-us", "en-GB,en;q=0.9,fa;q=0.8", "de, en;q=0.1", "fa;q=0.5, *;q=0.7", "en, *;q=0.5"] {
            assert_eq!(spoken(en), Language::En, "{en}");
        }
        assert_eq!(language(&Fields::new()), Language::Fa);
    }

    #[test]
    fn weights_are_read_as_the_standard_writes_them() {
        for (text, value) in
            [("0", Some(0)), ("0.5", Some(500)), ("0.125", Some(125)), ("1", Some(1000)), ("1.000", Some(1000))]
        {
            assert_eq!(thousandths(text), value);
        }
        for broken in ["", "2", "1.001", "0.1234", "-1", "0.x", "01"] {
            assert_eq!(thousandths(broken), None, "{broken}");
        }
    }
}
