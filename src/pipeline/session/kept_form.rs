//! A form that needs more than its session has: kept while the browser is sent for more, and sent by a button of the page that
//! it comes back to.

use http::header::{self, HeaderValue};

use super::{Entered, LoginNeeded, max_age, origin, target, visit};
use crate::body::Body;
use crate::intake::Arrived;
use crate::live::RouteLive;
use crate::login::begin::Wanted;
use crate::login::form;
use crate::login::kept_post::{self, Form, Ticket};
use crate::login::stats::KeptForm;
use crate::pipeline::gate::Gate;
use crate::pipeline::rate;
use crate::pipeline::refusal::Refusal;
use crate::pipeline::worker::View;
use crate::session::Loaded;

/// Keeps a form that needs more than its session has, and sends the browser for more. What cannot be kept is refused with
/// the way to log in, and the caller reads that nothing was sent.
pub async fn keep_form(
    gate: &Gate,
    view: &View,
    route: &RouteLive,
    arrived: &Arrived,
    body: Body,
    mut needed: Box<LoginNeeded>,
) -> Refusal {
    let Some(ticket) = needed.keeps_form.take() else { return Refusal::Login(needed) };
    // It begins a login, like the page that is there for it.
    if let Err(refusal) = rate::take_login(view, arrived.client) {
        return refusal;
    }
    let login = &view.snapshot.login;
    let now = gate.worker.clock.now();
    let content_type = arrived.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let Some(body) = form::read(body, kept_post::MAX_FORM).await else {
        login.stats().form(KeptForm::NoRoom);
        return Refusal::Login(needed);
    };
    let form = Form {
        method: arrived.method.to_string(),
        target: target(arrived),
        content_type: content_type.to_owned(),
        body: body.to_vec(),
    };
    if !login.forms().keep(view.snapshot.sessions.hub(), &ticket, &form, now).await {
        login.stats().form(KeptForm::NoRoom);
        return Refusal::Login(needed);
    }
    let requirement = &*route.requirement;
    let party = requirement.issuer.as_ref().and_then(|issuer| login.party(&issuer.model.name));
    let Some(party) = party else { return Refusal::Login(needed) };
    let origin = origin(gate, arrived);
    let wanted = Wanted {
        level: requirement.level.number(),
        max_age: max_age(requirement),
        to: &form.target,
        silent: false,
        form: Some(ticket),
    };
    match login.begin(party, wanted, &visit(gate, view, arrived, &origin)).await {
        Ok((_, way)) => {
            login.stats().form(KeptForm::Kept);
            needed.redirect = Some(way.address);
            needed.cookies = way.cookies;
            Refusal::Login(needed)
        }
        Err(_) => Refusal::SsoUnavailable,
    }
}

/// A kept form in the place of the button that stands for it.
pub struct Restored {
    pub body: Body,
    /// Whose it is; `None`: it was no button.
    pub ticket: Option<Ticket>,
}

/// Looks whether a request is the button of a page that asked to send a form. Errors: it is, and the form is gone.
pub async fn restore(view: &View, arrived: &mut Arrived, body: Body, now: i64) -> Result<Restored, Refusal> {
    if !kept_post::may_be_go(&arrived.method, &arrived.headers) {
        return Ok(Restored { body, ticket: None });
    }
    let Some(sent) = form::read(body, kept_post::GO_MAX).await else { return Err(Refusal::BodyTooLarge) };
    if !kept_post::is_go(&sent) {
        return Ok(Restored { body: Body::full(sent), ticket: None });
    }
    let login = &view.snapshot.login;
    let taken = login.forms().take(view.snapshot.sessions.hub(), &arrived.headers, &sent, now).await;
    let taken = taken.filter(|(_, form)| form.target == target(arrived));
    let restored = taken.and_then(|(ticket, form)| Some((ticket, kept_post::restore(form, &mut arrived.headers)?)));
    let Some((ticket, body)) = restored else {
        login.stats().form(KeptForm::Gone);
        return Err(Refusal::FormGone);
    };
    Ok(Restored { body: Body::full(body), ticket: Some(ticket) })
}

/// A form is sent by its own subject's session alone.
pub fn claim_form(
    view: &View,
    ticket: Option<Ticket>,
    entered: &Entered,
    cookies: &mut Vec<HeaderValue>,
) -> Result<(), Refusal> {
    let Some(ticket) = ticket else { return Ok(()) };
    let stats = view.snapshot.login.stats();
    let session = entered.session.as_ref().map(Loaded::session);
    if !session.is_some_and(|session| ticket.is_of(&session.issuer, &session.sub)) {
        stats.form(KeptForm::Gone);
        return Err(Refusal::FormGone);
    }
    stats.form(KeptForm::Sent);
    cookies.extend(ticket.cleared());
    Ok(())
}
