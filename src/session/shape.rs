//! JSON texts that differ in their values alone, kept as the values and the number of their common shape.
//!
//! An SSO writes every ID token alike: names of claims, their order, `iss`, `aud` and `acr` are the shape, learnt once and held
//! in common. What is left of a token are its own values, small: numbers as differences, base64url as bytes, and what the
//! session has anyway as a reference. Text is taken apart and put together byte for byte, since a hint must keep its signature.
//! Used by `pack` for sessions in memory; what leaves the process has no shapes.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::pack::{Reader, bytes, signed, varint};
use crate::clock::UnixTime;

/// An SSO has a few for each client; what makes more has values where others have names.
const MAX: usize = 1024;
/// Bytes of one.
const MAX_SHAPE: usize = 4096;
/// Stands for a value in a shape; no JSON text has it.
const HOLE: u8 = 0;
/// Members whose values are the same for many.
const COMMON: [&[u8]; 6] = [b"iss", b"aud", b"azp", b"acr", b"amr", b"typ"];

// How a value is written.
const AS_IT_IS: u8 = 0;
const BASE64: u8 = 1;
const NUMBER: u8 = 2;
/// And above: the text of that number which the session has.
const KNOWN: u8 = 8;

#[derive(Default)]
pub(super) struct Shapes(RwLock<Inner>);

#[derive(Default)]
struct Inner {
    numbers: HashMap<Arc<[u8]>, usize>,
    shapes: Vec<Arc<[u8]>>,
}

/// What the session says besides, in an order that is the same when it is read: values may refer to it.
pub(super) struct Around<'a> {
    pub(super) texts: &'a [&'a str],
    pub(super) base: UnixTime,
}

impl Shapes {
    /// Writes `json`, which stands behind `head`. False: it has no shape that could be kept, and nothing is written.
    pub(super) fn write(&self, out: &mut Vec<u8>, head: &[u8], json: &[u8], around: &Around<'_>) -> bool {
        let Some((mut shape, values)) = taken_apart(json) else { return false };
        shape.splice(..0, [&(head.len() as u32).to_be_bytes()[..], head].concat());
        let Some(number) = self.number(shape) else { return false };
        varint(out, number as u64);
        values.into_iter().for_each(|value| write_value(out, value, around));
        true
    }

    /// What stood before it, and the JSON. `None`: not written by [`Shapes::write`] of these.
    pub(super) fn read(&self, read: &mut Reader<'_>, around: &Around<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
        let number = usize::try_from(read.varint()?).ok()?;
        let shape = self.0.read().unwrap_or_else(PoisonError::into_inner).shapes.get(number)?.clone();
        let (length, rest) = shape.split_first_chunk::<4>()?;
        let (head, shape) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let mut json = Vec::with_capacity(2 * shape.len());
        for (at, part) in shape.split(|byte| *byte == HOLE).enumerate() {
            if at > 0 {
                read_value(&mut json, read, around)?;
            }
            json.extend_from_slice(part);
        }
        Some((head.to_vec(), json))
    }

    fn number(&self, shape: Vec<u8>) -> Option<usize> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).numbers.get(&*shape).copied();
        if known.is_some() || shape.len() > MAX_SHAPE {
            return known;
        }
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = inner.numbers.get(&*shape) {
            return Some(*number);
        }
        let number = inner.shapes.len();
        if number >= MAX {
            return None;
        }
        let shape: Arc<[u8]> = shape.into();
        inner.shapes.push(shape.clone());
        inner.numbers.insert(shape, number);
        Some(number)
    }
}

/// The shape of a JSON text, with a hole for each value that is a text or a number, and what was in the holes. `None`: it is
/// no such text, as far as that is looked at.
fn taken_apart(json: &[u8]) -> Option<(Vec<u8>, Vec<&[u8]>)> {
    let (mut shape, mut values, mut at) = (Vec::with_capacity(json.len()), Vec::new(), 0);
    let mut member: &[u8] = b"";
    while let Some(byte) = json.get(at) {
        let from = at;
        match byte {
            &HOLE => return None,
            b'"' => {
                let text = &json[at + 1..];
                let mut escaped = false;
                let end = text.iter().position(|byte| {
                    let ends = *byte == b'"' && !escaped;
                    escaped = *byte == b'\\' && !escaped;
                    ends
                })?;
                let text = &text[..end];
                at += end + 2;
                let is_name = json[at..].trim_ascii_start().first() == Some(&b':');
                if is_name {
                    member = text;
                }
                if is_name || COMMON.contains(&member) {
                    shape.extend_from_slice(&json[from..at]);
                } else {
                    shape.extend_from_slice(b"\"\0\"");
                    values.push(text);
                }
            }
            b'0'..=b'9' | b'-' => {
                let is_of_number = |b: &u8| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-');
                at += json[at..].iter().position(|byte| !is_of_number(byte)).unwrap_or(json.len() - at);
                shape.push(HOLE);
                values.push(&json[from..at]);
            }
            other => {
                shape.push(*other);
                at += 1;
            }
        }
    }
    // A hole within a common text would be found as one.
    let holes = shape.iter().filter(|byte| **byte == HOLE).count();
    (holes == values.len()).then_some((shape, values))
}

