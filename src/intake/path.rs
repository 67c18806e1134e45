//! The one canonical form in which a path is judged and forwarded (contract section 5 "Paths", HP-5).
//!
//! What reaches a route, a requirement and an agency is the same bytes: escapes of unreserved characters are decoded,
//! the others are written in upper case, and whatever two readers could understand differently is refused. An agency
//! that decodes once more, or twice, still sees no dot segment, separator, control character or broken text that was
//! not judged here. Called by `intake::arrived` for every request and by `config` for every path written in a file; it
//! knows neither routes nor HTTP.

use std::borrow::Cow;

#[cfg(test)]
mod tests;

/// How many readings of the canonical form are judged. The contract asks for one; two more cost nothing (only a path
/// with `%25` comes here), and deeper nesting has no honest use.
const READINGS: usize = 3;

/// Why a path is refused. All are answered `path_ambiguous`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguous(pub &'static str);

const NOT_ROOTED: Ambiguous = Ambiguous("the path does not begin with `/`");
const EMPTY_SEGMENT: Ambiguous = Ambiguous("the path has an empty segment (`//`)");
const DOT_SEGMENT: Ambiguous = Ambiguous("the path has a dot segment");
const FORBIDDEN: Ambiguous = Ambiguous("the path has a character that must be escaped (RFC 3986, section 3.3)");
const NON_ASCII: Ambiguous = Ambiguous("the path has raw bytes outside ASCII");
const CONTROL: Ambiguous = Ambiguous("the path has a control character");
const SLASH: Ambiguous = Ambiguous("the path has an escaped slash");
const BACKSLASH: Ambiguous = Ambiguous("the path has a backslash");
const SEMICOLON: Ambiguous = Ambiguous("the path has a `;`");
const FRAGMENT: Ambiguous = Ambiguous("the path has a `#`");
const BROKEN_ESCAPE: Ambiguous = Ambiguous("the path has a broken escape");
const NOT_UTF8: Ambiguous = Ambiguous("the path's escapes are not UTF-8");
const ESCAPED_TWICE: Ambiguous = Ambiguous("the path has escaped escapes that hide a special character");
const ESCAPED_TOO_DEEP: Ambiguous = Ambiguous("the path has escapes nested too deep");

/// Canonical form of a raw path (begins with `/`, no query). Borrowed when it already is canonical: the usual case costs
/// one pass and no allocation. Idempotent.
///
/// Refused besides what the contract lists: what RFC 3986 does not allow raw in a path (space, `"<>[]^{|}` and the
/// backtick; their escapes pass), C1 controls, and escapes nested more than three deep. A literal percent sign (`%25`)
/// passes as long as it does not begin an escape that would itself be refused.
pub fn canonical(raw: &[u8]) -> Result<Cow<'_, [u8]>, Ambiguous> {
    let path = match memchr::memchr(b'%', raw) {
        None => Cow::Borrowed(raw),
        Some(_) => decode_unreserved(raw)?,
    };
    judge(&path)?;
    Ok(path)
}

/// Decodes the escapes of unreserved characters (RFC 3986, section 6.2.2.2) and writes the rest in upper case.
fn decode_unreserved(raw: &[u8]) -> Result<Cow<'_, [u8]>, Ambiguous> {
    let mut out: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(offset) = memchr::memchr(b'%', &raw[at..]) {
        let start = at + offset;
        let byte = escape_at(raw, start).ok_or(BROKEN_ESCAPE)?;
        let written = &raw[start..start + 3];
        let wanted = [b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
        if out.is_none() && (is_unreserved(byte) || written != wanted) {
            let mut copy = Vec::with_capacity(raw.len());
            copy.extend_from_slice(&raw[..at]);
            out = Some(copy);
        }
        if let Some(out) = &mut out {
            out.extend_from_slice(&raw[at..start]);
            if is_unreserved(byte) {
                out.push(byte);
            } else {
                out.extend_from_slice(&wanted);
            }
        }
        at = start + 3;
    }
    Ok(match out {
        None => Cow::Borrowed(raw),
        Some(mut out) => {
            out.extend_from_slice(&raw[at..]);
            Cow::Owned(out)
        }
    })
}

/// Refuses a path, otherwise in canonical form, that could be read in two ways.
fn judge(path: &[u8]) -> Result<(), Ambiguous> {
    if path.first() != Some(&b'/') {
        return Err(NOT_ROOTED);
    }
    let mut escaped_percent = false;
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        match CLASSES[usize::from(byte)] {
            Class::Plain => at += 1,
            Class::Slash => {
                judge_segment_start(&path[at + 1..])?;
                at += 1;
            }
            Class::Escape => {
                let escaped = escape_at(path, at).ok_or(BROKEN_ESCAPE)?;
                escaped_percent |= escaped == b'%';
                at += judge_escape(escaped, &path[at..])?;
            }
            Class::Refused => return Err(raw_refusal(byte)),
        }
    }
    if escaped_percent { judge_further_readings(path) } else { Ok(()) }
}

