//! The demo SSO's pages: where a person signs in by choosing what they would have presented, and the authorization code flow
//! behind it (OpenID Connect Core 1.0 section 3.1, PKCE). One demo citizen, sessions in memory, for loopback alone.
//!
//! The gateway is its only client. Who asks is believed by PKCE: a real SSO would want a key or a certificate besides.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::json;

use super::config::PORTALS;
use super::serve::{Answer, answer, json};
use super::sso::{ISSUER, LIFETIME, Sso};
use crate::answer::escape::markup;
use crate::clock::{Clock, UnixTime};
use crate::login::form::{self, Entries, Form};

/// As in the demo's config.
pub const CLIENT: &str = "demo-gateway";
const PERSON: (&str, &str) = ("demo-citizen", "Maryam Citizen");
const PAGE: &str = include_str!("sign_in.html");
const SESSION: &str = "demo-sso";
/// Bytes of a form, sessions and codes: more than a demo needs.
const MAX_FORM: usize = 8 * 1024;
const MAX_KEPT: usize = 1000;

/// Where people sign in.
pub struct Desk {
    sso: Sso,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    sessions: HashMap<String, SignedIn>,
    codes: HashMap<String, Grant>,
}

#[derive(Clone, Copy)]
struct SignedIn {
    level: u8,
    at: UnixTime,
}

/// What a code stands for.
struct Grant {
    person: SignedIn,
    sid: String,
    redirect_uri: String,
    challenge: String,
    nonce: Option<String>,
}

/// An authorization request that may be answered.
struct Asked {
    fields: Entries,
    redirect_uri: String,
    /// The lowest that would do.
    level: u8,
}

impl Asked {
    fn parse(query: &str) -> Option<Asked> {
        let fields = form::parse(query.as_bytes())?;
        let redirect_uri = fields.get("redirect_uri").filter(|uri| is_portal(uri, "/.gateway/callback"))?.to_owned();
        let fit = fields.get("client_id") == Some(CLIENT)
            && fields.get("response_type") == Some("code")
            && fields.get("code_challenge_method") == Some("S256")
            && fields.get("code_challenge").is_some();
        let wanted = fields.get("acr_values").unwrap_or_default();
        let level = wanted.split(' ').filter_map(|acr| acr.rsplit(':').next()?.parse().ok()).min().unwrap_or(1);
        fit.then_some(Asked { fields, redirect_uri, level })
    }

    /// Whether somebody who signed in so need not be asked again.
    fn is_satisfied(&self, person: SignedIn, now: UnixTime) -> bool {
        let max_age = self.fields.get("max_age").and_then(|age| age.parse::<i64>().ok());
        person.level >= self.level
            && self.fields.get("prompt") != Some("login")
            && max_age.is_none_or(|max| now - person.at <= max)
    }

    /// Back to the gateway, which is told by `iss` who answers (RFC 9207).
    fn back(&self, name: &str, value: &str) -> Answer {
        let mut form = Form::new(&[(name, value), ("iss", ISSUER)]);
        form.push("state", self.fields.get("state").unwrap_or_default());
        see_other(&form.behind(&self.redirect_uri))
    }
}

impl Desk {
    pub fn new(sso: Sso) -> Desk {
        Desk { sso, kept: Mutex::default() }
    }

    /// What a browser asks.
    pub async fn for_people(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let query = head.uri.query().unwrap_or_default();
        let held = held(&head.headers);
        match (head.uri.path(), &head.method) {
            ("/authorize", &Method::GET) => self.ask(query, held),
            ("/authorize", &Method::POST) => match read(body).await {
                Some(fields) => self.take(query, held, &fields),
                None => bad_request(),
            },
            ("/logout", &Method::GET) => self.sign_out(query, held),
            _ => answer(StatusCode::NOT_FOUND, "text/plain", "not found\n"),
        }
    }

    /// What the gateway and curl ask.
    pub async fn for_gateway(&self, request: Request<Incoming>) -> Answer {
        if request.method() == Method::POST && request.uri().path() == "/token" {
            let granted = read(request.into_body()).await.and_then(|fields| self.redeem(&fields));
            return granted.unwrap_or_else(|| json(StatusCode::BAD_REQUEST, &json!({ "error": "invalid_grant" })));
        }
        self.sso.answer(&request)
    }

