//! A session as bytes: small, because a million of them wait in memory and others travel in cookies.
//!
//! Numbers are varints, times are differences, a level reached together with another is one bit, and a JWT is kept as what
//! its base64url stands for (a quarter less), in memory also without what all of its SSO have in common (`shape`). Bytes of strangers never come here: what is read back was sealed or never
//! left the process; a version that is not known is no session.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::shape::{Around, Shapes};
use super::state::{Session, Standing, Tokens};
use crate::clock::UnixTime;
use crate::secret::Secret;

const VERSION: u8 = 2;

const SAME_AS_ABOVE: u8 = 2;
const PRESENT: u8 = 1;

/// Instead of the length of claims as JSON, which has two bytes at least.
const SHAPED_CLAIMS: u8 = 1;
/// Instead of the number of a token's parts.
const SHAPED_TOKEN: u8 = 7;

/// For whoever has nothing but these bytes.
pub(super) fn pack(session: &Session) -> Vec<u8> {
    pack_in(session, None)
}

/// `shapes`: those of the process, which it must be read with.
pub(super) fn pack_in(session: &Session, shapes: Option<&Shapes>) -> Vec<u8> {
    let mut out = vec![VERSION];
    text(&mut out, &session.issuer);
    text(&mut out, &session.host);
    text(&mut out, &session.sub);
    optional(&mut out, session.sid.as_deref());
    optional(&mut out, session.name.as_deref());
    pack_claims(&mut out, &session.claims, shapes);
    signed(&mut out, session.created);
    signed(&mut out, session.seen.wrapping_sub(session.created));
    // From the highest: lower levels were mostly reached together with it.
    let mut above: Option<&Standing> = None;
    for standing in session.standings.iter().rev() {
        match standing {
            None => out.push(0),
            Some(standing) if above == Some(standing) => out.push(SAME_AS_ABOVE),
            Some(standing) => pack_standing(&mut out, standing, session.created),
        }
        above = standing.as_ref().or(above);
    }
    let texts = texts(&session.sub, session.sid.as_deref(), session.name.as_deref(), &session.claims);
    let around = Around { texts: &texts, base: session.created };
    for token in [&session.tokens.id, &session.tokens.access, &session.tokens.refresh] {
        pack_token(&mut out, token.as_ref().map(|token| token.expose().as_str()), shapes, &around);
    }
    optional_time(&mut out, session.tokens.expires, session.created);
    text(&mut out, &session.scope);
    out
}

/// `None`: not written by [`pack`] of this version.
pub(super) fn unpack(packed: &[u8]) -> Option<Session> {
    unpack_in(packed, None)
}

pub(super) fn unpack_in(packed: &[u8], shapes: Option<&Shapes>) -> Option<Session> {
    let mut read = Reader(packed);
    if read.byte()? != VERSION {
        return None;
    }
    let issuer = Arc::from(read.text()?);
    let host = Arc::from(read.text()?);
    let sub = read.text()?;
    let (sid, name) = (read.optional()?, read.optional()?);
    let claims = read.claims(shapes)?;
    let created = read.signed()?;
    let seen = created.wrapping_add(read.signed()?);
    let mut standings = [None, None, None];
    let mut above: Option<Standing> = None;
    for standing in standings.iter_mut().rev() {
        *standing = match read.byte()? {
            0 => None,
            SAME_AS_ABOVE => Some(above.clone()?),
            PRESENT => Some(read.standing(created)?),
            _ => return None,
        };
        above = standing.clone().or(above);
    }
    let texts = texts(&sub, sid.as_deref(), name.as_deref(), &claims);
    let around = Around { texts: &texts, base: created };
    let mut token = || read.token(shapes, &around);
    let [id, access, refresh] = [token()?, token()?, token()?];
    let expires = read.optional_time(created)?;
    let tokens = Tokens { id, access, refresh, expires };
    let scope = read.text()?;
    Some(Session { issuer, host, sub, sid, name, claims, tokens, scope, created, seen, standings })
}

fn pack_standing(out: &mut Vec<u8>, standing: &Standing, created: UnixTime) {
    out.push(PRESENT);
    text(out, &standing.acr);
    optional_time(out, standing.auth_time, created);
    signed(out, standing.reached_at.wrapping_sub(created));
}

fn pack_claims(out: &mut Vec<u8>, claims: &Map<String, Value>, shapes: Option<&Shapes>) {
    if claims.is_empty() {
        return out.push(0);
    }
    let json = serde_json::to_vec(claims).unwrap_or_default();
    let from = out.len();
    out.push(SHAPED_CLAIMS);
    let nothing = Around { texts: &[], base: 0 };
    if !shapes.is_some_and(|shapes| shapes.write(out, b"", &json, &nothing)) {
        out.truncate(from);
        bytes(out, &json);
    }
}

/// What an ID token says too.
fn texts<'a>(
    sub: &'a str,
    sid: Option<&'a str>,
    name: Option<&'a str>,
    claims: &'a Map<String, Value>,
) -> Vec<&'a str> {
    let own = [Some(sub), sid, name].into_iter().flatten();
    own.chain(claims.values().filter_map(Value::as_str)).collect()
}

