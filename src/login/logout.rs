//! The ways out: a portal's own (RP-9), and those by which the SSO ends sessions (BL-1 to BL-11, FL-1).

use http::header::{self, HeaderValue};
use http::{Method, StatusCode};

use super::form::{self, Form};
use super::logout_token::{self, Whom};
use super::stats::LogoutKind;
use super::{Login, Visit, pages, see_other, setting};
use crate::answer::{Link, LinkKind};
use crate::auth::statement::{Unproved, claimed_issuer};
use crate::body::Body;
use crate::fields::Fields;
use crate::message::Response;
use crate::session::{Ended, Loaded, StoreAway, Whose};
use crate::words::Code;

pub const PATH: &str = "/.gateway/logout";
pub const SIGNED_OUT: &str = "/.gateway/signed-out";
pub const BACK_CHANNEL: &str = "/.gateway/backchannel-logout";
pub const FRONT_CHANNEL: &str = "/.gateway/frontchannel-logout";

/// Bytes of a form with one field.
const MAX_FORM: usize = 4 * 1024;
/// Bytes of a form with a token of at most 8 KiB, form-encoded.
const MAX_TOKEN_FORM: usize = 32 * 1024;

impl Login {
    /// GET asks, POST does it: a link on another site can log nobody out.
    pub async fn answer_logout(&self, visit: &Visit<'_>, body: Body) -> Response {
        let session = match visit.session().await {
            Ok(session) => session,
            Err(StoreAway) => return visit.store_away(),
        };
        let Some(loaded) = session else {
            return setting(see_other(SIGNED_OUT), visit.sessions.clear(visit.headers).values());
        };
        if visit.method != Method::POST {
            return pages::confirm_logout(&loaded, self.form_targets(&loaded), visit);
        }
        let sent = form::read(body, MAX_FORM).await.and_then(|body| form::parse(&body));
        let csrf = sent.as_ref().and_then(|fields| fields.get("csrf")).unwrap_or_default();
        if !loaded.is_csrf(csrf.as_bytes()) || !is_same_origin(visit) {
            let link = Some(Link { kind: LinkKind::TryAgain, url: PATH });
            return visit.refuse(Code::CrossSite, None, link);
        }
        let address = self.end_session(&loaded, visit.origin);
        // Ours first (RP-9): what happens at the SSO does not keep it.
        match visit.sessions.end(&loaded, Ended::Logout, visit.headers, visit.now).await {
            Ok(cookies) => {
                self.stats().logout(LogoutKind::Portal);
                setting(see_other(address.as_deref().unwrap_or(SIGNED_OUT)), cookies.values())
            }
            Err(StoreAway) => visit.store_away(),
        }
    }

    /// Where the SSO ends its own session (OpenID Connect RP-Initiated Logout 1.0 section 2).
    fn end_session(&self, loaded: &Loaded, origin: &str) -> Option<String> {
        let session = loaded.session();
        let party = self.party_of(&session.issuer)?;
        let endpoint = party.endpoints.known()?.end_session.as_ref()?.to_string();
        let back = format!("{origin}{SIGNED_OUT}");
        let mut form = Form::new(&[("client_id", &party.client.id), ("post_logout_redirect_uri", &back)]);
        if let Some(hint) = &session.tokens.id {
            form.push("id_token_hint", hint.expose());
        }
        Some(form.behind(&endpoint))
    }

