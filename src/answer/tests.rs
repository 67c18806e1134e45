//! Every code in every dress and both languages, looked at as its reader would.

use std::collections::HashMap;

use aws_lc_rs::digest;
use base64::prelude::{BASE64_STANDARD, Engine};

use super::*;
use crate::config::model::Title;

const ID: &str = "0123456789abcdef0123456789abcdef";
const LANGUAGES: [Language; 2] = [Language::Fa, Language::En];
const DRESSES: [Dress; 5] = [Dress::Problem, Dress::Page, Dress::Soap11, Dress::Soap12, Dress::Grpc];

fn contact() -> Contact {
    Contact {
        name: Some(Title { fa: "سازمان <فناوری>".into(), en: "Information & Technology".into() }),
        phone: Some("+۹۸ (۲۱) 1234-56".into()),
        email: Some("help@example.ir".into()),
        url: Some("https://help.example.ir/?a=1&b=2".into()),
    }
}

fn answer(code: Code, detail: Option<&str>, dress: Dress, language: Language) -> Response {
    let request_id = RequestId::from_bits(0x0123456789abcdef0123456789abcdef);
    let notice = Notice { code, detail, request_id, contact: &contact(), link: None };
    render(&notice, Manner { dress, language, head_only: false })
}

fn text(response: &Response) -> &str {
    match &response.body {
        Body::Full(bytes) => std::str::from_utf8(bytes).unwrap(),
        Body::Empty => "",
        Body::Stream(_) => panic!("our own answers are never streamed"),
    }
}

