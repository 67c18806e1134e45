//! Stand-in until `session` lends its own sealer.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub struct Sealer(RandomizedNonceKey);

impl Sealer {
    pub fn ephemeral() -> Result<Sealer, String> {
        let key = RandomizedNonceKey::new(&AES_256_GCM_SIV, &super::random::<32>());
        key.map(Sealer).map_err(|_| "no key".to_owned())
    }

    pub fn seal_text(&self, purpose: &[u8], value: &[u8]) -> String {
        let mut body = value.to_vec();
        let nonce = self.0.seal_in_place_append_tag(Aad::from(purpose), &mut body).expect("small");
        URL_SAFE_NO_PAD.encode([&nonce.as_ref()[..], &body].concat())
    }

    pub fn open_text(&self, purpose: &[u8], text: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, text) = sealed.split_at_mut_checked(12)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        Some(self.0.open_in_place(nonce, Aad::from(purpose), text).ok()?.to_vec())
    }
}
