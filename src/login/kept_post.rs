//! A form that needed more than its session had: kept until the step-up is done, and sent once (point 2 of a step-up that
//! loses nothing).
//!
//! The page that asks has an address of its own, so that it can be loaded again, and no code of the SSO stays in the browser's
//! address line. What is kept is sealed with a key that only the browser's sealed attempt holds: who reads the memory of the gateway reads
//! no form. Bounded in size, number and time, and bound to the subject of the session that sent it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderValue, Method, header};
use serde::{Deserialize, Serialize};

use super::state::{self, cleared, written};
use super::{Login, Visit, form, pages, random};
use crate::clock::UnixTime;
use crate::fields::Fields;
use crate::message::Response;
use crate::session::{Hub, StoreAway};
use crate::words::Code;

/// Where a browser is asked whether to send what waits.
pub const PATH: &str = "/.gateway/form";
/// Bytes of a form: a long letter, not a scan.
pub const MAX_FORM: usize = 256 * 1024;
/// Bytes of all that wait.
const MAX_ALL: usize = 64 * 1024 * 1024;
/// Forms of one person: the oldest makes room, and nobody fills what is there for all.
const MAX_EACH: usize = 4;
/// Seconds: a step-up, and a look at the page after it.
const LIFETIME: i64 = 900;
/// Fields that a page lists.
const MAX_NAMES: usize = 20;
const COOKIE: &str = "__Host-darvazeh-form-";
/// What the page after a step-up sends instead of the form.
const GO: &str = "gateway-send";

/// Where a form waits, and what it is opened with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    id: String,
    key: String,
    /// Whose form it is: says nothing of who that is.
    whose: String,
}

impl Ticket {
    pub fn fresh(whose: String) -> Ticket {
        Ticket { id: URL_SAFE_NO_PAD.encode(random::<12>()), key: URL_SAFE_NO_PAD.encode(random::<32>()), whose }
    }

    pub fn is_of(&self, issuer: &str, subject: &str) -> bool {
        self.whose == owner(issuer, subject)
    }

    /// Whom a form is kept for.
    pub fn for_owner(issuer: &str, subject: &str) -> Ticket {
        Ticket::fresh(owner(issuer, subject))
    }

    fn cipher(&self) -> Option<RandomizedNonceKey> {
        RandomizedNonceKey::new(&AES_256_GCM_SIV, &URL_SAFE_NO_PAD.decode(&self.key).ok()?).ok()
    }

    /// What the page's button sends as its body.
    pub fn go(&self) -> String {
        format!("{GO}={}", self.id)
    }

    /// Where its page is.
    pub fn page(&self) -> String {
        form::Form::new(&[("id", &self.id)]).behind(PATH)
    }

    /// The cookie that lets the page show and send the form.
    pub fn cookie(&self) -> Option<HeaderValue> {
        written(&format!("{COOKIE}{}", self.id), &format!("{}.{}", self.key, self.whose), LIFETIME)
    }

    /// The end of that cookie.
    pub fn cleared(&self) -> Option<HeaderValue> {
        cleared(&format!("{COOKIE}{}", self.id))
    }

    /// The ticket of a browser that sends `go`.
    fn presented(headers: &Fields, go: &[u8]) -> Option<Ticket> {
        Ticket::held(headers, std::str::from_utf8(go).ok()?.strip_prefix(GO)?.strip_prefix('=')?)
    }

    /// The ticket `sent` of this browser.
    fn held(headers: &Fields, sent: &str) -> Option<Ticket> {
        let (id, value) = state::ours(headers, COOKIE).find(|(id, _)| id == sent)?;
        let (key, whose) = std::str::from_utf8(value).ok()?.split_once('.')?;
        Some(Ticket { id, key: key.to_owned(), whose: whose.to_owned() })
    }
}

fn owner(issuer: &str, subject: &str) -> String {
    URL_SAFE_NO_PAD.encode(&digest(&SHA256, format!("form\0{issuer}\0{subject}").as_bytes()).as_ref()[..16])
}

