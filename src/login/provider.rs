//! An SSO's endpoints: as written, or by discovery and kept (DI-1).
//!
//! Looked up on the control runtime. What was learnt serves while the SSO cannot be asked again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Uri;
use serde_json::Value;

use crate::config::model::{Provider, ProviderEndpoints};
use crate::fetch::Fetcher;

/// One GET of the document.
pub const LIMIT: Duration = Duration::from_secs(5);
/// A discovery document is 2 to 8 KiB.
const MAX: usize = 64 * 1024;
/// Endpoints move once in years; an SSO that adds one is heard within this.
const FRESH: Duration = Duration::from_secs(600);

pub struct Endpoints {
    source: Provider,
    /// What the document must say it is of.
    issuer: String,
    fetcher: Fetcher,
    known: Mutex<Option<(Instant, Arc<ProviderEndpoints>)>>,
    /// One fetch at a time. When the last one failed, and why.
    fetching: tokio::sync::Mutex<Option<(Instant, String)>>,
}

impl Endpoints {
    pub fn new(source: Provider, issuer: String, fetcher: Fetcher) -> Endpoints {
        let known = match &source {
            Provider::Written(endpoints) => Some((Instant::now(), Arc::new((**endpoints).clone()))),
            Provider::Discovery(_) => None,
        };
        Endpoints { source, issuer, fetcher, known: Mutex::new(known), fetching: tokio::sync::Mutex::new(None) }
    }

    /// What is known without asking.
    pub fn known(&self) -> Option<Arc<ProviderEndpoints>> {
        self.lock().as_ref().map(|(_, endpoints)| endpoints.clone())
    }

    /// Within [`LIMIT`]. Errors: they were never learnt, and why.
    pub async fn get(&self) -> Result<Arc<ProviderEndpoints>, String> {
        if let Some(fresh) = self.fresh() {
            return Ok(fresh);
        }
        let Provider::Discovery(uri) = &self.source else { return self.known().ok_or_else(String::new) };
        let asked = Instant::now();
        let mut failed = self.fetching.lock().await;
        if let Some(fresh) = self.fresh() {
            return Ok(fresh);
        }
        // Who waited for a fetch in vain does not wait for another: with many of them, each would wait for all before it.
        if let Some((_, why)) = failed.as_ref().filter(|(at, _)| *at >= asked) {
            return self.known().ok_or_else(|| why.clone());
        }
        match self.discover(uri).await {
            Ok(found) => {
                let found = Arc::new(found);
                *self.lock() = Some((Instant::now(), found.clone()));
                Ok(found)
            }
            Err(why) => {
                *failed = Some((Instant::now(), why.clone()));
                self.known().ok_or(why)
            }
        }
    }

    /// What is known, and need not be asked again yet.
    pub fn fresh(&self) -> Option<Arc<ProviderEndpoints>> {
        let known = self.lock();
        let (at, endpoints) = known.as_ref()?;
        let fresh = matches!(self.source, Provider::Written(_)) || at.elapsed() < FRESH;
        fresh.then(|| endpoints.clone())
    }

    async fn discover(&self, uri: &Uri) -> Result<ProviderEndpoints, String> {
        let document = self.fetcher.get(uri, LIMIT, MAX).await.map_err(|e| format!("discovery: {e}"))?.body;
        let document: Value = serde_json::from_slice(&document).map_err(|_| "discovery: not JSON".to_owned())?;
        read(&document, &self.issuer)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Instant, Arc<ProviderEndpoints>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(document: &Value, issuer: &str) -> Result<ProviderEndpoints, String> {
    // DI-1: byte for byte, else it is not used.
    if document.get("issuer").and_then(Value::as_str) != Some(issuer) {
        return Err("discovery: the document is of another issuer".to_owned());
    }
    let url = |name: &str| -> Option<Uri> {
        let uri: Uri = document.get(name)?.as_str()?.parse().ok()?;
        (uri.host().is_some() && matches!(uri.scheme_str(), Some("https" | "http"))).then_some(uri)
    };
    let need = |name: &str| url(name).ok_or_else(|| format!("discovery: no `{name}`"));
    let says_iss = document.get("authorization_response_iss_parameter_supported");
    Ok(ProviderEndpoints {
        authorization: need("authorization_endpoint")?,
        token: need("token_endpoint")?,
        end_session: url("end_session_endpoint"),
        pushed_requests: url("pushed_authorization_request_endpoint"),
        iss_in_answer: says_iss == Some(&Value::Bool(true)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// DI-1
    #[test]
    fn a_document_of_another_issuer_is_not_used() {
        let document = json!({
            "issuer": "https://sso.ir", "authorization_endpoint": "https://login.ir/a", "token_endpoint": "https://t.ir/t",
            "authorization_response_iss_parameter_supported": true,
        });
        let found = read(&document, "https://sso.ir").unwrap();
        assert!(found.iss_in_answer && found.end_session.is_none());
        assert_eq!(found.authorization, "https://login.ir/a", "an issuer need not be the prefix of its endpoints");
        assert!(read(&document, "https://sso.ir/").is_err());
        assert!(read(&json!({"issuer": "https://sso.ir"}), "https://sso.ir").is_err());
    }
}
