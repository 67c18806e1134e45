//! The page for a citizen in a browser: Persian from right to left, or English, with a short word in the other language at
//! its foot. One file, no script, no picture, no font, under 14 KiB so that it fits the first flight of a TCP connection.
//! It gives the request id as the reference for a complaint, and the channels of `contact`. Called by `answer::render`.
//!
//! The words around the texts stand in `templates/`; a slot there reads `{{name}}`.

use std::sync::LazyLock;

use aws_lc_rs::digest;
use base64::prelude::{BASE64_STANDARD, Engine};
use http::HeaderValue;

use super::{Language, Link, LinkKind, Said, escape, texts};
use crate::config::model::Contact;

const PERSIAN: &str = include_str!("templates/page.fa.html");
const ENGLISH: &str = include_str!("templates/page.en.html");
pub(super) const STYLE: &str = include_str!("templates/page.css");

/// SEC: nothing may load, run, frame or be submitted; only our own style sheet, known by its hash, applies.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("base64 is plain ASCII")
});

pub(super) fn policy() -> HeaderValue {
    POLICY.clone()
}

pub(super) fn body(said: &Said<'_>) -> String {
    let (template, other) = match said.language {
        Language::Fa => (PERSIAN, Language::En),
        Language::En => (ENGLISH, Language::Fa),
    };
    let other = texts(said.code, other);
    let organisation = organisation(said.contact, said.language);
    let contact = channels(said.contact, said.language, said.id);
    let detail = escape::markup(said.detail);
    let action = said.link.map_or_else(String::new, |link| action(link, said.language));
    let value = |slot: &str| match slot {
        "style" => STYLE,
        "title" => said.texts.title,
        "happened" => said.texts.happened,
        "remedy" => remedy(said),
        "reference" => said.id,
        "code" => said.code.as_str(),
        "status" => said.status.as_str(),
        "detail" => &detail,
        "action" => &action,
        "organisation" => &organisation,
        "contact" => &contact,
        "other_title" => other.title,
        "other_happened" => other.happened,
        "other_remedy" => other.remedy,
        unknown => unreachable!("the templates are compiled in, and have no slot {unknown}"),
    };
    let mut page = String::with_capacity(8 * 1024);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (slot, tail) = after.split_once("}}").expect("the templates are compiled in, and every slot is closed");
        page.push_str(before);
        page.push_str(value(slot));
        rest = tail;
    }
    page.push_str(rest);
    page
}

/// Where the button for it stands below, nobody is sent back to another site for it.
fn remedy(said: &Said<'_>) -> &'static str {
    match (said.link, said.language) {
        (Some(Link { kind: LinkKind::StepUp, .. }), Language::Fa) => {
            "با دکمهٔ زیر دوباره وارد شوید؛ پس از آن به همین‌جا برمی‌گردید. فرمی که پر می‌کردید فرستاده نشده است."
        }
        (Some(Link { kind: LinkKind::StepUp, .. }), Language::En) => {
            "Sign in again with the button below; it brings you back here. A form that you were filling in has not been sent."
        }
        _ => said.texts.remedy,
    }
}

fn action(link: Link<'_>, language: Language) -> String {
    let label = match (link.kind, language) {
        (LinkKind::SignIn, Language::Fa) => "ورود",
        (LinkKind::SignIn, Language::En) => "Sign in",
        (LinkKind::StepUp, Language::Fa) => "ورود مطمئن‌تر",
        (LinkKind::StepUp, Language::En) => "Sign in with a stronger method",
        (LinkKind::TryAgain, Language::Fa) => "تلاش دوباره",
        (LinkKind::TryAgain, Language::En) => "Try again",
    };
    format!("<p><a class=\"action\" href=\"{}\">{label}</a></p>\n", escape::markup(link.url))
}

pub(super) fn organisation(contact: &Contact, language: Language) -> String {
    let Some(name) = &contact.name else { return String::new() };
    let name = match language {
        Language::Fa => &name.fa,
        Language::En => &name.en,
    };
    format!("<header>{}</header>\n", escape::markup(name))
}

/// The channels for a complaint; nothing at all when none is configured.
fn channels(contact: &Contact, language: Language, id: &str) -> String {
    let (heading, phone, email, site, subject) = match language {
        Language::Fa => ("راه‌های تماس", "تلفن", "رایانامه", "وب‌گاه", "کد پیگیری"),
        Language::En => ("Contact", "Phone", "E-mail", "Web", "Reference"),
    };
    let mut items = String::new();
    if let Some(number) = &contact.phone {
        items.push_str(&channel(phone, Some(&telephone(number)), number));
    }
    if let Some(address) = &contact.email {
        let keep = |b: u8| b.is_ascii_alphanumeric() || b"-._~@+!$'*".contains(&b);
        let subject = escape::percent(&format!("{subject}: {id}"), |b| b.is_ascii_alphanumeric());
        let href = format!("mailto:{}?subject={subject}", escape::percent(address, keep));
        items.push_str(&channel(email, Some(&href), address));
    }
    if let Some(url) = &contact.url {
        // Whatever else a URL can be, such as `javascript:`, is shown but does not become a link.
        let linked = ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme));
        items.push_str(&channel(site, linked.then_some(url.as_str()), url));
    }
    if items.is_empty() { items } else { format!("<h2>{heading}</h2>\n<ul>\n{items}</ul>\n") }
}

fn channel(label: &str, href: Option<&str>, text: &str) -> String {
    let text = escape::markup(text);
    match href.map(escape::markup) {
        Some(href) => format!("<li>{label}: <a href=\"{href}\"><bdi dir=\"ltr\">{text}</bdi></a></li>\n"),
        None => format!("<li>{label}: <bdi dir=\"ltr\">{text}</bdi></li>\n"),
    }
}

/// `tel:` with ASCII digits and no ornament (RFC 3966 §3), whichever digits the number is written in.
fn telephone(number: &str) -> String {
    let dialled = number.chars().filter_map(|c| match c {
        '0'..='9' | '+' => Some(c),
        '۰'..='۹' => char::from_digit(u32::from(c) - u32::from('۰'), 10),
        '٠'..='٩' => char::from_digit(u32::from(c) - u32::from('٠'), 10),
        _ => None,
    });
    "tel:".chars().chain(dialled).collect()
}