/// A form as it was sent.
#[derive(Serialize, Deserialize)]
pub struct Form {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub content_type: String,
    #[serde(with = "base64_text")]
    pub body: Vec<u8>,
}

mod base64_text {
    use super::*;

    pub fn serialize<S: serde::Serializer>(bytes: &[u8], out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&URL_SAFE_NO_PAD.encode(bytes))
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        URL_SAFE_NO_PAD.decode(text).map_err(serde::de::Error::custom)
    }
}

impl Form {
    /// Whether a request is a form that a page sent as a navigation: what a browser can send again in its place.
    pub fn is_kept(method: &Method, headers: &Fields) -> bool {
        let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        let kind = kind.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        let form: [&[u8]; 3] = [b"application/x-www-form-urlencoded", b"multipart/form-data", b"text/plain"];
        method == Method::POST && form.iter().any(|form| kind.eq_ignore_ascii_case(form))
    }

    /// The names of its fields, never their values.
    pub fn field_names(&self) -> Vec<String> {
        if self.content_type.to_ascii_lowercase().starts_with("multipart/form-data") {
            return multipart_names(&self.body);
        }
        form::names(&self.body, MAX_NAMES)
    }
}

/// The names in `Content-Disposition: form-data; name="…"` (RFC 7578 section 4.2). Only shown, so found by their look.
fn multipart_names(body: &[u8]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut at = 0;
    while let Some(found) = memchr::memmem::find(&body[at..], b"form-data; name=\"") {
        let from = at + found + b"form-data; name=\"".len();
        let Some(length) = memchr::memchr(b'"', &body[from..]) else { break };
        let name = String::from_utf8_lossy(&body[from..from + length]).into_owned();
        if names.len() < MAX_NAMES && !names.contains(&name) {
            names.push(name);
        }
        at = from + length;
    }
    names
}

/// Forms that wait: in a Redis where the nodes share one, else here.
#[derive(Default)]
pub struct KeptForms(Mutex<Shelf>);

#[derive(Default)]
struct Shelf {
    forms: HashMap<String, Waiting>,
    bytes: usize,
}

struct Waiting {
    whose: String,
    /// `None`: it waits in the Redis, or is on its way there, and counts here: what a node and a person may fill is bounded.
    sealed: Option<Vec<u8>>,
    size: usize,
    until: UnixTime,
}

impl Shelf {
    /// The oldest of a person who has the most already: their ids.
    fn make_room_for(&mut self, whose: &str) -> Vec<String> {
        let own = self.forms.iter().filter(|(_, waiting)| waiting.whose == whose);
        let mut own: Vec<(UnixTime, String)> = own.map(|(id, waiting)| (waiting.until, id.clone())).collect();
        own.sort();
        own.truncate((own.len() + 1).saturating_sub(MAX_EACH));
        own.iter().for_each(|(_, id)| drop(self.forms.remove(id)));
        own.into_iter().map(|(_, id)| id).collect()
    }
}

impl KeptForms {
    /// False: it is too large, or there is no room.
    pub async fn keep(&self, hub: Option<&Hub>, ticket: &Ticket, form: &Form, now: UnixTime) -> bool {
        let (Some(cipher), Ok(mut sealed)) = (ticket.cipher(), serde_json::to_vec(form)) else { return false };
        let Ok(nonce) = cipher.seal_in_place_append_tag(Aad::from(ticket.id.as_bytes()), &mut sealed) else {
            return false;
        };
        sealed.extend_from_slice(nonce.as_ref());
        let (has_room, gone) = self.reserve(ticket, sealed.len(), now);
        if let Some(hub) = hub {
            for id in gone {
                hub.drop_kept(&id).await;
            }
        }
        if !has_room {
            return false;
        }
        let is_shared = match hub {
            Some(hub) => hub.keep(&ticket.id, &sealed, LIFETIME).await.is_ok(),
            None => false,
        };
        if !is_shared && let Some(waiting) = self.lock().forms.get_mut(&ticket.id) {
            waiting.sealed = Some(sealed);
        }
        true
    }

