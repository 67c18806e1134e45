//! Heads and fields as bytes.

use bytes::{BufMut, BytesMut};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::digits::Digits;

/// `HTTP/1.1 200 OK` and its line end.
pub fn write_status_line(out: &mut BytesMut, status: StatusCode) {
    if status == StatusCode::OK {
        out.put_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(status.as_str().as_bytes());
    out.put_slice(b" ");
    out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
}

pub fn write_fields<'f>(out: &mut BytesMut, fields: impl IntoIterator<Item = (&'f HeaderName, &'f HeaderValue)>) {
    for (name, value) in fields {
        write_field(out, name.as_str().as_bytes(), value.as_bytes());
    }
}

pub fn write_field(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.put_slice(name);
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

pub fn write_decimal(out: &mut BytesMut, number: u64) {
    out.put_slice(Digits::of(number).as_bytes());
}