/// Looks at what follows a slash: an empty segment in the middle, or a dot segment anywhere.
fn judge_segment_start(rest: &[u8]) -> Result<(), Ambiguous> {
    match rest {
        [b'/', ..] => Err(EMPTY_SEGMENT),
        [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..] => Err(DOT_SEGMENT),
        _ => Ok(()),
    }
}

/// Judges the escaped byte that `rest` begins with, together with those that complete its character, and says how many
/// bytes of `rest` they take.
fn judge_escape(first: u8, rest: &[u8]) -> Result<usize, Ambiguous> {
    if let Some(refusal) = escaped_refusal(first) {
        return Err(refusal);
    }
    let width = match first {
        0x00..=0x7f => return Ok(3),
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Err(NOT_UTF8),
    };
    let mut character = [first, 0, 0, 0];
    for (i, byte) in character.iter_mut().enumerate().take(width).skip(1) {
        *byte = escape_at(rest, 3 * i).ok_or(NOT_UTF8)?;
    }
    let text = str::from_utf8(&character[..width]).map_err(|_| NOT_UTF8)?;
    if text.contains(char::is_control) { Err(CONTROL) } else { Ok(3 * width) }
}

/// Reads the path as one that decodes it again would, and again: nothing special may appear (`%252e`, `%252f`).
fn judge_further_readings(path: &[u8]) -> Result<(), Ambiguous> {
    let (mut reading, _) = decode_all(path);
    for _ in 1..READINGS {
        let (next, special) = decode_all(&reading);
        if special {
            return Err(ESCAPED_TWICE);
        }
        let text = str::from_utf8(&next).map_err(|_| NOT_UTF8)?;
        if text.contains(char::is_control) {
            return Err(ESCAPED_TWICE);
        }
        reading = next;
    }
    let deeper = memchr::memchr_iter(b'%', &reading).any(|at| escape_at(&reading, at).is_some());
    if deeper { Err(ESCAPED_TOO_DEEP) } else { Ok(()) }
}

/// Decodes every whole escape, once, and says whether one of them was a dot or a character that is never allowed.
fn decode_all(path: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::with_capacity(path.len());
    let mut special = false;
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        if let Some(escaped) = escape_at(path, at) {
            special |= escaped == b'.' || escaped_refusal(escaped).is_some();
            out.push(escaped);
            at += 3;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    (out, special)
}

/// The byte that is escaped at `at`, if a whole escape stands there.
fn escape_at(path: &[u8], at: usize) -> Option<u8> {
    match path.get(at..)? {
        [b'%', high, low, ..] => {
            let (high, low) = (HEX_VALUES[usize::from(*high)], HEX_VALUES[usize::from(*low)]);
            (high < 16 && low < 16).then_some(high << 4 | low)
        }
        _ => None,
    }
}

/// Why a byte may not stand in a path even when escaped.
const fn escaped_refusal(byte: u8) -> Option<Ambiguous> {
    match byte {
        0x00..=0x1f | 0x7f => Some(CONTROL),
        b'/' => Some(SLASH),
        b'\\' => Some(BACKSLASH),
        b';' => Some(SEMICOLON),
        b'#' => Some(FRAGMENT),
        _ => None,
    }
}

/// Why a byte of [`Class::Refused`] may not stand in a path unescaped.
const fn raw_refusal(byte: u8) -> Ambiguous {
    match escaped_refusal(byte) {
        Some(refusal) => refusal,
        None if byte.is_ascii() => FORBIDDEN,
        None => NON_ASCII,
    }
}

/// The value of each hexadecimal digit; of other bytes, more than 15.
static HEX_VALUES: [u8; 256] = {
    let mut values = [u8::MAX; 256];
    let mut value: u8 = 0;
    while value < 16 {
        values[HEX[value as usize] as usize] = value;
        values[HEX[value as usize].to_ascii_lowercase() as usize] = value;
        value += 1;
    }
    values
};

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// RFC 3986, section 2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[derive(Clone, Copy)]
enum Class {
    /// Stands for itself: unreserved, sub-delims without `;`, `:` and `@` (RFC 3986 `pchar`).
    Plain,
    Slash,
    Escape,
    Refused,
}

static CLASSES: [Class; 256] = {
    let mut classes = [Class::Refused; 256];
    let mut byte: u8 = 0;
    while byte < 0x80 {
        let plain = is_unreserved(byte)
            || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@');
        if plain {
            classes[byte as usize] = Class::Plain;
        }
        byte += 1;
    }
    classes[b'/' as usize] = Class::Slash;
    classes[b'%' as usize] = Class::Escape;
    classes
};