    /// Where the answer to a logout may lead, for the page's policy: browsers hold redirects to it too.
    fn form_targets(&self, loaded: &Loaded) -> String {
        let endpoint = self.end_session(loaded, "").and_then(|url| url.parse::<http::Uri>().ok());
        match endpoint.and_then(|uri| Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?))) {
            Some(sso) => format!("'self' https: {sso}"),
            None => "'self'".to_owned(),
        }
    }

    pub fn answer_signed_out(&self, visit: &Visit<'_>) -> Response {
        pages::signed_out(visit)
    }

    /// BL-1, BL-9 to BL-11. 200 whatever it ended, 400 for a token that does not hold.
    pub async fn answer_back_channel(&self, visit: &Visit<'_>, body: Body) -> Response {
        let token = form::read(body, MAX_TOKEN_FORM).await.and_then(|body| {
            let fields = form::parse(&body)?;
            fields.get("logout_token").map(str::to_owned)
        });
        let ended = match token {
            Some(token) => self.end_by_token(&token, visit).await,
            None => Err(Unproved::Invalid(crate::auth::token::Invalid("there is no logout token"))),
        };
        match ended {
            Ok(Ok(())) => {
                self.stats().logout(LogoutKind::BackChannel);
                plain(StatusCode::OK, "")
            }
            // The SSO may try again (section 2.8).
            Ok(Err(StoreAway)) | Err(Unproved::NoKeys) => {
                plain(StatusCode::SERVICE_UNAVAILABLE, r#"{"error":"temporarily_unavailable"}"#)
            }
            Err(Unproved::Invalid(why)) => {
                self.stats().logout(LogoutKind::Refused);
                let text = format!(r#"{{"error":"invalid_request","error_description":"{}"}}"#, why.0);
                plain(StatusCode::BAD_REQUEST, &text)
            }
        }
    }

    async fn end_by_token(&self, token: &str, visit: &Visit<'_>) -> Result<Result<(), StoreAway>, Unproved> {
        let unknown = crate::auth::token::Invalid("the logout token is from another issuer");
        let party = self.party_of(&claimed_issuer(token)?).ok_or(Unproved::Invalid(unknown))?;
        let seen = (&self.common.logouts, visit.sessions.hub());
        let (whom, name) = logout_token::read(&party.issuer, &party.client.id, token, seen, visit.now).await?;
        let whose = match &whom {
            Whom::Sid(sid) => Whose::Sid(sid),
            Whom::Sub(sub) => Whose::Sub(sub),
        };
        let ended = visit.sessions.end_by(party.issuer.iss(), whose, visit.now).await;
        if ended.is_err() {
            // It did nothing yet, and the SSO is asked to send it again.
            self.common.logouts.forget(visit.sessions.hub(), logout_token::KIND, &name).await;
        }
        Ok(ended.map(drop))
    }

    /// FL-1: an invisible frame on the SSO's page. Both `iss` and `sid` must be there: without them anybody's page could
    /// end sessions.
    pub async fn answer_front_channel(&self, visit: &Visit<'_>, query: &[u8]) -> Response {
        let fields = form::parse(query);
        let named = fields.as_ref().and_then(|fields| Some((fields.get("iss")?, fields.get("sid")?)));
        let party = named.and_then(|(iss, sid)| Some((self.party_of(iss)?, sid)));
        let Some((party, sid)) = party.filter(|(_, sid)| !sid.is_empty()) else {
            self.stats().logout(LogoutKind::Refused);
            return visit.refuse(Code::RequestMalformed, Some("Both iss and sid are needed."), None);
        };
        if visit.sessions.end_by(party.issuer.iss(), Whose::Named(sid), visit.now).await.is_err() {
            return visit.store_away();
        }
        self.stats().logout(LogoutKind::FrontChannel);
        let known = party.endpoints.known();
        let frame = known.as_ref().map_or("'none'".to_owned(), |endpoints| {
            let uri = endpoints.end_session.as_ref().unwrap_or(&endpoints.authorization);
            let host = uri.authority().map_or("", http::uri::Authority::as_str);
            format!("{}://{host}", uri.scheme_str().unwrap_or("https"))
        });
        pages::framed(&frame, visit)
    }
}

/// Whether a page of this very host sends it (BF-3): sibling hosts are the same site, and are still others.
fn is_same_origin(visit: &Visit<'_>) -> bool {
    same_origin(visit.headers, visit.origin)
}

/// `Sec-Fetch-Site` where the browser says it, else `Origin`, else `Referer`'s place is no proof and it is refused.
pub fn same_origin(headers: &Fields, origin: &str) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    let mut origins = headers.get_all(header::ORIGIN);
    matches!((origins.next(), origins.next()), (Some(sent), None) if sent.as_bytes() == origin.as_bytes())
}

fn plain(status: StatusCode, json: &str) -> Response {
    let mut response = Response::new(Body::full(json.to_owned()));
    response.status = status;
    let headers = &mut response.headers;
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if !json.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response
}
