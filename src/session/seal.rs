//! Values that leave this process and come back unread and unchanged: AES-256-GCM-SIV (RFC 8452) under keys that rotate.
//!
//! The first key seals, every key opens, and a sealed value names its key: a new key is put in front and the old one is
//! taken away when what it sealed has expired. Each purpose is authenticated with the value, so that what was sealed for
//! one can never be shown for another. Used by the stores here and, through `Sessions::sealer`, by the login's steps.

use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::id::Key;
use crate::config::model::SessionKey;
use crate::private_file;

const KEY_ID: usize = 4;
const NONCE: usize = 12;
const TAG: usize = 16;
/// Bytes that a seal adds.
pub const OVERHEAD: usize = KEY_ID + NONCE + TAG;

pub struct Sealer {
    /// Never empty.
    keys: Vec<([u8; KEY_ID], RandomizedNonceKey)>,
    /// One beside each key.
    blinds: Vec<hmac::Key>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealer({} keys)", self.keys.len())
    }
}

impl Sealer {
    /// The keys of the configuration; without any, the one that is kept in `state_dir`, made if it is not there.
    ///
    /// # Errors
    /// A kept key that is unreadable or malformed; a directory that cannot be written.
    pub(super) fn load_or_create(keys: &[SessionKey], state_dir: &Path) -> Result<Sealer, String> {
        if !keys.is_empty() {
            return Sealer::of(keys.iter().map(|key| key.expose()));
        }
        let make = || Ok(format!("{}\n", STANDARD.encode(draw()?)));
        let read = |path: &Path| {
            let bytes = private_file::read_bounded(path, 1024).map_err(|e| format!("{}: {e}", path.display()))?;
            SessionKey::parse(&bytes).ok_or_else(|| format!("{}: not the base64 of 32 bytes", path.display()))
        };
        let key = private_file::load_or_make(&state_dir.join("session.key"), make, read)?;
        Sealer::of([key.expose()])
    }

    /// With a key that nobody keeps: for looking at a configuration.
    pub fn ephemeral() -> Result<Sealer, String> {
        Sealer::of([&draw()?])
    }

    fn of<'k>(keys: impl IntoIterator<Item = &'k [u8; 32]>) -> Result<Sealer, String> {
        let one = |key: &[u8; 32]| {
            let mut id = [0; KEY_ID];
            id.copy_from_slice(&digest(&SHA256, key).as_ref()[..KEY_ID]);
            let key = RandomizedNonceKey::new(&AES_256_GCM_SIV, key).map_err(|_| "a session key cannot be used")?;
            Ok::<_, String>((id, key))
        };
        let keys: Vec<_> = keys.into_iter().collect();
        // Its own key, drawn from the one that seals (RFC 5869 in its simplest case: the input is uniform).
        let blind = |key: &&[u8; 32]| {
            hmac::Key::new(HMAC_SHA256, hmac::sign(&hmac::Key::new(HMAC_SHA256, *key), b"blind").as_ref())
        };
        let blinds = keys.iter().map(blind).collect();
        Ok(Sealer { keys: keys.into_iter().map(one).collect::<Result<_, _>>()?, blinds })
    }

    /// A digest of `key` that says nothing to who lacks the sealing key: a subject has too few values to be hidden by a
    /// plain one.
    pub(super) fn blind(&self, key: &Key) -> Key {
        Key::cut(hmac::sign(&self.blinds[0], key.bytes()).as_ref())
    }

    /// The same by every key.
    pub(super) fn blinds(&self, key: &Key) -> impl Iterator<Item = Key> {
        self.blinds.iter().map(|blind| Key::cut(hmac::sign(blind, key.bytes()).as_ref()))
    }

    /// Seals `value` for `purpose`.
    pub fn seal(&self, purpose: &[u8], value: &[u8]) -> Vec<u8> {
        let (id, key) = &self.keys[0];
        let mut body = Vec::with_capacity(value.len() + OVERHEAD);
        body.extend_from_slice(id);
        body.extend_from_slice(&[0; NONCE]);
        body.extend_from_slice(value);
        let (head, text) = body.split_at_mut(KEY_ID + NONCE);
        let (nonce, tag) = key
            .seal_in_place_separate_tag(Aad::from(purpose), text)
            .expect("what is sealed is far below the cipher's bound of 64 GiB");
        head[KEY_ID..].copy_from_slice(nonce.as_ref());
        body.extend_from_slice(tag.as_ref());
        body
    }

    /// What was sealed for `purpose` with one of the keys; `None` for anything else.
    pub fn open(&self, purpose: &[u8], mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let (id, rest) = sealed.split_at_mut_checked(KEY_ID)?;
        let (nonce, text) = rest.split_at_mut_checked(NONCE)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let (_, key) = self.keys.iter().find(|(own, _)| own == id)?;
        let length = key.open_in_place(nonce, Aad::from(purpose), text).ok()?.len();
        sealed.truncate(KEY_ID + NONCE + length);
        sealed.drain(..KEY_ID + NONCE);
        Some(sealed)
    }

    /// [`Sealer::seal`] as base64url, for cookies and query strings.
    pub fn seal_text(&self, purpose: &[u8], value: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(self.seal(purpose, value))
    }

    /// The reverse.
    pub fn open_text(&self, purpose: &[u8], text: &[u8]) -> Option<Vec<u8>> {
        self.open(purpose, URL_SAFE_NO_PAD.decode(text).ok()?)
    }
}

fn draw() -> Result<[u8; 32], String> {
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| "the system gives no randomness".to_owned())?;
    Ok(key)
}

#[cfg(test)]
mod tests;