fn header(response: &Response, name: impl crate::fields::Name) -> &str {
    response.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

fn everything() -> impl Iterator<Item = (Code, Dress, Language)> {
    let pairs = DRESSES.into_iter().flat_map(|dress| LANGUAGES.map(|language| (dress, language)));
    pairs.flat_map(|(dress, language)| Code::ALL.iter().map(move |code| (*code, dress, language)))
}

#[test]
fn every_answer_names_its_code_and_request_and_is_never_stored() {
    for (code, dress, language) in everything() {
        let response = answer(code, None, dress, language);
        let status = if dress == Dress::Grpc { 200 } else { code.status() };
        assert_eq!(response.status, status);
        assert_eq!(header(&response, X_GATEWAY_ERROR), code.as_str());
        assert_eq!(header(&response, X_REQUEST_ID), ID);
        assert!(response.headers.get(X_REQUEST_ID).unwrap().is_sensitive(), "HPACK does not remember it");
        assert_eq!(header(&response, CACHE_CONTROL), "no-store");
        assert_eq!(header(&response, X_CONTENT_TYPE_OPTIONS), "nosniff");
        assert!(!response.headers.contains_key(CONTENT_LENGTH));
        if dress != Dress::Grpc {
            assert_eq!(header(&response, CONTENT_LANGUAGE), language.tag());
            assert_eq!(header(&response, VARY), "Accept, Accept-Language");
        }
    }
}

/// PD
#[test]
fn a_problem_is_json_with_the_members_of_the_contract() {
    for code in Code::ALL {
        for language in LANGUAGES {
            let response = answer(*code, None, Dress::Problem, language);
            assert_eq!(header(&response, CONTENT_TYPE), "application/problem+json");
            let problem: serde_json::Value = serde_json::from_str(text(&response)).unwrap();
            assert_eq!(problem["type"], format!("urn:darvazeh:problem:{code}"));
            assert_eq!(problem["title"], texts(*code, language).title);
            assert_eq!(problem["status"], code.status());
            assert_eq!(problem["detail"], texts(*code, language).detail);
            assert_eq!(problem["code"], code.as_str());
            assert_eq!(problem["request_id"], ID);
            assert_eq!(problem["instance"], "urn:uuid:01234567-89ab-cdef-0123-456789abcdef");
        }
    }
}

#[test]
fn an_id_from_a_proxy_that_is_no_uuid_gets_no_instance() {
    let request_id = RequestId::from_trusted(b"edge-7.42").unwrap();
    let notice = Notice { code: Code::Overloaded, detail: None, request_id, contact: &Contact::default(), link: None };
    let response = render(&notice, Manner { dress: Dress::Problem, language: Language::En, head_only: false });
    let problem: serde_json::Value = serde_json::from_str(text(&response)).unwrap();
    assert_eq!(problem["request_id"], "edge-7.42");
    assert!(problem.get("instance").is_none());
}

/// One title for one code, whatever the occurrence (RFC 9457 §3.1.3); texts are complete and need no escaping.
#[test]
fn texts_are_complete_distinct_and_plain() {
    for language in LANGUAGES {
        let mut codes_by_title = HashMap::new();
        for code in Code::ALL {
            let said = texts(*code, language);
            for text in [said.title, said.detail, said.happened, said.remedy] {
                assert!(text.chars().count() >= 8, "{code}: {text}");
                assert!(!text.contains(['"', '\\', '<', '>', '&', '\'']) && !text.contains(char::is_control));
            }
            let known = codes_by_title.entry(said.title).or_insert(code.as_str());
            assert_eq!(*known, code.as_str());
        }
    }
    assert_eq!(titles(Code::TokenMissing), Titles { fa: "ورود لازم است", en: "Sign-in is required" });
}

/// Persian keyboards differ: the texts use the Persian letters only, and digits that JSON readers expect.
#[test]
fn persian_is_written_in_persian_letters() {
    for code in Code::ALL {
        let said = texts(*code, Language::Fa);
        for text in [said.title, said.detail, said.happened, said.remedy] {
            let foreign = |c| matches!(c, 'ي' | 'ك' | 'ى' | '۰'..='۹' | '٠'..='٩');
            assert!(!text.contains(foreign), "{text}");
        }
    }
}

/// "Error pages": one h1, a title, language and direction, the reference set apart, under 14 KiB, no external asset.
#[test]
fn a_page_is_small_accessible_and_self_contained() {
    for code in Code::ALL {
        for (language, root) in
            [(Language::Fa, r#"<html lang="fa" dir="rtl">"#), (Language::En, r#"<html lang="en" dir="ltr">"#)]
        {
            let response = answer(*code, None, Dress::Page, language);
            let page = text(&response);
            assert_eq!(header(&response, CONTENT_TYPE), "text/html; charset=utf-8");
            assert_eq!(header(&response, REFERRER_POLICY), "no-referrer");
            assert!(page.len() < 14 * 1024, "{code}: {} bytes", page.len());
            assert!(page.contains(root));
            assert!(page.contains(&format!("<title>{}</title>", texts(*code, language).title)));
            assert_eq!(page.matches("<h1>").count(), 1);
            assert!(page.contains(&format!(r#"<bdi dir="ltr" class="reference">{ID}</bdi>"#)));
            assert!(page.contains(code.as_str()) && page.contains(&code.status().to_string()));
            for external in
                ["<script", "<img", "<link", "<iframe", "src=", "url(", "@import", "http-equiv", "style=", "{{"]
            {
                assert!(!page.contains(external), "{external}");
            }
            assert_well_formed(&page.replace("<!DOCTYPE html>", "").replace("<meta ", "<meta/ "));
        }
    }
}

/// SEC: the policy allows exactly the style sheet that the page holds.
#[test]
fn the_policy_fits_the_page() {
    let response = answer(Code::RouteUnknown, None, Dress::Page, Language::Fa);
    let (_, rest) = text(&response).split_once("<style>").unwrap();
    let (style, _) = rest.split_once("</style>").unwrap();
    let hash = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, style.as_bytes()));
    let policy = header(&response, CONTENT_SECURITY_POLICY);
    assert!(policy.starts_with(&format!("default-src 'none'; style-src 'sha256-{hash}'")), "{policy}");
}

#[test]
fn the_channels_are_links_and_cannot_break_out() {
    let page = answer(Code::InternalError, None, Dress::Page, Language::Fa);
    let page = text(&page);
    assert!(page.contains("<header>سازمان &lt;فناوری&gt;</header>"));
    assert!(page.contains(r#"<a href="tel:+982112345"#), "{page}");
    assert!(page.contains(r#"<a href="mailto:help@example.ir?subject="#));
    assert!(page.contains(r#"<a href="https://help.example.ir/?a=1&amp;b=2">"#));

    let hostile = Contact {
        name: None,
        phone: Some("\"><b>1".into()),
        email: Some("a\"><i>@x?bcc=b".into()),
        url: Some("javascript:alert(1)".into()),
    };
    let request_id = RequestId::from_bits(1);
    let notice = Notice { code: Code::InternalError, detail: None, request_id, contact: &hostile, link: None };
    let page = render(&notice, Manner { dress: Dress::Page, language: Language::En, head_only: false });
    let page = text(&page);
    for hole in ["<b>", "<i>", "href=\"javascript", "?bcc"] {
        assert!(!page.contains(&format!("\"{hole}")) && !page.contains(&format!(">{hole}")), "{hole}");
    }
    assert!(!page.contains("<header>"));

    let notice = Notice { contact: &Contact::default(), ..notice };
    let page = render(&notice, Manner { dress: Dress::Page, language: Language::En, head_only: false });
    assert!(!text(&page).contains("<ul>"));
}

#[test]
fn a_detail_cannot_break_any_dress() {
    let detail = "a \"quoted\" <script>&\u{1}\r\n% و";
    for language in LANGUAGES {
        let problem = answer(Code::RequestMalformed, Some(detail), Dress::Problem, language);
        let problem: serde_json::Value = serde_json::from_str(text(&problem)).unwrap();
        assert_eq!(problem["detail"], detail);
        for dress in [Dress::Page, Dress::Soap11, Dress::Soap12] {
            let response = answer(Code::RequestMalformed, Some(detail), dress, language);
            assert!(!text(&response).contains("<script>"));
            assert!(text(&response).contains("&lt;script&gt;"));
        }
        let grpc = answer(Code::RequestMalformed, Some(detail), Dress::Grpc, language);
        let message = header(&grpc, "grpc-message");
        assert_eq!(message, "request_malformed: a \"quoted\" <script>&%01%0D%0A%25 %D9%88");
    }
}

#[test]
fn a_soap_caller_gets_a_well_formed_fault_in_its_own_version() {
    for code in Code::ALL {
        let caller = code.status() < 500;
        for language in LANGUAGES {
            let response = answer(*code, None, Dress::Soap11, language);
            let fault = text(&response);
            assert_eq!(header(&response, CONTENT_TYPE), "text/xml; charset=utf-8");
            assert_well_formed(fault);
            assert!(fault.contains(r#"xmlns:s="http://schemas.xmlsoap.org/soap/envelope/""#));
            let who = if caller { "Client" } else { "Server" };
            assert!(fault.contains(&format!("<faultcode>s:{who}</faultcode>")));
            assert!(fault.contains(&format!("<g:code>{code}</g:code>")));
            assert!(fault.contains(&format!("<g:request_id>{ID}</g:request_id>")));

            let response = answer(*code, None, Dress::Soap12, language);
            let fault = text(&response);
            assert_eq!(header(&response, CONTENT_TYPE), "application/soap+xml; charset=utf-8");
            assert_well_formed(fault);
            assert!(fault.contains(r#"xmlns:s="http://www.w3.org/2003/05/soap-envelope""#));
            let who = if caller { "Sender" } else { "Receiver" };
            assert!(fault.contains(&format!("<s:Code><s:Value>s:{who}</s:Value></s:Code>")));
            assert!(fault.contains(&format!(r#"<s:Text xml:lang="{}">"#, language.tag())));
            assert!(fault.contains(&format!("<g:code>{code}</g:code>")));
        }
    }
}

#[test]
fn a_grpc_caller_gets_trailers_only() {
    let expected = [
        (Code::TokenMissing, "16"),
        (Code::ScopeMissing, "7"),
        (Code::RouteUnknown, "12"),
        (Code::MethodNotAllowed, "12"),
        (Code::RateLimited, "8"),
        (Code::BodyTooLarge, "8"),
        (Code::Overloaded, "14"),
        (Code::UpstreamBroke, "14"),
        (Code::UpstreamTimeout, "4"),
        (Code::PathAmbiguous, "13"),
        (Code::InternalError, "13"),
    ];
    for (code, status) in expected {
        let response = answer(code, None, Dress::Grpc, Language::Fa);
        assert_eq!(header(&response, CONTENT_TYPE), "application/grpc");
        assert_eq!(header(&response, "grpc-status"), status);
        assert!(header(&response, "grpc-message").starts_with(&format!("{code}: ")));
        assert!(matches!(response.body, Body::Empty));
    }
}

/// RFC 9110 §9.3.2
#[test]
fn head_is_told_the_length_that_get_would_have() {
    for (code, dress, language) in everything() {
        let get = answer(code, None, dress, language);
        let request_id = RequestId::from_bits(0x0123456789abcdef0123456789abcdef);
        let notice = Notice { code, detail: None, request_id, contact: &contact(), link: None };
        let head = render(&notice, Manner { dress, language, head_only: true });
        assert!(matches!(head.body, Body::Empty));
        assert_eq!(header(&head, CONTENT_LENGTH), text(&get).len().to_string());
        assert_eq!(head.status, get.status);
        assert_eq!(header(&head, CONTENT_TYPE), header(&get, CONTENT_TYPE));
    }
}

/// WCAG 2.2, 1.4.3 and 1.4.11: text on its ground 4.5:1, marks 3:1, in light and in dark.
#[test]
fn colours_have_enough_contrast() {
    let style = include_str!("templates/page.css");
    for scheme in style.lines().take(2) {
        let colour = |name: &str| {
            let (_, rest) = scheme.split_once(&format!("--{name}:#")).unwrap();
            u32::from_str_radix(&rest[..6], 16).unwrap()
        };
        for text in ["ink", "soft", "link"] {
            for ground in ["card", "paper"] {
                assert!(contrast(colour(text), colour(ground)) >= 4.5, "{text} on {ground}");
            }
        }
        assert!(contrast(colour("mark"), colour("card")) >= 3.0);
    }
}

fn contrast(one: u32, other: u32) -> f64 {
    let luminance = |rgb: u32| {
        let part = |shift: u32| {
            let value = f64::from(rgb >> shift & 255) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(16) + 0.7152 * part(8) + 0.0722 * part(0)
    };
    let (a, b) = (luminance(one), luminance(other));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// Every element is closed in its turn, every ampersand begins a reference.
fn assert_well_formed(markup: &str) {
    let mut open = Vec::new();
    let mut rest = markup;
    while let Some((text, after)) = rest.split_once('<') {
        for reference in text.split('&').skip(1) {
            assert!(reference.find(';').is_some_and(|end| end <= 5), "a bare ampersand: {reference}");
        }
        let (tag, tail) = after.split_once('>').expect("a tag is closed");
        rest = tail;
        let name = tag.trim_matches('/').split([' ', '/']).next().unwrap();
        match tag.strip_prefix('/') {
            _ if tag.starts_with('?') || tag.ends_with('/') || tag.starts_with("meta/") => {}
            Some(closed) => assert_eq!(open.pop(), Some(closed), "in {markup}"),
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?} stay open");
}

/// `type` leads a reader to this page: it must know every code with its status.
#[test]
fn every_code_is_documented() {
    let page = include_str!("../../docs/answers.md");
    for code in Code::ALL {
        assert!(page.contains(&format!("\n### `{code}`\n")), "{code} has no section");
        let row = page.lines().find(|line| line.starts_with(&format!("| [`{code}`]"))).expect("a row in the table");
        assert!(row.split('|').nth(2).unwrap().contains(&code.status().to_string()), "{row}");
    }
}
