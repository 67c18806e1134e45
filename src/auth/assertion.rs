//! What the gateway itself says of a caller: a signed assertion and a pairwise subject (contract section 3, PV-1).

use std::path::Path;
use std::sync::Arc;

use http::HeaderValue;

use super::permit::Permit;
use crate::clock::UnixTime;
use crate::config::model::AssertionSettings;

/// Signs with ES256. Key and pairwise secret are made at first start and kept in `state_dir` (mode 0600).
#[derive(Debug)]
pub struct Signer {
    _private: (),
}

impl Signer {
    pub fn load_or_create(_settings: &AssertionSettings, _state_dir: &Path) -> Result<Signer, String> {
        todo!()
    }

    /// `X-Gateway-Assertion` for this request. Every assertion has its own `jti` (the request's randomness).
    pub fn assertion(&self, _permit: &Permit, _agency: &str, _now: UnixTime) -> HeaderValue {
        todo!()
    }

    /// The subject as this agency alone knows it; cached with the token.
    pub fn pairwise(&self, _permit: &Permit, _agency: &str) -> Option<Arc<str>> {
        todo!()
    }

    /// `/.gateway/jwks.json`
    pub fn jwks(&self) -> String {
        todo!()
    }
}
