//! The fields of a head, and what they say of its body and its connection.

use bytes::Bytes;
use http::Version;
use http::header::{self, HeaderName, HeaderValue};

use super::scan::{FieldLine, Lines};
use super::{Framing, HeadFault};
use crate::fields::Fields;
use crate::message::list_items;

/// What the field lines say of the body and the connection, gathered while they are copied.
#[derive(Default)]
pub(super) struct Said {
    /// `Content-Length` ends here: whoever sends the body on says its length again.
    body_says_length: bool,
    pub connection: Connection,
    /// Whether the first `Expect` is `100-continue`.
    pub expect: Option<bool>,
    pub trailers: bool,
    lengths: u32,
    length: u64,
    codings: u32,
    chunked: bool,
    fault: Option<HeadFault>,
}

impl Said {
    pub fn of_answer(has_body: bool) -> Said {
        Said { body_says_length: has_body, ..Said::default() }
    }

    fn note(&mut self, name: &HeaderName, value: &[u8]) {
        if *name == header::CONTENT_LENGTH {
            self.note_length(value);
        } else if *name == header::TRANSFER_ENCODING {
            self.codings += 1;
            self.chunked = value.eq_ignore_ascii_case(b"chunked");
        } else if *name == header::CONNECTION {
            self.connection.note(value);
        } else if *name == header::EXPECT {
            self.expect.get_or_insert(value.eq_ignore_ascii_case(b"100-continue"));
        } else if *name == header::TE {
            self.trailers |= list_items(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
        }
    }

    fn note_length(&mut self, value: &[u8]) {
        self.lengths += 1;
        match decimal(value) {
            Some(length) => self.length = length,
            None => self.fault = Some(HeadFault::Malformed("Content-Length is not one number")),
        }
    }

    /// SM-1, SM-2, SM-3: one length, or `chunked` once, never both. `None` when neither is said.
    pub fn framing(&self, version: Version) -> Result<Option<Framing>, HeadFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        match (self.lengths, self.codings) {
            (0, 0) => Ok(None),
            (1, 0) => Ok(Some(if self.length == 0 { Framing::Empty } else { Framing::Length(self.length) })),
            (0, 1) if self.chunked && version == Version::HTTP_11 => Ok(Some(Framing::Chunked)),
            (0, 1) if self.chunked => Err(HeadFault::Malformed("Transfer-Encoding in HTTP/1.0")),
            (0, 1) => Err(HeadFault::Malformed("Transfer-Encoding is not exactly chunked")),
            (0, _) => Err(HeadFault::Malformed("Transfer-Encoding is repeated")),
            (_, 0) => Err(HeadFault::Malformed("Content-Length is repeated")),
            _ => Err(HeadFault::Malformed("Content-Length beside Transfer-Encoding")),
        }
    }
}

/// Digits only, no sign, no list, no overflow (RFC 9110 §8.6).
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 {
        return None;
    }
    text.iter().try_fold(0u64, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u64::from(b - b'0')))
}

/// Takes the field lines, to the empty one. `head`: where they lie; `most`: how many there may be; `room`: how many the list
/// shall hold without growing. Name and value are checked by what they become: a name is a token, which no blank is, and a
/// value has no control character (RFC 9110 §5.1, §5.5).
pub(super) fn collect(
    head: &Bytes,
    mut lines: Lines<'_>,
    most: usize,
    room: usize,
    said: &mut Said,
) -> Result<Fields, HeadFault> {
    let mut fields = Fields::with_capacity(room);
    let mut count = 0;
    while let Some(FieldLine { name, value }) = lines.next_field()? {
        count += 1;
        if count > most {
            return Err(HeadFault::TooLarge);
        }
        // What most agencies say of every connection ends at this hop (RFC 9110 §7.6.1): nobody above is to take it out again.
        if value.eq_ignore_ascii_case(b"keep-alive") && name.eq_ignore_ascii_case(b"connection") {
            said.connection.note(value);
            continue;
        }
        if said.body_says_length && name.eq_ignore_ascii_case(b"content-length") {
            said.note_length(value);
            continue;
        }
        let name = read_name(name)?;
        said.note(&name, value);
        let value = HeaderValue::from_maybe_shared(head.slice_ref(value))
            .map_err(|_| HeadFault::Malformed("a field value holds a forbidden character"))?;
        fields.append(name, value);
    }
    Ok(fields)
}

/// Errors: it is no token (RFC 9110 §5.1).
fn read_name(text: &[u8]) -> Result<HeaderName, HeadFault> {
    let fault = |_| HeadFault::Malformed("a field name holds a forbidden character");
    usual_name(text).map_or_else(|| HeaderName::from_bytes(text).map_err(fault), Ok)
}

/// What many messages have, in the two spellings that programs use: to know it at a glance costs a tenth of reading what may be
/// any name in any spelling.
pub(super) fn usual_name(text: &[u8]) -> Option<HeaderName> {
    Some(match text {
        b"Host" | b"host" => header::HOST,
        b"Authorization" | b"authorization" => header::AUTHORIZATION,
        b"Cookie" | b"cookie" => header::COOKIE,
        b"Accept" | b"accept" => header::ACCEPT,
        b"Accept-Encoding" | b"accept-encoding" => header::ACCEPT_ENCODING,
        b"Accept-Language" | b"accept-language" => header::ACCEPT_LANGUAGE,
        b"User-Agent" | b"user-agent" => header::USER_AGENT,
        b"Origin" | b"origin" => header::ORIGIN,
        b"Referer" | b"referer" => header::REFERER,
        b"Content-Type" | b"content-type" => header::CONTENT_TYPE,
        b"Content-Length" | b"content-length" => header::CONTENT_LENGTH,
        b"Cache-Control" | b"cache-control" => header::CACHE_CONTROL,
        b"Date" | b"date" => header::DATE,
        b"Server" | b"server" => header::SERVER,
        b"Set-Cookie" | b"set-cookie" => header::SET_COOKIE,
        b"ETag" | b"etag" => header::ETAG,
        _ => return None,
    })
}

/// The options of `Connection` that concern this hop (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Connection {
    close: bool,
    keep_alive: bool,
    pub upgrade: bool,
}

impl Connection {
    fn note(&mut self, value: &[u8]) {
        for option in list_items(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }

    pub fn keeps_alive(self, version: Version) -> bool {
        !self.close && (version == Version::HTTP_11 || self.keep_alive)
    }
}
