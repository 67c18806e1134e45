//! Where a head ends, and what each of its lines is made of.
//!
//! Every line ends in CRLF, none is folded, and nothing stands between a name and its colon (RFC 9112 §2.2, §5.1, §5.2).

use http::{Method, StatusCode, Version};

use super::HeadFault;

/// Where the search for the end of a head stands, so that no byte is looked at twice.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scan {
    pub(super) seen: usize,
    line: usize,
}

impl Scan {
    /// The length of the head with its empty line, once it is there whole. Errors as soon as a line is not ended by CRLF.
    pub fn end_of_head(&mut self, buffer: &[u8], limit: usize) -> Result<Option<usize>, HeadFault> {
        self.search(buffer, limit, |_| {})
    }

    /// The same, and notes in `ends` where lines end: all that there is room for, of a head that came at once.
    pub(super) fn ends_of_lines(
        &mut self,
        buffer: &[u8],
        limit: usize,
        ends: &mut Ends,
    ) -> Result<Option<usize>, HeadFault> {
        let comes_at_once = self.seen == 0;
        self.search(buffer, limit, |at| {
            if comes_at_once {
                ends.note(at);
            }
        })
    }

    fn search(&mut self, buffer: &[u8], limit: usize, mut note: impl FnMut(usize)) -> Result<Option<usize>, HeadFault> {
        for at in memchr::memchr_iter(b'\n', &buffer[self.seen..]) {
            let at = self.seen + at;
            if at == 0 || buffer[at - 1] != b'\r' {
                return Err(HeadFault::Malformed("a line of the head is not ended by CRLF"));
            }
            if at - 1 == self.line {
                return if at < limit { Ok(Some(at + 1)) } else { Err(HeadFault::TooLarge) };
            }
            self.line = at + 1;
            note(at);
        }
        self.seen = buffer.len();
        if buffer.len() > limit { Err(HeadFault::TooLarge) } else { Ok(None) }
    }
}

/// Where the first lines of a head end: as many as usual ones have. The rest are searched for once more.
#[derive(Debug, Default)]
pub(super) struct Ends {
    at: [u32; 32],
    count: usize,
}

impl Ends {
    fn note(&mut self, at: usize) {
        if let Some(end) = self.at.get_mut(self.count) {
            // A head is bounded far below 4 GiB.
            *end = at as u32;
            self.count += 1;
        }
    }

    /// How many of them are of fields: the first is of another kind.
    pub fn fields(&self) -> usize {
        self.count.saturating_sub(1)
    }
}

/// A head, line by line.
#[derive(Clone, Debug)]
pub(super) struct Lines<'h> {
    head: &'h [u8],
    at: usize,
    ends: std::slice::Iter<'h, u32>,
}

impl<'h> Lines<'h> {
    pub fn of(head: &'h [u8], ends: &'h Ends) -> Lines<'h> {
        Lines { head, at: 0, ends: ends.at[..ends.count].iter() }
    }

    /// The next line without its end. `None` at the empty line.
    pub fn next_line(&mut self) -> Result<Option<&'h [u8]>, HeadFault> {
        let rest = &self.head[self.at..];
        let end = match self.ends.next() {
            Some(end) => *end as usize - self.at,
            None if rest.is_empty() => return Ok(None),
            None => memchr::memchr(b'\n', rest).ok_or(HeadFault::Malformed("the head breaks off"))?,
        };
        self.at += end + 1;
        match rest[..end].strip_suffix(b"\r") {
            Some([]) => Ok(None),
            Some(line) => Ok(Some(line)),
            None => Err(HeadFault::Malformed("a line of the head is not ended by CRLF")),
        }
    }

    /// The next field. What its name and value are made of is not looked at here.
    pub fn next_field(&mut self) -> Result<Option<FieldLine<'h>>, HeadFault> {
        let Some(line) = self.next_line()? else { return Ok(None) };
        let colon = memchr::memchr(b':', line).ok_or(HeadFault::Malformed("a field line has no colon"))?;
        Ok(Some(FieldLine { name: &line[..colon], value: without_blanks(&line[colon + 1..]) }))
    }
}

/// A field as it was written, the value without the blanks around it.
pub(super) struct FieldLine<'h> {
    pub name: &'h [u8],
    pub value: &'h [u8],
}

/// RFC 9110 §5.6.3: blanks are spaces and tabs, and no other.
fn without_blanks(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// RFC 9112 §3: one space each between method, target and version.
pub(super) fn request_line(line: &[u8]) -> Result<(Method, &[u8], Version), HeadFault> {
    const MALFORMED: HeadFault = HeadFault::Malformed("the request line is malformed");
    let (method, rest) = line.split_at(memchr::memchr(b' ', line).ok_or(MALFORMED)?);
    let method = Method::from_bytes(method).map_err(|_| MALFORMED)?;
    let version = rest.last_chunk::<9>().ok_or(MALFORMED)?;
    let version = match version {
        b" HTTP/1.1" => Version::HTTP_11,
        b" HTTP/1.0" => Version::HTTP_10,
        // Well formed, but not spoken here (RFC 9110 §15.6.6).
        [b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(HeadFault::Version);
        }
        _ => return Err(HeadFault::Malformed("the version is not HTTP/1.1")),
    };
    match rest[..rest.len() - 9].split_first() {
        Some((b' ', target)) if is_target(target) => Ok((method, target, version)),
        _ => Err(MALFORMED),
    }
}

/// Nothing that ends it or that nobody sees. Beyond ASCII it is at least text; what of it may be said, the path decides.
fn is_target(target: &[u8]) -> bool {
    !target.is_empty() && target.iter().all(|b| *b > b' ' && *b != 0x7f) && std::str::from_utf8(target).is_ok()
}

/// RFC 9112 §4: version, three digits, and a reason that may be missing.
pub(super) fn status_line(line: &[u8]) -> Result<(Version, StatusCode), HeadFault> {
    const MALFORMED: HeadFault = HeadFault::Malformed("the answer's status line is malformed");
    let (start, rest) = line.split_first_chunk::<12>().ok_or(MALFORMED)?;
    let version = match &start[..9] {
        b"HTTP/1.1 " => Version::HTTP_11,
        b"HTTP/1.0 " => Version::HTTP_10,
        _ => return Err(MALFORMED),
    };
    let status = StatusCode::from_bytes(&start[9..]).map_err(|_| MALFORMED)?;
    let is_reason = |reason: &[u8]| reason.iter().all(|b| *b == b'\t' || (*b >= b' ' && *b != 0x7f));
    match rest {
        [] => Ok((version, status)),
        [b' ', reason @ ..] if is_reason(reason) => Ok((version, status)),
        _ => Err(MALFORMED),
    }
}
