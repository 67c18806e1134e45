//! Who is believed, and the gateway as their client.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Position, SecretSource, same};
use crate::tls::certs::Identity;
use crate::words::Level;

#[derive(Debug)]
pub struct Issuer {
    pub at: Position,
    pub name: Arc<str>,
    /// Compared with `iss` byte for byte.
    pub issuer: String,
    pub audiences: Vec<String>,
    pub jwks: JwksSource,
    /// Extra trust for fetching keys; `None`: the system's roots.
    pub fetch_roots: Option<Arc<rustls::RootCertStore>>,
    pub algorithms: Vec<Algorithm>,
    /// Lower case, without a leading `application/`.
    pub token_types: Vec<String>,
    pub clock_skew: Duration,
    pub max_level: Level,
    pub level_claim: String,
    /// In the order of the file; every value once.
    pub levels: Vec<(String, Level)>,
    /// How often keys are fetched anew, before jitter.
    pub refresh: Duration,
    /// How long the last good keys are used while none can be fetched.
    pub keep_keys: Duration,
    /// The gateway as its client; `None`: it only believes tokens that others bring.
    pub client: Option<Arc<Client>>,
}

/// The gateway as a client of an SSO: an OpenID relying party.
#[derive(Debug, PartialEq)]
pub struct Client {
    pub id: String,
    pub auth: ClientProof,
    /// `openid` first.
    pub scopes: Vec<String>,
    pub par: Par,
    /// The claim that pages call the citizen by.
    pub display_claim: Option<String>,
    /// Claims of the ID token that agencies are told.
    pub claims: Vec<String>,
    /// The SSO answers at an address that no other is given (RFC 9700 section 4.4.2.2).
    pub own_callback: bool,
    pub provider: Provider,
}

/// How the gateway proves to the token endpoint who it is (OpenID Connect Core 1.0 section 9; RFC 8705).
#[derive(Debug)]
pub enum ClientProof {
    /// A public client: PKCE alone.
    None,
    Basic(SecretSource),
    Post(SecretSource),
    PrivateKeyJwt {
        /// PKCS#8 PEM of a P-256 or RSA key.
        key: SecretSource,
        key_id: Option<String>,
    },
    /// The certificate is shown in the handshake.
    Tls(Arc<Identity>),
}

impl ClientProof {
    /// As `auth` has it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            ClientProof::None => "none",
            ClientProof::Basic(_) => "client_secret_basic",
            ClientProof::Post(_) => "client_secret_post",
            ClientProof::PrivateKeyJwt { .. } => "private_key_jwt",
            ClientProof::Tls(_) => "tls",
        }
    }
}

impl PartialEq for ClientProof {
    fn eq(&self, other: &ClientProof) -> bool {
        match (self, other) {
            (ClientProof::None, ClientProof::None) => true,
            (ClientProof::Basic(one), ClientProof::Basic(two)) | (ClientProof::Post(one), ClientProof::Post(two)) => {
                one == two
            }
            (
                ClientProof::PrivateKeyJwt { key: one, key_id: first },
                ClientProof::PrivateKeyJwt { key: two, key_id: second },
            ) => one == two && first == second,
            (ClientProof::Tls(one), ClientProof::Tls(two)) => same::same_identity(one, two),
            _ => false,
        }
    }
}

/// Pushed authorization requests (RFC 9126).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Par {
    /// Where the SSO offers them.
    Auto,
    /// No login without.
    Required,
    Off,
}

/// Where an SSO's endpoints are learnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// `<issuer>/.well-known/openid-configuration`
    Discovery(http::Uri),
    Written(Box<ProviderEndpoints>),
}

/// What of an SSO's metadata a login needs (OpenID Connect Discovery 1.0 section 3; RFC 8414).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderEndpoints {
    pub authorization: http::Uri,
    pub token: http::Uri,
    pub end_session: Option<http::Uri>,
    pub pushed_requests: Option<http::Uri>,
    /// `authorization_response_iss_parameter_supported`: an answer without `iss` is refused (RFC 9207 section 2.4).
    pub iss_in_answer: bool,
}

impl Issuer {
    /// The level this exact claim value stands for, capped; unknown values are level 0 (AS-1, AS-2, AS-6).
    pub fn level_of(&self, value: &str) -> Level {
        let found = self.levels.iter().find(|(v, _)| v == value);
        found.map_or(Level::NONE, |(_, level)| (*level).min(self.max_level))
    }

    /// The claim values that reach `level`, lowest sufficient first (AS-10).
    pub fn values_reaching(&self, level: Level) -> Vec<&str> {
        let mut fit: Vec<_> = self.levels.iter().filter(|(_, l)| *l >= level && *l <= self.max_level).collect();
        fit.sort_by_key(|(_, l)| *l);
        fit.into_iter().map(|(v, _)| v.as_str()).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksSource {
    File(PathBuf),
    Uri(http::Uri),
    /// `<issuer>/.well-known/openid-configuration`
    Discovery(http::Uri),
}

/// The signatures that may ever be allowed: no `none`, no HMAC (JB-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl Algorithm {
    pub const ALL: [Algorithm; 9] = {
        use Algorithm::*;
        [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA]
    };

    pub const fn as_str(self) -> &'static str {
        match self {
            Algorithm::RS256 => "RS256",
            Algorithm::RS384 => "RS384",
            Algorithm::RS512 => "RS512",
            Algorithm::PS256 => "PS256",
            Algorithm::PS384 => "PS384",
            Algorithm::PS512 => "PS512",
            Algorithm::ES256 => "ES256",
            Algorithm::ES384 => "ES384",
            Algorithm::EdDSA => "EdDSA",
        }
    }
}