fn write_value(out: &mut Vec<u8>, value: &[u8], around: &Around<'_>) {
    let known = around.texts.iter().take(usize::from(u8::MAX - KNOWN)).position(|text| text.as_bytes() == value);
    if let Some(known) = known.filter(|_| value.len() > 2) {
        return out.push(KNOWN + known as u8);
    }
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok());
    if let Some(number) = number.filter(|number| number.to_string().as_bytes() == value) {
        out.push(NUMBER);
        return signed(out, number.wrapping_sub(around.base));
    }
    let plain = URL_SAFE_NO_PAD.decode(value).ok().filter(|plain| plain.len() > 2);
    match plain.filter(|plain| URL_SAFE_NO_PAD.encode(plain).as_bytes() == value) {
        Some(plain) => {
            out.push(BASE64);
            bytes(out, &plain);
        }
        None => {
            out.push(AS_IT_IS);
            bytes(out, value);
        }
    }
}

fn read_value(out: &mut Vec<u8>, read: &mut Reader<'_>, around: &Around<'_>) -> Option<()> {
    match read.byte()? {
        AS_IT_IS => out.extend_from_slice(read.bytes()?),
        BASE64 => out.extend_from_slice(URL_SAFE_NO_PAD.encode(read.bytes()?).as_bytes()),
        NUMBER => out.extend_from_slice(around.base.wrapping_add(read.signed()?).to_string().as_bytes()),
        known => {
            out.extend_from_slice(around.texts.get(usize::from(known.checked_sub(KNOWN)?))?.as_bytes());
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn back(shapes: &Shapes, json: &[u8]) -> Option<(usize, Vec<u8>)> {
        let around = Around { texts: &["0012345679", "زهرا"], base: 1_800_000_000 };
        let mut out = Vec::new();
        if !shapes.write(&mut out, b"head", json, &around) {
            assert!(out.is_empty());
            return None;
        }
        let (head, json) = shapes.read(&mut Reader(&out), &around).unwrap();
        assert_eq!(head, b"head");
        Some((out.len(), json))
    }

    #[test]
    fn texts_of_one_shape_share_it() {
        let shapes = Shapes::default();
        let token = |n: u32| {
            format!(
                r#"{{"iss":"https://sso.example.ir","sub":"0012345679","iat":18000000{n},"nonce":"{}","name":"زهرا"}}"#,
                "abcdefghij".repeat(4)
            )
        };
        for n in [10, 99] {
            let (size, json) = back(&shapes, token(n).as_bytes()).unwrap();
            assert_eq!(json, token(n).as_bytes());
            assert!(size < 45, "{size} bytes of {}", json.len());
        }
        assert_eq!(shapes.0.read().unwrap().shapes.len(), 1);
    }

    /// Also what no SSO should write.
    #[test]
    fn every_text_comes_back_byte_for_byte() {
        let shapes = Shapes::default();
        for json in [
            "",
            "{}",
            "[]",
            "{",
            "\"",
            "\"\\\"",
            "{\"a\":\"\\\"\"}",
            "{ \"a\" : [1, -0, 01, 1e5, \"x\"] }",
            "-",
            "1.50",
            r#"{"a":{"b":["A==","AA","-_"]},"c":true,"d":null}"#,
            "{\"aud\":[\"x\",\"y\"],\"n\":\"\u{1}\"}",
            "\u{feff}{\"a\":1}",
        ] {
            if let Some((_, read)) = back(&shapes, json.as_bytes()) {
                assert_eq!(read, json.as_bytes());
            }
        }
        assert!(back(&shapes, b"{\"iss\":\"\0\"}").is_none() && back(&shapes, b"\"open").is_none());
    }

    #[test]
    fn there_are_only_so_many_shapes() {
        let shapes = Shapes::default();
        let kept = (0..2 * MAX).filter(|n| back(&shapes, format!("{{\"n{n}\":1}}").as_bytes()).is_some()).count();
        assert_eq!(kept, MAX);
        let large = format!("{{\"{}\":1}}", "n".repeat(MAX_SHAPE));
        assert!(back(&Shapes::default(), large.as_bytes()).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_or_are_left_alone(json in "[\\[\\]{}:,\"\\\\a-c0-9.e+ -]{0,60}", raw in proptest::collection::vec(any::<u8>(), 0..60)) {
            let shapes = Shapes::default();
            for text in [json.as_bytes(), &raw] {
                if let Some((_, read)) = back(&shapes, text) {
                    prop_assert_eq!(&read, text);
                }
            }
        }
    }
}