    /// Whom the SSO knows well enough goes back at once; others see the page, unless nothing may be shown.
    fn ask(&self, query: &str, held: Option<String>) -> Answer {
        let Some(asked) = Asked::parse(query) else { return bad_request() };
        let known = held.and_then(|sid| Some((self.kept().sessions.get(&sid).copied()?, sid)));
        match known.filter(|(person, _)| asked.is_satisfied(*person, Clock::system().now())) {
            Some((person, sid)) => self.grant(&asked, person, sid),
            None if asked.fields.get("prompt") == Some("none") => asked.back("error", "login_required"),
            None => page(PAGE, &[("action", &format!("/authorize?{query}")), ("level", &asked.level.to_string())]),
        }
    }

    /// A person chose a level, or to leave.
    fn take(&self, query: &str, held: Option<String>, chosen: &Entries) -> Answer {
        let Some(asked) = Asked::parse(query) else { return bad_request() };
        let Some(level) = chosen.get("level").and_then(|level| level.parse().ok()).filter(|l| (1..=3).contains(l))
        else {
            return asked.back("error", "access_denied");
        };
        let person = SignedIn { level, at: Clock::system().now() };
        let sid = {
            let mut kept = self.kept();
            if kept.sessions.len() >= MAX_KEPT {
                kept.sessions.clear();
            }
            let sid = held.filter(|sid| kept.sessions.contains_key(sid)).unwrap_or_else(unguessable);
            kept.sessions.insert(sid.clone(), person);
            sid
        };
        let cookie = format!("{SESSION}={sid}; Path=/; HttpOnly; SameSite=Lax");
        let mut back = self.grant(&asked, person, sid);
        back.headers_mut().extend(HeaderValue::try_from(cookie).map(|cookie| (SET_COOKIE, cookie)));
        back
    }

    fn grant(&self, asked: &Asked, person: SignedIn, sid: String) -> Answer {
        let code = unguessable();
        let grant = Grant {
            person,
            sid,
            redirect_uri: asked.redirect_uri.clone(),
            challenge: asked.fields.get("code_challenge").unwrap_or_default().to_owned(),
            nonce: asked.fields.get("nonce").map(str::to_owned),
        };
        let mut kept = self.kept();
        if kept.codes.len() >= MAX_KEPT {
            kept.codes.clear();
        }
        kept.codes.insert(code.clone(), grant);
        asked.back("code", &code)
    }

    /// A code for tokens, once (RFC 6749 section 4.1.3, RFC 7636 section 4.6).
    fn redeem(&self, fields: &Entries) -> Option<Answer> {
        let grant = self.kept().codes.remove(fields.get("code")?)?;
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, fields.get("code_verifier")?.as_bytes()));
        let good = fields.get("grant_type")? == "authorization_code"
            && fields.get("client_id")? == CLIENT
            && fields.get("redirect_uri")? == grant.redirect_uri
            && challenge == grant.challenge;
        let (now, (subject, name)) = (Clock::system().now(), PERSON);
        let SignedIn { level, at } = grant.person;
        let id = json!({
            "iss": ISSUER, "aud": CLIENT, "sub": subject, "name": name, "sid": grant.sid, "nonce": grant.nonce,
            "iat": now, "exp": now + LIFETIME, "auth_time": at, "acr": format!("urn:example:level:{level}"),
        });
        let earned = self.sso.earned(subject, level, now - at, &id).ok().filter(|_| good)?;
        Some(json(StatusCode::OK, &earned))
    }

    /// Ends the SSO's session, and those at the portals by a frame (OpenID Connect Front-Channel Logout 1.0).
    fn sign_out(&self, query: &str, held: Option<String>) -> Answer {
        let fields = form::parse(query.as_bytes());
        let back = fields.as_ref().and_then(|fields| fields.get("post_logout_redirect_uri"));
        let Some(back) = back.filter(|uri| is_portal(uri, "/.gateway/signed-out")) else { return bad_request() };
        let ended = held.filter(|sid| self.kept().sessions.remove(sid).is_some());
        let Some(sid) = ended else { return see_other(back) };
        let portal = back.trim_end_matches("/.gateway/signed-out");
        let frame =
            Form::new(&[("iss", ISSUER), ("sid", &sid)]).behind(&format!("{portal}/.gateway/frontchannel-logout"));
        page(include_str!("signed_out.html"), &[("frame", &frame), ("back", back)])
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an address is this place at one of the portals, on whichever port (RFC 8252 section 7.3).
fn is_portal(uri: &str, path: &str) -> bool {
    let place = uri.strip_prefix("http://").and_then(|rest| rest.strip_suffix(path));
    let place = place.and_then(|place| place.split_once(':'));
    place.is_some_and(|(host, port)| PORTALS.contains(&host) && port.parse::<u16>().is_ok())
}

/// The session that a browser says it has.
fn held(headers: &HeaderMap) -> Option<String> {
    let pairs = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split("; "));
    let mut found = pairs.filter_map(|pair| pair.strip_prefix(SESSION)?.strip_prefix('='));
    found.next().map(str::to_owned)
}

