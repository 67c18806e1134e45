//! The Prometheus text format, as far as it is needed to read it: one line, one sample.

use std::borrow::Cow;

/// `name{label="value",…} number`
pub struct Line<'t> {
    pub name: &'t str,
    labels: &'t str,
    pub value: f64,
}

/// `None` for comments, and for what is no sample.
pub fn line(text: &str) -> Option<Line<'_>> {
    if text.starts_with('#') {
        return None;
    }
    let (name, labels, rest) = match text.find('{') {
        Some(open) => {
            let close = end_of_labels(&text[open + 1..])? + open + 1;
            (&text[..open], &text[open + 1..close], &text[close + 1..])
        }
        None => {
            let (name, rest) = text.split_once(' ')?;
            (name, "", rest)
        }
    };
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Line { name, labels, value })
}

/// The closing brace: not one within a value.
fn end_of_labels(text: &str) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

impl<'t> Line<'t> {
    pub fn label(&self, wanted: &str) -> Option<Cow<'t, str>> {
        let mut rest = self.labels;
        while let Some((name, quoted)) = rest.split_once("=\"") {
            let end = end_of_value(quoted)?;
            if name.trim_start_matches([',', ' ']) == wanted {
                return Some(unescaped(&quoted[..end]));
            }
            rest = &quoted[end + 1..];
        }
        None
    }
}

fn end_of_value(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        end
    })
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if text.contains('\\') {
        Cow::Owned(text.replace("\\n", "\n").replace("\\\"", "\"").replace("\\\\", "\\"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_and_the_rest_is_not() {
        let read = line(r#"a_total{agency="x\"}y",code="200",status="200"} 12"#).unwrap();
        assert_eq!((read.name, read.value), ("a_total", 12.0));
        assert_eq!(read.label("agency").unwrap(), "x\"}y");
        assert_eq!(read.label("status").unwrap(), "200");
        assert!(read.label("stat").is_none());
        let bare = line("up 1 1700000000").unwrap();
        assert_eq!((bare.name, bare.value), ("up", 1.0));
        for none in ["", "# HELP a b", "a{b=\"c", "a{b=\"c\"}", "a x"] {
            assert!(line(none).is_none(), "{none}");
        }
    }
}
