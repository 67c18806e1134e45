//! Small typed readers over the raw tree. Each takes a [`Field`] and gives a value or records a fault and gives `None`, so
//! that one pass finds everything that is wrong.
//!
//! They know shapes (text, number, duration, list, table with known keys) and nothing of what a key is for; `check/*` does.

mod table;

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

pub use table::Table;

use super::codes;
use super::core_schema::{is_bool, is_null, is_number};
use super::nearest::nearest;
use super::raw::{Node, Place, Value};
use super::report::{Faults, Reported};
use super::{secret_ref, units};

/// Where a value lies, from the root: shown as `routes[3].require.level`. Built on the stack while reading, so that a file
/// without faults pays nothing for it.
#[derive(Clone, Copy)]
pub enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Key(Path::Root, key) => f.write_str(key),
            Path::Key(parent, key) => write!(f, "{parent}.{key}"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// A value with its place and path.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    node: &'a Node<'a>,
    path: Path<'a>,
}

impl<'a> Field<'a> {
    pub fn root(node: &'a Node<'a>) -> Field<'a> {
        Field { node, path: Path::Root }
    }

    pub fn place(&self) -> Place {
        self.node.place
    }

    pub fn path(&self) -> String {
        self.path.to_string()
    }

    /// Records that something is wrong with this value.
    pub fn fault<'f>(
        &self,
        faults: &'f mut Faults,
        code: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Reported<'f> {
        faults.add(code, self.place(), self.path(), message.into(), remedy.into())
    }

    /// Records that the value is not what is wanted.
    pub fn wrong_type<T>(&self, faults: &mut Faults, wanted: &str, remedy: impl Into<String>) -> Option<T> {
        if self.refuse_reference(faults) {
            return None;
        }
        let found = match &self.node.value {
            Value::Seq(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
            Value::Scalar { text, plain: true } if is_null(text) => "nothing".to_owned(),
            Value::Scalar { text, plain: true } if is_bool(text) => format!("the boolean `{text}`"),
            Value::Scalar { text, plain: true } if is_number(text) => format!("the number `{text}`"),
            Value::Scalar { text, .. } => format!("the text `{}`", shown(text)),
        };
        self.fault(faults, codes::WRONG_TYPE, format!("expected {wanted}, found {found}"), remedy);
        None
    }

    /// Whether the value is the switch `off` (or `false`, which YAML 1.1 tools turn it into).
    pub fn is_off(&self) -> bool {
        matches!(&self.node.value, Value::Scalar { text, .. } if matches!(&**text, "off" | "false"))
    }

    /// Whether it is this word.
    pub fn is(&self, word: &str) -> bool {
        matches!(&self.node.value, Value::Scalar { text, .. } if *text == word)
    }

    pub fn is_table(&self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    pub fn is_list(&self) -> bool {
        matches!(self.node.value, Value::Seq(_))
    }

    /// The value of a key, if this is a mapping that has it. Other keys are not looked at.
    pub fn peek(&self, key: &'static str) -> Option<Field<'_>> {
        let Value::Map(entries) = &self.node.value else { return None };
        let entry = entries.iter().find(|entry| entry.key == key)?;
        Some(Field { node: &entry.value, path: Path::Key(&self.path, key) })
    }

    /// Whether this is a mapping that has the key.
    pub fn has(&self, key: &str) -> bool {
        matches!(&self.node.value, Value::Map(entries) if entries.iter().any(|e| e.key == key))
    }

    /// Text that is not empty.
    pub fn text(&self, faults: &mut Faults) -> Option<&'a str> {
        if self.refuse_reference(faults) { None } else { self.text_or_reference(faults) }
    }

    /// Whether this is a `${…}`, which is a fault but where a secret is expected.
    fn refuse_reference(&self, faults: &mut Faults) -> bool {
        let Value::Scalar { text, .. } = &self.node.value else { return false };
        let found = secret_ref::is_reference(text);
        if found {
            let message = format!("`{}` is not replaced here: `${{…}}` is for secrets only", shown(text));
            let remedy = "write the value itself; only secrets, such as `assertion.key`, take `${NAME}`";
            self.fault(faults, codes::MISPLACED_REFERENCE, message, remedy);
        }
        found
    }

    /// The same, where a secret is expected.
    pub fn text_or_reference(&self, faults: &mut Faults) -> Option<&'a str> {
        match &self.node.value {
            Value::Scalar { text, plain: true } if is_null(text) => {
                self.wrong_type(faults, "text", "write a value, or leave the key out")
            }
            Value::Scalar { text, plain: true } if is_bool(text) || is_number(text) => {
                self.wrong_type(faults, "text", format!("put it in quotes: \"{}\"", shown(text)))
            }
            Value::Scalar { text, .. } if text.trim().is_empty() => {
                self.fault(faults, codes::EMPTY, "the text is empty", "write a value, or leave the key out");
                None
            }
            Value::Scalar { text, .. } => Some(text),
            _ => self.wrong_type(faults, "text", "write one value"),
        }
    }

    /// One of a closed set of words.
    pub fn word<T: Copy>(&self, faults: &mut Faults, words: &[(&str, T)]) -> Option<T> {
        if self.refuse_reference(faults) {
            return None;
        }
        let text = match &self.node.value {
            Value::Scalar { text, .. } => &**text,
            _ => return self.wrong_type(faults, "a word", format!("write one of {}", list(words.iter().map(|w| w.0)))),
        };
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let all = list(words.iter().map(|w| w.0));
            let message = match nearest(text, words.iter().map(|w| w.0)) {
                Some(near) => format!("unknown value `{}`, did you mean `{near}`?", shown(text)),
                None => format!("unknown value `{}`", shown(text)),
            };
            self.fault(faults, codes::UNKNOWN_WORD, message, format!("write one of {all}"));
        }
        found
    }

    pub fn flag(&self, faults: &mut Faults) -> Option<bool> {
        match &self.node.value {
            Value::Scalar { text, plain: true } if is_bool(text) => Some(text.eq_ignore_ascii_case("true")),
            _ => self.wrong_type(faults, "`true` or `false`", "write `true` or `false`, without quotes"),
        }
    }

    /// A whole number within bounds.
    pub fn count(&self, faults: &mut Faults, bounds: RangeInclusive<u64>) -> Option<u64> {
        let number = match &self.node.value {
            Value::Scalar { text, plain: true } if is_number(text) => text,
            _ => return self.wrong_type(faults, "a whole number", "write a whole number, without quotes"),
        };
        let value = number.parse::<i128>().ok().and_then(|n| u64::try_from(n).ok());
        let within = value.filter(|v| bounds.contains(v));
        if within.is_none() {
            let remedy = format!("write a whole number from {} to {}", bounds.start(), bounds.end());
            self.fault(faults, codes::OUT_OF_BOUNDS, format!("{number} is out of bounds"), remedy);
        }
        within
    }

    /// A duration within bounds.
    pub fn duration(&self, faults: &mut Faults, bounds: RangeInclusive<Duration>) -> Option<Duration> {
        let text = self.measure(faults, codes::BAD_DURATION, "a duration", units::duration)?;
        let (written, value) = text;
        if bounds.contains(&value) {
            return Some(value);
        }
        let (low, high) = (units::show_duration(*bounds.start()), units::show_duration(*bounds.end()));
        self.fault(
            faults,
            codes::OUT_OF_BOUNDS,
            format!("{written} is out of bounds"),
            format!("write {low} to {high}"),
        );
        None
    }

    /// A size in bytes within bounds.
    pub fn size(&self, faults: &mut Faults, bounds: RangeInclusive<u64>) -> Option<u64> {
        let (written, value) = self.measure(faults, codes::BAD_SIZE, "a size", units::size)?;
        if bounds.contains(&value) {
            return Some(value);
        }
        let (low, high) = (units::show_size(*bounds.start()), units::show_size(*bounds.end()));
        self.fault(
            faults,
            codes::OUT_OF_BOUNDS,
            format!("{written} is out of bounds"),
            format!("write {low} to {high}"),
        );
        None
    }

    fn measure<T>(
        &self,
        faults: &mut Faults,
        code: &'static str,
        what: &str,
        read: fn(&str) -> Result<T, String>,
    ) -> Option<(&'a str, T)> {
        if self.refuse_reference(faults) {
            return None;
        }
        let Value::Scalar { text, .. } = &self.node.value else {
            return self.wrong_type(faults, what, format!("write {what}"));
        };
        match read(text) {
            Ok(value) => Some((text, value)),
            Err(remedy) => {
                self.fault(faults, code, format!("`{}` is not {what}", shown(text)), remedy);
                None
            }
        }
    }

    /// The items of a list.
    pub fn items(&self, faults: &mut Faults) -> Option<impl ExactSizeIterator<Item = Field<'_>> + '_> {
        let Value::Seq(items) = &self.node.value else {
            return self.wrong_type(faults, "a list", "write a list: `[a, b]`, or one `- item` a line");
        };
        Some(items.iter().enumerate().map(|(i, node)| Field { node, path: Path::Index(&self.path, i) }))
    }

    /// The items of a list that must hold something.
    pub fn some_items(&self, faults: &mut Faults) -> Option<impl ExactSizeIterator<Item = Field<'_>> + '_> {
        if matches!(&self.node.value, Value::Seq(items) if items.is_empty()) {
            self.fault(faults, codes::EMPTY, "the list is empty", "list at least one item");
            return None;
        }
        self.items(faults)
    }

    /// A list of texts that must hold some.
    pub fn some_texts(&self, faults: &mut Faults) -> Option<Vec<String>> {
        let items = self.some_items(faults)?.collect::<Vec<_>>();
        items.iter().map(|item| item.text(faults).map(str::to_owned)).collect()
    }
}

/// `a`, `b` and `c` for a remedy.
pub fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|w| format!("`{w}`")).collect();
    words.join(", ")
}

/// Text from the file for a message: one line, not endless.
pub fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    match text.char_indices().nth(80) {
        Some((cut, _)) => text[..cut].chars().map(plain).chain(['…']).collect(),
        None => text.chars().map(plain).collect(),
    }
}
