//! WebSocket, from either version of HTTP to either (RFC 6455, RFC 8441). No other protocol is upgraded to: `Upgrade: h2c`
//! passed on would smuggle requests past the gateway.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderName, HeaderValue};

use super::failure::Failure;
use crate::chance;
use crate::fields::Fields;
use crate::message::Upgrade;

const WEBSOCKET: &[u8] = b"websocket";
/// RFC 6455 §1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What the caller wants the exchange to become, and what is needed to answer it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// An ordinary exchange.
    No,
    /// WebSocket over HTTP/1.1; the key is the caller's.
    Http1 { key: Option<HeaderValue> },
    /// WebSocket over HTTP/2: the key is ours, for an agency that speaks HTTP/1.1.
    Http2 { key: HeaderValue },
    /// A protocol that is not passed on.
    Unknown,
}

impl Wish {
    pub fn of(upgrade: &Upgrade, headers: &Fields) -> Wish {
        match upgrade {
            Upgrade::No => Wish::No,
            Upgrade::Http1 => {
                let mut wanted = headers.get_all(header::UPGRADE);
                let websocket = wanted.next().is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(WEBSOCKET));
                // Any other upgrade may be ignored by a server (RFC 9110 §7.8), and is.
                if websocket && wanted.next().is_none() { Wish::Http1 { key: None } } else { Wish::No }
            }
            Upgrade::ExtendedConnect(protocol) if protocol.eq_ignore_ascii_case(WEBSOCKET) => {
                Wish::Http2 { key: new_key() }
            }
            Upgrade::ExtendedConnect(_) => Wish::Unknown,
        }
    }

    /// Adds what the agency must see. Errors: a protocol we do not pass on.
    pub(super) fn prepare(mut self, headers: &mut Fields, given: Option<HeaderValue>) -> Result<Wish, Failure> {
        match &mut self {
            Wish::No => return Ok(self),
            Wish::Unknown => return Err(Failure::Unsayable("the protocol of the extended CONNECT is not known")),
            Wish::Http1 { key } => *key = given,
            Wish::Http2 { key } => {
                headers.insert(header::SEC_WEBSOCKET_KEY, key.clone());
            }
        }
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        Ok(self)
    }

    pub fn is_upgrade(&self) -> bool {
        !matches!(self, Wish::No)
    }

    /// True when the agency's 101 answers our own key; a caller's own key is the caller's to check.
    pub(super) fn accepts(&self, headers: &Fields) -> bool {
        match self {
            Wish::Http2 { key } => headers.get(header::SEC_WEBSOCKET_ACCEPT) == Some(&accept(key)),
            _ => true,
        }
    }

    /// The fields of a successful answer to an HTTP/1.1 caller.
    pub(super) fn dress_101(&self, headers: &mut Fields) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        if let Wish::Http1 { key: Some(key) } = self
            && !headers.contains_key(header::SEC_WEBSOCKET_ACCEPT)
        {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept(key));
        }
    }
}

/// Fields of the HTTP/1.1 handshake that HTTP/2 does without (RFC 8441 §5).
pub(super) const HANDSHAKE: [HeaderName; 4] =
    [header::SEC_WEBSOCKET_KEY, header::SEC_WEBSOCKET_ACCEPT, header::UPGRADE, header::CONNECTION];

fn new_key() -> HeaderValue {
    let key = STANDARD.encode(chance::bits().to_be_bytes());
    HeaderValue::from_str(&key).expect("base64 is visible ASCII")
}

fn accept(key: &HeaderValue) -> HeaderValue {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key.as_bytes());
    context.update(GUID);
    let text = STANDARD.encode(context.finish());
    HeaderValue::from_str(&text).expect("base64 is visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §1.3, its example.
    #[test]
    fn the_accept_value_is_as_in_the_rfc() {
        assert_eq!(accept(&HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==")), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    /// HP-8
    #[test]
    fn only_websocket_is_upgraded_to() {
        let mut headers = Fields::new();
        headers.insert(header::UPGRADE, HeaderValue::from_static("h2c"));
        assert_eq!(Wish::of(&Upgrade::Http1, &headers), Wish::No);
        headers.insert(header::UPGRADE, HeaderValue::from_static("WebSocket"));
        assert_eq!(Wish::of(&Upgrade::Http1, &headers), Wish::Http1 { key: None });
        assert_eq!(Wish::of(&Upgrade::ExtendedConnect("connect-udp".into()), &headers), Wish::Unknown);
    }
}
