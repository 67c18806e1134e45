//! The gateway's own pages and endpoints for people who log in, and for the SSO: what lies below `/.gateway/` besides the
//! keys. Finds which one is asked for; `login` answers.

use http::{HeaderValue, Method};

use super::gate::Gate;
use super::rate;
use super::refusal::Refusal;
use super::session::{origin, visit};
use super::worker::View;
use crate::body::Body;
use crate::config::model::{Issuer, Priority};
use crate::intake::Arrived;
use crate::live::Snapshot;
use crate::login::{begin, callback, kept_post, logout, status};
use crate::message::Response;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Begin,
    Callback,
    Form,
    Logout,
    SignedOut,
    Status,
    BackChannel,
    FrontChannel,
}

const PLACES: [(&str, Place); 8] = [
    (begin::PATH, Place::Begin),
    (callback::PATH, Place::Callback),
    (kept_post::PATH, Place::Form),
    (logout::PATH, Place::Logout),
    (logout::SIGNED_OUT, Place::SignedOut),
    (status::PATH, Place::Status),
    (logout::BACK_CHANNEL, Place::BackChannel),
    (logout::FRONT_CHANNEL, Place::FrontChannel),
];

impl Place {
    /// Where portals are, and for the SSO wherever it was told.
    fn is_at(self, snapshot: &Snapshot, arrived: &Arrived) -> bool {
        let for_sso = matches!(self, Place::BackChannel | Place::FrontChannel);
        snapshot.login.is_on() && (for_sso || snapshot.login.hosts.has(arrived.authority.name()))
    }

    /// What ends sessions comes first.
    pub const fn priority(self) -> Priority {
        match self {
            Place::Logout | Place::BackChannel | Place::FrontChannel => Priority::High,
            Place::Begin | Place::Callback | Place::Form | Place::SignedOut | Place::Status => Priority::Normal,
        }
    }

    const fn allow(self) -> &'static str {
        match self {
            Place::Begin | Place::Callback | Place::Form | Place::SignedOut | Place::FrontChannel => "GET, HEAD",
            Place::Logout => "GET, HEAD, POST",
            Place::Status => "GET, HEAD, OPTIONS",
            Place::BackChannel => "POST",
        }
    }
}

/// Which of them a request is for.
pub fn asked(snapshot: &Snapshot, arrived: &Arrived) -> Option<Place> {
    let path = arrived.path.strip_prefix(b"/.gateway/").map(|_| &*arrived.path)?;
    let known = PLACES.iter().find(|(known, _)| known.as_bytes() == path).map(|(_, place)| *place);
    let place = known.or_else(|| is_own_callback(snapshot, path).then_some(Place::Callback))?;
    place.is_at(snapshot, arrived).then_some(place)
}

/// `/.gateway/callback/NAME` of an SSO that has one of its own.
fn is_own_callback(snapshot: &Snapshot, path: &[u8]) -> bool {
    let name = path.strip_prefix(callback::PATH.as_bytes()).and_then(|rest| rest.strip_prefix(b"/"));
    let has = |issuer: &Issuer| issuer.client.as_ref().is_some_and(|client| client.own_callback);
    name.is_some_and(|name| {
        snapshot.issuers.iter().any(|issuer| has(&issuer.model) && issuer.model.name.as_bytes() == name)
    })
}

impl Place {
    /// Errors: another method than it takes.
    pub fn takes(self, method: &Method) -> Result<(), Refusal> {
        let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
        match self.allow().split(", ").any(|allowed| allowed == method) {
            true => Ok(()),
            false => Err(Refusal::MethodNotAllowed(HeaderValue::from_static(self.allow()))),
        }
    }

    /// What is there, and the status that whoever comes as they should gets: for `explain`.
    pub const fn shown(self) -> (u16, &'static str) {
        match self {
            Place::Begin => (303, "the gateway's way to the SSO"),
            Place::Callback => (303, "the gateway's way back from the SSO, for a browser that began a login"),
            Place::Form => {
                (200, "the gateway's page that asks whether to send a form, for the person whose form waits")
            }
            Place::Logout => (200, "the gateway's page to sign out"),
            Place::SignedOut => (200, "the gateway's page after signing out"),
            Place::Status => (200, "the gateway's word on who is signed in, for the portals' pages"),
            Place::BackChannel => (200, "the gateway's ear for logouts of the SSO, by a logout token"),
            Place::FrontChannel => (200, "the gateway's ear for logouts of the SSO, in a frame of its page"),
        }
    }
}

/// Errors: another method than it takes; a login too many.
pub async fn answer(
    gate: &Gate,
    view: &View,
    place: Place,
    arrived: &Arrived,
    body: Body,
) -> Result<Response, Refusal> {
    place.takes(&arrived.method)?;
    if place == Place::Begin {
        rate::take_login(view, arrived.client)?;
    }
    let origin = origin(gate, arrived);
    let visit = visit(gate, view, arrived, &origin);
    let query = arrived.query.as_deref().unwrap_or_default();
    let login = &view.snapshot.login;
    Ok(match place {
        Place::Begin => login.answer_begin(&visit, query).await,
        Place::Callback => login.answer_callback(&visit, &arrived.path, query).await,
        Place::Form => login.answer_form(&visit, query).await,
        Place::Logout => login.answer_logout(&visit, body).await,
        Place::SignedOut => login.answer_signed_out(&visit),
        Place::Status => login.answer_status(&visit).await,
        Place::BackChannel => login.answer_back_channel(&visit, body).await,
        Place::FrontChannel => login.answer_front_channel(&visit, query).await,
    })
}
