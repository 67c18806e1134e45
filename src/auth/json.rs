//! JSON as a security decision may rely on it: every member once, at every depth (JB-7, RFC 8725 §2.4, RFC 8259 §4).
//!
//! Two parsers that disagree on which of two equal members counts are two opinions on who the caller is. Used for token
//! headers and payloads, key sets and discovery documents; knows nothing of what the members mean.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// An object without repeated members and without anything after it. The error never repeats the text.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, NotAnObject> {
    match serde_json::from_slice::<Strict>(bytes) {
        Ok(Strict(Value::Object(map))) => Ok(map),
        _ => Err(NotAnObject),
    }
}

/// Not JSON, not an object, or a member stands in it twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotAnObject;

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Strict, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON with every member once")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(value)) = seq.next_element()? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let Strict(value) = members.next_value()?;
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("a member stands twice"));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// JB-7
    #[test]
    fn a_member_that_stands_twice_is_refused_at_any_depth() {
        assert!(object(br#"{"a":1,"b":[{"c":2}]}"#).is_ok());
        for twice in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"{"x":{"a":1,"a":2}}"#, r#"{"x":[{"a":1,"a":2}]}"#]
        {
            assert_eq!(object(twice.as_bytes()), Err(NotAnObject), "{twice}");
        }
    }

    #[test]
    fn only_one_whole_object_counts() {
        for bad in ["", "[]", "1", "\"a\"", "{}x", "{}{}", "\u{feff}{}", "{\"a\":1,}", "{\"a\":NaN}", "{\"a\":1e999}"] {
            assert_eq!(object(bad.as_bytes()), Err(NotAnObject), "{bad}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), Err(NotAnObject));
        assert_eq!(object("[".repeat(100_000).as_bytes()), Err(NotAnObject));
    }
}