    /// Whether there is a place for `size` bytes, which is then taken at once, so that a crowd cannot all see the same one;
    /// and which forms made room.
    fn reserve(&self, ticket: &Ticket, size: usize, now: UnixTime) -> (bool, Vec<String>) {
        let mut shelf = self.lock();
        shelf.forms.retain(|_, waiting| waiting.until > now);
        let gone = shelf.make_room_for(&ticket.whose);
        shelf.bytes = shelf.forms.values().map(|waiting| waiting.size).sum();
        if shelf.bytes + size > MAX_ALL {
            return (false, gone);
        }
        shelf.bytes += size;
        let waiting = Waiting { whose: ticket.whose.clone(), sealed: None, size, until: now + LIFETIME };
        shelf.forms.insert(ticket.id.clone(), waiting);
        (true, gone)
    }

    /// For the page that shows it; it stays.
    pub async fn look(&self, hub: Option<&Hub>, ticket: &Ticket, now: UnixTime) -> Option<Form> {
        let here = {
            let shelf = self.lock();
            let waiting = shelf.forms.get(&ticket.id).filter(|waiting| waiting.until > now);
            waiting.and_then(|waiting| waiting.sealed.clone())
        };
        let sealed = match (here, hub) {
            (Some(sealed), _) => sealed,
            (None, Some(hub)) => hub.look(&ticket.id).await.ok()??,
            (None, None) => return None,
        };
        opened(ticket, sealed)
    }