async fn read(body: Incoming) -> Option<Entries> {
    form::parse(&Limited::new(body, MAX_FORM).collect().await.ok()?.to_bytes())
}

fn unguessable() -> String {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system gives randomness");
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A template with its slots filled, for nobody to keep.
pub fn page(template: &str, slots: &[(&str, &str)]) -> Answer {
    let fill = |text: String, (name, value): &(&str, &str)| text.replace(&format!("{{{{{name}}}}}"), &markup(value));
    let text = slots.iter().fold(template.replace("{{style}}", include_str!("page.css")), fill);
    let mut page = answer(StatusCode::OK, "text/html; charset=utf-8", Bytes::from(text));
    page.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    page
}

fn see_other(address: &str) -> Answer {
    let mut away = answer(StatusCode::SEE_OTHER, "text/plain", "");
    away.headers_mut().extend(HeaderValue::try_from(address).map(|address| (LOCATION, address)));
    away
}

fn bad_request() -> Answer {
    answer(StatusCode::BAD_REQUEST, "text/plain", "The demo SSO takes what its own gateway sends, and nothing else.\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(more: &str) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, b"verifier"));
        format!(
            "client_id={CLIENT}&response_type=code&redirect_uri=http%3A%2F%2Fland.localhost%3A80%2F.gateway%2Fcallback\
             &code_challenge_method=S256&code_challenge={challenge}&state=s&nonce=n{more}"
        )
    }

    fn location(answer: &Answer) -> &str {
        answer.headers()[LOCATION].to_str().unwrap()
    }

    #[test]
    fn a_code_is_redeemed_once_by_whoever_asked_for_it() {
        let desk = Desk::new(Sso::new(1).unwrap());
        let silent = desk.ask(&query("&prompt=none"), None);
        assert!(location(&silent).contains("error=login_required"));
        let declined = desk.take(&query(""), None, &form::parse(b"cancel=yes").unwrap());
        assert!(location(&declined).contains("error=access_denied"));
        for (verifier, status) in [("another", None), ("verifier", Some(StatusCode::OK))] {
            let back = desk.take(&query(""), None, &form::parse(b"level=2").unwrap());
            let code = location(&back).split("code=").nth(1).unwrap().split('&').next().unwrap().to_owned();
            let fields = format!(
                "grant_type=authorization_code&client_id={CLIENT}&code={code}&code_verifier={verifier}\
                 &redirect_uri=http://land.localhost:80/.gateway/callback"
            );
            let fields = form::parse(fields.as_bytes()).unwrap();
            assert_eq!(desk.redeem(&fields).map(|answer| answer.status()), status);
            assert!(desk.redeem(&fields).is_none(), "once");
        }
    }

    #[test]
    fn nobody_is_sent_anywhere_but_to_the_portals() {
        assert!(is_portal("http://health.localhost:8080/.gateway/callback", "/.gateway/callback"));
        for bad in [
            "http://evil.example:80/.gateway/callback",
            "http://health.localhost:80@evil.example/.gateway/callback",
            "http://health.localhost:80/other",
            "https://health.localhost:80/.gateway/callback",
        ] {
            assert!(!is_portal(bad, "/.gateway/callback"), "{bad}");
        }
    }
}
