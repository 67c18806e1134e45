//! What a session is called: in the cookie, in the store, and in indexes. The cookie's text is the only secret.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::chance;

/// 128 unguessable bits. Whoever knows them is let in.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id([u8; 16]);

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl Id {
    pub(super) fn draw() -> Id {
        Id(chance::bits().to_be_bytes())
    }

    pub(super) const fn of(bytes: [u8; 16]) -> Id {
        Id(bytes)
    }

    pub(super) const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// 22 characters of base64url.
    pub(super) fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    pub(super) fn parse(text: &[u8]) -> Option<Id> {
        if text.len() != 22 {
            return None;
        }
        let mut bytes = [0; 16];
        (URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) == Ok(16)).then_some(Id(bytes))
    }

    /// What a store files it under: somebody who reads the store cannot make a cookie from it.
    pub(super) fn filed(&self) -> Key {
        Key::of(&[b"id", &self.0])
    }

    /// For forms that only a page of this session can have (RP-9).
    pub(super) fn csrf(&self) -> String {
        URL_SAFE_NO_PAD.encode(Key::of(&[b"csrf", &self.0]).0)
    }
}

/// What sessions are found by: a digest of an id, of issuer and `sub`, or of issuer and `sid`. Says nothing to who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key([u8; 16]);

impl Key {
    /// Parts are kept apart by their lengths.
    fn of(parts: &[&[u8]]) -> Key {
        let mut text = Vec::with_capacity(64);
        for part in parts {
            text.extend((part.len() as u64).to_be_bytes());
            text.extend(*part);
        }
        Key::cut(digest(&SHA256, &text).as_ref())
    }

    /// The first half of a SHA-256.
    pub(super) fn cut(digest: &[u8]) -> Key {
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Key(key)
    }

    pub(super) fn subject(issuer: &str, sub: &str) -> Key {
        Key::of(&[b"sub", issuer.as_bytes(), sub.as_bytes()])
    }

    pub(super) fn sid(issuer: &str, sid: &str) -> Key {
        Key::of(&[b"sid", issuer.as_bytes(), sid.as_bytes()])
    }

    /// As good as the whole among a node's sessions.
    pub(super) fn short(&self) -> u64 {
        let mut short = [0; 8];
        short.copy_from_slice(&self.0[..8]);
        u64::from_be_bytes(short)
    }

    pub(super) const fn from_bytes(bytes: [u8; 16]) -> Key {
        Key(bytes)
    }

    pub(super) const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}
