//! URLs in the file: where keys are fetched, where an agency listens, what a page links to.

use std::net::IpAddr;

use http::Uri;

use super::{Context, Field, codes};
use crate::config::read::shown;

/// Whether nothing sent to this host leaves the machine.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A URL that keys or metadata come from: `https://`, or `http://` on loopback; whoever answers it decides who is let in.
pub fn fetched(field: &Field<'_>, cx: &mut Context<'_>) -> Option<Uri> {
    let text = field.text(cx.faults)?;
    let remedy = "write an absolute URL: `https://HOST/PATH`";
    let Some(uri) = absolute(text) else {
        field.fault(cx.faults, codes::BAD_URL, format!("`{}` is not an absolute URL", public(text)), remedy);
        return None;
    };
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), _) => Some(uri),
        (Some("http"), Some(host)) if is_loopback(host) => Some(uri),
        (Some("http"), _) => {
            let message =
                format!("keys must not come over plain HTTP from `{}`", shown(uri.host().unwrap_or_default()));
            field.fault(cx.faults, codes::INSECURE_URL, message, "write `https://`; plain HTTP is for loopback only");
            None
        }
        _ => {
            field.fault(cx.faults, codes::BAD_URL, "the URL must begin with `https://`", remedy);
            None
        }
    }
}

/// A link on a page.
pub fn page(field: &Field<'_>, cx: &mut Context<'_>) -> Option<String> {
    let text = field.text(cx.faults)?;
    let fit = absolute(text).filter(|uri| matches!(uri.scheme_str(), Some("https" | "http")));
    if fit.is_none() {
        let message = format!("`{}` is not a link", public(text));
        field.fault(cx.faults, codes::BAD_URL, message, "write an absolute URL: `https://HOST/PATH`");
    }
    fit.map(|_| text.to_owned())
}

/// A URL for a message: what stands before an `@` may be a password.
pub fn public(text: &str) -> String {
    shown(text.rsplit('@').next().unwrap_or(text))
}

/// An absolute URL with a host and without userinfo.
pub fn absolute(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let authority = uri.authority()?;
    let plain = !authority.as_str().contains('@') && !authority.host().is_empty() && !text.contains('#');
    (plain && uri.scheme().is_some()).then_some(uri)
}