    /// The form that a page's button stands for, once: of two clicks one gets it, at whichever node.
    pub async fn take(&self, hub: Option<&Hub>, headers: &Fields, go: &[u8], now: UnixTime) -> Option<(Ticket, Form)> {
        let ticket = Ticket::presented(headers, go)?;
        let here = self.lock().forms.remove(&ticket.id).filter(|waiting| waiting.until > now);
        let sealed = match (here.and_then(|waiting| waiting.sealed), hub) {
            (Some(sealed), _) => sealed,
            (None, Some(hub)) => hub.take(&ticket.id).await.ok()??,
            (None, None) => return None,
        };
        let form = opened(&ticket, sealed)?;
        Some((ticket, form))
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Login {
    /// Answers `GET /.gateway/form?id=…`. Shown to the person whose form it is, as often as they look; sent once.
    pub async fn answer_form(&self, visit: &Visit<'_>, query: &[u8]) -> Response {
        let session = match visit.session().await {
            Ok(session) => session,
            Err(StoreAway) => return visit.store_away(),
        };
        let fields = form::parse(query);
        let ticket = fields.as_ref().and_then(|fields| Ticket::held(visit.headers, fields.get("id")?));
        let owner = session.as_ref().map(|loaded| loaded.session());
        let own = ticket.filter(|ticket| owner.is_some_and(|owner| ticket.is_of(&owner.issuer, &owner.sub)));
        if let Some(ticket) = own
            && let Some(form) = self.forms().look(visit.sessions.hub(), &ticket, visit.now).await
        {
            return pages::send_form(&form, &ticket, visit);
        }
        visit.refuse(Code::FormGone, None, None)
    }
}

fn opened(ticket: &Ticket, mut sealed: Vec<u8>) -> Option<Form> {
    let nonce = sealed.split_off(sealed.len().checked_sub(NONCE_LEN)?);
    let nonce = Nonce::try_assume_unique_for_key(&nonce).ok()?;
    let plain = ticket.cipher()?.open_in_place(nonce, Aad::from(ticket.id.as_bytes()), &mut sealed).ok()?;
    serde_json::from_slice(plain).ok()
}

/// Whether a request may be a page's button: a form as short as that. Cheap to ask.
pub fn may_be_go(method: &Method, headers: &Fields) -> bool {
    let short = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    Form::is_kept(method, headers) && short.is_some_and(|length| length <= GO_MAX)
}

/// Whether it is one: then nothing of it is for an agency, whatever became of the form.
pub fn is_go(body: &[u8]) -> bool {
    body.strip_prefix(GO.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'='))
}

/// Bytes of a button's body.
pub const GO_MAX: usize = 64;

/// Puts a kept form's body and type in the place of the button's.
pub fn restore(form: Form, headers: &mut Fields) -> Option<Bytes> {
    headers.insert(header::CONTENT_TYPE, HeaderValue::try_from(form.content_type).ok()?);
    headers.remove(header::CONTENT_LENGTH);
    Some(Bytes::from(form.body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(body: &[u8]) -> Form {
        let content_type = "application/x-www-form-urlencoded".to_owned();
        Form { method: "POST".into(), target: "/x?y".into(), content_type, body: body.to_vec() }
    }

    fn browser(ticket: &Ticket) -> Fields {
        let cookie = ticket.cookie().unwrap();
        let pair = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
        let mut headers = Fields::new();
        headers.insert(header::COOKIE, pair.parse().unwrap());
        headers.insert(header::CONTENT_LENGTH, ticket.go().len().into());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers
    }

    #[tokio::test]
    async fn a_form_is_sent_once_by_the_browser_that_has_its_ticket() {
        let kept = KeptForms::default();
        let ticket = Ticket::for_owner("sso", "citizen");
        assert!(kept.keep(None, &ticket, &form(b"a=1&b=2"), 100).await);
        assert_eq!(kept.look(None, &ticket, 100).await.unwrap().field_names(), ["a", "b"]);
        let headers = browser(&ticket);
        assert!(may_be_go(&Method::POST, &headers) && is_go(ticket.go().as_bytes()) && ticket.go().len() <= GO_MAX);
        assert!(kept.take(None, &Fields::new(), ticket.go().as_bytes(), 100).await.is_none(), "another browser");
        let (found, sent) = kept.take(None, &headers, ticket.go().as_bytes(), 100).await.unwrap();
        assert_eq!((found, sent.body), (ticket.clone(), b"a=1&b=2".to_vec()));
        assert!(kept.take(None, &headers, ticket.go().as_bytes(), 100).await.is_none(), "a second click");
        assert!(ticket.is_of("sso", "citizen") && !ticket.is_of("sso", "another"));
    }

    #[tokio::test]
    async fn a_form_is_forgotten_after_its_time_and_large_ones_find_no_room() {
        let kept = KeptForms::default();
        let ticket = Ticket::for_owner("sso", "citizen");
        assert!(kept.keep(None, &ticket, &form(b"a=1"), 100).await);
        assert!(kept.look(None, &ticket, 100 + LIFETIME).await.is_none());
        assert!(!kept.keep(None, &ticket, &form(&vec![b'x'; MAX_ALL]), 100).await);
    }

    #[tokio::test]
    async fn one_person_takes_no_more_than_their_room() {
        let kept = KeptForms::default();
        let other = Ticket::for_owner("sso", "another");
        assert!(kept.keep(None, &other, &form(b"a=1"), 100).await);
        let large = form(&vec![b'x'; MAX_FORM]);
        let tickets: Vec<_> = (0..300).map(|_| Ticket::for_owner("sso", "citizen")).collect();
        for (at, ticket) in (100..).zip(&tickets) {
            assert!(kept.keep(None, ticket, &large, at).await);
        }
        let mut found = 0;
        for ticket in &tickets {
            found += usize::from(kept.look(None, ticket, 500).await.is_some());
        }
        assert_eq!(found, MAX_EACH);
        for ticket in [&tickets[299], &other] {
            assert!(kept.look(None, ticket, 500).await.is_some(), "the newest, and everybody else's");
        }
    }

    #[test]
    fn names_of_fields_are_found_in_both_kinds_of_form() {
        let multipart = b"--x\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"a\"\r\n\r\n1\r\n--x--";
        let form = Form { content_type: "multipart/form-data; boundary=x".into(), ..form(multipart) };
        assert_eq!(form.field_names(), ["photo"]);
    }
}
