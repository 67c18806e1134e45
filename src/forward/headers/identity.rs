//! What an agency is told of the caller: an assertion, plain fields, the token, or nothing (`identity` of the agency).

use http::header::{self, HeaderName, HeaderValue};

use crate::auth::Permit;
use crate::auth::assertion::Signer;
use crate::balance::AgencyLive;
use crate::clock::UnixTime;
use crate::config::model::IdentityKind;
use crate::digits::Digits;
use crate::fields::Fields;
use crate::http1::lines::Lines;
use crate::secret::Secret;

const X_GATEWAY_ASSERTION: HeaderName = HeaderName::from_static("x-gateway-assertion");

/// Where the agency is told of the caller.
pub trait Told {
    /// What may be seen by everybody on the way.
    fn plain(&mut self, name: &'static str, value: &[u8]);
    /// What lets its bearer in.
    fn secret(&mut self, name: HeaderName, value: HeaderValue);
}

/// The fields of a verdict.
impl Told for Fields {
    fn plain(&mut self, name: &'static str, value: &[u8]) {
        self.insert(
            HeaderName::from_static(name),
            HeaderValue::from_bytes(value).unwrap_or(HeaderValue::from_static("")),
        );
    }

    fn secret(&mut self, name: HeaderName, value: HeaderValue) {
        self.insert(name, value);
    }
}

/// A request's own fields, and those that are added.
impl Told for (&mut Fields, &mut Lines) {
    fn plain(&mut self, name: &'static str, value: &[u8]) {
        self.1.field(name, value);
    }

    fn secret(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.insert(name, value);
    }
}

/// What the agency is told of the caller (contract section 3). Also what a verdict tells the agency's own proxy, which has
/// the caller's `Authorization` itself. `now`: read only for an assertion.
pub fn identity(
    told: &mut impl Told,
    authorization: Option<HeaderValue>,
    permit: &Permit,
    agency: &AgencyLive,
    signer: &Signer,
    now: impl FnOnce() -> UnixTime,
) {
    match agency.identity {
        IdentityKind::None => {}
        IdentityKind::Assertion => {
            told.secret(X_GATEWAY_ASSERTION, signer.assertion(permit, &agency.name, now()));
        }
        IdentityKind::Headers => {
            if let Some(subject) = signer.pairwise(permit, &agency.name) {
                told.plain("x-gateway-subject", subject.as_bytes());
            }
            told.plain("x-gateway-level", Digits::of(permit.level().number().into()).as_bytes());
        }
        // On level 0 credentials are ignored and not forwarded (contract section 5, "Credentials").
        IdentityKind::Token => {
            let token = permit.token().and_then(|caller| match caller.access_token() {
                Some(token) => bearer(token),
                None => authorization.filter(|_| !caller.is_session()),
            });
            if let Some(token) = token {
                told.secret(header::AUTHORIZATION, token);
            }
        }
    }
}

fn bearer(token: &Secret<String>) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose())).ok()?;
    value.set_sensitive(true);
    Some(value)
}
