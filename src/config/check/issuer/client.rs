//! `issuers.NAME.client`: the gateway as a relying party of the SSO. Where its endpoints are, and how it proves who it is.

use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;

use super::super::{Context, Field, Table, certificate, codes, route, top};
use super::{Metadata, well_known};
use crate::config::defaults;
use crate::config::model::{Client, ClientProof, Issuer, Par, Provider, ProviderEndpoints, SecretSource};
use crate::config::raw::Place;

const KEYS: [&str; 11] =
    ["id", "auth", "secret", "key", "key_id", "certificate", "scopes", "par", "display_claim", "claims", "callback"];

/// In `metadata`: the SSO says in its answers who it is (RFC 9207 section 3).
pub const ISS_PARAMETER: &str = "authorization_response_iss_parameter_supported";

/// More would not be a release but a copy; each is carried by every session.
const CLAIMS_MAX: usize = 16;

/// `metadata` and `iss`: the issuer's; `None` where they are at fault.
pub fn read(field: &Field<'_>, metadata: Option<&Metadata>, iss: Option<&str>, cx: &mut Context<'_>) -> Option<Client> {
    let table = field.table(cx.faults, &KEYS)?;
    let remedy = "write the client id that the SSO gave: `id: gateway`";
    let id = table.need(cx.faults, "id", remedy).and_then(|f| Some(f.text(cx.faults)?.to_owned()));
    let auth = proof(&table, cx);
    let words = [("auto", Par::Auto), ("required", Par::Required), ("off", Par::Off)];
    let par = table.get("par").and_then(|f| if f.is_off() { Some(Par::Off) } else { f.word(cx.faults, &words) });
    let display_claim = table.get("display_claim").and_then(|f| Some(f.text(cx.faults)?.to_owned()));
    let claims = table.get("claims").and_then(|f| f.some_texts(cx.faults)).unwrap_or_default();
    if let Some(field) = table.get("claims").filter(|_| claims.len() > CLAIMS_MAX) {
        let message = format!("{} claims are released; each is carried by every session", claims.len());
        field.fault(cx.faults, codes::OUT_OF_BOUNDS, message, format!("release at most {CLAIMS_MAX}"));
    }
    let own_callback = table.get("callback").and_then(|f| f.word(cx.faults, &[("shared", false), ("own", true)]));
    let provider = provider(&table, metadata, iss, cx);
    Some(Client {
        scopes: scopes(&table, cx),
        par: par.unwrap_or(defaults::CLIENT_PAR),
        display_claim,
        claims,
        own_callback: own_callback.unwrap_or(defaults::CLIENT_OWN_CALLBACK),
        id: id?,
        auth: auth?,
        provider: provider?,
    })
}

/// Of several SSOs, one that does not say who it is shares its callback with others: another could pass its answer off as its own
/// (RFC 9700 section 4.4). Of those found by discovery nothing is known before they are asked.
pub fn warn_of_mix_ups(issuers: &[Option<Issuer>], places: &[Place], cx: &mut Context<'_>) {
    let clients = || {
        issuers
            .iter()
            .zip(places)
            .filter_map(|(issuer, place)| issuer.as_ref()?.client.as_ref().map(|client| (issuer, place, client)))
    };
    if clients().count() < 2 {
        return;
    }
    for (issuer, place, client) in clients() {
        let Some(issuer) = issuer else { continue };
        let is_silent = matches!(&client.provider, Provider::Written(endpoints) if !endpoints.iss_in_answer);
        if is_silent && !client.own_callback {
            let message = format!("`{}` does not say in its answers who it is, and there are other SSOs", issuer.name);
            let remedy = format!(
                "write `callback: own`, and register `https://PORTAL/.gateway/callback/{}` at this SSO; or `{ISS_PARAMETER}: true` if it sends `iss`",
                issuer.name
            );
            let path = format!("issuers.{}.client", issuer.name);
            cx.faults.add(codes::MIX_UP, *place, path, message, remedy);
        }
    }
}

/// `openid` makes it a login (OpenID Connect Core 1.0 section 3.1.2.1), and comes first.
fn scopes(table: &Table<'_>, cx: &mut Context<'_>) -> Vec<String> {
    let written = table.get("scopes").map_or_else(Vec::new, |f| route::scopes(&f, cx));
    let rest = written.into_iter().filter(|scope| scope != "openid");
    std::iter::once("openid".to_owned()).chain(rest).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    PrivateKeyJwt,
    Basic,
    Post,
    Tls,
    None,
}

impl Method {
    const WORDS: [(&str, Method); 5] = [
        ("private_key_jwt", Method::PrivateKeyJwt),
        ("client_secret_basic", Method::Basic),
        ("client_secret_post", Method::Post),
        ("tls", Method::Tls),
        ("none", Method::None),
    ];

