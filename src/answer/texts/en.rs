//! The texts in English. Written for the reader of a page first: short sentences, and who has to do what.

use super::Texts;
use crate::words::Code;

#[rustfmt::skip]
pub(super) const fn texts(code: Code) -> &'static Texts {
    match code {
        Code::TokenMissing => &Texts {
            title: "Sign-in is required",
            detail: "This route needs an access token: send Authorization: Bearer with a token of the issuer that the challenge stands for.",
            happened: "This service is open only to people who have signed in, and you have not signed in yet.",
            remedy: "Go back to the site you came from, sign in there, and try again.",
        },
        Code::TokenInvalid => &Texts {
            title: "Your sign-in is not valid",
            detail: "The access token was not accepted: its signature, issuer, audience, type or time of validity does not hold. Obtain a new one.",
            happened: "Your sign-in has expired or could not be confirmed.",
            remedy: "Go back to the site you came from, sign in again, and repeat what you were doing.",
        },
        Code::CredentialsMalformed => &Texts {
            title: "The sign-in was sent in a wrong form",
            detail: "Send exactly one Authorization header of the form Bearer TOKEN; a token in the query string is never accepted.",
            happened: "The site or app you are using passed on your sign-in in a form that cannot be accepted. This is not your mistake.",
            remedy: "Close this page and open the service again from its own site. If it happens again, tell its support and give the reference below.",
        },
        Code::LevelTooLow => &Texts {
            title: "A stronger sign-in is required",
            detail: "The assurance level of the token is below what this route requires: authenticate again with one of the acr_values of the challenge.",
            happened: "For this step your identity has to be confirmed in a stronger way than the one you signed in with.",
            remedy: "Go back to the site you came from and sign in again with the stronger method it offers you.",
        },
        Code::AuthenticationTooOld => &Texts {
            title: "Please sign in again",
            detail: "The authentication is older than this route allows, or its time is not known: authenticate again within the max_age of the challenge.",
            happened: "To protect you, this step is possible only shortly after signing in, and your sign-in was some time ago.",
            remedy: "Go back to the site you came from, sign in again, and continue. Nothing has been changed.",
        },
        Code::ScopeMissing => &Texts {
            title: "Access is not permitted",
            detail: "The token lacks a scope that this route requires; the challenge lists all that are required.",
            happened: "The site or app you are using has no permission for this step on your behalf.",
            remedy: "If you think it should have, ask the support of that site and give the reference below.",
        },
        Code::VerifyForbidden => &Texts {
            title: "This verdict is not available",
            detail: "This address or certificate may not ask for verdicts about this agency: see verify under the agency in the configuration of the gateway.",
            happened: "The site you are using asked for your access in a way that is not set up. This is not your mistake.",
            remedy: "Tell the support of that site, and give the reference below.",
        },
        Code::LoginRequired => &Texts {
            title: "Please sign in",
            detail: "This route is for people who are signed in at this portal: open login_url in the browser.",
            happened: "This service is open only to people who have signed in, and you are not signed in.",
            remedy: "Sign in, and try again. A form that you were filling in has not been sent.",
        },
        Code::CrossSite => &Texts {
            title: "This was asked by another site",
            detail: "An unsafe request on a route that takes sessions must come from a page of the same origin: Sec-Fetch-Site same-origin or none, else a matching Origin.",
            happened: "Another site tried to act here in your name. Nothing was done.",
            remedy: "If you wanted to do this, open the service from its own page and do it there.",
        },
        Code::LoginDeclined => &Texts {
            title: "Sign-in was not completed",
            detail: "The SSO answered the login with an error, as it does when a person declines.",
            happened: "The sign-in was broken off. If you were signed in before, you still are.",
            remedy: "You can try again, or go back to the page you came from.",
        },
        Code::UnmetAuthenticationRequirements => &Texts {
            title: "This sign-in is not strong enough",
            detail: "The SSO returned a level below the one that was asked for, more than once.",
            happened: "This step needs a stronger proof of who you are than your sign-in gave, also after it was asked for again.",
            remedy: "Try again with a stronger method, such as your national card. If you have none, the agency can tell you how else to do this.",
        },
        Code::LoginExpired => &Texts {
            title: "The sign-in took too long",
            detail: "No login attempt of this browser fits the state of this answer: it is older than ten minutes, was used before, or its cookie is missing.",
            happened: "This sign-in is no longer valid: too much time has passed, it was used already, or your browser does not keep cookies.",
            remedy: "Start again from the page of the service. If it happens again, allow cookies for this site.",
        },
        Code::FormGone => &Texts {
            title: "This form is not waiting any more",
            detail: "No form of this person waits here under this id for this browser: it was sent, is older than fifteen minutes, or its cookie is missing. It has not been sent again.",
            happened: "The form was sent already, or it waited for more than a quarter of an hour. It has not been sent again.",
            remedy: "See at the service whether it arrived, before you fill it in anew.",
        },
        Code::LoginInvalid => &Texts {
            title: "The sign-in could not be confirmed",
            detail: "The answer of the SSO did not pass a check of the login; the log of the gateway names it.",
            happened: "The answer of the sign-in service could not be confirmed, so you were not signed in. This is not your mistake.",
            remedy: "Try again. If it happens again, report it with the reference below.",
        },
        Code::SsoUnavailable => &Texts {
            title: "The sign-in service cannot be reached",
            detail: "The SSO cannot be reached or answers with an error of its own; try again after Retry-After.",
            happened: "The sign-in service does not answer at the moment. People who are signed in are not affected.",
            remedy: "Try again in a few minutes.",
        },
        Code::SessionStoreAway => &Texts {
            title: "Your sign-in cannot be checked right now",
            detail: "The store of sessions does not answer; the session is untouched. Try again after Retry-After.",
            happened: "Because of a fault on our side your sign-in cannot be checked at the moment. You are still signed in.",
            remedy: "Try again in a few minutes.",
        },
        Code::RouteUnknown => &Texts {
            title: "Nothing is found at this address",
            detail: "No route fits this host and path. Case and a trailing slash matter.",
            happened: "There is no service at the address you opened. It may have been mistyped, or the service may have moved.",
            remedy: "Check the address, or go to the service from the home page of its agency.",
        },
        Code::MethodNotAllowed => &Texts {
            title: "This action is not possible here",
            detail: "A route fits this path but not this method; the Allow header lists those that do.",
            happened: "The address is right, but what was asked for cannot be done there.",
            remedy: "Go back and start again from the page of the service.",
        },
        Code::PathAmbiguous => &Texts {
            title: "The address is not written clearly",
            detail: "The path holds dot segments, an encoded slash or backslash, an empty segment, a control character or a broken escape; it is refused because two systems could read it differently.",
            happened: "The address contains characters that could be read in more than one way. For safety nothing was passed on.",
            remedy: "Open the service from its own site instead of a copied link.",
        },
        Code::RequestMalformed => &Texts {
            title: "The request cannot be understood",
            detail: "The request is not valid HTTP: its framing, Host or syntax is broken or ambiguous. The connection is closed and nothing was forwarded.",
            happened: "Your browser or app sent something that cannot be understood. Nothing was passed on.",
            remedy: "Reload the page. If it happens again, try another browser or another network.",
        },
        Code::BodyTooLarge => &Texts {
            title: "What was sent is too large",
            detail: "The request body is over the limit of this route.",
            happened: "The file or form you sent is larger than this service accepts.",
            remedy: "Send a smaller file, or split it where the service allows that.",
        },
        Code::HeadersTooLarge => &Texts {
            title: "The request carries too much data",
            detail: "The header block is over the limit in bytes or in number of fields. Often the cause is cookies.",
            happened: "Your browser sent more accompanying data than is accepted, most often too many cookies.",
            remedy: "Delete the cookies of this site in your browser and try again.",
        },
        Code::UriTooLong => &Texts {
            title: "The address is too long",
            detail: "The request target is over the limit. Send long input in a body.",
            happened: "The address that was opened is longer than is accepted.",
            remedy: "Go back and start again from the page of the service.",
        },
        Code::RequestTimeout => &Texts {
            title: "The request did not arrive in time",
            detail: "The header block or the body stalled for longer than the limit. Nothing incomplete was treated as complete.",
            happened: "The connection was so slow that your request did not arrive completely.",
            remedy: "Check your connection and send it again.",
        },
        Code::ExpectationFailed => &Texts {
            title: "An expectation cannot be met",
            detail: "Expect knows only 100-continue here.",
            happened: "Your app asked for something special that is not supported here.",
            remedy: "Try again with an up-to-date browser or app.",
        },
        Code::VersionUnsupported => &Texts {
            title: "This version of HTTP is not supported",
            detail: "Speak HTTP/1.1 or HTTP/2.",
            happened: "Your browser or app speaks a version of the protocol that is not supported.",
            remedy: "Try again with an up-to-date browser or app.",
        },
        Code::RateLimited => &Texts {
            title: "Too many requests",
            detail: "The rate of this route is used up; wait as long as Retry-After says.",
            happened: "More requests came in a short time than are allowed, so that the service stays available to everyone.",
            remedy: "Wait a little, then try once more. Reloading again and again does not help.",
        },
        Code::Overloaded => &Texts {
            title: "The service is very busy",
            detail: "As many requests are in progress as are allowed; wait as long as Retry-After says. Nothing was forwarded.",
            happened: "Very many people are using the service right now, and your request was not taken on.",
            remedy: "Wait a few minutes and try again. What you had already completed is not affected.",
        },
        Code::KeysUnavailable => &Texts {
            title: "Sign-ins cannot be confirmed at the moment",
            detail: "No usable keys of the issuer could be obtained, so no token can be verified; wait as long as Retry-After says.",
            happened: "The system that confirms sign-ins cannot be reached. Your sign-in may be fine, but it cannot be confirmed now.",
            remedy: "Wait a few minutes and try again. You need not sign in again.",
        },
        Code::NoHealthyEndpoint => &Texts {
            title: "The service is not available at the moment",
            detail: "No endpoint of the agency is healthy; wait as long as Retry-After says. Nothing was forwarded.",
            happened: "The systems of the agency that provides this service do not respond at the moment.",
            remedy: "Wait a few minutes and try again. If it stays so, report it and give the reference below.",
        },
        Code::ConnectFailed | Code::ConnectTimeout => &Texts {
            title: "The agency cannot be reached",
            detail: "No connection to the agency could be made. Nothing was forwarded, so a repetition is safe.",
            happened: "The systems of the agency that provides this service cannot be reached at the moment.",
            remedy: "Wait a few minutes and try again. If it stays so, report it and give the reference below.",
        },
        Code::UpstreamBroke => &Texts {
            title: "The connection to the agency broke",
            detail: "The connection broke before an answer arrived. The agency may have acted on the request: repeat it only if it is idempotent.",
            happened: "The connection to the agency broke before its answer arrived. It is not certain whether your request was carried out.",
            remedy: "Before you send it again, look in the service whether it was already done.",
        },
        Code::UpstreamTimeout => &Texts {
            title: "The agency did not answer in time",
            detail: "No answer came within the time limit. The agency may still act on the request: repeat it only if it is idempotent.",
            happened: "The agency took too long to answer. It is not certain whether your request was carried out.",
            remedy: "Before you send it again, wait a few minutes and look in the service whether it was already done.",
        },
        Code::LoopDetected => &Texts {
            title: "The request is going in a circle",
            detail: "The Via header names this gateway already: an agency or a proxy sends requests back to it.",
            happened: "Because of a wrong setting in our systems the request came back to where it started.",
            remedy: "You can do nothing about this. Please report it with the reference below.",
        },
        Code::InternalError => &Texts {
            title: "An error on our side",
            detail: "The gateway itself failed. The log holds the cause under this request id.",
            happened: "Something went wrong in our systems. This is not your mistake.",
            remedy: "Try again in a few minutes. If it stays so, report it and give the reference below.",
        },
    }
}
