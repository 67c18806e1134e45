//! Heads of HTTP/1.1 messages: found, parsed strictly, and written.
//!
//! Strict means: every line ends in CRLF, no folding, one way only to say how long the body is (RFC 9112 §2.2, §5, §6.3).
//! What is doubtful is a fault, never a guess: two parties that guess differently are how requests are smuggled.

use std::mem::MaybeUninit;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version};

use super::spare;
use crate::digits::Digits;
use crate::message::list_items;
use crate::words::Code;

/// Bounds of a head. Bytes and counts.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// The whole header block, request line included.
    pub block: usize,
    pub count: usize,
    pub uri: usize,
}

/// Room on the stack for the usual number of header lines; more (by configuration) go to the heap.
const STACK_HEADERS: usize = 128;

/// Room for the fields that an answer gets on its way: the map need not grow. Those of a request are added as
/// [`lines`](super::lines).
const TO_CALLER: usize = 4;

/// Why a head is refused. The text is for the caller's developer and repeats nothing of what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadFault {
    Malformed(&'static str),
    TooLarge,
    UriTooLong,
    Version,
    Expectation,
}

impl HeadFault {
    pub const fn code(self) -> Code {
        match self {
            HeadFault::Malformed(_) => Code::RequestMalformed,
            HeadFault::TooLarge => Code::HeadersTooLarge,
            HeadFault::UriTooLong => Code::UriTooLong,
            HeadFault::Version => Code::VersionUnsupported,
            HeadFault::Expectation => Code::ExpectationFailed,
        }
    }
}

/// How the end of a body is known (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Empty,
    Length(u64),
    Chunked,
    /// Answers only: until the connection closes.
    UntilClose,
}

#[derive(Debug)]
pub struct RequestHead {
    pub method: Method,
    /// The request target's bytes as they came.
    pub target: Bytes,
    pub version: Version,
    pub headers: HeaderMap,
    pub framing: Framing,
    pub keep_alive: bool,
    pub expect_continue: bool,
    pub upgrade: bool,
    /// The caller takes trailers (HP-7; RFC 9110 §6.5.1).
    pub trailers: bool,
}

#[derive(Debug)]
pub struct ResponseHead {
    pub status: StatusCode,
    pub version: Version,
    pub headers: HeaderMap,
    pub keep_alive: bool,
}

/// Where the search for the end of a head stands, so that no byte is looked at twice.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scan {
    seen: usize,
    line: usize,
}

impl Scan {
    /// The length of the head with its empty line, once it is there whole. Errors as soon as a line is not ended by CRLF.
    pub fn end_of_head(&mut self, buffer: &[u8], limit: usize) -> Result<Option<usize>, HeadFault> {
        for at in memchr::memchr_iter(b'\n', &buffer[self.seen..]) {
            let at = self.seen + at;
            if at == 0 || buffer[at - 1] != b'\r' {
                return Err(HeadFault::Malformed("a line of the head is not ended by CRLF"));
            }
            if at - 1 == self.line {
                return if at < limit { Ok(Some(at + 1)) } else { Err(HeadFault::TooLarge) };
            }
            self.line = at + 1;
        }
        self.seen = buffer.len();
        if buffer.len() > limit { Err(HeadFault::TooLarge) } else { Ok(None) }
    }
}

/// The request at the front of `buffer`, when its head is whole; its bytes are then taken off.
pub fn parse_request(
    buffer: &mut BytesMut,
    scan: &mut Scan,
    limits: &HeadLimits,
) -> Result<Option<RequestHead>, HeadFault> {
    // RFC 9112 §2.2: an empty line before the request line is ignored (old clients end a POST with one).
    while scan.seen == 0 && buffer.starts_with(b"\r\n") {
        buffer.advance(2);
    }
    if buffer.as_ref() == b"\r" {
        return Ok(None);
    }
    let end = match scan.end_of_head(buffer, limits.block) {
        Ok(Some(end)) => end,
        Ok(None) => return uri_in_bounds(buffer, limits).map(|()| None),
        Err(fault) => return Err(uri_in_bounds(buffer, limits).err().unwrap_or(fault)),
    };
    *scan = Scan::default();
    uri_in_bounds(buffer, limits)?;
    let head = buffer.split_to(end).freeze();
    with_header_slots(limits.count, |slots| {
        let mut parsed = httparse::Request::new(&mut []);
        match parsed.parse_with_uninit_headers(&head, slots) {
            Ok(httparse::Status::Complete(_)) => request_head(&head, &parsed).map(Some),
            Ok(httparse::Status::Partial) => Err(HeadFault::Malformed("the head breaks off")),
            Err(error) => Err(request_fault(error, &head)),
        }
    })
}

