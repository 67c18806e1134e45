//! Heads of HTTP/1.1 messages: found, parsed strictly, and written.
//!
//! Strict means: every line ends in CRLF, no folding, one way only to say how long the body is (RFC 9112 §2.2, §5, §6.3).
//! What is doubtful is a fault, never a guess: two parties that guess differently are how requests are smuggled.

mod fields;
mod scan;
mod write;

use bytes::{Buf, Bytes, BytesMut};
use http::header;
use http::{Method, StatusCode, Version};

use self::fields::{Said, collect};
pub use self::scan::Scan;
use self::scan::{Ends, Lines, request_line, status_line};
pub use self::write::{write_decimal, write_field, write_fields, write_status_line};
use crate::fields::Fields;
use crate::words::Code;

/// Bounds of a head. Bytes and counts.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// The whole header block, request line included.
    pub block: usize,
    pub count: usize,
    pub uri: usize,
}

/// Room for the fields that an answer gets on its way: the list need not grow. Those of a request are added as
/// [`lines`](super::lines).
const TO_CALLER: usize = 4;

/// More than this behind a head is not held by what is kept of it.
const ALONG: usize = 4 * 1024;

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
    pub headers: Fields,
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
    pub headers: Fields,
    pub keep_alive: bool,
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
    let mut ends = Ends::default();
    let end = match scan.ends_of_lines(buffer, limits.block, &mut ends) {
        Ok(Some(end)) => end,
        Ok(None) => return uri_in_bounds(buffer, limits).map(|()| None),
        Err(fault) => return Err(uri_in_bounds(buffer, limits).err().unwrap_or(fault)),
    };
    *scan = Scan::default();
    uri_in_bounds(buffer, limits)?;
    let head = take(buffer, end);
    request_head(&head, &ends, limits).map(Some)
}

/// The head out of what was read: a copy where much was read with it. Some of its values last, in what HPACK remembers for as long
/// as a connection does (RFC 7541 §2.3.2), and would hold all of that.
fn take(buffer: &mut BytesMut, end: usize) -> Bytes {
    let head = buffer.split_to(end);
    if buffer.len() > ALONG { Bytes::copy_from_slice(&head) } else { head.freeze() }
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

fn request_head(head: &Bytes, ends: &Ends, limits: &HeadLimits) -> Result<RequestHead, HeadFault> {
    let mut lines = Lines::of(head, ends);
    let (method, target, version) = request_line(lines.next_line()?.unwrap_or_default())?;
    let target = head.slice_ref(target);
    let mut said = Said::default();
    let headers = collect(head, lines, limits.count, ends.fields(), &mut said)?;
    let framing = said.framing(version)?.unwrap_or(Framing::Empty);
    let expect_continue = match said.expect {
        Some(false) if version == Version::HTTP_11 => return Err(HeadFault::Expectation),
        Some(true) if version == Version::HTTP_11 => framing != Framing::Empty,
        _ => false,
    };
    let connection = said.connection;
    let upgrade = connection.upgrade && version == Version::HTTP_11 && headers.contains_key(header::UPGRADE);
    Ok(RequestHead {
        method,
        target,
        version,
        framing,
        keep_alive: connection.keeps_alive(version),
        expect_continue,
        upgrade,
        trailers: said.trailers,
        headers,
    })
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
    // Asked for before anything can have come.
    if buffer.is_empty() {
        return Ok(None);
    }
    let mut ends = Ends::default();
    let Some(end) = scan.ends_of_lines(buffer, limits.block, &mut ends)? else { return Ok(None) };
    *scan = Scan::default();
    let head = take(buffer, end);
    response_head(&head, &ends, limits, method).map(Some)
}

fn response_head(
    head: &Bytes,
    ends: &Ends,
    limits: &HeadLimits,
    method: &Method,
) -> Result<(ResponseHead, Framing), HeadFault> {
    let mut lines = Lines::of(head, ends);
    let (version, status) = status_line(lines.next_line()?.unwrap_or_default())?;
    let bodiless = status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
        || method == Method::HEAD;
    let mut said = Said::of_answer(!bodiless);
    let headers = collect(head, lines, limits.count, ends.fields() + TO_CALLER, &mut said)?;
    let framed = said.framing(version)?;
    let framing = if bodiless { Framing::Empty } else { framed.unwrap_or(Framing::UntilClose) };
    // A body that comes nevertheless would be read as the next answer.
    let unclear = status == StatusCode::NO_CONTENT && framed.is_some_and(|framed| framed != Framing::Empty);
    let lasts = framing != Framing::UntilClose && !unclear;
    let keep_alive = said.connection.keeps_alive(version) && lasts;
    Ok((ResponseHead { status, version, headers, keep_alive }, framing))
}

/// Trailer fields: the lines between the last chunk and the empty line.
pub fn parse_trailers(block: Bytes, count: usize) -> Result<Fields, HeadFault> {
    if block.as_ref() == b"\r\n" {
        return Ok(Fields::new());
    }
    collect(&block, Lines::of(&block, &Ends::default()), count, 0, &mut Said::default())
        .map_err(|_| HeadFault::Malformed("a trailer field is malformed"))
}

#[cfg(test)]
mod tests;
