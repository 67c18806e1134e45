//! The demo's two portals: pages for a browser, with links to what takes level 1, 2 and 3. No code for signing in is here;
//! that is the point. A page shows what the gateway said of the person, and the other portal knows them by another name.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::Value;

use super::config::{self, PAGES};
use super::serve::{Answer, answer};
use super::sign_in::page;

/// One portal, and what it is called.
pub struct Portal {
    name: &'static str,
    persian: &'static str,
    other: usize,
}

/// In the order of [`config::PORTALS`].
pub const PORTALS: [Portal; 2] = [
    Portal { name: "Health Insurance", persian: "بیمهٔ سلامت", other: 1 },
    Portal { name: "Land Registry", persian: "ثبت اسناد", other: 0 },
];

pub fn answer_for(portal: &Portal, request: &Request<Incoming>) -> Answer {
    let field = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let path = request.uri().path();
    let level = PAGES.iter().position(|page| *page == path).map_or(0, |at| at + 1);
    if level == 0 && path != "/" {
        return answer(StatusCode::NOT_FOUND, "text/plain", "not found\n");
    }
    let heading = match level {
        0 => "Front page, open to anyone",
        1 => "Letters, for whoever signed in (level 1)",
        2 => "Records, with a code besides the password (level 2)",
        _ if request.method() == http::Method::POST => "The account was changed, once (level 3)",
        _ => "Account, with the national card (level 3)",
    };
    let claims = claims(field("x-gateway-assertion"));
    let said =
        |name: &str| claims.get(name).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let or = |name: &str, nobody: &str| said(name).unwrap_or_else(|| nobody.to_owned());
    let port = field("x-forwarded-host").rsplit(':').next().unwrap_or_default();
    let other = &PORTALS[portal.other];
    let slots = [
        ("name", portal.name),
        ("persian", portal.persian),
        ("heading", heading),
        ("level", &or("level", "0")),
        ("acr", &or("acr", "nothing was asked for")),
        ("subject", &or("sub", "nobody")),
        ("other", other.name),
        ("other_url", &format!("http://{}:{port}/letters", config::PORTALS[portal.other])),
    ];
    page(include_str!("portal.html"), &slots)
}

/// What the assertion says. A real agency verifies its signature with the keys at `/.gateway/jwks.json`; this one shows it.
fn claims(assertion: &str) -> Value {
    let payload = assertion.split('.').nth(1).and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok());
    payload.and_then(|payload| serde_json::from_slice(&payload).ok()).unwrap_or_default()
}
