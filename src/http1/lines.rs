//! Fields as lines of a head: what is added on the way out is written once, and not put into a map only to be taken out again.
//! HTTP/2, and who explains what is sent, read them back.

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};

/// Usual fields, usual values.
const ROOM: usize = 640;

/// A plain vector: it is written into some forty times for a request.
#[derive(Debug)]
pub struct Lines(Vec<u8>);

impl Default for Lines {
    fn default() -> Lines {
        Lines(Vec::with_capacity(ROOM))
    }
}

impl Lines {
    /// `name` in lower case. `value` holds no control characters: it is made here, or was a field's value before.
    pub fn field(&mut self, name: &'static str, value: &[u8]) {
        self.write(name, |out| out.extend_from_slice(value));
    }

    /// The same, with a value of several pieces.
    pub fn write(&mut self, name: &'static str, value: impl FnOnce(&mut Vec<u8>)) {
        let out = &mut self.0;
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        let begun = out.len();
        value(out);
        debug_assert!(HeaderValue::from_bytes(&out[begun..]).is_ok(), "{name} would be no valid field");
        out.extend_from_slice(b"\r\n");
    }

    /// Lines that were written before.
    pub fn more(&mut self, lines: &[u8]) {
        self.0.extend_from_slice(lines);
    }

    /// All that was written so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// The fields of some [`Lines`].
pub fn fields(lines: &[u8]) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let lines = Bytes::copy_from_slice(lines);
    let mut from = 0;
    std::iter::from_fn(move || {
        let rest = &lines[from..];
        let (colon, end) = (memchr::memchr(b':', rest)?, memchr::memmem::find(rest, b"\r\n")?);
        let (name, value) = (HeaderName::from_bytes(&rest[..colon]).ok()?, from + colon + 2..from + end);
        from += end + 2;
        Some((name, HeaderValue::from_maybe_shared(lines.slice(value)).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut lines = Lines::default();
        lines.field("via", b"1.1 darvazeh");
        lines.write("forwarded", |out| out.extend_from_slice(b"for=\"[::1]:2\""));
        lines.field("x-empty", b"");
        let lines = lines.into_bytes();
        assert_eq!(lines, b"via: 1.1 darvazeh\r\nforwarded: for=\"[::1]:2\"\r\nx-empty: \r\n");
        let read: Vec<_> = fields(&lines).map(|(name, value)| (name.to_string(), value)).collect();
        assert_eq!(read.len(), 3);
        assert_eq!(read[1], ("forwarded".to_owned(), HeaderValue::from_static("for=\"[::1]:2\"")));
        assert_eq!(read[2].1, "");
        assert_eq!(fields(&[]).count(), 0);
    }
}