    /// What it is proved with.
    const fn needs(self) -> Option<&'static str> {
        match self {
            Method::PrivateKeyJwt => Some("key"),
            Method::Basic | Method::Post => Some("secret"),
            Method::Tls => Some("certificate"),
            Method::None => None,
        }
    }
}

/// `auth`, else what the means at hand are for: the strongest first (RP-7).
fn proof(table: &Table<'_>, cx: &mut Context<'_>) -> Option<ClientProof> {
    let method = match table.get("auth") {
        Some(field) => field.word(cx.faults, &Method::WORDS)?,
        None if table.has("certificate") => Method::Tls,
        None if table.has("key") => Method::PrivateKeyJwt,
        None if table.has("secret") => Method::Basic,
        None => {
            let message = "the client has nothing to prove itself with";
            let remedy = "add `key`, `certificate` with `key`, or `secret`; or write `auth: none` for a public client";
            table.fault(cx.faults, codes::MISSING_KEY, message, remedy);
            return None;
        }
    };
    refuse_unused(method, table, cx);
    let word = Method::WORDS.iter().find(|(_, m)| *m == method).map_or("", |(word, _)| word);
    let remedy = format!("`auth: {word}` is proved with it");
    match method {
        Method::None => Some(ClientProof::None),
        Method::Basic => secret(table, &remedy, cx).map(ClientProof::Basic),
        Method::Post => secret(table, &remedy, cx).map(ClientProof::Post),
        Method::PrivateKeyJwt => {
            let key = table.need(cx.faults, "key", &remedy).and_then(|f| signing_key(&f, cx));
            let key_id = table.get("key_id").and_then(|f| Some(f.text(cx.faults)?.to_owned()));
            Some(ClientProof::PrivateKeyJwt { key: key?, key_id })
        }
        Method::Tls => {
            let certificate = table.need(cx.faults, "certificate", &remedy);
            let key = table.need(cx.faults, "key", &remedy);
            certificate::identity(&certificate?, &key?, cx).map(ClientProof::Tls)
        }
    }
}

/// A secret that is never used is a secret too many, and a sign that something else was meant.
fn refuse_unused(method: Method, table: &Table<'_>, cx: &mut Context<'_>) {
    let with_key = matches!(method, Method::PrivateKeyJwt | Method::Tls);
    let unused = [
        ("secret", method.needs() != Some("secret")),
        ("key", !with_key),
        ("certificate", method != Method::Tls),
        ("key_id", method != Method::PrivateKeyJwt),
    ];
    for (key, unused) in unused {
        if let Some(field) = table.get(key).filter(|_| unused) {
            let message = format!("`{key}` is not used by this kind of `auth`");
            field.fault(cx.faults, codes::CLIENT_PROOF, message, format!("remove `{key}`, or write another `auth`"));
        }
    }
}

fn secret(table: &Table<'_>, remedy: &str, cx: &mut Context<'_>) -> Option<SecretSource> {
    let field = table.need(cx.faults, "secret", remedy)?;
    let (source, _) = top::secret(&field, cx)?;
    Some(source)
}

/// Tried here as signing will use it.
fn signing_key(field: &Field<'_>, cx: &mut Context<'_>) -> Option<SecretSource> {
    let (source, pem) = top::secret(field, cx)?;
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose()).ok();
    let fits = der.is_some_and(|der| {
        let der = der.secret_pkcs8_der();
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).is_ok() || RsaKeyPair::from_pkcs8(der).is_ok()
    });
    if !fits {
        let remedy = "make one: `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE`";
        field.fault(cx.faults, codes::BAD_PEM, "this is not a P-256 or RSA key in PKCS#8 PEM", remedy);
        return None;
    }
    Some(source)
}

/// By hand when both endpoints of a login are written, else by discovery.
fn provider(
    client: &Table<'_>,
    metadata: Option<&Metadata>,
    iss: Option<&str>,
    cx: &mut Context<'_>,
) -> Option<Provider> {
    let metadata = metadata?;
    let endpoint = |key| metadata.url(key).flatten();
    if let (Some(authorization), Some(token)) = (endpoint("authorization_endpoint"), endpoint("token_endpoint")) {
        return Some(Provider::Written(Box::new(ProviderEndpoints {
            authorization,
            token,
            end_session: endpoint("end_session_endpoint"),
            pushed_requests: endpoint("pushed_authorization_request_endpoint"),
            iss_in_answer: metadata.says_iss,
        })));
    }
    let found = well_known(iss?);
    if found.is_none() {
        let message = "the SSO's endpoints are not known: its issuer is not a URL, so there is no discovery";
        let remedy = "add `metadata: { authorization_endpoint: https://…, token_endpoint: https://… }` to the issuer";
        client.fault(cx.faults, codes::CLIENT_ENDPOINTS, message, remedy);
    }
    found.map(Provider::Discovery)
}