/// 0: none. 1: as it is. n + 1: n base64url parts with dots between. [`SHAPED_TOKEN`]: a JWS whose header and claims are like
/// others'.
fn pack_token(out: &mut Vec<u8>, token: Option<&str>, shapes: Option<&Shapes>, around: &Around<'_>) {
    let Some(token) = token else { return out.push(0) };
    let parts: Option<Vec<Vec<u8>>> = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).ok()).collect();
    match parts.filter(|parts| (1..=5).contains(&parts.len())) {
        Some(parts) => {
            if let ([header, claims, signature], Some(shapes)) = (&parts[..], shapes) {
                out.push(SHAPED_TOKEN);
                if shapes.write(out, header, claims, around) {
                    return bytes(out, signature);
                }
                out.pop();
            }
            out.push(parts.len() as u8 + 1);
            parts.iter().for_each(|part| bytes(out, part));
        }
        None => {
            out.push(1);
            bytes(out, token.as_bytes());
        }
    }
}

pub(super) fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Small when near zero, also below it.
pub(super) fn signed(out: &mut Vec<u8>, number: i64) {
    varint(out, ((number << 1) ^ (number >> 63)) as u64);
}

pub(super) fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Length and a bit that tells a UUID, which SSOs like to use for `sub` and `sid`.
fn text(out: &mut Vec<u8>, text: &str) {
    match uuid(text) {
        Some(number) => {
            out.push(1);
            out.extend(number.to_be_bytes());
        }
        None => {
            varint(out, (text.len() as u64) << 1);
            out.extend_from_slice(text.as_bytes());
        }
    }
}

fn optional(out: &mut Vec<u8>, value: Option<&str>) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        text(out, value);
    }
}

fn optional_time(out: &mut Vec<u8>, time: Option<UnixTime>, base: UnixTime) {
    out.push(u8::from(time.is_some()));
    if let Some(time) = time {
        signed(out, time.wrapping_sub(base));
    }
}

/// The number of a UUID in its one common form: lower case, 8-4-4-4-12.
fn uuid(text: &str) -> Option<u128> {
    if text.len() != 36 {
        return None;
    }
    let digits: String = text.split('-').collect();
    let number = (digits.len() == 32).then(|| u128::from_str_radix(&digits, 16).ok())??;
    (show_uuid(number) == text).then_some(number)
}

fn show_uuid(number: u128) -> String {
    let digits = format!("{number:032x}");
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        let number = self.varint()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        self.take(length)
    }

    fn text(&mut self) -> Option<String> {
        let mark = self.varint()?;
        if mark & 1 == 1 {
            return Some(show_uuid(u128::from_be_bytes(self.take(16)?.try_into().ok()?)));
        }
        String::from_utf8(self.take(usize::try_from(mark >> 1).ok()?)?.to_vec()).ok()
    }

    /// The outer `None` is a failure.
    fn optional(&mut self) -> Option<Option<String>> {
        match self.byte()? {
            0 => Some(None),
            _ => self.text().map(Some),
        }
    }

    fn optional_time(&mut self, base: UnixTime) -> Option<Option<UnixTime>> {
        match self.byte()? {
            0 => Some(None),
            _ => Some(Some(base.wrapping_add(self.signed()?))),
        }
    }

    fn standing(&mut self, created: UnixTime) -> Option<Standing> {
        let acr = Arc::from(self.text()?);
        let auth_time = self.optional_time(created)?;
        Some(Standing { acr, auth_time, reached_at: created.wrapping_add(self.signed()?) })
    }

    fn claims(&mut self, shapes: Option<&Shapes>) -> Option<Map<String, Value>> {
        if self.0.first() == Some(&SHAPED_CLAIMS) {
            self.byte()?;
            let nothing = Around { texts: &[], base: 0 };
            return serde_json::from_slice(&shapes?.read(self, &nothing)?.1).ok();
        }
        match self.bytes()? {
            [] => Some(Map::new()),
            json => serde_json::from_slice(json).ok(),
        }
    }

    fn token(&mut self, shapes: Option<&Shapes>, around: &Around<'_>) -> Option<Option<Secret<String>>> {
        let parts = match self.byte()? {
            0 => return Some(None),
            SHAPED_TOKEN => {
                let (header, claims) = shapes?.read(self, around)?;
                let parts = [header, claims, self.bytes()?.to_vec()].map(|part| URL_SAFE_NO_PAD.encode(part));
                return Some(Some(Secret::new(parts.join("."))));
            }
            1 => return Some(Some(Secret::new(String::from_utf8(self.bytes()?.to_vec()).ok()?))),
            more => more - 1,
        };
        let mut token = String::new();
        for at in 0..parts {
            if at > 0 {
                token.push('.');
            }
            URL_SAFE_NO_PAD.encode_string(self.bytes()?, &mut token);
        }
        Some(Some(Secret::new(token)))
    }
}

#[cfg(test)]
mod tests;
