//! A page of the gateway's own that is no refusal: a question, a confirmation, a step on the way. The dress of the error pages.
//!
//! What stands in it is made by `login`, which escapes whatever it did not write itself ([`super::escape::markup`]).

use aws_lc_rs::digest;
use base64::prelude::{BASE64_STANDARD, Engine};
use http::header::{
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};

use super::page::{STYLE, organisation};
use super::{Language, escape, say_id};
use crate::body::Body;
use crate::config::model::Contact;
use crate::message::Response;
use crate::words::RequestId;

pub struct Sheet<'a> {
    pub language: Language,
    pub title: &'a str,
    /// Markup below the title.
    pub body: &'a str,
    /// The only script that runs, known by its hash.
    pub script: Option<&'static str>,
    /// Markup of the head besides.
    pub head: &'a str,
    /// CSP `form-action`.
    pub form_action: &'a str,
    /// CSP `frame-ancestors`.
    pub frame_ancestors: &'a str,
}

/// 200, never stored, and nothing loads or runs in it but what it brings (SEC).
pub fn answer(sheet: &Sheet<'_>, contact: &Contact, request_id: RequestId) -> Response {
    let direction = match sheet.language {
        Language::Fa => "rtl",
        Language::En => "ltr",
    };
    let title = escape::markup(sheet.title);
    let script = sheet.script.map_or_else(String::new, |script| format!("<script>{script}</script>\n"));
    let text = format!(
        "<!DOCTYPE html>\n<html lang=\"{}\" dir=\"{direction}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex\">\n<title>{title}</title>\n<style>{STYLE}</style>\n{}</head>\n\
         <body>\n<div class=\"sheet\">\n{}<main>\n<h1>{title}</h1>\n{}</main>\n</div>\n{script}</body>\n</html>\n",
        sheet.language.tag(),
        sheet.head,
        organisation(contact, sheet.language),
        sheet.body,
    );
    let mut response = Response::new(Body::full(text));
    let headers = &mut response.headers;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(sheet.language.tag()));
    headers.insert(VARY, HeaderValue::from_static("Accept-Language"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, policy(sheet));
    say_id(headers, &request_id);
    response
}

fn policy(sheet: &Sheet<'_>) -> HeaderValue {
    let hash = |text: &str| BASE64_STANDARD.encode(digest::digest(&digest::SHA256, text.as_bytes()));
    let script = sheet.script.map_or_else(String::new, |script| format!(" script-src 'sha256-{}';", hash(script)));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}';{script} base-uri 'none'; form-action {}; frame-ancestors {}",
        hash(STYLE),
        sheet.form_action,
        sheet.frame_ancestors,
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}