/// A request line that is too long is said to be so, and not "headers too large", even before its end was seen.
fn uri_in_bounds(buffer: &[u8], limits: &HeadLimits) -> Result<(), HeadFault> {
    // Longest method worth having, two spaces and the version.
    const REST: usize = 32 + 2 + 8;
    if buffer.len() <= limits.uri {
        return Ok(());
    }
    let line = memchr::memchr(b'\r', buffer).unwrap_or(buffer.len());
    let start = memchr::memchr(b' ', &buffer[..line.min(REST)]).map_or(0, |at| at + 1);
    let length = memchr::memchr(b' ', &buffer[start..line]).unwrap_or(line - start);
    if length > limits.uri { Err(HeadFault::UriTooLong) } else { Ok(()) }
}

fn request_fault(error: httparse::Error, head: &[u8]) -> HeadFault {
    match error {
        httparse::Error::TooManyHeaders => HeadFault::TooLarge,
        httparse::Error::Version if names_another_version(head) => HeadFault::Version,
        httparse::Error::Version => HeadFault::Malformed("the version is not HTTP/1.1"),
        httparse::Error::HeaderName => HeadFault::Malformed("a field name holds a forbidden character"),
        httparse::Error::HeaderValue => HeadFault::Malformed("a field value holds a forbidden character"),
        httparse::Error::NewLine => HeadFault::Malformed("a line is not ended by CRLF"),
        _ => HeadFault::Malformed("the request line is malformed"),
    }
}

/// `HTTP/2.0` and the like: well formed, but not spoken here (RFC 9110 §15.6.6).
fn names_another_version(head: &[u8]) -> bool {
    let line = &head[..memchr::memchr(b'\r', head).unwrap_or(0)];
    let version = line.rsplit(|b| *b == b' ').next().unwrap_or_default();
    matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit() && !matches!((major, minor), (b'1', b'0' | b'1')))
}

fn with_header_slots<'h, T>(count: usize, parse: impl FnOnce(&mut [MaybeUninit<httparse::Header<'h>>]) -> T) -> T {
    if count <= STACK_HEADERS {
        parse(&mut [const { MaybeUninit::uninit() }; STACK_HEADERS][..count])
    } else {
        let mut slots: Vec<_> = (0..count).map(|_| MaybeUninit::uninit()).collect();
        parse(&mut slots)
    }
}

fn request_head(head: &Bytes, parsed: &httparse::Request<'_, '_>) -> Result<RequestHead, HeadFault> {
    let method = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes())
        .map_err(|_| HeadFault::Malformed("the method is not a token"))?;
    let target = head.slice_ref(parsed.path.unwrap_or_default().as_bytes());
    let version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut fields = Fields::default();
    let headers = collect(head, parsed.headers, &mut fields, 0)?;
    let framing = fields.framing(version)?.unwrap_or(Framing::Empty);
    let expect_continue = match fields.expect {
        Some(false) if version == Version::HTTP_11 => return Err(HeadFault::Expectation),
        Some(true) if version == Version::HTTP_11 => framing != Framing::Empty,
        _ => false,
    };
    let connection = fields.connection;
    let upgrade = connection.upgrade && version == Version::HTTP_11 && headers.contains_key(header::UPGRADE);
    Ok(RequestHead {
        method,
        target,
        version,
        framing,
        keep_alive: connection.keeps_alive(version),
        expect_continue,
        upgrade,
        trailers: fields.trailers,
        headers,
    })
}

/// What the field lines say of the body and the connection, gathered while they are copied.
#[derive(Default)]
struct Fields {
    connection: Connection,
    /// Whether the first `Expect` is `100-continue`.
    expect: Option<bool>,
    trailers: bool,
    lengths: u32,
    length: u64,
    codings: u32,
    chunked: bool,
    fault: Option<HeadFault>,
}

