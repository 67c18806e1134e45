//! From "somebody must log in" to the address at the SSO (OpenID Connect Core 1.0 section 3.1.2.1).
//!
//! Code flow with PKCE, `state` and `nonce` and nothing else (RP-1); pushed where the SSO offers it (RP-5).

use super::Party;
use super::client::Failed;
use super::form::Form;
use super::state::Attempt;
use crate::answer::Language;
use crate::clock::UnixTime;
use crate::config::model::Par;
use crate::words::Level;

/// What the SSO is to do besides its usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    Usual,
    /// Only if nobody need be asked.
    None,
    /// Ask, whoever is logged in there: the last answer was too weak.
    Login,
}

/// Where to send the browser. Errors: the SSO cannot be asked where that is.
pub async fn address(
    party: &Party,
    attempt: &Attempt,
    prompt: Prompt,
    language: Language,
    now: UnixTime,
) -> Result<String, Failed> {
    let request = request(party, attempt, prompt, language);
    let (endpoints, tokens, par) = (party.endpoints.clone(), party.tokens.clone(), party.client.par);
    let client_id = party.client.id.clone();
    party
        .on_control(async move {
            let endpoints = endpoints.get().await.map_err(Failed::Away)?;
            let authorization = endpoints.authorization.to_string();
            match (par, &endpoints.pushed_requests) {
                (Par::Required, None) => Err(Failed::Refused("the SSO takes no pushed requests".to_owned())),
                (Par::Off, _) | (Par::Auto, None) => Ok(request.behind(&authorization)),
                (Par::Auto | Par::Required, Some(pushed)) => {
                    let uri = tokens.push(pushed, request, now).await?;
                    Ok(Form::new(&[("client_id", &client_id), ("request_uri", &uri)]).behind(&authorization))
                }
            }
        })
        .await
}

fn request(party: &Party, attempt: &Attempt, prompt: Prompt, language: Language) -> Form {
    let mut form = Form::new(&[
        ("response_type", "code"),
        ("client_id", &party.client.id),
        ("redirect_uri", &attempt.redirect_uri()),
        ("scope", &party.client.scopes.join(" ")),
        ("state", &attempt.id),
        ("nonce", &attempt.nonce()),
        ("code_challenge", &attempt.challenge()),
        ("code_challenge_method", "S256"),
    ]);
    // AS-10: all that would do, the lowest first.
    let level = Level::new(attempt.level).unwrap_or(Level::THREE);
    let values = party.issuer.model.values_reaching(level).join(" ");
    if !values.is_empty() {
        form.push("acr_values", &values);
    }
    if let Some(max_age) = attempt.max_age {
        form.push("max_age", &max_age.to_string());
    }
    form.push(
        "ui_locales",
        match language {
            Language::Fa => "fa en",
            Language::En => "en fa",
        },
    );
    match prompt {
        Prompt::Usual => {}
        Prompt::None => form.push("prompt", "none"),
        Prompt::Login => form.push("prompt", "login"),
    }
    form
}
