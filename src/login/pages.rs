//! What a citizen reads on the way in and out, in Persian or English. Words alone: what happens is decided elsewhere.

use super::Visit;
use super::kept_post::{Form, Ticket};
use super::logout;
use crate::answer::Language;
use crate::answer::escape::markup;
use crate::answer::sheet::{Sheet, answer};
use crate::message::Response;
use crate::session::Loaded;

/// Leaves what stands behind the `#` where the way back finds it (`state::FRAGMENT`), and goes on.
const GO_ON: &str = r##"(function(){var a=document.getElementById("go"),h=location.hash;try{if(h.length>1&&h.length<1500)document.cookie="__Host-darvazeh-at-"+a.dataset.id+"="+h.replace(/[;,"\\\s]/g,encodeURIComponent)+"; Path=/; Secure; SameSite=Lax; Max-Age=600"}catch(e){}location.replace(a.href)})()"##;

/// The step before the SSO. `id`: what the fragment is left under.
pub(super) fn going(address: &str, id: &str, visit: &Visit<'_>) -> Response {
    let (title, text, link) = match visit.language() {
        Language::Fa => {
            ("در حال رفتن به صفحهٔ ورود", "اگر صفحهٔ ورود خود به خود باز نشد، این پیوند را باز کنید.", "ورود")
        }
        Language::En => {
            ("Taking you to sign-in", "If the sign-in page does not open by itself, use this link.", "Sign in")
        }
    };
    let address = markup(address);
    let body = format!(
        "<p>{text}</p>\n<p><a class=\"action\" id=\"go\" data-id=\"{}\" href=\"{address}\">{link}</a></p>\n",
        markup(id)
    );
    let head = format!("<noscript><meta http-equiv=\"refresh\" content=\"0; url={address}\"></noscript>\n");
    show(visit, title, &body, Some(GO_ON), &head, "'none'")
}

pub(super) fn confirm_logout(loaded: &Loaded, targets: String, visit: &Visit<'_>) -> Response {
    let (title, text, yes, no) = match visit.language() {
        Language::Fa => {
            ("می‌خواهید خارج شوید؟", "با خروج، از همهٔ درگاه‌هایی که با این ورود باز شده‌اند خارج می‌شوید.", "خروج", "ماندن")
        }
        Language::En => (
            "Do you want to sign out?",
            "You will be signed out of every portal that this sign-in opened.",
            "Sign out",
            "Stay",
        ),
    };
    let csrf = loaded.csrf();
    let body = format!(
        "<p>{text}</p>\n<form method=\"post\" action=\"{}\"><input type=\"hidden\" name=\"csrf\" value=\"{}\">\
         <button class=\"action\">{yes}</button> <a class=\"action plain\" href=\"/\">{no}</a></form>\n",
        logout::PATH,
        markup(&csrf),
    );
    show(visit, title, &body, None, "", &targets)
}

pub(super) fn signed_out(visit: &Visit<'_>) -> Response {
    let (title, text, link) = match visit.language() {
        Language::Fa => (
            "خارج شدید",
            "از این درگاه خارج شدید. اگر این دستگاه مال شما نیست، همهٔ پنجره‌های مرورگر را ببندید.",
            "صفحهٔ نخست",
        ),
        Language::En => (
            "You are signed out",
            "You are signed out of this portal. If this device is not yours, close every window of the browser.",
            "Home page",
        ),
    };
    let body = format!("<p>{text}</p>\n<p><a class=\"action plain\" href=\"/\">{link}</a></p>\n");
    show(visit, title, &body, None, "", "'none'")
}

/// What waits, by method, host, path and names of fields, and never by a value: the screen may not be theirs alone.
pub(super) fn send_form(form: &Form, ticket: &Ticket, visit: &Visit<'_>) -> Response {
    let (title, text, to, fields, comma, yes, no) = match visit.language() {
        Language::Fa => (
            "فرم شما هنوز فرستاده نشده است",
            "هویت شما با روشی مطمئن‌تر تأیید شد. آنچه پیش از آن پر کرده بودید نگه داشته شده و تنها با تأیید شما، یک بار، فرستاده می‌شود.",
            "مقصد",
            "بخش‌های فرم",
            "، ",
            "فرستادن",
            "نفرستادن",
        ),
        Language::En => (
            "Your form has not been sent yet",
            "Your identity was confirmed in a stronger way. What you had filled in was kept, and is sent once, only if you agree.",
            "To",
            "Fields",
            ", ",
            "Send",
            "Do not send",
        ),
    };
    let host = visit.origin.split_once("://").map_or(visit.origin, |(_, host)| host);
    let path = form.target.split('?').next().unwrap_or("/");
    let names: Vec<String> = form.field_names().iter().map(|name| format!("<bdi>{}</bdi>", markup(name))).collect();
    let (go, value) = ticket.go().split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap_or_default();
    let body = format!(
        "<p>{text}</p>\n<dl>\n<dt>{to}</dt><dd><bdi dir=\"ltr\">{} {}{}</bdi></dd>\n<dt>{fields}</dt><dd>{}</dd>\n</dl>\n\
         <form method=\"post\" action=\"{}\"><input type=\"hidden\" name=\"{go}\" value=\"{value}\">\
         <button class=\"action\">{yes}</button> <a class=\"action plain\" href=\"/\">{no}</a></form>\n",
        markup(&form.method),
        markup(host),
        markup(path),
        names.join(comma),
        markup(&form.target),
    );
    // The agency's answer may lead elsewhere, to a bank for instance.
    show(visit, title, &body, None, "", "'self' https:")
}

/// FL-1: this page alone may stand in a frame, and only in the SSO's.
pub(super) fn framed(sso: &str, visit: &Visit<'_>) -> Response {
    let title = match visit.language() {
        Language::Fa => "خارج شدید",
        Language::En => "You are signed out",
    };
    let sheet = Sheet {
        language: visit.language(),
        title,
        body: "",
        script: None,
        head: "",
        form_action: "'none'",
        frame_ancestors: sso,
    };
    answer(&sheet, visit.contact, visit.request_id)
}

fn show(
    visit: &Visit<'_>,
    title: &str,
    body: &str,
    script: Option<&'static str>,
    head: &str,
    form_action: &str,
) -> Response {
    let language = visit.language();
    let sheet = Sheet { language, title, body, script, head, form_action, frame_ancestors: "'none'" };
    answer(&sheet, visit.contact, visit.request_id)
}