impl Fields {
    fn note(&mut self, name: &HeaderName, value: &[u8]) {
        if *name == header::CONTENT_LENGTH {
            self.lengths += 1;
            match decimal(value) {
                Some(length) => self.length = length,
                None => self.fault = Some(HeadFault::Malformed("Content-Length is not one number")),
            }
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

    /// SM-1, SM-2, SM-3: one length, or `chunked` once, never both. `None` when neither is said.
    fn framing(&self, version: Version) -> Result<Option<Framing>, HeadFault> {
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

/// `more`: how many fields will be added.
fn collect(
    head: &Bytes,
    lines: &[httparse::Header<'_>],
    fields: &mut Fields,
    more: usize,
) -> Result<HeaderMap, HeadFault> {
    let mut headers = spare::map(lines.len() + more);
    for line in lines {
        // What most agencies say of every connection ends at this hop (RFC 9110 §7.6.1): nobody above is to take it out again.
        if line.value.eq_ignore_ascii_case(b"keep-alive") && line.name.eq_ignore_ascii_case("connection") {
            fields.connection.note(line.value);
            continue;
        }
        let name = HeaderName::from_bytes(line.name.as_bytes())
            .map_err(|_| HeadFault::Malformed("a field name holds a forbidden character"))?;
        fields.note(&name, line.value);
        let value = HeaderValue::from_maybe_shared(head.slice_ref(line.value))
            .map_err(|_| HeadFault::Malformed("a field value holds a forbidden character"))?;
        headers.try_append(name, value).map_err(|_| HeadFault::TooLarge)?;
    }
    Ok(headers)
}

/// The options of `Connection` that concern this hop (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug, Default)]
struct Connection {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

impl Connection {
    fn note(&mut self, value: &[u8]) {
        for option in list_items(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }

    fn keeps_alive(self, version: Version) -> bool {
        !self.close && (version == Version::HTTP_11 || self.keep_alive)
    }
}

/// The answer at the front of `buffer`, when its head is whole, with how its body ends.
///
/// `method` is the request's: an answer to HEAD has no body whatever it says (RFC 9112 §6.3 rule 1).
pub fn parse_response(
    buffer: &mut BytesMut,
    scan: &mut Scan,
    limits: &HeadLimits,
    method: &Method,
) -> Result<Option<(ResponseHead, Framing)>, HeadFault> {
    let Some(end) = scan.end_of_head(buffer, limits.block)? else { return Ok(None) };
    *scan = Scan::default();
    let head = buffer.split_to(end).freeze();
    with_header_slots(limits.count, |slots| {
        let mut parsed = httparse::Response::new(&mut []);
        match httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, &head, slots) {
            Ok(httparse::Status::Complete(_)) => response_head(&head, &parsed, method).map(Some),
            Err(httparse::Error::TooManyHeaders) => Err(HeadFault::TooLarge),
            _ => Err(HeadFault::Malformed("the answer's head is malformed")),
        }
    })
}

fn response_head(
    head: &Bytes,
    parsed: &httparse::Response<'_, '_>,
    method: &Method,
) -> Result<(ResponseHead, Framing), HeadFault> {
    let status = StatusCode::from_u16(parsed.code.unwrap_or_default())
        .map_err(|_| HeadFault::Malformed("the answer's status is out of range"))?;
    let version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut fields = Fields::default();
    let headers = collect(head, parsed.headers, &mut fields, TO_CALLER)?;
    let said = fields.framing(version)?;
    let bodiless = status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
        || method == Method::HEAD;
    let framing = if bodiless { Framing::Empty } else { said.unwrap_or(Framing::UntilClose) };
    // A body that comes nevertheless would be read as the next answer.
    let unclear = status == StatusCode::NO_CONTENT && said.is_some_and(|said| said != Framing::Empty);
    let lasts = framing != Framing::UntilClose && !unclear;
    let keep_alive = fields.connection.keeps_alive(version) && lasts;
    Ok((ResponseHead { status, version, headers, keep_alive }, framing))
}

/// Trailer fields: the lines between the last chunk and the empty line.
pub fn parse_trailers(block: Bytes, count: usize) -> Result<HeaderMap, HeadFault> {
    if block.as_ref() == b"\r\n" {
        return Ok(HeaderMap::new());
    }
    let mut slots = vec![httparse::EMPTY_HEADER; count];
    match httparse::parse_headers(&block, &mut slots) {
        Ok(httparse::Status::Complete((_, lines))) => collect(&block, lines, &mut Fields::default(), 0),
        _ => Err(HeadFault::Malformed("a trailer field is malformed")),
    }
}

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

pub fn write_fields(out: &mut BytesMut, headers: &HeaderMap) {
    for (name, value) in headers {
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

#[cfg(test)]
mod tests;
