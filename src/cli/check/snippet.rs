//! The line of a config that a fault is about, with the value underlined.
//!
//! A fault knows where its value begins; how far it reaches is judged here from the text, which is good enough to look at.

use std::io::{self, Write};
use std::path::Path;

/// A config's text by lines.
pub struct Source {
    text: String,
    /// Where each line begins, in bytes.
    starts: Vec<usize>,
}

/// Long lines are cut to this many characters round the place.
const WIDTH: usize = 120;

impl Source {
    /// Reads the file again; one that is gone has no lines.
    pub fn read(file: &Path) -> Source {
        let bytes = std::fs::read(file).unwrap_or_default();
        Source::new(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub fn new(text: String) -> Source {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Source { text, starts }
    }

    /// `line` is 1-based; without its line break.
    fn line(&self, line: u32) -> Option<&str> {
        let index = (line as usize).checked_sub(1)?;
        let start = *self.starts.get(index)?;
        self.text[start..].lines().next()
    }

    /// Writes the line with what begins at `column` (1-based, in characters) underlined by `mark`. `width`: of the line
    /// number's column.
    pub fn write(
        &self,
        out: &mut dyn Write,
        line: u32,
        column: u32,
        width: usize,
        mark: char,
        note: &str,
    ) -> io::Result<()> {
        let Some(text) = self.line(line) else { return Ok(()) };
        let mut chars: Vec<char> = text.chars().collect();
        hide_passwords(&mut chars);
        let at = (column as usize).saturating_sub(1).min(chars.len());
        let from = if chars.len() <= WIDTH { 0 } else { at.saturating_sub(WIDTH / 2) };
        let to = chars.len().min(from + WIDTH);
        let (left, right) = (if from > 0 { "…" } else { "" }, if to < chars.len() { "…" } else { "" });
        let shown: String = chars[from..to].iter().map(|c| if c.is_control() { ' ' } else { *c }).collect();
        let end = (at + length(&chars[at..])).min(to);
        let before = width_of(left.chars()) + width_of(chars[from..at].iter().copied());
        let under = width_of(chars[at..end].iter().copied()).max(1);
        let note = if note.is_empty() { String::new() } else { format!(" {note}") };
        writeln!(out, "{:width$} |", "")?;
        writeln!(out, "{line:>width$} | {left}{shown}{right}")?;
        writeln!(out, "{:width$} | {}{}{note}", "", " ".repeat(before), mark.to_string().repeat(under))
    }
}

/// Stars out what stands between `://` and `@`: what `check` prints may end up in a ticket.
fn hide_passwords(chars: &mut [char]) {
    let mut from = 0;
    while let Some(start) = (from..chars.len()).find(|i| chars[*i..].starts_with(&[':', '/', '/'])).map(|i| i + 3) {
        let end = (start..chars.len()).find(|i| chars[*i] == '/' || chars[*i].is_whitespace()).unwrap_or(chars.len());
        if let Some(at) = chars[start..end].iter().rposition(|c| *c == '@') {
            chars[start..start + at].fill('*');
        }
        from = end;
    }
}

/// How many characters the value (or key) at the beginning of `rest` has.
fn length(rest: &[char]) -> usize {
    match rest.first() {
        Some(quote @ ('"' | '\'')) => {
            let close = (1..rest.len()).find(|i| rest[*i] == *quote && (*quote == '\'' || rest[*i - 1] != '\\'));
            close.map_or(rest.len(), |i| i + 1)
        }
        Some('[' | '{') => collection(rest),
        _ => plain(rest),
    }
}

/// To the bracket that closes the first one, or to the end of the line.
fn collection(rest: &[char]) -> usize {
    let mut depth = 0;
    for (i, c) in rest.iter().enumerate() {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i + 1;
        }
    }
    trimmed(rest, rest.len())
}

/// To what ends a plain scalar: `: `, `, `, a closing bracket, a comment, the end of the line.
fn plain(rest: &[char]) -> usize {
    let ends = |i: &usize| match rest[*i] {
        ':' | ',' => rest.get(i + 1).is_none_or(|c| c.is_whitespace()),
        ']' | '}' => true,
        '#' => *i > 0 && rest[i - 1].is_whitespace(),
        _ => false,
    };
    trimmed(rest, (0..rest.len()).find(ends).unwrap_or(rest.len()))
}

fn trimmed(rest: &[char], end: usize) -> usize {
    rest[..end].iter().rposition(|c| !c.is_whitespace()).map_or(0, |last| last + 1)
}

/// Columns on a terminal: marks that stand on a letter, and joiners, take none.
fn width_of(chars: impl Iterator<Item = char>) -> usize {
    chars.filter(|c| !takes_no_room(*c)).count()
}

fn takes_no_room(c: char) -> bool {
    // Latin and Arabic combining marks; zero-width joiners, direction marks and isolates.
    let marks = matches!(c, '\u{300}'..='\u{36f}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{6d6}'..='\u{6dc}');
    marks || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, line: u32, column: u32) -> String {
        let mut out = Vec::new();
        Source::new(text.to_owned()).write(&mut out, line, column, 2, '^', "").unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_value_is_underlined_and_nothing_else() {
        assert_eq!(shown("a: 1\n  b: xyz, c: 2\n", 2, 6), "   |\n 2 |   b: xyz, c: 2\n   |      ^^^\n");
        for (line, column, under) in [
            ("m: [a, b]  # c", 4, "   ^^^^^^"),
            ("{ a: \"x, y\" }", 6, "     ^^^^^^"),
            ("key : v", 1, "^^^"),
            ("u: http://a:80/b # c", 4, "   ^^^^^^^^^^^^^"),
            ("a:", 3, "  ^"),
        ] {
            assert_eq!(shown(line, 1, column).lines().last().unwrap(), format!("   | {under}"), "{line}");
        }
    }

    #[test]
    fn persian_text_keeps_the_column() {
        let line = "{ fa: سازمان تأمین\u{200c}ها, en: x }";
        let column = 1 + line.chars().position(|c| c == 'x').unwrap();
        let caret = shown(line, 1, column as u32).lines().last().unwrap().chars().position(|c| c == '^').unwrap();
        // `   | ` and one column less for the joiner.
        assert_eq!(caret, 5 + column - 1 - 1);
    }

    #[test]
    fn a_long_line_is_cut_round_the_place() {
        let line = format!("{}HERE{}", "a ".repeat(500), " b".repeat(500));
        let out = shown(&line, 1, 1001);
        let (text, under) = (out.lines().nth(1).unwrap(), out.lines().nth(2).unwrap());
        assert!(text.chars().count() < 140 && text.contains("HERE"), "{out}");
        let at = |l: &str, c: char| l.chars().position(|x| x == c).unwrap();
        assert_eq!(at(text, 'H'), at(under, '^'));
    }

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        let out = shown("[\"http://ali:hunter2@a.ir\", https://b:c@d]", 1, 2);
        assert!(!out.contains("hunter2") && !out.contains("ali") && out.contains("://***********@a.ir"), "{out}");
        assert!(out.contains("https://***@d"), "{out}");
    }

    #[test]
    fn a_place_beyond_the_file_shows_nothing() {
        assert_eq!(shown("a", 7, 1), "");
        assert!(shown("a", 1, 99).contains('^'));
    }
}
