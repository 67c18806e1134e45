//! Keys and tokens of SSOs: ES256, level 2, good for a day, of any length.

use std::io::BufRead;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;

/// For each line `ISSUER COUNT LENGTH` of standard input: `ISSUER.jwks.json`, and `ISSUER.tokens` with a token on each line.
pub fn write(folder: &Path) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        let (issuer, count, length): (&str, usize, usize) =
            (words[0], words[1].parse().unwrap(), words[2].parse().unwrap());
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref();
        let (x, y) = (B64.encode(&point[1..33]), B64.encode(&point[33..65]));
        let jwks = format!(
            r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"{issuer}","alg":"ES256","use":"sig","x":"{x}","y":"{y}"}}]}}"#
        );
        std::fs::write(folder.join(format!("{issuer}.jwks.json")), jwks).unwrap();
        let tokens: Vec<String> = (0..count).map(|n| token(&pair, issuer, n, length)).collect();
        std::fs::write(folder.join(format!("{issuer}.tokens")), tokens.join("\n")).unwrap();
    }
}

/// Padded to `length` characters, give or take four.
fn token(pair: &EcdsaKeyPair, issuer: &str, number: usize, length: usize) -> String {
    let bare = sign(pair, issuer, number, 0);
    let missing = length.saturating_sub(bare.len());
    sign(pair, issuer, number, missing * 3 / 4)
}

fn sign(pair: &EcdsaKeyPair, issuer: &str, number: usize, padding: usize) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let header = format!(r#"{{"alg":"ES256","kid":"{issuer}","typ":"at+jwt"}}"#);
    let claims = format!(
        r#"{{"iss":"https://{issuer}.example.ir","aud":"https://api.example.ir","sub":"citizen-{number:05}","acr":"two","iat":{now},"exp":{},"pad":"{}"}}"#,
        now + 86_400,
        "p".repeat(padding)
    );
    let signed = format!("{}.{}", B64.encode(header), B64.encode(claims));
    let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", B64.encode(signature))
}
