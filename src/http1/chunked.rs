//! The chunked transfer coding (RFC 9112 §7.1), decoded strictly and written.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::HeaderMap;

use super::head::{self, HeadFault, Scan};
use crate::digits::hex;

/// Longest chunk-size line, extensions included: nobody uses extensions, attackers do.
const SIZE_LINE: usize = 256;
/// Bounds of a trailer section.
const TRAILER_BLOCK: usize = 8 * 1024;
const TRAILER_COUNT: usize = 32;

/// Where in the coding the reader stands.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    scan: Scan,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    Done,
}

#[derive(Debug, PartialEq)]
pub enum Piece {
    Data(Bytes),
    /// The end, with the trailer fields (often none).
    End(HeaderMap),
    /// More bytes are needed.
    Starved,
}

impl Decoder {
    /// The next piece of the body at the front of `buffer`.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Piece, HeadFault> {
        loop {
            match self.state {
                State::Size => match size_line(buffer)? {
                    None => return Ok(Piece::Starved),
                    Some((0, line)) => {
                        buffer.advance(line);
                        self.state = State::Trailers;
                    }
                    Some((size, line)) => {
                        buffer.advance(line);
                        self.state = State::Data(size);
                    }
                },
                State::Data(left) => {
                    if buffer.is_empty() {
                        return Ok(Piece::Starved);
                    }
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                    let left = left - take as u64;
                    self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                    return Ok(Piece::Data(buffer.split_to(take).freeze()));
                }
                State::DataEnd => {
                    match buffer.as_ref() {
                        [b'\r', b'\n', ..] => buffer.advance(2),
                        [] | [b'\r'] => return Ok(Piece::Starved),
                        _ => return Err(HeadFault::Malformed("a chunk is longer than its size")),
                    }
                    self.state = State::Size;
                }
                State::Trailers => {
                    let Some(end) = self.scan.end_of_head(buffer, TRAILER_BLOCK)? else { return Ok(Piece::Starved) };
                    let trailers = head::parse_trailers(buffer.split_to(end).freeze(), TRAILER_COUNT)?;
                    self.state = State::Done;
                    return Ok(Piece::End(trailers.into()));
                }
                State::Done => return Ok(Piece::End(HeaderMap::new())),
            }
        }
    }
}

/// The size and the length of its line, once the line is whole.
fn size_line(buffer: &[u8]) -> Result<Option<(u64, usize)>, HeadFault> {
    let Some(end) = memchr::memchr(b'\n', &buffer[..buffer.len().min(SIZE_LINE)]) else {
        return if buffer.len() < SIZE_LINE {
            Ok(None)
        } else {
            Err(HeadFault::Malformed("a chunk-size line is too long"))
        };
    };
    let Some(line) = buffer[..end].strip_suffix(b"\r") else {
        return Err(HeadFault::Malformed("a chunk-size line is not ended by CRLF"));
    };
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let after = &line[digits..];
    let extension = after.trim_ascii_start();
    let well_formed = (1..=16).contains(&digits)
        && (after.is_empty() || extension.starts_with(b";"))
        && extension.iter().all(|b| *b == b'\t' || (*b >= b' ' && *b != 0x7f));
    if !well_formed {
        return Err(HeadFault::Malformed("a chunk size is malformed"));
    }
    let text = std::str::from_utf8(&line[..digits]).expect("hexadecimal digits are ASCII");
    let size = u64::from_str_radix(text, 16).map_err(|_| HeadFault::Malformed("a chunk size is malformed"))?;
    // Sizes of bodies are summed: half the range leaves no way to overflow.
    if size > u64::MAX / 2 { Err(HeadFault::Malformed("a chunk size is malformed")) } else { Ok(Some((size, end + 1))) }
}

/// The size line before `length` bytes of data; the data's own line end is the caller's to write.
pub fn write_size(out: &mut BytesMut, length: usize) {
    let digits = hex((length as u64).to_be_bytes());
    let digits = digits.as_flattened();
    let leading = digits.iter().take_while(|digit| **digit == b'0').count();
    out.put_slice(&digits[leading.min(digits.len() - 1)..]);
    out.put_slice(b"\r\n");
}

/// The last chunk and the trailer section.
pub fn write_end(out: &mut BytesMut, trailers: Option<&HeaderMap>) {
    out.put_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        head::write_fields(out, trailers);
    }
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
