use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::words::Level;

fn secret(text: &str) -> Option<Secret<String>> {
    Some(Secret::new(text.to_owned()))
}

fn session() -> Session {
    let mut session = Session::new(Arc::from("sso"), "0012345678".to_owned(), 1_800_000_000);
    session.sid = Some("5f0c1a1e-9a5e-4c0e-8a3f-0123456789ab".to_owned());
    session.name = Some("زهرا".to_owned());
    session.claims = json!({"given_name": "زهرا", "n": 3}).as_object().unwrap().clone();
    session.reach(Level::TWO, "loa2", Some(1_799_999_990), 1_800_000_000);
    session.reach(Level::ONE, "loa1", None, 1_800_000_500);
    session
}

#[test]
fn a_session_comes_back_as_it_was() {
    let mut one = session();
    assert_eq!(unpack(&pack(&one)), Some(one.clone()));
    one.reach(Level::THREE, "loa3", Some(1_800_000_600), 1_800_000_700);
    one.standings[1] = None;
    one.tokens = Tokens {
        id: secret("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0.AAEC"),
        access: secret("opaque/not~base64url=="),
        refresh: secret(""),
        expires: Some(1_800_003_600),
    };
    assert_eq!(unpack(&pack(&one)), Some(one));
}

#[test]
fn a_jwt_takes_a_quarter_less() {
    let token = format!("{}.{}.{}", URL_SAFE_NO_PAD.encode([7; 60]), URL_SAFE_NO_PAD.encode([8; 300]), "A".repeat(342));
    let with = Session { tokens: Tokens { id: secret(&token), ..Tokens::default() }, ..session() };
    let took = pack(&with).len() - pack(&session()).len();
    assert!(took < token.len() * 77 / 100, "{took} of {}", token.len());
}

proptest! {
    #[test]
    fn texts_and_tokens_of_any_kind_come_back(sub in ".{0,60}", sid: Option<String>, token in "[-_A-Za-z0-9.]{0,90}", time: i64) {
        let mut one = Session { sub, sid, ..session() };
        one.tokens.refresh = Some(Secret::new(token));
        one.tokens.expires = Some(time);
        prop_assert_eq!(unpack(&pack(&one)), Some(one));
    }

    #[test]
    fn other_bytes_are_no_session_and_no_panic(bytes: Vec<u8>, cut in 0usize..200, flip in 0usize..200) {
        let _ = unpack(&bytes);
        let mut packed = pack(&session());
        packed.truncate(cut);
        if let Some(byte) = packed.get_mut(flip) {
            *byte ^= 0x55;
        }
        let _ = unpack(&packed);
    }
}
