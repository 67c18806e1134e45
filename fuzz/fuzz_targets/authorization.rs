//! Any bytes as `Authorization` lines and a query: what is taken for a token is one, and came from the one place allowed.
//!
//! The input is split at line feeds: the first part is the query, each further part one header line.
#![no_main]

use darvazeh::auth::credential::{Presented, presented, token68};
use darvazeh::fields::Fields;
use http::{HeaderValue, header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.split(|b| *b == b'\n');
    let query = parts.next().filter(|query| !query.is_empty());
    let mut headers = Fields::new();
    let mut lines = 0;
    for value in parts.take(4).filter_map(|part| HeaderValue::from_bytes(part).ok()) {
        headers.append(header::AUTHORIZATION, value);
        lines += 1;
    }
    let Ok(found) = presented(&headers, query) else { return };
    assert!(lines <= 1, "two lines were not refused");
    assert!(!query.is_some_and(|query| query.starts_with(b"access_token=")), "a token in the query was not refused");
    let Presented::Bearer(found) = found else { return };
    let line = headers.get(header::AUTHORIZATION).unwrap().as_bytes().trim_ascii();
    assert!(line.ends_with(found) && line[..6].eq_ignore_ascii_case(b"bearer") && line[6] == b' ');
    let Ok(token) = token68(found) else { return };
    assert_eq!(token.as_bytes(), found);
    let body = token.trim_end_matches('=');
    assert!(!body.is_empty() && body.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b)));
});
